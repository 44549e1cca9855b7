"""Frames that are stored column by column."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .recording import ClockName, Recording

#: Rows that are turned at a time: as many cache lines stay in the first-level cache.
_ROWS = 32


def turn(images: NDArray[Any], out: NDArray[Any]) -> None:
    """Exchange rows and columns of images (N, X, Y), into out (N, Y, X)."""
    for row in range(0, images.shape[1], _ROWS):
        out[:, :, row : row + _ROWS] = images[:, row : row + _ROWS].swapaxes(1, 2)


class TurnedRecording(Recording):
    """Frames whose rows and columns are exchanged in the file, as (T, X, Y).

    Means are best made of the frames as they are stored, and turned then.

    Parameters
    ----------
    stored : Recording
        The frames as they are stored, (T, X, Y); closed with this one.
    """

    def __init__(self, stored: Recording) -> None:
        frames, width, height = stored.shape
        super().__init__(
            source=stored.source,
            shape=(frames, height, width),
            dtype=stored.dtype,
            frame_rate_hz=stored.frame_rate_hz,
            pixel_size_mm=stored.pixel_size_mm,
            start_s=stored.start_s,
            metadata=stored.metadata,
            notes=stored.notes,
            channels=stored.channels,
            times_s=lambda: stored.times_s,
        )
        self._stored = stored

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        out = np.empty((stop - start, *self.shape[1:]), self.dtype)
        turn(self._stored.read(start, stop), out)
        return out

    @property
    def as_stored(self) -> Recording:
        """The frames as they are stored, (T, X, Y)."""
        return self._stored

    @property
    def chunk_frames(self) -> int:
        """Frames that are stored together."""
        return self._stored.chunk_frames

    def clock_s(self, clock: ClockName) -> NDArray[np.float64]:
        """Return the times of the files' own clock."""
        return self._stored.clock_s(clock)

    def close(self) -> None:
        """Release the files."""
        self._stored.close()
