"""``iosfast sam2``: the weights of SAM 2, and their export."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def add_to(commands: Any) -> None:
    """Add the command and its own."""
    parser = commands.add_parser("sam2", help="fetch and export the SAM 2 model")
    inner = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_fetch(inner)
    _add_export(inner)


def _add_fetch(commands: Any) -> None:
    parser = commands.add_parser(
        "fetch",
        help="download the official checkpoint",
        description="Download the official checkpoint of SAM 2.1 tiny (156 MB) and check it; "
        "without a network, say what to put where.",
    )
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        default=Path("sam2.1_hiera_tiny.pt"),
        metavar="FILE",
        help="the file to make, or a folder for it (default: sam2.1_hiera_tiny.pt)",
    )
    parser.set_defaults(run=_fetch)


def _add_export(commands: Any) -> None:
    parser = commands.add_parser(
        "export",
        help="turn the checkpoint into graphs that need neither torch nor sam2",
        description="Turn the checkpoint of SAM 2.1 tiny into ONNX graphs, and compare each with "
        "sam2.",
    )
    parser.add_argument("checkpoint", type=Path, help="sam2.1_hiera_tiny.pt")
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="DIR", help="folder to make for the model"
    )
    parser.add_argument(
        "--image-size",
        type=int,
        default=1024,
        metavar="PIXELS",
        help="side of the image that the model sees: 1024, for which it was trained (default), or "
        "512, which is several times faster",
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "fp16", "int8"),
        default="fp32",
        help="of the weights: fp16 for GPUs, int8 for CPUs (default: fp32)",
    )
    parser.set_defaults(run=_export)


def _fetch(options: argparse.Namespace) -> None:
    from ..sam2 import fetch

    place = fetch(options.out)
    print(f"{place}; next: iosfast sam2 export {place} -o MODEL_DIR")


def _export(options: argparse.Namespace) -> None:
    from ..sam2 import export

    export(
        options.checkpoint,
        options.out,
        image_size=options.image_size,
        precision=options.precision,
        progress=lambda line: print(line, file=sys.stderr),
    )
    print(options.out)
