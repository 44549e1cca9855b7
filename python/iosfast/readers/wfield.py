"""Raw files whose name tells their channels, size and type, as the wfield package writes them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ..errors import ReadError
from .raw import plain_frames
from .reader import Options
from .recording import Recording

_NAME = re.compile(r"(?:.*_)?(\d{1,3})_(\d{1,6})_(\d{1,6})_(uint8|uint16|int16|float32)\.(dat|bin)")


def is_wfield(path: Path, _head: bytes) -> bool:
    """Tell by a name such as ``frames_2_540_640_uint16.dat``: channels, Y, X, dtype."""
    match = _NAME.fullmatch(path.name)
    return match is not None and min(int(n) for n in match.groups()[:3]) > 0


def open_wfield(path: Path, options: Options) -> Recording:
    """Open such a file: little-endian, shape (time, channel, Y, X); the channels take turns."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise ReadError("has no name that tells channels, height, width and dtype", path)
    channels, height, width = (int(n) for n in match.groups()[:3])
    return plain_frames(
        path,
        (height, width),
        np.dtype(match[4]).newbyteorder("<"),
        0,
        options.allow_truncated,
        told_by="the name",
        channels=tuple(map(str, range(channels))) if channels > 1 else (),
        metadata={"format": "wfield"},
    )
