"""Which frames make which bin: by count, or by the clock."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from . import _core
from .recipe import Recipe

#: Relative slack for products like 0.1 s x 60 Hz, which are whole numbers but for rounding.
_SLACK = 1e-9


@dataclass(frozen=True)
class FrameClock:
    """Number of the bin that a frame belongs to, by its position or by its time.

    `frames_per_bin` is the nominal number of frames; None if only time stamps tell.
    """

    bin_seconds: float
    frames_per_bin: float | None
    by_time: bool

    @classmethod
    def of(cls, recipe: Recipe, frame_rate_hz: float | None, by_time: bool) -> FrameClock:
        """Build the clock of a recipe; the frame rate may be unknown only if `by_time`."""
        if recipe.bin_frames is not None:
            if by_time:
                raise ValueError("bin_frames counts frames; with times, give bin_seconds instead")
            assert frame_rate_hz is not None
            return cls(recipe.bin_frames / frame_rate_hz, float(recipe.bin_frames), False)
        assert recipe.bin_seconds is not None
        nominal = None if frame_rate_hz is None else recipe.bin_seconds * frame_rate_hz
        if nominal is not None and nominal < 1 - _SLACK:
            raise ValueError(
                f"bin_seconds={recipe.bin_seconds} is shorter than one frame at "
                f"{frame_rate_hz:.4g} Hz; use longer bins, or bin_frames=1 for each frame"
            )
        if not by_time:
            assert nominal is not None
            if nominal > _core.MAX_FRAMES_PER_BIN:
                raise too_many_frames(math.ceil(nominal))
        return cls(recipe.bin_seconds, nominal, by_time)

    def by_position(self, first: int, count: int) -> NDArray[np.int64]:
        """Bin of frames [first, first + count), counted from 0."""
        assert self.frames_per_bin is not None
        position = np.arange(first, first + count, dtype=np.int64)
        whole = round(self.frames_per_bin)
        if abs(self.frames_per_bin - whole) <= _SLACK * whole:
            return position // whole
        return np.floor(position / self.frames_per_bin + _SLACK).astype(np.int64)

    def next_edge(self, position: int) -> int:
        """First frame of the bin after that of a frame."""
        assert self.frames_per_bin is not None
        current = int(self.by_position(position, 1)[0])
        edge = max(position + 1, math.ceil((current + 1) * self.frames_per_bin))
        while edge > position + 1 and self.by_position(edge - 1, 1)[0] > current:
            edge -= 1
        while self.by_position(edge, 1)[0] == current:
            edge += 1
        return edge

    def by_times(self, times_s: NDArray[np.float64]) -> NDArray[np.int64]:
        """Bin of frames at these times; bin n lasts from n * bin_seconds on.

        Times count to the microsecond: seconds since 1970 as float64 have no finer steps.
        """
        length = Fraction(self.bin_seconds).limit_denominator(10**9)
        whole_s = np.floor(times_s)
        parts = whole_s.astype(np.int64) * length.denominator  # less than 2^63
        number, rest = np.divmod(parts, length.numerator)
        # Half a microsecond more, as an edge need not be a whole number of them.
        fraction_s = (np.rint((times_s - whole_s) * 1e6) + 0.5) / 1e6
        since_s = rest / length.denominator + fraction_s
        return number + np.floor(since_s / float(length)).astype(np.int64)

    def is_whole(self, frames: int, next_position: int, earlier: list[int]) -> bool:
        """Tell whether the last bin, of so many frames, holds all that belong into it.

        By count, it does if the next frame would open a new bin. By time, if it has the nominal
        number of frames, or that of the bins before it, but for 2 % or one frame.
        """
        if not self.by_time:
            last, following = self.by_position(next_position - 1, 2)
            return bool(following > last)
        expected = self.frames_per_bin
        if expected is None:
            if not earlier:
                return True
            expected = float(np.median(earlier))
        return frames >= expected - max(1.0, 0.02 * expected)


def edges_of(bins: NDArray[np.int64]) -> NDArray[np.int64]:
    """First frame of every run of equal bin numbers, and the number of frames at the end."""
    starts = np.flatnonzero(np.diff(bins)) + 1
    return np.concatenate([[0], starts, [bins.size]]).astype(np.int64)


def too_many_frames(frames: int) -> ValueError:
    """Error for a bin whose sum might not fit."""
    told = f"{frames:,}" if frames < 10**12 else f"{frames:.3g}"
    return ValueError(
        f"a bin of {told} frames is more than the {_core.MAX_FRAMES_PER_BIN:,} whose sum is "
        "sure to fit 32 bits; use shorter bins"
    )


def checked_times(times_s: object, frames: int) -> NDArray[np.float64]:
    """Times of frames as float64 (T,), finite, and never decreasing.

    Raises
    ------
    ValueError
        Naming the frame at which the times go wrong.
    """
    times = np.asarray(times_s)
    if times.dtype.kind not in "iuf":
        raise TypeError(f"times must be numbers (seconds), not {times.dtype}")
    times = times.astype(np.float64)
    if times.shape != (frames,):
        raise ValueError(f"times must have one entry per frame, ({frames},), not {times.shape}")
    bad = np.flatnonzero(~np.isfinite(times))
    if bad.size:
        raise ValueError(f"times must be finite; frame {bad[0]} has {times[bad[0]]}")
    if np.abs(times).max() > 9e9:
        raise ValueError("times must be seconds (at most 9e9), not milliseconds or ticks")
    back = np.flatnonzero(np.diff(times) < 0)
    if back.size:
        i = int(back[0])
        raise ValueError(
            f"times must not decrease; frame {i + 1} ({times[i + 1]} s) is before "
            f"frame {i} ({times[i]} s)"
        )
    return times
