"""The arguments that name a recording, and those that are parts of others."""

from __future__ import annotations

import argparse
from typing import Any


def add_source(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name a recording and say how to read it."""
    parser.add_argument(
        "source",
        nargs="+",
        metavar="SOURCE",
        help="a recording of any kind that iosfast knows, or several files in order",
    )
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        help="which recording of a file that holds several (HDF5, NWB, Zarr)",
    )
    group = parser.add_argument_group("raw files, and files that are cut")
    group.add_argument("--shape", type=_shape, metavar="[T,]Y,X", help="shape of a raw file")
    group.add_argument("--dtype", help="pixels of a raw file, such as uint8 or >u2 (default <u2)")
    group.add_argument(
        "--offset",
        type=int,
        default=0,
        metavar="BYTES",
        help="bytes before the first frame of a raw file",
    )
    group.add_argument(
        "--allow-truncated", action="store_true", help="use the whole frames of a file that is cut"
    )


def source(options: argparse.Namespace) -> Any:
    """Return the recording that was named: a path, or a list of paths."""
    return options.source[0] if len(options.source) == 1 else options.source


def reading(options: argparse.Namespace) -> dict[str, Any]:
    """Return how to read it, as `open_recording` takes it."""
    names = ("shape", "dtype", "offset", "dataset", "allow_truncated")
    return {name: getattr(options, name) for name in names}


def _shape(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(n) for n in text.replace("x", ",").split(","))
    except ValueError:
        shape = ()
    if len(shape) not in (2, 3):
        raise argparse.ArgumentTypeError(f"{text!r} is not Y,X or T,Y,X")
    return shape


def number(text: str) -> float:
    """Read a number or a fraction, such as 10/512."""
    top, slash, bottom = text.partition("/")
    try:
        return float(top) / float(bottom) if slash else float(top)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number such as 0.02 or 10/512"
        ) from None
