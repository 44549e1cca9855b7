"""Windows of a movie: where they begin, and how often each frame is in one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Windows:
    """Windows of equal length that cover a movie.

    Parameters
    ----------
    frames : int
        Of the movie.
    length : int
        Of a window, in frames.
    starts : tuple of int
        First frames, each once.
    times : tuple of int
        How often each counts.
    """

    frames: int
    length: int
    starts: tuple[int, ...]
    times: tuple[int, ...]

    @property
    def coverage(self) -> NDArray[np.float32]:
        """In how many windows each frame is, shape (T,)."""
        count = np.zeros(self.frames, np.float32)
        for start, times in zip(self.starts, self.times, strict=True):
            count[start : start + self.length] += times
        return count


def windows_of(frames: int, length: int, stride: int, *, published: bool) -> Windows:
    """Give windows at every stride, and one that ends with the movie.

    In the published procedure the last one is added also where a stride ends there, and then
    counts twice.
    """
    length = min(length, frames)
    starts = list(range(0, frames - length + 1, stride))
    last = frames - length
    times = [1] * len(starts)
    if starts[-1] != last:
        starts.append(last)
        times.append(1)
    elif published:
        times[-1] += 1
    return Windows(frames, length, tuple(starts), tuple(times))
