"""The whole job: archives to maps, episodes, outlines and measures, with a summary."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from .. import arguments
from ..errors import WriteError
from ..recipe import Recipe, RecipeName
from .cluster import Cluster, available_cores, available_memory, other_cluster, own_cluster
from .discovery import Join
from .dispatch import TOPIC, Dispatch
from .display import display_for
from .extras import needed
from .faults import line_of
from .locks import locked
from .manifest import Manifest
from .pages import INDEX, write_index
from .place import check_out, remove_unfinished, write_batch_file
from .plan_text import describe
from .planning import Plan, plan_batch, task_of
from .settings import Settings, recipe_of
from .steps import chosen_steps
from .summary import SUMMARY, Row, row_of, write_events, write_summary
from .tasks import LOCK, Outcome

Path_ = str | PathLike[str]

#: Workers of this machine, if nobody tells how many.
MOST_WORKERS = 8

#: Bytes that a worker may take, if there are so many for each: several times what steps need. There
#: are no more workers than have the least each, unless somebody tells how many.
MEMORY_PER_WORKER, LEAST_MEMORY = 4 << 30, 2 << 30

#: Parts in which long recordings are read.
SPLIT_BYTES = 16 << 30

#: Recordings that are named before they are done.
_LINES = 40


@dataclass(frozen=True)
class BatchResult:
    """What a batch has done.

    Attributes
    ----------
    out : Path
    plan : Plan
        What was to be done, and why.
    rows : tuple of Row
        What became of each recording; empty after a dry run.
    unwritten : str
        Why the summary could not be written; the results themselves are as the rows tell.
    """

    out: Path
    plan: Plan
    rows: tuple[Row, ...] = ()
    unwritten: str = ""

    @property
    def failed(self) -> tuple[Row, ...]:
        """Recordings that failed, or that were not come to."""
        return tuple(row for row in self.rows if row.state in ("failed", "stopped"))

    @property
    def summary(self) -> Path:
        """The table of all recordings."""
        return self.out / SUMMARY

    @property
    def index(self) -> Path:
        """The page that leads to all results."""
        return self.out / INDEX


def batch(
    archives: Path_ | Sequence[Path_] = (),
    out: Path_ = "iosfast-batch",
    *,
    manifest: Path_ | None = None,
    recipe: Recipe | RecipeName | Mapping[str, Any] = "default",
    steps: str | Sequence[str] = ("preprocess",),
    resume: bool = False,
    dry_run: bool = False,
    workers: int | None = None,
    threads: int | None = None,
    memory_per_worker: int | None = None,
    scheduler: str | None = None,
    readers_per_disk: int | None = None,
    split_bytes: int = SPLIT_BYTES,
    retries: int = 2,
    exclude: str | Sequence[str] = (),
    join: Join = "auto",
    any_version: bool = False,
    verify_source: bool = False,
    progress: bool = False,
    say: Callable[[str], None] = lambda line: None,
    **settings: Any,
) -> BatchResult:
    """Turn all recordings of archives into maps, and more, on all cores or on a Dask cluster.

    Each recording has a folder of its own in `out`, named like its place in the archive. A step
    that is done leaves a marker, and is done again only if its source, its options, what it builds
    on, or iosfast has changed. A recording that fails never stops the others.

    Parameters
    ----------
    archives : path or list of paths
        Folders or files in which recordings are found by their content.
    out : path
        Folder for the results; may lie within an archive.
    manifest : path, optional
        YAML or TOML file that names recordings, and what holds for them; see
        `iosfast.batch.manifest.Manifest.read`.
    recipe : Recipe, {"default", "published"}, or mapping
        A mapping has options of `Recipe`, and may have ``base``.
    steps : list of {"preprocess", "episodes", "segment", "measure", "report"}
        With all that they need.
    resume : bool
        Go on with a batch that is in `out`; without it, that is an error.
    dry_run : bool
        Only plan; nothing is written.
    workers : int, optional
        Recordings at a time on this machine; default: as many as there are cores, 8 at most, and no
        more than can have 2 GiB (or `memory_per_worker`) each.
    threads : int, optional
        For each recording; default: the cores that there are for each, and all of them where what
        is left, or can be read at a time, does not keep the other workers busy.
    memory_per_worker : int, optional
        Bytes; default: 4 GiB, or the machine's memory by `workers`.
    scheduler : str, optional
        Address or file of a Dask scheduler, whose workers see the same paths, instead of `workers`.
    readers_per_disk : int, optional
        Recordings that are read at a time from each disk; default: one from disks that turn, any
        number from others, and from those of virtual machines, of which nothing tells.
    split_bytes : int
        Longer recordings are read in parts of so many bytes, by several workers at once where the
        disk allows; what is there of them is not read again after an interruption.
    retries : int
        How often a step is tried again after an error of disk or network that may pass.
    exclude : list of str
        Patterns of names, or of paths below an archive, that are left out.
    join : {"auto", "names", "never"}
        Whether files with numbered names are parts of one recording; see
        `iosfast.batch.discovery.discover`.
    any_version : bool
        Keep results that another version of iosfast has made.
    verify_source : bool
        Read all recordings again whose maps are there, and compare the maps to the bit.
    progress : bool
        Show bars, or lines where there is no terminal.
    say : callable
        Takes lines for people: the plan, and where the dashboard is.
    **settings
        Options for all recordings; see `Settings`. Those of the manifest hold before them.

    Returns
    -------
    BatchResult

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit.
    ReadError
        If an archive or the manifest cannot be read.
    WriteError
        If `out` cannot be written, holds something else, or another batch works in it.
    ImportError
        Without the extra ``batch``.
    """
    needed("xxhash")
    chosen = chosen_steps(steps)
    place = Path(os.path.abspath(out))
    roots = [archives] if isinstance(archives, str | PathLike) else list(archives)
    paths = [Path(path) for path in roots]
    told = Manifest() if manifest is None else Manifest.read(Path(manifest))
    if not paths and not told.entries:
        raise ValueError("archives is empty, and no manifest names a recording")
    if isinstance(settings.get("mask"), PathLike):
        settings["mask"] = os.fspath(settings["mask"])
    if isinstance(settings.get("mask"), str):
        settings["mask"] = os.path.abspath(settings["mask"])
    base = Settings(recipe=recipe_of(recipe)).changed(settings)
    base.recipe.colors()  # an unknown colour map is told before anything is read
    arguments.choice("join", join, ("auto", "names", "never"))
    arguments.integer("retries", retries, 0, 100)
    arguments.integer("split_bytes", split_bytes, 1)
    if readers_per_disk is not None:
        arguments.integer("readers_per_disk", readers_per_disk, 1)
    power = _Power.of(workers, threads, memory_per_worker, scheduler)
    resume = resume or verify_source
    check_out(place, resume or dry_run)

    def planned() -> Plan:
        return plan_batch(
            paths,
            place,
            steps=chosen,
            settings=base,
            manifest=told,
            exclude=[exclude] if isinstance(exclude, str) else list(exclude),
            join=join,
            any_version=any_version,
            compare=verify_source,
        )

    if dry_run:
        plan = planned()
        for line in describe(plan):
            say(line)
        return BatchResult(place, plan)
    with _alone(place):
        check_out(place, resume)
        remove_unfinished(place)
        plan = planned()
        write_batch_file(plan.out, paths)
        for line in describe(plan, most=_LINES):
            say(line)
        readers = {
            each.disk.name: readers_per_disk or (1 if each.disk.spinning else None)
            for each in plan.recordings
            if each.disk is not None
        }
        options = {
            "split_bytes": split_bytes,
            "retries": retries,
            "any_version": any_version,
            "compare": verify_source,
        }
        rows, unwritten = _run(plan, power, readers, options, progress, say)
    return BatchResult(place, plan, rows, unwritten)


@dataclass(frozen=True)
class _Power:
    """What a batch may use."""

    workers: int
    threads: int | None
    memory: int
    scheduler: str | None

    @classmethod
    def of(
        cls, workers: int | None, threads: int | None, memory: int | None, scheduler: str | None
    ) -> _Power:
        cores = available_cores()
        if scheduler is not None:
            if workers is not None or memory is not None:
                raise ValueError("workers and memory_per_worker are for this machine's own cluster")
            return cls(0, arguments.integer("threads", threads or 1, 1, 1024), 0, scheduler)
        total = available_memory()
        if memory is not None:
            arguments.integer("memory_per_worker", memory, 64 << 20)
        if workers is None:
            workers = max(1, min(MOST_WORKERS, cores, total // (memory or LEAST_MEMORY)))
        arguments.integer("workers", workers, 1, 1024)
        if threads is not None:
            arguments.integer("threads", threads, 1, 1024)
        return cls(workers, threads, memory or min(MEMORY_PER_WORKER, total // workers), None)

    @contextlib.contextmanager
    def cluster(self, to_do: int) -> Iterator[Cluster]:
        """Start, or find, a cluster."""
        if self.scheduler is not None:
            assert self.threads is not None
            with other_cluster(self.scheduler, self.threads) as cluster:
                yield cluster
        else:
            cores, number = available_cores(), max(1, min(self.workers, to_do))
            threads = -(-cores // number) if self.threads is None else self.threads
            alone = cores if self.threads is None else self.threads
            with own_cluster(number, threads, self.memory, alone=alone) as cluster:
                yield cluster


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Make sure that this is the only batch that works in a folder."""
    made = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(error.errno, error.strerror, os.fspath(out)) from error
    try:
        with locked(out / LOCK):
            try:
                yield
            finally:
                if made:
                    with contextlib.suppress(OSError):
                        if not any(path.name != LOCK for path in out.iterdir()):
                            (out / LOCK).unlink()  # while no other can have it
    except BlockingIOError as error:
        raise WriteError(
            f"{out}: another batch works here; wait until it has ended, or choose another out"
        ) from error
    finally:
        if made:
            with contextlib.suppress(OSError):
                out.rmdir()  # if nothing is in it


def _run(
    plan: Plan,
    power: _Power,
    readers: Mapping[str, int | None],
    options: Mapping[str, Any],
    progress: bool,
    say: Callable[[str], None],
) -> tuple[tuple[Row, ...], str]:
    """Do what is to be done, and write the summary whatever happens."""
    outcomes: dict[str, Outcome] = {}
    try:
        if plan.to_do:
            _compute(plan, power, readers, options, progress, say, outcomes)
    finally:
        rows = tuple(row_of(each, plan, outcomes.get(each.name)) for each in plan.recordings)
        unwritten = ""
        try:
            write_summary(plan.out, rows)
            if any(step.name == "measure" for step in plan.steps):
                write_events(plan.out, rows)
            write_index(plan.out, rows)
        except OSError as error:  # such as of a full disk
            unwritten = line_of(error)
            say(f"warning: the summary is not written: {unwritten}")
    return rows, unwritten


def _compute(
    plan: Plan,
    power: _Power,
    readers: Mapping[str, int | None],
    options: Mapping[str, Any],
    progress: bool,
    say: Callable[[str], None],
    outcomes: dict[str, Outcome],
) -> None:
    order = sorted(plan.to_do, key=lambda each: -each.nbytes)  # so that no long one comes last
    sizes = {each.name: each.nbytes if each.reads_source else 0 for each in order}
    made = {each.name: task_of(each, plan, **options) for each in order}
    with power.cluster(sum(task.parts for task in made.values())) as cluster:
        for line in _about(cluster, readers):
            say(line)
        with display_for(progress, len(order), sum(sizes.values())) as display:
            cluster.client.subscribe_topic(TOPIC, lambda event: display.worked(event[1]))

            def finished(outcome: Outcome) -> None:
                outcomes[outcome.name] = outcome
                display.finished(outcome, sizes[outcome.name])

            tasks = (
                (
                    made[each.name],
                    each.disk.name if each.disk else "",
                    each.nbytes if each.reads_source else None,
                )
                for each in order
            )
            try:
                Dispatch(cluster, readers).run(tasks, finished)
            except ConnectionError as error:
                say(f"warning: {error}; what is not done is left for resume")
            finally:
                with contextlib.suppress(Exception):
                    cluster.client.unsubscribe_topic(TOPIC)


def _about(cluster: Cluster, readers: Mapping[str, int | None]) -> Iterator[str]:
    if cluster.workers is not None:
        assert cluster.memory is not None
        more = f" ({cluster.alone} where fewer are at work)" * (cluster.alone > cluster.threads)
        yield (
            f"{_count(cluster.workers, 'worker')} of {_count(cluster.threads, 'thread')}{more}, at "
            f"most {cluster.memory / 2**30:.1f} GiB each; dashboard: {cluster.address}"
        )
    else:
        yield f"workers have {cluster.slots()} threads now; dashboard: {cluster.address}"
    for disk, most in readers.items():
        if most is not None:
            yield f"{disk}: {_count(most, 'recording')} read at a time (readers_per_disk)"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
