"""What OME-Zarr (NGFF 0.4 and 0.5) tells of an image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_MM = {"angstrom": 1e-7, "nanometer": 1e-6, "micrometer": 1e-3, "millimeter": 1.0}
_MM |= {"centimeter": 10.0, "decimeter": 100.0, "meter": 1000.0, "inch": 25.4}
_SECONDS = {"nanosecond": 1e-9, "microsecond": 1e-6, "millisecond": 1e-3, "second": 1.0}
_SECONDS |= {"minute": 60.0, "hour": 3600.0}


@dataclass(frozen=True)
class Image:
    """A multiscale image, of which only the full size counts.

    Attributes
    ----------
    path : str
        Of the array of full size, below the group.
    axes, units : tuple of str
        One per axis; the unit is empty if none is told.
    scale : tuple of float
        Distance of two pixels or frames, in these units.
    channels : tuple of str
        Their labels, if they are told.
    """

    path: str
    axes: tuple[str, ...]
    units: tuple[str, ...]
    scale: tuple[float, ...]
    channels: tuple[str, ...]
    name: str
    version: str

    def frame_rate_hz(self, time: int) -> float | None:
        """Return the frame rate, if the interval and its unit are told."""
        step = self.scale[time] * _SECONDS.get(self.units[time], 0.0)
        return float(f"{1 / step:.9g}") if step > 0 and self.axes[time] == "t" else None

    def pixel_size_mm(self, y: int, x: int) -> float | None:
        """Return the side of a pixel, if it is told and pixels are square."""
        sides = [self.scale[axis] * _MM.get(self.units[axis], 0.0) for axis in (y, x)]
        if min(sides) <= 0 or abs(sides[0] - sides[1]) > 1e-3 * sides[0]:
            return None
        return float(f"{sides[1]:.9g}")


def image_of(attributes: Mapping[str, Any]) -> Image | None:
    """Return the image that the attributes of a group describe; None if it is no image.

    Raises
    ------
    KeyError, TypeError, ValueError, IndexError, AttributeError
        If they describe one in a way that they must not.
    """
    said = attributes.get("ome", attributes)
    if "multiscales" not in said:
        return None
    first = said["multiscales"][0]
    axes = [a if isinstance(a, dict) else {"name": str(a)} for a in first.get("axes", "tczyx")]
    full = first["datasets"][0]
    scale = [1.0] * len(axes)
    for step in (*full.get("coordinateTransformations", ()), *_both(first)):
        if step.get("type") == "scale" and "scale" in step:
            scale = [a * float(b) for a, b in zip(scale, step["scale"], strict=True)]
    if not all(map(math.isfinite, scale)):
        raise ValueError(f"the scale is {scale}")
    channels = said.get("omero", {}).get("channels", [])
    return Image(
        path=str(full["path"]).strip("/"),
        axes=tuple(str(a["name"]).lower() for a in axes),
        units=tuple(str(a.get("unit", "")) for a in axes),
        scale=tuple(scale),
        channels=tuple(str(c["label"]) for c in channels if c.get("label")),
        name=str(first.get("name", "")),
        version=str(said.get("version", first.get("version", ""))),
    )


def _both(image: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what applies to all sizes of an image."""
    return tuple(image.get("coordinateTransformations", ()))
