"""Compressed, tiled or otherwise packed frames of one TIFF file."""

from __future__ import annotations

import threading
import weakref
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from ..errors import ReadError
from .clocks import page_times
from .packed_page import PackedPage, PackedPattern, Pieces, are_somewhere, pieces_of
from .recording import ClockName, Recording
from .shared_file import SharedFile
from .tiff_parsing import (
    DirectoryFormat,
    alike,
    is_plain,
    page_at,
    quiet,
    unlike,
)

#: Kinds of directories that are told without parsing; programs write one or two.
_PATTERNS = 64
_PARSED = -1


@dataclass(frozen=True)
class PackedPages:
    """Where the directories of packed pages are.

    Attributes
    ----------
    directories : ndarray of int64, shape (whole,)
        Offsets of the directories of those pages that are wholly in the file.
    kinds : ndarray of int8, shape (whole,)
        Number of the pattern that each directory follows; -1 if it must be parsed.
    patterns : tuple of PackedPattern
    pages : int
        Number of directories, also of those whose pixels are cut off.
    cut : bool
        The chain of directories leads out of the file.
    """

    directories: NDArray[np.int64]
    kinds: NDArray[np.int8]
    patterns: tuple[PackedPattern, ...]
    pages: int
    cut: bool


def find_packed(path: Path, tif: tifffile.TiffFile) -> PackedPages:
    """Follow the chain of directories; every one must be like the first."""
    file = SharedFile(path)
    try:
        return _Walk(path, tif, file).go()
    finally:
        file.close()


class _Walk:
    def __init__(self, path: Path, tif: tifffile.TiffFile, file: SharedFile) -> None:
        self._path, self._tif, self._file = path, tif, file
        self._size = file.stat.st_size
        self._form = DirectoryFormat.of(tif)
        self._first = tif.pages.first
        self._patterns: list[PackedPattern] = []
        self._last = _PARSED
        self._directories, self._kinds = array("q"), array("b")
        self._whole = 0

    def go(self) -> PackedPages:
        at, cut = int(self._first.offset), False
        # Where the chain was when the number of pages was last a power of two: if it leads back
        # to an earlier directory, it comes to one such place again.
        marked, pages = -1, 0
        while at:
            if at == marked:
                raise self._leads_back()
            if pages & (pages - 1) == 0:
                marked = at
            following = self._take(at, pages)
            if following is None:
                cut = True
                break
            pages += 1
            at = following
        return PackedPages(
            np.array(self._directories, np.int64)[: self._whole],
            np.array(self._kinds, np.int8)[: self._whole],
            tuple(self._patterns),
            pages,
            cut,
        )

    def _take(self, at: int, number: int) -> int | None:
        """Take one page; return where the next directory is, None if the file ends before."""
        last = self._last
        if last != _PARSED:
            pattern = self._patterns[last]
            record = self._file.read(at, pattern.length) if at < self._size else b""
            if not pattern.matches(record):
                last = _PARSED
                for kind, pattern in enumerate(self._patterns):
                    record = record[: pattern.length]
                    if len(record) < pattern.length and at < self._size:
                        record = self._file.read(at, pattern.length)
                    if pattern.matches(record):
                        last = kind
                        break
        if last == _PARSED:
            return self._parsed(at, number)
        self._last = last
        pattern = self._patterns[last]
        pieces = pattern.pieces(self._file, record)
        if pieces is not None and not are_somewhere(pieces):
            return self._parsed(at, number)
        self._add(at, last, pieces is not None and pieces.end <= self._size)
        return pattern.following(record)

    def _parsed(self, at: int, number: int) -> int | None:
        """Take a page whose directory is like none before."""
        directory = None
        if at < self._size:
            directory = self._form.read_frame(self._tif.filehandle, at, self._path, number)
        if directory is None:
            return None
        if directory.layout_end > self._size:
            self._add(at, _PARSED, False)
            return directory.following
        page = page_at(self._path, self._tif, at, number)
        if not alike(page, self._first):
            raise unlike(self._path, number, page, self._first)
        packed = PackedPage.of(self._path, page, number)
        pattern = None
        if len(self._patterns) < _PATTERNS and not is_plain(page):
            pattern = PackedPattern.of(self._tif, page, packed)
        if pattern is not None:
            self._last = len(self._patterns)
            self._patterns.append(pattern)
        whole = pieces_of(page).end <= self._size
        self._add(at, _PARSED if pattern is None else self._last, whole)
        return directory.following

    def _add(self, at: int, kind: int, whole: bool) -> None:
        if whole and self._whole == len(self._directories):
            self._whole += 1
        self._directories.append(at)
        self._kinds.append(kind)

    def _leads_back(self) -> ReadError:
        _, first = np.unique(np.array(self._directories, np.int64), return_index=True)
        return ReadError(
            "is damaged: its directories lead back to an earlier one", self._path, len(first)
        )


class DecodedTiff(Recording):
    """Frames that tifffile's codecs decode; several threads do so at the same time.

    Parameters
    ----------
    path : Path
    pages : PackedPages
    shape, dtype, **options
        As for `Recording`.
    """

    def __init__(
        self,
        path: Path,
        pages: PackedPages,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        **options: Any,
    ) -> None:
        super().__init__(source=str(path), shape=shape, dtype=dtype, **options)
        self._path, self._pages = path, pages
        self._parsing = threading.Lock()
        self._file = SharedFile(path)
        with quiet():
            self._tif = tifffile.TiffFile(path)
        weakref.finalize(self, self._tif.close)
        weakref.finalize(self, self._file.close)

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        out = np.empty((stop - start, *self.shape[1:]), self.dtype)
        with quiet():
            for frame in range(start, stop):
                page, pieces = self._page(frame)
                page.decode(self._file, pieces, self._path, frame, out[frame - start])
        return out

    def _page(self, frame: int) -> tuple[PackedPage, Pieces]:
        at, kind = int(self._pages.directories[frame]), int(self._pages.kinds[frame])
        if kind != _PARSED:
            pattern = self._pages.patterns[kind]
            record = self._file.read(at, pattern.length)
            pieces = pattern.pieces(self._file, record) if pattern.matches(record) else None
            if pieces is None or not are_somewhere(pieces):
                raise ReadError("has changed since it was opened", self._path, frame)
            return pattern.page, pieces
        with self._parsing:
            if self._file.closed:
                raise ReadError("was closed", self._path)
            page = page_at(self._path, self._tif, at, frame)
            if (page.shape, page.dtype) != (self.shape[1:], self.dtype):
                raise ReadError("has changed since it was opened", self._path, frame)
            return PackedPage.of(self._path, page, frame), pieces_of(page)

    def clock_s(self, clock: ClockName) -> NDArray[np.float64]:
        """Return times by the DateTime tag of every page."""
        if clock == "datetime":
            return page_times(self._path, len(self))
        return super().clock_s(clock)

    def close(self) -> None:
        """Close the file."""
        with self._parsing:
            self._file.close()
            self._tif.close()
