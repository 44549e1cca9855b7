"""The episodes of a recording on a time line, with a map of each."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import arguments
from ..maps import Maps
from .parts import clock, save

if TYPE_CHECKING:
    from ..episodes import Episode


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
    axis.plot(minutes, strongest(maps), color="black", linewidth=0.7)
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
        begin, end = clock(episode.start_s), clock(episode.end_s)
        sure = f"{100 * episode.confidence:.0f} %"
        tile_axis.set_title(f"{', '.join(episode.labels)}: {sure}\n{begin} to {end}", fontsize=7)
    return save(figure, path, dpi=130)


def strongest(maps: Maps) -> Any:
    """Change that 5 % of the cortex exceed in each map, against its median; %, or counts."""
    every = max(1, min(maps.info.shape) // 128)
    inside = ... if maps.mask is None else maps.mask[::every, ::every]
    strongest = np.empty(len(maps))
    for number in range(len(maps)):
        change = np.asarray(maps.change[number, ::every, ::every])[inside]
        strongest[number] = np.quantile(abs(change - np.median(change)), 0.95)
    return strongest * (1 if maps.recipe.change == "difference" else 100)
