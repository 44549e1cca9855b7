"""``iosfast episodes``: the maps in which waves cross the cortex."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .source import number

if TYPE_CHECKING:
    from ..episodes import Episode


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "episodes",
        help="find the maps in which waves cross the cortex",
        description="Find the maps in which waves cross the cortex, or take them from an "
        "operator's table; print them, draw an overview, and write a table and clips.",
    )
    parser.add_argument("maps", type=Path, metavar="MAPS", help="folder of maps")
    parser.add_argument(
        "--table",
        type=Path,
        metavar="FILE",
        help="take the episodes of this table (CSV or .xlsx with columns SFN and EFN) as they are",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="table to write, .csv or .xlsx")
    parser.add_argument(
        "--clips",
        type=Path,
        metavar="DIR",
        help="folder to make, with a folder of images and ISAT files for each episode",
    )
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="FILE",
        help="overview to draw (default: MAPS-episodes.png, beside the maps)",
    )
    parser.add_argument("--no-picture", action="store_true", help="draw nothing")
    parser.add_argument("--overwrite", action="store_true", help="replace the table of --out")
    group = parser.add_argument_group("finding")
    group.add_argument(
        "--midline",
        nargs="+",
        type=_point,
        metavar="X|X,Y",
        help="between the hemispheres: its x in pixels, or two or more points from the top down",
    )
    group.add_argument("--pixel-size-mm", type=number, metavar="MM", help="if the maps lack it")
    group.add_argument("--max-speed-mm-min", type=float, metavar="SPEED")
    group.add_argument("--min-area-mm2", type=float, metavar="AREA")
    group.add_argument("--min-maps", type=int, metavar="N")
    parser.set_defaults(run=_run)


def _point(text: str) -> tuple[float, ...]:
    parts = tuple(map(number, text.split(",")))
    if len(parts) > 2:
        raise argparse.ArgumentTypeError(f"{text!r} is neither X nor X,Y")
    return parts


def _run(options: argparse.Namespace) -> None:
    from ..episode_clips import extract_clips
    from ..episode_tables import read_episodes, write_episodes
    from ..episodes import find_episodes
    from ..figures import episodes_overview
    from ..storage import load

    maps = load(options.maps)
    if options.table is not None:
        episodes = read_episodes(options.table, maps)
    else:
        names = ("pixel_size_mm", "max_speed_mm_min", "min_area_mm2", "min_maps")
        limits = {n: getattr(options, n) for n in names if getattr(options, n) is not None}
        episodes = find_episodes(maps, midline=_midline(options), **limits)
    _report(episodes)
    if options.out is not None:
        table = write_episodes(options.out, episodes, overwrite=options.overwrite)
        print(f"table:   {table}")
    if options.clips is not None and episodes:
        folders = extract_clips(maps, episodes, options.clips)
        print(f"clips:   {options.clips} ({len(folders)} folders)")
    if not options.no_picture:
        folder = options.maps.absolute()
        picture = options.picture or folder.with_name(f"{folder.name}-episodes.png")
        print(f"picture: {episodes_overview(maps, episodes, picture)}")


def _midline(options: argparse.Namespace) -> Any:
    points = options.midline
    if points is None:
        return None
    if len(points) == 1 and len(points[0]) == 1:
        return points[0][0]
    if len(points) == 1 or {len(point) for point in points} != {2}:
        raise ValueError("--midline must be X, or two or more X,Y")
    return points


def _report(episodes: list[Episode]) -> None:
    if not episodes:
        print("no episode: no map shows a wave")
        return
    row = "{:>7}  {:>5}  {:>5}  {:<19}  {:<19}  {:>9}  {:>10}  {}"
    print(row.format("label", "first", "last", "SFN", "EFN", "seconds", "confidence", "side"))
    for episode in episodes:
        for wave in episode.waves:
            seconds = f"{wave.end_s - wave.start_s:g}"
            sure, side = f"{wave.confidence:.2f}", wave.hemisphere or "-"
            print(row.format(wave.label, wave.start, wave.end, *wave.names, seconds, sure, side))
    waves = sum(len(episode.waves) for episode in episodes)
    print(f"{len(episodes)} episodes with {waves} waves")
