"""Dropped and doubled frames, told by the time stamps of those that are there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

#: Intervals of the longest gap across which frames are told apart by their times.
_LONGEST_GAP = 12
#: Fewer steps than this tell no interval.
_FEWEST_STEPS = 4
#: Share of steps that may be other than about one interval, for a camera of unknown frame rate:
#: coarse time stamps look as if frames were missing all the time. So many may be in any case.
_ODD, _FEW_ODD = 0.02, 8
#: The same if the frame rate is known, and how near to it that of the time stamps must be.
_ODD_AT_RATE, _RATE_TOLERANCE = 0.25, 0.02


@dataclass(frozen=True)
class FrameTimes:
    """When the frames of a steady camera were due.

    Attributes
    ----------
    interval_s : float
        From frame to frame.
    slots : ndarray of int64, shape (T,)
        When each frame was due, in intervals since the first one, but for jitter: a dropped frame
        leaves out a number, and a doubled one has the number of the frame before.
    """

    interval_s: float
    slots: NDArray[np.int64]

    @classmethod
    def of(cls, times_s: NDArray[np.float64], frame_rate_hz: float | None = None) -> Self | None:
        """Examine times that never decrease, float64 (T,), in seconds.

        Parameters
        ----------
        times_s : ndarray of float64, shape (T,)
        frame_rate_hz : float, optional
            If it is known.

        Returns
        -------
        FrameTimes or None
            None if they are too few, too coarse or too irregular to tell.
        """
        steps_s = np.diff(times_s)
        forward = steps_s[steps_s > 0]
        if forward.size < _FEWEST_STEPS:
            return None
        usual = steps_s[np.abs(steps_s - np.median(forward)) < 0.5 * np.median(forward)]
        if not usual.size:
            return None
        interval_s = float(usual.mean())  # the median of coarse time stamps is a coarse one
        agrees = frame_rate_hz is not None and (
            abs(interval_s * frame_rate_hz - 1) < _RATE_TOLERANCE
        )
        most = _ODD_AT_RATE * steps_s.size if agrees else max(_FEW_ODD, _ODD * steps_s.size)
        if steps_s.size - usual.size > min(most, _ODD_AT_RATE * steps_s.size):
            return None
        steps = np.ones(steps_s.size, np.int64)
        odd = np.flatnonzero(np.abs(steps_s / interval_s - 1) >= 0.5)
        # A late frame and an early one behind it are jitter: odd steps in a row count together.
        for group in np.split(odd, np.flatnonzero(np.diff(odd) > 1) + 1):
            if group.size:
                steps[group] = _steps(steps_s[group] / interval_s)
        return cls(interval_s, np.concatenate([[0], np.cumsum(steps)]))

    @property
    def tells_turns(self) -> bool:
        """Whether each frame's turn is sure: hardly any step is odd, and no gap is a long one.

        After a pause, a camera may begin with any channel.
        """
        steps = np.diff(self.slots)
        return bool(
            np.count_nonzero(steps != 1) <= max(_FEW_ODD, 0.01 * steps.size)
            and steps.max(initial=1) <= _LONGEST_GAP
        )

    @property
    def dropped(self) -> int:
        """Frames that are missing."""
        return int(np.maximum(np.diff(self.slots) - 1, 0).sum())

    @property
    def doubled(self) -> int:
        """Frames that were due at the same time as the one before."""
        return int(np.count_nonzero(np.diff(self.slots) == 0))

    def report(self) -> str:
        """Say how many frames are missing or too many, and where; empty if none is."""
        steps = np.diff(self.slots)
        gaps, doubles = np.flatnonzero(steps > 1), np.flatnonzero(steps == 0)
        told = []
        if gaps.size:
            places = f"in {gaps.size:,} places, the first" if gaps.size > 1 else ""
            told.append(
                f"{_count(self.dropped)} missing, {places or 'the gap'} is after frame {gaps[0]:,}"
            )
        if doubles.size:
            first = "the first" if doubles.size > 1 else "which"
            told.append(f"{_count(doubles.size)} doubled, {first} is frame {doubles[0] + 1:,}")
        return "; ".join(told)


def _count(frames: int) -> str:
    return f"{frames:,} frame{' is' if frames == 1 else 's are'}"


def _steps(intervals: NDArray[np.float64]) -> NDArray[np.int64]:
    """Whole steps of frames, given their steps in intervals, with the right sum."""
    count = intervals.size
    due = np.rint(np.cumsum(intervals)).astype(np.int64)
    total = int(due[-1])
    number = np.arange(1, count + 1)
    if total >= count:  # every frame has a place of its own
        due = np.clip(due, number, total - count + number)
    else:
        due = np.clip(due, np.maximum(0, total - count + number), np.minimum(number, total))
    return np.diff(due, prepend=0)
