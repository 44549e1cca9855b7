"""Which pixels can be binned, and frames that lie uncompressed in files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from os import PathLike, fspath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..errors import ReadError
from .recording import Recording


def check_pixels(dtype: np.dtype[Any], error: Callable[[str], Exception]) -> None:
    """Raise `error` unless frames of this dtype can be binned without loss."""
    if dtype.newbyteorder("=").name in PIXEL_TYPES:
        return
    why = {
        "b": "a mask has no brightness",
        "i": "its values are not as bright as light, or too large for an exact sum",
        "u": "its values are too large for an exact sum",
        "f": "it is not precise enough for changes of 0.1 %, or not known to the core",
        "c": "a change of complex numbers has no sign; take their magnitude",
    }.get(dtype.kind, "it holds no numbers")
    raise error(
        f"frames must be one of {', '.join(PIXEL_TYPES)}, not {dtype}: {why}; "
        "convert them with a scale that you choose"
    )


#: What the core can bin.
PIXEL_TYPES = ("uint8", "uint16", "int16", "int32", "uint32", "float32", "float64")


class Run(NamedTuple):
    """Frames at a constant stride in one file: bytes of offset and stride, number of frames."""

    path: str
    offset: int
    stride: int
    frames: int


class Layout(NamedTuple):
    """Where all pixels of a recording lie uncompressed in files.

    Attributes
    ----------
    runs : tuple of Run
    dtype : numpy dtype
        With the byte order of the files.
    row_bytes : int
        Distance of rows, if they are padded, else 0.
    """

    runs: tuple[Run, ...]
    dtype: np.dtype[Any]
    row_bytes: int = 0

    def source(self, shape: tuple[int, int]) -> _core.FrameSource:
        """Return the core's view of frames of this shape."""
        numbers: dict[str, int] = {}
        rows = [
            (numbers.setdefault(run.path, len(numbers)), run.offset, run.stride, run.frames)
            for run in self.runs
        ]
        # Files are opened when they are read, perhaps from another working directory.
        paths = [os.path.abspath(path) for path in numbers]
        segments = np.array(rows, np.int64).reshape(-1, 4)
        return _core.FrameSource(paths, segments, shape, self.dtype, self.row_bytes)

    def first(self, frames: int) -> list[Run]:
        """Return where the first frames lie, so many."""
        runs: list[Run] = []
        for run in self.runs:
            if frames <= 0:
                break
            runs.append(run._replace(frames=min(run.frames, frames)))
            frames -= run.frames
        return runs

    def selected(self, frames: NDArray[np.int64], step: int) -> Layout:
        """Return the layout of some frames, in increasing order, mostly `step` apart."""
        place = np.array([run[1:] for run in self.runs], np.int64)
        firsts = np.cumsum(place[:, 2]) - place[:, 2]
        which = np.searchsorted(firsts, frames, "right") - 1
        inside = frames - firsts[which]
        offsets = place[which, 0] + inside * place[which, 1]
        breaks = (np.diff(which) != 0) | (np.diff(inside) != step)
        begins = np.concatenate([[0], np.flatnonzero(breaks) + 1])
        counts = np.diff(begins, append=frames.size)
        runs = tuple(
            Run(self.runs[run].path, offset, stride * step, count)
            for run, offset, stride, count in zip(
                which[begins].tolist(),
                offsets[begins].tolist(),
                place[which[begins], 1].tolist(),
                counts.tolist(),
                strict=True,
            )
        )
        return self._replace(runs=runs)


class PixelRecording(Recording):
    """A recording whose pixels lie uncompressed in files.

    Parameters
    ----------
    runs : sequence of Run
    dtype : numpy dtype
        With the byte order of the file.
    row_bytes : int
        Distance of rows in the file, if they are padded, else 0.
    chunk_frames : int
        Frames that are written together.
    **options
        As for `Recording`.
    """

    def __init__(
        self,
        runs: Iterable[Run],
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        source: str | PathLike[str],
        *,
        row_bytes: int = 0,
        chunk_frames: int = 1,
        **options: Any,
    ) -> None:
        check_pixels(dtype, lambda text: ReadError(text, source))
        super().__init__(source=fspath(source), shape=shape, dtype=dtype, **options)
        self._chunk_frames = chunk_frames
        self._lay_out(Layout(tuple(runs), dtype, row_bytes))
        assert self.frame_source.frames == shape[0]

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        return self.frame_source.read(start, stop)

    @property
    def frame_source(self) -> _core.FrameSource:
        """Where the pixels lie."""
        if self._core_source is None:
            raise ReadError("was closed", self.source)
        return self._core_source

    def close(self) -> None:
        """Release the files."""
        self._core_source = None

    @property
    def chunk_frames(self) -> int:
        """Frames that are written together."""
        return self._chunk_frames
