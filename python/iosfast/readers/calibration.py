"""Frame rate and pixel size, where a TIFF file tells them."""

from __future__ import annotations

import math
from typing import Any

import tifffile

from .ome import SECONDS, OmeImage

_MM = {"mm": 1.0, "millimeter": 1.0, "cm": 10.0, "centimeter": 10.0, "inch": 25.4, "m": 1000.0}
_MM |= dict.fromkeys(("µm", "μm", "um", "micron", "microns", "micrometer", "\\u00B5m"), 1e-3)
_MM |= {"nm": 1e-6}

_X_RESOLUTION, _Y_RESOLUTION = 282, 283


def calibration(tif: tifffile.TiffFile, ome: OmeImage | None) -> dict[str, float | None]:
    """Return ``frame_rate_hz`` and ``pixel_size_mm``, None where the file does not tell."""
    if ome is not None:
        said = ome.attributes
        step = _number(said.get("TimeIncrement"))
        step_unit = said.get("TimeIncrementUnit", "s")
        x, y = (_number(said.get(f"PhysicalSize{axis}")) for axis in "XY")
        units = {said.get(f"PhysicalSize{axis}Unit", "µm") for axis in "XY"}
        unit = units.pop() if len(units) == 1 else ""
    elif tif.is_imagej:
        described = tif.imagej_metadata or {}
        step = _number(described.get("finterval"))
        step_unit = str(described.get("tunit", "s"))
        x, y = _pixel_side(tif, _X_RESOLUTION), _pixel_side(tif, _Y_RESOLUTION)
        unit = str(described.get("unit", ""))
    else:
        return {"frame_rate_hz": None, "pixel_size_mm": None}
    step *= SECONDS.get(step_unit, 0.0)
    return {
        "frame_rate_hz": _plain(1 / step) if step else None,
        "pixel_size_mm": _square(x, y, _MM.get(unit, 0.0)),
    }


def _number(value: Any) -> float:
    """Return a finite number above 0, or 0 for anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return 0.0
    return number if math.isfinite(number) and number > 0 else 0.0


def _plain(value: float) -> float:
    """Return the value without the rounding of an inverse: 59.9999999988 is 60."""
    near = float(f"{value:.6g}")
    return near if abs(near - value) < 1e-7 * value else value


def _pixel_side(tif: tifffile.TiffFile, code: int) -> float:
    """Return the inverse of a resolution, or 0."""
    tag = tif.pages.first.tags.get(code)
    if tag is None or not isinstance(tag.value, tuple) or not tag.value[0]:
        return 0.0
    return _number(tag.value[1] / tag.value[0])


def _square(x: float, y: float, unit_mm: float) -> float | None:
    """Return the side of a square pixel in mm; None if unknown, or if pixels are not square."""
    if not (x and y and unit_mm) or abs(x - y) > 1e-3 * x:
        return None
    return _plain(x * unit_mm)
