"""``iosfast preprocess``: a recording to maps."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from .source import add_source, number, reading, source

if TYPE_CHECKING:
    from ..maps import Maps


def add_to(commands: Any) -> None:
    """Add the command."""
    from ..recipe import BorderName, ChangeName, PartialBin, ScaleName

    parser = commands.add_parser(
        "preprocess",
        help="turn a recording into maps",
        description="Turn a recording into maps: mean per second, change over five seconds, "
        "colour. Options of the recipe replace those of --recipe.",
    )
    add_source(parser)
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="folder to make for the maps"
    )
    parser.add_argument(
        "--layout",
        choices=("stack", "published"),
        default="stack",
        help="stacks, or one TIFF per map named by its time (default: stack)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace maps that are in DIR already"
    )
    parser.add_argument("--frame-rate-hz", type=float, metavar="HZ")
    parser.add_argument(
        "--pixel-size-mm",
        type=number,
        metavar="MM",
        help="side of a pixel, such as 0.0195 or 10/512",
    )
    parser.add_argument(
        "--times",
        choices=("frames", "mtime", "name", "datetime"),
        help="bin by a clock of the files instead of counting frames",
    )
    parser.add_argument(
        "--channels",
        nargs="+",
        metavar="NAME",
        help="wavelengths whose frames follow each other in turn: their names, their number, or "
        "'file' if the file tells; each has a folder of its own in DIR",
    )
    parser.add_argument(
        "--follow",
        action="store_true",
        help="keep up with a recording that is still being written",
    )
    parser.add_argument(
        "--silence-s",
        type=float,
        default=10.0,
        metavar="S",
        help="seconds without a new frame that end --follow (default: 10)",
    )
    parser.add_argument(
        "--start-time", metavar="TIME", help="time of the first frame, as '2023-09-22 22:14:31'"
    )
    parser.add_argument(
        "--mask",
        metavar="FILE",
        help="image that is 0 outside of the cortex, or a JSON file with its outline [[x, y], ...]",
    )
    parser.add_argument("--threads", type=int, default=0, help="0 (default) is one per core")
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")
    parser.add_argument("--no-picture", action="store_true", help="no contact_sheet.png in DIR")
    group = parser.add_argument_group("recipe")
    group.add_argument(
        "--recipe",
        choices=("default", "published"),
        default="default",
        help="comparable colours for people, or exactly the published pipeline",
    )
    group.add_argument("--bin-seconds", type=float)
    group.add_argument("--bin-frames", type=int)
    group.add_argument("--partial-bin", choices=get_args(PartialBin))
    group.add_argument("--interval-bins", type=int)
    group.add_argument("--change", choices=get_args(ChangeName))
    group.add_argument("--baseline-bins", type=int)
    group.add_argument("--smoothing-px", type=int)
    group.add_argument("--smoothing-first-px", type=int)
    group.add_argument("--smoothing-border", choices=get_args(BorderName))
    group.add_argument("--scale", choices=get_args(ScaleName))
    group.add_argument("--scale-percent", type=float)
    group.add_argument("--scale-range", type=float, nargs=2, metavar=("LOW", "HIGH"))
    group.add_argument("--colormap", metavar="NAME")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from ..figures import contact_sheet
    from ..preprocess import preprocess

    found: Any = preprocess(
        source(options),
        recipe=_recipe(options),
        frame_rate_hz=options.frame_rate_hz,
        pixel_size_mm=options.pixel_size_mm,
        times=options.times,
        channels=channels_of(options),
        mask=options.mask,
        out=options.out,
        layout=options.layout,
        overwrite=options.overwrite,
        start_time=options.start_time,
        follow=options.follow,
        silence_s=options.silence_s,
        progress=not options.no_progress and sys.stderr.isatty(),
        threads=options.threads,
        **reading(options),
    )
    for maps in found.values() if isinstance(found, dict) else [found]:
        _report(maps)
        if not options.no_picture:
            print(f"picture: {contact_sheet(maps, maps.path / 'contact_sheet.png')}")


def channels_of(options: argparse.Namespace) -> Any:
    """Return the channels that were named: their names, their number, or "file"."""
    if options.channels is None:
        return None
    given = [name for names in options.channels for name in names.split(",") if name]
    if len(given) > 1:
        return given
    if not given:
        raise ValueError("--channels takes names, a number, or 'file'")
    return int(given[0]) if given[0].isdecimal() else "file" if given[0] == "file" else given


def _recipe(options: argparse.Namespace) -> Any:
    from dataclasses import fields

    from ..recipe import Recipe

    given = {f.name: getattr(options, f.name, None) for f in fields(Recipe)}
    changes = {name: value for name, value in given.items() if value is not None}
    if "scale_range" in changes:
        changes["scale_range"] = tuple(changes["scale_range"])
        changes.setdefault("scale", "range")
    return Recipe.named(options.recipe).replaced(**changes)


def _report(maps: Maps) -> None:
    t, y, x = maps.source["shape"]
    channel = f"channel {maps.source['channel']}: " if "channel" in maps.source else ""
    print(f"{channel}{len(maps)} maps from {t:,} frames of {y} x {x} pixels: {maps.path}")
    for note in maps.notes:
        print(f"note: {note}")
    for name, stage in maps.timings.items():
        print(
            f"{name}: {stage.total_s:.3f} s ({stage.calls} blocks of {1e3 * stage.min_s:.1f} to "
            f"{1e3 * stage.max_s:.1f} ms)"
        )
