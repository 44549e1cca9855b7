"""Hands recordings to the workers: as many of each disk at a time as the disk can bear."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any
from uuid import uuid4

from .cluster import ALLOWED_FAILURES, Cluster
from .extras import needed
from .faults import line_of
from .tasks import Outcome, Task, keep_markers, perform, with_source, without_source

#: The topic of the events by which workers tell how far they are.
TOPIC = "iosfast"
_REPORT_S = 0.5

#: Short recordings go to a worker together: so many, of so many bytes in all, which is half a
#: minute of a disk that turns.
_TOGETHER, _TOGETHER_BYTES = 64, 4 << 30

#: How long the number of workers is taken to stay as it was.
_SLOTS_S = 2.0

#: Of those, one is read while so many in all are at work; the others are written.
_AT_ONCE = 4

#: Tasks of this process that have only to write.
_writing = threading.BoundedSemaphore(2)


@dataclass
class _Job:
    """A recording on its way: first the steps that read it, then the others.

    `alone`: nothing else runs meanwhile, so that a worker that dies has died over this.
    """

    task: Task
    disk: str
    priority: int
    reading: bool
    nbytes: int = 0
    before: Outcome | None = None
    whole: _Whole | None = None
    alone: bool = False

    @property
    def short(self) -> bool:
        """Whether it can go to a worker with others."""
        return self.reading and self.task.parts == 1

    @property
    def share(self) -> int:
        """Bytes that it reads."""
        return self.nbytes // self.task.parts


@dataclass
class _Whole:
    """A recording that is read in parts, which still lack."""

    task: Task
    lack: int


class Dispatch:
    """Runs tasks on a cluster, a bounded number at a time, and gives each outcome when it is there.

    Parameters
    ----------
    cluster : Cluster
    readers : mapping of str to int or None
        Recordings that may be read at once from each disk; None: any number.
    """

    def __init__(self, cluster: Cluster, readers: Mapping[str, int | None]) -> None:
        self._cluster = cluster
        self._readers = readers
        self._reading: dict[str, int] = {}
        self._waiting: dict[str, deque[_Job]] = {}
        self._ready: deque[_Job] = deque()
        self._suspects: deque[_Job] = deque()
        self._running: dict[Any, list[_Job]] = {}
        self._slots, self._slots_until = 1, 0.0

    def run(
        self,
        tasks: Iterable[tuple[Task, str, int | None]],
        finished: Callable[[Outcome], None],
    ) -> None:
        """Run tasks, each with the disk that it reads from and how many bytes; None: does not read.

        Raises
        ------
        ConnectionError
            If the scheduler is lost; recordings without an outcome have to be done again.
        """
        distributed = needed("distributed")
        for number, (task, disk, nbytes) in enumerate(tasks):
            if nbytes is None:
                self._ready.append(_Job(task, disk, -number, False))
                continue
            waiting = self._waiting.setdefault(disk, deque())
            if task.parts == 1:
                waiting.append(_Job(task, disk, -number, True, nbytes))
                continue
            whole = _Whole(task, task.parts)
            waiting += [
                _Job(replace(task, part=part), disk, -number, True, nbytes, whole=whole)
                for part in range(task.parts)
            ]
        # Without results, for which it would wait for ever if the scheduler were lost before.
        completed = distributed.as_completed()
        try:
            self._submit(completed)
            while self._running:
                future = next(completed)
                jobs = self._running.pop(future)
                result = _result_of(future)
                future.release()
                if jobs[0].reading:
                    self._reading[jobs[0].disk] -= 1
                if jobs[0].whole is not None:
                    self._part_made(jobs[0], jobs[0].whole)
                elif _was_killed(result) and not jobs[0].alone:
                    # Dask blames all that were at the worker: which it was is seen one by one.
                    self._suspects += [replace(job, alone=True) for job in jobs]
                else:
                    every = result if isinstance(result, tuple) else [result] * len(jobs)
                    for job, each in zip(jobs, every, strict=True):
                        self._take(job, self._outcome(job, each), finished)
                self._submit(completed)
        finally:
            for future in self._running:
                future.cancel()

    def _part_made(self, job: _Job, whole: _Whole) -> None:
        whole.lack -= 1
        if not whole.lack:
            self._ready.append(replace(job, task=whole.task, whole=None))
            self._reading[job.disk] += 1  # what lacks is read by whoever joins

    def _take(self, job: _Job, outcome: Outcome, finished: Callable[[Outcome], None]) -> None:
        rest = without_source(job.task)
        if job.reading and rest.steps and outcome.error is None:
            self._ready.append(_Job(rest, job.disk, job.priority, False, before=outcome))
        else:
            finished(outcome)

    def _outcome(self, job: _Job, result: Any) -> Outcome:
        outcome = (
            result
            if isinstance(result, Outcome)
            else Outcome(job.task.name, error=_told(result), failed=job.task.steps[0])
        )
        if (before := job.before) is None:
            return outcome
        steps, retried = before.steps + outcome.steps, before.retried + outcome.retried
        return replace(outcome, steps=steps, nbytes=before.nbytes, retried=retried)

    def _submit(self, completed: Any) -> None:
        """Keep workers busy: some tasks more than they have threads wait at the scheduler."""
        slots = self._slots_now()
        most = 2 * slots + max(1, slots // 2) if self._cluster.workers else max(64, 2 * slots)
        while len(self._running) < most:
            jobs = self._next(slots)
            if not jobs:
                return
            job, threads = jobs[0], self._threads(jobs, slots)
            tasks = (with_source(each.task) if each.reading else each.task for each in jobs)
            future = self._cluster.client.submit(
                _perform,
                tuple(replace(task, threads=threads) for task in tasks),
                key=f"iosfast-{'read' if job.reading else 'analyse'}-{uuid4().hex}",
                pure=False,
                priority=job.priority + (0 if job.reading else 1_000_000),
            )
            joins = job.reading and job.whole is None and job.task.parts > 1
            if job.reading and not joins:
                self._reading[job.disk] = self._reading.get(job.disk, 0) + 1
            self._running[future] = jobs
            completed.add(future)

    def _slots_now(self) -> int:
        """Ask the scheduler now and then only: an answer takes as long as a short recording."""
        if (now := time.monotonic()) >= self._slots_until:
            try:
                self._slots = self._cluster.slots()
            except OSError as error:
                raise ConnectionError("the scheduler was lost") from error
            self._slots_until = now + _SLOTS_S
        return self._slots

    def _threads(self, jobs: list[_Job], slots: int) -> int:
        """Threads of a task: more where what comes after it cannot keep the other workers busy.

        Those at work may have more threads than there are cores then, so that none is idle.
        """
        job = jobs[0]
        beside = len(self._ready) + (0 if job.reading else len(self._running))
        for disk, waiting in self._waiting.items():
            most = self._readers.get(disk)
            if most is not None and job.reading and disk == job.disk:
                most -= 1
            beside += len(waiting) if most is None else min(most, len(waiting))
        as_long = sum(each.share for each in jobs) * (slots - 1)
        after = accumulate(
            (each.share for every in self._waiting.values() for each in every), initial=0
        )
        enough = beside >= slots - 1 and any(nbytes >= as_long for nbytes in after)
        return self._cluster.threads if enough else self._cluster.alone

    def _next(self, slots: int) -> list[_Job]:
        """What was read is finished first; then the disk that is least busy; suspects come last."""
        if self._ready:
            return [self._ready.popleft()]
        free = []
        for disk, jobs in self._waiting.items():
            most, now = self._readers.get(disk), self._reading.get(disk, 0)
            if jobs and (most is None or now < most):
                free.append((now, disk))
        if free:
            disk = min(free)[1]
            return _together(self._waiting[disk], slots, self._readers.get(disk))
        return [self._suspects.popleft()] if self._suspects and not self._running else []


def _together(waiting: deque[_Job], slots: int, readers: int | None = None) -> list[_Job]:
    """Take short recordings that go to a worker as one; fewer towards the end, so that all end.

    Where one worker reads at a time, nobody else could take them; but other steps, which any worker
    can do, come after all that went together.
    """
    takers = slots
    if readers is not None and not without_source(waiting[0].task).steps:
        takers = min(slots, readers)
    share = len(waiting) if takers == 1 else len(waiting) // (2 * takers)
    most = min(_TOGETHER, max(1, share))
    jobs = [waiting.popleft()]
    nbytes = jobs[0].nbytes
    while waiting and len(jobs) < most and jobs[0].short and waiting[0].short:
        nbytes += waiting[0].nbytes
        if nbytes > _TOGETHER_BYTES:
            break
        jobs.append(waiting.popleft())
    return jobs


def _perform(tasks: tuple[Task, ...]) -> tuple[Outcome, ...]:
    """Run in a worker: while what was read is written, the next recording begins.

    After the last one the worker takes what comes next, unless much waits for the disk already.
    """
    distributed = needed("distributed")
    worker = distributed.get_worker()
    last = 0.0

    def run(task: Task, free: threading.Event) -> Outcome:
        def report(told: dict[str, Any]) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last >= _REPORT_S:
                last = now
                worker.log_event(TOPIC, {"name": task.name, "worker": str(worker.name), **told})

        try:
            return perform(task, report, free.set)
        finally:
            free.set()

    begun = []
    with ThreadPoolExecutor(_AT_ONCE, "iosfast-task") as pool:
        for task in tasks:
            free = threading.Event()
            begun.append(pool.submit(run, task, free))
            free.wait()
        with _given_back(distributed):
            outcomes = tuple(each.result() for each in begun)
            keep_markers(tasks, outcomes)
    return outcomes


@contextmanager
def _given_back(distributed: Any) -> Iterator[None]:
    """Let the worker take its next task meanwhile."""
    if not _writing.acquire(blocking=False):
        yield
        return
    try:
        distributed.secede()
        yield
    finally:
        _writing.release()


def _result_of(future: Any) -> Any:
    """Return what a task has given, or its error.

    Raises
    ------
    ConnectionError
        If it was lost with the scheduler.
    """
    try:
        if future.status == "error":
            return future.exception()
        return future.result()
    except (CancelledError, OSError) as error:
        raise ConnectionError("the scheduler was lost") from error


def _was_killed(result: Any) -> bool:
    return type(result).__name__ == "KilledWorker"


def _told(result: Any) -> str:
    if _was_killed(result):
        return (
            f"its worker died {ALLOWED_FAILURES + 1} times (out of memory, or killed); the "
            "recording may be damaged, or need more memory: fewer workers leave more for each"
        )
    return line_of(result) if isinstance(result, BaseException) else f"{result!r}"
