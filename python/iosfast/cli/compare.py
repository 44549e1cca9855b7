"""``iosfast compare``: methods side by side on labelled clips."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, get_args

from .source import number


def add_to(commands: Any) -> None:
    """Add the command."""
    from ..comparison import PromptKind
    from ..sam2.model import Device

    parser = commands.add_parser(
        "compare",
        help="compare methods on your own labelled clips",
        description="Segment labelled clips by the method front and by each model given, from one "
        "prompt for each object; print Dice, IoU (J), contour F and maps per second of each.",
    )
    parser.add_argument(
        "clips",
        type=Path,
        metavar="LABELLED_CLIPS",
        help="folder of images and labels, or of such folders, each a clip",
    )
    parser.add_argument(
        "--models",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="what 'iosfast sam2 export' has made, of any image size and precision",
    )
    parser.add_argument(
        "--methods",
        type=_methods,
        metavar="front,sam2",
        help="only these (default: front, and sam2 if there are models)",
    )
    parser.add_argument("--labels", type=Path, help="the labels, if not beside the images")
    parser.add_argument(
        "--prompt",
        choices=get_args(PromptKind),
        default="point",
        help="of each object on its first labelled map: its innermost pixel (default), the box "
        "around it, or its label",
    )
    parser.add_argument(
        "--devices",
        nargs="+",
        choices=get_args(Device),
        default=["auto"],
        help="where to run each model; one or more (default: auto)",
    )
    parser.add_argument("--pixel-size-mm", type=number, metavar="MM", help="if the images lack it")
    parser.add_argument("--interval-s", type=float, help="from image to image, if names lack it")
    parser.add_argument("--threads", type=int, default=0, help="default: one per core")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write methods.csv and maps.csv there"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace tables in DIR")
    parser.set_defaults(run=_run)


def _methods(text: str) -> set[str]:
    found = set(text.split(","))
    if not found <= {"front", "sam2"}:
        raise argparse.ArgumentTypeError(f"must be front, sam2 or both, not {text!r}")
    return found


def _run(options: argparse.Namespace) -> None:
    from ..comparison import compare, text_of

    methods = options.methods or {"front", *(["sam2"] if options.models else [])}
    if ("sam2" in methods) != bool(options.models):
        raise ValueError("--methods sam2 needs --models, and --models needs it")
    result = compare(
        options.clips,
        options.models,
        labels=options.labels,
        front="front" in methods,
        prompt=options.prompt,
        devices=options.devices,
        pixel_size_mm=options.pixel_size_mm,
        interval_s=options.interval_s,
        threads=options.threads,
    )
    _print(result.methods, text_of)
    for note in result.notes:
        print(f"note: {note}")
    if options.out is not None:
        for path in result.write(options.out, overwrite=options.overwrite):
            print(f"table: {path}")


def _print(methods: Any, text_of: Any) -> None:
    heads = ["method", "clips", "objects", "maps", "Dice", "J (IoU)", "F", "maps/s"]
    rows = [heads]
    for _, row in methods.iterrows():
        cells = [str(row[name]) for name in ("method", "clips", "objects", "maps")]
        cells += [text_of(row, name) for name in ("dice", "iou", "contour_f")]
        rows.append([*cells, f"{row['maps_per_s']:.3g}"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip())
    for _, row in methods.iterrows():
        print(f"{row['method']}: {row['ran_on']}")
