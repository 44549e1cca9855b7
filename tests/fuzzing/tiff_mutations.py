"""Lies in the directories of TIFF files, found by their structure."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

_LAYOUT = (256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 317, 322, 323, 324, 325, 339)


class _Field(NamedTuple):
    """A number in a directory: what it is, its offset and its bytes."""

    what: str
    at: int
    width: int


class _Structure(NamedTuple):
    order: str
    fields: list[_Field]
    directories: list[int]


def change(data: bytearray, random: np.random.Generator) -> str | None:
    """Replace one number of a directory; say which, or return None if there is no directory."""
    found = _walk(data)
    if not found.fields:
        return None
    wanted = random.choice(["count", "type", "value", "next", "code", "tags", "any"])
    fields = [f for f in found.fields if f.what.startswith(wanted)] or found.fields
    field = fields[int(random.integers(len(fields)))]
    size = len(data)
    values = [0, 1, 2, 3, 7, 8, 9, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63, 2**64 - 1]
    values += [size - 2, size - 1, size, size + 1, size // 2, size - 8, size + 4096]
    if field.what == "type":
        values = [*range(20), 255, 65535]
    elif field.what == "code":
        values = [*_LAYOUT, 270, 306, 330, 33629, 34665, 51123]
    elif field.what == "next":
        values += [at + d for at in found.directories for d in (0, 0, 0, 2, -1)]
    elif field.what.startswith("value") or field.what.startswith("count"):
        old = int.from_bytes(
            data[field.at : field.at + field.width], "little" if found.order == "<" else "big"
        )
        values += [old + d for d in (-2, -1, 1, 2)] + [old * 2, old // 2, old * 65536]
        values += [5, 6, 8, 12, 16, 32, 64, 5, 8, 32773, 50000, 34712, 34925]  # compressions
    value = values[int(random.integers(len(values)))] % (1 << 8 * field.width)
    letter = {2: "H", 4: "I", 8: "Q"}[field.width]
    struct.pack_into(found.order + letter, data, field.at, value)
    return f"{field.what} at byte {field.at} set to {value}"


def _walk(data: bytearray) -> _Structure:
    """List the fields of all directories that can be reached."""
    order = "<" if data[:2] == b"II" else ">"
    fields: list[_Field] = []
    directories: list[int] = []
    try:
        big = struct.unpack_from(order + "H", data, 2)[0] == 43
        pointer, width, tag_bytes = ("Q", 8, 20) if big else ("I", 4, 12)
        at_pointer = 8 if big else 4
        while len(directories) < 50:
            fields.append(_Field("next", at_pointer, width))
            at = struct.unpack_from(order + pointer, data, at_pointer)[0]
            if at == 0 or at in directories:
                break
            count = struct.unpack_from(order + ("Q" if big else "H"), data, at)[0]
            if count > 200:
                break
            directories.append(at)
            fields.append(_Field("tags", at, 8 if big else 2))
            tag = at + (8 if big else 2)
            for _ in range(count):
                code = struct.unpack_from(order + "H", data, tag)[0]
                struct.unpack_from(order + pointer, data, tag + 4 + width)
                fields.append(_Field("code", tag, 2))
                fields.append(_Field("type", tag + 2, 2))
                fields.append(_Field(f"count of tag {code}", tag + 4, width))
                fields.append(_Field(f"value of tag {code}", tag + 4 + width, width))
                tag += tag_bytes
            at_pointer = tag
    except (struct.error, OverflowError):
        pass  # cut or damaged before: what was found is enough
    return _Structure(order, [f for f in fields if f.at + f.width <= len(data)], directories)
