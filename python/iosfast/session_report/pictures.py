"""The pictures of a report, as what an HTML page can hold."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import figures
from ..figures.parts import clock
from ..maps import Maps
from ..video_frames import TrackingFrames
from .waves import EpisodeResult, WaveResult, images_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

#: Dots per inch of figures, and loss of what is drawn on images of a camera.
DPI, QUALITY = 144, 86
#: Longest side of the picture of the cortex.
_SIDE_PX = 640


@dataclass(frozen=True)
class Picture:
    """A picture in a page.

    Attributes
    ----------
    source : str
        A data URI.
    width, height : int
        Pixels.
    alt : str
        What it shows, for those who do not see it.
    caption : str
    kind : str
        What it is.
    """

    source: str
    width: int
    height: int
    alt: str
    caption: str = ""
    kind: str = ""


def data_uri(data: bytes, kind: str) -> str:
    """Return bytes as an address that holds them."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _picture(image: Image.Image, alt: str, caption: str = "", kind: str = "") -> Picture:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=QUALITY, method=0)
    source = data_uri(buffer.getvalue(), "image/webp")
    return Picture(source, image.width, image.height, alt, caption, kind)


def _drawn(figure: Figure, alt: str, caption: str, kind: str) -> Picture:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure.set_dpi(DPI)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    return _picture(image, alt, caption, kind)


def cortex(maps: Maps) -> Picture:
    """Draw the first mean image, darkened outside of the mask."""
    from PIL import Image

    image = np.asarray(maps.binned[0])
    grey = figures.ColorScale.of_images(image).rgb(image)
    alt = "First mean image of the cortex"
    if maps.mask is not None:
        grey[~maps.mask] //= 3
        alt += ", darkened outside of its mask"
    picture = Image.fromarray(grey)
    scale = _SIDE_PX / max(picture.size)
    if scale < 1:
        width, height = (max(1, round(side * scale)) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    return _picture(picture, alt)


def ground(maps: Maps, result: EpisodeResult) -> NDArray[Any]:
    """Return the mean image at the begin of an episode, in grey."""
    image = np.asarray(maps.binned[int(maps.info.map_bins()[result.episode.start])])
    return figures.ColorScale.of_images(image).rgb(image)


def of_wave(maps: Maps, result: EpisodeResult, wave: WaveResult) -> list[Picture]:
    """Draw the figures of a wave: way, arrival, speed, course of time."""
    image = ground(maps, result)
    event = wave.measurement.events.iloc[0]
    unit = wave.measurement.length_unit
    of = f"wave {wave.label}"
    begin, end = clock(event["start_time_s"]), clock(event["end_time_s"])
    speed = event["front_speed_median_mm_min"]
    told = f"median {speed:.2f} {unit}/min" if np.isfinite(speed) else "no speed can be told"
    return [
        _drawn(
            figures.overlay(wave.measurement, wave.masks, image),
            f"Outlines of {of} on the mean image, from {begin} to {end}, with the way of its "
            "centroid and an arrow from its start to its end",
            "Outlines and way of the centroid, in the colour of their time",
            "way",
        ),
        _drawn(
            figures.isochrones(wave.measurement, image),
            f"Map of when the front of {of} arrives, with lines at equal times and arrows along "
            "its direction",
            "When the front arrives; lines at equal times, arrows where it heads",
            "arrival",
        ),
        _drawn(
            figures.speed_map(wave.measurement, image, width_in=5.4),
            f"Map of the speed of the front of {of}, and how often each speed is: {told}",
            "Speed of the front at each place, and how often each speed is",
            "speed",
        ),
        _drawn(
            figures.traces(wave.measurement, width_in=4.8),
            f"Area and speed of {of} over time; the largest area is "
            f"{event['max_area_mm2']:.3g} {unit}²",
            "Area and speed over time",
            "course",
        ),
    ]


def frames_of(maps: Maps, result: EpisodeResult, size_px: int) -> TrackingFrames:
    """Return the pictures of the video of an episode."""
    assert result.measurement is not None
    last = result.first + result.masks.shape[1]
    images = images_of(maps, result.first, last)
    change = np.asarray(maps.rgb[result.first : last])
    scale = figures.ColorScale.of(maps.recipe)
    return TrackingFrames(images, result.masks, result.measurement, change, scale, size_px)


def poster(frames: TrackingFrames, result: EpisodeResult) -> Picture:
    """Draw the picture of the video in which the waves are largest."""
    from PIL import Image

    largest = int(np.count_nonzero(result.masks, axis=(0, 2, 3)).argmax())
    image = Image.fromarray(frames.draw(largest)[..., :3])
    labels = " and ".join(wave.label for wave in result.waves)
    alt = f"Video of wave {labels}: the change inside of the outline on the image of each map"
    return _picture(image, alt)


def course_line(times_s: Sequence[float], values: Sequence[float], top: float, low: float) -> str:
    """Return a line for the ``d`` of an SVG path, in 1000 x 100 units; gaps where it is not told.

    Parameters
    ----------
    times_s, values : sequence of float
        Times as parts of the width, 0 to 1.
    top, low : float
        Values at the upper and lower end.
    """
    parts, pen = [], "M"
    for x, value in zip(times_s, values, strict=True):
        if not np.isfinite(value):
            pen = "M"
            continue
        y = 100 - 100 * (value - low) / (top - low)
        parts.append(f"{pen}{1000 * x:.1f} {min(max(y, 0), 100):.1f}")
        pen = "L"
    return "".join(parts)
