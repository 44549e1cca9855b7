"""Episodes: the maps in which waves cross the cortex, found in hours of maps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import arguments
from .clips import Clip, map_names
from .errors import warn
from .front import ASSUMED_FIELD_MM, MAX_SPEED_MM_MIN
from .maps import Maps
from .readers.recording import available_cores
from .wave_search import Cells, Found, Hemisphere, Search, overlapping, wave_of
from .wave_tracks import Course, follow, joined
from .wave_wakes import fronts

#: A wave sweeps at least so much, in at least so many maps.
MIN_AREA_MM2, MIN_MAPS = 2.0, 4

#: Smallest patch of change within a map; parts of one torn front are so near; mm2, mm.
_PATCH_MM2, _NEAR_MM = 0.1, 2.0
#: Episodes whose ends are sought at a time.
_AT_A_TIME = 2


@dataclass(frozen=True)
class EpisodeWave:
    """One wave of an episode.

    Attributes
    ----------
    label : str
        Such as "1", or "1-2" for the second wave of the first episode.
    start, end : int
        Numbers of the first and last map that show its front.
    start_s, end_s : float
        Times of these maps, as `Maps.times_s`.
    names : tuple of str
        Names of these maps, as the published layout has them.
    hemisphere : {"left", "right"} or None
        Side of the midline, as seen in the image; None if both, or not known.
    confidence : float
        0 to 1; 1 for what an operator says.
    seed : tuple of (int, (float, float)) or None
        Map, and (x, y) in pixels, at which the front is clear for the first time; or clearest, of
        one in the wake of another. None if an operator told of the wave.
    """

    label: str
    start: int
    end: int
    start_s: float
    end_s: float
    names: tuple[str, str]
    hemisphere: Hemisphere | None = None
    confidence: float = 1.0
    seed: tuple[int, tuple[float, float]] | None = None


@dataclass(frozen=True)
class Episode:
    """Successive maps with one wave, or with several that overlap in time.

    Attributes
    ----------
    number : int
        From 1.
    start, end : int
        Numbers of the first and last map, from 0; both belong to it.
    start_s, end_s : float
        Times of these maps, as `Maps.times_s`.
    names : tuple of str
        Names of these maps, as the published layout has them.
    waves : tuple of EpisodeWave
        By their start.
    """

    number: int
    start: int
    end: int
    start_s: float
    end_s: float
    names: tuple[str, str]
    waves: tuple[EpisodeWave, ...]

    @property
    def confidence(self) -> float:
        """Confidence of the surest wave, 0 to 1."""
        return max(wave.confidence for wave in self.waves)

    @property
    def hemisphere(self) -> Hemisphere | None:
        """Side of all waves, or None if they differ or it is not known."""
        sides = {wave.hemisphere for wave in self.waves}
        return sides.pop() if len(sides) == 1 else None

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the waves."""
        return tuple(wave.label for wave in self.waves)

    def __len__(self) -> int:
        return self.end - self.start + 1


def find_episodes(
    maps: Maps | Clip,
    *,
    midline: float | ArrayLike | None = None,
    pixel_size_mm: float | None = None,
    max_speed_mm_min: float = MAX_SPEED_MM_MIN,
    min_area_mm2: float = MIN_AREA_MM2,
    min_maps: int = MIN_MAPS,
) -> list[Episode]:
    """Find the maps in which waves cross the cortex.

    The brightness of every cell of a coarse grid is followed in time, freed of what all have in
    common (breathing, drift of the light) and of images that stick out for a moment (movement,
    bursts of noise), and related to the noise of the cell. Patches of change are followed from
    map to map, no farther than a wave can get. What lasts, sweeps enough cortex, and arrives in
    order, is a wave; waves that overlap in time make one episode.

    Parameters
    ----------
    maps : Maps or Clip
        Of any length: maps on disk are read a block at a time. The noise is learnt from maps
        without waves, so that a clip of nothing but one wave tells less than the maps around it.
    midline : float or array_like of float, shape (N, 2), optional
        Between the hemispheres: x in pixels, or a line of (x, y) from the top down. Left is that
        of the image.
    pixel_size_mm : float, optional
        If the maps do not tell. Without either, a field of 10 mm is assumed, with a warning.
    max_speed_mm_min : float
        Fronts are followed at up to this speed; what is more than twice as fast is no wave.
    min_area_mm2 : float
        A wave sweeps at least so much cortex.
    min_maps : int
        A wave is seen in at least so many maps.

    Returns
    -------
    list of Episode
        By time; empty if there is no wave.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit, or a map is not finite within the cortex.
    """
    if not isinstance(maps, Maps | Clip):
        raise TypeError(
            f"maps must be Maps, as preprocess and load return them, or a Clip, not {maps!r}"
        )
    line = None if midline is None else checked_midline(midline)
    max_speed = arguments.number("max_speed_mm_min", max_speed_mm_min, 0, above=True)
    min_area = arguments.number("min_area_mm2", min_area_mm2, 0, above=True)
    min_maps = arguments.integer("min_maps", min_maps, 2)
    size = arguments.positive("pixel_size_mm", pixel_size_mm) or maps.pixel_size_mm
    if size is None:
        size = ASSUMED_FIELD_MM / max(maps.change.shape[1:])
        warn(
            "the size of a pixel is not known; episodes are sought as in a field of "
            f"{ASSUMED_FIELD_MM:g} mm (pixel_size_mm={size:.4g})"
        )
    if len(maps) < min_maps:
        return []
    course = Course.of(maps)
    cell_mm = course.block_px * size
    step_min = float(np.median(np.diff(maps.times_s))) / 60
    cells = Cells(
        reach=max_speed * step_min / cell_mm + 1,
        patch=max(2, round(_PATCH_MM2 / cell_mm**2)),
        near=_NEAR_MM / cell_mm,
        area=max(2, round(min_area / cell_mm**2)),
    )
    tracks = [
        track
        for sign in (1, -1)
        for track in follow(course, sign, cells.reach, cells.patch)
        if len(track.cells) > 1
    ]
    groups = joined(fronts(tracks, course.z, cells.area), course.z, cells.near, cells.area)
    waves = [
        wave
        for group in groups
        if (wave := wave_of(group, course, cells, min_maps, line)) is not None
    ]
    if isinstance(maps, Maps) and maps.recipe.baseline_bins is not None:
        return episodes_of(maps, waves)  # what has passed is still in these maps: no ends are seen
    at_once = [
        [waves[number] for number in group]
        for group in overlapping([(wave.start, wave.end) for wave in waves])
    ]
    search = Search(maps, course, cells, min_maps, line, size, max_speed)
    # Each episode by one thread, since much of it cannot be split; of few at a time, for memory.
    with ThreadPoolExecutor(min(available_cores(), _AT_A_TIME)) as pool:
        ends = list(pool.map(search.to_ends, at_once))
    return episodes_of(maps, [wave for waves in ends for wave in waves])


def episodes_of(maps: Maps | Clip, waves: Sequence[Found]) -> list[Episode]:
    """Put waves that overlap in time into one episode, and label those that have no label."""
    names = maps.names if isinstance(maps, Clip) else map_names(maps.info)
    groups = [
        [waves[number] for number in group]
        for group in overlapping([(wave.start, wave.end) for wave in waves])
    ]
    episodes = []
    for number, group in enumerate(groups, 1):
        start, end = group[0].start, max(wave.end for wave in group)
        named = tuple(
            EpisodeWave(
                label=wave.label or (f"{number}-{k}" if len(group) > 1 else str(number)),
                start=wave.start,
                end=wave.end,
                start_s=float(maps.times_s[wave.start]),
                end_s=float(maps.times_s[wave.end]),
                names=(names[wave.start], names[wave.end]),
                hemisphere=wave.hemisphere,
                confidence=wave.confidence,
                seed=wave.seed,
            )
            for k, wave in enumerate(group, 1)
        )
        times_s = float(maps.times_s[start]), float(maps.times_s[end])
        episodes.append(Episode(number, start, end, *times_s, (names[start], names[end]), named))
    return episodes


def checked_midline(midline: Any) -> NDArray[np.float64]:
    """Return the midline as (N, 2) of x and y, by y."""
    if isinstance(midline, str) or not isinstance(midline, Iterable):
        return np.array([[arguments.number("midline", midline), 0.0]])
    try:
        line = np.asarray(midline, np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"midline must be x, or a line of (x, y), not {midline!r}") from None
    if line.ndim != 2 or line.shape[1:] != (2,) or len(line) < 2 or not np.isfinite(line).all():
        raise ValueError(f"midline must be x, or two or more finite (x, y), not {midline!r}")
    if (np.diff(line[:, 1]) < 0).all():
        line = line[::-1]
    if not (np.diff(line[:, 1]) > 0).all():
        raise ValueError("midline must lead from the top down: y has to increase")
    return line
