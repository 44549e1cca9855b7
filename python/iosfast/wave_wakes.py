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


def fronts(tracks: list[Track], z: _Floats) -> list[Track]:
    """Return the tracks of fronts, without the opposite change that each has in its wake.

    A cell is in the wake if a front of the other sign changed its surroundings at most `WAKE_MAPS`
    before, and more, or as much and as long before as in most cells. Such cells are taken away,
    and the track if most of it goes.
    """
    tracks = sorted(tracks, key=lambda track: (track.first, -len(track.cells)))
    peaks = {sign: _largest_soon(sign * z) for sign in (1, -1)}
    wakes = {sign: np.zeros(z.shape, np.float32) for sign in (1, -1)}  # what fronts changed before
    passed = {sign: np.full(z.shape[1:], -np.inf) for sign in (1, -1)}  # when fronts came
    kept = []
    for track in tracks:
        arrival = Arrival.of([track], z)
        y, x = arrival.cells.T
        maps = arrival.maps.astype(np.intp)
        size = peaks[track.sign][maps, y, x]
        before = wakes[-track.sign][maps, y, x]
        led = size < _RETURN * before
        led |= _follows(maps - passed[-track.sign][y, x]) & (size < _EVEN_RETURN * before)
        if led.mean() > _LED:
            continue
        wake = np.zeros(z.shape[1:], bool)
        wake[y[led], x[led]] = True
        rest = {now: c[~wake[c[:, 0], c[:, 1]]] for now, c in track.cells.items()}
        kept.append(Track(track.sign, {now: c for now, c in rest.items() if len(c)}))
        own = zip(arrival.cells[~led], maps[~led], size[~led], strict=True)
        for (row, column), now, much in own:
            near = np.s_[
                now + 1 : now + WAKE_MAPS + 1, max(0, row - 1) : row + 2,
                max(0, column - 1) : column + 2,
            ]  # fmt: skip
            np.maximum(wakes[track.sign][near], much, out=wakes[track.sign][near])
            np.maximum(passed[track.sign][near[1:]], now, out=passed[track.sign][near[1:]])
    # Fronts that began before others may have been followed on into the wakes of these.
    without = []
    for track in kept:
        rest = {}
        for now, c in track.cells.items():
            at = now, c[:, 0], c[:, 1]
            led = peaks[track.sign][at] < _RETURN * wakes[-track.sign][at]
            if not led.all():
                rest[now] = c[~led]
        if rest:
            without.append(Track(track.sign, rest))
    return without


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
