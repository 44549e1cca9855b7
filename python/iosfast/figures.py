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
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .episodes import Episode

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


def episodes_overview(
    maps: Maps, episodes: Sequence[Episode], path: str | PathLike[str], *, columns: int = 8
) -> Path:
    """Draw how strong the change is over time, with the episodes, and a map of each episode.

    Parameters
    ----------
    maps : Maps
    episodes : sequence of Episode
    path : path
        PNG, PDF or SVG to write, by its ending.
    columns : int
        Maps in a row.

    Returns
    -------
    Path
        The picture.
    """
    columns = arguments.integer("columns", columns, 1)
    from matplotlib.figure import Figure

    rows = -(-len(episodes) // columns)
    height, width = maps.info.shape
    inch = 1.5
    tile = inch * height / width + 0.3
    figure = Figure(figsize=(columns * inch + 0.4, 2.6 + rows * tile), layout="constrained")
    grid = figure.add_gridspec(1 + rows, columns, height_ratios=[2.4, *[tile] * rows])
    axis = figure.add_subplot(grid[0, :])
    minutes = maps.times_s / 60
    half_step = float(np.median(np.diff(minutes))) / 2 if len(maps) > 1 else 0.05
    axis.plot(minutes, _strongest(maps), color="black", linewidth=0.7)
    for episode in episodes:
        span = episode.start_s / 60 - half_step, episode.end_s / 60 + half_step
        axis.axvspan(*span, color="tab:orange", alpha=0.35, linewidth=0)
        axis.text(
            sum(span) / 2,
            1.0,
            f"{episode.number}",
            transform=axis.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=7,
        )
    axis.set_xlim(minutes[0] - half_step, minutes[-1] + half_step)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("time (min)", fontsize=8)
    unit = "%" if maps.recipe.change != "difference" else "counts"
    axis.set_ylabel(f"strongest change\nin each map ({unit})", fontsize=8)
    axis.tick_params(labelsize=7)
    name = Path(str(maps.source.get("path", ""))).name
    axis.set_title(f"{name}: {len(maps)} maps, {len(episodes)} episodes", fontsize=10, pad=14)
    for cell, episode in enumerate(episodes):
        tile_axis = figure.add_subplot(grid[1 + cell // columns, cell % columns])
        tile_axis.set_axis_off()
        middle = (episode.waves[0].start + episode.waves[0].end) // 2
        tile_axis.imshow(maps.rgb[middle])
        for wave in episode.waves:
            if wave.seed is not None:
                tile_axis.plot(*wave.seed[1], "+", color="lime", markersize=6)
        begin, end = _clock(episode.start_s), _clock(episode.end_s)
        sure = f"{100 * episode.confidence:.0f} %"
        tile_axis.set_title(f"{', '.join(episode.labels)}: {sure}\n{begin} to {end}", fontsize=7)
    return _save(figure, Path(path))


def _strongest(maps: Maps) -> Any:
    """Change that 5 % of the cortex exceed in each map, against its median; %, or counts."""
    every = max(1, min(maps.info.shape) // 128)
    inside = ... if maps.mask is None else maps.mask[::every, ::every]
    strongest = np.empty(len(maps))
    for number in range(len(maps)):
        change = np.asarray(maps.change[number, ::every, ::every])[inside]
        strongest[number] = np.quantile(abs(change - np.median(change)), 0.95)
    return strongest * (1 if maps.recipe.change == "difference" else 100)


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
