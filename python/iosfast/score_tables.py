"""Scores of maps to those of clips, of levels, and of all, with confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .mask_scores import kappa_of
from .tables import pandas

if TYPE_CHECKING:
    import pandas as pd

_Doubles = NDArray[np.float64]

#: Columns of a map that are averaged.
SCORES = (
    "iou",
    "contour_f",
    "j_and_f",
    "dice",
    "hausdorff95_px",
    "hausdorff95_mm",
    "kappa",
)
COUNTS = ("both_px", "predicted_only_px", "truth_only_px", "neither_px")
POOLED = "kappa_pooled"
OVERALL = "overall"


def clip_table(maps: pd.DataFrame) -> pd.DataFrame:
    """Mean of each score over the maps of each clip, in the order of the clips."""
    rows = []
    for clip, of_clip in maps.groupby("clip", sort=False):
        counts = of_clip[list(COUNTS)].to_numpy().sum(axis=0)
        rows.append(
            {
                "clip": clip,
                "level": of_clip["level"].iloc[0],
                "maps": len(of_clip),
                "both_empty_maps": int(of_clip["both_empty"].sum()),
                **{name: _mean(of_clip[name].to_numpy()) for name in SCORES},
                POOLED: float(kappa_of(counts)),
            }
        )
    return pandas().DataFrame(rows)


def summary_table(
    maps: pd.DataFrame,
    clips: pd.DataFrame,
    levels: Sequence[Any],
    *,
    average: str,
    resamples: int,
    confidence: float,
    seed: int,
) -> pd.DataFrame:
    """One row per level, and one of all clips, each score with the ends of its interval.

    Clips are drawn with replacement, within each level: how many clips a level has was chosen and
    is not left to chance.
    """
    members = {level: np.flatnonzero((clips["level"] == level).to_numpy()) for level in levels}
    if not levels:
        members = {None: np.arange(len(clips))}
    draws = {
        level: _drawn(of_level.size, resamples, seed, number)
        for number, (level, of_level) in enumerate(members.items())
    }
    sums = _Sums(maps, clips)
    rows = []
    for level in levels:
        by_maps = average == "maps"
        row = sums.row(members[level], draws[level], by_maps, confidence)
        rows.append({"level": level, **row})
    everything = np.concatenate(list(members.values()))
    by_maps = average in ("maps", "published")
    row = sums.row(everything, np.hstack(list(draws.values())), by_maps, confidence)
    rows.append({"level": OVERALL, **row})
    return pandas().DataFrame(rows)


class _Sums:
    """What each clip adds to a mean of clips or of maps."""

    def __init__(self, maps: pd.DataFrame, clips: pd.DataFrame) -> None:
        self._means = clips[list(SCORES)].to_numpy(np.float64)
        number = {clip: n for n, clip in enumerate(clips["clip"])}
        of_map = np.array([number[clip] for clip in maps["clip"]])
        values = maps[list(SCORES)].to_numpy(np.float64)
        self._sums = np.zeros(self._means.shape)
        self._numbers = np.zeros(self._means.shape)
        np.add.at(self._sums, of_map, np.nan_to_num(values))
        np.add.at(self._numbers, of_map, np.isfinite(values))
        self._counts = np.zeros((len(clips), len(COUNTS)))
        np.add.at(self._counts, of_map, maps[list(COUNTS)].to_numpy(np.float64))
        self._maps = clips["maps"].to_numpy()
        self._both_empty = clips["both_empty_maps"].to_numpy()

    def row(
        self, chosen: NDArray[np.intp], draws: NDArray[np.int64], by_maps: bool, confidence: float
    ) -> dict[str, Any]:
        """Return values and intervals of some clips, and draws of them, (resamples, clips)."""
        means = self._means[chosen]
        parts = (
            (self._sums[chosen], self._numbers[chosen])
            if by_maps
            else (np.nan_to_num(means), np.isfinite(means).astype(np.float64))
        )
        row: dict[str, Any] = {
            "clips": chosen.size,
            "maps": int(self._maps[chosen].sum()),
            "both_empty_maps": int(self._both_empty[chosen].sum()),
        }
        once = np.ones((1, chosen.size))
        alone = chosen.size < 2  # the spread of clips cannot be told from one
        for name, total, number in zip(SCORES, *(part.T for part in parts), strict=True):
            value = _weighted(once, total) / _or_nan(_weighted(once, number))
            drawn = _weighted(draws, total) / _or_nan(_weighted(draws, number))
            row |= _with_interval(name, float(value[0]), drawn, confidence, alone)
        counts = self._counts[chosen].T
        pooled = kappa_of(np.stack([_weighted(once, of) for of in counts], axis=-1))
        drawn = kappa_of(np.stack([_weighted(draws, of) for of in counts], axis=-1))
        return row | _with_interval(POOLED, float(pooled[0]), drawn, confidence, alone)


def _drawn(clips: int, resamples: int, seed: int, stream: int) -> NDArray[np.int64]:
    """How often each clip is in each resample, (resamples, clips)."""
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, stream))))
    return random.multinomial(clips, np.full(clips, 1 / clips), size=resamples)


def _weighted(weights: NDArray[Any], values: _Doubles) -> _Doubles:
    # No product of matrices: its sums depend on the library and its threads.
    return np.asarray((weights * values).sum(axis=1))


def _or_nan(numbers: _Doubles) -> _Doubles:
    return np.where(numbers > 0, numbers, math.nan)


def _with_interval(
    name: str, value: float, drawn: _Doubles, confidence: float, alone: bool
) -> dict[str, float]:
    told = drawn[np.isfinite(drawn)]
    low = high = math.nan
    if told.size and not alone:
        low, high = np.quantile(told, (0.5 - confidence / 2, 0.5 + confidence / 2)).tolist()
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _mean(values: _Doubles) -> float:
    told = values[np.isfinite(values)]
    return math.fsum(told) / told.size if told.size else math.nan
