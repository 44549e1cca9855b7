"""What a careful person would take today to outline a wave from one point, map after map.

Each takes the change (T, Y, X), times in s, the size of a pixel in mm and prompts with `map_index`
and `points`, and returns masks, bool (objects, T, Y, X). All know the direction of change at the
prompt, how far a front may move between two maps, and that a wave is over when nothing near its
last mask stands out of the noise; each map is otherwise taken by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt, label
from skimage.filters import threshold_otsu
from skimage.segmentation import morphological_chan_vese, random_walker

Method = Callable[[np.ndarray, np.ndarray, float, Sequence[Any]], np.ndarray]

#: Fastest front, mm/min.
SPEED_MM_MIN = 9.0
#: On the map of the prompt, what lies within this distance of the point may be the wave too, mm.
FIRST_MM = 0.5
#: A wave has left when nothing near its last mask is above this many standard deviations.
LEFT_SD = 3.0


def _propagate(
    one: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray], *, whole: bool = False
) -> Method:
    """Make a method of a function of (signed map, previous mask, where the wave may be).

    The function gets the part of the map around the place where the wave may be, or the whole map.
    """

    def method(
        change: np.ndarray, times_s: np.ndarray, pixel_size_mm: float, prompts: Sequence[Any]
    ) -> np.ndarray:
        masks = np.zeros((len(prompts), *change.shape), bool)
        for found, prompt in zip(masks, prompts, strict=True):
            x, y = (round(v) for v in prompt.points[0])
            first = seen = prompt.map_index
            last = np.zeros(change.shape[1:], bool)
            last[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4] = True
            sign = 1.0 if change[first][last].mean() >= 0 else -1.0
            reach = FIRST_MM / pixel_size_mm
            for index in range(first, len(change)):
                signed = sign * change[index]
                if index > first:
                    reach = SPEED_MM_MIN / 60 * (times_s[index] - times_s[seen]) / pixel_size_mm
                near = distance_transform_edt(~last) <= reach
                if index == first:  # all of the piece that the point is in
                    near |= _touching(signed > signed[last].mean() / 2, last)
                middle = np.median(signed)
                sd = 1.4826 * np.median(abs(signed - middle))
                if index > first and np.percentile(signed[near], 99) < middle + LEFT_SD * sd:
                    continue  # nothing: the next map is searched near the same mask
                part = np.s_[:, :] if whole else _box(near)
                found[index][part] = one(signed[part] - middle, last[part], near[part])
                if found[index].any():
                    last, seen = found[index], index
        return masks

    return method


def _box(near: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns that hold all of it, with some more around."""
    spans = []
    for axis in (1, 0):
        inside = np.flatnonzero(near.any(axis=axis))
        spans.append(slice(max(0, inside[0] - 10), inside[-1] + 11))
    return spans[0], spans[1]


def _touching(mask: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Pieces of a mask that overlap the previous one; the largest if none does."""
    pieces, _ = label(mask)
    keep = np.unique(pieces[last])
    keep = keep[keep > 0]
    if not keep.size and pieces.any():
        keep = np.argmax(np.bincount(pieces.ravel())[1:])[None] + 1
    return np.isin(pieces, keep)


def _threshold(signed: np.ndarray, last: np.ndarray, near: np.ndarray) -> np.ndarray:
    return (signed > np.percentile(signed[near], 99.5) / 2) & near


def _otsu(signed: np.ndarray, last: np.ndarray, near: np.ndarray) -> np.ndarray:
    return _touching((signed > threshold_otsu(signed[near])) & near, last)


def _random_walker(signed: np.ndarray, last: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Seeds by the greatest change near the previous mask: above 3/4 of it, below 1/4, far away."""
    top = np.percentile(signed[near], 99.5)
    seeds = np.zeros(signed.shape, np.uint8)
    seeds[~near | (signed < 0.25 * top)] = 2
    seeds[near & (signed > 0.75 * top)] = 1
    if not (seeds == 1).any() or not (seeds == 0).any():
        return seeds == 1
    return random_walker(signed / top, seeds, beta=300, mode="cg_j", tol=1e-4, prob_tol=1) == 1


def _active_contour(signed: np.ndarray, last: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Chan-Vese from a thresholded start, within what the front may reach."""
    top = np.percentile(signed[near], 99.5)
    inside = np.where(near, np.clip(signed / top, -0.5, 1), 0)
    start = near & (signed > top / 2)
    found = morphological_chan_vese(inside, 20, init_level_set=start, smoothing=2)
    return found.astype(bool) & near


PEERS: dict[str, Method] = {
    "threshold gated by the previous mask": _propagate(_threshold),
    "Otsu threshold per map": _propagate(_otsu),
    "random walker per map (scikit-image)": _propagate(_random_walker),
    "active contour (scikit-image, Chan-Vese)": _propagate(_active_contour),
}

#: The walker on whole maps, as it is called on an image; the results are the same or worse.
WHOLE_MAP_WALKER = _propagate(_random_walker, whole=True)
