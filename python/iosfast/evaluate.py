"""Predicted masks against true ones, or the labels of two annotators against each other."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import arguments
from .mask_scores import CONTOUR_F, hausdorff_95, kappa_of, overlap_counts, ratio
from .mask_stacks import checked_pixel_size, checked_stacks
from .score_tables import COUNTS, OVERALL, POOLED, clip_table, summary_table
from .tables import pandas, write_tables

if TYPE_CHECKING:
    import pandas as pd

_Masks = NDArray[np.bool_]

ContourName = Literal["davis", "published"]
EmptyName = Literal["one", "zero"]
AverageName = Literal["clips", "maps", "published"]


@dataclass(frozen=True)
class Scoring:
    """How masks are scored.

    Parameters
    ----------
    contour : {"davis", "published"}
        ``davis``: the whole contour, matched within 0.008 of the image's diagonal (6 pixels of
        512 x 512). ``published``: as the data set's script does, the upper edge of the masks
        alone (where they begin along y), matched to the pixel.
    empty : {"one", "zero"}
        What IoU, F and Dice are where both masks are empty. ``one``: nothing is there, and
        nothing was found, which is right. ``zero``: as the data set's script; a score then falls
        with every map without a wave, and a perfect prediction does not reach 1.
    average : {"clips", "maps", "published"}
        Whether each clip or each map counts the same in a level and overall; published are levels
        over clips, and overall over maps.

    Raises
    ------
    ValueError
        If a value is none of these.
    """

    contour: ContourName = "davis"
    empty: EmptyName = "one"
    average: AverageName = "clips"

    def __post_init__(self) -> None:
        """Check every parameter."""
        arguments.choice("contour", self.contour, get_args(ContourName))
        arguments.choice("empty", self.empty, get_args(EmptyName))
        arguments.choice("average", self.average, get_args(AverageName))

    @classmethod
    def published(cls) -> Scoring:
        """Return the scoring of the published data set.

        Its level means are of clip means that were rounded to four digits; these are not.
        """
        return cls("published", "zero", "published")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores of maps, clips and levels.

    Parameters
    ----------
    maps : pandas.DataFrame
        One row per clip, object and map; see `evaluate`.
    clips : pandas.DataFrame
        One row per clip: means over its maps.
    summary : pandas.DataFrame
        One row per level, and the last one ``overall``: means with the ends of their intervals,
        in columns that end in ``_low`` and ``_high``.
    scoring : Scoring
    resamples, confidence, seed
        Of the intervals.
    """

    maps: pd.DataFrame
    clips: pd.DataFrame
    summary: pd.DataFrame
    scoring: Scoring
    resamples: int
    confidence: float
    seed: int

    def write(
        self, folder: str | PathLike[str], *, parquet: bool = False, overwrite: bool = False
    ) -> list[Path]:
        """Write the tables to a folder: ``maps.csv``, ``clips.csv``, ``summary.csv``.

        See `Measurement.write` for the parameters and errors.
        """
        tables = {"maps": self.maps, "clips": self.clips, "summary": self.summary}
        return write_tables(Path(folder), tables, parquet=parquet, overwrite=overwrite)

    def text(self) -> str:
        """Return the summary as two tables of text: scores of segmentation, and agreement."""
        size = "mm" if self.summary["hausdorff95_mm"].notna().any() else "px"
        scores = {"J (IoU)": "iou", "F": "contour_f", "J&F": "j_and_f", "Dice": "dice"}
        agreement = {
            "kappa": "kappa",
            "kappa, all pixels": POOLED,
            f"Hausdorff 95 ({size})": f"hausdorff95_{size}",
        }
        percent = f"{100 * self.confidence:g} %"
        s = self.scoring
        empty = int(self.summary["both_empty_maps"].iloc[-1])
        over = {"clips": "clips", "maps": "maps", "published": "clips, overall over maps"}
        notes = [
            f"Means over {over[s.average]} [{percent} interval, {self.resamples:,} resamples of "
            "clips].",
            f"F: {s.contour} contour. Both masks empty, in {empty} maps, counts "
            f"{1 if s.empty == 'one' else 0}.",
            "kappa, Hausdorff 95: maps where they cannot be told are left out.",
        ]
        return "\n".join([self._table(scores), "", self._table(agreement), "", *notes])

    def _table(self, columns: Mapping[str, str]) -> str:
        rows = [["level", "clips", "maps", *columns]]
        for _, row in self.summary.iterrows():
            cells = [str(row["level"]), str(row["clips"]), str(row["maps"])]
            rows.append(cells + [_cell(row, name) for name in columns.values()])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)) for r in rows]
        return "\n".join(line.rstrip() for line in lines)


def evaluate(
    predicted: Any,
    truth: Any,
    *,
    scoring: Scoring = Scoring(),
    levels: Mapping[str, Any] | None = None,
    pixel_size_mm: float | tuple[float, float] | None = None,
    mask: ArrayLike | None = None,
    each_object: bool = False,
    missing: Literal["error", "empty"] = "error",
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Evaluation:
    """Score predicted masks against true ones.

    Parameters
    ----------
    predicted, truth : ndarray of bool or uint8, mapping of str to such, Annotations, or path
        The masks of a clip, (T, Y, X) or (objects, T, Y, X), other than 0 inside; or those of
        clips by their names; or labels, or what `Annotations.read` reads, where the folder of an
        image is its clip. Cohen's kappa compares two annotators: which one is `truth` does not
        matter for it.
    scoring : Scoring
        Default: DAVIS contours, two empty masks count 1, and each clip counts the same. The
        published scoring is ``Scoring.published()``.
    levels : mapping of clip to level, optional
        How noisy each clip is, or any other group.
    pixel_size_mm : float or pair of float, optional
        Edge of a pixel, or (y, x); for distances in mm.
    mask : array_like of bool, shape (Y, X), optional
        The cortex: pixels outside do not count. Kappa grows with the empty space around.
    each_object : bool
        Score each object by itself, against the one of its name (arrays: of its number). Default:
        all objects of a map together, as published.
    missing : {"error", "empty"}
        What to make of images that have true labels, but no file of predicted ones.
    resamples, confidence, seed
        Of the bootstrap of clips (within their levels) that gives the intervals: their number, the
        part that an interval holds, and the seed. The interval of a single clip is NaN.

    Returns
    -------
    Evaluation

    Raises
    ------
    TypeError, ValueError
        If masks do not fit together; images without predicted labels.
    ReadError
        If files cannot be read.
    ImportError
        Without pandas (extra ``tables``).

    Warns
    -----
    IosfastWarning
        If there are predicted labels of images without true ones, which are left out.

    Notes
    -----
    ``maps`` has a row for each clip, object and map:

    ``clip``, ``level``, ``object``, ``map``, ``name``
        The map by its number in the clip, and by its name; the object, if each is scored.
    ``both_px``, ``predicted_only_px``, ``truth_only_px``, ``neither_px``, ``both_empty``
        Pixels in both masks, in one alone, in none; whether both masks are empty.
    ``iou``, ``dice``
        Intersection over union (Jaccard, J); twice the intersection by the sum.
    ``contour_f``, ``j_and_f``
        F-score of the contours; mean of it and of J.
    ``hausdorff95_px``, ``hausdorff95_mm``
        The larger of the 95th percentiles of the distances from one edge to the other, in both
        directions. NaN where a mask is empty.
    ``kappa``
        Cohen's kappa of the pixels. NaN where both masks are empty, or both full.

    ``clips`` and ``summary`` have means of these, which leave NaN out, ``both_empty_maps``, and
    ``kappa_pooled``: kappa of all pixels of all their maps.

    Zhang et al., Sci Data 13, 255 (2026), doi 10.1038/s41597-026-06580-1, for the published
    scoring.
    """
    if not isinstance(scoring, Scoring):
        raise TypeError(f"scoring must be a Scoring, not {scoring!r}")
    arguments.choice("missing", missing, ("error", "empty"))
    size = None if pixel_size_mm is None else checked_pixel_size(pixel_size_mm)
    resamples = arguments.integer("resamples", resamples, 1, 10_000_000)
    confidence = arguments.number("confidence", confidence, 0, above=True)
    if confidence >= 1:
        raise ValueError(f"confidence must be below 1, not {confidence!r}")
    seed = arguments.integer("seed", seed, 0)
    if levels is not None and not isinstance(levels, Mapping):
        raise TypeError(f"levels must be a mapping of clips to levels, not {levels!r}")
    cortex = None if mask is None else np.asarray(mask) != 0
    if cortex is not None and (cortex.ndim != 2 or not cortex.any()):
        raise ValueError(f"mask must be (Y, X) with a pixel inside, not of shape {cortex.shape}")
    library = pandas()
    parts = []
    for pair in _pairs(predicted, truth, each_object, missing):
        columns = _scores(pair, cortex, scoring, size)
        parts.append(library.DataFrame({**_labels(pair, levels), **columns}))
    maps = library.concat(parts, ignore_index=True)
    clips = clip_table(maps)
    known = [] if levels is None else _in_order(clips["level"])
    summary = summary_table(
        maps,
        clips,
        known,
        average=scoring.average,
        resamples=resamples,
        confidence=confidence,
        seed=seed,
    )
    return Evaluation(maps, clips, summary, scoring, resamples, confidence, seed)


@dataclass(frozen=True, eq=False)
class _Pair:
    """The masks of one object of a clip, (T, Y, X) both."""

    clip: str
    object: Any
    names: tuple[str, ...]
    predicted: _Masks
    truth: _Masks


def _labels(pair: _Pair, levels: Mapping[str, Any] | None) -> dict[str, Any]:
    count = len(pair.truth)
    level: Any = None
    if levels is not None:
        if pair.clip not in levels:
            raise ValueError(f"levels has no clip {pair.clip!r}")
        level = levels[pair.clip]
        if not isinstance(level, Hashable) or level == OVERALL:
            raise ValueError(f"levels must be names or numbers other than {OVERALL!r}: {level!r}")
    return {
        "clip": [pair.clip] * count,
        "level": [level] * count,
        "object": [pair.object] * count,
        "map": np.arange(count),
        "name": pair.names,
    }


def _scores(
    pair: _Pair,
    cortex: NDArray[np.bool_] | None,
    scoring: Scoring,
    size: tuple[float, float] | None,
) -> dict[str, Any]:
    predicted, truth = pair.predicted, pair.truth
    pixels = truth[0].size
    if cortex is not None:
        if cortex.shape != truth.shape[1:]:
            raise ValueError(
                f"mask has shape {cortex.shape}, but {_named(pair.clip)} has maps of "
                f"{truth.shape[1:]}"
            )
        predicted, truth = predicted & cortex, truth & cortex
        pixels = int(np.count_nonzero(cortex))
    counts = overlap_counts(predicted, truth, pixels)
    both, ours, theirs, _ = counts.T.astype(np.float64)
    empty = (both + ours + theirs) == 0
    agreed = 1.0 if scoring.empty == "one" else 0.0
    iou = ratio(both, both + ours + theirs, agreed)
    f_score = CONTOUR_F[scoring.contour]
    contour = np.array(
        [
            agreed if none else f_score(a, b)
            for a, b, none in zip(predicted, truth, empty, strict=True)
        ]
    )
    px = np.array([hausdorff_95(a, b) for a, b in zip(predicted, truth, strict=True)])
    if size is None:
        mm = np.full(len(px), math.nan)
    elif size[0] == size[1]:
        mm = px * size[0]
    else:
        mm = np.array([hausdorff_95(a, b, size) for a, b in zip(predicted, truth, strict=True)])
    return {
        **dict(zip(COUNTS, counts.T, strict=True)),
        "both_empty": empty,
        "iou": iou,
        "contour_f": contour,
        "j_and_f": (iou + contour) / 2,
        "dice": ratio(2 * both, 2 * both + ours + theirs, agreed),
        "hausdorff95_px": px,
        "hausdorff95_mm": mm,
        "kappa": kappa_of(counts),
    }


def _pairs(predicted: Any, truth: Any, each_object: bool, missing: str) -> Iterator[_Pair]:
    arrays = isinstance(predicted, np.ndarray), isinstance(truth, np.ndarray)
    mappings = isinstance(predicted, Mapping), isinstance(truth, Mapping)
    if all(arrays):
        yield from _pairs_of_arrays("", predicted, truth, each_object)
    elif all(mappings):
        if not truth:
            raise ValueError("truth holds no clip")
        for one, other, name in ((truth, predicted, "predicted"), (predicted, truth, "truth")):
            lacking = [clip for clip in one if clip not in other]
            if lacking:
                raise ValueError(f"{name} has no clip {lacking[0]!r}")
        for clip in truth:
            yield from _pairs_of_arrays(clip, predicted[clip], truth[clip], each_object)
    elif any(arrays) or any(mappings):
        raise TypeError(
            "predicted and truth must both be arrays, or mappings of clips to arrays, or labels, "
            f"not {type(predicted).__name__} and {type(truth).__name__}"
        )
    else:
        from .labelled_pairs import pairs_of_labels

        for clip, of_object, names, ours, theirs in pairs_of_labels(
            predicted, truth, each_object, missing
        ):
            yield _Pair(clip, of_object, names, ours, theirs)


def _pairs_of_arrays(clip: str, predicted: Any, truth: Any, each_object: bool) -> Iterator[_Pair]:
    ours = checked_stacks("predicted" + _of(clip), predicted)
    theirs = checked_stacks("truth" + _of(clip), truth)
    if ours.shape[1:] != theirs.shape[1:]:
        raise ValueError(
            f"predicted{_of(clip)} has shape {ours.shape[1:]}, but truth {theirs.shape[1:]} "
            "(T, Y, X)"
        )
    if each_object and len(ours) != len(theirs):
        raise ValueError(
            f"predicted{_of(clip)} has {len(ours)} objects, but truth {len(theirs)}; objects "
            "that are not there must have empty masks to be scored each"
        )
    names = tuple(str(number) for number in range(ours.shape[1]))
    if each_object:
        for number, (a, b) in enumerate(zip(ours, theirs, strict=True), 1):
            yield _Pair(clip, number, names, a != 0, b != 0)
    else:
        any_of = [np.asarray(stacks.any(axis=0)) for stacks in (ours, theirs)]
        yield _Pair(clip, None, names, *any_of)


def _of(clip: str) -> str:
    return f" of clip {clip!r}" if clip else ""


def _named(clip: str) -> str:
    return f"clip {clip!r}" if clip else "truth"


def _in_order(levels: Iterable[Any]) -> list[Any]:
    """Return the levels, sorted if they can be."""
    found = list(dict.fromkeys(levels))
    try:
        return sorted(found)
    except TypeError:
        return found


def _cell(row: pd.Series, name: str) -> str:
    value, low, high = row[name], row[f"{name}_low"], row[f"{name}_high"]
    if math.isnan(value):
        return "-"
    text = f"{value:.3f}"
    return text if math.isnan(low) else f"{text} [{low:.3f}, {high:.3f}]"
