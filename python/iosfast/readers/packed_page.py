"""Compressed or tiled pages of TIFF files: told by a pattern, and decoded without parsing."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import tifffile
from numpy.typing import NDArray

from ..errors import ReadError
from .shared_file import SharedFile
from .tiff_parsing import DirectoryFormat, frame_shape, record_of

_OFFSETS, _COUNTS = (273, 324), (279, 325)  # of strips, of tiles
_TYPES = {3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
_JPEG = frozenset({6, 7, 34892, 33007})  # of Compression: their tables may differ between pages

#: No camera's frame is larger; what a header says beyond that is damage.
_LARGEST_FRAME_BYTES = 1 << 30


class Pieces(NamedTuple):
    """Where the strips or tiles of one page lie."""

    offsets: list[int]
    counts: list[int]

    @property
    def end(self) -> int:
        """Where the last one ends."""
        return max(map(int.__add__, self.offsets, self.counts))


class _Values(NamedTuple):
    """Where the numbers of a tag stand: in the directory at `at`, or where that points to."""

    at: int
    dtype: np.dtype[Any]
    inside: bool

    @classmethod
    def of(
        cls, page: tifffile.TiffPage, form: DirectoryFormat, codes: tuple[int, ...]
    ) -> Self | None:
        """Return where a page has them; None if the tag is missing or an unusual one."""
        tag = next((t for code in codes if (t := page.tags.get(code)) is not None), None)
        if tag is None or tag.count != len(page.dataoffsets) or tag.dtype not in _TYPES:
            return None
        field = form.pointer.itemsize
        at = tag.offset - page.offset + form.tag.itemsize - field
        dtype = np.dtype(form.order + _TYPES[tag.dtype])
        return cls(at, dtype, tag.count * dtype.itemsize <= field)


@dataclass(frozen=True)
class PackedPage:
    """What pages with directories alike have in common: all but where their strips or tiles are.

    Attributes
    ----------
    shape : tuple of int
        (Y, X).
    pieces : int
        Number of strips or tiles.
    piece_bytes : int
        Of one strip or tile, decoded.
    decoder : callable
        tifffile's, for one strip or tile.
    jpeg : dict
        What that needs for JPEG.
    """

    shape: tuple[int, int]
    pieces: int
    piece_bytes: int
    decoder: Callable[..., Any]
    jpeg: dict[str, Any]

    @classmethod
    def of(cls, path: Path, page: tifffile.TiffPage, frame: int) -> Self:
        """Raise ReadError if the page cannot be decoded, or is too large to be a frame."""
        try:
            if page.compression != 1:
                tifffile.TIFF.DECOMPRESSORS[page.compression]
            decoder = page.decode
            piece = (page.tiledepth, page.tilelength, page.tilewidth)
            if not page.is_tiled:
                piece = (1, page.rowsperstrip, page.imagewidth)
            depth, height, width = (operator.index(n) for n in piece)
        except KeyError as error:
            raise cannot_be_decoded(path, frame, error.args[0]) from error
        except Exception as error:  # damaged tags make tifffile fail in any way
            raise cannot_be_decoded(path, frame, error) from error
        shape, itemsize = frame_shape(page), np.dtype(page.dtype).itemsize
        piece_bytes = depth * height * width * itemsize
        number = -(-shape[0] // max(1, height)) * -(-shape[1] // max(1, width))
        # Tiles reach over the edges of a frame, by less than their own size.
        largest = max(math.prod(shape) * itemsize, piece_bytes)
        if (
            min(depth, height, width) < 1
            or largest > _LARGEST_FRAME_BYTES
            or number != len(page.dataoffsets)
        ):
            raise ReadError(
                f"is damaged: it tells of {shape[0]} x {shape[1]} pixels in pieces of {height} x "
                f"{width}, which are {number:,}, and of places for {len(page.dataoffsets):,}",
                path,
                frame,
            )
        if page.is_final and sum(page.databytecounts) != page.nbytes:
            raise ReadError(
                f"is damaged: it says that its {sum(page.databytecounts):,} bytes are "
                f"{page.nbytes:,} bytes of pixels, uncompressed",
                path,
                frame,
            )
        jpeg = (
            {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
            if page.compression in _JPEG
            else {}
        )
        return cls(shape, number, piece_bytes, decoder, jpeg)

    def decode(
        self, file: SharedFile, pieces: Pieces, path: Path, frame: int, out: NDArray[Any]
    ) -> None:
        """Decode the pixels of one page into out, (Y, X)."""
        # No packing makes noise much larger; a count beyond that is a lie.
        longest = 2 * self.piece_bytes + (1 << 16)
        for number in range(self.pieces):
            count = min(pieces.counts[number], longest)
            data = file.read(pieces.offsets[number], count)
            if len(data) < count:
                raise ReadError("is cut since it was opened", path, frame)
            try:
                pixels, (_, _, y, x, _), _ = self.decoder(data, number, **self.jpeg)
                target = out[y : y + pixels.shape[1], x : x + pixels.shape[2]]
                target[...] = pixels[0, : target.shape[0], : target.shape[1], 0]
            except Exception as error:  # decoders fail in any way on damaged bytes
                raise cannot_be_decoded(path, frame, error) from error


@dataclass(frozen=True)
class PackedPattern:
    """The directory of packed pages, as bytes, but for where their strips or tiles are."""

    page: PackedPage
    form: DirectoryFormat
    length: int
    mask: int
    masked: int
    offsets: _Values
    counts: _Values

    @classmethod
    def of(cls, tif: tifffile.TiffFile, page: tifffile.TiffPage, packed: PackedPage) -> Self | None:
        """Return the pattern of a page; None if its directory is an unusual one."""
        form = DirectoryFormat.of(tif)
        offsets, counts = (_Values.of(page, form, codes) for codes in (_OFFSETS, _COUNTS))
        if offsets is None or counts is None or packed.jpeg:
            return None
        field = form.pointer.itemsize
        record = record_of(tif, page)
        mask = form.mask(record)
        for values in (offsets, counts):
            mask[values.at : values.at + field] = 0
        mask[-field:] = 0
        masked = np.frombuffer(record, np.uint8) & mask
        told, expected = (int.from_bytes(a.tobytes(), "little") for a in (mask, masked))
        return cls(packed, form, mask.size, told, expected, offsets, counts)

    def first_record(self, file: SharedFile) -> bytes:
        """Return the first directory of another file; nothing if that is of another format."""
        pointer = self.form.pointer.itemsize
        head = file.read(0, 2 * pointer)
        if not head.startswith(self.form.magic) or len(head) < 2 * pointer:
            return b""
        at = int.from_bytes(head[pointer:], self._order)
        return file.read(at, self.length) if at < 1 << 63 else b""

    def matches(self, record: bytes) -> bool:
        """Tell whether a directory is that of a page like this one."""
        return (
            len(record) == self.length
            and int.from_bytes(record, "little") & self.mask == self.masked
        )

    def following(self, record: bytes) -> int:
        """Return the offset of the next directory; 0 after the last."""
        return int.from_bytes(record[-self.form.pointer.itemsize :], self._order)

    def pieces(self, file: SharedFile, record: bytes) -> Pieces | None:
        """Return where the strips or tiles are; None if the file ends before it tells."""
        offsets, counts = (self._numbers(v, file, record) for v in (self.offsets, self.counts))
        if offsets is None or counts is None:
            return None
        return Pieces(offsets, counts)

    @property
    def _order(self) -> Literal["little", "big"]:
        return "little" if self.form.order == "<" else "big"

    def _numbers(self, values: _Values, file: SharedFile, record: bytes) -> list[int] | None:
        length = self.page.pieces * values.dtype.itemsize
        raw = record[values.at : values.at + length]
        if not values.inside:
            field = record[values.at : values.at + self.form.pointer.itemsize]
            at = int.from_bytes(field, self._order)
            raw = file.read(at, length) if at < 1 << 63 else b""
        if len(raw) < length:
            return None
        if self.page.pieces == 1:
            return [int.from_bytes(raw, self._order)]
        numbers: list[int] = np.frombuffer(raw, values.dtype).tolist()
        return numbers


def pieces_of(page: tifffile.TiffPage) -> Pieces:
    """Return where the strips or tiles of a parsed page are."""
    return Pieces([int(n) for n in page.dataoffsets], [int(n) for n in page.databytecounts])


def are_somewhere(pieces: Pieces) -> bool:
    """Tell whether every strip or tile is somewhere, as `has_pixels` does of a parsed page."""
    return 8 <= min(pieces.offsets) <= max(pieces.offsets) < 2**63 and min(pieces.counts) > 0


def cannot_be_decoded(path: Path, frame: int, error: object) -> ReadError:
    """Error for a page that its decoder refused."""
    if isinstance(error, ImportError) or "imagecodecs" in str(error):
        what = f"needs imagecodecs ({error}); install it with: pip install 'iosfast[compressed]'"
    else:
        what = f"cannot be decoded: {error}"
    return ReadError(what, path, frame)
