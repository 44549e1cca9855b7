"""``iosfast annotate``: labels from one tool to another."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, get_args


def add_to(commands: Any) -> None:
    """Add the command."""
    from ..annotations.annotations import Format

    parser = commands.add_parser(
        "annotate",
        help="bring masks and labels to annotation tools, and back",
        description="Bring masks and labels to annotation tools, and back. What the source is "
        "(ISAT, labelme, COCO, PNG or TIFF masks) is found by its content.",
    )
    ways = parser.add_subparsers(title="ways", required=True, metavar="WAY")
    texts = {
        "export": ("isat", "write labels for an annotation tool, beside the images it will open"),
        "import": ("tiff", "turn labels that were corrected in an annotation tool into masks"),
    }
    for way, (default, text) in texts.items():
        own = ways.add_parser(way, help=text, description=f"{text[0].upper()}{text[1:]}.")
        own.add_argument("source", type=Path, metavar="SOURCE", help="labels or masks of any kind")
        own.add_argument(
            "out",
            type=Path,
            metavar="OUT",
            help="folder; a JSON file for COCO; a .tif file, or a folder for one of each object",
        )
        own.add_argument(
            "--format", choices=get_args(Format), default=default, help=f"default: {default}"
        )
        own.add_argument("--shape", type=_shape, metavar="Y,X", help="size the images must have")
        own.add_argument("--overwrite", action="store_true", help="replace files of these names")
        own.add_argument("--no-progress", action="store_true", help="no progress bar")
        own.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from ..annotations import Annotations

    progress = not options.no_progress and sys.stderr.isatty()
    labels = Annotations.read(options.source, shape=options.shape, progress=progress)
    written = labels.write(
        options.out, options.format, overwrite=options.overwrite, progress=progress
    )
    objects = labels.objects
    count = f"{len(objects)} object" + ("" if len(objects) == 1 else "s")
    print(f"{len(labels)} images, {count}: {written}")
    for key in objects:
        on = sum(any(p.key == key for p in image.polygons) for image in labels.images)
        print(f"{key}: on {on} images")


def _shape(text: str) -> tuple[int, int]:
    from .source import _shape as shape

    found = shape(text)
    if len(found) != 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not Y,X")
    return found
