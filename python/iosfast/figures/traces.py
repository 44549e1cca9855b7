"""Area and speed of waves over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .parts import object_color

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..metrics import Measurement

#: Room for the numbers and the name of an axis.
_LEFT_IN = 0.66


def traces(measurement: Measurement, *, title: str = "", width_in: float = 5.0) -> Figure:
    """Draw area and speed over time.

    Area of the mask of each map, and of all that was covered until then; speed of the front in
    what a map covers first (median), and of the centroid.

    Parameters
    ----------
    measurement : Measurement
    title : str
    width_in : float
        Width of the figure in inches.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    height_in = 4.2 + 0.2 * bool(title)
    figure = Figure(figsize=(width_in, height_in))
    area, speed = figure.subplots(
        2,
        1,
        sharex=True,
        gridspec_kw={
            "left": _LEFT_IN / width_in,
            "right": 1 - 0.1 / width_in,
            "bottom": 0.46 / height_in,
            "top": 4.1 / height_in,
            "hspace": 0.08,
        },
    )
    frames, events = measurement.frames, measurement.events
    onset = events["start_time_s"].min()
    begin = float(onset) if np.isfinite(onset) else float(measurement.times_s[0])
    pixel_mm2 = float(np.prod(measurement.pixel_size_mm))
    most = 0.0
    for number, name in enumerate(measurement.objects):
        rows = frames[frames["object"] == name]
        time = rows["time_s"].to_numpy() - begin
        color = object_color(number)
        of = f"wave {name}: " if len(measurement.objects) > 1 else ""
        covered = np.cumsum(rows["new_px"].to_numpy()) * pixel_mm2
        first, last = (int(events[part].iloc[number]) for part in ("first_map", "last_map"))
        there = (rows["map"] >= first) & (rows["map"] <= last) & (first >= 0)
        mask = np.where(there, rows["area_mm2"], np.nan)
        covered = np.where(covered > 0, covered, np.nan)
        area.plot(time, mask, color=color, marker=".", markersize=4, label=f"{of}mask")
        area.plot(time, covered, color=color, linestyle="--", label=f"{of}covered so far")
        front = rows["front_speed_mm_min"].to_numpy()
        centroid = rows["instantaneous_speed_mm_min"].to_numpy()
        speed.plot(time, front, color=color, marker=".", markersize=4, label=f"{of}front")
        speed.plot(time, centroid, color=color, linestyle=":", label=f"{of}centroid")
        told = np.concatenate([front, centroid])
        told = told[np.isfinite(told)]
        most = max(most, float(np.quantile(told, 0.98)) if told.size else 0.0)
    unit = measurement.length_unit
    area.set_ylabel(f"area ({unit}²)", fontsize=8)
    speed.set_ylabel(f"speed ({unit}/min)", fontsize=8)
    speed.set_xlabel("time since onset (s)", fontsize=8)
    area.set_ylim(bottom=0)
    speed.set_ylim(0, 1.25 * most or 1)
    for axis in (area, speed):
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25, linewidth=0.5)
        axis.legend(fontsize=7, frameon=False, ncols=min(2, len(measurement.objects)))
    if title:
        figure.suptitle(title, fontsize=9)
    return figure
