"""How many objects at a time fit into the memory of a GPU."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from types import SimpleNamespace

import pytest

from iosfast.sam2 import outline
from iosfast.sam2.device_memory import free_device_bytes, rows_that_fit
from iosfast.sam2.manifest import FileRecord, Manifest

GIB = 2**30
MANIFEST = Manifest(1024, "fp32", FileRecord(0, ""), {}, {}, {})


@pytest.mark.parametrize(
    ("size", "free", "rows"),
    [
        (1024, 80 * GIB, 56),  # 64 x 64 pixels of 256 KiB are 1 GiB a row
        (1024, 24 * GIB, 16),
        (1024, 10 * GIB, 7),
        (1024, 0, 1),
        (1024, None, 11),
        (512, 10 * GIB, 28),
        (512, 80 * GIB, 64),
        (2048, 24 * GIB, 4),
    ],
)
def test_rows_are_those_that_fit(size, free, rows):
    assert rows_that_fit(replace(MANIFEST, image_size=size), free) == rows


class Driver:
    """A driver of CUDA that keeps account of its context; some of its calls fail."""

    def __init__(self, fails=""):
        self.fails, self.calls, self.held, self.pushed = fails, [], 0, 0

    def __getattr__(self, name):
        def call(*given):
            self.calls.append(name)
            if name == self.fails:
                return 100
            self.held += {"cuDevicePrimaryCtxRetain": 1, "cuDevicePrimaryCtxRelease_v2": -1}.get(
                name, 0
            )
            self.pushed += {"cuCtxPushCurrent_v2": 1, "cuCtxPopCurrent_v2": -1}.get(name, 0)
            if name == "cuMemGetInfo_v2":
                ctypes.cast(given[0], ctypes.POINTER(ctypes.c_size_t))[0] = 7 * GIB
                ctypes.cast(given[1], ctypes.POINTER(ctypes.c_size_t))[0] = 8 * GIB
            return 0

        return call


def test_what_is_free_is_asked_of_the_driver():
    driver = Driver()
    assert free_device_bytes(driver) == 7 * GIB
    assert (driver.held, driver.pushed) == (0, 0)


@pytest.mark.parametrize(
    "fails",
    [
        "cuInit",
        "cuDeviceGet",
        "cuDevicePrimaryCtxRetain",
        "cuCtxPushCurrent_v2",
        "cuMemGetInfo_v2",
    ],
)
def test_a_driver_that_fails_leaves_nothing_behind(fails):
    driver = Driver(fails)
    assert free_device_bytes(driver) is None
    assert (driver.held, driver.pushed) == (0, 0)


def test_no_driver_is_no_error(monkeypatch):
    def missing(_name):
        raise OSError("no such library")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert free_device_bytes() is None


def test_auto_takes_what_fits_on_a_gpu_and_one_on_a_cpu(monkeypatch):
    monkeypatch.setattr(outline, "free_device_bytes", lambda: 10 * GIB)
    assert outline._rows(SimpleNamespace(memory="cuda", manifest=MANIFEST)) == 7
    assert outline._rows(SimpleNamespace(memory="cpu", manifest=MANIFEST)) == 1
