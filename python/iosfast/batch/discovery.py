"""Recordings in archives, found by their content."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

from ..errors import ReadError
from ..readers import andor_sif, andor_spool, opening, raw, tiff
from ..readers.folder import TIFF_SUFFIXES, natural
from ..readers.reader import HEAD_BYTES
from ..readers.sidecar import SUFFIXES as RAW_SUFFIXES
from ..readers.tiff_parsing import MAGIC as TIFF_MAGIC
from .sources import Source, listed

Join = Literal["auto", "names", "never"]

#: Files by which folders tell that iosfast made them.
BATCH_FILE = "batch.json"
_MADE = (BATCH_FILE, "maps.json", "prompts.json")
_ZARR_MARKS = ("zarr.json", ".zarray", ".zgroup")
_CLIP = re.compile(r"segment_\d+_")
#: Endings of recordings: a link of such a name that leads nowhere is a lost recording.
_KNOWN = (*TIFF_SUFFIXES, ".sif", ".npy", ".h5", ".hdf5", ".nwb", ".zarr")
#: So many bytes at least has a file that a camera program splits for its size.
_SPLIT_BYTES = 1_900_000_000
_NUMBERED = re.compile(r"(?P<base>.*?)(?:[ ._@-]?[xX]?(?P<number>\d{1,5}))?", re.DOTALL)


@dataclass(frozen=True)
class Found:
    """A recording in an archive.

    Attributes
    ----------
    name : str
        Label of the archive and path below it, with "/" between.
    """

    name: str
    source: Source


@dataclass
class Discovery:
    """What is in the archives.

    Attributes
    ----------
    found : list of Found
        In natural order of their names.
    problems : list of (str, str)
        Names of what should be recordings but cannot be looked at, and why.
    notes : list of str
    others : int
        Files that are no recordings.
    """

    found: list[Found] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    others: int = 0


def discover(
    archives: Sequence[tuple[str, Path]],
    out: Path,
    *,
    exclude: Sequence[str] = (),
    join: Join = "auto",
) -> Discovery:
    """Find all recordings in archives.

    Folders are looked through with links followed, each once, also where links make a circle.
    Hidden folders, the folder of the results, and what else iosfast has made are left out.

    Parameters
    ----------
    archives : sequence of (str, Path)
        A label, which names begin with, and a folder or file.
    out : Path
        Folder of the results.
    exclude : sequence of str
        Patterns (``*``, ``?``) of names, or of paths below an archive, that are left out.
    join : {"auto", "names", "never"}
        Whether files of a folder that are numbered parts of one name are one recording: if their
        metadata or sizes tell so; always; or never, unless the first file cannot be opened else.

    Raises
    ------
    ReadError
        If an archive is not there.
    """
    walk = _Walk(out, tuple(exclude), join)
    for label, root in archives:
        if not root.exists():
            raise ReadError("does not exist", root)
        walk.take(label, root)
    while walk.links:  # so that what is reached in both ways has the name of its own place
        label, path = walk.links.pop(0)
        walk.take(label, path)
    walk.result.found.sort(key=lambda found: natural(found.name))
    return walk.result


class _Walk:
    """Goes through folders, each once."""

    def __init__(self, out: Path, exclude: tuple[str, ...], join: Join) -> None:
        self.result = Discovery()
        self.links: list[tuple[str, Path]] = []
        self._exclude = exclude
        self._join = join
        self._seen: set[tuple[int, int]] = set()
        try:
            about = os.stat(out)
            self._seen.add((about.st_dev, about.st_ino))
        except OSError:
            pass  # it is made later

    def take(self, name: str, path: Path) -> None:
        """Look at a file or folder."""
        if path.is_dir():
            self._folder(name, path)
        else:
            self._files(name.rpartition("/")[0], [path], loose=True)

    def _new(self, path: Path, name: str) -> bool:
        try:
            about = os.stat(path)
        except OSError as error:
            self.result.problems.append((name, f"{path}: {error.strerror}"))
            return False
        key = about.st_dev, about.st_ino
        if key in self._seen:
            return False
        self._seen.add(key)
        return True

    def _add(self, name: str, source: Source) -> None:
        if self._new(Path(source.paths[0]), name):
            for path in (*source.paths[1:], *source.also):
                self._new(Path(path), name)
            self.result.found.append(Found(name, source))

    def _folder(self, name: str, folder: Path) -> None:
        if not self._new(folder, name):
            return
        try:
            entries = listed(folder)
        except ReadError as error:
            self.result.problems.append((name, str(error)))
            return
        names = {entry.name for entry in entries}
        if names & set(_MADE) or _CLIP.match(folder.name):
            return
        if names & set(_ZARR_MARKS):
            self.result.found.append(Found(name, Source((str(folder),), "tree")))
            return
        below: list[os.DirEntry[str]] = []
        files: list[Path] = []
        for entry in sorted(entries, key=lambda entry: natural(entry.name)):
            if entry.name.startswith(".") or self._excluded(name, entry.name):
                continue
            if _is_folder(entry):
                below.append(entry)
            elif _is_lost(entry):
                if entry.name.lower().endswith(_KNOWN):
                    lost = f"{entry.path}: is a link to nothing, or to itself"
                    self.result.problems.append((f"{name}/{entry.name}", lost))
            else:
                files.append(Path(entry.path))
        del entries
        if andor_spool.is_spool_folder(folder):
            self.result.found.append(Found(name, Source((str(folder),), "folder")))
        else:
            self._files(name, files, folder=folder)
        for entry in below:
            inner = f"{name}/{entry.name}"
            if entry.is_symlink():
                self.links.append((inner, Path(entry.path)))
            else:
                self._folder(inner, Path(entry.path))

    def _excluded(self, folder: str, name: str) -> bool:
        path = f"{folder.partition('/')[2]}/{name}".lstrip("/")
        return any(fnmatch(name, p) or fnmatch(path, p) for p in self._exclude)

    def _files(
        self, name: str, files: list[Path], *, folder: Path | None = None, loose: bool = False
    ) -> None:
        """Take the recordings among the files of a folder, or one file that was named."""
        prefix = f"{name}/" if name else ""
        tiffs = [path for path in files if path.name.lower().endswith(TIFF_SUFFIXES)]
        sifs = [path for path in files if path.suffix.lower() == ".sif"]
        known = set(tiffs) | set(sifs)
        for path in files:
            if path in known:
                continue
            if _is_recording(path):
                sidecar = path.with_suffix(".json")
                told = path.suffix.lower() in RAW_SUFFIXES and sidecar.exists()
                self._add(prefix + path.name, Source((str(path),), also=(str(sidecar),) * told))
            else:
                self.result.others += 1
        self._tiffs(name, tiffs, folder, loose)
        for parts in _series_of_sif(sifs):
            self._add(prefix + parts[0].name, Source(tuple(map(str, parts))))

    def _tiffs(self, name: str, tiffs: list[Path], folder: Path | None, loose: bool) -> None:
        single, several = _sorted_out(tiffs)
        prefix = f"{name}/" if name else ""
        if folder is not None and len(single) > 1 and not several:
            self.result.found.append(Found(name, Source((str(folder),), "TIFF folder")))
            return
        if loose:
            several, single = [*several, *single], []
        if single:
            self.result.others += len(single)
            first = f"{single[0]}" + (f" and {len(single) - 1} more" if len(single) > 1 else "")
            self.result.notes.append(f"{first}: a single image, no recording; left out")
        for parts in self._joined(several):
            source = Source(tuple(map(str, parts)))
            if len(parts) == 1:
                source = Source(source.paths, also=tuple(map(str, _set_of(parts[0]))))
            self._add(prefix + parts[0].name, source)

    def _joined(self, paths: list[Path]) -> Iterator[list[Path]]:
        """Put numbered parts of one recording together."""
        for base, parts in _groups(paths):
            if len(parts) == 1 or self._join == "never" or any(map(_tells_its_set, parts)):
                yield from ([part] for part in parts)
            elif self._join == "names" or _is_split(parts):
                yield parts
            else:
                self.result.notes.append(
                    f"{parts[0].parent}: {len(parts)} files are named like parts of {base!r}, and "
                    "taken as recordings of their own (join='names' joins them)"
                )
                yield from ([part] for part in parts)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False


def _is_lost(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_symlink() and not os.path.exists(entry.path)
    except OSError:
        return True


def _is_recording(path: Path) -> bool:
    """Tell by its first bytes whether a file is of a kind that can be opened."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return path.name.lower().endswith(_KNOWN)  # which is told when it is opened
    if not head:
        return path.name.lower().endswith(_KNOWN)
    if head.startswith(raw.NPY_MAGIC):
        return _npy_axes(path) == 3
    readers = (*opening.registered_readers(), *opening.READERS)
    return any(reader.recognises(path, head) for reader in readers)


def _npy_axes(path: Path) -> int:
    import numpy as np

    try:
        return int(np.load(path, mmap_mode="r", allow_pickle=False).ndim)
    except (OSError, ValueError, EOFError):
        return 3  # damaged, which is told when it is opened


def _sorted_out(tiffs: list[Path]) -> tuple[list[Path], list[Path]]:
    """Return the TIFF files of one frame, and those of several, or that cannot be told."""
    single: list[Path] = []
    several: list[Path] = []
    if len(tiffs) > 256:  # of a folder of frames, some tell of all
        some = tiffs[:: len(tiffs) // 64] + tiffs[-1:]
        if all(_is_single(path) for path in some):
            return tiffs, []
    for path in tiffs:
        (single if _is_single(path) else several).append(path)
    if len(single) > 1 and several and all(_is_cut(path) for path in several):
        return tiffs, []  # a folder of frames, of which some are lost
    return single, several


def _is_single(path: Path) -> bool:
    try:
        return bool(tiff.is_single_frame(path))
    except (ReadError, OSError):
        return False


def _is_cut(path: Path) -> bool:
    try:
        return tiff.is_single_frame(path) is None
    except (ReadError, OSError):
        return False


def _groups(paths: Iterable[Path]) -> Iterator[tuple[str, list[Path]]]:
    """Files by their names without a number at the end; in natural order."""
    groups: dict[tuple[str, str], list[Path]] = {}
    for path in paths:
        match = _NUMBERED.fullmatch(path.stem)
        assert match is not None  # as all of it is optional
        groups.setdefault((match["base"], path.suffix), []).append(path)
    for (base, _), parts in groups.items():
        yield base, sorted(parts, key=lambda path: natural(path.name))


def _is_split(parts: list[Path]) -> bool:
    """Tell files that a program split for their size: all but the last are as large as the first.

    Recordings of one length have files of one size, too, but end at a size of no meaning: only
    from 1.9 GB on, where programs split, are files taken as parts.
    """
    try:
        sizes = [path.stat().st_size for path in parts]
    except OSError:
        return False
    whole = sizes[:-1]
    alike = max(whole) - min(whole) <= max(whole) // 1000
    return min(whole) >= _SPLIT_BYTES and alike and sizes[-1] < min(whole)


def _tells_its_set(path: Path) -> bool:
    name = path.name.lower()
    return ".ome." in name or "mmstack" in name


def _set_of(path: Path) -> list[Path]:
    """Return the other files that a file names as parts of itself."""
    if not _tells_its_set(path):
        return []
    try:
        with open(path, "rb") as file:
            if not file.read(4).startswith(TIFF_MAGIC):
                return []
        with tiff.open_tiff(path, True) as recording:
            layout = recording.layout
            told = [] if layout is None else list(dict.fromkeys(run.path for run in layout.runs))
    except (ReadError, OSError, ImportError):
        return []
    return [Path(p) for p in told if Path(p) != path]


def _series_of_sif(paths: list[Path]) -> Iterator[list[Path]]:
    """Put files that Solis split together: ``name.sif``, ``name_X2.sif`` and so on."""
    series: dict[str, list[Path]] = {}
    marked: set[str] = set()
    for path in sorted(paths, key=lambda path: natural(path.name)):
        base, mark, _ = andor_sif.place_in_series(path.name)
        series.setdefault(base, []).append(path)
        if mark:
            marked.add(base)
    for base, parts in series.items():
        if base in marked:
            yield parts
        else:
            yield from ([part] for part in parts)
