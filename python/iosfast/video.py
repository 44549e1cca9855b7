"""A video of waves as they are tracked: H.264 in MP4, which every browser and slide shows."""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from numpy.typing import NDArray

from . import arguments
from .errors import WriteError
from .progress import progress_for
from .staging import surely, write_error
from .video_frames import TrackingFrames

if TYPE_CHECKING:
    from .figures.color_scale import ColorScale
    from .metrics import Measurement

#: Threads of the encoder: a fixed number, since the bits depend on it, and not on the cores.
ENCODER_THREADS = 4
_BT709 = 1
_LIMITED_RANGE = 1


def tracking_video(
    path: str | PathLike[str],
    images: NDArray[Any],
    masks: NDArray[Any],
    measurement: Measurement,
    *,
    change: NDArray[Any] | None = None,
    scale: ColorScale | None = None,
    size_px: int = 1024,
    frames_per_s: float = 10.0,
    overwrite: bool = False,
    progress: bool | Callable[[int, int], None] = False,
) -> Path:
    """Write a video of tracked waves: one picture per map.

    On the image of each map's time lie the colours of the change inside of each wave's outline,
    the outline, the way of the centroid until then, and an arrow from its start to where it is.
    Below stand the time, and of each wave the area, the speed of front and centroid, and where it
    heads (0 along x, 90 downwards).

    Parameters
    ----------
    path : path
        The file to make, ``.mp4``.
    images : ndarray, shape (T, Y, X), or of uint8, shape (T, Y, X, 3)
        Mean images of the times of the maps; numbers are grey, from their 1st to their 99.5th
        percentile.
    masks : ndarray of bool or uint8, shape (T, Y, X) or (objects, T, Y, X)
        Those that were measured.
    measurement : Measurement
    change : ndarray, shape (T, Y, X), or of uint8, shape (T, Y, X, 3), optional
        Maps as numbers, or in colours.
    scale : ColorScale, optional
        What the colours of `change` mean; needed if it is numbers.
    size_px : int
        Width of the video, 160 to 4096.
    frames_per_s : float
        Maps shown per second.
    overwrite : bool
        Replace a file of this name.
    progress : bool or callable
        Show a bar, or call with the pictures done and their number.

    Returns
    -------
    Path
        The video. The same input gives the same bits with one version of PyAV and Pillow.

    Raises
    ------
    TypeError, ValueError
        If something does not fit.
    WriteError
        If the file exists, or cannot be written; nothing incomplete is left.
    ImportError
        Without PyAV (extra ``video``).
    """
    place = Path(path)
    if place.suffix.lower() != ".mp4":
        raise ValueError(f"path must end in .mp4, not {place.name!r}")
    rate = Fraction(arguments.number("frames_per_s", frames_per_s, 0.1, 240)).limit_denominator(
        1001
    )
    frames = TrackingFrames(images, masks, measurement, change, scale, size_px)
    try:
        import av
    except ImportError as error:
        raise ImportError(
            "videos need PyAV; install it with: pip install 'iosfast[video]'"
        ) from error
    if place.is_dir() or (os.path.lexists(place) and not overwrite):
        raise WriteError(f"{place}: exists already; choose another path, or overwrite=True")
    work = place.with_name(f".{place.stem}.partial-{uuid4().hex[:8]}.mp4")
    height, width = frames.shape
    done = False
    try:
        with (
            av.open(os.fspath(work), "w", options={"movflags": "+faststart"}) as file,
            progress_for(progress, len(frames), height * width * 3, "video") as update,
        ):
            stream: Any = file.add_stream("libx264", rate=rate)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.options = {"crf": "18", "preset": "veryfast"}
            context = stream.codec_context
            context.thread_type, context.thread_count = "FRAME", ENCODER_THREADS
            context.colorspace = context.color_primaries = context.color_trc = _BT709
            context.color_range = _LIMITED_RANGE
            for number in range(len(frames)):
                picture = av.VideoFrame.from_ndarray(frames.draw(number), format="rgba")
                converted = picture.reformat(format="yuv420p", dst_colorspace="ITU709")
                converted.pts = number
                converted.time_base = 1 / rate
                file.mux(stream.encode(converted))
                update(number + 1)
            file.mux(stream.encode())
        os.replace(work, place)
        done = True
    except OSError as error:
        raise write_error(place, error) from error
    finally:
        if not done:
            surely(lambda: work.unlink(missing_ok=True))
    return place
