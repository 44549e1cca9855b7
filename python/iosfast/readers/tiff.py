"""TIFF files of every kind: where their frames lie, or how they are decoded."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from ..errors import ReadError, warn
from .calibration import calibration
from .channel_labels import MOST_CHANNELS, repeated_names
from .clocks import page_seconds, page_times
from .decoded_tiff import DecodedTiff, PackedPages, find_packed
from .joined import JoinedRecording
from .micromanager import elapsed_s, page_facts, parts_of, pixel_size_mm
from .ome import OmeImage, metadata_file, read_ome
from .ome_set import ome_runs, set_files
from .pixels import PixelRecording, Run
from .recording import ClockName, Recording, Times
from .tiff_parsing import (
    begin_of,
    check_frame,
    directory_of,
    frame_shape,
    inverted_note,
    is_cut_early,
    is_plain,
    opened,
)
from .tiff_runs import Found, find_runs
from .truncation import whole_frames

_UIC2 = 33629  # of MetaMorph, which has one value per plane, and one directory for all

#: A gap between pixels and the next directory that is larger than this may hold frames.
_FRAME_LIKE_BYTES = 4096


def open_tiff(path: Path, allow_truncated: bool = False, *, own_pages: bool = False) -> Recording:
    """Open one TIFF file; see `open_recording`.

    Parameters
    ----------
    own_pages : bool
        Take an OME-TIFF file's own pages, not those of the set of files that it is one of.
    """
    if is_cut_early(path):
        raise ReadError("is cut before its first frame; nothing of it can be read", path, 0)
    size = os.path.getsize(path)
    with opened(path) as tif:
        first = tif.pages.first
        check_frame(path, first)
        ome = read_ome(tif.ome_metadata or "") if tif.is_ome else None
        if ome is None and not own_pages and (told := _metadata_path(path, tif)) is not None:
            return open_tiff(told, allow_truncated)
        if not own_pages and (parts := _joined_parts(path, tif, ome)):
            return _joined(parts, allow_truncated)
        said = _said_frames(path, tif, ome)
        facts = _facts(tif, ome)
        dtype = np.dtype(first.dtype).newbyteorder(tif.byteorder)
        packed = None
        ordered = ome is not None and not ome.in_order and not own_pages
        if ome is not None and ordered:
            runs, whole, total = ome_runs(path, tif, ome)
            state = _State(runs, whole, total)
        elif is_plain(first) and (found := find_runs(path, tif)).plain:
            state = _whole_runs(path, size, found, first, said)
        else:
            state, packed = _packed_state(path, size, tif, said)
        if not state.remark and directory_of(tif, first).values_end > size:
            state.remark = "the description of the recording is cut off"
        state.remark = state.remark or inverted_note(first)
        stamped = {path: state.whole} if not ordered or ome is None else set_files(path, ome)
        stamped = stamped if page_facts(first) else None
    notes = state.notes(path, allow_truncated)
    planes = state.whole if ome is None or own_pages else math.prod(ome.sizes.values())
    if planes != state.whole and not notes:
        notes = (
            f"{path}: its OME metadata tells of {planes:,} frames, but it holds "
            f"{state.whole:,}; these are used",
        )
        warn(notes[0])
    if lacking := state.whole % max(1, len(facts["channels"])):
        note = f"{path}: frames of an incomplete last time point are left out: {lacking}"
        if not notes:
            warn(note)
        notes = (*notes, note)
    state.keep(path, state.whole - lacking)
    shape = (state.whole, *frame_shape(first))

    def times() -> Times:
        if ome is not None and not own_pages and ome.times_s is not None:
            return ome.times_s[: state.whole] if state.whole <= ome.times_s.size else None
        return None if stamped is None else elapsed_s(_first_frames(stamped, state.whole))

    if state.runs:
        return TiffRecording(state.runs, shape, dtype, path, times_s=times, notes=notes, **facts)
    assert packed is not None
    return DecodedTiff(path, packed, shape, dtype, times_s=times, notes=notes, **facts)


def _metadata_path(path: Path, tif: tifffile.TiffFile) -> Path | None:
    """Return the file that holds the metadata of a set that this file is only a part of."""
    name = metadata_file(tif.ome_metadata or "") if tif.is_ome else None
    if name is None or Path(name).suffix.lower() not in (".tif", ".tiff"):
        return None
    other = path.with_name(Path(name).name)
    if not other.exists():
        raise ReadError(f"is missing; {path.name} has its metadata there", other)
    with opened(other) as tif:
        ome = read_ome(tif.ome_metadata or "") if tif.is_ome else None
    if ome is None or path.name.lower() not in {(part.file or "").lower() for part in ome.parts}:
        return None  # of another position, say, for which this file's own pages are right
    return other


def _first_frames(files: dict[Path, int], frames: int) -> dict[Path, int]:
    """Return the files that the first frames are in, and how many are in each."""
    kept: dict[Path, int] = {}
    for path, number in files.items():
        kept[path] = min(number, frames - sum(kept.values()))
    return {path: number for path, number in kept.items() if number}


def _joined_parts(path: Path, tif: tifffile.TiffFile, ome: OmeImage | None) -> dict[Path, int]:
    """Return files that are opened one after the other, and the frames of each, 0 if unknown."""
    files = None if ome is None or ome.in_order else set_files(path, ome)
    if files is not None and len(files) > 1 and not is_plain(tif.pages.first):
        return files
    parts = parts_of(path)
    told = {path.name.lower()}
    if ome is not None:
        told |= {part.file.lower() for part in ome.parts if part.file is not None}
    if len(parts) > 1 and any(part.name.lower() not in told for part in parts):
        return dict.fromkeys(parts, 0)
    return {}


def _joined(parts: dict[Path, int], allow_truncated: bool) -> JoinedRecording:
    """Open the files of one recording, each by its own directories."""
    recordings = []
    frame = 0
    for path, frames in parts.items():
        if not path.exists():
            raise ReadError("is missing", path, frame)
        recordings.append(open_tiff(path, allow_truncated, own_pages=True))
        if frames and len(recordings[-1]) < frames and not allow_truncated:
            raise ReadError(
                f"holds {len(recordings[-1]):,} frames, but its metadata tells of {frames:,}", path
            )
        frame += len(recordings[-1])
    return JoinedRecording(recordings)


def open_set(paths: Sequence[Path], allow_truncated: bool) -> Recording | None:
    """Open files that are parts of one recording by their metadata or names; None if they are not.

    Raises
    ------
    ReadError
        If one of its parts is not there, or is damaged.
    """
    if is_cut_early(paths[0]):
        return None
    told = {part.name.lower() for part in parts_of(paths[0])}
    if len(told) < 2 or any(path.name.lower() not in told for path in paths):
        with opened(paths[0]) as tif:
            ome = read_ome(tif.ome_metadata or "") if tif.is_ome else None
        told = set() if ome is None else {p.file.lower() for p in ome.parts if p.file is not None}
    if len(told) > 1 and all(path.name.lower() in told for path in paths):
        return open_tiff(paths[0], allow_truncated)
    return None


def _facts(tif: tifffile.TiffFile, ome: OmeImage | None) -> dict[str, Any]:
    """Return what a file tells of its frames."""
    told = page_facts(tif.pages.first)
    facts: dict[str, Any] = calibration(tif, ome)
    channels = _imagej_channels(tif) if ome is None else ome.channels
    if facts["pixel_size_mm"] is None:
        facts["pixel_size_mm"] = pixel_size_mm(told)
    if facts["frame_rate_hz"] is not None and channels:
        facts["frame_rate_hz"] *= len(channels)
    metadata: dict[str, Any] = {"format": _format(tif)}
    names = {"Camera": "camera", "Exposure-ms": "exposure_ms", "Binning": "binning"}
    metadata |= {
        name: told[key]
        for key, name in names.items()
        if isinstance(told.get(key), str | int | float)
    }
    return {
        **facts,
        "metadata": metadata,
        "start_s": page_seconds(tif.pages.first),
        "channels": channels,
    }


def _imagej_channels(tif: tifffile.TiffFile) -> tuple[str, ...]:
    """Return names of the channels of an ImageJ stack, which change fastest in it."""
    said = (tif.imagej_metadata or {}) if tif.is_imagej else {}
    number, times = said.get("channels"), said.get("frames")
    if not (isinstance(number, int) and isinstance(times, int)) or number < 2 or times < 2:
        return ()
    labels = said.get("Labels")
    labels = [str(label) for label in labels] if isinstance(labels, list) else []
    return repeated_names(labels if len(labels) == number * times else [], number)


def is_single_frame(path: Path) -> bool | None:
    """Tell whether a TIFF file holds exactly one frame; None if it is cut too early to tell."""
    begin = begin_of(path)
    if begin.cut:
        return None
    if begin.directory is not None and begin.directory.following:
        return False
    with opened(path) as tif:
        return has_one_frame(path, tif)


def has_one_frame(path: Path, tif: tifffile.TiffFile) -> bool:
    """Tell whether there is only one directory, and no frames behind its own."""
    following = directory_of(tif, tif.pages.first).following
    return following == 0 and _said_frames(path, tif, None) == 1


class TiffRecording(PixelRecording):
    """Uncompressed frames of one TIFF file, or of a set of files."""

    def clock_s(self, clock: ClockName) -> NDArray[np.float64]:
        """Return times by the DateTime tag of every page."""
        if clock == "datetime":
            return page_times(Path(self.source), len(self))
        return super().clock_s(clock)


@dataclass
class _State:
    """What of a file can be used.

    Attributes
    ----------
    runs : list of Run
        Empty for frames that must be decoded.
    whole : int
        Frames that are wholly there.
    total : int or None
        Frames that there should be; None if nothing tells.
    remark : str
        What else is unusual.
    """

    runs: list[Run]
    whole: int
    total: int | None
    remark: str = ""

    def keep(self, path: Path, frames: int) -> None:
        """Leave out frames of a last time point that lacks some of its channels."""
        if frames == 0:
            raise ReadError("holds less than one frame of every channel", path, 0)
        begin = 0
        for index, run in enumerate(self.runs):
            self.runs[index] = run._replace(frames=max(0, min(run.frames, frames - begin)))
            begin += run.frames
        self.runs = [run for run in self.runs if run.frames]
        self.whole = frames

    def notes(self, path: Path, allow_truncated: bool) -> tuple[str, ...]:
        """Raise or warn if something is missing."""
        if self.whole != self.total:
            return whole_frames(path, self.whole, self.total, allow_truncated)
        if not self.remark:
            return ()
        warn(note := f"{path}: {self.remark}")
        return (note,)


def _format(tif: tifffile.TiffFile) -> str:
    kind = "ImageJ TIFF" if tif.is_imagej else "OME-TIFF" if tif.is_ome else "TIFF"
    return f"{kind} (BigTIFF)" if tif.is_bigtiff else kind


def _said_frames(path: Path, tif: tifffile.TiffFile, ome: OmeImage | None) -> int:
    """Return the frames that the first page tells of, 1 if it says nothing.

    Raises
    ------
    ReadError
        If they are several channels or slices at each time, or several images.
    """
    page = tif.pages.first
    frames = 1
    sizes: dict[str, int] = {}
    if ome is not None:
        if ome.images > 1:
            raise ReadError(f"holds {ome.images} OME images, not one; split it first", path)
        sizes = dict(ome.sizes)
    elif tif.is_imagej:
        said = tif.imagej_metadata or {}
        names = {"channels": "C", "slices": "Z", "frames": "T"}
        numbers = {names.get(n, n): said.get(n, 1) for n in ("images", *names)}
        numbers = {n: v for n, v in numbers.items() if isinstance(v, int) and v > 0}
        frames = numbers.pop("images", 1)
        sizes = numbers
    elif (planes := page.tags.get(_UIC2)) is not None:
        frames = planes.count
    elif page.description.startswith('{"shape"'):
        sizes = _described_sizes(page)
    many = {axis: n for axis, n in sizes.items() if n > 1}
    if len(many) > 1 and not (list(many) == ["C", "T"] and many["C"] <= MOST_CHANNELS):
        what = ", ".join(f"{n} {axis}" for axis, n in many.items())
        raise ReadError(
            f"holds a hyperstack ({what}), not one sequence of frames; split it first", path
        )
    return max(frames, math.prod(sizes.values())) if ome is None else 1


def _described_sizes(page: tifffile.TiffPage) -> dict[str, int]:
    """Return the sizes of the axes other than Y and X in tifffile's own description."""
    try:
        shape = [int(n) for n in json.loads(page.description)["shape"]]
    except (ValueError, TypeError, KeyError):
        return {}
    if tuple(shape[-2:]) != page.shape:
        return {}
    return {f"along axis {i}": n for i, n in enumerate(shape[:-2])}


def _whole_runs(path: Path, size: int, found: Found, first: tifffile.TiffPage, said: int) -> _State:
    """Cut runs to what the file holds."""
    runs, total = found.runs, None if found.cut else found.frames
    frame_bytes, offset = first.nbytes, int(first.dataoffsets[0])
    one_block = len(runs) == 1 and (found.frames == 1 or runs[0].stride == frame_bytes)
    if one_block and (found.cut or found.following == 0):
        block = said if said > 1 else _frames_before(found.following, first)
        if block > found.frames:
            runs, total = [Run(str(path), offset, frame_bytes, block)], block
    kept: list[Run] = []
    for run in runs:
        room = size - run.offset - frame_bytes
        fit = 0 if room < 0 else min(run.frames, room // max(run.stride, 1) + 1)
        if fit:
            kept.append(run._replace(frames=fit))
        if fit < run.frames:
            break
    count = sum(run.frames for run in kept)
    if total is not None and count == total:
        if found.cut:
            remark = (
                f"its directories are cut, but the pixels of all {total:,} frames that it tells "
                "of are there"
            )
            return _State(kept, count, total, remark)
        return _State(kept, count, total, _leftover(size, count, frame_bytes, offset))
    return _State(kept, count, total)


def _frames_before(following: int, first: tifffile.TiffPage) -> int:
    """Return the frames between the first pixels and the second directory, if that is sure.

    Writers of whole stacks put all further directories behind the last frame. Anything of the
    first directory in between speaks against it, and so does a rest.
    """
    begin = int(first.dataoffsets[0])
    frames, rest = divmod(following - begin, first.nbytes)
    others = [first.offset, *(tag.valueoffset for tag in first.tags if tag.valuebytecount > 8)]
    between = any(begin <= other < following for other in others)
    if first.nbytes < _FRAME_LIKE_BYTES or rest >= 16 or between:
        return 1
    return frames


def _leftover(size: int, frames: int, frame_bytes: int, offset: int) -> str:
    """Tell of bytes behind a single frame that could be frames."""
    more = (size - offset) // frame_bytes - 1
    if frames > 1 or more < 1 or frame_bytes < _FRAME_LIKE_BYTES:
        return ""
    return (
        f"holds one frame by its directory, but the bytes behind it could be {more:,} more; if "
        f"its writing was interrupted, open it as a raw file (shape, dtype, offset={offset})"
    )


def _packed_state(
    path: Path, size: int, tif: tifffile.TiffFile, said: int
) -> tuple[_State, PackedPages]:
    """Count pages that are wholly in the file; all must be like the first."""
    found = find_packed(path, tif)
    whole = len(found.directories)
    if not found.cut and (found.pages > 1 or directory_of(tif, tif.pages.first).values_end <= size):
        return _State([], whole, found.pages), found
    return _State([], whole, said if said > whole else None), found
