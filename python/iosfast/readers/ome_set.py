"""Frames that OME metadata puts in an order of its own, or into several files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from ..errors import ReadError
from .ome import OmeImage
from .pixels import Run
from .tiff_parsing import alike, check_frame, is_cut_early, is_plain, opened, unlike
from .tiff_runs import find_runs


def set_files(path: Path, ome: OmeImage) -> dict[Path, int] | None:
    """Return the files of a set whose frames follow each other, and the number of each.

    None if they have another order, or if the metadata does not tell their numbers.
    """
    files: dict[Path, int] = {}
    last, total = None, 0
    for part in sorted(ome.parts, key=lambda part: part.plane):
        own = part.file is None or ome.is_own(part, path.name)
        file = path if own else path.parent / str(part.file)
        if part.number is None or part.plane != total or (file in files and file != last):
            return None
        if part.directory != files.get(file, 0):
            return None
        files[file] = part.directory + part.number
        last, total = file, total + part.number
    return files


#: No file of a set has more; what metadata tell beyond that is damage.
_MOST_FRAMES = 1 << 24


def ome_runs(path: Path, tif: tifffile.TiffFile, ome: OmeImage) -> tuple[list[Run], int, int]:
    """Return where the frames lie, in the order of the metadata.

    Returns
    -------
    runs : list of Run
        Of the frames before the first one that is cut off.
    whole, total : int
        How many these are, and how many there should be.

    Raises
    ------
    ReadError
        If a file is missing, compressed, or not like the first.
    """
    files: dict[Path, int] = {}
    found: list[NDArray[np.int64]] = []
    cut: set[int] = set()
    parts: list[tuple[int, int, int, int]] = []  # plane, directory, number, file
    for part in ome.parts:
        own = part.file is None or ome.is_own(part, path.name)
        file = path if own else path.parent / str(part.file)
        if file not in files:
            files[file] = len(found)
            offsets, is_cut = _offsets(file, part.plane, path, tif)
            found.append(offsets)
            cut.update([files[file]] if is_cut else [])
        number = files[file]
        there = found[number].size - part.directory
        count = there if part.number is None else part.number
        if count > there and number in cut and count <= _MOST_FRAMES:
            found[number] = np.append(found[number], np.full(count - there, -1, np.int64))
        elif count > there:
            raise ReadError("is missing", file, part.plane + max(0, there))
        parts.append((part.plane, part.directory, count, number))
    total = max((plane + count for plane, _, count, _ in parts), default=0)
    if total == 0 or total > sum(count for _, _, count, _ in parts):
        raise _missing(path, parts)
    if total > (there := sum(offsets.size for offsets in found)):
        raise ReadError(
            f"its OME metadata tells of {total:,} frames in {there:,} directories", path
        )
    where, offsets = np.full(total, -1, np.int64), np.empty(total, np.int64)
    for plane, directory, count, number in parts:
        where[plane : plane + count] = number
        offsets[plane : plane + count] = found[number][directory : directory + count]
    if (where < 0).any():
        raise _missing(path, parts)
    lost = offsets < 0
    whole = int(np.argmax(lost)) if lost.any() else total
    return _runs([str(file) for file in files], where[:whole], offsets[:whole]), whole, total


def _missing(path: Path, parts: list[tuple[int, int, int, int]]) -> ReadError:
    """Error for the first frame of which nothing tells where it is."""
    missing = 0
    for plane, _, count, _ in sorted(parts):
        if plane > missing:
            break
        missing = max(missing, plane + count)
    return ReadError("is missing: its OME metadata does not tell where it is", path, missing)


def _runs(files: list[str], where: NDArray[np.int64], offsets: NDArray[np.int64]) -> list[Run]:
    """Join frames at constant strides into runs."""
    runs: list[Run] = []
    file, first, stride, frames = -1, 0, 0, 0
    for number, offset in zip(where.tolist(), offsets.tolist(), strict=True):
        if number == file and frames == 1 and offset > first:
            stride, frames = offset - first, 2
        elif number == file and frames > 1 and offset == first + frames * stride:
            frames += 1
        else:
            if frames:
                runs.append(Run(files[file], first, stride, frames))
            file, first, stride, frames = number, offset, 0, 1
    if frames:
        runs.append(Run(files[file], first, stride, frames))
    return runs


def _offsets(
    file: Path, frame: int, path: Path, root: tifffile.TiffFile
) -> tuple[NDArray[np.int64], bool]:
    """Where the pixels of all pages of a file of the set begin; -1 where they are cut off.

    Also tells whether directories are cut off, so that there may be more frames.
    """
    first = root.pages.first
    if file == path:
        return _checked(file, frame, root)
    if not file.exists():
        raise ReadError(f"is missing: {file.name}, which holds it, is not there", path, frame)
    if is_cut_early(file):
        raise ReadError("the file is cut", file, frame)
    with opened(file, frame) as tif:
        page = tif.pages.first
        check_frame(file, page)
        if not alike(page, first) or tif.byteorder != root.byteorder:
            raise unlike(file, frame, page, first)
        return _checked(file, frame, tif)


def _checked(file: Path, frame: int, tif: tifffile.TiffFile) -> tuple[NDArray[np.int64], bool]:
    found = find_runs(file, tif) if is_plain(tif.pages.first) else None
    if found is None or not found.plain:
        raise ReadError(
            "is a compressed OME-TIFF whose frames are in several files, or in an order of their "
            "own; give the files as a list",
            file,
        )
    offsets = np.concatenate([r.offset + r.stride * np.arange(r.frames) for r in found.runs])
    offsets[offsets + tif.pages.first.nbytes > os.path.getsize(file)] = -1
    return offsets, found.cut
