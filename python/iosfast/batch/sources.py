"""A recording in an archive: what to open, and the files that it is made of."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args

from .. import arguments
from ..errors import ReadError
from ..readers.folder import TIFF_SUFFIXES

Kind = Literal["files", "TIFF folder", "folder", "tree"]


@dataclass(frozen=True)
class Source:
    """A recording as it lies on disk.

    Attributes
    ----------
    paths : tuple of str
        What to open: a file or folder, or several files in order. Absolute.
    kind : {"files", "TIFF folder", "folder", "tree"}
        Whether it is made of these files, of the TIFF files of a folder, of all its files, or also
        of those in folders below it.
    also : tuple of str
        Other files that belong to it and are found through the first, such as those of one
        OME-TIFF, or a sidecar.
    """

    paths: tuple[str, ...]
    kind: Kind = "files"
    also: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-serialisable values."""
        return {"paths": list(self.paths), "kind": self.kind, "also": list(self.also)}

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> Self:
        """Return what `to_dict` described; raises TypeError, ValueError or KeyError."""
        arguments.choice("kind", told["kind"], get_args(Kind))
        return cls(tuple(map(str, told["paths"])), told["kind"], tuple(map(str, told["also"])))

    @property
    def to_open(self) -> str | list[str]:
        """What `open_recording` takes."""
        return self.paths[0] if len(self.paths) == 1 else list(self.paths)

    def files(self) -> Iterator[Path]:
        """All files, in an order that is always the same.

        Raises
        ------
        ReadError
            If a folder cannot be listed.
        """
        if self.kind == "files":
            yield from map(Path, (*self.paths, *self.also))
        elif self.kind == "tree":
            yield from _below(Path(self.paths[0]))
        else:
            endings = TIFF_SUFFIXES if self.kind == "TIFF folder" else None
            folder = Path(self.paths[0])
            names = sorted(
                entry.name
                for entry in listed(folder)
                if not entry.name.startswith(".")
                and (endings is None or entry.name.lower().endswith(endings))
                and not entry.is_dir()
            )
            for name in names:
                yield folder / name


def listed(folder: Path) -> list[os.DirEntry[str]]:
    """Return what is in a folder, or raise ReadError."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        reason = "does not exist" if missing else f"cannot be listed: {error.strerror}"
        raise ReadError(reason, folder) from error


def _below(folder: Path) -> Iterator[Path]:
    entries = sorted(listed(folder), key=lambda entry: entry.name)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _below(Path(entry.path))
        elif not entry.is_dir():
            yield Path(entry.path)
