"""The columns of the tables of waves, from the counts of their masks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from .activation import Arrival

_Doubles = NDArray[np.float64]
Columns = dict[str, NDArray[Any]]


def frame_columns(
    counts: NDArray[np.int64], times_s: _Doubles, pixel_size_mm: tuple[float, float]
) -> Columns:
    """Columns of every map of one object.

    Parameters
    ----------
    counts : ndarray of int64, shape (T, 17)
        As `mask_geometry` gives them.
    times_s : ndarray of float64, shape (T,)
    pixel_size_mm : pair of float
        (y, x).

    Returns
    -------
    dict of ndarray, shape (T,)
    """
    of = {name: counts[:, i] for i, name in enumerate(_core.MASK_COUNTS)}
    high, wide = pixel_size_mm
    area = of["area"]
    pixels = np.where(area > 0, area, np.nan)
    x, y = of["sum_x"] / pixels, of["sum_y"] / pixels
    xx = (of["sum_xx"] / pixels - x * x) * wide**2
    yy = (of["sum_yy"] / pixels - y * y) * high**2
    xy = (of["sum_xy"] / pixels - x * y) * wide * high
    middle, part = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    speed = np.full(len(times_s), np.nan)
    present = np.flatnonzero(area)
    step = np.hypot(np.diff(x[present]) * wide, np.diff(y[present]) * high)
    speed[present[1:]] = 60 * step / np.diff(times_s[present])
    return {
        "time_s": times_s,
        "area_px": area,
        "area_mm2": area * (wide * high),
        "perimeter_mm": _perimeter_mm(of, pixel_size_mm),
        "centroid_x_px": x,
        "centroid_y_px": y,
        "major_axis_mm": 4 * np.sqrt(middle + part),
        "minor_axis_mm": 4 * np.sqrt(np.maximum(middle - part, 0)),
        "orientation_deg": np.degrees(np.arctan2(2 * xy, xx - yy) / 2),
        "box_left_px": of["min_x"],
        "box_top_px": of["min_y"],
        "box_right_px": of["max_x"],
        "box_bottom_px": of["max_y"],
        "touches_border": of["border"] > 0,
        "overlap_px": of["overlap"],
        "new_px": of["new"],
        "instantaneous_speed_mm_min": speed,
    }


def _perimeter_mm(of: Columns, pixel_size_mm: tuple[float, float]) -> _Doubles:
    """Crofton's formula: how often parallel lines in four directions cross the outline.

    Each direction stands for the angles that are nearest to it (Lehmann and Legland, "Efficient
    N-dimensional surface estimation using Crofton formula and run-length encoding", Insight
    Journal, 2012).
    """
    high, wide = pixel_size_mm
    diagonal = math.atan2(high, wide)
    apart = wide * high / math.hypot(wide, high)  # of lines along a diagonal
    crossings = (
        diagonal * high * of["cross_x"]
        + (math.pi / 2 - diagonal) * wide * of["cross_y"]
        + math.pi / 4 * apart * (of["cross_down"] + of["cross_up"])
    )
    return np.asarray(crossings / 2)


def front_columns(first: NDArray[np.int32], arrival: Arrival, times_s: _Doubles) -> Columns:
    """Median speed of the front in the pixels that each map covers first, and its advance."""
    told = np.isfinite(arrival.speed_mm_min)
    maps, speeds = first[told], arrival.speed_mm_min[told]
    count = np.bincount(maps, minlength=len(times_s))
    # Numbers of two bytes are put in order by counting them.
    narrow = np.int16 if len(times_s) < 1 << 15 else np.int32
    speeds = speeds[np.argsort(maps.astype(narrow), kind="stable")]
    median = np.full(len(times_s), np.nan)
    for number, of_map in enumerate(np.split(speeds, np.cumsum(count)[:-1])):
        if of_map.size:
            low, high = (of_map.size - 1) // 2, of_map.size // 2
            middle = np.partition(of_map, (low, high))
            median[number] = (middle[low] + middle[high]) / 2
    since = np.diff(times_s, prepend=np.nan)
    return {"front_speed_mm_min": median, "front_advance_mm": median * since / 60}


def event_of(rows: Columns, arrival: Arrival, pixel_size_mm: tuple[float, float]) -> dict[str, Any]:
    """Values of one object over all its maps; NaN where they cannot be told."""
    present = np.flatnonzero(rows["area_px"])
    high, wide = pixel_size_mm
    nan = math.nan
    points = {"start": (nan, nan), "end": (nan, nan)}
    first, last, start_s, end_s, path_mm, net_mm, direction = -1, -1, nan, nan, nan, nan, nan
    if present.size:
        first, last = int(present[0]), int(present[-1])
        start_s, end_s = float(rows["time_s"][first]), float(rows["time_s"][last])
        x, y = rows["centroid_x_px"][present], rows["centroid_y_px"][present]
        points = {
            "start": (float(x[0]), float(y[0])),
            "end": (float(x[-1]), float(y[-1])),
        }
        path_mm = math.fsum(np.hypot(np.diff(x) * wide, np.diff(y) * high))
        along_x, along_y = float(x[-1] - x[0]) * wide, float(y[-1] - y[0]) * high
        net_mm = math.hypot(along_x, along_y)
        direction = math.degrees(math.atan2(along_y, along_x)) if net_mm > 0 else nan
    duration_s = end_s - start_s
    per_min = 60 / duration_s if duration_s > 0 else nan
    speeds = arrival.speed_mm_min[np.isfinite(arrival.speed_mm_min)]
    q25, median, q75 = np.quantile(speeds, (0.25, 0.5, 0.75)).tolist() if speeds.size else [nan] * 3
    return {
        "maps": int(present.size),
        "empty_maps": last - first + 1 - present.size if present.size else 0,
        "first_map": first,
        "last_map": last,
        "start_time_s": start_s,
        "end_time_s": end_s,
        "duration_s": duration_s,
        **{f"{name}_{axis}_px": point[i] for name, point in points.items() for i, axis in _AXES},
        **{
            f"{name}_{axis}_mm": point[i] * (wide, high)[i]
            for name, point in points.items()
            for i, axis in _AXES
        },
        "path_length_mm": path_mm,
        "path_speed_mm_min": path_mm * per_min,
        "net_displacement_mm": net_mm,
        "net_speed_mm_min": net_mm * per_min,
        "direction_deg": direction,
        "front_speed_median_mm_min": median,
        "front_speed_q25_mm_min": q25,
        "front_speed_q75_mm_min": q75,
        "front_gaps": arrival.gaps,
        "max_area_mm2": float(rows["area_mm2"].max()),
        "coverage_union_mm2": int(rows["new_px"].sum()) * (wide * high),
        "touches_border": bool(rows["touches_border"].any()),
    }


_AXES = tuple(enumerate("xy"))
