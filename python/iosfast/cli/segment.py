"""``iosfast segment``: outlines of waves in every map."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from ..progress import progress_for
from .source import number

if TYPE_CHECKING:
    from ..prompts import Prompt
    from ..segment import Segmentation

#: Maps to look at that are named.
_NAMED = 6


def add_to(commands: Any) -> None:
    """Add the command."""
    from ..annotations.annotations import Format
    from ..sam2.model import Device
    from ..segment import Direction, Method

    parser = commands.add_parser(
        "segment",
        help="outline waves in every map, from prompts on some",
        description="Outline waves in every map, from prompts on some, or from what the program "
        "proposes, without a network (method front) or with SAM 2 (method sam2); print what was "
        "found and which maps a person should look at; write masks, labels, the prompts, and a "
        "picture.",
    )
    parser.add_argument(
        "source", type=Path, metavar="MAPS_OR_CLIP", help="folder of maps, or of images of a clip"
    )
    parser.add_argument(
        "--prompts",
        default="auto",
        metavar="FILE|auto",
        help="JSON file of prompts; auto (default): a point on each wave that is found",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder to make (default: MAPS_OR_CLIP-segmented)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a segmentation there")
    parser.add_argument(
        "--format",
        nargs="+",
        choices=get_args(Format),
        default=["isat"],
        help="of labels, beside the masks; one or more (default: isat)",
    )
    parser.add_argument(
        "--category", default="signal", help="what the objects are called (default: signal)"
    )
    parser.add_argument("--no-picture", action="store_true", help="draw nothing")
    parser.add_argument(
        "--no-progress", action="store_true", help="no progress bar, which method sam2 shows"
    )
    group = parser.add_argument_group("finding")
    group.add_argument(
        "--method",
        choices=get_args(Method),
        default="front",
        help="front (default) needs no weights; sam2 needs --model",
    )
    group.add_argument(
        "--direction",
        choices=get_args(Direction),
        default="forward",
        help="both: also back in time from the first prompts",
    )
    group.add_argument(
        "--correct-backwards",
        action="store_true",
        help="let later prompts also hold for the maps before them",
    )
    group.add_argument("--max-speed-mm-min", type=float, metavar="SPEED")
    group.add_argument("--pixel-size-mm", type=number, metavar="MM", help="if the maps lack it")
    group.add_argument("--threads", type=int, default=0, help="default: one per core")
    group = parser.add_argument_group("method sam2")
    group.add_argument(
        "--model", type=Path, metavar="DIR", help="what 'iosfast sam2 export' has made; needed"
    )
    group.add_argument(
        "--device",
        choices=get_args(Device),
        default="auto",
        help="where to run; auto (default): a GPU if there is one, else the CPU",
    )
    group.add_argument(
        "--batch-size",
        type=batch_size,
        default="auto",
        metavar="N|auto",
        help="objects at a time; auto (default): 1 on a CPU, what fits on a GPU",
    )
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from ..clips import opened
    from ..prompts import read_prompts
    from ..segment import segment
    from ..segment_files import check_segmentation_place, write_segmentation

    folder = options.source.absolute()
    out = options.out or folder.with_name(f"{folder.name}-segmented")
    check_segmentation_place(out, options.overwrite)
    prompts: Sequence[Prompt] | Literal["auto"] = "auto"
    if options.prompts != "auto":
        prompts = read_prompts(options.prompts)
    maps = opened(options.source)
    limits = (
        {} if options.max_speed_mm_min is None else {"max_speed_mm_min": options.max_speed_mm_min}
    )
    shown = options.method == "sam2" and not options.no_progress and sys.stderr.isatty()
    with _bar(shown) as progress:
        found = segment(
            maps,
            prompts,
            options.method,
            pixel_size_mm=options.pixel_size_mm,
            direction=options.direction,
            correct_backwards=options.correct_backwards,
            model=options.model,
            device=options.device,
            batch_size=options.batch_size,
            threads=options.threads,
            progress=progress,
            **limits,
        )
    write_segmentation(
        found,
        maps,
        out,
        formats=options.format,
        category=options.category,
        picture=not options.no_picture,
        overwrite=options.overwrite,
    )
    report(found)
    print(f"segmentation: {out}")


@contextmanager
def _bar(shown: bool) -> Iterator[Callable[[int, int], None]]:
    """Yield a function to call with what is done, and out of how much; a bar if it is shown."""
    with ExitStack() as stack:
        update: Callable[[int], None] | None = None

        def progress(done: int, total: int) -> None:
            nonlocal update
            if update is None:
                update = stack.enter_context(progress_for(shown, total, None, "outline maps"))
            update(done)

        yield progress


def batch_size(text: str) -> int | Literal["auto"]:
    """Return a number of objects, or "auto"."""
    return "auto" if text == "auto" else int(text)


def report(found: Segmentation) -> None:
    """Print a line for each object, and what else is to be known."""
    row = "{:>6}  {:>4}  {:<19}  {:<19}  {:>10}  {}"
    if found.objects:
        print(row.format("object", "maps", "first", "last", "confidence", "look at"))
    for index, name in enumerate(found.objects):
        drawn = np.flatnonzero(found.masks[index].any(axis=(1, 2)))
        if not drawn.size:
            print(row.format(name, 0, "-", "-", "-", ""))
            continue
        look = [found.names[t] for t in np.flatnonzero(found.look_at[index])]
        more = f", and {len(look) - _NAMED} more" if len(look) > _NAMED else ""
        sure = float(np.median(found.confidence[index, drawn]))
        first, last = (found.names[t] for t in drawn[[0, -1]])
        named = ", ".join(look[:_NAMED]) + more
        print(row.format(name, drawn.size, first, last, f"{sure:.2f}", named or "-"))
    for note in found.notes:
        print(f"note: {note}")
