"""``iosfast batch``: archives of recordings to maps and more, resumable."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, get_args

from .source import number

#: Exit code: some recordings failed.
SOME_FAILED = 3


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "batch",
        help="turn archives of recordings into maps and more, resumable",
        description="Find all recordings in archives and turn them into maps, episodes, outlines "
        "and measures, with a summary. The same command with --resume does only what is missing "
        "or stale. Exit code 0: all is done; 3: some recordings failed, the summary says why; "
        "2: the command is wrong.",
    )
    parser.add_argument(
        "archives", nargs="*", metavar="ARCHIVE", help="folders or files with recordings"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of results")
    parser.add_argument(
        "--manifest",
        type=Path,
        metavar="FILE",
        help="YAML or TOML that names recordings, animals, conditions, calibration, masks, times",
    )
    parser.add_argument(
        "--steps",
        default="preprocess",
        metavar="STEP,...",
        help="of preprocess, episodes, segment, measure, report, with all that they need "
        "(default: preprocess)",
    )
    parser.add_argument("--resume", action="store_true", help="go on with the batch in DIR")
    parser.add_argument(
        "--dry-run", action="store_true", help="print the plan, sizes and an estimate, and stop"
    )
    parser.add_argument(
        "--verify-source",
        action="store_true",
        help="read the recordings again and compare the maps with those in DIR",
    )
    parser.add_argument(
        "--any-version", action="store_true", help="keep what other versions of iosfast have made"
    )
    parser.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="PATTERN",
        help="names, or paths below an archive, to leave out; may be given several times",
    )
    parser.add_argument(
        "--join",
        choices=("auto", "names", "never"),
        default="auto",
        help="files with numbered names are one recording if their sizes or metadata tell so "
        "(default), always, or never",
    )
    parser.add_argument("--no-progress", action="store_true", help="show no progress")
    group = parser.add_argument_group("machines and disks")
    group.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="recordings at a time (default: one per core, 8 and one per 2 GiB at most)",
    )
    group.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="for each recording (default: the cores by the workers; all where fewer are at work)",
    )
    group.add_argument(
        "--memory-gib", type=float, metavar="GIB", help="of each worker at most (default: 4)"
    )
    group.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="of a Dask scheduler to use, such as tcp://node:8786, or its file (.json), instead of "
        "workers on this machine",
    )
    group.add_argument(
        "--readers-per-disk",
        type=int,
        metavar="N",
        help="recordings read at a time from each disk (default: 1 where it turns)",
    )
    group.add_argument(
        "--split-gb",
        type=float,
        default=16,
        metavar="GB",
        help="longer recordings are read in parts of this size (default: 16)",
    )
    group.add_argument(
        "--retries",
        type=int,
        default=2,
        metavar="N",
        help="after an error of a disk or network that may pass (default: 2)",
    )
    _add_settings(parser)
    parser.set_defaults(run=_run)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    from ..storage import Layout

    group = parser.add_argument_group("recordings of which the manifest does not tell otherwise")
    group.add_argument(
        "--recipe",
        default="default",
        metavar="NAME|FILE",
        help="default, published, or a YAML or TOML file with options of a recipe",
    )
    group.add_argument("--layout", choices=get_args(Layout))
    group.add_argument("--frame-rate-hz", type=float, metavar="HZ")
    group.add_argument("--pixel-size-mm", type=number, metavar="MM")
    group.add_argument("--times", choices=("frames", "mtime", "name", "datetime"))
    group.add_argument("--channels", nargs="+", metavar="NAME")
    group.add_argument("--mask", metavar="FILE")
    group.add_argument("--midline-x-px", type=float, metavar="X")
    group.add_argument("--max-speed-mm-min", type=float, metavar="SPEED")
    group.add_argument("--allow-truncated", action="store_true", default=None)
    group.add_argument("--no-pictures", dest="picture", action="store_false", default=None)


_SETTINGS = (
    "layout", "frame_rate_hz", "pixel_size_mm", "times", "mask", "midline_x_px",
    "max_speed_mm_min", "allow_truncated", "picture",
)  # fmt: skip


def _run(options: argparse.Namespace) -> int:
    from ..batch.run import batch
    from ..batch.summary import report_lines
    from . import FAILED, INTERRUPTED, MISUSED, as_typed, message_of
    from .preprocess import channels_of

    settings = {n: getattr(options, n) for n in _SETTINGS if getattr(options, n) is not None}
    if options.channels is not None:
        settings["channels"] = channels_of(options)
    memory = None if options.memory_gib is None else int(options.memory_gib * 2**30)
    try:
        result = batch(
            options.archives,
            options.out,
            manifest=options.manifest,
            recipe=_recipe(options.recipe),
            steps=[name.strip() for name in options.steps.split(",") if name.strip()],
            resume=options.resume,
            dry_run=options.dry_run,
            workers=options.workers,
            threads=options.threads,
            memory_per_worker=memory,
            scheduler=options.scheduler,
            readers_per_disk=options.readers_per_disk,
            split_bytes=int(options.split_gb * 1e9),
            retries=options.retries,
            exclude=options.exclude,
            join=options.join,
            any_version=options.any_version,
            verify_source=options.verify_source,
            progress=not options.no_progress,
            say=lambda line: print(line, flush=True),
            **settings,
        )
    except KeyboardInterrupt:
        print("iosfast: interrupted; what was done is kept, --resume goes on", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, TypeError, ImportError, OSError) as error:
        print("iosfast: error:", *as_typed(message_of(error), options), file=sys.stderr)
        return FAILED if isinstance(error, ConnectionError) else MISUSED
    if options.dry_run:
        return 0
    for line in report_lines(result.rows):
        print(line)
    if result.unwritten:
        return SOME_FAILED
    print(f"summary: {result.summary}")
    print(f"page:    {result.index}")
    return SOME_FAILED if result.failed else 0


def _recipe(text: str) -> Any:
    if text in ("default", "published"):
        return text
    from ..batch.manifest import read_mapping

    return read_mapping(Path(text))
