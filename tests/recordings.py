"""Recordings in all the ways that programs write them; the frames that each should give."""

from __future__ import annotations

import struct
import warnings

import numpy as np
import tifffile
from PIL import Image

from iosfast import IosfastWarning, ReadError, open_recording
from iosfast.readers import Recording

#: Odd, not square, and no frame is like another, nor its own transpose or mirror image.
SHAPE = (6, 33, 67)


def some_frames(shape=SHAPE, dtype="uint16", seed=0):
    random = np.random.default_rng(seed)
    high = np.iinfo(dtype).max
    frames = random.integers(0, high, shape, dtype, endpoint=True)
    frames[:, 0, 0] = np.arange(len(frames)) % high
    return frames


def stack(**options):
    """Write all frames in one call."""
    return lambda path, frames: tifffile.imwrite(path, frames, **options)


def pages(writer=None, **options):
    """Write frames one by one, each with a directory before its pixels."""

    def write(path, frames):
        with tifffile.TiffWriter(path, **(writer or {})) as tif:
            for frame in frames:
                tif.write(frame, **options)

    return write


def irregular(path, frames):
    """Write frames one by one, at a stride that varies with their descriptions."""
    with tifffile.TiffWriter(path) as tif:
        for i, frame in enumerate(frames):
            tif.write(frame, metadata=None, description="x" * (30 + 50 * (i * i % 7)))


def pillow(**options):
    def write(path, frames):
        images = [Image.fromarray(frame) for frame in frames]
        images[0].save(path, format="tiff", save_all=True, append_images=images[1:], **options)

    return write


def by_hand(layout="directory first", order="<", tags=(), gap=0):
    """Write classic TIFF with a chosen order of directories and pixels.

    layout: "directory first", "data first", "directories last", "directories first", "backwards".
    """

    def write(path, frames):
        count, (height, width) = len(frames), frames.shape[1:]
        bits = 8 * frames.itemsize
        raw = [f.astype(f.dtype.newbyteorder(order)).tobytes() for f in frames]
        entries = 9 + len(dict(tags).keys() - {259})
        directory = 2 + 12 * entries + 4
        blocks = {
            "directory first": [(kind, i) for i in range(count) for kind in "id"],
            "data first": [(kind, i) for i in range(count) for kind in "di"],
            "directories last": [(kind, i) for kind in "di" for i in range(count)],
            "directories first": [(kind, i) for kind in "id" for i in range(count)],
            "backwards": [("i", i) for i in range(count)]
            + [("d", i) for i in reversed(range(count))],
        }[layout]
        at, where = 8, {}
        for kind, i in blocks:
            where[kind, i] = at
            at += directory if kind == "i" else len(raw[i]) + gap
            at += at % 2
        file = bytearray(at)
        magic = b"II*\0" if order == "<" else b"MM\0*"
        file[:8] = magic + struct.pack(order + "I", where["i", 0])
        for i in range(count):
            values = {
                256: (4, width), 257: (4, height), 258: (3, bits), 259: (3, 1), 262: (3, 1),
                273: (4, where["d", i]), 277: (3, 1), 278: (4, height), 279: (4, len(raw[i])),
                **dict(tags),
            }  # fmt: skip
            body = struct.pack(order + "H", entries)
            for code, (kind, value) in sorted(values.items()):
                packed = struct.pack(order + ("H2x" if kind == 3 else "I"), value)
                body += struct.pack(order + "HHI", code, kind, 1) + packed
            following = where["i", i + 1] if i + 1 < count else 0
            body += struct.pack(order + "I", following)
            file[where["i", i] : where["i", i] + len(body)] = body
            file[where["d", i] : where["d", i] + len(raw[i])] = raw[i]
        path.write_bytes(file)

    return write


def outcome(source, **options):
    """Frames or None, the error or None, and the texts of the warnings."""
    frames = error = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with open_recording(source, **options) as recording:
                frames = recording.read()
        except ReadError as raised:
            error = raised
    assert {w.category for w in caught} <= {IosfastWarning}, [str(w) for w in caught]
    return frames, error, [str(w.message) for w in caught]


#: Files whose pixels lie uncompressed, one frame after another.
BLOCKS = {
    "contiguous": stack(),
    "contiguous, no metadata": stack(metadata=None),
    "contiguous, one directory": stack(truncate=True),
    "appended": pages(contiguous=True),
    "BigTIFF": stack(bigtiff=True),
    "big-endian": stack(byteorder=">"),
    "big-endian BigTIFF": stack(byteorder=">", bigtiff=True),
    "ImageJ": stack(imagej=True),
    "ImageJ with axes": stack(imagej=True, metadata={"axes": "TYX"}),
    "ImageJ little-endian": stack(imagej=True, byteorder="<", metadata={"axes": "ZYX"}),
    "OME": stack(ome=True),
    "OME with axes": stack(ome=True, metadata={"axes": "TYX"}, bigtiff=True),
    "strips": stack(rowsperstrip=5),
}
#: Files whose pixels lie uncompressed, with a directory for each frame near to it.
PAGES = {
    "pages": pages(metadata=None),
    "pages, own series": pages(),
    "pages of BigTIFF": pages({"bigtiff": True}, metadata=None),
    "big-endian pages": pages({"byteorder": ">"}, metadata=None),
    "pages in strips": pages(metadata=None, rowsperstrip=4),
    "irregular": irregular,
    "Pillow": pillow(),
    "by hand": by_hand(),
    "by hand, big-endian": by_hand(order=">"),
    "data first": by_hand("data first"),
    "data first, with gaps": by_hand("data first", gap=10),
    "directories first": by_hand("directories first"),
    "directories last": by_hand("directories last"),
    "backwards": by_hand("backwards"),
}
#: Files whose frames must be decoded.
PACKED = {
    "tiles": stack(tile=(16, 32)),
    "zlib": stack(compression="zlib"),
    "zlib with predictor": stack(compression="zlib", predictor=True),
    "zlib in strips": pages(compression="zlib", rowsperstrip=8, metadata=None),
    "LZW": stack(compression="lzw"),
    "LZW with predictor": pages(compression="lzw", predictor=True),
    "ZSTD": stack(compression="zstd"),
    "PackBits": stack(compression="packbits"),
    "ImageJ, compressed": pages(compression="zlib", metadata=None, description="ImageJ=1.53k\n"),
    "OME, compressed": stack(ome=True, compression="zlib"),
    "Pillow, LZW": pillow(compression="tiff_lzw"),
    "Pillow, Deflate": pillow(compression="tiff_adobe_deflate"),
}
KINDS = BLOCKS | PAGES | PACKED


class Chunks(Recording):
    """Frames in memory that say they are stored in chunks, with a record of what is read."""

    def __init__(self, frames, chunk_frames=5, *, fails_at=None, **options):
        super().__init__(source="chunks", shape=frames.shape, dtype=frames.dtype, **options)
        self.frames, self.chunk = frames, chunk_frames
        self.fails_at, self.asked = fails_at, []

    @property
    def chunk_frames(self):
        return self.chunk

    def _read(self, start, stop):
        self.asked.append((start, stop))
        if self.fails_at is not None and start <= self.fails_at < stop:
            raise ReadError("is broken", "chunks", self.fails_at)
        return self.frames[start:stop].copy()
