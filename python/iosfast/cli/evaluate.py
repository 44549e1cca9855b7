"""``iosfast evaluate``: predicted labels against true ones."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any, get_args

from .source import number


def add_to(commands: Any) -> None:
    """Add the command."""
    from ..evaluate import AverageName, ContourName, EmptyName

    parser = commands.add_parser(
        "evaluate",
        help="score predicted labels against true ones",
        description="Score predicted labels against true ones, or those of two annotators: IoU, "
        "contour F, Dice, Cohen's kappa and Hausdorff distance, with intervals. Images are the "
        "same by their names; the folder of an image is its clip.",
    )
    parser.add_argument(
        "predicted", type=Path, metavar="PRED", help="folder of label files or of masks, or a file"
    )
    parser.add_argument("truth", type=Path, metavar="TRUTH", help="the same, of what is true")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write maps.csv, clips.csv and summary.csv there"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace tables in DIR")
    parser.add_argument(
        "--levels",
        metavar="FILE",
        help="CSV file with the columns clip and level, or 'folders': the first folder of a clip",
    )
    parser.add_argument(
        "--pixel-size-mm", type=number, metavar="MM", help="side of a pixel, for distances in mm"
    )
    parser.add_argument("--mask", metavar="FILE", help="cortex; pixels outside do not count")
    parser.add_argument("--each-object", action="store_true", help="score each object by itself")
    parser.add_argument(
        "--missing",
        choices=("error", "empty"),
        default="error",
        help="what to make of images without predicted labels (default: error)",
    )
    group = parser.add_argument_group("scoring")
    group.add_argument(
        "--published",
        action="store_true",
        help="as the data set was scored; the options below replace parts of it",
    )
    group.add_argument(
        "--contour",
        choices=get_args(ContourName),
        help="whole contour within a tolerance (davis, default), or upper edge to the pixel",
    )
    group.add_argument(
        "--empty", choices=get_args(EmptyName), help="what two empty masks count (default: one)"
    )
    group.add_argument(
        "--average", choices=get_args(AverageName), help="what counts the same (default: clips)"
    )
    group.add_argument("--resamples", type=int, default=10_000, help="default: 10000")
    group.add_argument("--confidence", type=float, default=0.95, help="default: 0.95")
    group.add_argument("--seed", type=int, default=0)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from dataclasses import replace

    from ..annotations import Annotations
    from ..evaluate import Scoring, evaluate
    from ..labelled_pairs import clips_of
    from ..masks import read_mask

    predicted, truth = Annotations.read(options.predicted), Annotations.read(options.truth)
    given = {name: getattr(options, name) for name in ("contour", "empty", "average")}
    scoring = Scoring.published() if options.published else Scoring()
    mask = None
    if options.mask is not None:
        shape = truth.shape or predicted.shape
        if shape is None:
            raise ValueError("--mask: the labels do not say the size of their images")
        mask = read_mask(options.mask, shape)
    result = evaluate(
        predicted,
        truth,
        scoring=replace(scoring, **{k: v for k, v in given.items() if v is not None}),
        levels=_levels(options.levels, list(clips_of(truth.names))),
        pixel_size_mm=options.pixel_size_mm,
        mask=mask,
        each_object=options.each_object,
        missing=options.missing,
        resamples=options.resamples,
        confidence=options.confidence,
        seed=options.seed,
    )
    print(result.text())
    if options.out is not None:
        for path in result.write(options.out, overwrite=options.overwrite):
            print(f"table: {path}")


def _levels(given: str | None, clips: list[str]) -> dict[str, str] | None:
    from ..errors import ReadError

    if given is None:
        return None
    if given == "folders":
        return {clip: clip.partition("/")[0] for clip in clips}
    try:
        with open(given, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ReadError(f"the levels cannot be read: {error}", given) from error
    if not rows or None in rows[0].values() or not {"clip", "level"} <= set(rows[0]):
        raise ReadError("holds no columns clip and level", given)
    levels = {row["clip"]: row["level"] for row in rows}
    found = {clip: levels.get(clip, levels.get(clip.rpartition("/")[2])) for clip in clips}
    lacking = [clip for clip, level in found.items() if not level]
    if lacking:
        raise ReadError(f"has no level of clip {lacking[0]}", given)
    return {clip: level for clip, level in found.items() if level}
