"""Fronts of waves, told from the opposite change that each has in its wake."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .wave_tracks import Arrival, Track

_Floats = NDArray[np.float32]

#: Maps after a front in which the opposite change may follow.
WAKE_MAPS = 18
#: The largest change in the wake of a front is less than this part of the front's: what it changed
#: returns more slowly. It is looked for in so many maps after it is seen first.
_RETURN, _PEAK_MAPS = 0.8, 6
#: It may seem to be this part of it where it follows the front by the same number of maps
#: everywhere, give or take so many, as no other wave does.
_EVEN_RETURN, _EVEN_MAPS = 1.2, 2
#: A track of which more than this part is in the wake of a front is no front.
_LED = 0.5


def fronts(tracks: list[Track], z: _Floats, least_cells: int) -> list[Track]:
    """Return the tracks of fronts, without the opposite change that each has in its wake.

    A cell is in the wake if a front of the other sign changed its surroundings at most `WAKE_MAPS`
    before, and more, or as much and as long before as in most cells. Such cells are taken away,
    and the track if most of it goes. But what has a wake of its own is a front: where a track that
    was taken away is followed by another one in at least `least_cells`, which changes less, it
    stays, and the other goes.
    """
    tracks = sorted(tracks, key=lambda track: (track.first, -len(track.cells)))
    peaks = {sign: _largest_soon(sign * z) for sign in (1, -1)}
    wakes = {sign: _Wakes(z.shape) for sign in (1, -1)}  # of fronts
    others = {sign: _NamedWakes(z.shape) for sign in (1, -1)}  # of what was taken away
    kept, restored = [], []
    for number, track in enumerate(tracks):
        arrival = Arrival.of([track], z)
        y, x = arrival.cells.T
        maps = arrival.maps.astype(np.intp)
        size = peaks[track.sign][maps, y, x]
        ahead, other = wakes[-track.sign], others[-track.sign]
        before = ahead.change[maps, y, x]
        led = size < _RETURN * before
        led |= _follows(maps - ahead.came[y, x]) & (size < _EVEN_RETURN * before)
        if led.mean() > _LED:
            others[track.sign].add(arrival.cells, maps, size, number)
            continue
        second = _follows(maps - other.came[y, x]) & ~led
        second &= size < _RETURN * other.change[maps, y, x]
        if (led | second).mean() > _LED and second.sum() >= least_cells:
            for one in np.unique(other.whose[maps[second], y[second], x[second]]):
                mine = second & (other.whose[maps, y, x] == one)
                front = _ahead(tracks[one], arrival.cells[mine], maps[mine], z)
                if not front.cells:
                    continue
                came = Arrival.of([front], z)
                then = came.maps.astype(np.intp)
                most = peaks[front.sign][then, *came.cells.T]
                wakes[front.sign].add(came.cells, then, most)
                restored.append(front)
            continue
        region = np.ones(z.shape[1:], np.bool_)
        region[y[led], x[led]] = False
        kept.append(track.within(region))
        wakes[track.sign].add(arrival.cells[~led], maps[~led], size[~led])
        others[track.sign].add(arrival.cells[led], maps[led], size[led], number)
    # Fronts that began before others may have been followed on into the wakes of these.
    without = restored
    for track in kept:
        rest = {}
        for now, c in track.cells.items():
            at = now, c[:, 0], c[:, 1]
            before = np.maximum(wakes[-track.sign].change[at], others[-track.sign].change[at])
            led = peaks[track.sign][at] < _RETURN * before
            if not led.all():
                rest[now] = c[~led]
        if rest:
            without.append(Track(track.sign, rest))
    return without


class _Wakes:
    """What tracks of one sign changed in the `WAKE_MAPS` before, and when they came."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        length, *grid = shape
        self.change = np.zeros((length + WAKE_MAPS, *grid), np.float32)
        self.came = np.full(grid, -np.inf)

    def add(
        self, cells: NDArray[np.int64], maps: NDArray[np.intp], size: _Floats, number: int = 0
    ) -> None:
        """Add the arrivals of track `number`."""
        height, width = self.came.shape
        change = self.change.reshape(-1)
        order = np.argsort(size, kind="stable")  # of what is written twice, the last one remains
        cells, maps, size = cells[order], maps[order], size[order]
        later = np.arange(1, WAKE_MAPS + 1) * (height * width)
        for down, across in np.ndindex(3, 3):
            y, x = (cells + np.array([down - 1, across - 1])).T
            inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            y, x, now = y[inside], x[inside], maps[inside]
            at = ((now * height + y) * width + x)[:, np.newaxis] + later
            much = np.broadcast_to(size[inside, np.newaxis], at.shape)
            more = change[at] < much
            change[at[more]] = much[more]
            self._name(at[more], number)
            np.maximum.at(self.came, (y, x), now)

    def _name(self, at: NDArray[np.int64], number: int) -> None:
        """Take note of whose change there is most."""


class _NamedWakes(_Wakes):
    """The same, and of which track each is."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(shape)
        self.whose = np.full(self.change.shape, -1, np.int32)

    def _name(self, at: NDArray[np.int64], number: int) -> None:
        self.whose.reshape(-1)[at] = number


def _ahead(track: Track, cells: NDArray[np.int64], maps: NDArray[np.intp], z: _Floats) -> Track:
    """Return what passed some cells at most `WAKE_MAPS` before its wake did, where it is strong.

    What is weaker in a cell is left of the wake that was there before.
    """
    until = np.full(z.shape[1:], -1)
    for (row, column), now in zip(cells, maps, strict=True):
        near = np.s_[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
        np.maximum(until[near], now, out=until[near])
    rest = {}
    for now, c in track.cells.items():
        ahead = until[c[:, 0], c[:, 1]] - now
        rest[now] = c[(ahead > 0) & (ahead <= WAKE_MAPS)]
    front = Track(track.sign, {now: c for now, c in rest.items() if len(c)}, doubted=True)
    if not front.cells:
        return front
    arrival = Arrival.of([front], z)
    least, came = np.zeros((2, *z.shape[1:]), np.float32)
    y, x = arrival.cells.T
    least[y, x] = _RETURN * track.sign * z[arrival.maps.astype(np.intp), y, x]
    came[y, x] = arrival.maps
    for now, c in front.cells.items():
        at = c[:, 0], c[:, 1]
        strong = track.sign * z[now, *at] >= least[at]
        rest[now] = c[strong & (abs(now - came[at]) <= _PEAK_MAPS)]
    front.cells = {now: c for now, c in rest.items() if len(c)}
    return front


def _follows(since: _Floats) -> NDArray[np.bool_]:
    """Tell which cells a front of the other sign came to the same number of maps before.

    Of a wave with another origin or speed these numbers differ from cell to cell.
    """
    within = (since > 0) & (since <= WAKE_MAPS)
    if within.mean() <= _LED:
        return np.zeros(since.shape, np.bool_)
    return np.asarray(within & (abs(since - np.median(since[within])) <= _EVEN_MAPS))


def _largest_soon(z: _Floats) -> _Floats:
    """Return the largest value of a map and the `_PEAK_MAPS` after it, for each cell."""
    largest = z.copy()
    for later in range(1, min(_PEAK_MAPS + 1, len(z))):
        np.maximum(largest[:-later], z[later:], out=largest[:-later])
    return largest
