"""How well two masks agree: overlap, contours, distances."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_Mask = NDArray[np.bool_]
_Doubles = NDArray[np.float64]

#: Contours match within this part of the image's diagonal (DAVIS), rounded up to whole pixels.
DAVIS_TOLERANCE = 0.008
#: Pairs of a contour's pixel and a column that are compared at a time.
_PAIRS = 1 << 21


def overlap_counts(predicted: _Mask, truth: _Mask, pixels: int) -> NDArray[np.int64]:
    """Count the pixels of each pair of masks.

    Parameters
    ----------
    predicted, truth : ndarray of bool, shape (T, Y, X)
    pixels : int
        That can be in a mask at all.

    Returns
    -------
    ndarray of int64, shape (T, 4)
        In both, in the predicted one only, in the true one only, in none.
    """
    both = np.count_nonzero(predicted & truth, axis=(1, 2))
    ours = np.count_nonzero(predicted, axis=(1, 2)) - both
    theirs = np.count_nonzero(truth, axis=(1, 2)) - both
    return np.column_stack([both, ours, theirs, pixels - both - ours - theirs]).astype(np.int64)


def ratio(numerator: _Doubles, denominator: _Doubles, otherwise: float) -> _Doubles:
    """Divide, with a value of its own where there is nothing to divide by."""
    there = denominator != 0
    return np.where(there, numerator / np.where(there, denominator, 1), otherwise)


def kappa_of(counts: NDArray[np.generic]) -> _Doubles:
    """Cohen's kappa of counts as `overlap_counts` gives them, along the last axis.

    NaN where both have one class only: then chance alone explains the agreement.
    """
    both, ours, theirs, none = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    chance = (both + ours) * (ours + none) + (both + theirs) * (theirs + none)
    return ratio(2 * (both * none - ours * theirs), chance, math.nan)


def davis_contour(mask: _Mask) -> _Mask:
    """Pixels that differ from the one to the right, below, or both (DAVIS).

    The contour lies half a pixel to the upper left of the edge; the last row looks to the right
    only, the last column downwards only.
    """
    contour = np.zeros_like(mask)
    inner = mask[:-1, :-1]
    contour[:-1, :-1] = (inner ^ mask[:-1, 1:]) | (inner ^ mask[1:, :-1]) | (inner ^ mask[1:, 1:])
    contour[-1, :-1] = mask[-1, :-1] ^ mask[-1, 1:]
    contour[:-1, -1] = mask[:-1, -1] ^ mask[1:, -1]
    return contour


def published_contour(mask: _Mask) -> _Mask:
    """Pixels at which the mask begins, going down a column (published).

    Those where the central difference along y is positive, one-sided at the first and last row:
    the upper edge of the mask two pixels thick, and nothing of its lower and its side edges.
    """
    contour = np.zeros_like(mask)
    if len(mask) > 1:
        contour[1:-1] = mask[2:] & ~mask[:-2]
        contour[0] = mask[1] & ~mask[0]
        contour[-1] = mask[-1] & ~mask[-2]
    return contour


def davis_f(predicted: _Mask, truth: _Mask) -> float:
    """F-score of contours that match within a tolerance, as of DAVIS.

    Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation",
    CVPR 2016; tolerance of 0.008 of the diagonal, which is 6 pixels of 512 x 512.
    """
    ours, theirs = davis_contour(predicted), davis_contour(truth)
    if not ours.any() or not theirs.any():
        return float(ours.any() == theirs.any())
    tolerance = math.ceil(DAVIS_TOLERANCE * math.hypot(*predicted.shape))
    precision = np.mean(distances(ours, theirs) <= tolerance)
    recall = np.mean(distances(theirs, ours) <= tolerance)
    return _f_score(float(precision), float(recall))


def published_f(predicted: _Mask, truth: _Mask) -> float:
    """F-score of the published contours, which match where they are the same pixel.

    It is 0 where there is no contour.
    """
    ours, theirs = published_contour(predicted), published_contour(truth)
    if not ours.any() or not theirs.any():
        return 0.0
    both = np.count_nonzero(ours & theirs)
    return _f_score(both / np.count_nonzero(ours), both / np.count_nonzero(theirs))


CONTOUR_F: dict[str, Callable[[_Mask, _Mask], float]] = {
    "davis": davis_f,
    "published": published_f,
}


def _f_score(precision: float, recall: float) -> float:
    total = precision + recall
    return 2 * precision * recall / total if total > 0 else 0.0


def edge_of(mask: _Mask) -> _Mask:
    """Pixels of a mask that have a neighbour in row or column outside of it or of the image."""
    around = np.pad(mask, 1)
    inside = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return mask & ~inside


def hausdorff_95(
    predicted: _Mask, truth: _Mask, pixel_size: tuple[float, float] = (1.0, 1.0)
) -> float:
    """Distance that 95 % of the edges' pixels are closer to the other edge.

    The larger one of the two directions, each the 95th percentile (linear) of the distances from
    the pixels of one edge to the nearest of the other; NaN where a mask is empty.

    Parameters
    ----------
    predicted, truth : ndarray of bool, shape (Y, X)
    pixel_size : pair of float
        (y, x).
    """
    if not predicted.any() or not truth.any():
        return math.nan
    ours, theirs = edge_of(predicted), edge_of(truth)
    there = np.percentile(distances(ours, theirs, pixel_size), 95)
    back = np.percentile(distances(theirs, ours, pixel_size), 95)
    return float(max(there, back))


def distances(of: _Mask, to: _Mask, pixel_size: tuple[float, float] = (1.0, 1.0)) -> _Doubles:
    """Distance of each pixel of a set to the nearest of another, which is not empty.

    Parameters
    ----------
    of, to : ndarray of bool, shape (Y, X)
    pixel_size : pair of float
        (y, x).

    Returns
    -------
    ndarray of float64, shape (N,)
        In the order of rows.
    """
    high, wide = pixel_size
    y, x = np.nonzero(of)
    columns = np.flatnonzero(to.any(axis=0))
    set_there = to[:, columns]
    rows = np.arange(len(to), dtype=np.float64)[:, np.newaxis]
    above = np.maximum.accumulate(np.where(set_there, rows, -np.inf), axis=0)
    below = np.minimum.accumulate(np.where(set_there, rows, np.inf)[::-1], axis=0)[::-1]
    along_y = np.minimum(rows - above, below - rows)
    along_y *= high
    along_y *= along_y
    nearest = np.empty(y.size)
    step = max(1, _PAIRS // columns.size)
    for begin in range(0, y.size, step):
        part = slice(begin, begin + step)
        squares = (x[part, np.newaxis] - columns) * wide
        squares *= squares
        squares += along_y[y[part]]
        nearest[part] = squares.min(axis=1)
    return np.sqrt(nearest)
