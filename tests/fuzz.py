"""Break recordings of every kind, and see that iosfast gives frames or one ReadError.

    python tests/fuzz.py --files 20000 --seed 1 --jobs 2

Prints a table and, for every fault, how to see it again; the exit status is 1 if there is any.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from fuzzing.kinds import KINDS
from fuzzing.mutations import broken
from fuzzing.worker import ALL_KINDS, Case, random_of, serve, try_case

#: Faults of one sort that are shown.
SHOWN = 3


@dataclass
class Row:
    """What came of the files of one reader."""

    files: int = 0
    frames: int = 0
    errors: int = 0
    warned: int = 0
    faults: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0
    peak_mib: int = 0


@dataclass
class Results:
    """What came of all files."""

    rows: dict[str, Row] = field(default_factory=lambda: collections.defaultdict(Row))
    faults: list[tuple[Case, dict[str, Any]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, case: Case, answer: dict[str, Any]) -> None:
        with self.lock:
            row = self.rows[ALL_KINDS[case.kind].reader]
            row.files += 1
            row.frames += answer["outcome"] == "frames"
            row.errors += answer["outcome"] == "error"
            row.warned += answer["warned"]
            row.seconds += answer["seconds"]
            row.slowest_s = max(row.slowest_s, answer["seconds"])
            row.peak_mib = max(row.peak_mib, answer["peak_mib"])
            if answer["outcome"] == "bug":
                row.faults += 1
                self.faults.append((case, answer))


class Worker:
    """A process that judges cases, and is started again when one kills it."""

    def __init__(self, timeout_s: float, memory_mib: int) -> None:
        self._timeout_s, self._memory_mib = timeout_s, memory_mib
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[bytes] | None = None

    def judge(self, case: Case) -> dict[str, Any]:
        if self._process is None:
            self._start()
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        started = time.perf_counter()
        late = threading.Event()

        def too_late() -> None:
            late.set()
            process.send_signal(signal.SIGABRT)  # faulthandler tells where it hangs
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()

        timer = threading.Timer(self._timeout_s, too_late)
        timer.start()
        try:
            process.stdin.write(json.dumps(case) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            timer.cancel()
            timer.join()
        if line and not late.is_set():
            answer: dict[str, Any] = json.loads(line)
            return answer
        code = process.wait()
        said = self._said()
        self.close()
        text = f"hangs: no answer in {self._timeout_s:g} s" if late.is_set() else _death(code)
        seconds = time.perf_counter() - started
        return {
            "outcome": "bug",
            "text": f"{text}\n{said}",
            "warned": False,
            "done": [],
            "seconds": seconds,
            "peak_mib": 0,
        }

    def _start(self) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve", "--memory-mib", str(self._memory_mib)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )

    def _said(self) -> str:
        assert self._log is not None
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").splitlines()
        first = next((i for i, line in enumerate(lines) if _TELLING.search(line)), 0)
        told = [line for line in lines[first:] if line and not line.startswith("Extension modules")]
        return "\n".join(f"    {line}" for line in told[:14])

    def close(self) -> None:
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                pipe.close()
            self._process.wait()
            self._process = None
        if self._log is not None:
            self._log.close()
            self._log = None


_TELLING = re.compile("ERROR: |runtime error|Current thread|Traceback")


def _death(code: int) -> str:
    if code < 0:
        return f"kills the process with {signal.Signals(-code).name}"
    return f"ends the process with status {code}"


def run(
    cases: Iterator[Case],
    jobs: int,
    timeout_s: float,
    memory_mib: int,
    shown: Callable[[Results], None] = lambda results: None,
) -> Results:
    """Judge all cases in so many processes."""
    results, lock = Results(), threading.Lock()
    failures: list[BaseException] = []

    def work() -> None:
        worker = Worker(timeout_s, memory_mib)
        try:
            while not failures:
                with lock:
                    case = next(cases, None)
                if case is None:
                    return
                results.add(case, worker.judge(case))
                shown(results)
        except BaseException as error:
            failures.append(error)
        finally:
            worker.close()

    threads = [threading.Thread(target=work) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return results


def cases_of(seed: int, files: int, kinds: list[str], first: int = 0) -> Iterator[Case]:
    """Go round the kinds."""
    for i in range(files):
        yield Case(seed, kinds[i % len(kinds)], first + i // len(kinds))


def table(results: Results) -> str:
    heads = ("reader", "files", "frames", "ReadError", "warned", "faults", "s", "slowest", "MiB")
    lines = ["{:<22}{:>8}{:>8}{:>11}{:>8}{:>8}{:>9}{:>9}{:>7}".format(*heads)]
    total = Row()
    for name, row in [*sorted(results.rows.items()), ("all", total)]:
        lines.append(
            f"{name:<22}{row.files:>8}{row.frames:>8}{row.errors:>11}{row.warned:>8}"
            f"{row.faults:>8}{row.seconds:>9.1f}{row.slowest_s:>9.2f}{row.peak_mib:>7}"
        )
        if row is not total:
            for count in ("files", "frames", "errors", "warned", "faults", "seconds"):
                setattr(total, count, getattr(total, count) + getattr(row, count))
            total.slowest_s = max(total.slowest_s, row.slowest_s)
            total.peak_mib = max(total.peak_mib, row.peak_mib)
    return "\n".join(lines)


def faults(results: Results) -> str:
    """List faults by their sort, and how to see the first of each again."""
    sorts: dict[str, list[tuple[Case, dict[str, Any]]]] = collections.defaultdict(list)
    for case, answer in results.faults:
        telling = [line for line in answer["text"].splitlines() if "thread 0x" not in line]
        sort = re.sub(r"(/[^ :]*/|[0-9]+|'[^']*')", "#", "\n".join(telling[:4])[:400])
        sorts[sort].append((case, answer))
    lines: list[str] = []
    for found in sorted(sorts.values(), key=len, reverse=True):
        lines.append(f"\n{len(found)} x {found[0][1]['text']}")
        for case, answer in found[:SHOWN]:
            # A process that died told nothing; what was done can be made again.
            done = answer["done"] or broken(ALL_KINDS[case.kind].seed, random_of(case)).done
            lines.append(f"  {case.kind}: {'; '.join(done)}")
            lines.append(
                f"    python tests/fuzz.py --seed {case.seed} --kind {case.kind!r} "
                f"--only {case.number}"
            )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--files", type=int, default=1000, help="broken files in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--kind", action="append", help="only kinds whose names begin so")
    parser.add_argument("--only", type=int, help="the number of one case of --kind, once more")
    parser.add_argument("--keep", type=Path, help="with --only: leave the files in this folder")
    parser.add_argument("--list", action="store_true", help="list the kinds")
    parser.add_argument("--timeout-s", type=float, default=60.0, help="for one file")
    parser.add_argument("--memory-mib", type=int, default=2048, help="that one file may take")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        serve(options.memory_mib)
        return 0
    exact = [name for name in ALL_KINDS if name in (options.kind or ())]
    begins = tuple(options.kind or ("",))
    wanted = [kind.name for kind in KINDS if kind.name.startswith(begins)]
    wanted = exact if options.only is not None else list(dict.fromkeys(wanted + exact))
    kinds = [name for name in wanted if not ALL_KINDS[name].missing]
    for name in sorted(set(wanted) - set(kinds)):
        print(f"left out: {name} needs {', '.join(ALL_KINDS[name].missing)}")
    if options.list:
        print("\n".join(kinds))
        return 0
    if not kinds:
        parser.error("there is no such kind")
    if options.only is not None and options.keep is not None:
        return _keep(Case(options.seed, kinds[0], options.only), options.keep)
    first, files = (0, options.files) if options.only is None else (options.only, len(kinds))
    started = time.perf_counter()
    results = run(
        cases_of(options.seed, files, kinds, first),
        options.jobs,
        options.timeout_s,
        options.memory_mib,
        _progress(files, started),
    )
    seconds = time.perf_counter() - started
    print(table(results))
    print(f"{files / seconds:.0f} files/s, {len(kinds)} kinds, seed {options.seed}")
    if results.faults:
        print(faults(results))
    return 1 if results.faults else 0


def _progress(files: int, started: float) -> Callable[[Results], None]:
    if not sys.stderr.isatty():
        return lambda results: None

    def show(results: Results) -> None:
        done = sum(row.files for row in results.rows.values())
        if done % 100 == 0:
            rate = done / (time.perf_counter() - started)
            print(f"\r{done} of {files}, {rate:.0f}/s", end="", file=sys.stderr)

    return show


def _keep(case: Case, folder: Path) -> int:
    """Judge one case in this process, and write its files once more, to be looked at."""
    from fuzzing.judge import write

    folder.mkdir(parents=True)
    verdict, done = try_case(case, folder.resolve())
    write(broken(ALL_KINDS[case.kind].seed, random_of(case)), folder.resolve())
    print(f"{verdict.outcome}: {verdict.text}\n" + "\n".join(done))
    return 1 if verdict.outcome == "bug" else 0


if __name__ == "__main__":
    sys.exit(main())
