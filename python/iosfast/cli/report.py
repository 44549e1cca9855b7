"""``iosfast report``: one page for a session."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, get_args

from .source import number


def add_to(commands: Any) -> None:
    """Add the command."""
    from ..session_report.report import Videos

    parser = commands.add_parser(
        "report",
        help="one page for a session: waves with pictures, measures and videos; tables",
        description="Find, outline and measure the waves of a session; write one HTML page that "
        "needs no network, and tables as CSV and Parquet.",
    )
    parser.add_argument("maps", type=Path, metavar="MAPS", help="folder of maps")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder to make (default: MAPS-report)"
    )
    parser.add_argument(
        "--episodes",
        type=Path,
        metavar="FILE",
        help="take the episodes of this table (CSV or .xlsx with columns SFN and EFN) as they are "
        "(default: episodes.csv or .xlsx in MAPS, or MAPS-episodes.csv or .xlsx beside it; else "
        "they are found)",
    )
    parser.add_argument(
        "--prompts",
        default="auto",
        metavar="FILE|auto",
        help="JSON file of prompts; auto (default): a point on each wave that is found",
    )
    parser.add_argument("--title", help="default: the name of the recording")
    parser.add_argument(
        "--videos",
        choices=get_args(Videos),
        default="auto",
        help="in the page, in a folder beside it, or none; auto (default): in the page up to 64 MB",
    )
    parser.add_argument("--no-parquet", action="store_true", help="write tables as CSV only")
    parser.add_argument("--overwrite", action="store_true", help="replace a report there")
    group = parser.add_argument_group("finding")
    group.add_argument("--pixel-size-mm", type=number, metavar="MM", help="if the maps lack it")
    group.add_argument("--max-speed-mm-min", type=float, metavar="SPEED")
    group.add_argument("--threads", type=int, default=0, help="default: one per core")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from ..session_report import report

    limits = (
        {} if options.max_speed_mm_min is None else {"max_speed_mm_min": options.max_speed_mm_min}
    )
    page = report(
        options.maps,
        options.out,
        episodes=options.episodes,
        prompts=options.prompts,
        pixel_size_mm=options.pixel_size_mm,
        title=options.title,
        videos=options.videos,
        parquet=not options.no_parquet,
        overwrite=options.overwrite,
        threads=options.threads,
        progress=True,
        **limits,
    )
    print(f"report: {page}")
