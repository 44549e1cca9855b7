"""The text header of Andor's .sif and .sifx files, read by sif_parser through a bounded view."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import ReadError
from .clocks import clock_seconds
from .tiff_parsing import is_stream

MAGIC = b"Andor Technology Multi-Channel File"

#: Headers hold two time stamps per frame; this is room for a few million frames.
HEADER_BYTES = 64 << 20

_LINE_BYTES = 1 << 16
_TAIL_BYTES = 1 << 16
_MAX_SIDE = 1 << 16

#: The version from which on a flag behind the time stamps says whether clock ticks follow.
_WITH_TICKS = 65567

#: Facts of sif_parser, and their names here.
_FACTS = {
    "DetectorType": "camera",
    "SifVersion": "sif_version",
    "DetectorTemperature": "temperature_c",
    "ExposureTime": "exposure_s",
    "StackCycleTime": "kinetic_cycle_s",
    "AccumulatedCycles": "accumulations",
    "AccumulatedCycleTime": "accumulate_cycle_s",
    "PixelReadoutTime": "pixel_readout_s",
    "GainDAC": "gain",
    "DataType": "data_type",
    "OriginalFilename": "original_name",
}


@dataclass(frozen=True)
class SifHeader:
    """What a .sif or .sifx file says of its frames.

    Attributes
    ----------
    frames : int
        That it promises; the file may be cut.
    shape : tuple of int
        (Y, X).
    offset : int
        Where the pixels begin in a .sif file, in bytes.
    size : int
        Of the file, in bytes.
    frame_rate_hz : float or None
        By the kinetic cycle time; None where it contradicts the accumulations.
    start_s : float or None
        As for `Recording`.
    times_s : ndarray of float64, shape (T,), or None
        Time stamps in seconds, if they are real: each is later than the one before. The camera's
        clock starts anywhere.
    ticks : ndarray of int64, shape (T,), or None
        The camera's own clock, in units that only `times_s` knows.
    facts : mapping
        JSON-serialisable.
    remarks : tuple of str
        What a person should know.
    """

    frames: int
    shape: tuple[int, int]
    offset: int
    size: int
    frame_rate_hz: float | None
    start_s: float | None
    times_s: NDArray[np.float64] | None
    ticks: NDArray[np.int64] | None
    facts: Mapping[str, Any]
    remarks: tuple[str, ...]


def read_header(path: Path, *, pixels: bool = True) -> SifHeader:
    """Read the header of a .sif file, or of a .sifx file, which has no pixels.

    Raises
    ------
    ImportError
        If sif_parser is missing.
    ReadError
        If it cannot be read or is damaged.
    """
    parser = _sif_parser()
    try:
        if is_stream(os.stat(path).st_mode):
            raise ReadError("is no file, but a pipe or device", path)
        with path.open("rb") as file:
            return _parse(parser, file, path, pixels)
    except OSError as error:
        raise ReadError(f"cannot be read: {error.strerror}", path) from None


def _sif_parser() -> ModuleType:
    try:
        # The public functions read the pixels, too, at once or mapped.
        from sif_parser import _sif_open
    except ImportError:
        raise ImportError(
            "reading Andor files needs sif_parser; install it with: pip install 'iosfast[andor]'"
        ) from None
    module: ModuleType = _sif_open
    return module


def _parse(parser: ModuleType, file: BinaryIO, path: Path, pixels: bool) -> SifHeader:
    magic = file.read(len(MAGIC))
    if magic and magic != MAGIC and MAGIC.startswith(magic):
        raise _cut(path)
    if magic != MAGIC:
        raise ReadError("is no Andor file, though its name says so", path)
    file.seek(0)
    view = _HeaderView(file)
    try:
        _, size, frames, info = parser._open(view)
        offset = int(info["offset"])
        stamps, ticks = _stamps(view, frames, info)
        region = _region(view)
    except Exception as error:  # the parser fails in any way on bytes that it does not expect
        if view.at_end:
            raise _cut(path) from None
        raise ReadError(
            f"has a header that is damaged, or of an unknown version: {str(error)[:80]!r}", path
        ) from error
    width, height = size
    if frames < 1 or not (1 <= width <= _MAX_SIDE and 1 <= height <= _MAX_SIDE):
        raise ReadError(f"tells of {frames:,} frames of {height} x {width} pixels", path)
    length, total = info["ImageLength"], info["TotalLength"]
    if length != width * height or total != length * frames:
        raise ReadError(
            f"contradicts itself: {frames:,} frames of {height} x {width} pixels, but "
            f"{length:,} pixels a frame and {total:,} in all",
            path,
        )
    behind = offset + frames * width * height * 4 if pixels else offset
    tail = _tail(file, behind)
    facts = _facts(info)
    facts["region"], facts["binning"] = region, [int(info["ybin"]), int(info["xbin"])]
    rate, remark = _frame_rate(info)
    times_s = _times(stamps, ticks, tail)
    remarks = [remark] if remark else []
    if times_s is None and frames > 1 and np.any(stamps):
        remarks.append("its time stamps do not increase from frame to frame, and are not used")
    return SifHeader(
        frames,
        (height, width),
        offset,
        os.fstat(file.fileno()).st_size,
        rate,
        _start(info, tail),
        times_s,
        ticks,
        facts,
        tuple(remarks),
    )


def _cut(path: Path) -> ReadError:
    return ReadError("is cut within its header; nothing of it can be read", path, 0)


class _HeaderView:
    """A file of which only the header is read, however far the parser tries to go.

    The parser never checks for the end of a file, and asks for lines where pixels are.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.at_end = False
        self.marks: list[int] = []

    def read(self, count: int) -> bytes:
        if not 0 <= count <= HEADER_BYTES - self.file.tell():
            raise ValueError(f"{count:,} bytes of text in the header")
        return self._checked(self.file.read(count), count)

    def readline(self) -> bytes:
        line = self._checked(self.file.readline(_LINE_BYTES), 1)
        if len(line) == _LINE_BYTES or self.file.tell() > HEADER_BYTES:
            raise ValueError("the header has no end")
        return line

    def tell(self) -> int:
        return self.file.tell()

    def seek(self, offset: int) -> int:
        self.marks.append(offset)
        return self.file.seek(offset)

    def _checked(self, found: bytes, count: int) -> bytes:
        if len(found) < count:
            self.at_end = True
            raise EOFError("the file ends")
        return found


def _stamps(
    view: _HeaderView, frames: int, info: Mapping[str, Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    """Return time stamps (us) and ticks; checks that no pixels were taken for them.

    Both are numbers in lines of text, with a flag between them.
    """
    begin, end = view.marks[0], int(info["offset"])
    view.file.seek(begin)
    *lines, rest = view.file.read(end - begin).split(b"\n")
    if re.match(rb" +[0-9]+\n", view.file.read(32)):
        raise ValueError("more time stamps than frames")
    numbers = np.array([_number(line) for line in lines], np.int64)
    stamps, flag, ticks = numbers[:frames], numbers[frames : frames + 1], numbers[frames + 1 :]
    if rest or stamps.size != frames or ticks.size not in (0, frames):
        raise ValueError(f"{numbers.size:,} time stamps for {frames:,} frames")
    if flag.size and lines[frames] != (b"1" if ticks.size else b"0"):
        raise ValueError(f"{ticks.size:,} clock ticks for {frames:,} frames")
    if not flag.size and info["SifVersion"] >= _WITH_TICKS:
        raise ValueError("no flag behind the time stamps")
    for part in (lines[1:frames], lines[frames + 1 :]):  # the first line is without its spaces
        if len({len(line) for line in part}) > 1 and any(line.startswith(b" ") for line in part):
            raise ValueError("a line break within the time stamps")
    return stamps, ticks if ticks.size else None


def _number(line: bytes) -> int:
    if not re.fullmatch(rb" *-?\d{1,18} *\r?", line):
        raise ValueError(f"{line[:40]!r} in place of a time stamp")
    return int(line)


def _region(view: _HeaderView) -> dict[str, int]:
    """Return the part of the chip that was read, in its own pixels, counted from 1."""
    begin = view.marks[0]
    view.file.seek(max(0, begin - 1024))
    line = view.file.read(min(begin, 1024)).rstrip().rsplit(b"\n", 1)[-1].split()
    if len(line) < 8:
        raise ValueError("the line on the region is not whole")
    left, top, right, bottom = (int(number) for number in line[1:5])
    return {"left": left, "right": right, "bottom": bottom, "top": top}


def _tail(file: BinaryIO, behind: int) -> bytes:
    """Return the bytes behind the pixels, where newer files have a description in XML."""
    if behind >= os.fstat(file.fileno()).st_size:
        return b""
    file.seek(behind)
    return file.read(_TAIL_BYTES)


def _facts(info: Mapping[str, Any]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for theirs, ours in _FACTS.items():
        value = info[theirs]
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace").strip("\0 \r\n")
        if isinstance(value, float) and not math.isfinite(value):
            continue
        facts[ours] = value
    return facts


def _frame_rate(info: Mapping[str, Any]) -> tuple[float | None, str]:
    """Return the frame rate, and what is wrong with it."""
    cycle = info["StackCycleTime"]
    least = info["AccumulatedCycles"] * info["AccumulatedCycleTime"]
    if not (math.isfinite(cycle) and 1e-7 < cycle < 1e7):
        return None, ""
    if math.isfinite(least) and cycle < 0.99 * least:
        return None, (
            f"its kinetic cycle of {cycle:g} s is shorter than the {info['AccumulatedCycles']} "
            f"exposures of {info['AccumulatedCycleTime']:g} s in one frame, so it tells no frame "
            "rate"
        )
    return 1 / cycle, ""


def _start(info: Mapping[str, Any], tail: bytes) -> float | None:
    seconds = info["ExperimentTime"]
    if not 0 < seconds < 1 << 33:
        return None
    try:
        start = clock_seconds(datetime.fromtimestamp(seconds))
    except (ValueError, OverflowError, OSError):  # beyond what the system's calendar knows
        return None
    return start + (_xml_number(tail, b"mSec", 999) or 0) / 1000


def _times(
    stamps: NDArray[np.int64], ticks: NDArray[np.int64] | None, tail: bytes
) -> NDArray[np.float64] | None:
    interval_ns = _xml_number(tail, b"TickInterval", 1_000_000)
    if ticks is not None and interval_ns and _increase(ticks):
        return np.asarray(ticks * (interval_ns * 1e-9), np.float64)
    # Microseconds are counted in 32 bits, which are full after 71.6 minutes.
    turns = np.cumsum(np.diff(stamps, prepend=stamps[:1]) < -(1 << 31))
    unwrapped = stamps + (turns << 32)
    return unwrapped * 1e-6 if _increase(unwrapped) else None


def _increase(numbers: NDArray[np.int64]) -> bool:
    return numbers.size > 1 and bool((np.diff(numbers) > 0).all())


def _xml_number(tail: bytes, name: bytes, most: int) -> int | None:
    found = re.search(rb"<%b>(\d{1,9})</%b>" % (name, name), tail)
    return int(found[1]) if found and int(found[1]) <= most else None
