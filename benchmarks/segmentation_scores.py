"""Scores of masks against the truth, their table, and pictures of clips with outlines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from segmentation_clips import LabelledClip


@dataclass(frozen=True)
class Score:
    """How one method did on one clip; means over its waves, from the map of the prompt on.

    Attributes
    ----------
    dice : float
        Mean over maps in which the truth or the prediction is not empty.
    dice_present : float
        Mean over maps in which the truth is not empty.
    dice_all : float
        Mean over all maps; 1 where both are empty.
    stays_empty : float
        Part of the maps without truth in which nothing is outlined; NaN if there is no such map.
    """

    method: str
    clip: str
    level: int
    generator: str
    kinds: tuple[str, ...]
    dice: float
    dice_present: float
    dice_all: float
    stays_empty: float


def dice_per_map(masks: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Dice of each map, (T,) of (T, Y, X); NaN where both are empty."""
    both = np.count_nonzero(masks & truth, axis=(1, 2))
    sizes = np.count_nonzero(masks, axis=(1, 2)) + np.count_nonzero(truth, axis=(1, 2))
    return np.where(sizes > 0, 2 * both / np.maximum(sizes, 1), np.nan)


def score(method: str, masks: np.ndarray, clip: LabelledClip) -> Score:
    """Score the masks (objects, T, Y, X) of a method."""
    waves = []
    for found, truth, (first, _) in zip(masks, clip.truth, clip.prompts, strict=True):
        dice = dice_per_map(found[first:], truth[first:])
        present = truth[first:].any(axis=(1, 2))
        empty = ~found[first:].any(axis=(1, 2))
        stays = float(empty[~present].mean()) if not present.all() else np.nan
        everywhere = float(np.nan_to_num(dice, nan=1.0).mean())
        waves.append((float(np.nanmean(dice)), float(dice[present].mean()), everywhere, stays))
    means = [_mean(column) for column in zip(*waves, strict=True)]
    return Score(method, clip.name, clip.level, clip.generator, clip.kinds, *means)


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else np.nan


def _of(scores: list[Score], method: str, level: int) -> list[Score]:
    return [s for s in scores if s.method == method and s.level == level]


def mean_dice(scores: list[Score], method: str, level: int) -> float:
    """Mean Dice of a method over the clips of a level."""
    return _mean(s.dice for s in _of(scores, method, level))


def tables(scores: list[Score], ours: str) -> list[str]:
    """Lines of Markdown: methods by level, then ours by kind of wave."""
    methods = list(dict.fromkeys(s.method for s in scores))
    levels = sorted({s.level for s in scores})
    lines = [
        "| level | method | Dice | 10th percentile | worst clip | Dice, maps with a wave | "
        "Dice, all maps | empty maps left empty |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for level in levels:
        for method in methods:
            some = _of(scores, method, level)
            worst = min(some, key=lambda s: s.dice)
            tenth = float(np.percentile([s.dice for s in some], 10))
            lines.append(
                f"| {level} | {method} | {_mean(s.dice for s in some):.3f} | {tenth:.3f} | "
                f"{worst.dice:.3f} ({worst.clip}) | {_mean(s.dice_present for s in some):.3f} | "
                f"{_mean(s.dice_all for s in some):.3f} | "
                f"{_percent(_mean(s.stays_empty for s in some))} |"
            )
    kinds = list(dict.fromkeys(k for s in scores for k in (s.generator, *s.kinds)))
    lines += [
        "",
        f"Dice of {ours} by generator and kind of wave, with the number of clips:",
        "",
        f"| level | {' | '.join(kinds)} |",
        f"|---|{'---|' * len(kinds)}",
    ]
    for level in levels:
        cells = []
        for kind in kinds:
            some = [s for s in _of(scores, ours, level) if kind in (s.generator, *s.kinds)]
            cells.append(f"{_mean(s.dice for s in some):.3f} ({len(some)})" if some else "")
        lines.append(f"| {level} | {' | '.join(cells)} |")
    return lines


def _percent(part: float) -> str:
    return "" if np.isnan(part) else f"{100 * part:.0f} %"


def draw_clip(clip: LabelledClip, masks: np.ndarray, title: str, path: Path) -> None:
    """Draw all maps with the outlines of truth (black) and masks (a colour for each wave)."""
    from matplotlib.figure import Figure

    columns = 8
    rows = -(-len(clip.change) // columns)
    figure = Figure(figsize=(columns * 2, rows * 2.2 + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    limit = float(np.percentile(abs(clip.change[:, clip.cortex]), 99.5))
    thin = np.s_[::2, ::2]
    for axis in axes:
        axis.set_axis_off()
    for index, (axis, change) in enumerate(zip(axes, clip.change, strict=False)):
        axis.imshow(change[thin], cmap="RdBu_r", vmin=-limit, vmax=limit)
        dice = []
        for number, (found, truth) in enumerate(zip(masks, clip.truth, strict=True)):
            colour = ("lime", "magenta", "orange")[number % 3]
            for mask, ink in ((truth[index], "black"), (found[index], colour)):
                if mask[thin].any() and not mask[thin].all():
                    axis.contour(mask[thin], [0.5], colors=ink, linewidths=0.8)
            dice.append(float(dice_per_map(found[index][None], truth[index][None])[0]))
            first, (x, y) = clip.prompts[number]
            if first == index:
                axis.plot(x / 2, y / 2, "*", color=colour, markeredgecolor="black", markersize=9)
        text = " ".join("-" if np.isnan(value) else f"{value:.2f}" for value in dice)
        axis.set_title(f"{index}{'!' if clip.spoiled[index] else ''}: {text}", fontsize=8)
    figure.suptitle(title, fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=70)
