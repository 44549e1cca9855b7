"""The command line: ``iosfast preprocess``, ``iosfast info``, ``iosfast demo``."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from . import __version__
from .errors import IosfastWarning
from .progress import heeding_interrupts

if TYPE_CHECKING:
    from .maps import Maps
    from .readers import Recording

#: Exit codes: an error of the data or the disk; misuse (argparse's own); Ctrl-C.
FAILED, MISUSED, INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        with heeding_interrupts(), warnings.catch_warnings():
            warnings.showwarning = _show_warning
            warnings.simplefilter("always", IosfastWarning)
            options.run(options)
    except KeyboardInterrupt:
        print("iosfast: interrupted; nothing incomplete was left", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        return FAILED
    except (OSError, ValueError, TypeError, ImportError, MemoryError, ArithmeticError) as error:
        print("iosfast: error:", *_message(error).splitlines(), file=sys.stderr)
        return FAILED
    return 0


def _message(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def _show_warning(
    message: Warning | str, category: type[Warning], *_place: Any, **_more: Any
) -> None:
    print(f"iosfast: warning: {message}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="iosfast",
        description="Camera recordings of the cortex to maps of activity.",
    )
    parser.add_argument("--version", action="version", version=f"iosfast {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_preprocess(commands)
    _add_info(commands)
    _add_demo(commands)
    return parser


def _add_source(parser: argparse.ArgumentParser) -> None:
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


def _add_preprocess(commands: Any) -> None:
    from .recipe import BorderName, ChangeName, PartialBin, ScaleName

    parser = commands.add_parser(
        "preprocess",
        help="turn a recording into maps",
        description="Turn a recording into maps: mean per second, change over five seconds, "
        "colour. Options of the recipe replace those of --recipe.",
    )
    _add_source(parser)
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
        type=_number,
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
    parser.set_defaults(run=_preprocess)


def _add_info(commands: Any) -> None:
    parser = commands.add_parser("info", help="tell what a recording holds")
    _add_source(parser)
    parser.set_defaults(run=_info)


def _add_demo(commands: Any) -> None:
    parser = commands.add_parser(
        "demo", help="simulate a recording with a wave, make its maps, and draw them"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder to make (default: iosfast-demo)",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(run=_demo)


def _shape(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(n) for n in text.replace("x", ",").split(","))
    except ValueError:
        shape = ()
    if len(shape) not in (2, 3):
        raise argparse.ArgumentTypeError(f"{text!r} is not Y,X or T,Y,X")
    return shape


def _number(text: str) -> float:
    top, slash, bottom = text.partition("/")
    try:
        return float(top) / float(bottom) if slash else float(top)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number such as 0.02 or 10/512"
        ) from None


def _source(options: argparse.Namespace) -> Any:
    return options.source[0] if len(options.source) == 1 else options.source


def _reading(options: argparse.Namespace) -> dict[str, Any]:
    names = ("shape", "dtype", "offset", "dataset", "allow_truncated")
    return {name: getattr(options, name) for name in names}


def _channels(options: argparse.Namespace) -> Any:
    given = options.channels
    if given is None or len(given) > 1:
        return given
    return int(given[0]) if given[0].isdecimal() else "file" if given[0] == "file" else given


def _recipe(options: argparse.Namespace) -> Any:
    from dataclasses import fields

    from .recipe import Recipe

    given = {f.name: getattr(options, f.name, None) for f in fields(Recipe)}
    changes = {name: value for name, value in given.items() if value is not None}
    if "scale_range" in changes:
        changes["scale_range"] = tuple(changes["scale_range"])
        changes.setdefault("scale", "range")
    return Recipe.named(options.recipe).replaced(**changes)


def _preprocess(options: argparse.Namespace) -> None:
    from .figures import contact_sheet
    from .preprocess import preprocess

    found: Any = preprocess(
        _source(options),
        recipe=_recipe(options),
        frame_rate_hz=options.frame_rate_hz,
        pixel_size_mm=options.pixel_size_mm,
        times=options.times,
        channels=_channels(options),
        mask=options.mask,
        out=options.out,
        layout=options.layout,
        overwrite=options.overwrite,
        start_time=options.start_time,
        follow=options.follow,
        silence_s=options.silence_s,
        progress=not options.no_progress and sys.stderr.isatty(),
        threads=options.threads,
        **_reading(options),
    )
    for maps in found.values() if isinstance(found, dict) else [found]:
        _report(maps)
        if not options.no_picture:
            print(f"picture: {contact_sheet(maps, maps.path / 'contact_sheet.png')}")


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


def _info(options: argparse.Namespace) -> None:
    from .readers import open_recording

    with open_recording(_source(options), **_reading(options)) as recording:
        t, y, x = recording.shape
        rate, size = recording.frame_rate_hz, recording.pixel_size_mm
        rows = {
            "source": recording.source,
            **{name: str(value) for name, value in recording.metadata.items()},
            "frames": f"{t:,}",
            "frame (Y, X)": f"{y} x {x}",
            "pixels": str(recording.dtype),
            "size": f"{recording.nbytes / 1e9:.3f} GB",
            "frame rate": "not told by the file" if rate is None else f"{rate:g} Hz",
            "duration": "unknown" if rate is None else f"{t / rate:.1f} s",
            "pixel size": "not told by the file" if size is None else f"{size:g} mm",
            "begin": _date(recording.start_s),
            "time stamps": _time_stamps(recording),
            "channels": ", ".join(recording.channels) or "one",
            "read by": "decoding" if recording.frame_source is None else "byte ranges (fast)",
        }
        for name, value in rows.items():
            print(f"{name + ':':14} {value}")
        for note in recording.notes:
            print(f"note: {note}")


def _time_stamps(recording: Recording) -> str:
    from .readers.frame_times import FrameTimes

    times_s = recording.times_s
    if times_s is None:
        return "none"
    found = FrameTimes.of(times_s, recording.frame_rate_hz)
    if found is None:
        return f"{times_s[-1] - times_s[0]:g} s from first to last, at no steady rate"
    return f"{1 / found.interval_s:.6g} Hz; {found.report() or 'no frame is missing'}"


def _date(start_s: float | None) -> str:
    from datetime import UTC, datetime

    if start_s is None:
        return "not told by the file"
    return datetime.fromtimestamp(start_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _demo(options: argparse.Namespace) -> None:
    from .demo import run_demo

    run_demo(options.out, options.seed)


if __name__ == "__main__":
    sys.exit(main())
