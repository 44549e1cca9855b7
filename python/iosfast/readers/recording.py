"""The one interface through which every part of iosfast sees a recording."""

from __future__ import annotations

import abc
import itertools
import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import ReadError

if TYPE_CHECKING:
    from .._core import FrameSource
    from .pixels import Layout

#: Of all frames, in seconds, float64 (T,); None if nothing tells them.
Times = NDArray[np.float64] | None

#: What a function of blocks gives.
Result = TypeVar("Result")

ClockName = Literal["mtime", "name", "datetime"]

#: Bytes that one block of ``Recording.blocks`` holds at most, unless one chunk is larger, and
#: those that all blocks hold which are read ahead at a time.
BLOCK_BYTES, AHEAD_BYTES = 16 << 20, 64 << 20

#: Blocks that each thread reads of a recording, at least, where they can be small; not smaller
#: than this.
_BLOCKS_OF_EACH, _LEAST_BLOCK_BYTES = 16, 2 << 20


class Recording(abc.ABC):
    """Frames of one shape and dtype, read in any order, with what the file says of them.

    Several threads may read from one recording at once; none may while it is closed.

    Subclasses implement `_read`, safe between threads; those whose pixels lie uncompressed in
    files also give a `frame_source`, through which the core reads without a copy in Python.

    Parameters
    ----------
    source : str
        Where the frames come from, for messages and provenance.
    shape : tuple of int
        (T, Y, X).
    dtype : numpy dtype
        As stored; `read` gives the native byte order of it.
    frame_rate_hz, pixel_size_mm : float, optional
        Only if the file itself says so.
    start_s : float, optional
        Wall-clock time of the first frame, in seconds since 1970-01-01 of the local clock.
    metadata : mapping, optional
        Whatever else the file tells; JSON-serialisable values.
    notes : tuple of str
        What a person should know of how the recording was opened (frames left out, say).
    channels : tuple of str
        Names of the channels (wavelengths) whose frames follow each other in turn, if the file
        tells of several; empty if it is one sequence of frames.
    times_s : ndarray of float64, shape (T,), or callable, optional
        Time stamps in seconds, or what finds them when they are first asked for.
    """

    def __init__(
        self,
        *,
        source: str,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        frame_rate_hz: float | None = None,
        pixel_size_mm: float | None = None,
        start_s: float | None = None,
        metadata: Mapping[str, Any] | None = None,
        notes: tuple[str, ...] = (),
        channels: tuple[str, ...] = (),
        times_s: Times | Callable[[], Times] = None,
    ) -> None:
        self.source = source
        self.shape = shape
        self.dtype = np.dtype(dtype).newbyteorder("=")
        self.frame_rate_hz = frame_rate_hz
        self.pixel_size_mm = pixel_size_mm
        self.start_s = start_s
        self.metadata: Mapping[str, Any] = MappingProxyType(_plain(dict(metadata or {})))
        self.notes = notes
        self.channels = channels
        self._times_s = times_s
        self._layout: Layout | None = None
        self._core_source: FrameSource | None = None

    @abc.abstractmethod
    def _read(self, start: int, stop: int) -> NDArray[Any]:
        """Frames [start, stop), C-contiguous, native byte order; the range is valid."""

    @property
    def frame_source(self) -> FrameSource | None:
        """Where the pixels lie uncompressed, for the core; None if they must be decoded."""
        return self._core_source

    @property
    def layout(self) -> Layout | None:
        """In which files, and where, the pixels of `frame_source` lie; None if they do not."""
        return self._layout

    def _lay_out(self, layout: Layout) -> None:
        """Take the pixels from where they lie in files; for subclasses."""
        self._layout, self._core_source = layout, layout.source(self.shape[1:])

    @property
    def times_s(self) -> Times:
        """Time of every frame as the recording itself has it, float64 (T,); None if it has none."""
        if callable(self._times_s):
            self._times_s = self._times_s()
        return self._times_s

    @property
    def as_stored(self) -> Recording | None:
        """The same frames with rows and columns exchanged, if they are stored so; else None."""
        return None

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels, uncompressed."""
        t, y, x = self.shape
        return t * y * x * self.dtype.itemsize

    @property
    def chunk_frames(self) -> int:
        """Frames that are stored and decoded together; best read from a multiple of it on."""
        return 1

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Read frames.

        Parameters
        ----------
        start, stop : int
            Half-open range of frames, counted from 0; `stop` None is the end.

        Returns
        -------
        ndarray of the recording's dtype, shape (stop - start, Y, X)

        Raises
        ------
        IndexError
            If the range is not within the recording.
        ReadError
            If the file cannot be read there.
        """
        stop = len(self) if stop is None else stop
        if not 0 <= start <= stop <= len(self):
            raise IndexError(
                f"frames [{start}, {stop}) asked of {self.source}, which has {len(self)}"
            )
        return self._checked_read(start, stop)

    def _checked_read(self, start: int, stop: int) -> NDArray[Any]:
        """Read frames, and make sure that a reader gives what it promised."""
        frames = self._read(start, stop)
        if frames.shape != (stop - start, *self.shape[1:]) or frames.dtype != self.dtype:
            raise ReadError(
                f"its reader gave {frames.shape} {frames.dtype} for frames [{start}, {stop}) of "
                f"{self.shape[1]} x {self.shape[2]} {self.dtype}",
                self.source,
                start,
            )
        return frames

    def blocks(
        self,
        frames: int | None = None,
        *,
        start: int = 0,
        stop: int | None = None,
        threads: int = 1,
    ) -> Iterator[NDArray[Any]]:
        """Read frames in order, block by block.

        Parameters
        ----------
        frames : int, optional
            Frames in a block, the last one excepted. By default those of one chunk if it is of 2
            MiB or more, else some 16 MiB of them, in blocks that end where chunks do.
        start, stop : int
            Half-open range of frames; `stop` None is the end.
        threads : int
            So many read ahead, a block or two each; 0 is one per core, 1 reads none ahead.

        Yields
        ------
        ndarray of the recording's dtype, shape (n, Y, X)

        Raises
        ------
        IndexError, ValueError
            If an argument does not fit.
        ReadError
            If the file cannot be read; blocks before that are right.
        """
        return self.map_blocks(
            lambda _, block: block, frames, start=start, stop=stop, threads=threads
        )

    def map_blocks(
        self,
        function: Callable[[int, NDArray[Any]], Result],
        frames: int | None = None,
        *,
        start: int = 0,
        stop: int | None = None,
        threads: int = 1,
    ) -> Iterator[Result]:
        """Call a function on each block, in the thread that reads it, and yield the results.

        Pixels that were just decoded are still in the caches of that core.

        Parameters
        ----------
        function : callable (first, block) -> any
            Given the number of the first frame, and frames as `blocks` yields them; called by
            several threads at once.
        frames, start, stop, threads
            As for `blocks`.

        Yields
        ------
        any
            What the function returns, in the order of blocks.

        Raises
        ------
        IndexError, ValueError, ReadError
            As `blocks`.
        """
        stop = len(self) if stop is None else stop
        if not 0 <= start <= stop <= len(self):
            raise IndexError(
                f"frames [{start}, {stop}) asked of {self.source}, which has {len(self)}"
            )
        if frames is not None and frames < 1:
            raise ValueError(f"frames must be at least 1, not {frames}")
        threads = threads or available_cores()
        if frames is None:
            size = self._block_frames(threads)
            firsts = [start, *range((start // size + 1) * size, stop, size)]
        else:
            firsts = list(range(start, stop, frames))
        ranges = list(itertools.pairwise([*firsts, stop])) if start < stop else []
        # Where one chunk is large, fewer threads keep memory bounded.
        largest = max((b - a for a, b in ranges), default=1) * self.nbytes // max(1, len(self))
        most = AHEAD_BYTES // max(1, largest) - 1
        threads = min(threads, len(ranges), most)

        def one(first: int, last: int) -> Result:
            return function(first, self._checked_read(first, last))

        if threads <= 1:
            return (one(*part) for part in ranges)
        return _ahead(one, ranges, threads, min(2 * threads, most))

    def _block_frames(self, threads: int) -> int:
        """Frames of a block, a multiple of `chunk_frames` if that is possible."""
        nbytes = min(BLOCK_BYTES, AHEAD_BYTES // (threads + 1))
        if threads > 1:  # so that none has much to do when the others have ended
            nbytes = min(
                nbytes, max(_LEAST_BLOCK_BYTES, self.nbytes // (_BLOCKS_OF_EACH * threads))
            )
        frames = max(1, nbytes * len(self) // max(1, self.nbytes))
        chunk = self.chunk_frames
        if chunk * self.nbytes >= _LEAST_BLOCK_BYTES * len(self):  # so that it is not copied
            return chunk
        return frames // chunk * chunk if frames >= chunk else chunk

    def clock_s(self, clock: ClockName) -> NDArray[np.float64]:
        """Time of every frame by the files' own clock, in seconds since 1970-01-01 local.

        Raises
        ------
        ReadError
            If the recording has no such clock.
        """
        raise ReadError(
            f"has no time per frame by {clock!r}; pass times= as an array of seconds, "
            "or frame_rate_hz=",
            self.source,
        )

    def in_time_order(self, clock: ClockName) -> tuple[Recording, NDArray[np.float64]]:
        """Return the recording with its frames in the order of a clock, and their times.

        Only frames in files of their own are moved; elsewhere times must not decrease.
        """
        return self, self.clock_s(clock)

    def close(self) -> None:  # noqa: B027 (most recordings hold nothing open)
        """Release files, which cannot be read afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        t, y, x = self.shape
        return f"<{type(self).__name__} {self.source!r} {t} x {y} x {x} {self.dtype}>"


def _ahead(
    function: Callable[[int, int], Result], ranges: list[tuple[int, int]], threads: int, ahead: int
) -> Iterator[Result]:
    """Call the function on ranges in threads, each of which takes the next whoever is late."""
    doing: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, "iosfast-reader") as pool:
        try:
            for part in ranges:
                doing.append(pool.submit(function, *part))
                if len(doing) > ahead:
                    yield doing.popleft().result()
            while doing:
                yield doing.popleft().result()
        finally:
            for future in doing:
                future.cancel()


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _plain(value: Any) -> Any:
    """Return metadata as JSON can hold them, which knows neither NaN nor infinity."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
