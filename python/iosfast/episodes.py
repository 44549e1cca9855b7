"""Episodes: the maps in which waves cross the cortex, found in hours of maps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import arguments
from .clips import Clip, map_names
from .errors import warn
from .front import ASSUMED_FIELD_MM, MAX_SPEED_MM_MIN, propagate
from .maps import Maps
from .prompts import Prompt
from .readers.recording import available_cores
from .wave_ends import Outlined, ends_of
from .wave_residuals import unexplained
from .wave_tracks import Arrival, Course, Track, advance, follow, joined, order
from .wave_wakes import fronts

Hemisphere = Literal["left", "right"]

#: A wave sweeps at least so much, in at least so many maps.
MIN_AREA_MM2, MIN_MAPS = 2.0, 4
#: Maps before and after a wave, as it was found, in which its ends are sought.
MARGIN_MAPS = 8

#: Smallest patch of change within a map; parts of one torn front are so near; mm2, mm.
_PATCH_MM2, _NEAR_MM = 0.1, 2.0
#: How well a front's arrival times have to be ordered in space, 0 to 1; see `Arrival.order`.
_MIN_ORDER = 0.6
#: A map shows a wave if its change reaches this part of the wave's own median over its maps.
_CLEAR = 0.5
#: Episodes whose ends are sought at a time.
_AT_A_TIME = 2
#: Part of a wave that has to be on one side of the midline.
_ONE_SIDE = 0.8


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
        Map, and (x, y) in pixels, at which the front is clear for the first time. None if an
        operator told of the wave.
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
class Found:
    """A wave of which nothing but numbers is known yet; see `EpisodeWave`.

    `sign` tells whether it brightens (1) or darkens (-1); 0 if that is not known. `front` is what
    was tracked of it.
    """

    start: int
    end: int
    hemisphere: Hemisphere | None = None
    confidence: float = 1.0
    seed: tuple[int, tuple[float, float]] | None = None
    label: str = ""
    sign: int = 0
    front: tuple[Track, ...] = field(default=(), repr=False)


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
    cells = _Cells(
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
        if (wave := _wave(group, course, cells, min_maps, line)) is not None
    ]
    if isinstance(maps, Maps) and maps.recipe.baseline_bins is not None:
        return episodes_of(maps, waves)  # what has passed is still in these maps: no ends are seen
    at_once = [
        [waves[number] for number in group]
        for group in _overlapping([(wave.start, wave.end) for wave in waves])
    ]
    search = _Search(maps, course, cells, min_maps, line, size, max_speed)
    # Each episode by one thread, since much of it cannot be split; of few at a time, for memory.
    with ThreadPoolExecutor(min(available_cores(), _AT_A_TIME)) as pool:
        ends = list(pool.map(search.to_ends, at_once))
    return episodes_of(maps, [wave for waves in ends for wave in waves])


@dataclass(frozen=True)
class _Search:
    """What the ends of waves are sought in, and how."""

    maps: Maps | Clip
    course: Course
    cells: _Cells
    min_maps: int
    midline: NDArray[np.float64] | None
    pixel_size_mm: float
    max_speed_mm_min: float

    def to_ends(self, waves: list[Found]) -> list[Found]:
        """Follow the waves of an episode from their seeds, to where they really begin and end."""
        start, end = min(wave.start for wave in waves), max(wave.end for wave in waves)
        first, last = max(0, start - MARGIN_MAPS), min(len(self.maps), end + MARGIN_MAPS + 1)
        maps = self.maps
        clip = maps.part(first, last) if isinstance(maps, Clip) else Clip.of(maps, first, last)
        inside = np.ones(clip.change.shape[1:], bool) if clip.mask is None else clip.mask
        change = clip.change - np.median(clip.change[:, inside], axis=1)[:, np.newaxis, np.newaxis]
        masks = self._followed(clip, waves, first)
        ends = self._ends(waves, change, masks, first)
        more = self._more(waves, masks, first, ends)
        if more:
            waves = waves + more
            ends = self._ends(waves, change, self._followed(clip, waves, first), first)
        if len(_overlapping(ends)) > 1:  # pieces of one wave, it seems: they stay together
            first, last = min(start for start, _ in ends), max(end for _, end in ends)
            ends = [
                (
                    first if wave.start == start else wave.start,
                    last if wave.end == end else wave.end,
                )
                for wave in waves
            ]
        return [
            replace(wave, start=first, end=last)
            for wave, (first, last) in zip(waves, ends, strict=True)
        ]

    def _followed(self, clip: Clip, waves: list[Found], first: int) -> NDArray[np.bool_]:
        """Outlines (waves, T, Y, X) of waves in a clip that begins with map `first`."""
        prompts = [
            Prompt(wave.seed[0] - first, number, points=[wave.seed[1]])
            for number, wave in enumerate(waves, 1)
            if wave.seed is not None
        ]
        return propagate(
            clip,
            prompts,
            pixel_size_mm=self.pixel_size_mm,
            max_speed_mm_min=self.max_speed_mm_min,
            both=True,
            threads=1,
        ).masks

    def _ends(
        self,
        waves: list[Found],
        change: NDArray[np.float32],
        masks: NDArray[np.bool_],
        first: int,
    ) -> list[tuple[int, int]]:
        outlined = [Outlined.of(change, mask, first) for mask in masks]
        for number, (wave, seen) in enumerate(zip(waves, outlined, strict=True)):
            if wave.front[0].doubted and seen.sign != wave.sign:
                outlined[number] = seen.part(slice(0))
        return ends_of(
            [(wave.start, wave.end) for wave in waves],
            [wave.sign for wave in waves],
            [wave.confidence for wave in waves],
            outlined,
        )

    def _more(
        self,
        waves: list[Found],
        masks: NDArray[np.bool_],
        first: int,
        ends: list[tuple[int, int]],
    ) -> list[Found]:
        """Waves that were tracked together with those that were outlined, but outlast them."""
        start, end = min(start for start, _ in ends), max(end for _, end in ends)
        more = []
        for wave, own in zip(waves, masks, strict=True):
            if own.any():
                rest = unexplained(
                    wave.front, masks, first, self.course.block_px, self.cells.reach
                )
                if rest.cells:
                    found = _wave([rest], self.course, self.cells, self.min_maps, self.midline)
                    if found is not None and (found.start < start or found.end > end):
                        more.append(found)
        return more


def _overlapping(ends: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Group first and last maps, by number, that overlap in time."""
    groups: list[list[int]] = []
    last = -1
    for number in sorted(range(len(ends)), key=lambda number: ends[number]):
        start, end = ends[number]
        if groups and start <= last:
            groups[-1].append(number)
        else:
            groups.append([number])
        last = max(last, end)
    return groups


def episodes_of(maps: Maps | Clip, waves: Sequence[Found]) -> list[Episode]:
    """Put waves that overlap in time into one episode, and label those that have no label."""
    names = maps.names if isinstance(maps, Clip) else map_names(maps.info)
    groups = [
        [waves[number] for number in group]
        for group in _overlapping([(wave.start, wave.end) for wave in waves])
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


@dataclass(frozen=True)
class _Cells:
    """Limits in cells of the coarse grid."""

    reach: float
    patch: int
    near: float
    area: int


def _wave(
    front: list[Track],
    course: Course,
    cells: _Cells,
    min_maps: int,
    midline: NDArray[np.float64] | None,
) -> Found | None:
    """Return the wave of a front in one or more pieces, or None if it is none."""
    strength = _strength(front, course)
    clear = [t for t, value in strength.items() if value >= _CLEAR * _median(strength)]
    if len(clear) < min_maps:
        return None
    arrival = Arrival.of(front, course.z)
    area, ordered = len(arrival.cells), order(front, course.z)
    if (
        area < cells.area
        or ordered < _MIN_ORDER
        or np.ptp(np.quantile(arrival.maps, (0.1, 0.9))) < 2
    ):
        return None
    if advance(front) > cells.reach:
        return None
    start, end = min(clear), max(clear)
    peak = _median(strength)
    confidence = ordered * (1 - np.exp(-area / cells.area)) * (1 - np.exp(-(peak - 2) / 1.5))
    confidence *= 1 - np.exp(-len(clear) / 3)
    first = max(strength, key=strength.__getitem__) if front[0].doubted else start
    return Found(
        start,
        end,
        hemisphere=None if midline is None else _side(arrival, course, midline),
        confidence=round(float(np.clip(confidence, 0, 1)), 3),
        seed=(first, _seed(front, first, course)),
        sign=front[0].sign,
        front=tuple(front),
    )


def _strength(front: list[Track], course: Course) -> dict[int, float]:
    """Change of the strongest cells in each map, in units of noise."""
    sizes: dict[int, list[NDArray[np.float32]]] = {}
    for track in front:
        for now, cells in track.cells.items():
            z = course.z[now, cells[:, 0], cells[:, 1]] * track.sign
            sizes.setdefault(now, []).append(z)
    return {
        now: float(np.quantile(np.concatenate(parts), 0.9)) for now, parts in sorted(sizes.items())
    }


def _median(strength: dict[int, float]) -> float:
    return float(np.median(list(strength.values())))


def _seed(front: list[Track], now: int, course: Course) -> tuple[float, float]:
    parts = [(track.sign, track.cells[now]) for track in front if now in track.cells]
    cells = np.concatenate([part for _, part in parts])
    size = np.concatenate([sign * course.z[now, p[:, 0], p[:, 1]] for sign, p in parts])
    y, x = ((cells[np.argmax(size)] + 0.5) * course.block_px - 0.5).tolist()
    return x, y


def _side(arrival: Arrival, course: Course, midline: NDArray[np.float64]) -> Hemisphere | None:
    y, x = ((arrival.cells + 0.5) * course.block_px - 0.5).T
    left = float(np.mean(x < np.interp(y, midline[:, 1], midline[:, 0])))
    return "left" if left >= _ONE_SIDE else "right" if left <= 1 - _ONE_SIDE else None
