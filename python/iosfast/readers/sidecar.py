"""A JSON file beside a raw file that tells what its bytes are."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ReadError
from .tiff_parsing import is_stream

SUFFIXES = (".raw", ".bin", ".dat")
_LARGEST_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Sidecar:
    """What a sidecar tells; ``session.json`` belongs to ``session.raw`` (``.bin``, ``.dat``).

    It is a JSON object with the keys ``shape`` and ``dtype``, and, if known, the others, such as
    ``{"shape": [512, 512], "dtype": "<u2", "frame_rate_hz": 60, "pixel_size_mm": 0.01953125}``.

    Attributes
    ----------
    shape : tuple of int
        (T, Y, X), or (Y, X) for as many frames as there are. T counts the frames of all channels.
    dtype : str
        As NumPy writes it: ``"<u2"`` is little-endian uint16, ``">u2"`` big-endian; without a
        byte order (``"uint16"``) it is little-endian.
    offset : int
        Bytes before the first frame.
    frame_rate_hz : float or None
        Frames per second, those of all channels counted.
    pixel_size_mm : float or None
    channels : tuple of str
        Names of the channels whose frames follow each other in turn.
    metadata : dict
        Anything else.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int = 0
    frame_rate_hz: float | None = None
    pixel_size_mm: float | None = None
    channels: tuple[str, ...] = ()
    metadata: dict[str, Any]


def has_sidecar(path: Path, _head: bytes) -> bool:
    """Tell whether a raw file has one; another JSON file of the same name is none."""
    if path.suffix.lower() not in SUFFIXES:
        return False
    try:
        return _object(path.with_suffix(".json")) is not None
    except ReadError:  # which `read_sidecar` raises again
        return True


def read_sidecar(path: Path) -> Sidecar | None:
    """Return what the sidecar of a raw file tells; None if it has none.

    Raises
    ------
    ReadError
        That names the sidecar and its key, if a value cannot be used.
    """
    if path.suffix.lower() not in SUFFIXES:
        return None
    where = path.with_suffix(".json")
    said = _object(where)
    if said is None:
        return None
    if unknown := sorted(said.keys() - _CHECKS.keys()):
        raise ReadError(
            f"tells of {_short(repr(unknown[0]))}, which is no key of a sidecar "
            f"({', '.join(_CHECKS)}); put anything else into 'metadata'",
            where,
        )
    if missing := [key for key in ("shape", "dtype") if key not in said]:
        raise ReadError(f"has no {missing[0]!r}, which {path.name} cannot be read without", where)
    values: dict[str, Any] = {"metadata": {}}
    for key, value in said.items():
        check, expected = _CHECKS[key]
        try:
            values[key] = check(value)
        except (TypeError, ValueError, OverflowError):
            shown = _short(json.dumps(value))
            raise ReadError(f"its {key!r} must be {expected}, not {shown}", where) from None
    sidecar = Sidecar(**values)
    if len(sidecar.shape) == 3 and sidecar.shape[0] % max(1, len(sidecar.channels)):
        raise ReadError(
            f"its 'shape' tells of {sidecar.shape[0]} frames, no multiple of its "
            f"{len(sidecar.channels)} 'channels'",
            where,
        )
    return sidecar


def _object(where: Path) -> dict[str, Any] | None:
    """Return a JSON object that tells of a shape or dtype; None if it is something else."""
    try:
        if is_stream(os.stat(where).st_mode):
            raise ReadError("is no file, but a pipe or device", where)
        with where.open("rb") as file:
            raw = file.read(_LARGEST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ReadError(f"cannot be read: {error.strerror or error}", where) from error
    if len(raw) > _LARGEST_BYTES:
        return None
    try:
        said = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ReadError(f"is no valid JSON: {error}", where) from None
    if not isinstance(said, dict) or not {"shape", "dtype"} & said.keys():
        return None
    return said


def _short(text: str) -> str:
    return text if len(text) < 80 else text[:77] + "..."


def _shape(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) not in (2, 3):
        raise ValueError
    return tuple(_integer(n, 1) for n in value)


def _integer(value: Any, low: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value < 1 << 62:
        raise ValueError
    return value


def _dtype(value: Any) -> np.dtype[Any]:
    if not isinstance(value, str):
        raise TypeError
    dtype = np.dtype(value)
    if dtype.kind not in "uif" or dtype.shape:
        raise ValueError
    return dtype if value[0] in "<>=|" else dtype.newbyteorder("<")


def _positive(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    if not 0 < value < math.inf:
        raise ValueError
    return float(value)


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(n, str) for n in value):
        raise ValueError
    if len(set(value)) < len(value):
        raise ValueError
    return tuple(value) if len(value) > 1 else ()


def _facts(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or "format" in value:
        raise TypeError
    return value


_CHECKS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "shape": (_shape, "[Y, X] or [T, Y, X], whole numbers above 0"),
    "dtype": (_dtype, 'a NumPy type of numbers, such as "<u2"'),
    "offset": (_integer, "a number of bytes, at least 0"),
    "frame_rate_hz": (_positive, "a number above 0"),
    "pixel_size_mm": (_positive, "a number above 0"),
    "channels": (_names, "a list of different names"),
    "metadata": (_facts, "an object, without the key 'format'"),
}
