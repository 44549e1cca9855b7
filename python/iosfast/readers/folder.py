"""A folder of TIFF files with one frame each."""

from __future__ import annotations

import abc
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self, overload

import numpy as np
import tifffile
from numpy.typing import NDArray

from .. import _core
from ..errors import ReadError, warn
from .clocks import mtime_times, name_times, page_seconds, tag_times
from .packed_page import PackedPage, PackedPattern, are_somewhere, pieces_of
from .pixels import PixelRecording, Run
from .recording import ClockName, Recording
from .shared_file import SharedFile
from .tiff import has_one_frame
from .tiff_parsing import (
    LAYOUT_TAGS,
    DirectoryFormat,
    check_frame,
    frame_shape,
    inverted_note,
    is_cut_early,
    is_plain,
    kind_of,
    opened,
    pixels_end,
    record_of,
)

#: Kinds of packed files that are told without parsing; a folder has one or two.
_PATTERNS = 16

_DIGITS = str.maketrans("123456789", "0" * 9)

TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf2", ".tf8")


class FramePaths(Sequence[Path]):
    """Many paths, kept as text, of which few are ever needed as `Path`.

    Parameters
    ----------
    texts : list of str
    """

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts

    @classmethod
    def of(cls, paths: Sequence[Path]) -> FramePaths:
        """Return paths of any kind."""
        return paths if isinstance(paths, FramePaths) else cls([str(path) for path in paths])

    def take(self, numbers: NDArray[np.int64]) -> FramePaths:
        """Return some of the paths, in the order of their numbers."""
        return FramePaths([self.texts[i] for i in numbers.tolist()])

    def __len__(self) -> int:
        return len(self.texts)

    @overload
    def __getitem__(self, number: int) -> Path: ...
    @overload
    def __getitem__(self, number: slice) -> FramePaths: ...
    def __getitem__(self, number: int | slice) -> Path | FramePaths:
        if isinstance(number, slice):
            return FramePaths(self.texts[number])
        return Path(self.texts[number])


def list_frames(folder: Path) -> tuple[FramePaths, tuple[str, ...]]:
    """TIFF files of a folder in natural order (f2 before f10), and notes on other files.

    Raises
    ------
    ReadError
        If there is none, or if another file's name says that it is a frame, too.
    """
    names: list[str] = []
    others: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.name.lower().endswith(TIFF_SUFFIXES) and _may_hold_frames(entry):
                    names.append(entry.name)
                else:
                    others.append(entry.name)
    except OSError as error:
        raise ReadError(f"cannot be listed: {error.strerror}", folder) from error
    if not names:
        what = f"holds {len(others)} files, but no TIFF file" if others else "is empty"
        raise ReadError(what, folder)
    # Where all digits stand at the same places, natural order is that of the text.
    alike = len(set("/".join(names).translate(_DIGITS).split("/"))) == 1
    names.sort(key=None if alike else natural)
    _refuse_strays(folder, names, others)
    notes: tuple[str, ...] = ()
    if others:
        shown = ", ".join(sorted(others)[:3]) + (", ..." if len(others) > 3 else "")
        notes = (f"{folder}: {len(others)} other files are left out: {shown}",)
    within = os.path.join(folder, "")
    return FramePaths([within + name for name in names]), notes


def _may_hold_frames(entry: os.DirEntry[str]) -> bool:
    """Tell files, and links to nothing, which are lost frames, from folders, pipes and devices."""
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:  # a link in a circle
        return True


def natural(name: str) -> tuple[list[str | int], str]:
    """Return a key that sorts f2 before f10."""
    stem = os.path.splitext(name)[0]  # so that "rec" comes before "rec-1"
    parts: list[str | int] = list(re.split(r"(\d+)", stem))
    parts[1::2] = [int(p) for p in parts[1::2]]
    return parts, name


def _refuse_strays(folder: Path, names: list[str], others: list[str]) -> None:
    """Refuse a frame in another format, as frame_0007.png between frame_0006.tif and _0008.tif."""
    if not others:
        return
    stems = {os.path.splitext(name)[0] for name in names}
    patterns = {re.sub(r"\d+", "#", stem) for stem in stems}
    for other in sorted(others, key=natural):
        stem = os.path.splitext(other)[0]
        if "#" in (pattern := re.sub(r"\d+", "#", stem)) and pattern in patterns:
            if stem in stems:  # a file that belongs to a frame, such as its annotation
                continue
            raise ReadError(
                "is named like a frame, but is no TIFF file; move it away if it is none, or "
                "convert it",
                folder / other,
            )


def open_frames(
    paths: Sequence[Path], where: Path | None, allow_truncated: bool, notes: tuple[str, ...]
) -> Recording:
    """Open single-frame files as one recording; every header is compared with the first's."""
    paths = FramePaths.of(paths)
    source = str(where) if where is not None else f"{paths[0]} and {len(paths) - 1} more"
    first = next((f for i, path in enumerate(paths) if (f := _Frame.of(path, i))), None)
    if first is None:
        raise ReadError(f"all {len(paths):,} files are cut", source, 0)
    files = None if first.offset is None else _plain_files(paths, first)
    plain = files is not None
    patterns: tuple[PackedPattern, ...] = ()
    if files is None:
        files, patterns = _packed_files(paths, first)
        if first.offset is not None:
            notes = (*notes, f"{source}: pixels are stored in several ways, which reads slowly")
    if first.remark:
        warn(note := f"{source}: {first.remark}")
        notes = (*notes, note)
    whole = files.offsets >= 0
    if not whole.all():
        cut = int(np.argmin(whole))
        lost = int(np.count_nonzero(~whole))
        if not allow_truncated:
            raise ReadError(
                f"the file is cut, as {lost:,} of {len(paths):,} files are. allow_truncated=True "
                "leaves them out",
                paths[cut],
                cut,
            )
        note = (
            f"{source}: {lost:,} of {len(paths):,} files are cut and left out, the first is "
            f"{paths[cut].name}; times by frame count are wrong from there on"
        )
        warn(note)
        notes = (*notes, note)
    keep = np.flatnonzero(whole)
    kept = paths.take(keep)
    options: dict[str, Any] = {
        "source": source,
        "dtype": first.dtype,
        "start_s": first.start_s,
        "metadata": {"format": "folder of TIFF files", "files": len(kept)},
        "notes": notes,
    }
    if plain:
        return PlainFrames(kept, files.offsets[keep], first.shape, files.mtimes_ns[keep], options)
    return PackedFrames(kept, patterns, first.shape, files.mtimes_ns[keep], options)


class _FrameFiles(Recording):
    """Single-frame TIFF files, in any order."""

    _paths: FramePaths
    _mtimes_ns: NDArray[np.int64]

    @abc.abstractmethod
    def _reordered(self, order: NDArray[np.int64], notes: tuple[str, ...]) -> Recording:
        """Return the same files in another order."""

    def clock_s(self, clock: ClockName) -> NDArray[np.float64]:
        """Return times by modification time, by name, or by DateTime tag."""
        if clock == "mtime":
            return mtime_times(self._mtimes_ns)
        return name_times(self._paths) if clock == "name" else tag_times(self._paths)

    def in_time_order(self, clock: ClockName) -> tuple[Recording, NDArray[np.float64]]:
        """Sort frames by their time; those of equal time stay in order of name."""
        times = self.clock_s(clock)
        order = np.argsort(times, kind="stable")
        moved = int(np.count_nonzero(order != np.arange(order.size)))
        if not moved:
            return self, times
        note = (
            f"{self.source}: sorted by {clock}, which moves {moved:,} of {len(self):,} frames "
            "from their place in order of name"
        )
        warn(note)
        return self._reordered(order, (*self.notes, note)), times[order]


class PlainFrames(_FrameFiles, PixelRecording):
    """Uncompressed single-frame TIFF files.

    Parameters
    ----------
    paths : FramePaths
    offsets : ndarray of int64, shape (T,)
        Where the pixels begin in each file.
    shape : tuple of int
        (Y, X).
    mtimes_ns : ndarray of int64, shape (T,)
        Modification times, in ns since 1970-01-01 UTC.
    options : dict
        As for `PixelRecording`.
    """

    def __init__(
        self,
        paths: FramePaths,
        offsets: NDArray[np.int64],
        shape: tuple[int, int],
        mtimes_ns: NDArray[np.int64],
        options: dict[str, Any],
    ) -> None:
        runs = [Run(p, o, 0, 1) for p, o in zip(paths.texts, offsets.tolist(), strict=True)]
        super().__init__(runs, (len(paths), *shape), **options)
        self._paths, self._offsets, self._mtimes_ns = paths, offsets, mtimes_ns
        self._options = options

    def _reordered(self, order: NDArray[np.int64], notes: tuple[str, ...]) -> Recording:
        return PlainFrames(
            self._paths.take(order),
            self._offsets[order],
            self.shape[1:],
            self._mtimes_ns[order],
            {**self._options, "notes": notes},
        )


class PackedFrames(_FrameFiles):
    """Compressed or tiled single-frame TIFF files, decoded by tifffile's codecs.

    Several threads do so at the same time. Parameters are those of `PlainFrames`, with patterns of
    the first directories instead of `offsets`.
    """

    def __init__(
        self,
        paths: FramePaths,
        patterns: tuple[PackedPattern, ...],
        shape: tuple[int, int],
        mtimes_ns: NDArray[np.int64],
        options: dict[str, Any],
    ) -> None:
        super().__init__(shape=(len(paths), *shape), **options)
        self._paths, self._patterns, self._mtimes_ns = paths, patterns, mtimes_ns
        self._options = options
        self._closed = False

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        out = np.empty((stop - start, *self.shape[1:]), self.dtype)
        for frame in range(start, stop):
            if self._closed:
                raise ReadError("was closed", self.source)
            self._decode(self._paths[frame], frame, out[frame - start])
        return out

    def _decode(self, path: Path, frame: int, out: NDArray[Any]) -> None:
        file = SharedFile(path, frame)
        try:
            for pattern in self._patterns:
                record = pattern.first_record(file)
                pieces = pattern.pieces(file, record) if pattern.matches(record) else None
                if pieces is not None and are_somewhere(pieces):
                    pattern.page.decode(file, pieces, path, frame, out)
                    return
            with opened(path, frame) as tif:
                page = tif.pages.first
                if (page.shape, page.dtype) != (self.shape[1:], self.dtype):
                    raise ReadError("has changed since it was opened", path, frame)
                PackedPage.of(path, page, frame).decode(file, pieces_of(page), path, frame, out)
        finally:
            file.close()

    def _reordered(self, order: NDArray[np.int64], notes: tuple[str, ...]) -> Recording:
        return PackedFrames(
            self._paths.take(order),
            self._patterns,
            self.shape[1:],
            self._mtimes_ns[order],
            {**self._options, "notes": notes},
        )

    def close(self) -> None:
        """Refuse further reads; no file is held open."""
        self._closed = True


class _Frame(NamedTuple):
    """A single-frame file, as parsed.

    Attributes
    ----------
    dtype : numpy dtype
        With the byte order of the file.
    offset : int or None
        Where the pixels begin; None if they must be decoded.
    meaning : object
        What else must agree between frames.
    kind : str
        What it holds, for messages.
    remark : str
        What is unusual.
    header : list of tuple
        (offset, bytes, mask) that another file must hold for its pixels to lie in the same place.
    pattern : PackedPattern or None
        By which another file is told to be packed in the same way.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    offset: int | None
    meaning: object
    kind: str
    start_s: float | None
    remark: str
    header: list[tuple[int, bytes, bytes]]
    pattern: PackedPattern | None

    @classmethod
    def of(cls, path: Path, number: int) -> Self | None:
        """Parse a file, frame `number` of all; None if it is cut."""
        if is_cut_early(path, number):
            return None
        size = path.stat().st_size
        with opened(path, number) as tif:
            page = tif.pages.first
            check_frame(path, page)
            if not has_one_frame(path, tif):
                raise ReadError("holds several frames, but the first file one", path)
            if pixels_end(page) > size:
                return None
            plain, pattern = is_plain(page), None
            if not plain:
                pattern = PackedPattern.of(tif, page, PackedPage.of(path, page, number))
            return cls(
                frame_shape(page),
                np.dtype(page.dtype).newbyteorder(tif.byteorder),
                int(page.dataoffsets[0]) if plain else None,
                page.photometric,
                kind_of(page),
                page_seconds(page),
                inverted_note(page),
                _header(tif, page) if plain else [],
                pattern,
            )

    def agrees(self, other: _Frame) -> bool:
        """Tell whether another frame can follow this one."""
        mine = (self.shape, self.dtype.newbyteorder("="), self.meaning)
        return mine == (other.shape, other.dtype.newbyteorder("="), other.meaning)


class _Files(NamedTuple):
    """Where the pixels of each file begin, -1 if it is cut; and modification times."""

    offsets: NDArray[np.int64]
    mtimes_ns: NDArray[np.int64]


def _plain_files(paths: FramePaths, first: _Frame) -> _Files | None:
    """Compare headers with the first one; None if one file must be decoded, so all are."""
    assert first.offset is not None
    sizes, mtimes_ns, matches = _core.probe_files(paths.texts, first.header)
    offsets = np.full(len(paths), first.offset, np.int64)
    for i in np.flatnonzero(~matches).tolist():
        frame = _Frame.of(paths[i], i)
        if frame is None:
            offsets[i] = -1
        elif not first.agrees(frame):
            raise _differs(paths[i], i, frame, first)
        elif frame.offset is None or frame.dtype != first.dtype:
            return None
        else:
            offsets[i] = frame.offset
    frame_bytes = first.shape[0] * first.shape[1] * first.dtype.itemsize
    offsets[sizes < offsets + frame_bytes] = -1
    return _Files(offsets, mtimes_ns)


def _packed_files(paths: Sequence[Path], first: _Frame) -> tuple[_Files, tuple[PackedPattern, ...]]:
    """Compare directories with those of files before; parse those that are like none of them."""
    patterns: list[PackedPattern] = []
    offsets = np.zeros(len(paths), np.int64)
    mtimes_ns = np.empty(len(paths), np.int64)
    for i, path in enumerate(paths):
        file = SharedFile(path, i)
        try:
            stat = file.stat
            mtimes_ns[i] = stat.st_mtime_ns
            whole = _is_whole(file, stat.st_size, patterns)
        finally:
            file.close()
        if whole is None:
            frame = _Frame.of(path, i)
            whole = frame is not None
            if frame is not None and not first.agrees(frame):
                raise _differs(path, i, frame, first)
            if frame is not None and frame.pattern is not None and len(patterns) < _PATTERNS:
                patterns.append(frame.pattern)
        offsets[i] = 0 if whole else -1
    return _Files(offsets, mtimes_ns), tuple(patterns)


def _is_whole(file: SharedFile, size: int, patterns: list[PackedPattern]) -> bool | None:
    """Tell whether a file that follows a pattern has all its pixels; None if it follows none."""
    for pattern in patterns:
        record = pattern.first_record(file)
        if pattern.matches(record) and pattern.following(record) == 0:
            pieces = pattern.pieces(file, record)
            if pieces is not None and are_somewhere(pieces):
                return pieces.end <= size
    return None


def _differs(path: Path, number: int, frame: _Frame, first: _Frame) -> ReadError:
    return ReadError(f"is {frame.kind}, but the first file is {first.kind}", path, number)


def _header(tif: tifffile.TiffFile, page: tifffile.TiffPage) -> list[tuple[int, bytes, bytes]]:
    """What another file must hold, and where, for its pixels to lie as in this one."""
    file = tif.filehandle

    def part(offset: int, length: int, mask: bytes | None = None) -> tuple[int, bytes, bytes]:
        file.seek(offset)
        return offset, file.read(length), mask or b"\xff" * length

    form = DirectoryFormat.of(tif)
    mask = form.mask(record_of(tif, page))
    parts = [part(0, 16 if form.big else 8), part(page.offset, mask.size, mask.tobytes())]
    for code in LAYOUT_TAGS:  # such as strip offsets that lie outside of the directory
        tag = page.tags.get(code)
        if tag is not None and tag.valuebytecount > form.pointer.itemsize:
            parts.append(part(tag.valueoffset, tag.valuebytecount))
    return parts
