"""What Micro-Manager adds to its TIFF files: numbered parts of 4 GB, and facts of every frame."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from ..errors import ReadError
from .shared_file import SharedFile
from .tiff_parsing import DirectoryFormat

_METADATA = 51123  # a tag with JSON, of every page
_PART = re.compile(
    r"(?P<base>.*MMStack.*?)(?:_(?P<number>[1-9]\d{0,5}))?(?P<end>\.ome\.tiff?)", re.I
)
_ELAPSED = re.compile(rb'"ElapsedTime-ms"\s*:\s*"?([-+0-9.eE]+)')
_LARGEST_BYTES = 1 << 20


def parts_of(path: Path) -> list[Path]:
    """Return all files of a recording, as ``a_MMStack_1.ome.tif`` goes on ``a_MMStack.ome.tif``.

    Raises
    ------
    ReadError
        If one between the first and the last is missing.
    """
    match = _PART.fullmatch(path.name)
    if match is None:
        return [path]
    base, end = match["base"], match["end"]
    if match["number"] is None or not path.with_name(base + end).exists():
        base = path.name[: -len(end)]  # a number that belongs to the name, as of a position
    first = path.with_name(base + end)
    numbers = []
    for other in path.parent.glob(f"{_literal(base)}_*{_literal(end)}"):
        if re.fullmatch(r"[1-9]\d{0,5}", digits := other.name[len(base) + 1 : -len(end)]):
            numbers.append(int(digits))
    names = [f"{base}_{number}{end}" for number in range(1, max(numbers, default=0) + 1)]
    for number, name in enumerate(names, 1):
        if number not in numbers:
            raise ReadError(f"is missing, but {names[-1]} goes on after it", path.with_name(name))
    return [first, *(path.with_name(name) for name in names)]


def _literal(text: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", text)


def page_facts(page: tifffile.TiffPage) -> dict[str, Any]:
    """Return what Micro-Manager tells of a page; nothing if another program wrote it."""
    tag = page.tags.get(_METADATA)
    said = None if tag is None else tag.value
    if isinstance(said, str | bytes):
        try:
            said = json.loads(said)
        except (ValueError, RecursionError):
            return {}
    return said if isinstance(said, dict) else {}


def pixel_size_mm(facts: dict[str, Any]) -> float | None:
    """Return the pixel size, if it was calibrated."""
    size_um = facts.get("PixelSizeUm", facts.get("PixelSize_um"))
    if isinstance(size_um, bool) or not isinstance(size_um, int | float):
        return None
    return size_um * 1e-3 if 0 < size_um < math.inf else None


def elapsed_s(files: Mapping[Path, int]) -> NDArray[np.float64] | None:
    """Return the time stamps of the first pages of files, so many of each; None if one has none."""
    times = np.empty(sum(files.values()))
    number = 0
    for path, pages in files.items():
        file = SharedFile(path, number)
        try:
            told = _add_elapsed(path, file, times[number : number + pages], number)
        finally:
            file.close()
        if not told:
            return None
        number += pages
    return times if np.isfinite(times).all() else None


def _add_elapsed(path: Path, file: SharedFile, times: NDArray[np.float64], frame: int) -> bool:
    """Fill in the times of a file's pages, the first of which is a frame of this number."""
    head = file.read(0, 16)
    if len(head) < 16:
        raise ReadError("has changed since it was opened", path, frame)
    form = DirectoryFormat("<" if head[:1] == b"I" else ">", b"+" in head[2:4])
    pointer, count_bytes = form.pointer.itemsize, form.tag_count.itemsize
    at = int(np.frombuffer(head, form.pointer, 1, pointer)[0])
    for number in range(times.size):
        tags = np.frombuffer(file.read(at, count_bytes), form.tag_count) if at else np.empty(0)
        length = int(tags[0]) * form.tag.itemsize + pointer if tags.size else 0
        raw = file.read(at + count_bytes, length) if length <= form.size(4096) else b""
        if not length or len(raw) < length:
            raise ReadError("has changed since it was opened", path, frame + number)
        entries = np.frombuffer(raw, form.tag, int(tags[0]))
        found = np.flatnonzero(entries["code"] == _METADATA)
        if found.size == 0:
            return False
        count, where = int(entries["count"][found[0]]), int(entries["value"][found[0]])
        said = file.read(where, min(count, _LARGEST_BYTES)) if where < 1 << 62 else b""
        match = _ELAPSED.search(said)
        if match is None:
            return False
        try:
            times[number] = float(match[1]) / 1000
        except ValueError:
            return False
        at = int(np.frombuffer(raw, form.pointer, 1, length - pointer)[0])
    return True
