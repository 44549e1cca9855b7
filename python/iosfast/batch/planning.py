"""What is to be done: recordings, their settings, and which of their steps are missing or stale."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import ReadError
from .discovery import Discovery, Found, Join, discover
from .disks import Disk, disk_of
from .identity import Identity
from .manifest import Entry, Manifest
from .markers import MARKERS, Marker
from .place import folder_of, labels_of
from .settings import Settings
from .sources import Source
from .steps import STEPS, Step
from .tasks import COMPARED, LOG, Task, examined, inputs_of, options_of

#: A recording is split into so many parts at most.
MOST_PARTS = 64


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One recording and what is to be done with it.

    Attributes
    ----------
    reasons : dict of str to str
        Why steps are to be done; empty if nothing is.
    problem : str
        Why nothing can be done.
    """

    name: str
    source: Source | None = None
    settings: Settings = field(default_factory=Settings)
    animal: str = ""
    condition: str = ""
    nbytes: int = 0
    disk: Disk | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""

    @property
    def reads_source(self) -> bool:
        """Whether the recording itself is to be read."""
        return any(step.reads_source and step.name in self.reasons for step in STEPS)


@dataclass(frozen=True)
class Plan:
    """All recordings, in natural order of their names."""

    out: Path
    steps: tuple[Step, ...]
    recordings: tuple[Planned, ...]
    notes: tuple[str, ...] = ()
    rates: Mapping[str, float] = field(default_factory=dict)

    @property
    def to_do(self) -> list[Planned]:
        """Recordings with steps that are missing or stale."""
        return [each for each in self.recordings if each.reasons]

    @property
    def bytes_to_read(self) -> int:
        """Bytes of the recordings that are to be read."""
        return sum(each.nbytes for each in self.to_do if each.reads_source)


def plan_batch(
    archives: Sequence[Path],
    out: Path,
    *,
    steps: tuple[Step, ...],
    settings: Settings,
    manifest: Manifest,
    exclude: Sequence[str],
    join: Join,
    any_version: bool,
    compare: bool,
) -> Plan:
    """Find all recordings and see what is to be done with each.

    Raises
    ------
    ReadError
        If an archive is not there, or a manifest names what is not.
    ValueError
        If two recordings have one name, or options do not fit.
    """
    labels = labels_of(archives, out)
    found = discover(labels, out, exclude=exclude, join=join)
    named = _named(manifest, found)  # which takes from those that were found
    recordings = [*found.found, *named]
    settings = settings.changed(manifest.defaults)
    planned = [
        _planned(each, out, steps, settings, manifest.entries, any_version) for each in recordings
    ]
    if compare:
        planned = [_to_compare(each, steps) for each in planned]
    _check_names(planned)
    lost = [Planned(name=name, problem=problem) for name, problem in found.problems]
    return Plan(
        out,
        steps,
        (*planned, *lost),
        (*found.notes, *_useless(manifest, recordings)),
        _rates(planned, out),
    )


def _named(manifest: Manifest, found: Discovery) -> list[Found]:
    """Return recordings that only the manifest names; those it joins are taken from the others."""
    more = []
    for entry in manifest.entries:
        if entry.match:
            continue
        paths = tuple(map(str, entry.paths))
        for path in entry.paths:
            if not path.exists():
                raise ReadError("is named by the manifest, but does not exist", path)
        there = [each for each in found.found if set(each.source.paths) & set(paths)]
        if there and len(paths) == 1:
            continue
        for each in there:
            found.found.remove(each)
        name = entry.name or "/".join((entry.paths[0].parent.name or "root", entry.paths[0].name))
        kind = discover([("x", entry.paths[0])], Path(os.devnull)).found
        if len(paths) == 1 and len(kind) == 1:
            more.append(Found(name, kind[0].source))
        elif len(paths) == 1 and entry.paths[0].is_dir():
            raise ReadError("is named by the manifest, but is no recording by itself", paths[0])
        else:
            more.append(Found(name, Source(paths)))
    return more


def _useless(manifest: Manifest, recordings: Iterable[Found]) -> list[str]:
    """Tell of patterns that no recording matches: they are likely to be misspelt."""
    every = list(recordings)
    return [
        f"the manifest's pattern {entry.match!r} matches no recording"
        for entry in manifest.entries
        if entry.match and not any(entry.is_for(each.name, each.source.paths) for each in every)
    ]


def _planned(
    found: Found,
    out: Path,
    steps: tuple[Step, ...],
    settings: Settings,
    entries: Sequence[Entry],
    any_version: bool,
) -> Planned:
    name = found.name
    told = {"animal": "", "condition": ""}
    for entry in entries:
        if entry.is_for(found.name, found.source.paths):
            settings = settings.changed(entry.options)
            name = entry.name or name
            told |= {key: value for key in told if (value := getattr(entry, key))}
    planned = Planned(
        name=name,
        source=found.source,
        settings=settings,
        animal=told["animal"],
        condition=told["condition"],
    )
    folder = folder_of(out, planned.name)
    try:
        nbytes = sum(path.stat().st_size for path in found.source.files())
        disk = disk_of(Path(found.source.paths[0]))
    except (OSError, ReadError) as error:
        return replace(planned, problem=str(error))
    if settings.mask is not None and not Path(settings.mask).is_file():
        problem = f"mask {settings.mask}: does not exist"
        return replace(planned, nbytes=nbytes, disk=disk, problem=problem)
    try:
        reasons = reasons_of(found.source, settings, folder, steps, any_version)
    except (OSError, ValueError) as error:
        return replace(planned, nbytes=nbytes, disk=disk, problem=str(error))
    return replace(planned, nbytes=nbytes, disk=disk, reasons=reasons)


def _to_compare(planned: Planned, steps: tuple[Step, ...]) -> Planned:
    """Return a recording whose results are to be compared, if they are there."""
    read = {step.name: COMPARED for step in steps if step.reads_source}
    return replace(planned, reasons={**({} if planned.problem else read), **planned.reasons})


def reasons_of(
    source: Source, settings: Settings, folder: Path, steps: tuple[Step, ...], any_version: bool
) -> dict[str, str]:
    """Return why each step is to be done, of those that are."""
    reasons: dict[str, str] = {}
    for step in steps:
        if not (folder / MARKERS / f"{step.name}.json").exists():
            reasons[step.name] = "not done yet"
            continue
        before = next((need for need in step.needs if need in reasons), None)
        if before is not None:
            reasons[step.name] = f"after {before}"
            continue
        identity = Identity.of(source.files()) if step.reads_source else None
        options, inputs = options_of(settings, step), inputs_of(folder, step)
        _, reason = examined(folder, step, identity, options, inputs, any_version)
        if reason is not None:
            reasons[step.name] = reason
    return reasons


def _check_names(planned: Sequence[Planned]) -> None:
    own = {step.folder for step in STEPS} | {MARKERS, LOG}
    names: set[str] = set()
    for each in planned:
        key = each.name
        if key in names:
            raise ValueError(
                f"two recordings have the name {key!r}; give them others in a manifest"
            )
        names.add(key)
    for each in planned:
        parent, _, last = each.name.rpartition("/")
        while parent:
            if last in own and parent in names:
                raise ValueError(
                    f"{each.name!r} would lie among the results of {parent!r}; give it another "
                    "name in a manifest"
                )
            parent, _, last = parent.rpartition("/")


def _rates(planned: Sequence[Planned], out: Path) -> dict[str, float]:
    """Bytes a second that were measured of each disk before: of some of its recordings."""
    sums: dict[str, list[float]] = {}
    for each in planned:
        if each.disk is None or len(sums.get(each.disk.name, ())) >= 20:
            continue
        try:
            marker = Marker.read(folder_of(out, each.name), "preprocess")
        except ValueError:
            continue
        if marker is not None and (rate := marker.facts.get("bytes_s")):
            sums.setdefault(each.disk.name, []).append(float(rate))
    return {name: sorted(rates)[len(rates) // 2] for name, rates in sums.items()}


def task_of(planned: Planned, plan: Plan, split_bytes: int, **options: Any) -> Task:
    """Return what a worker is told; recordings are split into parts of so many bytes."""
    assert planned.source is not None
    whole = planned.settings.channels is not None or options.get("compare")
    parts = 1 if whole else -(-planned.nbytes // split_bytes)
    return Task(
        parts=min(MOST_PARTS, max(1, parts)),
        name=planned.name,
        folder=str(folder_of(plan.out, planned.name)),
        source=planned.source,
        settings=planned.settings,
        steps=tuple(step.name for step in plan.steps),
        **options,
    )
