"""What was tracked of a wave but is not where it was outlined: of a second wave, it may be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .wave_tracks import Track


def unexplained(
    front: tuple[Track, ...],
    masks: NDArray[np.bool_],
    first: int,
    block_px: int,
    reach_cells: float,
) -> Track:
    """Return the cells of a front that are farther from all outlines than a front gets in a map.

    Parameters
    ----------
    front : tuple of Track
        Of one sign.
    masks : ndarray of bool, shape (objects, T, Y, X)
        Outlines, the first of which are those of map `first`.
    first, block_px : int
        Map; side of a cell.
    reach_cells : float
        How far a front gets from map to map.
    """
    near = _spread(_cells(np.logical_or.reduce(masks, axis=0), block_px), int(reach_cells))
    rest = Track(front[0].sign)
    for track in front:
        for now, c in track.cells.items():
            if 0 <= now - first < len(near):
                far = ~near[now - first, c[:, 0], c[:, 1]]
                if far.any():
                    rest.add(now, c[far])
    return rest


def _cells(masks: NDArray[np.bool_], block_px: int) -> NDArray[np.bool_]:
    """Tell which cells hold a part of a mask."""
    for axis in (1, 2):
        starts = np.arange(0, masks.shape[axis], block_px)
        masks = np.logical_or.reduceat(masks, starts, axis=axis)
    return masks


def _spread(cells: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Add what is at most so many rows and columns away."""
    for axis in (1, 2):
        added = cells.copy()
        length = cells.shape[axis]
        for step in range(1, min(reach, length - 1) + 1):
            low, high = (
                np.s_[:, :-step] if axis == 1 else np.s_[:, :, :-step],
                np.s_[:, step:] if axis == 1 else np.s_[:, :, step:],
            )
            added[low] |= cells[high]
            added[high] |= cells[low]
        cells = added
    return cells
