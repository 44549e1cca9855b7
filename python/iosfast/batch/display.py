"""Progress for people: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from .quantities import size_of, time_of
from .tasks import Outcome

_LINE_S = 30.0


class Display(Protocol):
    """Where progress is shown."""

    def worked(self, told: dict[str, Any]) -> None:
        """Take what a worker tells: name, worker, step, bytes done and in all."""

    def finished(self, outcome: Outcome, nbytes: int) -> None:
        """Take what became of a recording, of which so many bytes were to be read."""


class Silent:
    """Shows nothing."""

    def worked(self, told: dict[str, Any]) -> None:
        """Take what a worker tells."""

    def finished(self, outcome: Outcome, nbytes: int) -> None:
        """Take what became of a recording."""


def line_about(outcome: Outcome) -> str:
    """Return what became of a recording as one line."""
    seconds = sum(step.seconds for step in outcome.steps)
    retried = f", tried again {outcome.retried} times" if outcome.retried else ""
    if outcome.error is not None:
        return f"{outcome.name}: FAILED in {outcome.failed}{retried}: {outcome.error}"
    done = ", ".join(step.step for step in outcome.steps if step.reason is not None) or "nothing"
    return f"{outcome.name}: {done} done in {time_of(seconds)}{retried}"


class Lines:
    """Plain lines: one for each recording, and one every half a minute."""

    def __init__(self, count: int, nbytes: int) -> None:
        self._count, self._nbytes = count, nbytes
        self._done, self._failed, self._bytes = 0, 0, 0
        self._part: dict[tuple[str, int | None], int] = {}
        self._begin = self._last = time.monotonic()
        self._lock = threading.Lock()

    def worked(self, told: dict[str, Any]) -> None:
        """Take what a worker tells."""
        with self._lock:
            if told["step"] == "preprocess":
                self._part[told["name"], told.get("part")] = told["done"]
            if time.monotonic() - self._last >= _LINE_S:
                self._last = time.monotonic()
                self._print(self._state())

    def finished(self, outcome: Outcome, nbytes: int) -> None:
        """Take what became of a recording."""
        with self._lock:
            self._part = {key: n for key, n in self._part.items() if key[0] != outcome.name}
            self._done += 1
            self._failed += outcome.error is not None
            self._bytes += nbytes
            self._print(f"[{self._done}/{self._count}] {line_about(outcome)}")

    def _state(self) -> str:
        seconds = time.monotonic() - self._begin
        done = self._bytes + sum(self._part.values())
        rate = done / seconds if seconds else 0.0
        left = f", about {time_of((self._nbytes - done) / rate)} left" if rate else ""
        failed = f", {self._failed} failed" if self._failed else ""
        return (
            f"{self._done} of {self._count} recordings{failed}; {size_of(done)} of "
            f"{size_of(self._nbytes)} at {rate / 1e9:.2f} GB/s{left}"
        )

    def _print(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class Bars:
    """Bars: one for all, and one for each worker."""

    def __init__(self, bar: Any, count: int, nbytes: int) -> None:
        self._bar, self._count, self._nbytes = bar, count, nbytes
        self._all = bar.add_task(f"{count} recordings", total=max(1, nbytes))
        self._workers: dict[str, Any] = {}
        self._of: dict[str, str] = {}
        self._done, self._failed, self._bytes = 0, 0, 0
        self._part: dict[tuple[str, int | None], int] = {}
        self._lock = threading.Lock()

    def worked(self, told: dict[str, Any]) -> None:
        """Take what a worker tells."""
        with self._lock:
            worker, name = told["worker"], told["name"]
            if worker not in self._workers:
                self._workers[worker] = self._bar.add_task("", total=1)
            self._of[name] = worker
            if told["step"] == "preprocess":
                self._part[name, told.get("part")] = told["done"]
            text = f"{told['step']}: {_shortened(name)}"
            self._bar.update(
                self._workers[worker],
                description=text,
                total=max(1, told["bytes"]),
                completed=told["done"],
            )
            self._show()

    def finished(self, outcome: Outcome, nbytes: int) -> None:
        """Take what became of a recording."""
        with self._lock:
            self._part = {key: n for key, n in self._part.items() if key[0] != outcome.name}
            self._done += 1
            self._bytes += nbytes
            if outcome.error is not None:
                self._failed += 1
                self._bar.console.print(line_about(outcome), markup=False, highlight=False)
            worker = self._workers.get(self._of.pop(outcome.name, ""))
            if worker is not None:
                self._bar.update(worker, description="", completed=0)
            self._show()

    def _show(self) -> None:
        failed = f", {self._failed} failed" if self._failed else ""
        self._bar.update(
            self._all,
            description=f"{self._done} of {self._count} recordings{failed}",
            completed=min(self._nbytes, self._bytes + sum(self._part.values())),
        )


@contextmanager
def display_for(progress: bool, count: int, nbytes: int) -> Iterator[Display]:
    """Yield where progress is shown: bars if people can see them."""
    if not progress:
        yield Silent()
    elif not sys.stderr.isatty():
        yield Lines(count, nbytes)
    else:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            yield Bars(bar, count, nbytes)


def _shortened(name: str, length: int = 40) -> str:
    return name if len(name) <= length else f"...{name[3 - length :]}"
