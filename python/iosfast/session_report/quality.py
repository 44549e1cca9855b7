"""How good a recording is: its noise, its brightness, and how far the image moved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..episodes import Episode
from ..maps import Maps

_Doubles = NDArray[np.float64]

#: Images whose brightness and place are told, and maps of which the noise is, evenly in time.
IMAGES, MAPS = 160, 60
#: Images are compared at about so many pixels a side.
_SIDE_PX = 256
#: Patterns of this length and this one are compared, in pixels: not noise, and not the light.
_FINE_PX, _COARSE_PX = 2.0, 16.0
#: Images that are less alike than this (correlation) do not tell a shift.
_LEAST_ALIKE = 0.3
#: Parts of a pixel to which a shift is told, and pixels around the best whole one.
_PARTS, _AROUND_PX = 4, 1.0
#: Finer patterns, in periods per pixel, are too weak after this band to tell a part of a pixel.
_FINEST = 0.25


@dataclass(frozen=True, eq=False)
class Quality:
    """What tells of the quality of a recording.

    Attributes
    ----------
    times_s : ndarray of float64, shape (N,)
        Of the mean images that were looked at.
    brightness_percent : ndarray of float64, shape (N,)
        Mean over the cortex, relative to the first image.
    shift_px : ndarray of float64, shape (N, 2)
        How far (y, x) the image lies from the first one; NaN where it cannot be told.
    noise : float
        Standard deviation over the cortex of a map without a wave, as a fraction (or in counts,
        of differences), robust, median over maps; NaN if there is none.
    quiet_maps : int
        The maps of which the noise was taken.
    """

    times_s: _Doubles
    brightness_percent: _Doubles
    shift_px: _Doubles
    noise: float
    quiet_maps: int

    @property
    def moved_px(self) -> _Doubles:
        """Distance of each image from the first, (N,)."""
        return np.asarray(np.hypot(*self.shift_px.T))


def quality_of(maps: Maps, episodes: Sequence[Episode]) -> Quality:
    """Look at images and maps, evenly over the recording.

    Parameters
    ----------
    maps : Maps
    episodes : sequence of Episode
        In their maps, the noise is not looked at.
    """
    bins = maps.bin_times_s.size
    chosen = np.unique(np.linspace(0, bins - 1, min(IMAGES, bins)).round().astype(int))
    inside = ... if maps.mask is None else maps.mask
    shift = Shift(np.asarray(maps.binned[0]))
    brightness, shifts = [], []
    for number in chosen.tolist():
        image = np.asarray(maps.binned[number])
        brightness.append(float(image[inside].mean(dtype=np.float64)))
        shifts.append(shift.of(image))
    level = np.array(brightness)
    relative = 100 * (level / level[0] - 1) if level[0] > 0 else np.full(level.size, math.nan)
    quiet = np.ones(len(maps), bool)
    for episode in episodes:
        quiet[episode.start : episode.end + 1] = False
    some = np.flatnonzero(quiet)
    some = some[np.unique(np.linspace(0, some.size - 1, min(MAPS, some.size)).round().astype(int))]
    noise = [_spread(np.asarray(maps.change[number])[inside]) for number in some.tolist()]
    return Quality(
        times_s=maps.bin_times_s[chosen],
        brightness_percent=relative,
        shift_px=np.array(shifts),
        noise=float(np.median(noise)) if noise else math.nan,
        quiet_maps=len(noise),
    )


def _spread(values: NDArray[Any]) -> float:
    """Standard deviation of normally distributed values, by the median distance from the median."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def _vertex(values: _Doubles, at: int) -> float:
    """How far from its greatest value a parabola through it and its neighbours is greatest."""
    if not 0 < at < len(values) - 1:
        return 0.0
    before, peak, after = values[at - 1 : at + 2].tolist()
    bend = before - 2 * peak + after
    return (before - after) / (2 * bend) if bend < 0 else 0.0


class Shift:
    """Tells how far images lie from a first one, by their cross-correlation.

    The correlation is that of the patterns between the sizes of noise and of uneven light, with
    a window against the borders; its peak is sought among whole pixels, and then by a discrete
    Fourier transform of finer steps around it (Guizar-Sicairos et al., Opt. Lett. 33, 156, 2008).

    Parameters
    ----------
    first : ndarray, shape (Y, X)
        Any numbers.
    """

    def __init__(self, first: NDArray[Any]) -> None:
        self._every = max(1, round(min(first.shape) / _SIDE_PX))
        shape = tuple(side // self._every for side in first.shape)
        self._window = np.outer(*(np.hanning(side + 2)[1:-1] for side in shape))
        y, x = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])
        squares = (2 * math.pi) ** 2 * (y * y + x * x) / 2
        self._band = np.exp(-squares * _FINE_PX**2) - np.exp(-squares * _COARSE_PX**2)
        self._shape = shape
        # Of a real image, the half of the spectrum that is left out is the conjugate of the other.
        self._twice = np.full(self._band.shape[1], 2.0)
        self._twice[0] = 1.0
        if shape[1] % 2 == 0:
            self._twice[-1] = 1.0
        self._down = np.flatnonzero(np.abs(y[:, 0]) <= _FINEST)
        self._wide = int(np.count_nonzero(x <= _FINEST))
        self._first = self._spectrum(first)
        self._first_length = self._length(self._first)

    def of(self, image: NDArray[Any]) -> tuple[float, float]:
        """Return how far an image is shifted, (y, x) in pixels; NaN if it is not alike."""
        spectrum = self._spectrum(image)
        product = spectrum * np.conj(self._first)
        correlation = np.fft.irfft2(product, self._shape)
        whole = self._length(spectrum) * self._first_length
        at = np.unravel_index(np.argmax(correlation), self._shape)
        if not whole > 0 or correlation[at] < _LEAST_ALIKE * whole:
            return math.nan, math.nan
        near = [int(i) - side * (i > side // 2) for i, side in zip(at, self._shape, strict=True)]
        y, x = self._refined(product, near)
        return y * self._every, x * self._every

    def _refined(self, product: NDArray[np.complex128], near: Sequence[int]) -> tuple[float, float]:
        count = round(2 * _AROUND_PX * _PARTS) + 1
        steps = np.linspace(-_AROUND_PX, _AROUND_PX, count)
        y = (near[0] + steps)[:, None] * np.fft.fftfreq(self._shape[0])[self._down]
        x = np.fft.rfftfreq(self._shape[1])[: self._wide, None] * (near[1] + steps)
        told = product[self._down, : self._wide] * self._twice[: self._wide]
        # Not by a matrix product: a library that takes threads for so little costs more than it.
        rows = np.einsum("ay,yx->ax", np.exp(2j * math.pi * y), told)
        found = np.einsum("ax,xb->ab", rows, np.exp(2j * math.pi * x)).real
        top, left = map(int, np.unravel_index(np.argmax(found), found.shape))
        return (
            near[0] + float(steps[top]) + _vertex(found[:, left], top) * (steps[1] - steps[0]),
            near[1] + float(steps[left]) + _vertex(found[top], left) * (steps[1] - steps[0]),
        )

    def _length(self, spectrum: NDArray[np.complex128]) -> float:
        """Root of the sum of the squares of an image, by its spectrum."""
        squares = (np.abs(spectrum) ** 2 * self._twice).sum()
        return math.sqrt(float(squares) / math.prod(self._shape))

    def _spectrum(self, image: NDArray[Any]) -> NDArray[np.complex128]:
        (height, width), n = self._shape, self._every
        coarse = np.zeros((height, width))
        for row in range(n):
            for column in range(n):
                coarse += image[row : height * n : n, column : width * n : n]
        coarse /= n * n
        level = float(coarse.mean())
        spectrum = np.fft.rfft2((coarse - level) * self._window) * self._band
        return np.asarray(spectrum)
