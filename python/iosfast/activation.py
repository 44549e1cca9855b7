"""When a wave's front arrives at each pixel, and how fast it is there.

The centroid of a mask is not the front: a ring that grows evenly has a resting centroid. The
front's own speed is the inverse of the gradient of its arrival time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import _core

_Doubles = NDArray[np.float64]
_Numbers = NDArray[np.int32]

#: Standard deviation of the window in which the front is taken as straight, at least, pixels.
LEAST_SIGMA_PX = 8.0
#: It is at least this part of how far the front goes from map to map.
SIGMA_PER_ADVANCE = 0.4
#: A plane must explain this part of the variance of the arrival times around a pixel.
LEAST_EXPLAINED = 0.8
#: The middle of the crossings around a pixel must be no further away, in standard deviations.
GREATEST_DISTANCE = 1.0
#: Masks lie apart from all before where so many times as many lines cross a gap as the outline.
LEAST_APART = 0.1
#: A gap that is longer than so many times the median one along rows and columns stays open.
GREATEST_GAP = 2.0


@dataclass(frozen=True, eq=False)
class Arrival:
    """The arrival of one front.

    Parameters
    ----------
    time_s : ndarray of float64, shape (Y, X)
        When the front arrives, finer than the maps' times. NaN where it cannot be told.
    speed_mm_min : ndarray of float64, shape (Y, X)
        Its speed. NaN where it cannot be told.
    gaps : int
        Pairs of successive masks between which the front passed pixels that no mask covers.
    """

    time_s: _Doubles
    speed_mm_min: _Doubles
    gaps: int


def fit_arrival(
    first: _Numbers, times_s: _Doubles, pixel_size_mm: tuple[float, float], threads: int = 0
) -> Arrival:
    """Arrival time and speed of a front from the first map that covers each pixel.

    The outline of all that is covered up to a map is where the front is at that map's time. Around
    each pixel a plane is fitted to the places and times of these outlines, with weights of a
    Gaussian of at least 8 pixels, and of at least 0.4 of what the front advances from map to
    map; the speed is the inverse of its gradient. There is no speed in the first mask, where the
    front was before, beyond the outlines, and where a plane explains less than 80 % of the
    variance of the times: where fronts collide, where one rests, and at sources.

    A fast front passes pixels that no mask covers if the masks are narrower than its advance.
    Where most of the new mask lies apart from all before, what is between them counts for the
    outlines as passed by the later map.

    Parameters
    ----------
    first : ndarray of int32, shape (Y, X)
        Number of the first map that covers a pixel, or -1.
    times_s : ndarray of float64, shape (T,)
        Times of the maps, increasing.
    pixel_size_mm : pair of float
        (y, x).
    threads : int
        0 for one per core.
    """
    height, width = first.shape
    time_s = np.full((height, width), np.nan)
    speed = np.full((height, width), np.nan)
    rows, columns = np.any(first >= 0, axis=1), np.any(first >= 0, axis=0)
    if not rows.any():
        return Arrival(time_s, speed, 0)
    box = tuple(slice(on.argmax(), on.size - on[::-1].argmax()) for on in (rows, columns))
    inside = np.ascontiguousarray(first[box])
    closed, gaps = _close_gaps(inside)
    sigma_px = max(LEAST_SIGMA_PX, SIGMA_PER_ADVANCE * _advance_px(closed))
    fit = np.empty((5, *inside.shape))
    _core.fit_arrival(closed, times_s, min(sigma_px, 1000.0), fit, threads)
    time, along_x, along_y, explained, distance = fit
    with np.errstate(invalid="ignore", divide="ignore"):
        told = (
            (inside > inside[inside >= 0].min())
            & (explained >= LEAST_EXPLAINED)
            & (distance <= GREATEST_DISTANCE)
        )
        slowness = np.hypot(along_x / pixel_size_mm[1], along_y / pixel_size_mm[0])  # s/mm
        speed[box] = np.where(told, 60 / slowness, np.nan)
    time_s[box] = np.where(told, time, np.nan)
    return Arrival(time_s, speed, gaps)


def _neighbours(first: _Numbers) -> tuple[_Numbers, _Numbers]:
    """Lower and higher number of all neighbours, in rows and columns, that differ."""
    pairs = [(first[:, :-1], first[:, 1:]), (first[:-1], first[1:])]
    a = np.concatenate([p[0].ravel() for p in pairs])
    b = np.concatenate([p[1].ravel() for p in pairs])
    low, high = np.minimum(a, b), np.maximum(a, b)
    front = (low >= 0) & (low != high)
    return low[front], high[front]


def _advance_px(first: _Numbers) -> float:
    """How far the front goes from map to map: the median of new pixels by length of outline."""
    low, _ = _neighbours(first)
    if low.size == 0:
        return 0.0
    new = np.bincount(first[first >= 0])
    # An edge between pixels is as long as a pixel in a row or column, and 4 / pi of the true
    # length of an outline in any direction.
    length = np.bincount(low, minlength=new.size) * (np.pi / 4)
    passed = (length[:-1] > 0) & (new[1:] > 0)
    return float(np.median(new[1:][passed] / length[:-1][passed])) if passed.any() else 0.0


def _close_gaps(first: _Numbers) -> tuple[_Numbers, int]:
    """Fill what lies between successive masks that do not touch, and count such pairs."""
    length = np.full(first.shape, np.iinfo(np.int32).max, np.int32)
    later = np.full(first.shape, -1, np.int32)
    runs = np.zeros(0, np.int32)
    for turned in (False, True):
        shape = first.T if turned else first
        run_later, run_length, starts = _open_runs(np.ascontiguousarray(shape))
        runs = np.concatenate([runs, starts])
        if turned:
            run_later, run_length = run_later.T, run_length.T
        shorter = (run_later >= 0) & (run_length < length)
        later[shorter], length[shorter] = run_later[shorter], run_length[shorter]
    if runs.size == 0:
        return first, 0
    _, high = _neighbours(first)
    touching = np.bincount(high, minlength=int(first.max()) + 1)
    apart = np.bincount(runs, minlength=touching.size)
    closed, gaps = first.copy(), 0
    for number in np.flatnonzero(apart > LEAST_APART * touching):
        of_it = later == number
        if of_it.any():
            limit = GREATEST_GAP * float(np.median(length[of_it]))
            closed[of_it & (length <= limit)] = number
            gaps += 1
    return closed, gaps


def _open_runs(first: _Numbers) -> tuple[_Numbers, _Numbers, _Numbers]:
    """Find runs of uncovered pixels in rows between pixels of successive maps.

    Returns the later map and the length of the run at each of its pixels, and the later map once
    for each run.
    """
    height, width = first.shape
    at = np.arange(width, dtype=np.int32)
    covered = first >= 0
    left = np.maximum.accumulate(np.where(covered, at, -1), axis=1)
    right = np.minimum.accumulate(np.where(covered, at, width)[:, ::-1], axis=1)[:, ::-1]
    between = ~covered & (left >= 0) & (right < width)
    row = np.arange(height)[:, None]
    before = first[row, np.maximum(left, 0)]
    after = first[row, np.minimum(right, width - 1)]
    between &= np.abs(before - after) == 1
    later = np.where(between, np.maximum(before, after), -1).astype(np.int32)
    length = np.where(between, right - left - 1, 0).astype(np.int32)
    starts = between & (left == at - 1)
    return later, length, later[starts]
