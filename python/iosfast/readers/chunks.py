"""Arrays that are stored in chunks, as frames: where they lie, and how frames are put together."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ReadError, warn
from .pixels import Run, check_pixels
from .recording import AHEAD_BYTES, Recording, available_cores
from .truncation import whole_frames

#: A chunk larger than this is refused; decoders address 2 GiB at most.
MAX_CHUNK_BYTES = 2 << 30
MAX_FRAME_BYTES = 1 << 28
#: Frames are read at once where chunks hold parts of many: this many bytes at most.
MAX_ROW_BYTES = AHEAD_BYTES
#: Of blocks larger than this, few are read ahead at a time, so that they are decoded in threads.
_FEW_AHEAD_BYTES = AHEAD_BYTES // 4


#: Numbers of a chunk along T, C, Y, X.
Place = tuple[int, int, int, int]
#: Gives the path of a chunk's file by its number along every axis of the array.
FileOf = Callable[[tuple[int, ...]], str]


@dataclass(frozen=True)
class Grid:
    """How an array of any number of axes is cut into chunks, and which axes are which.

    Parameters
    ----------
    shape, chunks : tuple of int
        Of the array and of a chunk, axis by axis.
    axes : tuple of int
        Numbers of the axes T, C, Y, X in `shape`; -1 for C if there is no such axis. All other
        axes have the length 1.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    axes: tuple[int, int, int, int]

    def _pick(self, values: tuple[int, ...]) -> tuple[int, int, int, int]:
        t, c, y, x = self.axes
        return values[t], values[c] if c >= 0 else 1, values[y], values[x]

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """Lengths of the axes T, C, Y, X."""
        return self._pick(self.shape)

    @property
    def parts(self) -> tuple[int, int, int, int]:
        """Lengths of a chunk along T, C, Y, X."""
        return self._pick(self.chunks)

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Numbers of chunks along T, C, Y, X."""
        t, c, y, x = (-(-n // m) for n, m in zip(self.sizes, self.parts, strict=True))
        return t, c, y, x

    @property
    def channels(self) -> int:
        """Channels whose frames follow each other in turn."""
        return self.sizes[1]

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(T, Y, X) of the frames of all channels in turn."""
        t, c, y, x = self.sizes
        return t * c, y, x

    def places(self, first: int = 0, last: int | None = None) -> Iterator[Place]:
        """Yield the places of chunks in order, of those numbered [first, last) in time."""
        times, *others = self.counts
        for t in range(first, times if last is None else last):
            for c, y, x in itertools.product(*map(range, others)):
                yield t, c, y, x

    def key(self, place: Place) -> tuple[int, ...]:
        """Return the chunk's number along every axis of the array."""
        key = [0] * len(self.shape)
        for axis, number in zip(self.axes, place, strict=True):
            if axis >= 0:
                key[axis] = number
        return tuple(key)

    def keys_in_time(self) -> list[tuple[int, ...]]:
        """Return the keys of the first chunks of all times."""
        first, axis = self.key((0, 0, 0, 0)), self.axes[0]
        before, after = first[:axis], first[axis + 1 :]
        return [(*before, number, *after) for number in range(self.counts[0])]

    def oriented(self, chunk: NDArray[Any]) -> NDArray[Any]:
        """Return a chunk, which has all axes of the array, as (T, C, Y, X)."""
        t, c, y, x = self.axes
        mine = [a for a in (t, c, y, x) if a >= 0]
        others = [a for a in range(chunk.ndim) if a not in mine]
        first: tuple[Any, ...] = (..., *[0] * len(others))
        moved: NDArray[Any] = chunk.transpose(*mine, *others)[first]
        return moved if c >= 0 else moved[:, np.newaxis]

    def cut(self, frames: int) -> Grid:
        """Return the grid of the first frames only, a whole number of times."""
        shape = list(self.shape)
        shape[self.axes[0]] = frames // self.channels
        return Grid(tuple(shape), self.chunks, self.axes)

    def check(self, path: Path, itemsize: int) -> None:
        """Raise ReadError if nothing can be stored like this."""
        if min(self.shape) < 1:
            raise ReadError(f"holds an array of shape {self.shape}, which has no frames", path)
        if min(self.chunks) < 1 or len(self.chunks) != len(self.shape):
            raise ReadError(f"is damaged: its chunks have the shape {self.chunks}", path)
        frame_bytes = self.sizes[2] * self.sizes[3] * itemsize
        if frame_bytes > MAX_FRAME_BYTES:
            raise ReadError(f"has frames of {frame_bytes:,} bytes, which no camera gives", path)
        if math.prod(self.chunks) * itemsize > MAX_CHUNK_BYTES:
            raise ReadError(
                f"its chunks of {self.chunks} take {math.prod(self.chunks) * itemsize:,} bytes "
                f"each, more than {MAX_CHUNK_BYTES:,}; store it in smaller chunks",
                path,
            )


@dataclass
class Places:
    """Where every chunk is, as arrays of the shape `Grid.counts`.

    Attributes
    ----------
    offsets : ndarray of int64
        First byte in its file; -1 for a chunk that is not stored, and so has the fill value.
    nbytes : ndarray of int64
        Bytes that are stored.
    """

    offsets: NDArray[np.int64]
    nbytes: NDArray[np.int64]

    @classmethod
    def empty(cls, grid: Grid) -> Places:
        """Return places of chunks none of which is stored."""
        return cls(np.full(grid.counts, -1, np.int64), np.zeros(grid.counts, np.int64))

    def settle(
        self,
        path: Path,
        grid: Grid,
        cut: NDArray[np.bool_],
        allow_truncated: bool,
        missing: str,
    ) -> tuple[Grid, tuple[str, ...]]:
        """Return the grid of the frames that are there, and notes.

        Chunks that are not stored have the fill value by the formats' rules. That the last frames
        have none at all means that their writing was interrupted.

        Parameters
        ----------
        cut : ndarray of bool
            Chunks that are not wholly there.
        missing : str
            What a chunk in the middle that is not stored may mean, for the note.
        """
        stored = self.offsets >= 0
        rows = np.asarray(stored.any(axis=(1, 2, 3)))
        if not rows.any():
            raise ReadError("holds no pixels; none of its chunks is stored", path)
        end = rows.size - int(np.argmax(rows[::-1]))
        damaged = cut[:end].any(axis=(1, 2, 3))
        whole = int(np.argmax(damaged)) if damaged.any() else end
        frames = grid.frame_shape[0]
        notes: tuple[str, ...] = ()
        kept = min(frames, whole * grid.parts[0] * grid.channels)
        if kept < frames:
            notes = whole_frames(path, kept, frames, allow_truncated)
        holes = int(np.count_nonzero(~stored[:whole]))
        if holes:
            note = (
                f"{path}: {holes:,} of {stored[:whole].size:,} chunks are not stored and read as "
                f"the fill value; {missing}"
            )
            warn(note)
            notes = (*notes, note)
        return grid.cut(kept), notes


def too_sparse(cells: int, stored: int) -> bool:
    """Tell whether so few chunks are stored that the shape cannot be true."""
    return cells > 10_000 + 100 * stored


def plain_runs(
    grid: Grid, itemsize: int, places: Places, file_of: FileOf
) -> tuple[list[Run], int] | None:
    """Return where frames lie in uncompressed chunks, in C order; None if in no regular way.

    Returns
    -------
    tuple of list of Run and int, or None
        The runs, and the distance of rows in bytes if they are padded, else 0.
    """
    strides = [itemsize] * len(grid.chunks)
    for axis in range(len(strides) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * grid.chunks[axis + 1]
    step_t, step_c, step_y, step_x = grid._pick(tuple(strides))
    (frames, channels, height, width), (part_t, part_c, part_y, part_x) = grid.sizes, grid.parts
    padded = 0 if step_y == width * itemsize else step_y
    in_rows = part_y >= height and part_x >= width and step_x == itemsize <= step_y
    if not in_rows or (places.offsets[: grid.counts[0]] < 0).any():
        return None
    runs: list[Run] = []
    if channels > part_c:  # channels lie in files or chunks of their own
        for t, c in itertools.product(range(frames), range(channels)):
            place = (t // part_t, c // part_c, 0, 0)
            at = int(places.offsets[place]) + t % part_t * step_t + c % part_c * step_c
            runs.append(Run(file_of(grid.key(place)), at, height * step_y, 1))
        return runs, padded
    if channels > 1 and step_t != channels * step_c:
        return None
    stride = step_c if channels > 1 else step_t
    files = [file_of(key) for key in grid.keys_in_time()]
    offsets = places.offsets[: len(files), 0, 0, 0]
    counts = np.minimum(part_t, frames - part_t * np.arange(len(files), dtype=np.int64)) * channels
    adjoins = (offsets[:-1] + counts[:-1] * stride == offsets[1:]).tolist()
    same = itertools.starmap(operator.eq, itertools.pairwise(files))
    joins = [False, *map(operator.and_, adjoins, same)]
    begins = [number for number, joined in enumerate(joins) if not joined]
    totals = np.add.reduceat(counts, begins).tolist()
    found = zip(begins, offsets[begins].tolist(), totals, strict=True)
    return [Run(files[begin], at, stride, count) for begin, at, count in found], padded


@dataclass
class Chunks:
    """How chunks are fetched.

    Attributes
    ----------
    fetch : callable (place, frame) -> ndarray or None
        Gives the chunk at a place (T, C, Y, X), decoded, with all axes of the array, at least as
        long as the array reaches into it, in any byte order; None if it is not stored. Several
        threads call it at once. `frame` is for errors, the first one that is wanted.
    close : callable
        Releases files.
    """

    fetch: Callable[[Place, int], NDArray[Any] | None]
    close: Callable[[], None]


class ChunkedRecording(Recording):
    """Frames that are put together from decoded chunks; safe between threads.

    Parameters
    ----------
    grid : Grid
    dtype : numpy dtype
    chunks : Chunks
    fill : number
        Value of the pixels in chunks that are not stored.
    **options
        As for `Recording`.
    """

    def __init__(
        self,
        grid: Grid,
        dtype: np.dtype[Any],
        chunks: Chunks,
        path: Path,
        *,
        fill: Any = 0,
        **options: Any,
    ) -> None:
        check_pixels(dtype, lambda text: ReadError(text, path))
        super().__init__(source=str(path), shape=grid.frame_shape, dtype=dtype, **options)
        self._grid, self._fill = grid, fill
        self._chunks: Chunks | None = chunks

    @property
    def chunk_frames(self) -> int:
        """Frames of one chunk; fewer if chunks hold small parts of so many that memory ends."""
        frame_bytes = self.shape[1] * self.shape[2] * self.dtype.itemsize
        frames = min(self._grid.parts[0] * self._grid.channels, len(self))
        if self._grid.counts[2:] == (1, 1):
            return frames
        return max(1, min(frames, MAX_ROW_BYTES // max(1, frame_bytes)))

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        _, channels, height, width = self._grid.sizes
        first, last = start // channels, -(-stop // channels)
        places = list(self._places(first, last))
        shape = (last - first, channels, height, width)
        fetched = None
        if len(places) == 1:
            fetched = self._fetch(places[0], first)
            if fetched is not None and self._is_just(fetched, places[0], first, shape):
                return self._frames_of(fetched[: last - first], start, stop)
        out = np.empty(shape, self.dtype)
        if len(places) == 1:
            self._put(fetched, places[0], out, first)
        elif out.nbytes > _FEW_AHEAD_BYTES:
            with ThreadPoolExecutor(available_cores(), "iosfast-chunks") as pool:
                for done in [pool.submit(self._place, out, first, place) for place in places]:
                    done.result()
        else:
            for place in places:
                self._place(out, first, place)
        return self._frames_of(out, start, stop)

    def _frames_of(self, times: NDArray[Any], start: int, stop: int) -> NDArray[Any]:
        """Return frames [start, stop), from (T, C, Y, X) whose first time holds the first one."""
        begin = start % self._grid.channels
        return times.reshape(-1, *times.shape[2:])[begin : begin + stop - start]

    def _is_just(
        self, chunk: NDArray[Any], place: Place, first: int, shape: tuple[int, ...]
    ) -> bool:
        """Tell whether a chunk begins with what is wanted, in this very form."""
        return (
            place[0] * self._grid.parts[0] == first
            and chunk[: shape[0]].shape == shape
            and chunk.dtype == self.dtype
            and chunk.flags.c_contiguous
            and chunk.flags.writeable
        )

    def _place(self, out: NDArray[Any], first: int, place: Place) -> None:
        self._put(self._fetch(place, first), place, out, first)

    def _fetch(self, place: Place, first: int) -> NDArray[Any] | None:
        """Return a chunk as (T, C, Y, X), of which times from `first` on are wanted."""
        if self._chunks is None:
            raise ReadError("was closed", self.source)
        low = max(place[0] * self._grid.parts[0], first)
        chunk = self._chunks.fetch(place, low * self._grid.channels)
        return None if chunk is None else self._grid.oriented(chunk)

    def _put(self, chunk: NDArray[Any] | None, place: Place, out: NDArray[Any], first: int) -> None:
        """Put a chunk where it belongs in out, (T, C, Y, X), whose first time is `first`."""
        parts, sizes = self._grid.parts, self._grid.sizes
        begins = [n * m for n, m in zip(place, parts, strict=True)]
        ends = [min(b + m, size) for b, m, size in zip(begins, parts, sizes, strict=True)]
        low, high = max(begins[0], first), min(ends[0], first + len(out))
        inside = tuple(slice(b, e) for b, e in zip(begins[1:], ends[1:], strict=True))
        target = out[(slice(low - first, high - first), *inside)]
        if chunk is None:
            target[...] = self._fill
            return
        wanted = tuple(slice(0, e - b) for b, e in zip(begins[1:], ends[1:], strict=True))
        target[...] = chunk[(slice(low - begins[0], high - begins[0]), *wanted)]

    def _places(self, first: int, last: int) -> Iterator[Place]:
        part = self._grid.parts[0]
        return self._grid.places(first // part, -(-last // part)) if first < last else iter(())

    def close(self) -> None:
        """Release the files."""
        if self._chunks is not None:
            self._chunks.close()
            self._chunks = None
