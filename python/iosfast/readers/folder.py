"""A folder of TIFF files with one frame each."""

from __future__ import annotations

import os
import re
import threading
import time
import warnings
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from .. import _core
from ..errors import IosfastWarning, ReadError
from .pixels import PixelRecording, Run
from .recording import ClockName, Recording
from .tiff import (
    clock_seconds,
    decoded,
    decoding_error,
    directory_mask,
    frame_facts,
    opened,
)

TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf2", ".tf8")

_NAME_TIME = re.compile(r"(\d{8})_(\d{6})(?!\d)")


def list_frames(folder: Path) -> tuple[list[Path], tuple[str, ...]]:
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
                if entry.name.lower().endswith(TIFF_SUFFIXES):
                    names.append(entry.name)
                else:
                    others.append(entry.name)
    except OSError as error:
        raise ReadError(f"cannot be listed: {error.strerror}", folder) from error
    if not names:
        what = f"holds {len(others)} files, but no TIFF file" if others else "is empty"
        raise ReadError(what, folder)
    names.sort(key=_natural)
    _refuse_strays(folder, names, others)
    notes: tuple[str, ...] = ()
    if others:
        shown = ", ".join(sorted(others)[:3]) + (", ..." if len(others) > 3 else "")
        notes = (f"{folder}: {len(others)} other files are left out: {shown}",)
    return [folder / name for name in names], notes


def _natural(name: str) -> tuple[list[str | int], str]:
    parts: list[str | int] = list(re.split(r"(\d+)", name))
    parts[1::2] = [int(p) for p in parts[1::2]]
    return parts, name


def _refuse_strays(folder: Path, names: list[str], others: list[str]) -> None:
    """Refuse a frame in another format, as frame_0007.png between frame_0006.tif and _0008.tif."""
    if not others:
        return
    stems = {os.path.splitext(name)[0] for name in names}
    patterns = {re.sub(r"\d+", "#", stem) for stem in stems}
    for other in sorted(others, key=_natural):
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
    with opened(paths[0]) as tif:
        page = tif.pages.first
        facts = frame_facts(paths[0], page)
        facts["metadata"] = {"format": "folder of TIFF files", "files": len(paths)}
        source = str(where) if where is not None else f"{paths[0]} and {len(paths) - 1} more"
        if not page.is_contiguous:
            return DecodedFrames(paths, page.shape, page.dtype, source, notes, facts)
        expected = _expected_header(tif, page)
        offset = page.dataoffsets[0]
        shape = page.shape
        dtype = np.dtype(tif.byteorder + page.dtype.char)
    names = [str(path) for path in paths]
    sizes, mtimes_ns, matches = _core.probe_files(names, expected)
    offsets = np.full(len(paths), offset, np.int64)
    for i in np.flatnonzero(~matches).tolist():
        offsets[i] = _own_offset(paths[i], i, shape, dtype)
    frame_bytes = shape[0] * shape[1] * dtype.itemsize
    whole = sizes >= offsets + frame_bytes
    if not whole.all():
        cut = int(np.flatnonzero(~whole)[0])
        lost = int(np.count_nonzero(~whole))
        if not allow_truncated or not whole.any():
            raise ReadError(
                f"the file is cut, as {lost} of {len(paths):,} files are. allow_truncated=True "
                "leaves them out",
                paths[cut],
                cut,
            )
        note = (
            f"{source}: {lost} of {len(paths):,} files are cut and left out, the first is "
            f"{paths[cut].name}; times by frame count are wrong from there on"
        )
        warnings.warn(note, IosfastWarning, stacklevel=2)
        notes = (*notes, note)
    keep = np.flatnonzero(whole)
    runs = [Run(names[i], o, 0, 1) for i, o in zip(keep.tolist(), offsets[keep].tolist(), strict=True)]
    return FrameFiles(runs, shape, dtype, source, mtimes_ns[keep], notes=notes, **facts)


class FrameFiles(PixelRecording):
    """Uncompressed single-frame TIFF files.

    Parameters
    ----------
    mtimes_ns : ndarray of int64, shape (T,)
        Modification times, in ns since 1970-01-01 UTC.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        shape: tuple[int, int],
        dtype: np.dtype[Any],
        source: str,
        mtimes_ns: NDArray[np.int64],
        **options: Any,
    ) -> None:
        super().__init__(runs, (len(runs), *shape), dtype, source, **options)
        self._mtimes_ns = mtimes_ns
        self._options = options

    def clock_s(self, clock: ClockName) -> NDArray[np.float64]:
        """Times by modification time, by name, or by DateTime tag."""
        if clock == "mtime":
            return local_seconds(self._mtimes_ns)
        paths = [Path(run.path) for run in self.runs]
        return name_times(paths) if clock == "name" else tag_times(paths)

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
        warnings.warn(note, IosfastWarning, stacklevel=2)
        options = {**self._options, "notes": (*self.notes, note)}
        runs = [self.runs[i] for i in order.tolist()]
        sorted_files = FrameFiles(
            runs, self.shape[1:], self.stored_dtype, self.source, self._mtimes_ns[order], **options
        )
        return sorted_files, times[order]


class DecodedFrames(Recording):
    """Compressed single-frame TIFF files, decoded by tifffile; safe between threads."""

    def __init__(
        self,
        paths: Sequence[Path],
        shape: tuple[int, int],
        dtype: np.dtype[Any],
        source: str,
        notes: tuple[str, ...],
        facts: dict[str, Any],
    ) -> None:
        super().__init__(
            source=source, shape=(len(paths), *shape), dtype=dtype, notes=notes, **facts
        )
        self._paths = list(paths)
        self._facts = facts
        self._lock = threading.Lock()

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        out = np.empty((stop - start, *self.shape[1:]), self.dtype)
        with self._lock:
            for frame in range(start, stop):
                path = self._paths[frame]
                with opened(path) as tif:
                    page = tif.pages.first
                    if (page.shape, page.dtype) != (self.shape[1:], self.dtype):
                        raise _differs(path, frame, page, self.shape[1:], self.dtype)
                    try:
                        out[frame - start] = decoded(page)
                    except (ValueError, OSError, RuntimeError) as error:
                        raise ReadError(decoding_error(error), path, frame) from error
        return out

    def clock_s(self, clock: ClockName) -> NDArray[np.float64]:
        """Times by modification time, by name, or by DateTime tag."""
        if clock == "mtime":
            return local_seconds(np.array([p.stat().st_mtime_ns for p in self._paths], np.int64))
        return name_times(self._paths) if clock == "name" else tag_times(self._paths)


def local_seconds(mtimes_ns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Local clock in seconds since 1970; the first frame's offset from UTC holds for all.

    So a recording through the end of summer time keeps increasing times.
    """
    offset = time.localtime(int(mtimes_ns[0]) // 1_000_000_000).tm_gmtoff
    return mtimes_ns / 1e9 + offset


def name_times(paths: Sequence[Path]) -> NDArray[np.float64]:
    """Times of names that begin with ``YYYYMMDD_HHMMSS``."""
    times = np.empty(len(paths))
    for i, path in enumerate(paths):
        match = _NAME_TIME.match(path.name)
        try:
            if match is None:
                raise ValueError
            time = datetime.strptime("".join(match.groups()), "%Y%m%d%H%M%S")
        except ValueError:
            raise ReadError("has no name that begins with YYYYMMDD_HHMMSS", path, i) from None
        times[i] = clock_seconds(time)
    return times


def tag_times(paths: Sequence[Path]) -> NDArray[np.float64]:
    """Times of the DateTime tags."""
    times = np.empty(len(paths))
    for i, path in enumerate(paths):
        with opened(path) as tif:
            time = tif.pages.first.datetime
        if time is None:
            raise ReadError("has no DateTime tag to take its time from", path, i)
        times[i] = clock_seconds(time)
    return times


def _expected_header(
    tif: tifffile.TiffFile, page: tifffile.TiffPage
) -> list[tuple[int, bytes, bytes]]:
    """What a file must hold, and where, for its pixels to lie as in this one."""
    file = tif.filehandle

    def part(offset: int, length: int, mask: bytes | None = None) -> tuple[int, bytes, bytes]:
        file.seek(offset)
        return offset, file.read(length), mask or b"\xff" * length

    mask = directory_mask(tif, page)
    parts = [part(0, 16 if tif.is_bigtiff else 8), part(page.offset, mask.size, mask.tobytes())]
    for code in (273, 279):  # strip offsets and byte counts that lie outside of the directory
        tag = page.tags.get(code)
        if tag is not None and tag.valuebytecount > tif.tiff.offsetsize:
            parts.append(part(tag.valueoffset, tag.valuebytecount))
    return parts


def _own_offset(path: Path, frame: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """Offset of the pixels of a file whose header differs from the first file's."""
    with _at_frame(path, frame), opened(path) as tif:
        page = tif.pages.first
        frame_facts(path, page)
        found = np.dtype(tif.byteorder + page.dtype.char)
        if (page.shape, found) != (shape, dtype) or not page.is_contiguous:
            raise _differs(path, frame, page, shape, dtype)
        if len(tif.pages) != 1:
            raise ReadError(f"holds {len(tif.pages)} frames, but the first file one", path, frame)
        return int(page.dataoffsets[0])


class _at_frame:
    """Adds the frame to a ReadError that does not name it."""

    def __init__(self, path: Path, frame: int) -> None:
        self._path, self._frame = path, frame

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, ReadError) and error.frame is None:
            message = str(error).removeprefix(f"{error.path}: ")
            raise ReadError(message, self._path, self._frame) from error


def _differs(
    path: Path, frame: int, page: Any, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> ReadError:
    packed = "" if page.is_contiguous else ", compressed"
    return ReadError(
        f"is {page.shape[0]} x {page.shape[1]} {page.dtype}{packed}, but the first file is "
        f"{shape[0]} x {shape[1]} {dtype.newbyteorder('=')}",
        path,
        frame,
    )
