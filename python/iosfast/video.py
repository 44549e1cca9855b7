"""A video of waves as they are tracked: H.264 in MP4, which every browser and slide shows."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from .mp4 import checked_mp4, checked_rate, write_mp4
from .progress import progress_for
from .video_frames import TrackingFrames

if TYPE_CHECKING:
    from .figures.color_scale import ColorScale
    from .metrics import Measurement

#: Maps shown per second, if nothing else is said.
USUAL_RATE = Fraction(10)


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
    place = checked_mp4(path)
    rate = checked_rate(frames_per_s)
    frames = TrackingFrames(images, masks, measurement, change, scale, size_px)
    return write_video(place, frames, rate, overwrite=overwrite, progress=progress)


def write_video(
    path: Path,
    frames: TrackingFrames,
    rate: Fraction = USUAL_RATE,
    *,
    overwrite: bool = False,
    progress: bool | Callable[[int, int], None] = False,
) -> Path:
    """Write pictures as a video; see `tracking_video`."""
    height, width = frames.shape
    with progress_for(progress, len(frames), height * width * 3, "video") as update:
        pictures = (frames.draw(number) for number in range(len(frames)))
        write_mp4(
            path, pictures, (height, width), rate, pixels="rgba", overwrite=overwrite, done=update
        )
    return path
