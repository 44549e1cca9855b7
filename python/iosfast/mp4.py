"""Pictures as H.264 in MP4, which every browser and slide shows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import arguments
from .errors import WriteError
from .staging import file_beside

#: Threads of the encoder: a fixed number, since the bits depend on it, and not on the cores.
ENCODER_THREADS = 4
_BT709 = 1
_LIMITED_RANGE = 1


def checked_mp4(path: str | PathLike[str]) -> Path:
    """Return the place of a video; raise ValueError unless its name ends in ``.mp4``."""
    place = Path(path)
    if place.suffix.lower() != ".mp4":
        raise ValueError(f"path must end in .mp4, not {place.name!r}")
    return place


def checked_rate(frames_per_s: float) -> Fraction:
    """Return pictures per second as the fraction that a video holds."""
    rate = Fraction(arguments.number("frames_per_s", frames_per_s, 0.1, 240))
    return rate.limit_denominator(1001)


def write_mp4(
    place: Path,
    pictures: Iterable[NDArray[Any]],
    shape: tuple[int, int],
    rate: Fraction,
    *,
    pixels: str,
    crf: int = 18,
    overwrite: bool = False,
    extra: str = "video",
    done: Callable[[int], None] = lambda number: None,
) -> None:
    """Write pictures to a file, which appears when it is complete.

    Parameters
    ----------
    place : Path
    pictures : iterable of ndarray of uint8
        Made one after the other.
    shape : tuple of int
        (Y, X) of each, both even.
    rate : Fraction
        Pictures per second.
    pixels : str
        What they hold, as PyAV calls it: ``rgba`` or ``gray``.
    crf : int
        Of the encoder: smaller is better and larger.
    overwrite : bool
        Replace a file of this name.
    extra : str
        Of iosfast, that PyAV comes with here.
    done : callable
        Called with the number of pictures done.

    Raises
    ------
    WriteError
        If the file exists, or cannot be written; nothing incomplete is left.
    ImportError
        Without PyAV.
    """
    try:
        import av
        from av.video.reformatter import Colorspace, VideoReformatter
    except ImportError as error:
        raise ImportError(
            f"videos need PyAV; install it with: pip install 'iosfast[{extra}]'"
        ) from error
    if place.is_dir() or (os.path.lexists(place) and not overwrite):
        raise WriteError(f"{place}: exists already; choose another path, or overwrite=True")
    with (
        file_beside(place) as work,
        av.open(os.fspath(work), "w", options={"movflags": "+faststart"}) as file,
    ):
        stream: Any = file.add_stream("libx264", rate=rate)
        (stream.height, stream.width), stream.pix_fmt = shape, "yuv420p"
        # Motion between maps is of whole pixels, if any: half ones are not sought.
        stream.options = {"crf": str(crf), "preset": "superfast", "x264-params": "subme=0"}
        context = stream.codec_context
        context.thread_type, context.thread_count = "FRAME", ENCODER_THREADS
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED_RANGE
        converter = VideoReformatter()  # one for all pictures: to set it up costs as much as one
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_numpy_buffer(np.ascontiguousarray(picture), format=pixels)
            converted = converter.reformat(
                frame, format="yuv420p", dst_colorspace=Colorspace.ITU709
            )
            converted.pts = number
            converted.time_base = 1 / rate
            file.mux(stream.encode(converted))
            done(number + 1)
        file.mux(stream.encode())
