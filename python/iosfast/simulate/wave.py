"""Spreading waves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .. import arguments

WaveShape = Literal["plane", "ring", "sector"]
_Image = NDArray[np.float32]
_Doubles = NDArray[np.float64]

#: Part of a wave's band in which the signal rises; it falls in the rest.
RISE_FRACTION = 1 / 3


@dataclass(frozen=True)
class Wave:
    """One spreading wave, such as cortical spreading depression.

    A front leaves the origin at `start_s` and advances at constant speed. At each pixel that it
    reaches, the signal rises smoothly for a third of `band_s` and falls for the rest. Waves that
    meet add up and pass through each other.

    Parameters
    ----------
    shape : {"ring", "plane", "sector"}
        ``ring`` grows to all sides; ``sector`` is the part of a ring within `opening_deg` about
        `direction_deg`; ``plane`` is a straight front that leaves the line through the origin.
    origin_mm : pair of float, optional
        (x, y) from the outer corner of pixel [0, 0]; may lie outside. None: the field's centre.
    direction_deg : float
        Where a plane or sector heads: 0 along x (last axis), 90 along y (first axis, downwards).
    opening_deg : float
        Full angle of a sector, degrees: 180 is half a ring, 90 a quarter.
    speed_mm_min : float
        Speed of the front, mm/min.
    amplitude_percent : float
        Greatest change in percent of the background, -100 to 100 but not 0; negative darkens.
    start_s : float
        When the front leaves the origin, in seconds since the first frame.
    duration_s : float, optional
        The front advances no more after this many seconds. None: it crosses the whole field.
    band_s : float
        How long the signal of one pixel lasts, in seconds. The default makes the active band of
        a 5 s interval map about 25 pixels wide at 3.5 mm/min and 10/512 mm per pixel.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong type or out of its range.
    """

    shape: WaveShape = "ring"
    origin_mm: tuple[float, float] | None = None
    direction_deg: float = 0.0
    opening_deg: float = 90.0
    speed_mm_min: float = 3.5
    amplitude_percent: float = 2.0
    start_s: float = 10.0
    duration_s: float | None = None
    band_s: float = 36.0

    def __post_init__(self) -> None:
        """Check every parameter."""
        if self.shape not in get_args(WaveShape):
            raise ValueError(f"shape must be one of {get_args(WaveShape)}, not {self.shape!r}")
        numbers: dict[str, Any] = {
            "direction_deg": arguments.number("direction_deg", self.direction_deg),
            "opening_deg": arguments.number("opening_deg", self.opening_deg, 0, 360, above=True),
            "speed_mm_min": arguments.number("speed_mm_min", self.speed_mm_min, 0, above=True),
            "amplitude_percent": arguments.number(
                "amplitude_percent", self.amplitude_percent, -100, 100
            ),
            "start_s": arguments.number("start_s", self.start_s, 0),
            "band_s": arguments.number("band_s", self.band_s, 0, above=True),
        }
        if numbers["amplitude_percent"] == 0:
            raise ValueError("amplitude_percent must not be 0; leave the wave out instead")
        if self.origin_mm is not None:
            numbers["origin_mm"] = arguments.pair("origin_mm", self.origin_mm)
        if self.duration_s is not None:
            numbers["duration_s"] = arguments.number("duration_s", self.duration_s, 0, above=True)
        for name, value in numbers.items():
            object.__setattr__(self, name, value)

    def delay_s(self, x_mm: _Doubles, y_mm: _Doubles) -> _Doubles:
        """Seconds from the start to the arrival at a place relative to the origin, or infinity."""
        angle = math.radians(self.direction_deg)
        ahead = x_mm * math.cos(angle) + y_mm * math.sin(angle)
        distance = ahead if self.shape == "plane" else np.hypot(x_mm, y_mm)
        reached = distance >= 0
        if self.shape == "sector" and self.opening_deg < 360:
            reached = ahead >= distance * math.cos(math.radians(self.opening_deg / 2))
        delay = distance / (self.speed_mm_min / 60)
        if self.duration_s is not None:
            reached &= delay <= self.duration_s
        return np.where(reached, delay, np.inf)

    def change(self, delay_s: _Image, since_start_s: float) -> _Image:
        """Fractional change of pixels of known delay."""
        rise_s = self.band_s * RISE_FRACTION
        elapsed = np.subtract(np.float32(since_start_s), delay_s)
        change = _smoothstep(elapsed, rise_s)
        elapsed -= np.float32(rise_s)
        change -= _smoothstep(elapsed, self.band_s - rise_s)
        change *= np.float32(self.amplitude_percent / 100)
        return change


def _smoothstep(seconds: _Image, width_s: float) -> _Image:
    """0 before, 1 after, and a cubic that is level at both ends in between."""
    part = seconds * np.float32(1 / width_s)
    np.clip(part, 0, 1, out=part)
    step = part * np.float32(-2)
    step += np.float32(3)
    step *= part
    step *= part
    return step
