"""Plain frames behind each other: raw files, and NumPy's ``.npy``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _core, arguments
from ..errors import ReadError
from .pixels import PixelRecording, Run, check_pixels
from .reader import Options
from .recording import Recording
from .truncation import whole_frames

NPY_MAGIC = b"\x93NUMPY"


def open_raw(path: Path, options: Options) -> Recording:
    """Open a raw file; see `open_recording` for the options."""
    dtype, allow_truncated = options.dtype, options.allow_truncated
    shape: Any = options.shape
    if not isinstance(shape, Sequence) or len(shape) not in (2, 3):
        raise ValueError(f"shape must be (Y, X) or (T, Y, X), not {shape!r}")
    shape = tuple(arguments.integer("shape", n, 1) for n in shape)
    offset = arguments.integer("offset", options.offset, 0)
    try:
        stored = np.dtype("<u2" if dtype is None else dtype)
    except TypeError as error:
        raise TypeError(f"dtype must be a numpy dtype such as '<u2', not {dtype!r}") from error
    check_pixels(stored, TypeError)
    height, width = shape[-2:]
    frame_bytes = height * width * stored.itemsize
    size = os.path.getsize(path) - offset
    whole, rest = divmod(max(size, 0), frame_bytes)
    notes: tuple[str, ...] = ()
    if len(shape) == 3:
        frames = shape[0]
        if whole > frames or (whole == frames and rest):
            raise ReadError(
                f"holds {size:,} bytes of pixels, more than shape={shape} of {stored} "
                f"takes ({frames * frame_bytes:,}); check shape, dtype and offset",
                path,
            )
        if whole < frames:
            notes = whole_frames(path, whole, frames, allow_truncated)
    elif rest:
        if whole == 0:
            raise ReadError(
                f"holds {max(size, 0):,} bytes of pixels, less than one frame of "
                f"{height} x {width} {stored} ({frame_bytes:,})",
                path,
            )
        if not allow_truncated:
            raise ReadError(
                f"its {size:,} bytes of pixels are no whole number of frames of {height} x {width} "
                f"{stored} ({frame_bytes:,} bytes each, {rest:,} left over); check shape, dtype "
                "and offset, or give allow_truncated=True if the file is cut",
                path,
            )
        notes = whole_frames(path, whole, whole + 1, allow_truncated)
    if whole == 0:
        raise ReadError("holds no frame", path)
    return PixelRecording(
        [Run(str(path), offset, frame_bytes, whole)],
        (whole, height, width),
        stored,
        path,
        metadata={"format": "raw"},
        notes=notes,
    )


def open_npy(path: Path, options: Options) -> Recording:
    """Open a ``.npy`` file of shape (T, Y, X)."""
    allow_truncated = options.allow_truncated
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }.get(version)
            if read is None:
                raise ReadError(f"has .npy version {version}, which holds no plain array", path)
            shape, fortran, dtype = read(file)
            offset = file.tell()
    except ReadError:
        raise
    except Exception as error:  # NumPy parses the header as Python, which fails in any way
        raise ReadError(f"has a damaged .npy header: {error}", path) from error
    if len(shape) != 3 or min(shape) < 1:
        raise ReadError(f"holds an array of shape {shape}, not (T, Y, X)", path)
    check_pixels(dtype, lambda text: ReadError(text, path))
    frames, height, width = shape
    frame_bytes = height * width * dtype.itemsize
    size = os.path.getsize(path) - offset
    notes: tuple[str, ...] = ()
    if fortran and size < frames * frame_bytes:
        raise ReadError("is cut, and stored in Fortran order, so no frame of it is whole", path)
    if fortran:
        return _FortranRecording(path, offset, shape, dtype)
    if size < frames * frame_bytes:
        whole = size // frame_bytes
        notes = whole_frames(path, whole, frames, allow_truncated)
        frames = whole
    return PixelRecording(
        [Run(str(path), offset, frame_bytes, frames)],
        (frames, height, width),
        dtype,
        path,
        metadata={"format": "npy"},
        notes=notes,
    )


class _FortranRecording(Recording):
    """A ``.npy`` file in Fortran order: every frame is spread over the whole file."""

    def __init__(
        self, path: Path, offset: int, shape: tuple[int, int, int], dtype: np.dtype[Any]
    ) -> None:
        super().__init__(
            source=str(path),
            shape=shape,
            dtype=dtype,
            metadata={"format": "npy"},
            notes=(f"{path}: is in Fortran order, which reads slowly",),
        )
        self._path, self._offset, self._stored = os.path.abspath(path), offset, dtype
        self._closed = False

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        if self._closed:
            raise ReadError("was closed", self.source)
        frames, height, width = self.shape
        size = self._stored.itemsize
        # Read, not mapped: a map would end the process if the file became shorter.
        pixels = _core.read_records(
            self._path,
            self._offset + start * size,
            frames * size,
            height * width,
            (stop - start) * size,
        )
        if len(pixels) < height * width:
            raise ReadError("has become shorter since it was opened", self.source, start)
        stored = pixels.view(self._stored).reshape(width, height, stop - start)
        return np.ascontiguousarray(stored.transpose(2, 1, 0), self.dtype)

    def close(self) -> None:
        """Refuse further reads; no file is held open."""
        self._closed = True
