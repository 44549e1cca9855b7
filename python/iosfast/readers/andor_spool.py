"""Spool folders of Andor's sCMOS cameras: many ``*spool.dat`` files and what describes them."""

from __future__ import annotations

import configparser
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..errors import ReadError, warn
from .andor_header import SifHeader, read_header
from .andor_packed import Mono12PackedFrames, packed_bytes
from .folder import TIFF_SUFFIXES
from .pixels import PixelRecording, Run
from .reader import Options
from .recording import Recording
from .tiff_parsing import is_stream
from .truncation import whole_frames

_INI = "acquisitionmetadata.ini"
_INI_BYTES = 1 << 16
_SPOOL = "spool.dat"
_SPOOL_NAME = re.compile(r"([0-9]{1,12})spool\.dat", re.IGNORECASE)

#: Pixels that take whole bytes, by the SDK's name; Mono12 has its 12 bits in 16.
_PLAIN: dict[str, np.dtype[Any]] = {
    "Mono12": np.dtype("<u2"),
    "Mono16": np.dtype("<u2"),
    "Mono32": np.dtype("<u4"),
}
_PACKED = "Mono12Packed"

#: Behind each frame the SDK writes the camera's clock: ticks, what it is (1), bytes before.
_TICK_BLOCK = struct.Struct("<qII")


def is_spool_folder(path: Path, _head: bytes = b"") -> bool:
    """Tell whether a folder holds spool files, or what describes them."""
    if not path.is_dir():
        return False
    try:
        if (path / _INI).exists():
            return True
        with os.scandir(path) as entries:
            for entry in entries:
                name = entry.name.lower()
                if name.endswith(TIFF_SUFFIXES):
                    return False
                if name.endswith(_SPOOL):
                    return True
    except OSError:
        return False
    return False


def _is_stream(entry: os.DirEntry[str]) -> bool:
    try:
        return is_stream(entry.stat().st_mode)
    except OSError:  # a link to nothing, which is told of when it is opened
        return False


def open_spool(folder: Path, options: Options) -> Recording:
    """Open a spool folder; the files stay closed until they are read."""
    listing = _Listing.of(folder)
    layout = _Layout.of(folder / _INI)
    header, notes = _header(listing, layout)
    promised = None if header is None else header.frames
    index = _index(listing, layout, promised, options.allow_truncated)
    notes += index.notes
    shape = (index.numbers.size, layout.height, layout.width)
    facts: dict[str, Any] = {}
    if header is not None:
        facts = {"frame_rate_hz": header.frame_rate_hz, "start_s": header.start_s}
        if header.times_s is not None and index.numbers[-1] < header.frames:
            doubt = _tick_doubt(index, layout, header.ticks)
            if doubt:
                notes += (doubt,)
            else:
                facts["times_s"] = (header.times_s - header.times_s[0])[index.numbers]
    metadata = {
        "format": "Andor spool",
        **({} if header is None else header.facts),
        "encoding": layout.encoding,
        "files": len({run.path for run in index.runs}),
    }
    facts |= {"source": str(folder), "metadata": metadata, "notes": notes}
    if layout.encoding == _PACKED:
        return Mono12PackedFrames(index.runs, shape, layout.stride, **facts)
    dtype = _PLAIN[layout.encoding]
    return PixelRecording(index.runs, shape, dtype, row_bytes=layout.stride, **facts)


@dataclass(frozen=True)
class _Layout:
    """How pixels lie in a spool file, by its ini file; sizes in bytes but for height and width.

    Attributes
    ----------
    stride : int
        From row to row.
    image : int
        From image to image.
    images : int
        In each file.
    """

    height: int
    width: int
    stride: int
    encoding: str
    image: int
    images: int

    @classmethod
    def of(cls, path: Path) -> Self:
        try:
            if is_stream(os.stat(path).st_mode):
                raise ReadError("is no file, but a pipe or device", path)
            with path.open("rb") as file:
                text = file.read(_INI_BYTES).decode("utf-8-sig")
            parser = configparser.ConfigParser(interpolation=None)
            parser.read_string(text)
        except FileNotFoundError:
            raise ReadError(
                "is missing, so nothing tells how the pixels lie in the spool files", path
            ) from None
        except OSError as error:
            raise ReadError(f"cannot be read: {error.strerror}", path) from None
        except (UnicodeDecodeError, configparser.Error) as error:
            reason = str(error).splitlines()[0]
            raise ReadError(f"is damaged: {reason}", path) from error

        def number(name: str, most: int, section: str = "data", default: str = "") -> int:
            said = parser.get(section, name, fallback=default)
            if re.fullmatch(r"[0-9]{1,18}", said) is None or not 1 <= int(said) <= most:
                raise ReadError(
                    f"tells {name}={said[:40]!r}, not a number from 1 to {most:,}", path
                )
            return int(said)

        encoding = parser.get("data", "PixelEncoding", fallback="")
        if encoding not in (*_PLAIN, _PACKED):
            known = ", ".join((*_PLAIN, _PACKED))
            raise ReadError(f"tells PixelEncoding={encoding[:40]!r}; known are {known}", path)
        layout = cls(
            number("AOIHeight", 1 << 16),
            number("AOIWidth", 1 << 16),
            number("AOIStride", 1 << 20),
            encoding,
            number("ImageSizeBytes", 1 << 32),
            number("ImagesPerFile", 1 << 20, "multiimage", "1"),
        )
        if layout.stride < layout.row or layout.image < layout.used:
            raise ReadError(
                f"contradicts itself: {layout.height} rows of {layout.width} {encoding} pixels do "
                f"not fit into AOIStride={layout.stride} and ImageSizeBytes={layout.image}",
                path,
            )
        return layout

    @property
    def row(self) -> int:
        """Bytes of pixels in a row."""
        if self.encoding == _PACKED:
            return packed_bytes(self.width)
        return self.width * _PLAIN[self.encoding].itemsize

    @property
    def used(self) -> int:
        """Bytes of an image up to its last pixel."""
        return self.stride * (self.height - 1) + self.row


@dataclass(frozen=True)
class _Listing:
    """The files of a spool folder.

    Attributes
    ----------
    numbers : ndarray of int64, shape (F,)
        Of the spool files, increasing.
    names : list of str
        Theirs.
    headers : list of str
        Names of .sifx files.
    """

    folder: Path
    numbers: NDArray[np.int64]
    names: list[str]
    headers: list[str]

    @classmethod
    def of(cls, folder: Path) -> Self:
        found: list[tuple[int, str]] = []
        headers = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = entry.name
                    if match := _SPOOL_NAME.fullmatch(name):
                        if not entry.is_file() and _is_stream(entry):
                            raise ReadError("is no file, but a pipe or device", entry.path)
                        # The last digit is the first in the name.
                        found.append((int(match[1][::-1]), name))
                    elif name.lower().endswith(_SPOOL) and not name.startswith("."):
                        raise ReadError(
                            "is named like a spool file, but without a number of up to 12 digits",
                            entry.path,
                        )
                    elif name.lower().endswith(".sifx") and not name.startswith("."):
                        headers.append(name)
        except OSError as error:
            raise ReadError(f"cannot be listed: {error.strerror}", folder) from error
        if not found:
            raise ReadError("holds no spool file (0000000000spool.dat and so on)", folder)
        found.sort()
        numbers = np.array([number for number, _ in found], np.int64)
        names = [name for _, name in found]
        twice = np.flatnonzero(np.diff(numbers) == 0)
        if twice.size:
            i = int(twice[0])
            raise ReadError(
                f"{names[i]} and {names[i + 1]} both have the number {numbers[i]}", folder
            )
        return cls(folder, numbers, names, sorted(headers))

    def name_of(self, number: int) -> str:
        """Return the name that a missing file would have."""
        digits = len(self.names[0]) - len(_SPOOL)
        return f"{number:0{digits}d}"[::-1] + _SPOOL


class _Index(NamedTuple):
    """Frames that can be used: where they lie, their numbers in the recording, and notes."""

    runs: list[Run]
    numbers: NDArray[np.int64]
    notes: tuple[str, ...]


def _header(listing: _Listing, layout: _Layout) -> tuple[SifHeader | None, tuple[str, ...]]:
    """Read the one .sifx file, from which facts and time stamps come."""
    folder = listing.folder
    if len(listing.headers) != 1:
        what = "no .sifx file" if not listing.headers else f"{len(listing.headers)} .sifx files"
        warn(
            note := f"{folder}: holds {what}, so the number of frames is not checked, and the "
            "frame rate and times are not known"
        )
        return None, (note,)
    header = read_header(folder / listing.headers[0], pixels=False)
    notes = tuple(f"{folder}: {remark}" for remark in header.remarks)
    if header.shape != (layout.height, layout.width):
        warn(
            note := f"{folder}: {listing.headers[0]} tells of frames of {header.shape[0]} x "
            f"{header.shape[1]}, but {_INI} of {layout.height} x {layout.width}, which is used"
        )
        notes += (note,)
    return header, notes


def _index(
    listing: _Listing, layout: _Layout, promised: int | None, allow_truncated: bool
) -> _Index:
    """Find the frames that are whole; raise or warn if some are not, or are missing."""
    folder, names, per_file = listing.folder, listing.names, layout.images
    files = _file_numbers(listing.numbers, per_file)
    paths = [os.path.join(folder, name) for name in names]
    try:
        sizes = _core.probe_files(paths, [])[0]
    except OSError as error:
        raise ReadError(f"its files cannot be read: {error.strerror or error}", folder) from error
    room = sizes - layout.used
    fit = np.where(room < 0, 0, np.minimum(room // layout.image + 1, per_file))
    large = np.flatnonzero(sizes >= (per_file + 1) * layout.image)
    if large.size:
        i = int(large[0])
        raise ReadError(
            f"has {sizes[i]:,} bytes, more than {per_file} images of {layout.image:,} bytes take "
            f"as {_INI} tells",
            paths[i],
        )
    last = int(files[-1])
    expected = np.full(files.size, per_file, np.int64)
    total = (last + 1) * per_file
    if promised is None:
        if per_file > 1 and sizes[-1] % layout.image == 0:
            expected[-1] = fit[-1]
    elif total - per_file < promised < total:
        expected[-1] = promised - last * per_file
    fit = np.minimum(fit, expected)
    total = last * per_file + int(expected[-1])
    notes: tuple[str, ...] = ()
    if promised is not None and promised < total:
        warn(
            note := f"{folder}: {listing.headers[0]} tells of {promised:,} frames, but the files "
            f"hold {total:,}, which are used"
        )
        notes += (note,)
    elif promised is not None:
        total = promised
    notes += _check_whole(listing, layout, files, fit, expected, total, allow_truncated)
    runs = [
        Run(path, 0, layout.image if count > 1 else 0, count)
        for path, count in zip(paths, fit.tolist(), strict=True)
        if count
    ]
    if per_file == 1:
        numbers = files[fit > 0]
    else:
        firsts = zip((files * per_file).tolist(), fit.tolist(), strict=True)
        numbers = np.concatenate([np.arange(first, first + n) for first, n in firsts])
    return _Index(runs, numbers, notes)


def _file_numbers(numbers: NDArray[np.int64], per_file: int) -> NDArray[np.int64]:
    """Return the position of each file in the recording.

    Names count files, or the first frame of each file; both are taken.
    """
    by_frame = per_file > 1 and bool((numbers % per_file == 0).all()) and numbers[-1] >= per_file
    return numbers // per_file if by_frame else numbers


def _check_whole(
    listing: _Listing,
    layout: _Layout,
    files: NDArray[np.int64],
    fit: NDArray[np.int64],
    expected: NDArray[np.int64],
    total: int,
    allow_truncated: bool,
) -> tuple[str, ...]:
    """Raise or warn if frames are missing, at the end or before."""
    folder, per_file = listing.folder, layout.images
    whole = int(fit.sum())
    if whole == total:
        return ()
    gaps = np.flatnonzero(files != np.arange(files.size))
    short = np.flatnonzero(fit < expected)
    gap = int(gaps[0]) if gaps.size else files.size
    cut = int(short[0]) if short.size else files.size
    behind = 0 if cut >= gap else int(fit[cut + 1 :].sum())
    if gap == files.size and not behind:
        where = folder / listing.names[cut] if cut < files.size else folder
        if whole == 0 or not allow_truncated:
            return whole_frames(where, whole, total, allow_truncated)
        return whole_frames(folder, whole, total, allow_truncated)
    if gap <= cut:
        scale = per_file if files[-1] != listing.numbers[-1] else 1
        name = listing.name_of(gap * scale)
        what, frame = f"spool file number {gap * scale} ({name}) is missing", gap * per_file
        path = folder / name
    else:
        path, frame = folder / listing.names[cut], int(files[cut]) * per_file + int(fit[cut])
        what = "the file is cut"
    lost = f"{total - whole:,} of {total:,} frames are lost"
    if whole == 0:
        raise ReadError("all of its files are cut", folder, 0)
    if not allow_truncated:
        raise ReadError(f"{what}; {lost}. allow_truncated=True leaves them out", path, frame)
    note = f"{path}: {what}; {lost} and left out, so times by frame count are wrong from there on"
    warn(note)
    return (note,)


def _tick_doubt(index: _Index, layout: _Layout, ticks: NDArray[np.int64] | None) -> str:
    """Compare the camera's clock in the first and last frame with that of the .sifx file."""
    if ticks is None or layout.image - layout.used < _TICK_BLOCK.size:
        return ""
    runs = index.runs
    for run, image, number in (
        (runs[0], 0, index.numbers[0]),
        (runs[-1], runs[-1].frames - 1, index.numbers[-1]),
    ):
        begin = (image + 1) * layout.image - _TICK_BLOCK.size
        try:
            with open(run.path, "rb") as file:
                file.seek(begin)
                block = file.read(_TICK_BLOCK.size)
        except OSError as error:
            raise ReadError(f"cannot be read: {error.strerror}", run.path) from None
        if len(block) < _TICK_BLOCK.size:
            continue
        tick, kind, length = _TICK_BLOCK.unpack(block)
        if (kind, length) == (1, 12) and tick != ticks[number]:
            return (
                f"{run.path}: the camera's clock is at {tick:,}, but at {ticks[number]:,} by the "
                ".sifx file, so time stamps are not used"
            )
    return ""
