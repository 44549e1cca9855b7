"""The command line: one module for each command, which adds its own parser."""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from .. import __version__
from ..errors import DeviceError, IosfastWarning
from ..progress import heeding_interrupts
from . import (
    annotate,
    batch,
    compare,
    demo,
    episodes,
    evaluate,
    info,
    preprocess,
    reconstruct,
    report,
    sam2,
    segment,
    verify,
)

#: Exit codes: an error of the data or the disk; misuse (argparse's own); Ctrl-C.
FAILED, MISUSED, INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        with heeding_interrupts(), warnings.catch_warnings():
            warnings.showwarning = _show_warning
            warnings.simplefilter("always", IosfastWarning)
            code: int | None = options.run(options)
    except KeyboardInterrupt:
        print("iosfast: interrupted; nothing incomplete was left", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        return FAILED
    except (
        OSError,
        ValueError,
        TypeError,
        ImportError,
        MemoryError,
        ArithmeticError,
        DeviceError,
    ) as error:
        print("iosfast: error:", *as_typed(message_of(error), options), file=sys.stderr)
        return FAILED
    return code or 0


def message_of(error: BaseException) -> str:
    """Return what an error tells."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def as_typed(message: str, options: argparse.Namespace) -> list[str]:
    """Return the lines of a message, with the options of a command as they are typed there."""
    names = "|".join(map(re.escape, vars(options)))

    def typed(found: re.Match[str]) -> str:
        given = "" if found[2] or not found[3] else " "
        return f"--{found[1].replace('_', '-')}{given}{found[3]}"

    # Not within a path, which may hold anything.
    pattern = rf"(?<=[ (])({names})=(True\b)?(?=[ ,;.)'\"(]|$)(['\"(]?)"
    return re.sub(pattern, typed, message).splitlines()


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
    of_waves = (preprocess, info, episodes, segment, report, annotate, evaluate, compare, sam2)
    for command in (*of_waves, batch, verify, reconstruct, demo):
        command.add_to(commands)
    return parser
