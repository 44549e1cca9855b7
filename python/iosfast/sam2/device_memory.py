"""How much memory a GPU has free, asked of its driver, and how many rows of a batch that holds."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

from .manifest import Manifest

#: Bytes that a row takes for each pixel of the features, in all graphs together: measured with
#: float32 on the CPU (236 KB), and what it remembers.
ROW_BYTES = 256 * 1024
#: Part of the free memory that is used: kernels have workspaces of their own.
_PART = 0.7
#: More rows at a time are not faster on any GPU that is known.
MOST_ROWS = 64
_DRIVERS = {"win32": "nvcuda.dll"}


def rows_that_fit(manifest: Manifest, free_bytes: int | None) -> int:
    """Return how many objects, and maps to encode, to take at a time on a GPU.

    Parameters
    ----------
    manifest : Manifest
    free_bytes : int or None
        What is free on the device; of None, 16 GiB are assumed.
    """
    free = 16 * 2**30 if free_bytes is None else free_bytes
    return max(1, min(MOST_ROWS, int(_PART * free) // (ROW_BYTES * manifest.side**2)))


def free_device_bytes(driver: Any = None) -> int | None:
    """Return what is free on the first GPU that programs may use; None if it does not say.

    Parameters
    ----------
    driver : ctypes library, optional
        Default: that of the system.
    """
    if driver is None:
        try:
            driver = ctypes.CDLL(_DRIVERS.get(sys.platform, "libcuda.so.1"))
        except OSError:
            return None
    device, context = ctypes.c_int(), ctypes.c_void_p()
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    if driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), 0):
        return None
    # the context that ONNX Runtime uses, too; it is given back
    if driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device):
        return None
    try:
        if driver.cuCtxPushCurrent_v2(context):
            return None
        failed = driver.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
        driver.cuCtxPopCurrent_v2(ctypes.byref(context))
    finally:
        driver.cuDevicePrimaryCtxRelease_v2(device)
    return None if failed else free.value
