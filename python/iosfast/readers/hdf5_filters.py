"""Decoding of HDF5 chunks outside of the HDF5 library, which decodes one at a time."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Bytes, as `bytes` or as an array of uint8.
Decoded = bytes | NDArray[np.uint8]

DEFLATE, SHUFFLE, FLETCHER32 = 1, 2, 3
LZF, BLOSC, LZ4, ZSTD = 32000, 32001, 32004, 32015


@dataclass(frozen=True)
class Filter:
    """One step of a pipeline.

    Attributes
    ----------
    code : int
        As registered with the HDF Group.
    values : tuple of int
        Its parameters.
    """

    code: int
    values: tuple[int, ...]


def decoder(filters: Sequence[Filter], nbytes: int) -> Callable[[bytes, int], Decoded] | None:
    """Return what decodes a chunk, given its bytes and the mask of filters left out.

    Parameters
    ----------
    nbytes : int
        Of a decoded chunk; one of any other size is an error.

    Returns
    -------
    callable or None
        Raises any exception if a chunk is damaged. None if a filter is not known here.
    """
    codecs: ModuleType | None
    try:
        import imagecodecs as codecs  # twice as fast as zlib, and knows the rarer filters
    except ImportError:
        codecs = None
    known = {DEFLATE, SHUFFLE} | (set() if codecs is None else {FLETCHER32, LZF, BLOSC, LZ4, ZSTD})
    if any(step.code not in known for step in filters):
        return None
    if sum(step.code not in (SHUFFLE, FLETCHER32) for step in filters) > 1:
        return None  # the size in between is not known
    steps = tuple(filters)

    def decode(raw: Decoded, mask: int) -> Decoded:
        applied = [step for i, step in enumerate(steps) if not mask >> i & 1]
        for i in reversed(range(len(applied))):
            before = sum(4 for step in applied[:i] if step.code == FLETCHER32)
            raw = _undo(applied[i], raw, nbytes + before, codecs)
        if len(raw) != nbytes:
            raise ValueError(f"its chunk holds {len(raw):,} bytes, not {nbytes:,}")
        return raw

    return decode


def _undo(step: Filter, raw: Decoded, nbytes: int, codecs: Any) -> Decoded:
    if step.code == SHUFFLE:
        return _unshuffle(raw, step.values[0] if step.values else 1)
    if step.code == FLETCHER32:
        body, stored = raw[:-4], bytes(raw[-4:])
        if codecs.h5checksum_fletcher32(body).to_bytes(4, "little") != stored:
            raise ValueError("its checksum is wrong")
        return body
    if step.code == DEFLATE and codecs is None:
        return zlib.decompressobj().decompress(bytes(raw), nbytes + 1)
    if step.code == BLOSC and int.from_bytes(bytes(raw[4:8]), "little") != nbytes:
        raise ValueError("its header tells another size")
    undo = {
        DEFLATE: "deflate_decode",
        LZF: "lzf_decode",
        BLOSC: "blosc_decode",
        LZ4: "lz4h5_decode",
        ZSTD: "zstd_decode",
    }[step.code]
    return bytes(getattr(codecs, undo)(raw, out=nbytes))


def _unshuffle(raw: Decoded, size: int) -> Decoded:
    if size <= 1:
        return raw
    count = len(raw) // size
    planes = np.frombuffer(raw, np.uint8)
    out = np.empty(len(raw), np.uint8)
    for i in range(size):
        out[i : count * size : size] = planes[i * count : (i + 1) * count]
    out[count * size :] = planes[count * size :]
    return out
