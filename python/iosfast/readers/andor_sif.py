"""Andor Solis .sif files: float32 pixels behind a text header, and series of such files."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ..errors import ReadError, warn
from .andor_header import SifHeader, read_header
from .folder import TIFF_SUFFIXES, natural
from .joined import JoinedRecording
from .pixels import PixelRecording, Run
from .reader import Options
from .recording import Recording
from .truncation import whole_frames

_PIXEL = np.dtype("<f4")

#: ``name``, ``name_X2`` and ``name_0002`` are of the series ``name``.
_SERIES = re.compile(r"(?P<base>.*?)(?:[ _-]?(?P<mark>[xX]?)(?P<number>[0-9]+))?", re.DOTALL)
_MOST_PARTS = 10_000  #: Larger numbers are dates, or anything else.


def open_sif(path: Path, options: Options) -> Recording:
    """Open one .sif file, or the spool folder that a .sifx file describes."""
    if path.suffix.lower() == ".sifx":
        from .andor_spool import open_spool

        return open_spool(path.parent, options)
    return open_series([path], None, options.allow_truncated, _of_series_note(path))


def open_series(
    paths: Sequence[Path], where: Path | None, allow_truncated: bool, notes: tuple[str, ...] = ()
) -> Recording:
    """Open .sif files as one recording, in the order given."""
    headers = [read_header(path) for path in paths]
    stamps = headers[0].times_s
    origin_s = 0.0 if stamps is None else float(stamps[0])  # of all parts
    parts = [
        _recording(path, header, origin_s, allow_truncated)
        for path, header in zip(paths, headers, strict=True)
    ]
    if len(parts) == 1:
        parts[0].notes = notes + parts[0].notes
        return parts[0]
    return JoinedRecording(parts, where, notes)


def is_sif_name(path: Path) -> bool:
    """Tell whether a path is named like a .sif file."""
    return path.suffix.lower() == ".sif" and not path.is_dir()


def is_sif_folder(path: Path, _head: bytes = b"") -> bool:
    """Tell whether a folder holds .sif files, and no TIFF file."""
    found = False
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                name = entry.name.lower()
                if name.endswith(TIFF_SUFFIXES):
                    return False
                found = found or _is_sif(entry)
    except OSError:
        return False
    return found


def open_sif_folder(folder: Path, options: Options) -> Recording:
    """Open all .sif files of a folder as one recording, in natural order."""
    names, others = [], 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if _is_sif(entry):
                    names.append(entry.name)
                elif not entry.name.startswith("."):
                    others += 1
    except OSError as error:
        raise ReadError(f"cannot be listed: {error.strerror}", folder) from error
    if not names:
        raise ReadError("holds no .sif file any more", folder)
    names.sort(key=natural)
    notes = [f"{folder}: {others} other files are left out"] if others else []
    for text in _doubts(names):
        warn(note := f"{folder}: {text}")
        notes.append(note)
    paths = [folder / name for name in names]
    return open_series(paths, folder, options.allow_truncated, tuple(notes))


def _recording(
    path: Path, header: SifHeader, origin_s: float, allow_truncated: bool
) -> PixelRecording:
    frames, (height, width) = header.frames, header.shape
    frame_bytes = height * width * _PIXEL.itemsize
    notes: tuple[str, ...] = ()
    room = max(0, header.size - header.offset)
    if room < frames * frame_bytes:
        whole = room // frame_bytes
        notes = whole_frames(path, whole, frames, allow_truncated)
        frames = whole
    return PixelRecording(
        [Run(str(path), header.offset, frame_bytes, frames)],
        (frames, height, width),
        _PIXEL,
        path,
        notes=notes + tuple(f"{path}: {remark}" for remark in header.remarks),
        metadata={"format": "Andor SIF", **header.facts},
        frame_rate_hz=header.frame_rate_hz,
        start_s=header.start_s,
        times_s=None if header.times_s is None else header.times_s[:frames] - origin_s,
    )


def _is_sif(entry: os.DirEntry[str]) -> bool:
    name = entry.name.lower()
    return name.endswith(".sif") and not name.startswith(".") and not entry.is_dir()


def place_in_series(name: str) -> tuple[str, str, int | None]:
    """Return the series of a file, the mark of its number, and the number."""
    match = _SERIES.fullmatch(Path(name).stem)
    assert match is not None  # as all of it is optional
    number = None if match["number"] is None else int(match["number"])
    if number is not None and number >= _MOST_PARTS:
        return Path(name).stem.lower(), "", None
    return match["base"].lower(), (match["mark"] or "").lower(), number


def _of_series_note(path: Path) -> tuple[str, ...]:
    """Tell of the other files of the series that a file is one of."""
    try:
        with os.scandir(path.parent) as entries:
            names = [entry.name for entry in entries if _is_sif(entry)]
    except OSError:  # a folder that may be entered, but not listed
        return ()
    own, mark, _ = place_in_series(path.name)
    places = {
        name: place_in_series(name) for name in sorted(names, key=natural) if name != path.name
    }
    siblings = [name for name, (base, _, _) in places.items() if base == own]
    if not siblings:
        return ()
    shown = ", ".join(siblings[:3]) + (", ..." if len(siblings) > 3 else "")
    note = (
        f"{path}: only this file is opened, though {len(siblings)} more are named like parts of "
        f"the same series ({shown}); give the folder, or a list of files, to join them"
    )
    if mark or any(places[name][1] for name in siblings):
        warn(note)
    return (note,)


def _doubts(names: Iterable[str]) -> list[str]:
    """Tell of what speaks against joining files."""
    series: dict[str, list[int]] = {}
    for name in names:
        base, _, number = place_in_series(name)
        series.setdefault(base, []).extend([] if number is None else [number])
    doubts = []
    if len(series) > 1:
        doubts.append(f"files of {len(series)} series are joined ({', '.join(list(series)[:3])})")
    for base, numbers in series.items():
        for before, after in itertools.pairwise(sorted(numbers)):
            if after > before + 1:
                doubts.append(f"number {before + 1} of the series {base!r} is missing")
                break
    return doubts
