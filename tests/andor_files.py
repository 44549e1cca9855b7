"""Andor files as Solis writes them, made of known frames."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

#: Files of real cameras; see test_andor_real.py.
REAL = Path(
    os.environ.get("IOSFAST_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"), "andor"
)

CYCLE_S = 0.02
STARTED = 1731005709
TICK_NS = 25


def sif_bytes(
    frames,
    *,
    version=65567,
    stamps_us=None,
    ticks=None,
    binning=(1, 1),
    left=1,
    bottom=1,
    cycle_s=CYCLE_S,
    accumulations=1,
    promised=None,
    user_text=b"Image 1 of a series.",
    name=b"C:\\data\\a wave.sif",
    pixels=True,
    **changed,
):
    """Return a .sif file that holds float32 frames (T, Y, X), or a .sifx file without pixels.

    `changed` replaces numbers by what a broken header would say: count, total, length, subimages,
    area, name_length, text_length.
    """
    count, height, width = frames.shape
    count = count if promised is None else promised
    right, top = left + width * binning[1] - 1, bottom + height * binning[0] - 1
    area = changed.get("area", f"{left} {top} {right} {bottom} {binning[0]} {binning[1]}")
    said = changed.get("count", count)
    stamps = np.zeros(count, int) if stamps_us is None else stamps_us
    name_length = changed.get("name_length", len(name))
    text_length = changed.get("text_length", 2048)
    head = [
        b"Andor Technology Multi-Channel File\n65538 1\n",
        f"{version} 0 0 1 {STARTED} -70.5 ".encode(),
        b"\0 \0 \1 \3 \0 ",
        f"0 0.015 {cycle_s} {cycle_s} {accumulations} \0 {cycle_s} 5.9e-08 0 0 300 ".encode(),
        b"0 0 0 0 0 \4 \0 0 0 4 0 0 0 0 0 0 0 0 0 3.3e-06 0 2 14819 0 1 -999 1 0 1 0 48 -1 2\n",
        f"DU897_BV \n {width} {height} {name_length}\n".encode() + name + b" \n",
        f"65538 {text_length}\n".encode() + user_text.ljust(2048, b"\0") + b"\n",
        b"65538 \1 \0 \2 \0 0 0\n65540 0 0 500 0 0 1200 1200\n0 10\n",
        b"0 0 0 0 0  0 0 0 0 0 0 10\n0 SR303i\n0 10\n0 10\n0 0 \n",
    ]
    if version > 65565:
        head += [
            b"65537 0 500 1200\n0 999 999\n\n65539 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
            b"0 0 0 0\n0 0 0 0\n0 0 0 0\n0 0 0\n\n-1\n65538 0 0 0 0 0 1 1 1 1\n",
            b"65540 \1 \0 \1 \0 \1 \0\n0 1 0 0\n0 0 0 0\n0 0 0 0\n0\n16\n16\n1\n",
        ]
    else:
        head += [
            b"65536 1 500 200\n5 SR163\n",
            b"65539 \1 \0 \1 \0 \1 \0\n0 1 0 0\n0 1 0 0\n0 1 0 0\n0\n16\n16\n",
        ]
    total = changed.get("total", count * height * width)
    length = changed.get("length", height * width)
    subimages = changed.get("subimages", 1)
    head += [
        b"12\nPixel number6\nCounts12\nPixel number",
        f"65541 1 {height} {width} 1 {said} {subimages} {total} {length}\n".encode(),
        f"65538 {area} 0\n".encode(),
        b"".join(b"%10d\n" % stamp for stamp in stamps),
    ]
    if version >= 65567:
        head.append(b"0\n" if ticks is None else b"1\n")
    if ticks is not None:
        head.append(b"".join(b"%20d\n" % tick for tick in ticks))
    xml = (
        f"<TInstaImageData><mSec>477</mSec></TInstaImageData><TickInterval>{TICK_NS}</TickInterval>"
    )
    tail = b"0\n0\n0\n0\n" + (xml.encode() if version >= 65567 else b"")
    data = frames.astype("<f4").tobytes() if pixels else b""
    return b"".join(head) + data + tail


def pack12(frame, stride):
    """Return the bytes of a frame in Mono12Packed, pixel by pixel."""
    height, width = frame.shape
    out = bytearray()
    for row in frame.tolist():
        packed = bytearray()
        for i in range(0, width, 2):
            first = row[i]
            second = row[i + 1] if i + 1 < width else 0
            packed += bytes([first >> 4, (first & 15) | (second & 15) << 4, second >> 4])
        out += packed[: (3 * width + 1) // 2].ljust(stride, b"\xee")
    assert len(out) == height * stride
    return bytes(out)


def spool_image(frame, encoding, stride, padding, tick=None):
    """Return an image of a spool file: padded rows, and behind them the camera's clock."""
    if encoding == "Mono12Packed":
        rows = pack12(frame, stride)
    else:
        kind = {"Mono12": "<u2", "Mono16": "<u2", "Mono32": "<u4"}[encoding]
        rows = b"".join(row.astype(kind).tobytes().ljust(stride, b"\xee") for row in frame)
    if tick is None:
        return rows + b"\xdd" * padding
    block = (len(rows) + padding - 20).to_bytes(4, "little") + tick.to_bytes(8, "little")
    return rows + bytes(padding - 20) + block + b"\1\0\0\0\x0c\0\0\0"


def spool_name(number):
    return f"{number:010d}"[::-1] + "spool.dat"


def write_spool(
    folder,
    frames,
    encoding="Mono16",
    *,
    row_padding=0,
    padding=40,
    per_file=1,
    by_frame=False,
    ticks=None,
    sifx=True,
    **header,
):
    """Write a spool folder as a camera does."""
    folder.mkdir(exist_ok=True)
    count, height, width = frames.shape
    row = {"Mono32": 4 * width, "Mono12Packed": (3 * width + 1) // 2}.get(encoding, 2 * width)
    stride = row + row_padding
    images = [
        spool_image(f, encoding, stride, padding, None if ticks is None else int(ticks[i]))
        for i, f in enumerate(frames)
    ]
    for number, first in enumerate(range(0, count, per_file)):
        name = spool_name(first if by_frame else number)
        (folder / name).write_bytes(b"".join(images[first : first + per_file]))
    write_ini(folder, height, width, stride, encoding, height * stride + padding, per_file)
    if sifx:
        content = sif_bytes(frames, pixels=False, ticks=ticks, **header)
        (folder / "Spooled files.sifx").write_bytes(content)


def write_ini(folder, height, width, stride, encoding, image, per_file):
    text = (
        f"[data]\nAOIHeight = {height}\nAOIWidth = {width}\nAOIStride = {stride}\n"
        f"PixelEncoding = {encoding}\nImageSizeBytes = {image}\n\n\n"
        f"[multiimage]\nImagesPerFile = {per_file}\n"
    )
    path = folder / "acquisitionmetadata.ini"
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
