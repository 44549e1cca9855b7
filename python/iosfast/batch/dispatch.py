"""Hands recordings to the workers: as many of each disk at a time as the disk can bear."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from .cluster import ALLOWED_FAILURES, Cluster
from .extras import needed
from .faults import line_of
from .steps import BY_NAME
from .tasks import Outcome, Task, perform, with_source, without_source

#: The topic of the events by which workers tell how far they are.
TOPIC = "iosfast"
_REPORT_S = 0.5


@dataclass
class _Job:
    """A recording on its way: first the steps that read it, then the others."""

    task: Task
    disk: str
    priority: int
    reading: bool
    before: Outcome | None = None
    whole: _Whole | None = None


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
        self._running: dict[Any, _Job] = {}

    def run(
        self,
        tasks: Iterable[tuple[Task, str, bool]],
        finished: Callable[[Outcome], None],
        started: Callable[[str], None] = lambda name: None,
    ) -> None:
        """Run tasks, each with the disk that it reads from and whether it reads at all.

        Raises
        ------
        ConnectionError
            If the scheduler is lost; recordings without an outcome have to be done again.
        """
        distributed = needed("distributed")
        for number, (task, disk, reads) in enumerate(tasks):
            if not reads:
                self._ready.append(_Job(task, disk, -number, False))
                continue
            waiting = self._waiting.setdefault(disk, deque())
            if task.parts == 1:
                waiting.append(_Job(task, disk, -number, True))
                continue
            whole = _Whole(task, task.parts)
            waiting += [
                _Job(replace(task, part=part), disk, -number, True, whole=whole)
                for part in range(task.parts)
            ]
        completed = distributed.as_completed(with_results=True, raise_errors=False)
        try:
            self._submit(completed, started)
            while self._running:
                future, result = next(completed)
                lost = future.status in ("lost", "cancelled")
                future.release()
                job = self._running.pop(future)
                if job.reading:
                    self._reading[job.disk] -= 1
                if lost:
                    raise ConnectionError("the scheduler was lost")
                if job.whole is not None:
                    job.whole.lack -= 1
                    if not job.whole.lack:
                        self._ready.append(replace(job, task=job.whole.task, whole=None))
                        self._reading[job.disk] += 1  # what lacks is read by whoever joins
                    self._submit(completed, started)
                    continue
                outcome = self._outcome(job, result)
                rest = without_source(job.task)
                if job.reading and rest.steps and outcome.error is None:
                    self._ready.append(_Job(rest, job.disk, job.priority, False, outcome))
                else:
                    finished(outcome)
                self._submit(completed, started)
        finally:
            for future in self._running:
                future.cancel()

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

    def _submit(self, completed: Any, started: Callable[[str], None]) -> None:
        """Keep workers busy: some tasks more than they have threads wait at the scheduler."""
        slots = self._cluster.slots()
        most = slots + max(1, slots // 2) if self._cluster.workers else max(64, 2 * slots)
        while len(self._running) < most:
            job = self._next()
            if job is None:
                return
            steps = with_source(job.task) if job.reading else job.task
            future = self._cluster.client.submit(
                _perform,
                steps,
                key=f"iosfast-{'read' if job.reading else 'analyse'}-{uuid4().hex}",
                pure=False,
                priority=job.priority + (0 if job.reading else 1_000_000),
            )
            joins = job.reading and job.whole is None and job.task.parts > 1
            if job.reading and not joins:
                self._reading[job.disk] = self._reading.get(job.disk, 0) + 1
            self._running[future] = job
            started(job.task.name)
            completed.add(future)

    def _next(self) -> _Job | None:
        """What was read is finished first; then the disk that is least busy."""
        if self._ready:
            return self._ready.popleft()
        free = []
        for disk, jobs in self._waiting.items():
            most, now = self._readers.get(disk), self._reading.get(disk, 0)
            if jobs and (most is None or now < most):
                free.append((now, disk))
        return self._waiting[min(free)[1]].popleft() if free else None


def reads_anything(steps: Iterable[str]) -> bool:
    """Tell whether one of some steps reads the recording itself."""
    return any(BY_NAME[name].reads_source for name in steps)


def _perform(task: Task) -> Outcome:
    """Run in a worker, which tells of progress now and then."""
    import time

    worker = needed("distributed").get_worker()
    last = 0.0

    def report(told: dict[str, Any]) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _REPORT_S:
            last = now
            worker.log_event(TOPIC, {"name": task.name, "worker": str(worker.name), **told})

    return perform(task, report)


def _told(result: Any) -> str:
    error = result[1] if isinstance(result, tuple) and len(result) > 1 else result
    if type(error).__name__ == "KilledWorker":
        return (
            f"its worker died {ALLOWED_FAILURES + 1} times (out of memory, or killed); the "
            "recording may be damaged, or need more memory: fewer workers leave more for each"
        )
    return line_of(error) if isinstance(error, BaseException) else f"{error!r}"
