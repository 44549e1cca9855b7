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


def ome_runs(path: Path, tif: tifffile.TiffFile, ome: OmeImage) -> list[Run]:
    """Return where the frames lie, in the order of the metadata.

    Raises
    ------
    ReadError
        If a file is missing, cut, compressed, or not like the first.
    """
    found: dict[Path, NDArray[np.int64]] = {}
    places: dict[int, tuple[Path, int]] = {}
    for part in ome.parts:
        own = part.file is None or part.file.lower() == path.name.lower()
        file = path if own or part.file is None else path.parent / part.file
        if file not in found:
            found[file] = _offsets(file, part.plane, path, tif)
        for i in range(found[file].size if part.number is None else part.number):
            if part.directory + i >= found[file].size:
                raise ReadError("is missing", file, part.plane + i)
            places[part.plane + i] = file, int(found[file][part.directory + i])
    frames = max(places, default=-1) + 1
    if frames == 0 or len(places) < frames:
        missing = next(i for i in range(frames + 1) if i not in places)
        raise ReadError("is missing: its OME metadata does not tell where it is", path, missing)
    return [Run(str(places[i][0]), places[i][1], 0, 1) for i in range(frames)]


def _offsets(file: Path, frame: int, path: Path, root: tifffile.TiffFile) -> NDArray[np.int64]:
    """Where the pixels of all pages of a file of the set begin."""
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


def _checked(file: Path, frame: int, tif: tifffile.TiffFile) -> NDArray[np.int64]:
    found = find_runs(file, tif) if is_plain(tif.pages.first) else None
    if found is None or not found.plain:
        raise ReadError(
            "is a compressed OME-TIFF whose frames are in several files, or in an order of their "
            "own; give the files as a list",
            file,
        )
    offsets = np.concatenate([r.offset + r.stride * np.arange(r.frames) for r in found.runs])
    whole = offsets + tif.pages.first.nbytes <= os.path.getsize(file)
    if found.cut or not whole.all():
        lost = int(np.argmin(whole)) if not whole.all() else found.frames
        raise ReadError("the file is cut", file, frame + lost)
    return offsets
