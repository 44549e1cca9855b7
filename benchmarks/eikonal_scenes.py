"""A second generator of clips, which shares no code with `iosfast.simulate`.

Fronts run by shortest travel times through a medium of random speed, so that they are ragged;
pulses are asymmetric, amplitudes vary over space, and noise is drawn on the images themselves:
clouds of power 1/f in space that follow one another in time, grain, vessels that move and pulsate,
and images that are spoiled.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import gaussian_filter, shift, zoom
from skimage.graph import MCP_Geometric

SHAPE = (512, 512)
PIXEL_SIZE_MM = 10 / 512
IMAGES = 31
INTERVAL_S = 5.0
COARSE = 4
BACKGROUND = 12000.0

#: Part of the images that is spoiled, and how much louder they are.
SPOILED = {1: (0.0, 0.0), 2: (0.1, 3.0), 3: (0.17, 4.0)}


class EikonalScene:
    """A scene of random settings."""

    generator = "eikonal"

    def __init__(self, level: int, number: int, random: np.random.Generator) -> None:
        special = ("", "two", "ends", "leaves", "late")[number % 5]
        self.kinds = tuple(kind for kind in ("ragged", special) if kind)
        self.cortex = _cortex(random)
        vessels = _vessels(random)
        light = _field(random, 1.5, 0.1) * np.where(self.cortex, 1, 0.3)
        self._still = BACKGROUND * light * np.exp(-vessels)
        size = math.exp(random.uniform(*np.log((0.003, 0.04))))
        self._waves, self.signs = [], []
        for number in range(2 if special == "two" else 1):
            self.signs.append(float(random.choice([-1, 1])))
            strength = size * (random.uniform(1, 1.5) if number else 1)
            wave = _wave(self.cortex, special, random)
            self._waves.append(self.signs[-1] * strength * wave)
        self.alone = [(self._still * (1 + wave)).astype(np.float32) for wave in self._waves]
        self._noise = _noise(level, vessels, random)

    def images(self, factor: float, *, waves: bool) -> np.ndarray:
        """Images (T + 1, Y, X) with the scene's noise times a factor."""
        seen = self._still * (1 + sum(self._waves)) if waves else self._still
        return (seen * (1 + factor * self._noise)).astype(np.float32)


def _field(random: np.random.Generator, power: float, sd: float) -> np.ndarray:
    """1 + a random field with amplitudes of 1 / frequency ** power."""
    return 1 + sd * _clouds(random, power)


def _clouds(random: np.random.Generator, power: float) -> np.ndarray:
    y, x = np.fft.fftfreq(SHAPE[0])[:, None], np.fft.rfftfreq(SHAPE[1])
    frequency = np.hypot(y, x)
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(random.standard_normal(SHAPE)) / frequency**power
    clouds = np.fft.irfft2(spectrum, s=SHAPE)
    return (clouds - clouds.mean()) / clouds.std()


def _cortex(random: np.random.Generator) -> np.ndarray:
    y, x = np.indices(SHAPE)
    a, b = random.uniform(215, 250, 2)
    return ((x - 255.5) / a) ** 2 + ((y - 255.5) / b) ** 2 < _field(random, 2, 0.05)


def _vessels(random: np.random.Generator) -> np.ndarray:
    """Absorption of winding lines of several widths."""
    absorption = np.zeros(SHAPE)
    for _ in range(int(random.integers(6, 16))):
        lines = np.zeros(SHAPE)
        at, heading = random.uniform(0, 512, 2), random.uniform(0, 2 * np.pi)
        for _ in range(int(random.integers(200, 700))):
            y, x = (int(v) for v in at)
            if 0 <= y < 512 and 0 <= x < 512:
                lines[y, x] = 1
            heading += random.normal(0, 0.08)
            at += np.sin(heading), np.cos(heading)
        width = random.uniform(1, 4)
        absorption += random.uniform(0.05, 0.4) * width * 2.5 * gaussian_filter(lines, width)
    return absorption


def _wave(cortex: np.ndarray, special: str, random: np.random.Generator) -> np.ndarray:
    """Course of a wave of amplitude about 1, (T, Y, X)."""
    fast = special == "leaves"
    # The medium is up to half as fast again: no front is faster than some 8 mm/min.
    speed = random.uniform(4, 5.5) if fast else math.exp(random.uniform(*np.log((1.5, 5.5))))
    px_per_s = speed / 60 / PIXEL_SIZE_MM
    slowness = np.exp(-0.2 * _clouds(random, 1.8)[::COARSE, ::COARSE])
    inside = cortex[::COARSE, ::COARSE]
    places = np.argwhere(inside)
    if random.random() < 0.4:  # a line of origins, as of a front that comes from outside
        normal = random.uniform(0, 2 * np.pi)
        ahead = places @ (math.sin(normal), math.cos(normal))
        origins = places[ahead < ahead.min() + 2]
    else:
        origins = places[random.integers(len(places))][None]
    travel, _ = MCP_Geometric(np.where(inside, slowness, 1e6)).find_costs(origins.tolist())
    travel = np.where(inside, travel, travel[inside].max())
    arrival = gaussian_filter(zoom(travel * COARSE / px_per_s, COARSE, order=1), 3)
    start_s = random.uniform(40, 70) if special == "late" else random.uniform(-30, 20)
    last_s = random.uniform(30, 80) if special == "ends" else np.inf
    rise_s = random.uniform(15, 50) / px_per_s
    rise_s, fall_s = float(np.clip(rise_s, 4, 30)), float(np.clip(2.5 * rise_s, 10, 80))
    times = INTERVAL_S * np.arange(IMAGES, dtype=np.float32)
    since = times[:, None, None] - (arrival + start_s).astype(np.float32)
    up = np.clip(since / (1.6 * rise_s), 0, None) ** 2
    course = up / (0.2 + up) * np.exp(-np.clip(since - rise_s, 0, None) / fall_s)
    # The front dies over some seconds; where the wave is weak, it stays weak.
    reached = 1 / (1 + np.exp(np.clip((arrival - last_s) / 2, -50, 50)))
    strength = np.clip(_field(random, 2.2, 0.15), 0.5, 1.5) * reached
    course *= (strength * gaussian_filter(cortex.astype(float), 2)).astype(np.float32)
    return course


def _noise(level: int, vessels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Fractional noise of all images, (T, Y, X), in arbitrary units."""
    memory = random.uniform(0.2, 0.8)
    share, louder = SPOILED[level]
    slow = np.zeros(SHAPE)
    pulsatile = 1 - np.exp(-vessels)
    noise = np.empty((IMAGES, *SHAPE), np.float32)
    power, grain_part = random.uniform(0.8, 1.4), random.uniform(5, 20)
    pulse_part, move_part = random.uniform(0, 3), random.uniform(0, 2)
    edges = np.array(np.gradient(-vessels))
    light = 0.0
    for image in noise:
        slow = memory * slow + math.sqrt(1 - memory**2) * _clouds(random, power)
        grain = grain_part * random.standard_normal(SHAPE)
        light = 0.9 * light + random.normal(0, 0.5)
        dy, dx = random.normal(0, 1, 2)
        moved = dy * edges[0] + dx * edges[1]
        image[...] = slow + grain + light
        image += pulse_part * random.normal() * pulsatile + 4 * move_part * moved
        if random.random() < share:
            image += louder * _spoil(edges, random)
    return noise / 1000


def _spoil(edges: np.ndarray, random: np.random.Generator) -> np.ndarray:
    kind = random.integers(4)
    y, x = np.indices(SHAPE) / 512
    if kind == 0:
        return _clouds(random, random.uniform(0.8, 1.6))
    if kind == 1:
        return 1.5 * np.sin(2 * np.pi * (random.uniform(5, 20) * y + random.random()))
    if kind == 2:
        angle = random.uniform(0, 2 * np.pi)
        return 3 * (math.cos(angle) * x + math.sin(angle) * y)
    dy, dx = random.normal(0, 8, 2)
    return dy * edges[0] + dx * edges[1] + 0.5 * shift(_clouds(random, 2), (dy, dx), mode="wrap")
