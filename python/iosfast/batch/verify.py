"""Whether results are still what was made, of sources that are still what was read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Literal

from ..errors import ReadError
from .faults import line_of
from .identity import Identity, checksum
from .markers import MARKERS, Marker
from .place import is_batch
from .steps import BY_NAME, STEPS
from .tasks import inputs_of

What = Literal["output", "source", "marker", "input"]


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was.

    Attributes
    ----------
    recording, step : str
    what : {"output", "source", "marker", "input"}
    told : str
    """

    recording: str
    step: str
    what: What
    told: str


def verify(
    out: str | PathLike[str],
    *,
    source: bool = True,
    progress: Callable[[str], None] = lambda name: None,
) -> list[Finding]:
    """Compare every file of a batch with its checksum, and every recording with what was read.

    Parameters
    ----------
    out : path
        Folder of a batch; only read.
    source : bool
        Also look at the recordings: their sizes, times, and sampled blocks.
    progress : callable
        Called with the name of each recording before it is looked at.

    Returns
    -------
    list of Finding
        Empty if all is as it was.

    Raises
    ------
    ReadError
        If the folder is no batch.
    """
    place = Path(os.path.abspath(out))
    if not is_batch(place):
        raise ReadError("holds no batch", place)
    findings: list[Finding] = []
    for folder in folders_of(place):
        name = folder.relative_to(place).as_posix()
        progress(name)
        for step in STEPS:
            findings += _of_step(folder, name, step.name, source)
    return findings


def folders_of(out: Path) -> Iterator[Path]:
    """Folders of recordings with a marker, in order."""
    for at, folders, _ in os.walk(out):
        if MARKERS in folders and any((Path(at) / MARKERS).glob("*.json")):
            yield Path(at)
        own = {step.folder for step in STEPS} | {MARKERS}
        folders[:] = sorted(name for name in folders if name not in own and name[0] != ".")


def _of_step(folder: Path, name: str, step: str, look_at_source: bool) -> Iterator[Finding]:
    try:
        marker = Marker.read(folder, step)
    except ValueError as error:
        yield Finding(name, step, "marker", str(error))
        return
    if marker is None:
        return
    for output in marker.outputs:
        path = folder / output.path
        try:
            if path.stat().st_size != output.nbytes:
                told = f"has {path.stat().st_size:,} bytes, not {output.nbytes:,}"
            elif checksum(path) != output.checksum:
                told = "has other content than was written"
            else:
                continue
        except OSError as error:
            told = "is missing" if isinstance(error, FileNotFoundError) else f"{error.strerror}"
        yield Finding(name, step, "output", f"{output.path} {told}")
    known = {output.path for output in marker.outputs}
    place = folder / BY_NAME[step].folder
    for path in sorted(place.rglob("*")) if place.is_dir() else []:
        at = path.relative_to(folder).as_posix()
        if path.is_file() and at not in known:
            yield Finding(name, step, "output", f"{at} was not made by iosfast")
    for need, made in inputs_of(folder, BY_NAME[step]).items():
        if marker.inputs.get(need) != made:
            yield Finding(name, step, "input", f"{need} was done again since")
    if look_at_source and BY_NAME[step].reads_source:
        try:
            difference = marker.identity.difference(Identity.of(marker.source.files()))
        except (OSError, ReadError) as error:
            difference = line_of(error)
        if difference is not None:
            yield Finding(name, step, "source", difference)
