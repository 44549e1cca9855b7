"""Results on disk: made beside their place, and renamed when they are complete."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import Self
from uuid import uuid4

from .errors import WriteError

FORMAT, FORMAT_VERSION = "iosfast maps", 1

STACKS = ("binned", "change", "rgb")

#: All that a folder of maps may hold; whatever else is in it belongs to someone.
_OWN_NAMES = {"maps.json", "mask.png", "contact_sheet.png", *(f"{name}.tif" for name in STACKS)}
_SYSTEM_NAMES = {".DS_Store", "Thumbs.db", "desktop.ini"}
_IMAGE_NAME = re.compile(r"\d+_\d{6}(_\d{3})?\.tiff")


class Staging:
    """A new folder beside the place of `out`, which takes that place when it is complete.

    Use as a context manager: whatever ends the block before `finish` removes what was written.

    Parameters
    ----------
    out : path
        The folder to make.
    overwrite : bool
        Replace maps, but nothing else.
    needed_bytes : int
        What will be written, to be compared with what is free.
    check : callable
        Raises WriteError unless a folder, which is not empty, may be replaced; default: maps.

    Attributes
    ----------
    out, work : Path
        The place, and where to write until then.

    Raises
    ------
    WriteError
        If no maps can be made there; nothing is left.
    """

    def __init__(
        self,
        out: str | PathLike[str],
        overwrite: bool,
        needed_bytes: int = 0,
        check: Callable[[Path, bool], None] | None = None,
    ) -> None:
        self.out = Path(os.path.abspath(out))
        self._overwrite = overwrite
        self._check = check or _check_replaceable
        check_place(self.out, overwrite, self._check)
        self._made: list[Path] = []  # folders around the maps
        self.work = self._beside("partial")
        self._old = self._beside("replaced")
        try:
            self._check_space(needed_bytes)
            for parent in reversed(self.out.parents):
                with suppress(FileExistsError):  # another may make it at the same time
                    if not parent.exists():
                        parent.mkdir()
                        self._made.append(parent)
            self.work.mkdir()
        except OSError as error:
            self.abort()
            raise write_error(self.out, error) from error
        except BaseException:
            self.abort()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.abort()

    def finish(self, inner: str = "") -> Path:
        """Move the folder, or one in it, to its place."""
        try:
            check_place(self.out, self._overwrite, self._check)
            if self.out.exists():
                self.out.rename(self._old)
            (self.work / inner).rename(self.out)
        except OSError as error:
            raise write_error(self.out, error) from error
        return self.out

    def abort(self) -> None:
        """Remove what was written, unless it was finished; put back what was to be replaced."""
        with ExitStack() as steps:  # the last is taken first; all are, whatever the others raise
            steps.callback(surely, self._remove_parents)
            steps.callback(surely, self._put_back)
            steps.callback(surely, lambda: shutil.rmtree(self.work, ignore_errors=True))

    def _put_back(self) -> None:
        if self._old.exists():
            if self.out.exists():
                shutil.rmtree(self._old, ignore_errors=True)
            else:
                self._old.rename(self.out)

    def _remove_parents(self) -> None:
        for parent in reversed(self._made):
            with suppress(OSError):  # it is not empty: the maps are in it
                parent.rmdir()

    def _beside(self, what: str) -> Path:
        return self.out.parent / f".{self.out.name}.{what}-{uuid4().hex[:8]}"

    def _check_space(self, needed: int) -> None:
        free = shutil.disk_usage(_existing_parent(self.out)).free
        if needed > free:
            raise WriteError(
                f"{self.out}: the maps take {needed / 1e9:.3f} GB, but only {free / 1e9:.3f} GB "
                "are free there; nothing was written"
            )


@contextmanager
def file_beside(path: str | PathLike[str], *, overwrite: bool = True) -> Iterator[Path]:
    """Give the name of a new file beside its place, which takes that place at the end.

    If the block raises, nothing is left. The name has the ending of the path.

    Raises
    ------
    WriteError
        If it cannot be written, or is there already and must not be replaced.
    """
    place = Path(path)
    if os.path.lexists(place) and not overwrite:
        raise WriteError(f"{place}: exists already; choose another name, or overwrite=True")
    work = place.with_name(f".{place.stem}.partial-{uuid4().hex[:8]}{place.suffix}")
    try:
        yield work
        os.replace(work, place)
    except OSError as error:
        raise write_error(place, error) from error
    finally:
        surely(lambda: work.unlink(missing_ok=True))


def surely(step: Callable[[], None]) -> None:
    """Take a step of tidying up; Ctrl-C meanwhile comes after it, and errors do not matter."""
    with suppress(OSError):
        try:
            step()
        except KeyboardInterrupt:
            step()
            raise


def check_place(
    out: Path, overwrite: bool, check: Callable[[Path, bool], None] | None = None
) -> None:
    """Raise WriteError unless a folder (of maps, or of what `check` lets pass) may be made here."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise WriteError(f"{out}: exists and is no folder; choose another out")
    try:
        if out.exists() and any(out.iterdir()):
            (check or _check_replaceable)(out, overwrite)
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(f"{out}: cannot be examined: {error.strerror}") from error
    parent = _existing_parent(out)
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise WriteError(f"{out}: {parent} is not a folder that can be written to")


def channel_folders(folder: Path) -> list[str]:
    """Return the names of folders in which there are maps, if there is nothing else beside them."""
    try:
        inside = [p for p in folder.iterdir() if p.name not in _SYSTEM_NAMES]
    except OSError:
        return []
    return sorted(p.name for p in inside) if inside and all(map(_holds_maps, inside)) else []


def _holds_maps(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / "maps.json").read_bytes())["format"] == FORMAT)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return False


def _check_replaceable(out: Path, overwrite: bool) -> None:
    """Raise WriteError unless a folder holds nothing but maps, and they may be replaced."""
    others = "choose another out (overwrite replaces maps only)"
    channels = channel_folders(out)
    if not channels and not _holds_maps(out):
        raise WriteError(f"{out}: exists and holds no maps, but other files; {others}")
    if not overwrite:
        raise WriteError(f"{out}: holds maps already; choose another out, or overwrite=True")
    for maps in [out / name for name in channels] or [out]:
        for folder, folders, files in os.walk(maps):
            at = Path(folder).relative_to(maps)
            if at == Path():
                strange = [n for n in files if n not in _OWN_NAMES] + [
                    n for n in folders if n not in STACKS
                ]
            else:
                strange = [n for n in files if not _IMAGE_NAME.fullmatch(n)] + folders
            strange = sorted(set(strange) - _SYSTEM_NAMES)
            if strange:
                raise WriteError(f"{out}: holds {at / strange[0]} beside the maps; {others}")


def _existing_parent(path: Path) -> Path:
    parent = path.absolute().parent
    while not parent.exists():
        parent = parent.parent
    return parent


def write_error(out: Path, error: OSError) -> WriteError:
    """Return the error of writing to the folder, and what became of it."""
    if isinstance(error, WriteError):
        return error
    reason = error.strerror or str(error)
    return WriteError(error.errno, f"{reason}; nothing was left there", os.fspath(out))
