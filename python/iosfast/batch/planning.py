"""What is to be done: recordings, their settings, and which of their steps are missing or stale."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import ReadError, WriteError
from ..staging import file_beside
from .discovery import BATCH_FILE, Discovery, Found, Join, discover
from .disks import Disk, disk_of
from .identity import Identity
from .manifest import Entry, Manifest
from .markers import MARKERS, Marker
from .settings import Settings
from .sources import Source
from .steps import STEPS, Step
from .tasks import COMPARED, LOCK, LOG, Task, examined, inputs_of, options_of

FORMAT = "iosfast batch"

#: Part of a recording's bytes that its results take, at 60 frames a second and one bin a second:
#: per bin, 2 bytes of a mean image and 7 of a fifth of a map, for 60 frames of 2 bytes a pixel.
OUTPUT_PART = (2 + 7 / 5) / 120

#: A recording is split into so many parts at most.
MOST_PARTS = 64

#: Bytes a second that are assumed of a disk until some were measured.
ASSUMED_BYTES_S = {True: 150e6, False: 1e9, None: 110e6}


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
        return sum(each.nbytes for each in self.to_do if _reads(each))

    def estimate(self) -> tuple[float, list[str]]:
        """Return seconds that reading takes, where disks are read at once, and what that rests on.

        By what was measured here before, else by what such disks do.
        """
        by_disk: dict[Disk, int] = {}
        for each in self.to_do:
            if _reads(each) and each.disk is not None:
                by_disk[each.disk] = by_disk.get(each.disk, 0) + each.nbytes
        longest, lines = 0.0, []
        for disk, nbytes in by_disk.items():
            measured = self.rates.get(disk.name)
            rate = measured or ASSUMED_BYTES_S[disk.spinning]
            kind = {True: "spinning", False: "solid state", None: "of unknown kind"}[disk.spinning]
            how = "measured here before" if measured else "assumed"
            longest = max(longest, nbytes / rate)
            lines.append(
                f"{disk.name} ({kind}): {size_of(nbytes)} at {rate / 1e9:.2f} GB/s ({how}): "
                f"{time_of(nbytes / rate)}"
            )
        return longest, lines


def _reads(planned: Planned) -> bool:
    return any(step.reads_source and step.name in planned.reasons for step in STEPS)


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
    labels = _labels(archives, out)
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


def _labels(archives: Sequence[Path], out: Path) -> list[tuple[str, Path]]:
    """Give every archive a label, which it keeps as long as the results are there."""
    known = read_labels(out)
    by_label: dict[str, str] = {label: root for root, label in known.items()}
    labels = []
    for archive in dict.fromkeys(Path(os.path.abspath(path)) for path in archives):
        label = known.get(str(archive))
        if label is None:
            base = "" if archive.is_file() else archive.name or "root"
            if archive.is_file():
                base = archive.parent.name or "root"
            label, number = base, 2
            while label in by_label and _is_another(Path(by_label[label]), archive):
                label, number = f"{base}-{number}", number + 1
            by_label[label] = str(archive if not archive.is_file() else archive.parent)
        labels.append((f"{label}/{archive.name}" if archive.is_file() else label, archive))
    return labels


def _is_another(root: Path, archive: Path) -> bool:
    """Tell whether a label belongs to another archive, which is still there."""
    return root.exists() and root != (archive.parent if archive.is_file() else archive)


def read_labels(out: Path) -> dict[str, str]:
    """Return labels of archives by their paths, as an earlier run of this batch has them."""
    try:
        told = json.loads((out / BATCH_FILE).read_bytes())
        return {str(root): str(label) for root, label in told["archives"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ReadError(f"is damaged ({error})", out / BATCH_FILE) from error


def write_batch_file(plan: Plan, archives: Sequence[Path]) -> None:
    """Write what tells that a folder is a batch, with the labels of its archives."""
    labels = {**read_labels(plan.out), **{
        str(root if root.is_dir() else root.parent): label.partition("/")[0]
        for label, root in _labels(archives, plan.out)
    }}  # fmt: skip
    told = {
        "format": FORMAT,
        "format_version": 1,
        "iosfast_version": __version__,
        "archives": labels,
    }
    with file_beside(plan.out / BATCH_FILE) as work:
        work.write_text(json.dumps(told, indent=1) + "\n", encoding="ascii")


def is_batch(out: Path) -> bool:
    """Tell whether a folder holds the results of a batch."""
    try:
        told = json.loads((out / BATCH_FILE).read_bytes())
        return bool(told["format"] == FORMAT)
    except (OSError, ValueError, TypeError, KeyError):
        return False


def check_out(out: Path, resume: bool) -> None:
    """Raise WriteError unless a batch may be begun, or gone on with, in a folder."""
    if (out.is_symlink() and not out.exists()) or (out.exists() and not out.is_dir()):
        raise WriteError(f"{out}: exists and is no folder; choose another out")
    if not out.is_dir() or is_batch(out):
        if is_batch(out) and not resume:
            raise WriteError(f"{out}: holds a batch already; resume goes on with it")
        return
    left = f".{Path(BATCH_FILE).stem}.partial-"
    strange = sorted(n for n in os.listdir(out) if n != LOCK and not n.startswith(left))
    if strange:
        raise WriteError(f"{out}: exists and holds other files ({strange[0]}); choose another out")


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


def folder_of(out: Path, name: str) -> Path:
    """Return the folder of a recording's results."""
    return out.joinpath(*(part for part in name.split("/") if part not in ("", ".", "..")))


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


def describe(plan: Plan, most: int | None = None) -> list[str]:
    """Return the plan as lines for people; of recordings, at most so many that are to be done."""
    lines = []
    for each in plan.recordings:
        label = f" [{each.animal}{', ' * bool(each.animal and each.condition)}{each.condition}]"
        label = "" if label == " []" else label
        if each.problem:
            lines.append(f"{each.name}{label}: CANNOT BE DONE: {each.problem}")
        elif each.reasons:
            lines.append(
                f"{each.name}{label}: {size_of(each.nbytes)}; {told_reasons(each.reasons)}"
            )
        elif most is None:
            lines.append(f"{each.name}{label}: {size_of(each.nbytes)}; up to date")
    if most is not None and len(lines) > most:
        lines[most:] = [f"... and {len(lines) - most:,} more"]
    to_do, total = plan.to_do, sum(each.nbytes for each in plan.recordings)
    lines += [f"note: {note}" for note in plan.notes]
    lines.append(
        f"{len(plan.recordings):,} recordings, {size_of(total)}; {len(to_do):,} to do, of which "
        f"{size_of(plan.bytes_to_read)} are to be read"
    )
    needed = int(plan.bytes_to_read * OUTPUT_PART)
    place = plan.out
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if to_do:
        seconds, told = plan.estimate()
        lines += told
        lines.append(
            f"reading takes about {time_of(seconds)}, if the disks are read at once and nothing "
            f"else limits; results take about {size_of(needed)} at 60 Hz, {size_of(free)} are free"
        )
        if needed > free:
            lines.append(f"warning: {plan.out} is too small for the results")
    return lines


def told_reasons(reasons: Mapping[str, str]) -> str:
    """Put steps that are done for the same reason together."""
    by_reason: dict[str, list[str]] = {}
    for step, reason in reasons.items():
        by_reason.setdefault(reason, []).append(step)
    return "; ".join(f"{', '.join(names)} ({reason})" for reason, names in by_reason.items())


def size_of(nbytes: float) -> str:
    """Return a number of bytes for people."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if nbytes < 999.5 or unit == "TB":
            return f"{nbytes:.0f} {unit}" if unit == "B" else f"{nbytes:.3g} {unit}"
        nbytes /= 1000
    raise AssertionError


def time_of(seconds: float) -> str:
    """Return a time for people."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest:02} min" if hours else f"{minutes} min"
