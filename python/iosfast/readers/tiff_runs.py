"""Where the frames of an uncompressed TIFF file lie, found without parsing every page."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import tifffile
from numpy.typing import NDArray

from .. import _core
from ..errors import ReadError
from .pixels import Run
from .tiff_parsing import DirectoryFormat, alike, directory_of, is_plain, page_at, record_of, unlike

_OFFSETS, _COUNTS = (273, 324), (279, 325)  # of strips, of tiles
_OFFSET_TYPES = {3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
_CHUNK = 1 << 16


class Found(NamedTuple):
    """What the directories of a file tell.

    Attributes
    ----------
    runs : list of Run
        As the directories tell, even where the file ends before.
    frames : int
    following : int
        Offset of the second directory; 0 if there is none.
    cut : bool
        The chain of directories leads out of the file.
    plain : bool
        False if the pixels of some page, unlike those of the first, must be decoded.
    """

    runs: list[Run]
    frames: int
    following: int
    cut: bool
    plain: bool


def find_runs(path: Path, tif: tifffile.TiffFile) -> Found:
    """Follow the chain of directories; every one of them is compared with the others."""
    return _Walk(path, tif).go()


class _Template(NamedTuple):
    """The directory of a frame, but for where the pixels lie."""

    mask: NDArray[np.uint8]
    masked: NDArray[np.uint8]
    offset_at: int
    offset_type: np.dtype[Any]
    strips: int
    relative: NDArray[np.int64]  # offsets of strips, from the first on

    @classmethod
    def of(cls, tif: tifffile.TiffFile, page: tifffile.TiffPage) -> Self | None:
        """Return the template of a page; None if its directory is an unusual one."""
        form = DirectoryFormat.of(tif)
        offsets = next((tag for c in _OFFSETS if (tag := page.tags.get(c)) is not None), None)
        if offsets is None or offsets.dtype not in _OFFSET_TYPES:
            return None
        strips, field = len(page.dataoffsets), form.pointer.itemsize
        kind = np.dtype(form.order + _OFFSET_TYPES[offsets.dtype])
        if offsets.count != strips or (strips > 1 and strips * kind.itemsize <= field):
            return None
        record = record_of(tif, page)
        mask = form.mask(record)
        for tag in page.tags:
            value_at = tag.offset - page.offset + form.tag.itemsize - field
            if tag is offsets or (tag.code in _COUNTS and tag.valuebytecount > field):
                mask[value_at : value_at + field] = 0
        mask[-field:] = 0
        masked = np.frombuffer(record, np.uint8) & mask
        offset_at = offsets.offset - page.offset + form.tag.itemsize - field
        relative = np.array(page.dataoffsets, np.int64) - page.dataoffsets[0]
        return cls(mask, masked, offset_at, kind, strips, relative)


class _Walk:
    def __init__(self, path: Path, tif: tifffile.TiffFile) -> None:
        self._path = path
        self._tif = tif
        self._file = tif.filehandle
        self._size = os.path.getsize(path)
        self._form = DirectoryFormat.of(tif)
        self._first = tif.pages.first
        self._runs: list[Run] = []
        self._frames = 0
        self._cut = False
        self._plain = True
        self._template: _Template | None = None
        self._seen: set[int] = set()
        self._last = (0, 0)  # where the last directory and its pixels are
        self._steps = (0, 0)  # how far they are from those before
        self._regular = 0  # how many times these steps were the same
        self._chunk = 64

    def go(self) -> Found:
        directory = directory_of(self._tif, self._first)
        self._seen.add(self._first.offset)
        self._take(self._first.offset, int(self._first.dataoffsets[0]))
        at = directory.following
        while at and self._plain:
            at = self._many(at) if self._regular > 2 and at > 0 else self._one(at)
        # Of frames behind a single directory, only a description tells, which may be cut off.
        cut = self._cut or (directory.following == 0 and directory.values_end > self._size)
        return Found(self._runs, self._frames, directory.following, cut, self._plain)

    def _one(self, at: int) -> int:
        """Take the frame of one directory; return where the next one is."""
        if at in self._seen or at < 8:
            raise ReadError(
                f"is damaged: the directory before leads to byte {at}, where none can be, or "
                "back to an earlier one",
                self._path,
                self._frames,
            )
        self._seen.add(at)
        template = self._template
        if template is not None:
            self._file.seek(at)
            record = np.frombuffer(self._file.read(template.mask.size), np.uint8)
            if (
                record.size == template.mask.size
                and not ((record & template.mask) ^ template.masked).any()
            ):
                offset = self._offset(template, record[np.newaxis])
                if offset is not None:
                    self._take(at, offset)
                    return int(_field(record[np.newaxis], -1, self._form.pointer)[0])
        return self._parsed(at)

    def _parsed(self, at: int) -> int:
        """Take the frame of a directory unlike the one before."""
        directory = None
        if at < self._size:
            directory = self._form.read_frame(self._file, at, self._path, self._frames)
        if directory is None:
            self._cut = True
            return 0
        page = page_at(self._path, self._tif, at, self._frames)
        if not alike(page, self._first):
            if directory.layout_end <= self._size:
                raise unlike(self._path, self._frames, page, self._first)
            self._cut = True
            return 0
        self._plain = is_plain(page)
        self._template = _Template.of(self._tif, page)
        self._take(at, int(page.dataoffsets[0]))
        return directory.following

    def _offset(self, template: _Template, record: NDArray[np.uint8]) -> int | None:
        """Where the pixels of a matching directory lie; None if they are in several pieces."""
        if template.strips == 1:
            offset = int(_field(record, template.offset_at, template.offset_type)[0])
            return offset if offset >= 8 else None
        pointer = self._form.pointer
        self._file.seek(int(_field(record, template.offset_at, pointer)[0]))
        raw = self._file.read(template.strips * template.offset_type.itemsize)
        if len(raw) < template.strips * template.offset_type.itemsize:
            return None
        offsets = np.frombuffer(raw, template.offset_type).astype(np.int64)
        same = offsets[0] >= 8 and np.array_equal(offsets - offsets[0], template.relative)
        return int(offsets[0]) if same else None

    def _many(self, at: int) -> int:
        """Take the frames of all directories that go on at the same steps, in bulk."""
        template = self._template
        (step, stride), (_, last) = self._steps, self._last
        if template is None or template.strips > 1 or step <= 0 or stride <= 0:
            self._regular = 0
            return self._one(at)
        mask, pointer = template.mask, self._form.pointer
        records = _core.read_records(str(self._path), at, step, self._chunk, mask.size)
        number = np.arange(1, len(records) + 1, dtype=np.int64)
        same = ((records & mask) == template.masked).all(axis=1)
        same &= _field(records, template.offset_at, template.offset_type) == last + number * stride
        following = _field(records, -1, pointer)
        same &= following == at + number * step
        count = int(np.argmin(same)) if not same.all() else len(records)
        if count:
            self._add(last + stride, stride, count)
            self._last = (at + (count - 1) * step, last + count * stride)
        if count == self._chunk:
            self._chunk = min(2 * self._chunk, _CHUNK)
        else:
            self._regular, self._chunk = 0, 64
        return int(following[count - 1]) if count else self._one(at)

    def _take(self, at: int, offset: int) -> None:
        steps = (at - self._last[0], offset - self._last[1])
        self._regular = self._regular + 1 if steps == self._steps else 0
        self._last, self._steps = (at, offset), steps
        self._add(offset, 0, 1)

    def _add(self, offset: int, stride: int, frames: int) -> None:
        self._frames += frames
        run = self._runs[-1] if self._runs else None
        if run and run.frames == 1 and offset > run.offset:
            run = run._replace(stride=offset - run.offset)
        if (
            run
            and offset == run.offset + run.stride * run.frames
            and run.stride > 0
            and (frames == 1 or stride == run.stride)
        ):
            self._runs[-1] = run._replace(frames=run.frames + frames)
        else:
            self._runs.append(Run(str(self._path), offset, stride, frames))


def _field(records: NDArray[np.uint8], at: int, kind: np.dtype[Any]) -> NDArray[np.int64]:
    """Numbers that begin at a byte of each record; at = -1 for the last ones."""
    begin = records.shape[1] - kind.itemsize if at < 0 else at
    raw = np.ascontiguousarray(records[:, begin : begin + kind.itemsize])
    return raw.view(kind)[:, 0].astype(np.int64)
