"""TIFF files of every kind: where their frames lie, or how they are decoded."""

from __future__ import annotations

import calendar
import logging
import math
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from .. import _core
from ..errors import ReadError
from .pixels import PixelRecording, Run, check_pixels
from .recording import ClockName, Recording
from .truncation import whole_frames

#: Tags that say where pixels lie and what they mean; all others may differ between frames.
LAYOUT_TAGS = frozenset(
    {256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 322, 323, 324, 325, 339}
)
_STRIP_OFFSETS = 273
_OFFSET_TYPES = {3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
_CHUNK = 1 << 16
_DAMAGE = (tifffile.TiffFileError, struct.error, OSError, ValueError, KeyError, IndexError)
_MM = {"mm": 1.0, "millimeter": 1.0, "cm": 10.0, "centimeter": 10.0, "inch": 25.4, "m": 1000.0}
_MM |= dict.fromkeys(("µm", "μm", "um", "micron", "microns", "micrometer", "\\u00B5m"), 1e-3)
_MM |= {"nm": 1e-6}
_SECONDS = {"s": 1.0, "sec": 1.0, "ms": 1e-3, "µs": 1e-6, "us": 1e-6, "min": 60.0}


def open_tiff(path: Path, allow_truncated: bool = False) -> Recording:
    """Open one TIFF file; see `open_recording`."""
    with opened(path) as tif:
        page = tif.pages.first
        facts = frame_facts(path, page)
        facts["metadata"] = {"format": _format(tif)}
        facts |= _calibration(tif)
        if page.is_contiguous:
            runs, notes = _find_runs(path, tif, allow_truncated)
            shape = (sum(run.frames for run in runs), *page.shape)
            return TiffRecording(
                runs, shape, np.dtype(tif.byteorder + page.dtype.char), path, notes=notes, **facts
            )
        pages, notes = _decodable_pages(path, tif, allow_truncated)
    return DecodedTiff(path, pages, page.shape, page.dtype, notes, facts)


def is_single_frame(path: Path) -> bool:
    """Tell whether a TIFF file holds exactly one frame."""
    with opened(path) as tif:
        return _next_ifd(tif, tif.pages.first) == 0 and _promised_frames(tif) <= 1


@contextmanager
def opened(path: Path) -> Iterator[tifffile.TiffFile]:
    """Open a TIFF file; damage becomes ReadError, and tifffile's log stays silent."""
    logger = logging.getLogger("tifffile")
    logger.addFilter(_silent)
    try:
        with tifffile.TiffFile(path) as tif:
            if len(tif.pages) == 0:
                raise ReadError("holds no image", path)
            yield tif
    except ReadError:
        raise
    except _DAMAGE as error:
        raise ReadError(f"is damaged or no TIFF file: {error}", path) from error
    finally:
        logger.removeFilter(_silent)


def _silent(_record: logging.LogRecord) -> bool:
    return False


def frame_facts(path: Path, page: tifffile.TiffPage) -> dict[str, Any]:
    """Check that a page is a grey image that can be binned; tell its time."""
    if page.samplesperpixel != 1 or page.photometric in (2, 3, 5, 6):
        raise ReadError(
            "holds colour images (RGB or palette), not grey frames; give the camera's own file",
            path,
        )
    if len(page.shape) != 2 or page.dtype is None:
        raise ReadError(f"holds pages of shape {page.shape}, not (Y, X)", path)
    check_pixels(page.dtype, lambda text: ReadError(text, path))
    time = page.datetime
    return {"start_s": None if time is None else clock_seconds(time)}


def clock_seconds(time: datetime) -> float:
    """Seconds since 1970-01-01 of the clock that the time was read from."""
    return calendar.timegm(time.timetuple()) + time.microsecond * 1e-6


class TiffRecording(PixelRecording):
    """Uncompressed frames of one TIFF file."""

    def clock_s(self, clock: ClockName) -> NDArray[np.float64]:
        """Times by the DateTime tag of every page."""
        if clock == "datetime":
            return _page_times(Path(self.source), len(self))
        return super().clock_s(clock)


class DecodedTiff(Recording):
    """Compressed, tiled or otherwise packed frames, decoded by tifffile; safe between threads."""

    def __init__(
        self,
        path: Path,
        pages: int,
        shape: tuple[int, int],
        dtype: np.dtype[Any],
        notes: tuple[str, ...],
        facts: dict[str, Any],
    ) -> None:
        super().__init__(
            source=str(path), shape=(pages, *shape), dtype=dtype, notes=notes, **facts
        )
        self._path = path
        self._lock = threading.Lock()
        self._tif: tifffile.TiffFile | None = tifffile.TiffFile(path)

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        out = np.empty((stop - start, *self.shape[1:]), self.dtype)
        with self._lock:
            if self._tif is None:
                raise ReadError("was closed", self._path)
            for frame in range(start, stop):
                try:
                    out[frame - start] = decoded(self._tif.pages[frame])
                except _DAMAGE as error:
                    raise ReadError(decoding_error(error), self._path, frame) from error
        return out

    def clock_s(self, clock: ClockName) -> NDArray[np.float64]:
        """Times by the DateTime tag of every page."""
        if clock == "datetime":
            return _page_times(self._path, len(self))
        return super().clock_s(clock)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._tif is not None:
                self._tif.close()
                self._tif = None


def decoded(page: Any) -> NDArray[Any]:
    """Return the pixels of a page, (Y, X)."""
    return np.asarray(page.asarray())


def decoding_error(error: Exception) -> str:
    """Say why a page was not decoded, and what to do about it."""
    if "imagecodecs" in str(error):
        return f"{error}; install it with: pip install 'iosfast[compressed]'"
    return f"cannot be decoded: {error}"


def _format(tif: tifffile.TiffFile) -> str:
    kind = "ImageJ TIFF" if tif.is_imagej else "OME-TIFF" if tif.is_ome else "TIFF"
    return f"{kind} (BigTIFF)" if tif.is_bigtiff else kind


def _page_times(path: Path, frames: int) -> NDArray[np.float64]:
    times = np.empty(frames)
    with opened(path) as tif:
        for i in range(frames):
            time = tif.pages[i].aspage().datetime
            if time is None:
                raise ReadError("has no DateTime tag to take its time from", path, i)
            times[i] = clock_seconds(time)
    return times


def _promised_frames(tif: tifffile.TiffFile) -> int:
    """Frames that the first page's description promises; 1 if it says nothing."""
    if tif.is_imagej:
        images = (tif.imagej_metadata or {}).get("images", 1)
        return images if isinstance(images, int) and images > 0 else 1
    if tif.is_shaped:
        shape = (tif.shaped_metadata or ({},))[0].get("shape", ())
        page = tif.pages.first.shape
        if tuple(shape[-len(page) :]) == page:
            return math.prod(shape[: -len(page)])
    return 1


def _check_axes(path: Path, tif: tifffile.TiffFile) -> None:
    """Refuse stacks whose pages are several channels or slices at each time."""
    if not (tif.is_imagej or tif.is_ome):
        return
    series = tif.series[0]
    sizes = dict(zip(series.axes, series.shape, strict=True))
    many = {a: n for a, n in sizes.items() if a not in "YX" and n > 1}
    if len(many) > 1:
        what = ", ".join(f"{n} {a}" for a, n in many.items())
        raise ReadError(
            f"holds a hyperstack ({what}), not one sequence of frames; split it first", path
        )


def _find_runs(
    path: Path, tif: tifffile.TiffFile, allow_truncated: bool
) -> tuple[list[Run], tuple[str, ...]]:
    """Find where the frames of an uncompressed file lie."""
    page = tif.pages.first
    size = os.path.getsize(path)
    frame_bytes = math.prod(page.shape) * page.dtype.itemsize
    offset = page.dataoffsets[0]
    following = _next_ifd(tif, page)
    promised: int | None = _promised_frames(tif)
    cut = following >= size
    if cut and promised == 1:
        # Writers of whole stacks put all further directories behind the last frame.
        frames, rest = divmod(following - offset, frame_bytes)
        promised = frames if rest < 64 and frames > 1 else None
    if promised is not None and promised > 1 and (following == 0 or cut):
        return _within(path, size, frame_bytes, [Run(str(path), offset, frame_bytes, promised)],
                       promised, allow_truncated)
    _check_axes(path, tif)
    found = _strided_runs(path, tif, size) or _listed_runs(path, tif, size)
    runs, is_cut = found
    count = sum(run.frames for run in runs)
    one_block = len(runs) == 1 and runs[0].stride == frame_bytes
    if is_cut and promised is not None and promised > count and one_block:
        runs = [runs[0]._replace(frames=promised)]
        is_cut = False
        count = promised
    return _within(path, size, frame_bytes, runs, None if is_cut else count, allow_truncated)


def _within(
    path: Path,
    size: int,
    frame_bytes: int,
    runs: list[Run],
    promised: int | None,
    allow_truncated: bool,
) -> tuple[list[Run], tuple[str, ...]]:
    """Cut runs to what the file holds."""
    kept: list[Run] = []
    for run in runs:
        room = size - run.offset - frame_bytes if run.path == str(path) else 0
        if run.path != str(path):
            kept.append(run)
            continue
        whole = 0 if room < 0 else min(run.frames, room // max(run.stride, 1) + 1)
        if whole:
            kept.append(run._replace(frames=whole))
        if whole < run.frames:
            break
    count = sum(run.frames for run in kept)
    if promised is not None and count == promised:
        return kept, ()
    return kept, whole_frames(path, count, promised, allow_truncated)


def _next_ifd(tif: tifffile.TiffFile, page: Any) -> int:
    """Offset of the directory after this page's; 0 after the last."""
    form, file = tif.tiff, tif.filehandle
    file.seek(page.offset)
    (tags,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
    file.seek(page.offset + form.tagnosize + tags * form.tagsize)
    (following,) = struct.unpack(form.offsetformat, file.read(form.offsetsize))
    return int(following)


def directory_mask(tif: tifffile.TiffFile, page: tifffile.TiffPage) -> NDArray[np.uint8]:
    """Bytes of a page's directory that decide where its pixels lie: 255 there, else 0."""
    form = tif.tiff
    mask = np.zeros(form.tagnosize + len(page.tags) * form.tagsize + form.offsetsize, np.uint8)
    mask[: form.tagnosize] = 255
    for tag in page.tags:
        at = tag.offset - page.offset
        # Which tag stands here must agree for all of them; the rest only for those of the layout.
        mask[at : at + (form.tagsize if tag.code in LAYOUT_TAGS else 2)] = 255
    mask[-form.offsetsize :] = 255
    return mask


def _strided_runs(
    path: Path, tif: tifffile.TiffFile, size: int
) -> tuple[list[Run], bool] | None:
    """Runs of a file whose directories and frames both lie at a constant stride, or None.

    All directories are read and compared with the second page's, in bulk. The flag tells that
    the chain of directories leads out of the file.
    """
    first = tif.pages.first
    at = _next_ifd(tif, first)
    if at == 0:
        return [Run(str(path), first.dataoffsets[0], 0, 1)], False
    if len(first.dataoffsets) != 1 or tif.is_ome or at >= size:
        return None
    second = tif.pages[1].aspage()
    after = _next_ifd(tif, second)
    if not _alike(first, second) or len(second.dataoffsets) != 1:
        return None
    if after == 0 or after >= size:
        return _two_runs(path, first, second.dataoffsets[0], 0, 2), after != 0
    third = tif.pages[2].aspage()
    step, stride = after - at, third.dataoffsets[0] - second.dataoffsets[0]
    tag = second.tags.get(_STRIP_OFFSETS)
    if step <= 0 or stride <= 0 or tag is None or tag.dtype not in _OFFSET_TYPES:
        return None

    order, form = tif.byteorder, tif.tiff
    mask = directory_mask(tif, second)
    value = tag.offset - second.offset + form.tagsize - form.offsetsize
    kind = np.dtype(order + _OFFSET_TYPES[tag.dtype])
    mask[value : value + form.offsetsize] = 0
    mask[-form.offsetsize :] = 0
    pointer = np.dtype(order + ("u8" if form.offsetsize == 8 else "u4"))
    template: NDArray[np.uint8] | None = None
    done = 0  # directories seen, from the second page on
    while True:
        records = _core.read_records(str(path), at + done * step, step, _CHUNK, mask.size)
        if template is None:
            template = records[0] & mask
        number = done + np.arange(len(records), dtype=np.int64)
        offsets = _field(records, value, kind)
        followers = _field(records, mask.size - form.offsetsize, pointer)
        same = ((records & mask) == template).all(axis=1)
        same &= offsets == second.dataoffsets[0] + number * stride
        chained = followers == at + (number + 1) * step
        end = np.flatnonzero(~(same & chained))
        if end.size:
            last = int(end[0])
            if not same[last] or followers[last] != 0:
                return None
            count = 2 + done + last
            return _two_runs(path, first, second.dataoffsets[0], stride, count), False
        done += len(records)
        if len(records) < _CHUNK:  # the chain leads out of the file
            return _two_runs(path, first, second.dataoffsets[0], stride, 1 + done), True


def _field(records: NDArray[np.uint8], at: int, kind: np.dtype[Any]) -> NDArray[np.int64]:
    raw = np.ascontiguousarray(records[:, at : at + kind.itemsize])
    return raw.view(kind)[:, 0].astype(np.int64)


def _two_runs(
    path: Path, first: tifffile.TiffPage, second_offset: int, stride: int, count: int
) -> list[Run]:
    """Runs of the first page and of all others, or one run if the stride holds throughout."""
    start = first.dataoffsets[0]
    if count == 2:
        stride = second_offset - start
    if start + stride == second_offset and stride > 0:
        return [Run(str(path), start, stride, count)]
    return [Run(str(path), start, 0, 1), Run(str(path), second_offset, stride, count - 1)]


def _alike(first: tifffile.TiffPage, other: tifffile.TiffPage) -> bool:
    return bool(
        other.is_contiguous
        and (other.shape, other.dtype, other.photometric)
        == (first.shape, first.dtype, first.photometric)
    )


def _pages_of(path: Path, tif: tifffile.TiffFile) -> Iterator[tuple[int, Any]]:
    """All pages in order of frames, also those that an OME-TIFF keeps in other files."""
    series = tif.series[0] if tif.is_ome else None
    if series is None or len(series.pages) <= len(tif.pages):
        for frame in range(len(tif.pages)):
            yield frame, tif.pages[frame].aspage()
        return
    for frame, page in enumerate(series.pages):
        if page is None:
            raise ReadError("is missing: the OME-TIFF file that holds it is not there", path, frame)
        yield frame, page.aspage()


def _listed_runs(path: Path, tif: tifffile.TiffFile, size: int) -> tuple[list[Run], bool]:
    """Runs from the parsed directory of every page."""
    first = tif.pages.first
    runs: list[Run] = []
    last: Any = first
    for frame, page in _pages_of(path, tif):
        if not _alike(first, page):
            what = f"{page.shape} {page.dtype}" + ("" if page.is_contiguous else ", packed")
            raise ReadError(
                f"is {what}, but the first frame is {first.shape} {first.dtype}", path, frame
            )
        where = str(Path(page.parent.filehandle.path))
        offset = page.dataoffsets[0]
        if where != str(path) and offset + page.nbytes > os.path.getsize(where):
            raise ReadError("the file is cut", where, frame)
        run = runs[-1] if runs else None
        if run and run.path == where and run.frames == 1 and offset > run.offset:
            runs[-1] = run._replace(stride=offset - run.offset, frames=2)
        elif run and run.path == where and offset == run.offset + run.stride * run.frames:
            runs[-1] = run._replace(frames=run.frames + 1)
        else:
            runs.append(Run(where, offset, 0, 1))
        last = page
    return runs, last.parent is tif and _next_ifd(tif, last) != 0


def _decodable_pages(
    path: Path, tif: tifffile.TiffFile, allow_truncated: bool
) -> tuple[int, tuple[str, ...]]:
    """Count pages that are wholly in the file and like the first."""
    _check_axes(path, tif)
    first = tif.pages.first
    size = os.path.getsize(path)
    pages = len(tif.pages)
    if tif.is_ome and len(tif.series[0].pages) > pages:
        raise ReadError("is a compressed OME-TIFF in several files; give them as a list", path)
    whole = 0
    page: Any = first
    for frame in range(pages):
        page = tif.pages[frame].aspage()
        if (page.shape, page.dtype) != (first.shape, first.dtype):
            raise ReadError(
                f"is {page.shape} {page.dtype}, but the first frame is {first.shape} "
                f"{first.dtype}",
                path,
                frame,
            )
        ends = (a + n for a, n in zip(page.dataoffsets, page.databytecounts, strict=True))
        if max(ends, default=0) > size:
            break
        whole = frame + 1
    if whole == pages and _next_ifd(tif, page) == 0:
        return whole, ()
    promised = _promised_frames(tif)
    return whole, whole_frames(path, whole, promised if promised > whole else None, allow_truncated)


def _calibration(tif: tifffile.TiffFile) -> dict[str, Any]:
    """Frame rate and pixel size, where the file tells them."""
    facts: dict[str, Any] = {"frame_rate_hz": None, "pixel_size_mm": None}
    if tif.is_imagej:
        said = tif.imagej_metadata or {}
        interval = said.get("finterval")
        scale = _SECONDS.get(str(said.get("tunit", "s")))
        if isinstance(interval, int | float) and interval > 0 and scale:
            facts["frame_rate_hz"] = _plain(1 / (interval * scale))
        unit = _MM.get(str(said.get("unit", "")))
        if unit:
            facts["pixel_size_mm"] = _square(_resolution(tif, 282), _resolution(tif, 283), unit)
    elif tif.is_ome:
        pixels = _ome_pixels(tif.ome_metadata or "")
        try:
            step = float(pixels.get("TimeIncrement", "0"))
            scale = _SECONDS.get(pixels.get("TimeIncrementUnit", "s"))
            if step > 0 and scale:
                facts["frame_rate_hz"] = _plain(1 / (step * scale))
            sizes = [float(pixels.get(f"PhysicalSize{a}", "0")) for a in "XY"]
            units = {pixels.get(f"PhysicalSize{a}Unit", "µm") for a in "XY"}
        except ValueError:
            return facts
        unit = _MM.get(units.pop()) if len(units) == 1 else None
        if unit:
            facts["pixel_size_mm"] = _square(*sizes, unit)
    return facts


def _plain(value: float) -> float:
    """Return the value without the rounding of an inverse: 59.9999999988 is 60."""
    near = float(f"{value:.6g}")
    return near if abs(near - value) < 1e-7 * value else value


def _resolution(tif: tifffile.TiffFile, code: int) -> float:
    tag = tif.pages.first.tags.get(code)
    if tag is None or not isinstance(tag.value, tuple) or not tag.value[0]:
        return 0.0
    return float(tag.value[1] / tag.value[0])


def _square(x: float, y: float, unit: float) -> float | None:
    """Side of a square pixel in mm; None if unknown, or if pixels are not square."""
    if not (x > 0 and y > 0) or abs(x - y) > 1e-3 * x:
        return None
    return _plain(x * unit)


def _ome_pixels(xml: str) -> dict[str, str]:
    from xml.etree import ElementTree

    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return {}
    for element in root.iter():
        if element.tag.rpartition("}")[2] == "Pixels":
            return dict(element.attrib)
    return {}
