"""Chunks of Zarr arrays: where they lie in files and shards, and how they are decoded."""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..errors import ReadError
from .chunks import Chunks, FileOf, Grid, Place, Places, too_sparse
from .shared_file import Scratch, SharedFile

#: In the index of a shard: an inner chunk that is not stored.
_ABSENT = np.uint64(2**64 - 1)
_MAX_INDEX_BYTES = 256 << 20
#: Files that are looked for before it is asked whether there are too few.
_LOOK_AT_ONCE = 4096

Decoder = Callable[[Any, int], Any]


@dataclass(frozen=True)
class Storage:
    """How the chunks of an array are stored.

    Attributes
    ----------
    chunks : tuple of int
        Shape of a chunk; of an inner one if there are shards.
    shard : tuple of int or None
        Shape of a shard.
    dtype : numpy dtype
        With the byte order of the files.
    order : tuple of int
        Order in which the axes of a chunk are stored.
    decoders : tuple of callable or None
        Undo the compression, last one first; each is given bytes and the number that is wanted.
        None if a codec is not known here.
    index_first : bool
        The index of a shard is at its begin.
    """

    chunks: tuple[int, ...]
    shard: tuple[int, ...] | None
    dtype: np.dtype[Any]
    order: tuple[int, ...]
    decoders: tuple[Decoder, ...] | None
    index_first: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes of a decoded chunk."""
        return math.prod(self.chunks) * self.dtype.itemsize

    @property
    def is_plain(self) -> bool:
        """Whether chunks are neither compressed nor in another order of axes."""
        return self.decoders == () and self.order == tuple(range(len(self.chunks)))


def storage_of(path: Path, metadata: Any) -> Storage | None:
    """Return how an array is stored; None if it is in a way that only zarr itself knows.

    Parameters
    ----------
    metadata : zarr's ArrayV2Metadata or ArrayV3Metadata
    """
    dtype = metadata.dtype.to_native_dtype()
    if metadata.zarr_format == 2:
        axes = range(len(metadata.shape))
        order = tuple(axes if metadata.order == "C" else reversed(axes))
        steps = [*(metadata.filters or ()), *([metadata.compressor] if metadata.compressor else [])]
        known = [decoder for step in steps if (decoder := _numcodec(step)) is not None]
        decoders = tuple(known) if len(known) == len(steps) <= 1 else None
        return Storage(tuple(metadata.chunks), None, dtype, order, decoders)
    chunks = getattr(metadata.chunk_grid, "chunk_shape", None)
    if chunks is None:
        return None
    codecs = [codec.to_dict() for codec in metadata.codecs]
    if [codec["name"] for codec in codecs] != ["sharding_indexed"]:
        return _with_codecs(tuple(chunks), None, dtype, codecs)
    sharding = metadata.codecs[0]
    index = [codec.to_dict() for codec in sharding.index_codecs]
    if index[:1] != [{"name": "bytes", "configuration": {"endian": "little"}}] or [
        codec["name"] for codec in index[1:]
    ] not in (["crc32c"], []):
        return None
    inner = tuple(sharding.chunk_shape)
    if len(inner) != len(chunks) or any(c % i for c, i in zip(chunks, inner, strict=True)):
        raise ReadError(f"is damaged: its shards {chunks} are not made of chunks {inner}", path)
    found = _with_codecs(
        inner, tuple(chunks), dtype, [codec.to_dict() for codec in sharding.codecs]
    )
    first = str(getattr(sharding.index_location, "value", sharding.index_location)) == "start"
    if found is None or len(index) != 2:
        return None
    return Storage(inner, tuple(chunks), found.dtype, found.order, found.decoders, first)


def _with_codecs(
    chunks: tuple[int, ...],
    shard: tuple[int, ...] | None,
    dtype: np.dtype[Any],
    codecs: Sequence[dict[str, Any]],
) -> Storage | None:
    order = tuple(range(len(chunks)))
    decoders: list[Decoder] = []
    checksums, compressed = 0, False
    for codec in codecs:
        said = codec.get("configuration", {})
        if codec["name"] == "transpose":
            order = tuple(order[int(axis)] for axis in said["order"])
        elif codec["name"] == "bytes":
            big = said.get("endian") == "big"
            dtype = dtype.newbyteorder(">" if big else "<")
        elif codec["name"] == "crc32c":
            checksums += 4
            decoders.append(_crc32c)
        elif (decoder := _V3_DECODERS.get(codec["name"])) is not None and not compressed:
            compressed = True
            decoders.append(_longer(decoder, checksums))
        else:  # or one compression after another, between which the size is not known
            return Storage(chunks, shard, dtype, order, None)
    return Storage(chunks, shard, dtype, order, tuple(decoders))


def _longer(decoder: Decoder, more: int) -> Decoder:
    """Return a decoder of what holds checksums beside the pixels."""
    return lambda raw, nbytes: decoder(raw, nbytes + more)


def _numcodec(codec: Any) -> Decoder | None:
    known = {"zstd": _zstd, "blosc": _blosc, "gzip": _gzip, "zlib": _gzip, "lz4": _lz4}
    return known.get(codec.codec_id)


def _blosc(raw: Any, nbytes: int) -> Any:
    from numcodecs.blosc import decompress

    if len(raw) < 16 or int.from_bytes(raw[4:8], "little") != nbytes:
        raise ValueError("its header tells another size")
    if int.from_bytes(raw[12:16], "little") != len(raw):
        raise ValueError("it is cut")
    return decompress(raw, np.empty(nbytes, np.uint8))


def _zstd(raw: Any, nbytes: int) -> Any:
    from numcodecs.zstd import decompress

    if (told := _zstd_size(raw)) not in (nbytes, None):
        raise ValueError(f"it holds {told:,} bytes, not {nbytes:,}")
    return decompress(raw, np.empty(nbytes, np.uint8))


def _zstd_size(raw: Any) -> int | None:
    """Return the size that a frame tells by RFC 8878, as decoders fill no larger buffer."""
    if len(raw) < 6 or raw[:4] != b"\x28\xb5\x2f\xfd":
        raise ValueError("it is no zstd frame")
    flags = raw[4]
    single = flags >> 5 & 1
    width = (single, 2, 4, 8)[flags >> 6]
    begin = 5 + (not single) + (0, 1, 2, 4)[flags & 3]
    value = int.from_bytes(raw[begin : begin + width], "little")
    return None if width == 0 else value + 256 * (width == 2)


def _gzip(raw: Any, nbytes: int) -> Any:
    decoder = zlib.decompressobj(47)  # gzip or zlib, whichever it is
    pixels = decoder.decompress(raw, nbytes + 1)
    if not decoder.eof:
        raise ValueError("it is cut, or holds more than a chunk")
    return pixels


def _lz4(raw: Any, nbytes: int) -> Any:
    from numcodecs.lz4 import decompress

    if int.from_bytes(raw[:4], "little") != nbytes:
        raise ValueError("its header tells another size")
    return decompress(raw, np.empty(nbytes, np.uint8))


def _crc32c(raw: Any, nbytes: int) -> Any:
    from google_crc32c import value

    if len(raw) < 4 or value(bytes(raw[:-4])).to_bytes(4, "little") != bytes(raw[-4:]):
        raise ValueError("its checksum is wrong")
    return raw[:-4]


_V3_DECODERS: dict[str, Decoder] = {"zstd": _zstd, "blosc": _blosc, "gzip": _gzip}


def find_chunks(path: Path, grid: Grid, file_of: FileOf) -> Places:
    """Look for the file of every chunk."""
    found: list[NDArray[np.int64]] = []
    looked = stored = 0
    places = grid.places()
    while some := list(itertools.islice(places, _LOOK_AT_ONCE)):
        sizes = _core.file_sizes([file_of(grid.key(place)) for place in some])
        looked, stored = looked + len(some), stored + int(np.count_nonzero(sizes >= 0))
        if too_sparse(looked, stored):
            raise _sparse(path, grid, stored, looked)
        found.append(sizes)
    sizes = np.concatenate(found).reshape(grid.counts)
    return Places(np.minimum(sizes, 0), np.maximum(sizes, 0))


def _sparse(path: Path, grid: Grid, stored: int, looked: int) -> ReadError:
    return ReadError(
        f"has the shape {grid.shape}, but only {stored:,} of the first {looked:,} of its "
        f"{math.prod(grid.counts):,} chunks are there",
        path,
    )


def find_in_shards(
    path: Path, grid: Grid, outer: Grid, file_of: FileOf, storage: Storage
) -> tuple[Places, NDArray[np.bool_]]:
    """Read the index of every shard; also return which chunks are cut off."""
    assert storage.shard is not None
    inner = tuple(s // c for s, c in zip(storage.shard, storage.chunks, strict=True))
    nbytes = 16 * math.prod(inner) + 4
    if nbytes > _MAX_INDEX_BYTES:
        raise ReadError(f"is damaged: shards of {math.prod(inner):,} chunks each", path)
    shards = find_chunks(path, outer, file_of)
    stored = int(np.count_nonzero(shards.offsets >= 0))
    if math.prod(grid.counts) > 10_000_000 + int(shards.nbytes.sum()) // 8:
        raise _sparse(path, outer, stored, math.prod(outer.counts))
    places = Places.empty(grid)
    cut = np.zeros(grid.counts, np.bool_)
    per = Grid(storage.shard, storage.chunks, grid.axes).counts
    for t, c, y, x in np.argwhere(shards.offsets >= 0).tolist():
        place = (t, c, y, x)
        begin = [n * m for n, m in zip(place, per, strict=True)]
        where = tuple(
            slice(b, min(b + m, n)) for b, m, n in zip(begin, per, grid.counts, strict=True)
        )
        frame = begin[0] * grid.parts[0] * grid.channels
        size = int(shards.nbytes[place])
        index = _index(Path(file_of(outer.key(place))), size, nbytes, storage, frame)
        if index is None:
            places.offsets[where], cut[where] = 0, True
            continue
        table = grid.oriented(index.reshape(*inner, 2).view([("o", "<u8"), ("n", "<u8")])[..., 0])
        table = table[tuple(slice(0, s.stop - s.start) for s in where)]
        absent = table["o"] == _ABSENT
        outside = ~absent & (
            (table["o"] > size) | (table["n"] > size - np.minimum(table["o"], size))
        )
        if storage.index_first:
            cut[where] = outside
        elif outside.any():
            raise ReadError(
                "is damaged: its index tells of chunks beyond its end",
                file_of(outer.key(place)),
                frame,
            )
        places.offsets[where] = np.where(absent, -1, table["o"].astype(np.int64))
        places.nbytes[where] = np.where(absent, 0, table["n"].astype(np.int64))
    return places, cut


def _index(
    path: Path, size: int, nbytes: int, storage: Storage, frame: int
) -> NDArray[np.uint64] | None:
    """Return offsets and lengths of a shard's chunks; None if the shard is cut."""
    if size < nbytes:
        return None
    file = SharedFile(path)
    try:
        raw = file.read_whole(0 if storage.index_first else size - nbytes, nbytes, frame)
    finally:
        file.close()
    try:
        return np.frombuffer(_crc32c(raw, nbytes - 4), "<u8")
    except ValueError:
        return None  # where the index should be are pixels


def own_chunks(grid: Grid, places: Places, storage: Storage, file_of: FileOf) -> Chunks:
    """Decode chunks here, in as many threads as call."""
    decoders = storage.decoders or ()
    shape = tuple(storage.chunks[axis] for axis in storage.order)
    back = tuple(int(axis) for axis in np.argsort(storage.order))

    scratch = Scratch()

    def fetch(place: Place, frame: int) -> NDArray[Any] | None:
        offset = int(places.offsets[place])
        if offset < 0:
            return None
        path = Path(file_of(grid.key(place)))
        file = SharedFile(path, frame)
        try:
            pixels: Any = file.read_into(scratch, offset, int(places.nbytes[place]), frame)
        finally:
            file.close()
        try:
            for decode in reversed(decoders):
                pixels = decode(pixels, storage.nbytes)
        except Exception as error:  # decoders fail in any way on damaged bytes
            raise ReadError(f"its chunk cannot be decoded: {error}", path, frame) from error
        if len(pixels) != storage.nbytes:
            raise ReadError(
                f"its chunk holds {len(pixels):,} bytes, not {storage.nbytes:,}", path, frame
            )
        if isinstance(pixels, memoryview):  # nothing was decoded: these are in the scratch
            pixels = bytearray(pixels)
        return np.frombuffer(pixels, storage.dtype).reshape(shape).transpose(back)

    return Chunks(fetch, lambda: None)
