"""A process that breaks and judges one file after the other, within bounds of memory."""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

from .judge import Verdict, judge
from .kind import Kind
from .kinds import KINDS
from .mutations import broken
from .planted import PLANTED

ALL_KINDS = {kind.name: kind for kind in (*KINDS, *PLANTED)}


class Case(NamedTuple):
    """One broken recording: told by a seed, the name of a kind, and a number."""

    seed: int
    kind: str
    number: int


def random_of(case: Case) -> np.random.Generator:
    """Return the source of all decisions of a case, whatever other cases or kinds there are."""
    return np.random.default_rng([case.seed, zlib.crc32(case.kind.encode()), case.number])


def try_case(case: Case, folder: Path) -> tuple[Verdict, list[str]]:
    """Break a recording and judge; return also what was done to it."""
    kind: Kind = ALL_KINDS[case.kind]
    random = random_of(case)
    made = broken(kind.seed, random)
    return judge(kind, made, folder, random), made.done


def serve(memory_mib: int) -> None:
    """Take cases from stdin and answer on stdout, one JSON line each, until there are no more."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints is no answer
    faulthandler.enable()
    if not _is_sanitized():  # which maps terabytes for itself
        space = _status("VmSize") + memory_mib
        resource.setrlimit(resource.RLIMIT_AS, (space << 20, space << 20))
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name).resolve()
        for line in sys.stdin:
            case = Case(*json.loads(line))
            _answer(answers, _measured(case, folder, memory_mib))


def _measured(case: Case, folder: Path, memory_mib: int) -> dict[str, Any]:
    before = _status("VmRSS")
    _forget_peak()
    started = time.perf_counter()
    verdict, done = try_case(case, folder)
    seconds = time.perf_counter() - started
    peak = _status("VmHWM")
    if verdict.outcome != "bug" and peak - before > memory_mib:
        verdict.outcome, verdict.text = "bug", f"took {peak - before} MiB of memory"
    return {
        "outcome": verdict.outcome,
        "text": verdict.text,
        "warned": verdict.warned,
        "done": done,
        "seconds": seconds,
        "peak_mib": peak,
    }


def _answer(answers: TextIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")


def _is_sanitized() -> bool:
    maps = Path("/proc/self/maps")
    return maps.exists() and "libasan" in maps.read_text()


def _status(name: str) -> int:
    """Return a figure of this process in MiB; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    for line in status.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) >> 10
    return 0


def _forget_peak() -> None:
    peak = Path("/proc/self/clear_refs")
    if peak.exists():
        peak.write_text("5")
