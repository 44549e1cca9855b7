"""Waves among tracks, and where each begins and ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .clips import Clip
from .front import propagate
from .maps import Maps
from .prompts import Prompt
from .wave_ends import Outlined, ends_of
from .wave_residuals import unexplained
from .wave_tracks import Arrival, Course, Track, advance, order

Hemisphere = Literal["left", "right"]

#: Maps before and after a wave, as it was found, in which its ends are sought.
MARGIN_MAPS = 8
#: How well a front's arrival times have to be ordered in space, 0 to 1; see `Arrival.order`.
_MIN_ORDER = 0.6
#: A map shows a wave if its change reaches this part of the wave's own median over its maps.
_CLEAR = 0.5
#: Maps by which a doubted wave has to outlast the others: else it may be the wake of one of them.
_OUTLASTS = 2
#: Part of a wave that has to be on one side of the midline.
_ONE_SIDE = 0.8


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
class Cells:
    """Limits in cells of the coarse grid."""

    reach: float
    patch: int
    near: float
    area: int


@dataclass(frozen=True)
class Search:
    """What the ends of waves are sought in, and how."""

    maps: Maps | Clip
    course: Course
    cells: Cells
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
        waves, ends = without_doubt(waves, ends)
        if len(overlapping(ends)) > 1:  # pieces of one wave, it seems: they stay together
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
                outlined[number] = Outlined.as_tracked(wave.start, wave.end, wave.sign)
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
            first_seen = min(track.first for track in wave.front)
            last_seen = max(track.last for track in wave.front)
            if own.any() and (first_seen < start or last_seen > end):
                rest = unexplained(wave.front, masks, first, self.course.block_px, self.cells.reach)
                if rest.cells:
                    found = wave_of([rest], self.course, self.cells, self.min_maps, self.midline)
                    if found is not None and (found.start < start or found.end > end):
                        more.append(found)
        return more


def without_doubt(
    waves: list[Found], ends: list[tuple[int, int]]
) -> tuple[list[Found], list[tuple[int, int]]]:
    """Leave out doubted waves that the others, of an episode of several, outlast."""
    sure = [end for wave, end in zip(waves, ends, strict=True) if not wave.front[0].doubted]
    if not sure:
        return waves, ends
    first, last = min(start for start, _ in sure), max(end for _, end in sure)
    kept = [
        (wave, (start, end))
        for wave, (start, end) in zip(waves, ends, strict=True)
        if not wave.front[0].doubted or start <= first - _OUTLASTS or end >= last + _OUTLASTS
    ]
    return [wave for wave, _ in kept], [end for _, end in kept]


def overlapping(ends: Sequence[tuple[int, int]]) -> list[list[int]]:
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


def wave_of(
    front: list[Track],
    course: Course,
    cells: Cells,
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
