"""The Dask cluster that runs a batch: this machine's own, or any whose scheduler is named."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import IosfastWarning
from .extras import needed

#: So often may a worker die over a recording before that recording has failed.
ALLOWED_FAILURES = 3

#: How long a scheduler that is named may take to answer.
_CONNECT_S = 30

#: How long workers have to end, which are killed then: what is to last is on the disk.
_STARTS, _CLOSE_S = 5, 5


@dataclass(frozen=True)
class Cluster:
    """A client of a running cluster.

    Attributes
    ----------
    client : distributed.Client
    workers : int or None
        Of this machine's own cluster; None of another, whose number may change.
    threads : int
        That each recording may take while all workers are at work.
    alone : int
        That one may take which others cannot keep the workers busy beside.
    memory : int or None
        Bytes that each worker may take; None where that is not for us to say.
    """

    client: Any
    workers: int | None
    threads: int
    alone: int
    memory: int | None

    @property
    def address(self) -> str:
        """Where the dashboard is."""
        return str(self.client.dashboard_link)

    def slots(self) -> int:
        """Tasks that can run at once now."""
        if self.workers is not None:
            return self.workers
        return sum(self.client.nthreads().values()) or 1


@contextlib.contextmanager
def own_cluster(
    workers: int,
    threads: int,
    memory: int,
    *,
    alone: int | None = None,
    processes: bool = True,
) -> Iterator[Cluster]:
    """Start workers on this machine, and end them whatever happens.

    A recording takes `threads`, and one that is alone `alone` (default: no more).

    A worker that takes more memory than it may gets a MemoryError, which fails one recording; one
    that dies is started again.
    """
    distributed, dask = needed("distributed"), needed("dask")
    limits_data = processes and sys.platform.startswith("linux")
    options = {
        "distributed.scheduler.allowed-failures": ALLOWED_FAILURES,
        "distributed.worker.daemon": True,
        "distributed.worker.profile.enabled": False,
        # The pages of mapped files count as memory there, though the system takes them back.
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
        "distributed.worker.memory.terminate": False if limits_data else 0.95,
        "distributed.admin.tick.limit": "60s",
        "distributed.admin.tick.interval": "500ms",  # those of 20 ms take 5 % of a core
        # Memory that is given back after each recording is taken anew page by page.
        "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
        "distributed.comm.timeouts.connect": "60s",
    }
    with dask.config.set(options), _quiet():
        with _uninterrupted():
            cluster = _started(
                lambda: distributed.LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=processes,
                    memory_limit=memory if processes else 0,
                    dashboard_address="127.0.0.1:0",
                    silence_logs=logging.CRITICAL,
                )
            )
        try:
            client = distributed.Client(cluster, timeout=_CONNECT_S)
            try:
                if processes:
                    plugin = limited_worker(memory if limits_data else 0)
                    _started(lambda: client.register_plugin(plugin))
                most = threads if alone is None else alone
                yield Cluster(client, workers, threads, most, memory if processes else None)
            finally:
                with contextlib.suppress(Exception):
                    client.close(timeout=_CLOSE_S)
        finally:
            with contextlib.suppress(Exception):
                cluster.close(timeout=_CLOSE_S)


def _started(start: Callable[[], Any]) -> Any:
    """Start workers, or set them up; where one dies meanwhile, try again."""
    for attempt in range(_STARTS):
        try:
            return start()
        except (RuntimeError, OSError) as error:
            if attempt == _STARTS - 1:
                raise ConnectionError(f"the workers cannot be started: {error}") from error
    raise AssertionError


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait for a few seconds: a cluster that is half started cannot be ended.

    Workers, which get it from a terminal, too, ignore it as soon as they are set up.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def other_cluster(address: str, threads: int) -> Iterator[Cluster]:
    """Use a cluster that is there, by its scheduler's address or file; it is left as it is."""
    distributed = needed("distributed")
    with _quiet():
        try:
            by = "scheduler_file" if address.endswith(".json") else "address"
            client = distributed.Client(**{by: address}, timeout=_CONNECT_S)
        except (OSError, ValueError) as error:
            raise ValueError(f"scheduler: nothing answers at {address!r} ({error})") from error
        try:
            yield Cluster(client, None, threads, threads, None)
        finally:
            with contextlib.suppress(Exception):
                client.close(timeout=5)


def limited_worker(nbytes: int) -> Any:
    """Return a plugin that limits the memory of workers (0: does not), and keeps them quiet.

    The limit is on what a process allocates; pages of files that it maps are the system's.
    """
    plugin: Any = needed("distributed").WorkerPlugin

    class LimitedWorker(plugin):  # type: ignore[misc]
        """Sets up each worker, also those that are started again."""

        name = "iosfast"

        def setup(self, worker: Any) -> None:
            """Set up a worker."""
            warnings.simplefilter("ignore", IosfastWarning)  # which are notes of the results
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command ends its workers itself
            if nbytes:
                limit_memory(nbytes)

    return LimitedWorker()


def limit_memory(nbytes: int) -> None:
    """Let this process allocate so many bytes more than it has, at most."""
    import resource

    with open("/proc/self/status", encoding="ascii") as file:
        held = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmData"))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (held + nbytes, hard))


def available_memory() -> int:
    """Return bytes of memory that this process can have, by the machine or its container."""
    return int(needed("distributed.system").MEMORY_LIMIT)


def available_cores() -> int:
    """Return cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's log silent: what matters of it is told in the summary."""
    logs = [logging.getLogger(name) for name in ("distributed", "tornado", "bokeh", "asyncio")]
    before = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="distributed")
            yield
    finally:
        for log, level in zip(logs, before, strict=True):
            log.setLevel(level)
