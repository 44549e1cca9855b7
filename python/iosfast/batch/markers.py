"""Done-markers: what a step was made of, by what, and what it has made."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Self

from .. import __version__
from ..staging import file_beside
from .identity import Identity, checksum, digest
from .settings import differing
from .sources import Source

FORMAT, FORMAT_VERSION = "iosfast batch step", 1

#: Folder of a recording's markers, in the folder of its results.
MARKERS = "done"

#: Files that are brought to the disk at once, which takes hardly longer than one.
_AT_ONCE = 8


@dataclass(frozen=True)
class Output:
    """A file that a step has made: path below the recording's folder, bytes, checksum."""

    path: str
    nbytes: int
    checksum: str


@dataclass(frozen=True, kw_only=True)
class Marker:
    """A step that is done.

    Attributes
    ----------
    step : str
    version : str
        Of iosfast.
    source : Source
        Where the recording lay.
    identity : Identity
        As it was read.
    options : dict
        All that the step goes by.
    inputs : dict
        Digests of the steps that it builds on.
    outputs : tuple of Output
    facts : dict
        What is to be told in the summary.
    notes : tuple of str
    """

    step: str
    version: str
    source: Source
    identity: Identity
    options: dict[str, Any]
    inputs: dict[str, str]
    outputs: tuple[Output, ...]
    facts: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Of all outputs."""
        return digest([[o.path, o.nbytes, o.checksum] for o in self.outputs])

    def write(self, folder: Path) -> None:
        """Write it to the folder of a recording, where it appears when it is complete.

        It may not yet be on the disk (see `keep`): one that a power failure has cut is known by
        its checksum, and told as damaged. What it tells of must be there before.
        """
        place = place_of(folder, self.step)
        place.parent.mkdir(exist_ok=True)
        told = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "step": self.step,
            "iosfast_version": self.version,
            "source": self.source.to_dict(),
            "identity": self.identity.to_dict(),
            "options": self.options,
            "inputs": self.inputs,
            "outputs": [[o.path, o.nbytes, o.checksum] for o in self.outputs],
            "facts": self.facts,
            "notes": list(self.notes),
        }
        text = json.dumps({**told, "checksum": digest(told)}, indent=1) + "\n"
        with file_beside(place) as work:
            work.write_bytes(text.encode())  # which is ASCII

    @staticmethod
    def remove(folder: Path, step: str) -> None:
        """Remove it for good: it would be true of nothing if it came back after a power failure."""
        place = place_of(folder, step)
        try:
            place.unlink()
        except FileNotFoundError:
            return
        keep_folder(place.parent)

    @classmethod
    def read(cls, folder: Path, step: str) -> Self | None:
        """Read it; None if there is none.

        Raises
        ------
        ValueError
            If it is damaged.
        """
        try:
            text = place_of(folder, step).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise ValueError(f"its marker cannot be read: {error.strerror}") from error
        try:
            told = json.loads(text)
            sum_ = told.pop("checksum")
            if told["format"] != FORMAT or told["format_version"] != FORMAT_VERSION:
                raise ValueError("its format is another")
            if sum_ != digest(told):
                raise ValueError("its checksum is another")
            return cls(
                step=str(told["step"]),
                version=str(told["iosfast_version"]),
                source=Source.from_dict(told["source"]),
                identity=Identity.from_dict(told["identity"]),
                options=dict(told["options"]),
                inputs=dict(told["inputs"]),
                outputs=tuple(Output(str(p), int(n), str(c)) for p, n, c in told["outputs"]),
                facts=dict(told["facts"]),
                notes=tuple(map(str, told["notes"])),
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(f"its marker is damaged ({error})") from error


def place_of(folder: Path, step: str) -> Path:
    """Return where the marker of a step is."""
    return folder / MARKERS / f"{step}.json"


def keep(places: Iterable[Path]) -> None:
    """Make sure that markers are on the disk; many at once take hardly longer than one."""

    def kept(place: Path) -> None:
        with open(place, "rb+", buffering=0) as file:
            os.fsync(file.fileno())

    found = [place for place in places if place.exists()]
    list(_pool().map(kept, found))
    list(_pool().map(keep_folder, dict.fromkeys(place.parent for place in found)))


@cache
def _pool() -> ThreadPoolExecutor:
    """Threads that wait for the disk, one set in a process: to start them takes longer than files.

    Tasks that run in it must not use it themselves.
    """
    return ThreadPoolExecutor(_AT_ONCE, "iosfast-keep")


def keep_folder(folder: Path) -> None:
    """Make sure that names which were made or removed in a folder are so on the disk, too."""
    if os.name == "nt":
        return  # where folders cannot be opened
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def made_by(folder: Path, paths: Iterable[Path]) -> tuple[Output, ...]:
    """Return files as outputs, which are sure to be on the disk."""

    def output(path: Path) -> Output:
        at = path.relative_to(folder).as_posix()
        return Output(at, path.stat().st_size, checksum(path, keep=True))

    return tuple(_pool().map(output, sorted(paths)))


def why_stale(
    marker: Marker,
    folder: Path,
    *,
    identity: Identity | None,
    options: dict[str, Any],
    inputs: dict[str, str],
    any_version: bool = False,
) -> str | None:
    """Tell why a step must be done again; None if it need not.

    `identity` is None for steps that do not read the recording itself.
    Outputs are looked at by their sizes only; `verify` compares all bytes.
    """
    if identity is not None and (difference := marker.identity.difference(identity)):
        return f"the source {difference}"
    if marker.options != json.loads(json.dumps(options)):
        return differing(marker.options, json.loads(json.dumps(options)))
    for name, made in inputs.items():
        if marker.inputs.get(name) != made:
            return f"{name} has other results"
    if marker.version != __version__ and not any_version:
        return f"made by iosfast {marker.version}, not {__version__}"
    for output in marker.outputs:
        try:
            nbytes = (folder / output.path).stat().st_size
        except OSError:
            return f"{output.path} is missing"
        if nbytes != output.nbytes:
            return f"{output.path} has {nbytes:,} bytes, not {output.nbytes:,}"
    return None
