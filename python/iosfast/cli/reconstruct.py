"""``iosfast reconstruct``: movies read back from neural responses."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "reconstruct",
        help="movies from neural responses (with torch)",
        description="Movies from the responses of visual cortex, with an encoding model in torch. "
        "Own models and recordings go through the library: iosfast.reconstruct.",
    )
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")
    demo = actions.add_parser(
        "demo",
        help="simulate a cortex, train encoders, reconstruct, score, and draw it",
        description="Simulate a population of visual cortex, train small encoders on its "
        "responses, reconstruct a movie from a single trial, score it, and write truth and "
        "reconstruction side by side (reconstruction.mp4, reconstruction.png, scores.json).",
    )
    demo.add_argument(
        "--out", type=Path, metavar="DIR", help="folder to make (default: iosfast-reconstruct-demo)"
    )
    demo.add_argument("--seed", type=int, default=0)
    demo.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> None:
    from ..reconstruct.demo import run_demo

    run_demo(options.out, options.seed)
