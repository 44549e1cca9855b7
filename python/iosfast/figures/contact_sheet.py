"""Maps side by side."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np

from .. import arguments
from ..maps import Maps
from .color_scale import ColorScale
from .parts import clock, save, scale_bar

_NAMES = {"dff": "dF/F", "ratio": "ratio F/F0", "difference": "difference"}


def contact_sheet(
    maps: Maps, path: str | PathLike[str], *, tiles: int = 24, columns: int = 6
) -> Path:
    """Draw maps side by side, with their times, the colour scale and the mean image.

    Parameters
    ----------
    maps : Maps
    path : path
        PNG, PDF or SVG to write, by its ending.
    tiles : int
        Images to show at most: the first bin, and maps evenly over the recording.
    columns : int
        Tiles in a row.

    Returns
    -------
    Path
        The picture.

    Raises
    ------
    ValueError
        If `tiles` is below 2 or `columns` below 1.
    """
    tiles = arguments.integer("tiles", tiles, 2)
    columns = arguments.integer("columns", columns, 1)
    from matplotlib.figure import Figure

    count = min(tiles - 1, len(maps))
    shown = np.unique(np.linspace(0, len(maps) - 1, count).round().astype(int))
    cells = shown.size + 1
    rows = -(-cells // columns)
    height, width = maps.info.shape
    inch = 1.6
    figure = Figure(
        figsize=(columns * inch + 0.2, rows * (inch * height / width + 0.25) + 1.0),
        layout="constrained",
    )
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    image = maps.binned[0].astype(np.float32)
    low, high = np.percentile(image, (1, 99.5))
    axes[0].imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1))
    axes[0].set_title("first bin", fontsize=8)
    scale_bar(axes[0], maps.info.shape, maps.pixel_size_mm)
    for axis, index in zip(axes[1:], shown.tolist(), strict=False):
        axis.imshow(maps.rgb[index])
        axis.set_title(clock(float(maps.times_s[index])), fontsize=8)
    ColorScale.of(maps.recipe).bar(
        figure, list(axes), orientation="horizontal", fraction=0.04, aspect=50, shrink=0.5
    )
    name = Path(str(maps.source.get("path", ""))).name
    recipe = maps.recipe
    figure.suptitle(
        f"{name}: {len(maps)} maps, {_NAMES[recipe.change]} over {_interval(maps)}", fontsize=10
    )
    return save(figure, path, dpi=130)


def _interval(maps: Maps) -> str:
    recipe = maps.recipe
    if recipe.baseline_bins is not None:
        return f"the first {recipe.baseline_bins} bins"
    if recipe.bin_seconds is None:
        return f"{recipe.interval_bins} bins of {recipe.bin_frames} frames"
    return f"{recipe.interval_bins * recipe.bin_seconds:g} s"
