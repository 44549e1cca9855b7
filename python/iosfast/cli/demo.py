"""``iosfast demo``: the whole way on a simulated recording."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "demo", help="simulate a recording, make its maps, outline its wave, and draw both"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder to make (default: iosfast-demo)",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from ..demo import run_demo

    run_demo(options.out, options.seed)
