"""From the masks of waves to numbers with units: one row per map, and one per wave."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core, arguments
from .activation import fit_arrival
from .binning import checked_times
from .errors import warn
from .mask_stacks import checked_pixel_size, checked_stacks
from .published_metrics import PUBLISHED_COLUMNS, outline_area, path_amplitude
from .tables import pandas, write_tables
from .wave_columns import event_of, frame_columns, front_columns

if TYPE_CHECKING:
    import pandas as pd

_Doubles = NDArray[np.float64]

HEMISPHERES = ("left", "right")


@dataclass(frozen=True, eq=False)
class Measurement:
    """What was measured of the waves of one clip.

    Parameters
    ----------
    frames : pandas.DataFrame
        One row per object and map; see `measure`.
    events : pandas.DataFrame
        One row per object; see `measure`.
    activation_time_s : ndarray of float64, shape (objects, Y, X)
        Time of the first map that covers a pixel; NaN where none does.
    arrival_time_s : ndarray of float64, shape (objects, Y, X)
        When the front arrives, finer than the maps' times; NaN where it cannot be told.
    front_speed_mm_min : ndarray of float64, shape (objects, Y, X)
        Speed of the front; NaN where it cannot be told.
    times_s : ndarray of float64, shape (T,)
    pixel_size_mm : pair of float
        (y, x).
    objects : tuple
        What the objects are called.
    clip : str
    length_unit : {"mm", "px"}
        What figures and videos call the unit of lengths: "px" if the size of a pixel is not known
        and was given as 1. The columns' names say mm all the same.
    """

    frames: pd.DataFrame
    events: pd.DataFrame
    activation_time_s: _Doubles
    arrival_time_s: _Doubles
    front_speed_mm_min: _Doubles
    times_s: _Doubles
    pixel_size_mm: tuple[float, float]
    objects: tuple[Any, ...]
    clip: str = ""
    length_unit: Literal["mm", "px"] = "mm"

    def of_object(self, number: int) -> Measurement:
        """Return what was measured of one object alone.

        Parameters
        ----------
        number : int
            Number of the object, from 0.
        """
        number = arguments.integer("number", number, 0, len(self.objects) - 1)
        name, part = self.objects[number], slice(number, number + 1)
        return replace(
            self,
            frames=self.frames[self.frames["object"] == name].reset_index(drop=True),
            events=self.events.iloc[part].reset_index(drop=True),
            activation_time_s=self.activation_time_s[part],
            arrival_time_s=self.arrival_time_s[part],
            front_speed_mm_min=self.front_speed_mm_min[part],
            objects=(name,),
        )

    def isochrones(
        self, number: int = 0, levels_s: ArrayLike | None = None
    ) -> list[tuple[float, list[_Doubles]]]:
        """Lines at which a front is at one time.

        Parameters
        ----------
        number : int
            Number of the object, from 0.
        levels_s : array_like, optional
            Times, in those of the maps. None: the times of the maps.

        Returns
        -------
        list of (float, list of ndarray of float64, shape (N, 2))
            For each time its lines, corners as (x, y) in pixels; times without lines are left out.
        """
        from contourpy import contour_generator

        count = len(self.objects)
        arrival = self.arrival_time_s[arguments.integer("number", number, 0, count - 1)]
        levels = self.times_s if levels_s is None else np.asarray(levels_s, np.float64).ravel()
        if not np.isfinite(levels).all():
            raise ValueError("levels_s must be finite")
        if min(arrival.shape) < 2:
            return []
        generator = contour_generator(z=np.ma.masked_invalid(arrival))
        found = [(float(t), [np.asarray(line) for line in generator.lines(t)]) for t in levels]
        return [(t, lines) for t, lines in found if lines]

    def published(self) -> pd.DataFrame:
        """Return the table of the published data set: its columns, spelling and definitions.

        Returns
        -------
        pandas.DataFrame
            One row per object: ``SignalClipsName``; ``Labelindex``; ``Brain_region`` ("left",
            "right" or none); ``OrigalPoint_x``, ``OrigalPoint_y``, ``EndPoint_x``, ``EndPoint_y``
            (first and last centroid, pixels, counted from 1); ``SignalAmp`` (mean of three 3 x 3
            blocks of the images on the path, their unit); ``AverageSpeed`` (journey of the
            centroid by duration, mm/min); ``Distance`` (from start to end, mm); ``LastTime``
            (duration, s); ``CoverArea`` (what the points of all outlines enclose, mm^2).

        Notes
        -----
        Zhang et al., Sci Data 13, 255 (2026), doi 10.1038/s41597-026-06580-1. Faults of the
        authors' scripts are not repeated: a duration is a difference of times, and not of times of
        day, which fail over midnight; the amplitude of each label is taken on its own path, and
        not on that of the last label with x and y swapped; the region is that of the label itself,
        and not of the one before.
        """
        events = self.events
        values = (
            [self.clip] * len(events),
            list(self.objects),
            events["hemisphere"],
            *(events[name] + 1 for name in ("start_x_px", "start_y_px", "end_x_px", "end_y_px")),
            events["amplitude_intensity"],
            events["path_speed_mm_min"],
            events["net_displacement_mm"],
            events["duration_s"],
            events["coverage_hull_mm2"],
        )
        return pandas().DataFrame(dict(zip(PUBLISHED_COLUMNS, values, strict=True)))

    def write(
        self, folder: str | PathLike[str], *, parquet: bool = False, overwrite: bool = False
    ) -> list[Path]:
        """Write the tables to a folder: ``frames.csv``, ``events.csv``, ``published.csv``.

        Parameters
        ----------
        folder : path
            Made if it does not exist.
        parquet : bool
            Write ``.parquet`` files, too (extra ``parquet``).
        overwrite : bool
            Replace tables of the same names.

        Returns
        -------
        list of Path

        Raises
        ------
        WriteError
            If they cannot be written.
        """
        tables = {"frames": self.frames, "events": self.events, "published": self.published()}
        return write_tables(Path(folder), tables, parquet=parquet, overwrite=overwrite)


def measure(
    masks: NDArray[np.generic],
    times_s: ArrayLike,
    pixel_size_mm: float | tuple[float, float],
    intensity: NDArray[np.generic] | None = None,
    *,
    objects: Sequence[Any] | None = None,
    hemisphere: str | Mapping[Any, str] | None = None,
    midline_x_px: float | None = None,
    clip: str = "",
    hull: bool = True,
    threads: int = 0,
) -> Measurement:
    """Measure waves from their masks.

    Parameters
    ----------
    masks : ndarray of bool or uint8, shape (T, Y, X) or (objects, T, Y, X)
        Where each wave is in each map; other than 0 inside.
    times_s : array_like, shape (T,)
        Times of the maps in seconds, increasing.
    pixel_size_mm : float or pair of float
        Edge of a pixel, or (y, x) of pixels that are not square.
    intensity : ndarray, shape (T, Y, X), optional
        The mean images of the times of the maps; only the amplitude is taken of them.
    objects : sequence, optional
        What the objects are called; 1, 2, ... if not given.
    hemisphere : {"left", "right"} or mapping of objects to them, optional
        Where the waves are.
    midline_x_px : float, optional
        Where the midline runs in the image, if `hemisphere` is not given: a wave that starts at a
        smaller x is on the left of the image.
    clip : str
        Name of the clip.
    hull : bool
        Whether to measure the published coverage; else it is NaN.
    threads : int
        0 for one per core. The results do not depend on it.

    Returns
    -------
    Measurement

    Raises
    ------
    TypeError, ValueError
        If something does not fit; times that are equal or decrease; a pixel size of 0 or less.
    ImportError
        Without pandas (extra ``tables``).

    Warns
    -----
    IosfastWarning
        If an object has no mask in any map; its row is empty.

    Notes
    -----
    Points are (x, y) in pixels from the centre of the first pixel; in mm from there, too. What
    cannot be told is NaN: of an object with one mask alone, every speed.

    ``frames`` has a row for each object and map:

    ``object``, ``map``, ``time_s``
        The map by its number, from 0.
    ``area_px``, ``area_mm2``, ``perimeter_mm``
        Perimeter by Crofton's formula from four directions, as scikit-image's
        ``perimeter_crofton``, of the outline closed along the image's border: unbiased on average
        over directions, where counts along the edges of pixels are 27 % too long on a disc.
    ``centroid_x_px``, ``centroid_y_px``
        Mean of the pixels.
    ``major_axis_mm``, ``minor_axis_mm``, ``orientation_deg``
        Full axes of the ellipse of the same second moments, and the direction of the major one:
        0 along x, 90 along y (downwards), above -90 to 90.
    ``box_left_px``, ``box_top_px``, ``box_right_px``, ``box_bottom_px``
        First and last column and row; -1 without a mask.
    ``touches_border``
        The wave may go on outside of the image: its area is a lower bound.
    ``overlap_px``, ``new_px``
        Pixels that are in the mask of the map before, and in no mask before.
    ``instantaneous_speed_mm_min``
        Of the centroid, since the last map that has a mask.
    ``front_speed_mm_min``, ``front_advance_mm``
        Median of the speed map over the pixels that this map covers first, and how far a front of
        this speed goes since the map before.

    ``events`` has a row for each object:

    ``clip``, ``object``, ``hemisphere``
    ``maps``, ``empty_maps``, ``first_map``, ``last_map``
        Maps with a mask; those without one between the first and the last, where the wave vanishes
        and returns; -1 without any.
    ``start_time_s``, ``end_time_s``, ``duration_s``
        Of the first and the last map with a mask.
    ``start_x_px``, ``start_y_px``, ``end_x_px``, ``end_y_px``; the same in ``_mm``
        First and last centroid.
    ``path_length_mm``, ``path_speed_mm_min``
        Way of the centroid from map to map, and that by the duration.
    ``net_displacement_mm``, ``net_speed_mm_min``, ``direction_deg``
        Straight from start to end; 0 along x, 90 along y (downwards).
    ``front_speed_median_mm_min``, ``front_speed_q25_mm_min``, ``front_speed_q75_mm_min``
        Of the speed map, each pixel once.
    ``front_gaps``
        Pairs of successive masks between which the front passed pixels that no mask covers.
    ``max_area_mm2``, ``coverage_union_mm2``
        The largest mask, and all pixels that any mask covers.
    ``coverage_hull_mm2``
        The published coverage: what the outlines' pixels enclose (`boundary_area`).
    ``amplitude_intensity``
        As published (`path_amplitude`), in the unit of the images.
    ``touches_border``
        A mask does: coverage, areas and lengths are lower bounds.
    """
    stacks = checked_stacks("masks", masks)
    count, maps, height, width = stacks.shape
    times = _checked_times(times_s, maps)
    size = checked_pixel_size(pixel_size_mm)
    threads = arguments.threads(threads)
    if not isinstance(clip, str):
        raise TypeError(f"clip must be a text, not {clip!r}")
    names = _checked_objects(objects, count)
    sides = _checked_hemispheres(hemisphere, names)
    if midline_x_px is not None:
        midline_x_px = arguments.number("midline_x_px", midline_x_px)
        if hemisphere is not None:
            raise ValueError("midline_x_px must not be given beside hemisphere")
    if intensity is not None:
        _check_intensity(intensity, stacks.shape[1:])
    library = pandas()

    first = np.empty((count, height, width), np.int32)
    outline = np.zeros((count, height, width), np.uint8) if hull else None
    counts = _core.mask_geometry(stacks, first, outline, threads=threads)
    activation = np.where(first >= 0, times[first], np.nan)
    arrivals = [fit_arrival(first[n], times, size, threads) for n in range(count)]
    frame_tables, events = [], []
    for n, name in enumerate(names):
        rows = frame_columns(counts[n], times, size)
        rows |= front_columns(first[n], arrivals[n], times)
        event = event_of(rows, arrivals[n], size)
        if event["maps"] == 0:
            warn(f"object {name!r} has no mask in any map: nothing of it can be measured")
        side = sides[n]
        if side is None and midline_x_px is not None and event["maps"]:
            side = HEMISPHERES[int(event["start_x_px"] >= midline_x_px)]
        covered = math.nan
        if outline is not None:
            covered = outline_area(outline[n].view(np.bool_), size)
        amplitude = math.nan
        if intensity is not None:
            centroids = np.column_stack([rows["centroid_x_px"], rows["centroid_y_px"]])
            present = np.flatnonzero(rows["area_px"]).tolist()
            amplitude = path_amplitude(intensity, centroids[present], present)
        frame_tables.append({"object": [name] * maps, "map": np.arange(maps), **rows})
        events.append(
            {"clip": clip, "object": name, "hemisphere": side}
            | event
            | {
                "coverage_hull_mm2": covered,
                "amplitude_intensity": amplitude,
            }
        )
    tables = [library.DataFrame(table) for table in frame_tables]
    return Measurement(
        frames=library.concat(tables, ignore_index=True),
        events=library.DataFrame(events),
        activation_time_s=activation,
        arrival_time_s=np.stack([arrival.time_s for arrival in arrivals]),
        front_speed_mm_min=np.stack([arrival.speed_mm_min for arrival in arrivals]),
        times_s=times,
        pixel_size_mm=size,
        objects=names,
        clip=clip,
    )


def _checked_times(times_s: ArrayLike, maps: int) -> _Doubles:
    times = checked_times(times_s, maps)
    same = np.flatnonzero(np.diff(times) <= 0)
    if same.size:
        i = int(same[0])
        raise ValueError(f"times_s must increase; maps {i} and {i + 1} are both at {times[i]} s")
    return times


def _checked_objects(objects: Sequence[Any] | None, count: int) -> tuple[Any, ...]:
    if objects is None:
        return tuple(range(1, count + 1))
    names = tuple(objects)
    if len(names) != count:
        raise ValueError(f"objects must name each of the {count} objects, not {names!r}")
    if len(set(names)) != count:
        raise ValueError(f"objects must differ, not {names!r}")
    return names


def _checked_hemispheres(
    hemisphere: str | Mapping[Any, str] | None, names: tuple[Any, ...]
) -> list[str | None]:
    if hemisphere is None:
        return [None] * len(names)
    if not isinstance(hemisphere, Mapping):
        arguments.choice("hemisphere", hemisphere, HEMISPHERES)
        return [hemisphere] * len(names)
    strange = sorted(map(repr, set(hemisphere) - set(names)))
    if strange:
        raise ValueError(f"hemisphere names {strange[0]}, which is none of the objects {names!r}")
    for side in hemisphere.values():
        arguments.choice("hemisphere", side, HEMISPHERES)
    return [hemisphere.get(name) for name in names]


def _check_intensity(intensity: Any, shape: tuple[int, ...]) -> None:
    if not isinstance(intensity, np.ndarray):
        raise TypeError(f"intensity must be an array, not {type(intensity).__name__}")
    if intensity.dtype.kind not in "iuf":
        raise TypeError(f"intensity must be numbers, not {intensity.dtype}")
    if intensity.shape != shape:
        raise ValueError(
            f"intensity has shape {intensity.shape}, but the masks are {shape} (T, Y, X)"
        )
