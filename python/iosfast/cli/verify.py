"""``iosfast verify``: whether the results of a batch are still what was made."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "verify",
        help="check the results of a batch against their checksums and their sources",
        description="Read all results of a batch, compare them with their checksums, and see "
        "whether the recordings are still those that were read. Nothing is changed. Exit code 0: "
        "all is as it was; 3: something is not; iosfast batch --verify-source reads the "
        "recordings again and compares the maps.",
    )
    parser.add_argument("out", type=Path, metavar="DIR", help="folder of a batch")
    parser.add_argument("--no-source", action="store_true", help="do not look at the recordings")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from ..batch.verify import verify
    from .batch import SOME_FAILED

    names: list[str] = []
    findings = verify(options.out, source=not options.no_source, progress=names.append)
    for finding in findings:
        print(f"{finding.recording}: {finding.step}: {finding.what}: {finding.told}")
    wrong = len({finding.recording for finding in findings})
    print(f"{len(names):,} recordings looked at, {len(names) - wrong:,} as they were")
    return SOME_FAILED if findings else 0
