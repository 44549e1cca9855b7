"""Method "front": waves are followed by when they arrive, without a network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import _core
from .clips import Clip
from .errors import warn
from .prompts import Prompt

#: Spreading depression runs at 2 to 5 mm/min; nothing that is twice as fast is one.
MAX_SPEED_MM_MIN = 10.0
#: Width of the field where the size of a pixel is not known, mm.
ASSUMED_FIELD_MM = 10.0

#: Side of the cells on which a wave is followed, in pixels, by the shorter side of the image.
_SIDES = ((96, 8), (32, 4), (8, 2), (0, 1))
#: Values of noise that a cell of 8 x 8 pixels stands for: maps are smoothed over 21 x 21.
_INDEPENDENCE = 0.3
#: Change is scaled by a power of two if its greatest value is not within these.
_USUAL = (1e-6, 1e6)
#: Longest gap between maps, in median distances: no pulse is longer.
_LONGEST_GAP = 25.0
#: Log likelihood that a wave must have against noise.
LEAST_EVIDENCE = 60.0

_WAVE, _NO_WAVE = 1, 2


@dataclass(frozen=True, eq=False)
class Followed:
    """Objects as the maps show them.

    Attributes
    ----------
    masks : ndarray of bool, shape (objects, T, Y, X)
    objects : tuple of int
    confidence : ndarray of float64, shape (objects, T)
    notes : tuple of str
    """

    masks: NDArray[np.bool_]
    objects: tuple[int, ...]
    confidence: NDArray[np.float64]
    notes: tuple[str, ...]


def propagate(
    clip: Clip,
    prompts: Sequence[Prompt],
    *,
    pixel_size_mm: float | None,
    max_speed_mm_min: float = MAX_SPEED_MM_MIN,
    both: bool = False,
    correct_backwards: bool = False,
    threads: int = 0,
) -> Followed:
    """Follow waves through a clip.

    The change is taken on a grid of cells, in units of the noise of each map. An object passes each
    cell once, as a pulse whose course of time is the same everywhere, and is learnt from the maps.
    Arrival times that vary smoothly from cell to cell are found as the most probable ones, by
    min-sum belief propagation, and only those are kept that a front can reach from the prompt at
    `max_speed_mm_min`. Several objects explain the maps together. In each map the outline is at
    half of the peak of what the model and the map say, weighed by the noise of the map, so that
    a clear map speaks for itself and a spoiled one is bridged.

    Parameters
    ----------
    clip : Clip
    prompts : sequence of Prompt
        Checked against the clip.
    pixel_size_mm : float or None
    max_speed_mm_min : float
    both : bool
        Also back in time.
    correct_backwards : bool
        Let later prompts hold for earlier maps, too.
    threads : int
        0 is one per core.

    Returns
    -------
    Followed

    Raises
    ------
    ValueError
        If the first prompt of an object does not say where it is.
    """
    objects = tuple(sorted({prompt.object_id for prompt in prompts}))
    mine = [[p for p in prompts if p.object_id == number] for number in objects]
    starts = [min(p.map_index for p in each) for each in mine]
    notes: list[str] = []
    if pixel_size_mm is None:
        pixel_size_mm = ASSUMED_FIELD_MM / max(clip.change.shape[1:])
        notes.append(
            "the size of a pixel is not known; the limit of speed is that of a field of "
            f"{ASSUMED_FIELD_MM:g} mm (pixel_size_mm={pixel_size_mm:.4g})"
        )
        warn(notes[-1])
    tracker = _Tracker(clip, pixel_size_mm, max_speed_mm_min, threads)

    corrections = sorted(
        {p.map_index for each, start in zip(mine, starts, strict=True) for p in each
         if p.map_index > start}
    )  # fmt: skip
    if correct_backwards:
        corrections = []
    until = [max(starts), *corrections] if corrections else [len(clip)]
    masks: NDArray[np.bool_] | None = None
    confidence = np.zeros((len(objects), len(clip)))
    evidence = np.zeros(len(objects))
    for stage, last in enumerate(until):
        told = [
            [p for p in each if p.map_index <= max(start, last if stage else 0) or not corrections]
            for each, start in zip(mine, starts, strict=True)
        ]
        found = tracker.follow(told, backwards=False)
        if masks is None:
            masks, confidence, evidence = found
            continue
        for number, each in enumerate(mine):
            if any(p.map_index == last for p in each):
                masks[number, last:] = found[0][number, last:]
                confidence[number, last:] = found[1][number, last:]
                evidence[number] = max(evidence[number], found[2][number])
    assert masks is not None
    if correct_backwards:
        _correct_backwards(tracker, mine, starts, masks, confidence)
    if both and any(starts):
        first = [
            [p for p in each if p.map_index == start]
            for each, start in zip(mine, starts, strict=True)
        ]
        back = tracker.follow(first, backwards=True)
        for number, start in enumerate(starts):
            masks[number, :start] = back[0][number, :start]
            confidence[number, :start] = back[1][number, :start]
            evidence[number] = max(evidence[number], back[2][number])
    for number, name in enumerate(objects):
        if evidence[number] < LEAST_EVIDENCE:
            masks[number] = False
            confidence[number] = 0
            notes.append(
                f"object {name}: no wave was found that the prompt on map {starts[number]} belongs "
                "to; nothing is outlined but what was drawn"
            )
    if clip.mask is not None:
        masks &= clip.mask
    _keep_drawn(masks, confidence, mine, tracker)
    return Followed(masks, objects, confidence, tuple(notes))


class _Tracker:
    """A clip as the core takes it."""

    def __init__(
        self, clip: Clip, pixel_size_mm: float, max_speed_mm_min: float, threads: int
    ) -> None:
        self.change = np.ascontiguousarray(clip.change)
        if clip.largest and not _USUAL[0] < clip.largest < _USUAL[1]:  # sums could overflow
            self.change = np.ldexp(self.change, -math.frexp(clip.largest)[1])
        self.shape = (clip.change.shape[1], clip.change.shape[2])
        self.side = next(side for least, side in _SIDES if min(self.shape) >= least)
        inside = np.ones(self.shape, bool) if clip.mask is None else clip.mask
        self.inside = np.ascontiguousarray(inside).view(np.uint8)
        interval_s = float(np.median(np.diff(clip.times_s))) if len(clip) > 1 else 1.0
        steps = np.diff(clip.times_s) / interval_s
        if (steps > _LONGEST_GAP).any():
            self.times = np.append(0.0, np.cumsum(np.minimum(steps, _LONGEST_GAP)))
        else:
            self.times = (clip.times_s - clip.times_s[0]) / interval_s
        reach_px = max_speed_mm_min * (interval_s / 60 / pixel_size_mm)
        self.reach_px = min(reach_px, 2.0 * sum(self.shape))  # all of the image
        self.threads = threads

    def follow(
        self, prompts: Sequence[Sequence[Prompt]], *, backwards: bool
    ) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
        """Return masks, confidence and evidence of objects with these prompts."""
        count = len(self.times)
        places, said = [], []
        for number, each in enumerate(prompts):
            by_map: dict[int, list[Prompt]] = {}
            for prompt in each:
                by_map.setdefault(prompt.map_index, []).append(prompt)
            for index in sorted(by_map, reverse=backwards):
                places.append((number, count - 1 - index if backwards else index))
                said.append(self._cells(by_map[index], index, is_first=index == min(by_map)))
        step = -1 if backwards else 1
        masks = np.empty((len(prompts), *self.change.shape), np.uint8)
        support, _, facts, _ = _core.follow_fronts(
            np.ascontiguousarray(self.change[::step]),
            self.inside,
            np.ascontiguousarray(abs(self.times[::step] - self.times[::step][0])),
            self.side,
            self.reach_px,
            _INDEPENDENCE * (self.side / 8) ** 2,
            np.array(places, np.int64).reshape(-1, 2),
            np.array(said, np.uint8),
            len(prompts),
            backwards,
            masks,
            None,
            self.threads,
        )
        masks = masks[:, ::step]
        return masks.view(np.bool_), np.maximum(support[:, ::step], 0.0), facts[:, 2]

    def _cells(self, prompts: Sequence[Prompt], index: int, *, is_first: bool) -> NDArray[np.uint8]:
        """What prompts on one map say of each cell."""
        height, width = self.shape
        side = self.side
        cells = np.zeros((-(-height // side), -(-width // side)), np.uint8)
        drawings = [prompt.drawing(self.shape) for prompt in prompts if prompt.drawn]
        if drawings:
            cells = self._drawn(np.logical_or.reduce(drawings))
        boxes = [prompt.within(self.shape) for prompt in prompts if prompt.box is not None]
        if boxes:
            cells[self._means(np.logical_or.reduce(boxes).astype(np.float64)) == 0] = _NO_WAVE
        for within in boxes:
            cells[self._strongest(within, index)] = _WAVE
        for wanted in (0, 1):  # a cell with points of both kinds holds a border
            for prompt in prompts:
                for (x, y), label in zip(prompt.points, prompt.labels or (), strict=True):
                    if label == wanted:
                        cells[round(y) // side, round(x) // side] = _WAVE if label else _NO_WAVE
        if is_first and not (cells == _WAVE).any():
            raise ValueError(
                f"{prompts[0]} is the first one, and must say where the object is: give a point "
                "with label 1, a box, a polygon, or a mask that is not empty"
            )
        return cells

    def _drawn(self, drawing: NDArray[np.bool_]) -> NDArray[np.uint8]:
        covered = self._means(drawing.astype(np.float64))
        cells = np.full(covered.shape, _NO_WAVE, np.uint8)
        if covered.any():
            near = np.pad(covered > 0, 1)
            around = np.zeros(covered.shape, bool)
            for dy in range(3):
                for dx in range(3):
                    around |= near[dy : dy + covered.shape[0], dx : dx + covered.shape[1]]
            cells[around] = 0  # the border lies somewhere in these
            cells[covered >= min(0.5, float(covered.max()))] = _WAVE
        return cells

    def _strongest(self, within: NDArray[np.bool_], index: int) -> tuple[int, int]:
        """Cell of the strongest change among those that lie in a box."""
        covered = self._means(within.astype(np.float64))
        change = self.change[index].astype(np.float64)
        change = abs(change - np.median(change[self.inside.view(np.bool_)]))
        strength = self._means(np.where(within, change, 0))
        strength[covered < covered.max() / 2] = -1
        row, column = np.unravel_index(int(strength.argmax()), strength.shape)
        return int(row), int(column)

    def _means(self, image: NDArray[np.float64]) -> NDArray[np.float64]:
        side = self.side
        rows = np.add.reduceat(image, np.arange(0, image.shape[0], side), axis=0)
        sums = np.add.reduceat(rows, np.arange(0, image.shape[1], side), axis=1)
        ones = np.minimum(side, np.subtract(self.shape[0], np.arange(0, self.shape[0], side)))
        across = np.minimum(side, np.subtract(self.shape[1], np.arange(0, self.shape[1], side)))
        means: NDArray[np.float64] = sums / (ones[:, None] * across)
        return means


def _correct_backwards(
    tracker: _Tracker,
    prompts: Sequence[Sequence[Prompt]],
    starts: Sequence[int],
    masks: NDArray[np.bool_],
    confidence: NDArray[np.float64],
) -> None:
    """Add what is found back in time from the last prompt that says where an object is."""
    lasts = [max(p.map_index for p in each if p.says_where) for each in prompts]
    if lasts == list(starts):
        return
    told = [
        [p for p in each if p.map_index <= last] for each, last in zip(prompts, lasts, strict=True)
    ]
    found, sure, _ = tracker.follow(told, backwards=True)
    for number, (start, last) in enumerate(zip(starts, lasts, strict=True)):
        masks[number, start:last] |= found[number, start:last]
        here = confidence[number, start:last]
        np.maximum(here, sure[number, start:last], out=here)


def _keep_drawn(
    masks: NDArray[np.bool_],
    confidence: NDArray[np.float64],
    prompts: Sequence[Sequence[Prompt]],
    tracker: _Tracker,
) -> None:
    """A person's word is the last one on the map that it was given for."""
    y, x = np.ogrid[: tracker.shape[0], : tracker.shape[1]]
    for number, each in enumerate(prompts):
        for index in sorted({prompt.map_index for prompt in each}):
            here = [prompt for prompt in each if prompt.map_index == index]
            mask = masks[number, index]
            drawings = [prompt.drawing(tracker.shape) for prompt in here if prompt.drawn]
            if drawings:
                mask[...] = np.logical_or.reduce(drawings)
                confidence[number, index] = float(mask.any())
            boxes = [prompt.within(tracker.shape) for prompt in here if prompt.box is not None]
            if boxes:
                mask &= np.logical_or.reduce(boxes)
            points = [
                (place, label)
                for prompt in here
                for place, label in zip(prompt.points, prompt.labels or (), strict=True)
            ]
            inside = [place for place, label in points if label]
            for (u, v), label in points:
                if label or not mask[round(v), round(u)]:
                    continue
                far = (y - v) ** 2 + (x - u) ** 2
                off = far <= tracker.side**2
                for s, t in inside:
                    off &= (y - t) ** 2 + (x - s) ** 2 > far
                mask[off] = False
