"""The one interface through which every part of iosfast sees a recording."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import ReadError

if TYPE_CHECKING:
    from .._core import FrameSource

ClockName = Literal["mtime", "name", "datetime"]

#: Bytes that one block of ``Recording.blocks`` holds at most, unless one frame is larger.
BLOCK_BYTES = 16 << 20


class Recording(abc.ABC):
    """Frames of one shape and dtype, read in any order, with what the file says of them.

    Subclasses implement `_read`; those whose pixels lie uncompressed in files also give a
    `frame_source`, through which the core reads without a copy in Python.

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
    ) -> None:
        self.source = source
        self.shape = shape
        self.dtype = np.dtype(dtype).newbyteorder("=")
        self.frame_rate_hz = frame_rate_hz
        self.pixel_size_mm = pixel_size_mm
        self.start_s = start_s
        self.metadata: Mapping[str, Any] = MappingProxyType(dict(metadata or {}))
        self.notes = notes

    @abc.abstractmethod
    def _read(self, start: int, stop: int) -> NDArray[Any]:
        """Frames [start, stop), C-contiguous, native byte order; the range is valid."""

    @property
    def frame_source(self) -> FrameSource | None:
        """Where the pixels lie uncompressed, for the core; None if they must be decoded."""
        return None

    @property
    def times_s(self) -> NDArray[np.float64] | None:
        """Time of every frame as the recording itself has it, float64 (T,); None if it has none."""
        return None

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels, uncompressed."""
        t, y, x = self.shape
        return t * y * x * self.dtype.itemsize

    @property
    def block_frames(self) -> int:
        """Frames in about 16 MiB, at least one."""
        return max(1, BLOCK_BYTES * len(self) // max(1, self.nbytes))

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
        return self._read(start, stop)

    def blocks(self, frames: int | None = None) -> Iterator[NDArray[Any]]:
        """Read all frames in order, `frames` at a time (default: about 16 MiB)."""
        if frames is None:
            frames = self.block_frames
        if frames < 1:
            raise ValueError(f"frames must be at least 1, not {frames}")
        for start in range(0, len(self), frames):
            yield self._read(start, min(start + frames, len(self)))

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
