"""How like a reconstruction is to what was shown."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import arguments
from .checks import SCORE_ALPHA, checked_mask, checked_movie

#: Frames at the beginning that do not count, as published.
SKIP_FRAMES = 30


def score(
    movie: ArrayLike, truth: ArrayLike, mask: ArrayLike | None = None, skip: int = SKIP_FRAMES
) -> float:
    """Correlation of a reconstruction with the truth: one Pearson r over all pixels and frames.

    Parameters
    ----------
    movie, truth : array_like, shape (T, Y, X)
        From 0 to 255.
    mask : array_like, shape (Y, X), optional
        Pixels that count: those that are True, or where a transparency mask is at least 1.
    skip : int
        Frames at the beginning that do not count.

    Returns
    -------
    float
        -1 to 1.

    Raises
    ------
    TypeError, ValueError
        If something does not fit, or either movie is the same everywhere.

    Notes
    -----
    Bauer, Margrie, Clopath, eLife, doi 10.7554/eLife.105081, which skip the first 30 of 300.
    """
    found, shown = _compared(movie, truth, mask, skip)
    return _pearson(found, shown)


def correlation_by_lag(
    movie: ArrayLike,
    truth: ArrayLike,
    mask: ArrayLike | None = None,
    skip: int = SKIP_FRAMES,
    *,
    max_lag: int = 10,
) -> NDArray[np.float64]:
    """Correlations of the reconstruction with the truth some frames before and after.

    Parameters
    ----------
    movie, truth, mask, skip
        As for `score`.
    max_lag : int
        In frames.

    Returns
    -------
    ndarray of float64, shape (2 max_lag + 1,)
        At lags of -max_lag to max_lag; above 0 the reconstruction is late.

    Raises
    ------
    TypeError, ValueError
        If something does not fit.
    """
    found, shown = _compared(movie, truth, mask, skip)
    frames = len(found)
    max_lag = arguments.integer("max_lag", max_lag, 0, max(0, frames - 2))
    values = []
    for lag in range(-max_lag, max_lag + 1):
        late, early = max(0, lag), max(0, -lag)
        values.append(_pearson(found[late : frames - early], shown[early : frames - late]))
    return np.array(values)


def _compared(
    movie: ArrayLike, truth: ArrayLike, mask: ArrayLike | None, skip: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    found, shown = checked_movie("movie", movie), checked_movie("truth", truth)
    if found.shape != shown.shape:
        raise ValueError(f"movie has shape {found.shape}, but truth has {shown.shape}")
    inside = checked_mask(mask, (found.shape[1], found.shape[2]), SCORE_ALPHA)
    skip = arguments.integer("skip", skip, 0)
    if skip >= len(found):
        raise ValueError(f"skip must be below the number of frames, {len(found)}, not {skip}")
    return found[skip:, inside], shown[skip:, inside]


def _pearson(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    a, b = one.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    a -= a.mean()
    b -= b.mean()
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    if norms == 0:
        raise ValueError("a movie that is the same everywhere has no correlation")
    return float(a @ b) / norms
