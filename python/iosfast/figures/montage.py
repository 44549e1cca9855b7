"""The maps of a clip side by side, with the outlines of its waves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import arguments
from ..binning import checked_times
from ..mask_stacks import checked_pixel_size, checked_stacks
from .color_scale import ColorScale
from .parts import checked_images, clock, edged, object_color, outlines, scale_bar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def montage(
    images: NDArray[Any],
    masks: NDArray[Any],
    times_s: ArrayLike,
    *,
    scale: ColorScale | None = None,
    pixel_size_mm: float | tuple[float, float] | None = None,
    objects: Sequence[Any] | None = None,
    title: str = "",
    tiles: int = 18,
    columns: int = 6,
    width_in: float = 7.2,
) -> Figure:
    """Draw maps of a clip side by side, with outlines and times.

    Parameters
    ----------
    images : ndarray, shape (T, Y, X), or of uint8, shape (T, Y, X, 3)
        Maps as numbers, or in colours.
    masks : ndarray of bool or uint8, shape (T, Y, X) or (objects, T, Y, X)
    times_s : array_like, shape (T,)
        Times of the maps in seconds, increasing.
    scale : ColorScale, optional
        What the colours mean. Needed for a bar of maps that are in colours; numbers are grey,
        from their 1st to their 99.5th percentile, without it.
    pixel_size_mm : float or pair of float, optional
        Edge of a pixel, or (y, x); there is a bar of scale with it.
    objects : sequence, optional
        What the objects are called; 1, 2, ... if not given.
    title : str
    tiles : int
        Maps to show at most, evenly over those with a mask.
    columns : int
    width_in : float
        Width of the figure in inches.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    TypeError, ValueError
        If something does not fit.
    """
    stacks = checked_stacks("masks", masks) != 0
    images = checked_images("images", images, stacks.shape[1:])
    times = checked_times(times_s, stacks.shape[1])
    tiles = arguments.integer("tiles", tiles, 1)
    columns = arguments.integer("columns", columns, 1)
    size = None if pixel_size_mm is None else checked_pixel_size(pixel_size_mm)
    names = list(range(1, len(stacks) + 1)) if objects is None else list(objects)
    if len(names) != len(stacks):
        raise ValueError(f"objects must name each of the {len(stacks)} objects, not {objects!r}")
    from matplotlib.figure import Figure

    active = np.flatnonzero(stacks.any(axis=(0, 2, 3)))
    candidates = active if active.size else np.arange(len(times))
    at = np.unique(np.linspace(0, candidates.size - 1, min(tiles, candidates.size)).round())
    chosen = candidates[at.astype(int)]
    columns = min(columns, chosen.size)
    rows = -(-chosen.size // columns)
    height, width = stacks.shape[2:]
    aspect = 1.0 if size is None else size[0] / size[1]
    inch = (width_in - 0.1) / columns
    figure = Figure(
        figsize=(width_in, rows * (inch * height * aspect / width + 0.2) + 0.75),
        layout="constrained",
    )
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    if scale is None and images.ndim == 3:
        scale = ColorScale.of_images(images, "brightness")
    colored = images if images.ndim == 4 or scale is None else scale.rgb(images[chosen])
    if images.ndim == 4:
        colored = images[chosen]
    for axis, image, t in zip(axes, colored, chosen.tolist(), strict=False):
        axis.imshow(image, aspect=aspect, interpolation="nearest")
        axis.set_title(clock(float(times[t])), fontsize=7, pad=2)
        for number, mask in enumerate(stacks[:, t]):
            _outline(axis, mask, object_color(number))
    scale_bar(axes[0], (height, width), None if size is None else size[1], 6)
    if scale is not None:
        place = {"orientation": "horizontal", "fraction": 0.05, "aspect": 45, "shrink": 0.5}
        scale.bar(figure, list(axes), **place, pad=0.02)
    if len(stacks) > 1:
        _legend(figure, names)
    if title:
        figure.suptitle(title, fontsize=9)
    return figure


def _outline(axis: Axes, mask: NDArray[np.bool_], color: str) -> None:
    for line in outlines(mask):
        axis.plot(*line.T, color=color, linewidth=0.8, path_effects=edged(1.5))


def _legend(figure: Figure, names: list[Any]) -> None:
    from matplotlib.lines import Line2D

    figure.legend(
        [Line2D([], [], color=object_color(n), path_effects=edged(2.5)) for n in range(len(names))],
        [f"wave {name}" for name in names],
        loc="outside upper right",
        fontsize=7,
        frameon=False,
        ncols=min(4, len(names)),
    )
