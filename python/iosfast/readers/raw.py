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
from .sidecar import read_sidecar
from .truncation import whole_frames

NPY_MAGIC = b"\x93NUMPY"

#: NumPy refuses headers that are longer than this.
_NPY_HEADER_BYTES = 10_000


def open_raw(path: Path, options: Options) -> Recording:
    """Open a raw file; see `open_recording` for the options, which win over a sidecar."""
    told = read_sidecar(path)
    shape: Any = options.shape
    if shape is None and told is None:
        raise ReadError("is a raw file; give shape=(Y, X) and dtype", path)
    if shape is None and told is not None:
        shape = told.shape
    if not isinstance(shape, Sequence) or len(shape) not in (2, 3):
        raise ValueError(f"shape must be (Y, X) or (T, Y, X), not {shape!r}")
    shape = tuple(arguments.integer("shape", n, 1) for n in shape)
    offset = arguments.integer("offset", options.offset, 0)
    try:
        stored = np.dtype("<u2" if options.dtype is None else options.dtype)
    except TypeError as error:
        raise TypeError(
            f"dtype must be a numpy dtype such as '<u2', not {options.dtype!r}"
        ) from error
    if told is None:
        check_pixels(stored, TypeError)
        return plain_frames(
            path, shape, stored, offset, options.allow_truncated, metadata={"format": "raw"}
        )
    if options.dtype is None:
        stored = told.dtype
    else:
        check_pixels(stored, TypeError)
    given = options.given()
    told_by = " and ".join([*given, f"{path.stem}.json"])
    return plain_frames(
        path,
        shape,
        stored,
        offset if "offset" in given else told.offset,
        options.allow_truncated,
        told_by=told_by,
        channels=told.channels,
        frame_rate_hz=told.frame_rate_hz,
        pixel_size_mm=told.pixel_size_mm,
        metadata={"format": "raw", **told.metadata},
    )


def plain_frames(
    path: Path,
    shape: tuple[int, ...],
    stored: np.dtype[Any],
    offset: int,
    allow_truncated: bool,
    *,
    told_by: str = "shape, dtype and offset",
    channels: tuple[str, ...] = (),
    **facts: Any,
) -> PixelRecording:
    """Return the frames that follow each other from an offset on.

    Parameters
    ----------
    shape : tuple of int
        (T, Y, X), or (Y, X) to take as many frames as there are.
    stored : numpy dtype
        With its byte order.
    told_by : str
        Where shape, dtype and offset come from, for messages.
    channels, **facts
        As for `Recording`.
    """
    height, width = shape[-2:]
    frame_bytes = height * width * stored.itemsize
    size = os.path.getsize(path) - offset
    whole, rest = divmod(max(size, 0), frame_bytes)
    group = max(1, len(channels))
    notes: tuple[str, ...] = ()
    if len(shape) == 3:
        frames = shape[0]
        if frames % group:
            raise ReadError(f"its {frames} frames are no multiple of its {group} channels", path)
        if whole > frames or (whole == frames and rest):
            raise ReadError(
                f"holds {size:,} bytes of pixels, more than shape={shape} of {stored} "
                f"takes ({frames * frame_bytes:,}); check {told_by}",
                path,
            )
        if whole < frames:
            whole = whole // group * group
            notes = whole_frames(path, whole, frames, allow_truncated)
    elif rest or whole % group:
        what = f"{height} x {width} {stored} ({frame_bytes:,} bytes each"
        if whole < group:
            every = " of every channel" if channels else ""
            raise ReadError(
                f"holds {max(size, 0):,} bytes of pixels, less than one frame of "
                f"{height} x {width} {stored} ({frame_bytes:,}){every}",
                path,
            )
        if not allow_truncated:
            left = f", {rest:,} left over" if rest else f", {whole} of {group} channels"
            raise ReadError(
                f"its {size:,} bytes of pixels are no whole number of frames of {what}{left}); "
                f"check {told_by}, or give allow_truncated=True if the file is cut",
                path,
                whole,
            )
        promised = -(-(whole + (rest > 0)) // group) * group
        whole = whole // group * group
        notes = whole_frames(path, whole, promised, allow_truncated)
    if whole == 0:
        raise ReadError("holds no frame", path)
    return PixelRecording(
        [Run(str(path), offset, frame_bytes, whole)],
        (whole, height, width),
        stored,
        path,
        notes=notes,
        channels=channels,
        **facts,
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
            begin = file.tell()
            length = int.from_bytes(file.read(2 * version[0]), "little")
            if b"\\" in file.read(min(length, _NPY_HEADER_BYTES)):  # Python's parser would warn
                raise ReadError("has a damaged .npy header: there is a backslash in it", path)
            file.seek(begin)
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
