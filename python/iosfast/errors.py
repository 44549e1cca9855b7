"""The errors and warnings that iosfast raises on purpose."""

from __future__ import annotations

import os
import sys
import warnings
from os import PathLike, fspath
from pathlib import Path


class ReadError(ValueError):
    """A recording could not be read.

    Parameters
    ----------
    message : str
        What was found and what to do about it.
    path : str or path-like, optional
        The file or folder; put in front of the message.
    frame : int, optional
        The frame, counted from 0, at which it went wrong.
    """

    def __init__(
        self, message: str, path: str | PathLike[str] | None = None, frame: int | None = None
    ) -> None:
        self.path = None if path is None else fspath(path)
        self.frame = frame
        where = "" if self.path is None else f"{self.path}: "
        at = "" if frame is None else f"frame {frame}: "
        line = " ".join(message.split())  # texts of libraries may have several
        super().__init__(f"{where}{at}{line}")


class WriteError(OSError):
    """Results could not be written; nothing partial was left in their place."""


class DeviceError(RuntimeError):
    """What was asked to run on cannot be used here."""


class IosfastWarning(UserWarning):
    """Something was assumed, left out or looks wrong; the result is usable, with care."""


_PACKAGE = str(Path(__file__).parent) + os.sep


def warn(message: str) -> None:
    """Warn whoever called iosfast, however deep inside it the cause was found."""
    level = 1
    frame = sys._getframe(0)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
        level += 1
    warnings.warn(message, IosfastWarning, stacklevel=level)
