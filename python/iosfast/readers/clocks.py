"""Times of frames by the clocks that files carry."""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from ..errors import ReadError
from .tiff_parsing import opened

_NAME_TIME = re.compile(r"(\d{8})_(\d{6})(?!\d)")


def clock_seconds(moment: datetime) -> float:
    """Return seconds since 1970-01-01 of the clock that the time was read from."""
    return calendar.timegm(moment.timetuple()) + moment.microsecond * 1e-6


def page_seconds(page: tifffile.TiffPage) -> float | None:
    """Return the time of a page's DateTime tag, if it has one."""
    moment = page.datetime
    return None if moment is None else clock_seconds(moment)


def mtime_times(mtimes_ns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return modification times by the local clock, in seconds since 1970.

    The first frame's offset from UTC holds for all, so that the times of a recording through the
    end of summer time keep increasing.
    """
    offset = time.localtime(int(mtimes_ns[0]) // 1_000_000_000).tm_gmtoff
    return mtimes_ns / 1e9 + offset


def name_times(paths: Sequence[Path]) -> NDArray[np.float64]:
    """Return times of names that begin with ``YYYYMMDD_HHMMSS``."""
    times = np.empty(len(paths))
    for i, path in enumerate(paths):
        match = _NAME_TIME.match(path.name)
        try:
            if match is None:
                raise ValueError
            moment = datetime.strptime("".join(match.groups()), "%Y%m%d%H%M%S")
        except ValueError:
            raise ReadError("has no name that begins with YYYYMMDD_HHMMSS", path, i) from None
        times[i] = clock_seconds(moment)
    return times


def tag_times(paths: Sequence[Path]) -> NDArray[np.float64]:
    """Return times by the DateTime tags of single-frame files."""
    times = np.empty(len(paths))
    for i, path in enumerate(paths):
        with opened(path, i) as tif:
            times[i] = _tag_time(path, i, tif.pages.first)
    return times


def page_times(path: Path, frames: int) -> NDArray[np.float64]:
    """Return times by the DateTime tags of all pages of one file."""
    times = np.empty(frames)
    with opened(path) as tif:
        if len(tif.pages) < frames:
            raise ReadError("has no directory, hence no DateTime tag, for every frame", path)
        for i in range(frames):
            times[i] = _tag_time(path, i, tif.pages[i].aspage())
    return times


def _tag_time(path: Path, frame: int, page: tifffile.TiffPage) -> float:
    seconds = page_seconds(page)
    if seconds is None:
        raise ReadError("has no DateTime tag to take its time from", path, frame)
    return seconds
