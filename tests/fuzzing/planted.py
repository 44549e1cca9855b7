"""Readers with faults, by which the tests see that faults are found."""

from __future__ import annotations

import os
import time
import warnings
from typing import Any

import numpy as np

import iosfast
from iosfast import ReadError

from .kind import Kind
from .kinds import KINDS

_RAW = next(kind for kind in KINDS if kind.name == "raw, counted")


class _Wrong(iosfast.Recording):
    """Gives what another recording gives, with a fault."""

    def __init__(self, real: iosfast.Recording, fault: str) -> None:
        super().__init__(source=real.source, shape=real.shape, dtype=real.dtype)
        self._real, self._fault = real, fault

    def _read(self, start: int, stop: int) -> Any:
        frames = self._real.read(start, stop)
        if self._fault == "a wrong pixel" and start <= 3 < stop:
            frames[3 - start, 20, 40] ^= 1
        if self._fault == "frames that depend on threads" and stop - start < len(self):
            frames[0] ^= 1
        return frames

    def close(self) -> None:
        if self._fault != "is not closed":
            self._real.close()


def _opening(fault: str) -> Any:
    def open_wrongly(source: str, **options: Any) -> iosfast.Recording:
        if fault == "a crash":
            os.abort()
        if fault == "a hang":
            time.sleep(3600)
        if fault == "an allocation":
            np.empty(1 << 40, "u1")
        if fault == "memory":
            np.ones(3 << 30, "u1")
        if fault == "an exception":
            raise KeyError("a")
        if fault == "no path":
            raise ReadError("is damaged")
        if fault == "a descriptor":
            os.open(os.devnull, os.O_RDONLY)
        if fault == "a warning":
            warnings.warn("not ours", RuntimeWarning, stacklevel=2)
        if fault == "refuses":
            raise ReadError("is damaged", source)
        return _Wrong(iosfast.open_recording(source, **options), fault)

    return open_wrongly


FAULTS = (
    "a crash",
    "a hang",
    "an allocation",
    "memory",
    "an exception",
    "no path",
    "a descriptor",
    "a warning",
    "refuses",
    "a wrong pixel",
    "frames that depend on threads",
    "is not closed",
)
PLANTED = tuple(
    Kind(f"planted: {fault}", "planted", _RAW.write, options=_RAW.options, open=_opening(fault))
    for fault in FAULTS
)
