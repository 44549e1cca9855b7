"""What a worker does with one recording: every step that is missing or stale, and its marker."""

from __future__ import annotations

import json
import shutil
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from .. import __version__
from ..errors import ReadError, WriteError
from ..staging import surely
from .faults import is_transient, line_of
from .identity import Identity, checksum, digest
from .locks import locked
from .markers import MARKERS, Marker, Output, keep, made_by, place_of, why_stale
from .settings import Settings
from .sources import Source
from .splitting import PARTS, Parts, make_part
from .steps import BY_NAME, STEPS, Made, Step, Work

LOG, LOCK = "error.log", ".lock"

#: Reason of a step that was done again to compare its results.
COMPARED = "read again and compared"

#: Seconds that a task waits for an earlier one with the same recording, which goes on where the
#: command that began it was killed.
_WAIT_S = 24 * 3600.0

Reports = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A recording and what is to be done with it; small, as it goes to a worker.

    Attributes
    ----------
    name : str
    folder : str
        Of its results.
    steps : tuple of str
        In order.
    retries : int
        How often a step is tried again after an error that may pass.
    pause_s : float
        Before the first of these; twice that before the second, and so on.
    any_version : bool
        Take results of other versions of iosfast.
    compare : bool
        Read the recording again, and compare what it gives with what is there.
    parts : int
        Into so many the recording is split for reading.
    part : int or None
        Make this part only.
    """

    name: str
    folder: str
    source: Source
    settings: Settings
    steps: tuple[str, ...]
    threads: int = 1
    retries: int = 2
    pause_s: float = 2.0
    any_version: bool = False
    compare: bool = False
    parts: int = 1
    part: int | None = None


@dataclass(frozen=True)
class StepOutcome:
    """What became of one step: why it was done (None: it need not), seconds, what it tells."""

    step: str
    reason: str | None
    seconds: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of a recording.

    Attributes
    ----------
    error : str or None
        One line; the whole is in the log.
    failed : str or None
        Name of the step that failed.
    log : str or None
        Its file, if it could be written.
    retried : int
        How often something was tried again.
    """

    name: str
    steps: tuple[StepOutcome, ...] = ()
    nbytes: int = 0
    error: str | None = None
    failed: str | None = None
    log: str | None = None
    retried: int = 0


def _nothing() -> None:
    """Tell nobody."""


def perform(
    task: Task, report: Reports = lambda told: None, free: Callable[[], None] = _nothing
) -> Outcome:
    """Do the steps of a task; whatever goes wrong is told in what is returned.

    `free` is called when another task can begin: when the last step has read the recording, or has
    only to wait for the disk.
    """
    folder = Path(task.folder)
    if task.part is not None:
        return _part(task, folder, report)
    done: list[StepOutcome] = []
    nbytes, retried, step = 0, 0, task.steps[0]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / LOCK, wait_s=_WAIT_S):
            _tidy(folder)
            for step in task.steps:
                for attempt in range(task.retries + 1):
                    try:
                        last = free if step == task.steps[-1] else _nothing
                        identity, outcome = _step(task, BY_NAME[step], folder, report, last)
                        break
                    except (OSError, ValueError) as error:
                        if attempt == task.retries or not is_transient(error):
                            raise
                        retried += 1
                        time.sleep(task.pause_s * 2**attempt)
                nbytes = identity.nbytes
                done.append(outcome)
            surely(lambda: (folder / LOG).unlink(missing_ok=True))
    except Exception as error:  # of libraries, too: none may stop the other recordings
        log = _write_log(folder, step, error)
        return Outcome(task.name, tuple(done), nbytes, line_of(error), step, log, retried)
    return Outcome(task.name, tuple(done), nbytes, retried=retried)


def keep_markers(tasks: Iterable[Task], outcomes: Iterable[Outcome]) -> None:
    """Bring what tells that recordings are done to the disk; they are done even if that fails."""
    with suppress(OSError):
        keep(
            place_of(Path(task.folder), step.step)
            for task, outcome in zip(tasks, outcomes, strict=True)
            for step in outcome.steps
            if step.reason is not None
        )


def _step(
    task: Task, step: Step, folder: Path, report: Reports, free: Callable[[], None]
) -> tuple[Identity, StepOutcome]:
    """Do a step if it is missing or stale."""
    identity = identity_for(task.source, folder, step)
    options, inputs = options_of(task.settings, step), inputs_of(folder, step)
    own = identity if step.reads_source else None
    marker, reason = examined(folder, step, own, options, inputs, task.any_version)
    if reason is None and task.compare and step.reads_source:
        assert marker is not None
        return identity, _compared(task, step, folder, marker, report)
    if reason is None:
        assert marker is not None
        return identity, StepOutcome(step.name, None, 0.0, marker.facts, marker.notes)
    if step.edited and marker is not None:
        _refuse_edited(folder, marker)
    report({"step": step.name, "done": 0, "bytes": identity.nbytes})
    begin = time.monotonic()
    Marker.remove(folder, step.name)  # before anything of it is replaced
    made = step.run(_work(task, step, folder, report, identity, free))
    if step.reads_source:
        rate = identity.nbytes / max(1e-9, time.monotonic() - begin)
        made = replace(made, facts={**made.facts, "bytes_s": round(rate)})
    free()
    finish(task, step, folder, identity, made)
    return identity, StepOutcome(
        step.name, reason, time.monotonic() - begin, made.facts, made.notes
    )


def _part(task: Task, folder: Path, report: Reports) -> Outcome:
    """Make one part of a recording.

    If that fails, so will what needs the part, which tells it.
    """
    assert task.part is not None
    step = BY_NAME[task.steps[0]]
    begin = time.monotonic()
    with suppress(Exception):
        (folder / PARTS).mkdir(parents=True, exist_ok=True)
        with locked(folder / PARTS / f"{task.part}{LOCK}", wait_s=_WAIT_S):
            identity = Identity.of(task.source.files())
            share = identity.nbytes // task.parts
            told = {"step": step.name, "part": task.part}
            make_part(
                task.source,
                task.settings,
                parts_of(task, step, folder, identity),
                task.part,
                task.threads,
                lambda done: report({**told, "done": int(done * share), "bytes": share}),
            )
    seconds = time.monotonic() - begin
    return Outcome(task.name, (StepOutcome(step.name, "part", seconds),))


def parts_of(task: Task, step: Step, folder: Path, identity: Identity) -> Parts:
    """Return where the parts of a recording are, as it is now."""
    told = [identity.to_dict(), options_of(task.settings, step), __version__]
    return Parts(folder / PARTS, digest(told), task.parts)


def _work(
    task: Task,
    step: Step,
    folder: Path,
    report: Reports,
    identity: Identity | None = None,
    read: Callable[[], None] = _nothing,
) -> Work:
    parts = None
    if identity is not None and task.parts > 1 and step.reads_source:
        parts = parts_of(task, step, folder, identity)
    return Work(
        parts=parts,
        name=task.name,
        folder=folder,
        source=task.source,
        settings=task.settings,
        threads=task.threads,
        progress=lambda done, total: report({"step": step.name, "done": done, "bytes": total}),
        read=read,
    )


def _compared(task: Task, step: Step, folder: Path, marker: Marker, report: Reports) -> StepOutcome:
    """Do a step again beside its results, and compare both to the bit."""
    begin = time.monotonic()
    again = folder / f".{step.folder}.partial-{uuid4().hex[:8]}"
    try:
        again.mkdir()
        step.run(_work(task, step, again, report))
        files = [path for path in (again / step.folder).rglob("*") if path.is_file()]
        made, kept = made_by(again, files), {output.path: output for output in marker.outputs}
        differ = [output.path for output in made if kept.get(output.path) != output]
        if differ or len(made) != len(kept):
            raise ReadError(
                f"gave other results when it was read again: {', '.join(differ[:3]) or 'fewer'}; "
                "the disk, the memory or the file cannot be trusted",
                task.source.paths[0],
            )
        for output in marker.outputs:
            if not _is_as_made(folder / output.path, output):
                raise ReadError("is not as it was written", folder / output.path)
    finally:
        surely(lambda: shutil.rmtree(again, ignore_errors=True))
    return StepOutcome(step.name, COMPARED, time.monotonic() - begin, marker.facts, marker.notes)


def finish(task: Task, step: Step, folder: Path, identity: Identity, made: Made) -> None:
    """Write the marker of a step, unless its source has changed meanwhile."""
    if step.reads_source:
        difference = identity.difference(Identity.of(task.source.files()))
        if difference is not None:
            shutil.rmtree(folder / step.folder, ignore_errors=True)
            raise ReadError(f"changed while it was read: it {difference} now", task.source.paths[0])
    place = folder / step.folder
    files = [path for path in place.rglob("*") if path.is_file()] if place.is_dir() else []
    Marker(
        step=step.name,
        version=__version__,
        source=task.source,
        identity=identity,
        options=options_of(task.settings, step),
        inputs=inputs_of(folder, step),
        outputs=made_by(folder, files),
        facts=made.facts,
        notes=made.notes,
    ).write(folder)


def options_of(settings: Settings, step: Step) -> dict[str, Any]:
    """Return what a step goes by, as a marker has it."""
    told: dict[str, Any] = json.loads(json.dumps(settings.told(step.options)))
    return told


def identity_for(source: Source, folder: Path, step: Step) -> Identity:
    """Return the recording as it is now; for steps that do not read it, as it was read."""
    for need in step.needs:
        if BY_NAME[need].reads_source:
            with suppress(ValueError):
                if (marker := Marker.read(folder, need)) is not None:
                    return marker.identity
    return Identity.of(source.files())


def inputs_of(folder: Path, step: Step) -> dict[str, str]:
    """Return digests of the results that a step takes; that of what is missing is empty."""
    found = dict.fromkeys(step.needs, "")
    for need in step.needs:
        with suppress(ValueError):
            if (marker := Marker.read(folder, need)) is not None:
                found[need] = marker.digest
    return found


def examined(
    folder: Path,
    step: Step,
    identity: Identity | None,
    options: dict[str, Any],
    inputs: dict[str, str],
    any_version: bool,
) -> tuple[Marker | None, str | None]:
    """Return the marker of a step if it can be read, and why the step must be done, if it must."""
    try:
        marker = Marker.read(folder, step.name)
    except ValueError as error:
        return None, str(error)
    if marker is None:
        return None, "not done yet"
    reason = why_stale(
        marker, folder, identity=identity, options=options, inputs=inputs, any_version=any_version
    )
    return marker, reason


def _refuse_edited(folder: Path, marker: Marker) -> None:
    """Refuse to replace files that someone has changed since they were made."""
    for output in marker.outputs:
        path = folder / output.path
        if path.exists() and not _is_as_made(path, output):
            raise WriteError(
                f"{path}: was changed since it was made, and would be replaced; move the folder "
                "away, or remove it"
            )


def _is_as_made(path: Path, output: Output) -> bool:
    return path.stat().st_size == output.nbytes and checksum(path) == output.checksum


def _tidy(folder: Path) -> None:
    """Remove what a run that was killed has left, and put back what it was about to replace."""
    for step in STEPS:  # and nothing else: other recordings may have their folders below this one
        for path in folder.glob(f".{step.folder}.replaced-*"):
            if (folder / step.folder).exists():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.rename(folder / step.folder)
        left = [*folder.glob(f".{step.folder}.partial-*"), *(folder / MARKERS).glob(".*.partial-*")]
        for path in (*left, *(folder / step.folder).rglob(".*.partial-*")):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _write_log(folder: Path, step: str, error: BaseException) -> str | None:
    log = folder / LOG
    when = datetime.now().isoformat(" ", "seconds")
    text = "".join(traceback.format_exception(error))
    try:
        with log.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{when} {step}: {line_of(error)}\n{text}\n")
    except OSError:
        return None
    return str(log)


def without_source(task: Task) -> Task:
    """Return the task without the steps that read the recording itself."""
    return replace(task, steps=tuple(s for s in task.steps if not BY_NAME[s].reads_source))


def with_source(task: Task) -> Task:
    """Return the task with only the steps that read the recording itself."""
    return replace(task, steps=tuple(s for s in task.steps if BY_NAME[s].reads_source))
