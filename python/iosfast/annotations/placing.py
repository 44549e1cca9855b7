"""New files in a folder that may hold others: all of them appear, or none, and none is replaced."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Self
from uuid import uuid4

from ..errors import WriteError
from ..staging import surely, write_error


class Placing:
    """Files that are written beside their places, and moved there when all are complete.

    Use as a context manager: whatever ends the block before `finish` leaves the folder as it was.

    Parameters
    ----------
    folder : Path
        Where they go; it is made if it is missing.
    names : iterable of str
        Their names in the folder, with folders of their own if they have some.
    overwrite : bool
        Replace files of these names.

    Attributes
    ----------
    work : Path
        Where to write until then.
    """

    def __init__(self, folder: Path, names: Iterable[str], overwrite: bool) -> None:
        self.folder = Path(os.path.abspath(folder))
        self._names = list(names)
        self._made: list[Path] = []
        self._placed: list[tuple[Path, Path | None]] = []
        self.work = self.folder / f".partial-{uuid4().hex[:8]}"
        try:
            for name in self._names:
                place = self.folder / name
                if place.is_dir() or (os.path.lexists(place) and not overwrite):
                    more = "choose another place, or overwrite=True"
                    raise WriteError(f"{place}: exists already; {more}")
            self._make(self.folder)
            self.work.mkdir()
        except OSError as error:
            self.abort()
            raise write_error(self.folder, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.abort()

    def path(self, name: str) -> Path:
        """Return where to write a file until all are complete."""
        path = self.work / "new" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def finish(self) -> None:
        """Move all files to their places."""
        try:
            for n, name in enumerate(self._names):
                place, old = self.folder / name, None
                self._make(place.parent)
                if os.path.lexists(place):
                    old = self.work / f"{n}.old"
                    place.rename(old)
                self._placed.append((place, old))
                (self.work / "new" / name).rename(place)
        except OSError as error:
            raise write_error(self.folder, error) from error
        self._placed, self._made = [], []

    def abort(self) -> None:
        """Leave the folder as it was, unless all was finished."""
        surely(self._put_back)
        surely(lambda: shutil.rmtree(self.work, ignore_errors=True))
        surely(self._remove_folders)

    def _make(self, folder: Path) -> None:
        for parent in reversed([folder, *folder.parents]):
            if not parent.exists():
                parent.mkdir()
                self._made.append(parent)

    def _put_back(self) -> None:
        while self._placed:
            place, old = self._placed[-1]
            if old is not None and old.exists():
                old.replace(place)
            elif old is None:
                place.unlink(missing_ok=True)
            self._placed.pop()

    def _remove_folders(self) -> None:
        for folder in reversed(self._made):
            with suppress(OSError):
                folder.rmdir()
