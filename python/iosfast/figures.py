"""Pictures of maps, drawn without a display."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from . import arguments
from .maps import Maps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAMES = {"dff": "dF/F", "ratio": "ratio F/F0", "difference": "difference"}
_UNITS = {"dff": "dF/F (%)", "ratio": "ratio F/F0", "difference": "difference (counts)"}


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
    _scale_bar(axes[0], maps)
    for axis, index in zip(axes[1:], shown.tolist(), strict=False):
        axis.imshow(maps.rgb[index])
        axis.set_title(_clock(float(maps.times_s[index])), fontsize=8)
    _color_bar(figure, axes, maps)
    name = Path(str(maps.source.get("path", ""))).name
    recipe = maps.recipe
    figure.suptitle(
        f"{name}: {len(maps)} maps, {_NAMES[recipe.change]} over {_interval(maps)}", fontsize=10
    )
    return _save(figure, Path(path))


def _interval(maps: Maps) -> str:
    recipe = maps.recipe
    if recipe.baseline_bins is not None:
        return f"the first {recipe.baseline_bins} bins"
    if recipe.bin_seconds is None:
        return f"{recipe.interval_bins} bins of {recipe.bin_frames} frames"
    return f"{recipe.interval_bins * recipe.bin_seconds:g} s"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}:{rest:04.1f}" if rest % 1 else f"{int(minutes)}:{int(rest):02d}"


def _scale_bar(axis: Axes, maps: Maps) -> None:
    if maps.pixel_size_mm is None:
        return
    height, width = maps.info.shape
    field_mm = width * maps.pixel_size_mm
    length_mm = max((n for n in (0.01, 0.1, 0.5, 1, 2, 5, 10, 20) if n <= field_mm / 3), default=0)
    if not length_mm:
        return
    begin, y = 0.06 * width, 0.92 * height
    end = begin + length_mm / maps.pixel_size_mm
    axis.plot([begin, end], [y, y], color="white", linewidth=2)
    axis.text(begin, y - 0.03 * height, f"{length_mm:g} mm", color="white", fontsize=7)


def _color_bar(figure: Figure, axes: Any, maps: Maps) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    colors = ListedColormap(maps.recipe.colors()[:256] / 255)
    limits = maps.recipe.color_range
    label = _UNITS[maps.recipe.change]
    if limits is None:
        limits, label = (0.0, 1.0), "minimum to maximum of each map"
    elif maps.recipe.change == "dff":
        limits = (100 * limits[0], 100 * limits[1])
    scale = ScalarMappable(Normalize(*limits), colors)
    bar = figure.colorbar(
        scale, ax=list(axes), orientation="horizontal", fraction=0.04, aspect=50, shrink=0.5
    )
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=7)


def _save(figure: Figure, path: Path) -> Path:
    work = path.with_name(f".{path.stem}.partial-{uuid4().hex[:8]}{path.suffix}")
    try:
        figure.savefig(work, dpi=130)
        os.replace(work, path)
    finally:
        work.unlink(missing_ok=True)
    return path
