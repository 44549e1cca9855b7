"""Truth and reconstruction side by side: a video, and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import arguments
from ..mp4 import checked_mp4, checked_rate, write_mp4
from .checks import GREY, SCORE_ALPHA, checked_mask, checked_movie

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def side_by_side(
    truth: ArrayLike, movie: ArrayLike, mask: ArrayLike | None = None
) -> NDArray[np.uint8]:
    """Put truth and reconstruction beside each other, grey where the mask is not.

    The reconstruction gets the truth's mean and contrast within the mask, since a correlation
    knows neither.

    Parameters
    ----------
    truth, movie : array_like, shape (T, Y, X)
        From 0 to 255.
    mask : array_like, shape (Y, X), optional

    Returns
    -------
    ndarray of uint8, shape (T, Y, 2 X + 2)
        The truth is on the left; two white columns between.
    """
    shown, found = checked_movie("truth", truth), checked_movie("movie", movie)
    if shown.shape != found.shape:
        raise ValueError(f"movie has shape {found.shape}, but truth has {shown.shape}")
    frames, height, width = shown.shape
    inside = checked_mask(mask, (height, width), SCORE_ALPHA)
    level, spread = found[:, inside].mean(), max(float(found[:, inside].std()), 1e-6)
    matched = (found - level) / spread * shown[:, inside].std() + shown[:, inside].mean()
    pair = np.full((frames, height, 2 * width + 2), 255, np.float32)
    pair[..., :width] = np.where(inside, shown, GREY)
    pair[..., width + 2 :] = np.where(inside, matched, GREY)
    picture: NDArray[np.uint8] = np.rint(np.clip(pair, 0, 255)).astype(np.uint8)
    return picture


def comparison_video(
    path: str | PathLike[str],
    truth: ArrayLike,
    movie: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    frames_per_s: float = 30.0,
    pixel_px: int = 8,
    overwrite: bool = False,
) -> Path:
    """Write a video of the truth on the left and the reconstruction on the right.

    Parameters
    ----------
    path : path
        The file to make, ``.mp4``.
    truth, movie, mask
        As for `side_by_side`.
    frames_per_s : float
    pixel_px : int
        Side of a pixel of the movie in the video.
    overwrite : bool
        Replace a file of this name.

    Returns
    -------
    Path

    Raises
    ------
    TypeError, ValueError
        If something does not fit.
    WriteError
        If the file exists, or cannot be written; nothing incomplete is left.
    ImportError
        Without PyAV (extra ``reconstruct``).
    """
    place = checked_mp4(path)
    rate = checked_rate(frames_per_s)
    size = arguments.integer("pixel_px", pixel_px, 1, 64)
    pair = side_by_side(truth, movie, mask)
    large = pair.repeat(size, axis=1).repeat(size, axis=2)
    large = large[:, : large.shape[1] // 2 * 2, : large.shape[2] // 2 * 2]
    shape = (large.shape[1], large.shape[2])
    write_mp4(
        place, large, shape, rate, pixels="gray", crf=16, overwrite=overwrite, extra="reconstruct"
    )
    return place


def comparison(
    truth: ArrayLike,
    movie: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    by_neurons: Mapping[int, Sequence[float]] | None = None,
    by_members: Mapping[int, Sequence[float]] | None = None,
    title: str = "",
) -> Figure:
    """Draw frames of truth and reconstruction, and correlation by neurons and ensemble.

    Parameters
    ----------
    truth, movie, mask
        As for `side_by_side`.
    by_neurons, by_members : mapping of int to a sequence of float, optional
        Correlations, of several movies, with so many neurons, or so many members of an ensemble.
    title : str

    Returns
    -------
    Figure
        For `iosfast.figures.save`.
    """
    from matplotlib.figure import Figure

    pair = side_by_side(truth, movie, mask)
    width = (pair.shape[2] - 2) // 2
    count = 6
    chosen = np.linspace(0, len(pair) - 1, count + 2).round().astype(int)[1:-1]
    curves = [
        (values, label)
        for values, label in ((by_neurons, "neurons"), (by_members, "members of the ensemble"))
        if values
    ]
    inch = 9 / count * pair.shape[1] / width
    figure = Figure(figsize=(9, 2 * inch + 0.8 + (2.8 if curves else 0)), layout="constrained")
    heights = [2 * inch + 0.8, 2.8] if curves else [1]
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    axes = parts[0].subplots(2, count, squeeze=False)
    for column, t in enumerate(chosen):
        for row, part in enumerate((pair[t, :, :width], pair[t, :, width + 2 :])):
            axis = axes[row, column]
            axis.imshow(part, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
        axes[0, column].set_title(f"frame {t}", fontsize=8)
    for row, label in enumerate(("shown", "reconstructed")):
        axes[row, 0].set_ylabel(label, fontsize=8)
    if curves:
        below = parts[1].subplots(1, len(curves), squeeze=False)[0]
        for axis, (values, label) in zip(below, curves, strict=True):
            _curve(axis, values, label)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def _curve(axis: Any, values: Mapping[int, Sequence[float]], label: str) -> None:
    at = sorted(values)
    for x in at:
        axis.plot([x] * len(values[x]), values[x], "o", color="0.7", markersize=4)
    axis.plot(at, [float(np.mean(values[x])) for x in at], "o-", color="#0072b2", markersize=5)
    if at[-1] > 16:
        axis.set_xscale("log", base=2)
    axis.set_xticks(at, [str(x) for x in at])
    axis.minorticks_off()
    axis.set_xlabel(label)
    axis.set_ylabel("correlation with the truth")
    axis.spines[["top", "right"]].set_visible(False)
