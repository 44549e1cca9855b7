"""The structure of TIFF files: tifffile's view of them, and directories as they lie on disk."""

from __future__ import annotations

import logging
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self

import numpy as np
import tifffile
from numpy.typing import NDArray

from ..errors import ReadError
from .pixels import check_pixels

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

#: Tags that say where pixels lie and what they mean; all others may differ between frames.
LAYOUT_TAGS = frozenset(
    {256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 317, 322, 323, 324, 325, 339}
)
_MEANING = ("shape", "dtype", "photometric", "samplesperpixel", "fillorder", "predictor")
_INVERTED, _COLOUR = 0, (2, 3, 5, 6)  # of PhotometricInterpretation: RGB, palette, CMYK, YCbCr
_IS_LAYOUT = np.zeros(1 << 16, np.bool_)
_IS_LAYOUT[list(LAYOUT_TAGS)] = True
_VALUE_BYTES = np.zeros(256, np.int64)
_VALUE_BYTES[[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]] = [1, 1, 2, 4, 8, 1, 1, 2, 4, 8]
_VALUE_BYTES[[11, 12, 13, 16, 17, 18]] = [4, 8, 4, 8, 8, 8]

_muted = threading.local()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep tifffile's log silent in this thread: all that matters of it becomes an error."""
    logging.getLogger("tifffile").addFilter(_audible)  # a second time changes nothing
    _muted.depth = getattr(_muted, "depth", 0) + 1
    try:
        yield
    finally:
        _muted.depth -= 1


def _audible(_record: logging.LogRecord) -> bool:
    return not getattr(_muted, "depth", 0)


@contextmanager
def opened(path: Path, frame: int | None = None) -> Iterator[tifffile.TiffFile]:
    """Open a TIFF file and parse it quietly; any damage becomes a ReadError with the frame."""
    try:
        with quiet(), tifffile.TiffFile(path) as tif:
            try:
                tif.pages.first  # noqa: B018 (the number of pages would be found by reading all)
            except IndexError:
                raise ReadError("holds no image", path, frame) from None
            yield tif
    except ReadError as error:
        if error.path is not None and (error.frame is not None or frame is None):
            raise
        raise ReadError(str(error).removeprefix(f"{error.path}: "), path, frame) from error
    except OSError as error:
        raise ReadError(f"cannot be read: {error.strerror or error}", path, frame) from error
    except Exception as error:  # damaged bytes make tifffile's parsers fail in any way
        raise ReadError(f"is damaged or no TIFF file: {error}", path, frame) from error


class Directory(NamedTuple):
    """An image file directory as it lies in the file.

    Attributes
    ----------
    tags : int
        Number of tags, also of those that cannot be parsed.
    following : int
        Offset of the next directory; 0 after the last.
    values_end, layout_end : int
        Where the last value that lies outside of the directory ends, of all tags and of those
        that are needed to find the pixels; 0 if there is none.
    """

    tags: int
    following: int
    values_end: int
    layout_end: int


@dataclass(frozen=True)
class DirectoryFormat:
    """How a file writes its directories: byte order ("<" or ">"), and whether it is BigTIFF."""

    order: str
    big: bool

    @classmethod
    def of(cls, tif: tifffile.TiffFile) -> Self:
        """Return the format of an open file."""
        return cls(tif.byteorder, tif.is_bigtiff)

    @cached_property
    def magic(self) -> bytes:
        """What such a file begins with."""
        return MAGIC[2 * self.big + (self.order == ">")]

    @cached_property
    def tag_count(self) -> np.dtype[Any]:
        """Type of the number of tags, with which a directory begins."""
        return np.dtype(self.order + ("u8" if self.big else "u2"))

    @cached_property
    def pointer(self) -> np.dtype[Any]:
        """Type of an offset in the file."""
        return np.dtype(self.order + ("u8" if self.big else "u4"))

    @cached_property
    def tag(self) -> np.dtype[Any]:
        """Type of a tag; instead of a value that does not fit, there is its offset."""
        short, pointer = np.dtype(self.order + "u2"), self.pointer
        return np.dtype([("code", short), ("type", short), ("count", pointer), ("value", pointer)])

    def size(self, tags: int) -> int:
        """Bytes of a directory."""
        return self.tag_count.itemsize + tags * self.tag.itemsize + self.pointer.itemsize

    def read_frame(self, file: Any, offset: int, path: Path, frame: int) -> Directory | None:
        """Read the directory of a frame, which errors name."""
        try:
            return self.read(file, offset)
        except ReadError as error:
            raise ReadError(str(error), path, frame) from None

    def read(self, file: Any, offset: int) -> Directory | None:
        """Read the directory at an offset; None if the file ends before it does."""
        file.seek(offset)
        head = file.read(self.tag_count.itemsize)
        if len(head) < self.tag_count.itemsize:
            return None
        tags = int(np.frombuffer(head, self.tag_count)[0])
        if tags > 4096:
            raise ReadError(f"is damaged: its directory at byte {offset} is none")
        body = file.read(self.size(tags) - len(head))
        if len(body) < self.size(tags) - len(head):
            return None
        entries = np.frombuffer(body, self.tag, tags)
        following = int(np.frombuffer(body, self.pointer, 1, tags * self.tag.itemsize)[0])
        sizes = _VALUE_BYTES[np.minimum(entries["type"], 255)] * entries["count"].astype(np.int64)
        is_layout = _IS_LAYOUT[entries["code"]]
        if (sizes[is_layout & (entries["count"] > 0)] == 0).any():
            raise ReadError(f"is damaged: a tag in its directory at byte {offset} has no type")
        outside = sizes > self.pointer.itemsize
        ends = np.where(outside, entries["value"].astype(np.int64) + sizes, 0)
        layout = ends[is_layout]
        return Directory(tags, following, int(ends.max(initial=0)), int(layout.max(initial=0)))

    def mask(self, record: bytes) -> NDArray[np.uint8]:
        """Bytes of a directory that decide where its pixels lie: 255 there, else 0."""
        mask = np.zeros(len(record), np.uint8)
        begin, step = self.tag_count.itemsize, self.tag.itemsize
        mask[:begin] = 255
        codes = np.frombuffer(record[begin : -self.pointer.itemsize], self.tag)["code"]
        for at, code in zip(range(begin, len(record), step), codes.tolist(), strict=False):
            # Which tag stands here must agree for all of them; the rest only for the layout's.
            mask[at : at + (step if code in LAYOUT_TAGS else 2)] = 255
        mask[-self.pointer.itemsize :] = 255
        return mask


def is_stream(mode: int) -> bool:
    """Tell pipes, sockets and devices, which may block for ever, by their mode."""
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def is_cut_early(path: Path, frame: int | None = None) -> bool:
    """Tell whether a TIFF file ends before it tells where the first pixels are."""
    return begin_of(path, frame).cut


class Begin(NamedTuple):
    """How a file begins.

    Attributes
    ----------
    cut : bool
        Whether it ends before it tells where the first pixels are.
    directory : Directory or None
        The first, if there is one that can be read.
    """

    cut: bool
    directory: Directory | None = None


def begin_of(path: Path, frame: int | None = None) -> Begin:
    """Look at the first directory of a TIFF file, which need not be one."""
    try:
        about = os.stat(path)
        if is_stream(about.st_mode):
            raise ReadError("is no file, but a pipe or device", path, frame)
        with path.open("rb") as file:
            return _begin(file, about.st_size)
    except OSError as error:
        reason = "does not exist" if not os.path.lexists(path) else f"{error.strerror}"
        raise ReadError(reason, path, frame) from None


def _begin(file: BinaryIO, size: int) -> Begin:
    head = file.read(16)
    if len(head) < 8:
        return Begin(any(head.startswith(magic[: len(head)]) for magic in MAGIC))
    if not head.startswith(MAGIC):
        return Begin(False)
    form = _form_of(head[:4])
    if form.big and len(head) < 16:
        return Begin(True)
    first = int(np.frombuffer(head, form.pointer, 1, 8 if form.big else 4)[0])
    if first >= size:
        return Begin(True)
    try:
        directory = form.read(file, first)
    except ReadError:
        return Begin(False)
    return Begin(directory is None or directory.layout_end > size, directory)


@cache
def _form_of(magic: bytes) -> DirectoryFormat:
    return DirectoryFormat("<" if magic[:1] == b"I" else ">", magic in MAGIC[2:])


def directory_of(tif: tifffile.TiffFile, page: Any) -> Directory:
    """Return the directory that a page was parsed from."""
    directory = DirectoryFormat.of(tif).read(tif.filehandle, page.offset)
    if directory is None:
        raise ReadError("is cut within a directory", tif.filehandle.path)
    return directory


def record_of(tif: tifffile.TiffFile, page: Any) -> bytes:
    """Return the bytes of the directory that a page was parsed from."""
    size = DirectoryFormat.of(tif).size(directory_of(tif, page).tags)
    tif.filehandle.seek(page.offset)
    return bytes(tif.filehandle.read(size))


def page_at(path: Path, tif: tifffile.TiffFile, offset: int, frame: int) -> tifffile.TiffPage:
    """Parse the directory at an offset as the page of a frame."""
    tif.filehandle.seek(offset)
    try:
        return tifffile.TiffPage(tif, frame)
    except Exception as error:  # see `opened`
        raise ReadError(f"its directory is damaged: {error}", path, frame) from error


def check_frame(path: Path, page: tifffile.TiffPage) -> None:
    """Raise ReadError unless a page is a grey image that can be binned."""
    if page.samplesperpixel != 1 or page.photometric in _COLOUR:
        raise ReadError(
            "holds colour images (RGB or palette), not grey frames; give the camera's own file",
            path,
        )
    sizes = [n for n in page.shape if isinstance(n, int) and n > 0]
    if len(page.shape) != 2 or len(sizes) != 2 or page.dtype is None:
        raise ReadError(f"holds pages of shape {_shortened(str(page.shape))}, not (Y, X)", path)
    check_pixels(page.dtype, lambda text: ReadError(text, path))
    if not has_pixels(page):
        raise ReadError("holds a page without pixels", path)
    if page.fillorder != 1 or _is_ambiguous(page):
        raise ReadError(
            "holds pixels with reversed bits, or with a predictor but no compression, which "
            "programs read differently; write the file anew",
            path,
        )


def inverted_note(page: tifffile.TiffPage) -> str:
    """Tell of a page that says that 0 is white, as some cameras' programs do without meaning it."""
    if page.photometric != _INVERTED:
        return ""
    return "the file says that 0 is white; pixels are used as they are stored"


def has_pixels(page: tifffile.TiffPage) -> bool:
    """Tell whether every strip or tile of a page is somewhere."""
    return (
        len(page.dataoffsets) == len(page.databytecounts) > 0
        and 8 <= min(page.dataoffsets) <= max(page.dataoffsets) < 2**63
        and min(page.databytecounts) > 0
    )


def is_plain(page: tifffile.TiffPage) -> bool:
    """Tell whether the pixels of a page lie in one piece, as they are."""
    return bool(page.is_final)


def pixels_end(page: tifffile.TiffPage) -> int:
    """Where the last strip or tile of a page ends."""
    if is_plain(page):
        return int(page.dataoffsets[0] + page.nbytes)
    ends = (a + n for a, n in zip(page.dataoffsets, page.databytecounts, strict=True))
    return max(ends)


def frame_shape(page: tifffile.TiffPage) -> tuple[int, int]:
    """Return (Y, X) of a page that was checked."""
    height, width = page.shape
    return height, width


def kind_of(page: tifffile.TiffPage) -> str:
    """Say what a page holds, for messages."""
    if page.samplesperpixel != 1 or page.photometric in _COLOUR:
        return "a colour image"
    size = _shortened(" x ".join(map(str, page.shape)))
    inverted = ", inverted" if page.photometric == _INVERTED else ""
    if _is_ambiguous(page):
        return f"{size} {page.dtype}{inverted} with a predictor, but no compression"
    return f"{size} {page.dtype}{inverted}" + ("" if is_plain(page) else ", packed")


def _shortened(text: str) -> str:
    """Cut what damage makes of any length."""
    return text if len(text) <= 80 else f"{text[:80]}..."


def alike(page: tifffile.TiffPage, first: tifffile.TiffPage) -> bool:
    """Tell whether a page has frames of the same shape, type and meaning as the first."""
    return bool(
        all(getattr(page, name) == getattr(first, name) for name in _MEANING)
        and has_pixels(page)
        and not _is_ambiguous(page)
    )


def _is_ambiguous(page: tifffile.TiffPage) -> bool:
    """Tell whether programs read the pixels of a page differently."""
    return bool(page.compression == 1 and page.predictor != 1)


def unlike(path: Path, frame: int, page: tifffile.TiffPage, first: tifffile.TiffPage) -> ReadError:
    """Error for a page that is not like the first one."""
    what = kind_of(page) if has_pixels(page) else "without pixels"
    return ReadError(f"is {what}, but the first frame is {kind_of(first)}", path, frame)
