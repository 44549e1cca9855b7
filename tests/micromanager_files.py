"""Recordings as Micro-Manager writes them: its own headers, OME-XML, parts of limited size."""

from __future__ import annotations

import json
import struct

UUID = "urn:uuid:00000000-0000-4000-8000-{:012d}"


def part_name(base, part):
    return f"{base}{f'_{part}' if part else ''}.ome.tif"


def write_micromanager(
    folder, frames, per_part, *, base="x_MMStack_Pos0", times_ms=None, channels=1, ome=True,
    deltas=True, pixel_size_um=19.5,
):  # fmt: skip
    """Write frames (T * C, Y, X); return the paths of the parts.

    Every part holds the same XML, and IFD, pixels and metadata of one frame follow each other.
    """
    parts = [range(i, min(i + per_part, len(frames))) for i in range(0, len(frames), per_part)]
    xml = ome_xml(base, frames, parts, channels, times_ms if deltas else None, pixel_size_um)
    paths = []
    for number, part in enumerate(parts):
        paths.append(folder / part_name(base, number))
        facts = [
            page_facts(i, channels, None if times_ms is None else times_ms[i], pixel_size_um)
            for i in part
        ]
        description = xml if ome else None
        paths[-1].write_bytes(file_bytes([frames[i] for i in part], facts, description, channels))
    return paths


def page_facts(frame, channels, time_ms, pixel_size_um):
    facts = {
        "Camera": "Andor Zyla", "Exposure-ms": 16.5, "PixelSizeUm": pixel_size_um, "Binning": "1",
        "FrameIndex": frame // channels, "ChannelIndex": frame % channels,
        "Notes": "x" * (frame * frame % 37),  # so that strides vary, as they do
    }  # fmt: skip
    return facts if time_ms is None else {**facts, "ElapsedTime-ms": time_ms}


def ome_xml(base, frames, parts, channels, times_ms, pixel_size_um):
    data = "".join(
        f'<TiffData FirstC="{i % channels}" FirstT="{i // channels}" FirstZ="0" '
        f'IFD="{i - part[0]}" PlaneCount="1"><UUID FileName="{part_name(base, number)}">'
        f"{UUID.format(number)}</UUID></TiffData>"
        for number, part in enumerate(parts)
        for i in part
    )
    planes = "".join(
        f'<Plane DeltaT="{t}" DeltaTUnit="ms" TheC="{i % channels}" TheT="{i // channels}" '
        'TheZ="0"/>'
        for i, t in enumerate(times_ms or ())
    )
    names = "".join(f'<Channel ID="C:{i}" Name="LED{i}"/>' for i in range(channels))
    _, height, width = frames.shape
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="no"?>'
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2013-06" '
        f'UUID="{UUID.format(0)}"><Image ID="Image:0"><Pixels DimensionOrder="XYCZT" '
        f'SizeC="{channels}" SizeT="{len(frames) // channels}" SizeX="{width}" SizeY="{height}" '
        f'SizeZ="1" PhysicalSizeX="{pixel_size_um}" PhysicalSizeY="{pixel_size_um}" '
        f'Type="uint16" BigEndian="false" ID="Pixels:0">{names}{data}{planes}</Pixels></Image>'
        "</OME>"
    ).encode()


def file_bytes(frames, facts, xml, channels):
    summary = json.dumps({"MicroManagerVersion": "1.4.23", "Interval_ms": 0}).encode()
    file = bytearray(struct.pack("<4sI", b"II*\0", 40 + len(summary)))
    file += struct.pack("<6I", 54773648, 0, 483765892, 0, 99384722, 0)
    file += struct.pack("<2I", 2355492, len(summary)) + summary
    index, description_at = [], 0
    for i, (frame, said) in enumerate(zip(frames, facts, strict=True)):
        at, (height, width) = len(file), frame.shape
        said = json.dumps(said).encode() + b"\0"
        first = i == 0 and xml is not None
        pixels = at + 2 + 12 * (12 + first) + 4 + 16
        values = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 16), (259, 3, 1, 1)]
        values += [(262, 3, 1, 1)] + [(270, 2, len(xml or b""), 0)] * first
        values += [(273, 4, 1, pixels), (277, 3, 1, 1), (278, 3, 1, height)]
        values += [(279, 4, 1, frame.nbytes), (282, 5, 1, pixels - 16), (283, 5, 1, pixels - 8)]
        values += [(51123, 2, len(said), pixels + frame.nbytes)]
        end = pixels + frame.nbytes + len(said)
        last = i == len(frames) - 1
        file += struct.pack("<H", len(values))
        for code, kind, count, value in values:
            description_at = len(file) + 8 if code == 270 else description_at
            file += struct.pack("<HHII", code, kind, count, value)
        file += struct.pack("<I4I", 0 if last else end, 1, 1, 1, 1)
        file += frame.astype("<u2").tobytes() + said
        index.append((i % channels, 0, i // channels, 0, at))
    struct.pack_into("<I", file, 12, len(file))
    file += struct.pack("<2I", 3453623, len(index))
    file += b"".join(struct.pack("<5I", *entry) for entry in index)
    if xml is not None:
        struct.pack_into("<I", file, description_at, len(file))
        file += xml
    return bytes(file)
