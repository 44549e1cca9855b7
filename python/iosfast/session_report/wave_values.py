"""The measures of waves as tables: for files, and for the page, with units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..figures.parts import clock
from ..metrics import measure
from ..tables import pandas
from .waves import EpisodeResult, WaveResult

if TYPE_CHECKING:
    import pandas as pd

    from ..metrics import Measurement

#: What cannot be told.
UNTOLD = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Value:
    """A row of the table of a wave: what, how much, and what it means."""

    name: str
    text: str
    unit: str = ""
    meaning: str = ""
    at_least: bool = False


@dataclass(frozen=True)
class _Row:
    name: str
    column: str
    digits: int
    unit: str
    meaning: str
    bound: bool = False


#: Units are those of measured lengths: L is mm or px.
_GROUPS = (
    (
        "When",
        (
            _Row("begin", "start_time_s", -1, "min:s", "first map with an outline"),
            _Row("end", "end_time_s", -1, "min:s", "last map with an outline"),
            _Row("duration", "duration_s", 0, "s", "from the first to the last outline"),
            _Row("maps with an outline", "maps", 0, "", "in which the wave is seen"),
            _Row("maps without, between", "empty_maps", 0, "", "the wave vanishes and returns"),
        ),
    ),
    (
        "Speed",
        (
            _Row(
                "speed of the front",
                "front_speed_median_mm_min",
                2,
                "L/min",
                "median over the places that it passed, by the slope of the arrival times",
            ),
            _Row("lower quartile", "front_speed_q25_mm_min", 2, "L/min", "of the same"),
            _Row("upper quartile", "front_speed_q75_mm_min", 2, "L/min", "of the same"),
            _Row(
                "speed of the centroid",
                "path_speed_mm_min",
                2,
                "L/min",
                "length of its path by the duration; that of a ring that grows evenly is 0",
            ),
            _Row("net speed", "net_speed_mm_min", 2, "L/min", "net way by the duration"),
        ),
    ),
    (
        "Way",
        (
            _Row("start", "start", 0, "px", "first centroid (x, y), from the first pixel"),
            _Row("end", "end", 0, "px", "last centroid (x, y)"),
            _Row("path", "path_length_mm", 2, "L", "of the centroid from map to map", True),
            _Row("net way", "net_displacement_mm", 2, "L", "straight from start to end", True),
            _Row("heads to", "direction_deg", 0, "°", "0 along x, 90 downwards"),
        ),
    ),
    (
        "Size",
        (
            _Row("largest area", "max_area_mm2", 2, "L²", "of the outline of one map", True),
            _Row("coverage", "coverage_union_mm2", 2, "L²", "all that any outline covers", True),
            _Row(
                "coverage, published",
                "coverage_hull_mm2",
                2,
                "L²",
                "what the points of all outlines enclose, as in the published data set",
                True,
            ),
        ),
    ),
)


def number(value: float, digits: int) -> str:
    """Return a number as text, with a true minus; a dash for what cannot be told."""
    if not math.isfinite(value):
        return UNTOLD
    text = f"{value:,.{digits}f}"
    return text.replace("-", _MINUS) if text.strip("-0.") else text.lstrip("-")


def groups_of(wave: WaveResult) -> list[tuple[str, list[Value]]]:
    """Return the table of one wave, by groups."""
    measurement = wave.measurement
    event = measurement.events.iloc[0]
    bound = bool(event["touches_border"])
    found = []
    for title, rows in _GROUPS:
        values = [
            Value(
                row.name,
                _text(event, row, measurement),
                row.unit.replace("L", measurement.length_unit),
                row.meaning,
                bound and row.bound,
            )
            for row in rows
        ]
        if title == "When":
            side = event["hemisphere"]
            if isinstance(side, str):
                values.append(Value("hemisphere", side, "", "side of the midline, in the image"))
            values.append(
                Value("confidence", f"{wave.confidence:.2f}", "", "0 to 1, median over its maps")
            )
        if title == "Size":
            values.append(
                Value(
                    "amplitude",
                    number(wave.amplitude, 2 if wave.amplitude_unit == "%" else 0),
                    wave.amplitude_unit,
                    "change that 5 % of the outline exceed, median over its maps",
                )
            )
        found.append((title, values))
    return found


def _text(event: Any, row: _Row, measurement: Measurement) -> str:
    if row.column in ("start", "end"):
        x, y = (number(float(event[f"{row.column}_{axis}_px"]), row.digits) for axis in "xy")
        return f"{x}, {y}"
    value = float(event[row.column])
    if row.digits < 0:
        return clock(value) if math.isfinite(value) else UNTOLD
    digits = row.digits
    if measurement.length_unit == "px" and row.unit.startswith("L"):
        digits = max(0, digits - 1)
    return number(value, digits)


def session_tables(results: Sequence[EpisodeResult | Tables]) -> dict[str, pd.DataFrame]:
    """Return the tables of all waves of a session: events, frames, and the published one."""
    library = pandas()
    parts = [r if isinstance(r, Tables) else Tables.of(r) for r in results]
    some = [part for part in parts if part.events is not None] or [Tables.nothing()]
    return {
        name: library.concat([getattr(part, name) for part in some], ignore_index=True)
        for name in ("events", "frames", "published")
        if all(getattr(part, name) is not None for part in some)
    }


@dataclass(frozen=True, eq=False)
class Tables:
    """The tables of one episode; maps are counted over the session."""

    events: pd.DataFrame | None
    frames: pd.DataFrame | None
    published: pd.DataFrame | None

    @classmethod
    def of(cls, result: EpisodeResult) -> Tables:
        """Return those of an episode; without any if nothing was measured."""
        measurement = result.measurement
        if measurement is None:
            return cls(None, None, None)
        events, frames = measurement.events.copy(), measurement.frames.copy()
        for column in ("first_map", "last_map"):
            events[column] += result.first
        unit = "percent" if result.waves[0].amplitude_unit == "%" else "counts"
        events[f"amplitude_{unit}"] = [wave.amplitude for wave in result.waves]
        frames["map"] += result.first
        frames.insert(0, "clip", measurement.clip)
        if measurement.length_unit == "px":
            return cls(_in_pixels(events), _in_pixels(frames), None)
        return cls(events, frames, measurement.published())

    @classmethod
    def nothing(cls) -> Tables:
        """Return tables without rows."""
        measurement = measure(np.ones((1, 1, 1), bool), [0.0], 1.0, objects=["1"])
        frames = measurement.frames.copy()
        frames.insert(0, "clip", "")
        return cls(measurement.events[:0], frames[:0], measurement.published()[:0])


def _in_pixels(table: pd.DataFrame) -> pd.DataFrame:
    """Name the columns for what they are in if a pixel was measured as 1 mm; each is there once."""
    names = {}
    for name in table.columns:
        for ending, other in (("_mm_min", "_px_min"), ("_mm2", "_px2"), ("_mm", "_px")):
            if name.endswith(ending):
                names[name] = name.removesuffix(ending) + other
                break
    known = set(table.columns)
    twice = [n for n, new in names.items() if new in known or new.replace("_px2", "_px") in known]
    return table.drop(columns=twice).rename(columns=names)
