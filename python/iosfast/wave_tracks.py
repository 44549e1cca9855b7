"""Waves in long series of maps: noise-normalised change on a coarse grid, followed from map to map.

The change is cleaned in time before it is looked at: the brightness course of every cell is put
together from the maps, and a running median takes out what comes and goes within an image or two
(movement, flicker, bursts of noise), whatever its picture, while the steps of a front stay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .clips import Clip
from .maps import Maps

_Floats = NDArray[np.float32]
_Cells = NDArray[np.int64]

#: Cells along the longer side of a map.
GRID = 64
#: Images of which the running median is taken; half of them less one may be spoiled in succession.
MEDIAN_IMAGES = 5
#: Standard deviations of its noise by which an image has to differ from that median.
OUTLIER = 3.0
#: Change, in standard deviations of a cell's noise, from which on it may belong to a wave.
THRESHOLD = 3.0
#: Maps in which a wave may be out of sight.
GAP_MAPS = 3
#: What comes back into sight is a new wave if it covers less than this part of what was seen last.
_REGROWN = 0.25
#: Maps of a part of the time in which arrivals are ordered.
ORDER_MAPS = 12
#: Bytes of maps that are read at a time: few, since new memory costs more than a few calls.
BLOCK_BYTES = 4 << 20


@dataclass(frozen=True)
class Course:
    """Change of every cell of a coarse grid in units of its noise.

    Attributes
    ----------
    z : ndarray of float32, shape (M, h, w)
        Change per map over the noise of the cell; 0 where there is no cortex.
    inside : ndarray of bool, shape (h, w)
    block_px : int
        Side of a cell.
    """

    z: _Floats
    inside: NDArray[np.bool_]
    block_px: int

    @classmethod
    def of(cls, maps: Maps | Clip) -> Course:
        """Read all maps, a block at a time."""
        step, inside, block_px = _steps(maps)
        cells = step[:, inside]
        cells -= _common(cells)[:, np.newaxis]
        course = np.zeros((len(cells) + 1, cells.shape[1]), np.float32)
        np.cumsum(cells, axis=0, out=course[1:])
        _remove_outliers(course, _noise(cells) / np.float32(math.sqrt(2)))
        cells = np.diff(course, axis=0)
        cells /= _noise(cells)
        z = np.zeros(step.shape, np.float32)
        z[:, inside] = cells
        return cls(z, inside, block_px)


def _steps(maps: Maps | Clip) -> tuple[_Floats, NDArray[np.bool_], int]:
    """Return the change of cells from image to image, (M, h, w), and which are cortex."""
    height, width = maps.change.shape[1:]
    block = max(1, round(max(height, width) / GRID))
    rows, columns = -(-height // block), -(-width // block)
    mask = np.ones((height, width), bool) if maps.mask is None else maps.mask
    share = _block_sums(mask[np.newaxis].astype(np.float32), block)[0]
    inside = share >= block * block / 2
    if not inside.any():
        inside = share > 0
    # Of clips it is not known what the change is; what they have in common is taken away anyway.
    kind = "difference" if isinstance(maps, Clip) else maps.recipe.change
    no_change = 1.0 if kind == "ratio" else 0.0
    steps = np.zeros((len(maps), rows, columns), np.float32)
    at_once = max(1, BLOCK_BYTES // (4 * height * width))
    change = maps.change
    for first in range(0, len(maps), at_once):
        block_maps = np.array(change[first : first + at_once], np.float32)
        unknown = ~np.isfinite(block_maps)
        if unknown.any():
            bad = (unknown & mask).any(axis=(1, 2))
            if bad.any():
                number = first + int(np.argmax(bad))
                raise ValueError(f"map {number} of maps is not finite within the cortex")
        block_maps -= np.float32(no_change)
        block_maps[:, ~mask] = 0
        means = _block_sums(block_maps, block) / np.maximum(share, 1)
        if kind != "difference":
            means = np.log1p(np.maximum(means, np.float32(-0.99)))
        steps[first : first + len(means)] = means
    if isinstance(maps, Maps) and maps.recipe.baseline_bins is not None:
        steps = np.diff(steps, axis=0, prepend=steps[:1])
    return steps, inside, block


def _block_sums(images: _Floats, block: int) -> _Floats:
    starts = [np.arange(0, length, block) for length in images.shape[1:]]
    sums = np.add.reduceat(np.add.reduceat(images, starts[0], axis=1), starts[1], axis=2)
    return np.asarray(sums, np.float32)


def _common(cells: _Floats) -> _Floats:
    """Change that all cells have in common, even if waves cover most of them, (M,).

    The middle of an interval that holds a third of the cells, refined by the mean of those that
    are as near: the shortest one, but what is usual counts, too, since cells in the wake of a wave
    may be closer together than those that nothing has changed.
    """
    ordered = np.sort(cells, axis=1)
    count = max(1, ordered.shape[1] // 3)
    low, high = ordered[:, : ordered.shape[1] - count + 1], ordered[:, count - 1 :]
    width, middle = high - low, (low + high) / 2
    rows = np.arange(len(ordered))
    shortest = middle[rows, np.argmin(width, axis=1)]
    usual = np.median(shortest)
    spread = max(float(np.median(abs(shortest - usual))), 1e-12)
    at = np.argmin(width * (1 + ((middle - usual) / spread) ** 2), axis=1)
    near = abs(cells - middle[rows, at][:, np.newaxis]) <= 2 * width[rows, at][:, np.newaxis]
    total = np.sum(cells, axis=1, where=near) / np.maximum(near.sum(axis=1), 1)
    return np.asarray(total, np.float32)


def _remove_outliers(course: _Floats, noise: _Floats) -> None:
    """Put the running median in place of images that are far from it, in place (Hampel filter)."""
    half = MEDIAN_IMAGES // 2
    padded = np.pad(course, ((half, half), (0, 0)), mode="edge")
    for first in range(0, len(course), 256):
        part = course[first : first + 256]
        window = np.lib.stride_tricks.sliding_window_view(
            padded[first : first + len(part) + 2 * half], MEDIAN_IMAGES, axis=0
        )
        median = np.median(window, axis=-1)
        far = abs(part - median) > OUTLIER * noise
        part[far] = median[far]


def _noise(cells: _Floats) -> _Floats:
    """Standard deviation of each cell in time, by the smaller half of its changes."""
    # 40 % of normally distributed values are within 0.5244 standard deviations.
    spread = np.quantile(abs(cells), 0.4, axis=0) / 0.5244
    typical = float(np.median(spread))
    floor = typical / 2 if typical > 0 else 1e-12
    noise: _Floats = np.maximum(spread, floor).astype(np.float32)
    return noise


@dataclass
class Track:
    """A patch of change of one sign, followed through maps: for each, the cells it covers.

    `doubted` tells that only its own wake told it from that of another front.
    """

    sign: int
    cells: dict[int, _Cells] = field(default_factory=dict)
    doubted: bool = False

    @property
    def first(self) -> int:
        """First map."""
        return min(self.cells)

    @property
    def last(self) -> int:
        """Last map."""
        return max(self.cells)

    def recent(self, now: int) -> _Cells | None:
        """Cells at which the track was last seen before `now`, unless it is out of sight."""
        for back in range(1, GAP_MAPS + 2):
            if now - back in self.cells:
                return self.cells[now - back]
        return None

    def add(self, now: int, cells: _Cells) -> None:
        """Add cells, (N, 2)."""
        known = self.cells.get(now)
        self.cells[now] = cells if known is None else np.concatenate([known, cells])

    def within(self, region: NDArray[np.bool_]) -> Track:
        """Return what is within a region (h, w)."""
        rest = {now: c[region[c[:, 0], c[:, 1]]] for now, c in self.cells.items()}
        return Track(self.sign, {now: c for now, c in rest.items() if len(c)})

    def swept(self, grid: tuple[int, int]) -> int:
        """Cells covered in any map."""
        covered = np.zeros(grid, bool)
        for cells in self.cells.values():
            covered[cells[:, 0], cells[:, 1]] = True
        return int(np.count_nonzero(covered))


def follow(course: Course, sign: int, reach_cells: float, least_cells: int) -> list[Track]:
    """Follow patches of one sign from map to map.

    Parameters
    ----------
    course : Course
    sign : {1, -1}
    reach_cells : float
        How far a front can get from map to map.
    least_cells : int
        Smallest patch, and what a track sweeps before it is a thing of its own when it meets
        another one.
    """
    active = course.z * sign > THRESHOLD
    grid = course.inside.shape
    ended: list[Track] = []
    running: list[Track] = []
    for now, patches in enumerate(_patches(active)):
        ended += [t for t in running if t.last < now - GAP_MAPS - 1]
        running = [t for t in running if t.last >= now - GAP_MAPS - 1]
        for patch in patches:
            if len(patch) < least_cells:
                continue
            near = []
            for track in running:
                recent = track.recent(now)
                if recent is not None and (
                    now - 1 in track.cells or len(patch) >= _REGROWN * len(recent)
                ):
                    distance = _distances(patch, recent)
                    if distance.min() <= reach_cells:
                        near.append((track, distance))
            if not near:
                running.append(Track(sign, {now: patch}))
                continue
            near.sort(key=lambda item: (-item[0].swept(grid), item[0].first))
            keep = near[:1]
            for track, distance in near[1:]:
                own = len(track.cells) >= 4 and track.swept(grid) >= 4 * least_cells
                if own:
                    keep.append((track, distance))
                else:
                    running = [t for t in running if t is not track]
                    for then, cells in track.cells.items():
                        keep[0][0].add(then, cells)
            nearest = np.argmin([distance for _, distance in keep], axis=0)
            for number, (track, _) in enumerate(keep):
                if (nearest == number).any():
                    track.add(now, patch[nearest == number])
    return ended + running


def _distances(patch: _Cells, others: _Cells) -> NDArray[np.float64]:
    """Distance of each cell to the nearest of the others, (N,)."""
    nearest = np.full(len(patch), np.inf)
    patch, others = patch.astype(np.int32), others.astype(np.int32)  # half the bytes
    for first in range(0, len(others), 256):
        part = others[first : first + 256]
        down, across = (patch[:, axis, np.newaxis] - part[:, axis] for axis in (0, 1))
        nearest = np.minimum(nearest, (down * down + across * across).min(axis=1))
    distance: NDArray[np.float64] = np.sqrt(nearest)
    return distance


def _patches(active: NDArray[np.bool_]) -> list[list[_Cells]]:
    """Connected cells of every map, each an array (N, 2) of row and column."""
    times, rows, columns = np.nonzero(active)
    number = np.full(active.shape, -1, np.int64)
    number[times, rows, columns] = np.arange(times.size)
    pairs = []
    height, width = active.shape[1:]
    for dy, dx in ((0, 1), (1, -1), (1, 0), (1, 1)):
        one = number[:, : height - dy, max(0, -dx) : width - max(0, dx)]
        other = number[:, dy:, max(0, dx) : width + min(0, dx)]
        both = (one >= 0) & (other >= 0)
        pairs.append(np.stack([one[both], other[both]]))
    root = _components(times.size, np.concatenate(pairs, axis=1))
    order = np.argsort(root, kind="stable")
    found: list[list[_Cells]] = [[] for _ in active]
    for members in np.split(order, np.flatnonzero(np.diff(root[order])) + 1):
        if members.size:
            cells = np.stack([rows[members], columns[members]], axis=1)
            found[int(times[members[0]])].append(cells)
    return found


def _components(count: int, pairs: _Cells) -> _Cells:
    """Return the least number of those that each is connected with."""
    root = np.arange(count)
    while True:
        one, other = root[pairs[0]], root[pairs[1]]
        lower = root.copy()
        np.minimum.at(lower, one, other)
        np.minimum.at(lower, other, one)
        while True:
            jumped = lower[lower]
            if (jumped == lower).all():
                break
            lower = jumped
        if (lower == root).all():
            return root
        root = lower


@dataclass(frozen=True)
class Arrival:
    """When a track, or several, change each cell most.

    Attributes
    ----------
    cells : ndarray of int64, shape (N, 2)
        Row and column; each once.
    maps : ndarray of float64, shape (N,)
        Number of the map.
    """

    cells: _Cells
    maps: NDArray[np.float64]

    @classmethod
    def of(cls, tracks: list[Track], z: _Floats) -> Arrival:
        """Take the strongest change of each cell, in the sign of its track."""
        parts = [(t, c, k.sign) for k in tracks for t, c in sorted(k.cells.items())]
        times = np.concatenate([np.full(len(c), t) for t, c, _ in parts])
        cells = np.concatenate([c for _, c, _ in parts])
        size = z[times, cells[:, 0], cells[:, 1]]
        size = size * np.concatenate([np.full(len(c), sign) for _, c, sign in parts])
        key = cells[:, 0] * z.shape[2] + cells[:, 1]
        order = np.lexsort((-size, key))
        first = np.ones(order.size, bool)
        first[1:] = np.diff(key[order]) != 0
        chosen = order[first]
        return cls(cells[chosen], times[chosen].astype(np.float64))

    def order(self) -> float:
        """How well arrivals are ordered in space, 0 to 1.

        1 - (variance between neighbours) / (variance of all): near 1 for a front that moves on,
        0 for a patch that comes and goes in one place, or that flickers.
        """
        spread = float(np.var(self.maps))
        if spread < 1e-9:
            return 0.0
        at = {(int(y), int(x)): t for (y, x), t in zip(self.cells, self.maps, strict=True)}
        steps = [
            (t - at[near]) ** 2 / 2
            for (y, x), t in at.items()
            for near in ((y + 1, x), (y, x + 1))
            if near in at
        ]
        return max(0.0, 1 - float(np.mean(steps)) / spread) if steps else 0.0


def order(tracks: list[Track], z: _Floats) -> float:
    """Order of arrivals, 0 to 1, see `Arrival.order`; over all, or in parts of the time.

    The latter is for fronts that follow each other over the same cells.
    """
    first, last = min(t.first for t in tracks), max(t.last for t in tracks)
    orders = []
    for begin in range(first, last + 1, ORDER_MAPS):
        part = []
        for track in tracks:
            cells = {t: c for t, c in track.cells.items() if begin <= t < begin + ORDER_MAPS}
            if cells:
                part.append(Track(track.sign, cells))
        if part:
            orders.append(Arrival.of(part, z).order())
    return max(Arrival.of(tracks, z).order(), float(np.median(orders)))


def advance(tracks: list[Track]) -> float:
    """How far tracks get from map to map, in cells; the median over maps.

    That of a map is what half of the newly covered cells are at most away from the last ones.
    """
    covered: dict[int, list[_Cells]] = {}
    for track in tracks:
        for now, cells in track.cells.items():
            covered.setdefault(now, []).append(cells)
    steps = []
    for now, parts in covered.items():
        if now - 1 in covered:
            distance = _distances(np.concatenate(parts), np.concatenate(covered[now - 1]))
            new = distance[distance > 0]
            steps.append(float(np.median(new)) if new.size else 0.0)
    return float(np.median(steps)) if steps else 0.0


def joined(tracks: list[Track], z: _Floats, near_cells: float, own_cells: int) -> list[list[Track]]:
    """Put together the tracks that are pieces of one front, which noise has torn.

    Tracks of one sign are joined if the later one begins near the other, and is small or moves on
    in line with it.

    Parameters
    ----------
    tracks : list of Track
    z : ndarray of float32, shape (M, h, w)
    near_cells : float
        How far pieces of a front may be apart.
    own_cells : int
        Tracks that sweep fewer cells have no direction of their own.
    """
    tracks = sorted(tracks, key=lambda track: (track.first, -len(track.cells)))
    arrivals = [Arrival.of([track], z) for track in tracks]
    pairs = [
        (i, j)
        for j in range(len(tracks))
        for i in range(j)
        if tracks[i].sign == tracks[j].sign
        and tracks[i].last + 1 >= tracks[j].first
        and _belong(tracks[i], tracks[j], arrivals[i], arrivals[j], near_cells, own_cells)
    ]
    root = _components(len(tracks), np.array(pairs, np.int64).reshape(-1, 2).T)
    return [[tracks[i] for i in np.flatnonzero(root == r)] for r in np.unique(root)]


def _belong(
    one: Track, later: Track, first: Arrival, then: Arrival, near_cells: float, own_cells: int
) -> bool:
    now = later.first
    beside = [one.cells[t] for t in range(now - 1, now + 2) if t in one.cells]
    if not beside:
        return False
    distance = _distances(later.cells[now], np.concatenate(beside))
    if distance.min() > near_cells:
        return False
    if min(len(first.cells), len(then.cells)) < own_cells:
        return True
    contact = later.cells[now][np.argmin(distance)]
    return _one_front(first, then, contact, now, 1.5 * near_cells)


def _one_front(first: Arrival, then: Arrival, at: _Cells, now: int, radius: float) -> bool:
    """Tell whether arrivals around a cell are those of one straight front."""
    cells, maps = [], []
    for part in (first, then):
        near = np.hypot(*(part.cells - at).T) <= radius
        near &= (part.maps >= now - 4) & (part.maps <= now + 8)
        if near.sum() < 3:
            return True  # too little to tell them apart
        cells.append(part.cells[near])
        maps.append(part.maps[near])
    times = np.concatenate(maps)
    places = np.concatenate(cells).astype(np.float64)
    design = np.column_stack([np.ones(times.size), places])
    fitted = design @ np.linalg.lstsq(design, times, rcond=None)[0]
    return bool(np.var(times - fitted) <= 0.35 * np.var(times))
