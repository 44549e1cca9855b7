"""The still image under all waves: light, texture and branching vessels."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_Image = NDArray[np.float32]
_Doubles = NDArray[np.float64]

#: Blur by the optics, standard deviation in pixels; keeps the scene smooth enough to be shifted.
OPTICS_PX = 0.8


class Scene(NamedTuple):
    """What does not change in time; counts, gradients in counts per pixel."""

    background: _Image
    pulsatile: _Image
    gradient_y: _Image
    gradient_x: _Image


def cortex_window(shape: tuple[int, int]) -> _Doubles:
    """Fourth-power radius from the centre: 1 on the edge of the cortex."""
    y, x = ((np.arange(length) + 0.5) / length - 0.5 for length in shape)
    radius: _Doubles = (y[:, None] ** 4 + x**4) ** 0.25 / 0.46
    return radius


def draw_scene(
    shape: tuple[int, int],
    baseline_counts: float,
    vessel_factor: float,
    vessels_random: np.random.Generator,
    texture_random: np.random.Generator,
) -> Scene:
    """Draw light, texture and vessels; the mean within the cortex is `baseline_counts`."""
    window = cortex_window(shape)
    inside = 1 / (1 + np.exp(np.clip((window - 1.02) / 0.012, -50, 50)))
    vessels = _vessel_absorption(shape, vessels_random) * inside
    light = 1.1 - 0.25 * window**2
    for sigma, contrast in ((0.10, 0.05), (0.02, 0.015), (0.004, 0.01)):
        light += contrast * cloud(texture_random.standard_normal(shape), sigma)
    light = np.maximum(light, 0.05) * (0.4 + 0.6 * inside) * np.exp(-vessels)
    light *= baseline_counts / light[window <= 1].mean()
    pulsatile = light * (1 + vessel_factor * (1 - np.exp(-vessels)))
    gradients = (
        np.gradient(light, axis=axis) if shape[axis] > 1 else np.zeros(shape) for axis in (0, 1)
    )
    return Scene(*(image.astype(np.float32) for image in (light, pulsatile, *gradients)))


def _gaussian(shape: tuple[int, ...], sigma_px: float) -> _Doubles:
    """Transfer function of a Gaussian of unit sum, for `numpy.fft.rfft2`."""
    y, x = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])
    transfer: _Doubles = np.exp(-2 * (np.pi * sigma_px) ** 2 * (y**2 + x**2))
    return transfer


def cloud(noise: _Doubles, sigma: float) -> _Doubles:
    """Blur noise by a part `sigma` of the longer side; mean 0, standard deviation 1."""
    transfer = _gaussian(noise.shape, math.hypot(sigma * max(noise.shape), OPTICS_PX))
    cloud: _Doubles = np.fft.irfft2(np.fft.rfft2(noise) * transfer, s=noise.shape)
    cloud -= cloud.mean()
    return cloud / max(float(cloud.std()), 1e-12)


def _grow_vessels(
    width: float, height: float, random: np.random.Generator
) -> tuple[_Doubles, float]:
    """Walk branching trees in from the edges of a field of which the longer side is 1.

    Returns x, y and radius of N points, shape (3, N), and the distance between them.
    """
    step, roots = 0.003, 11
    around = 2 * np.pi * (np.arange(roots) + random.uniform(-0.35, 0.35, roots)) / roots
    edge = np.stack([np.cos(around), np.sin(around)])
    edge /= abs(edge).max(axis=0)
    x, y = width / 2 * (1 + edge[0]), height / 2 * (1 + edge[1])
    heading = np.arctan2(height / 2 - y, width / 2 - x) + random.normal(0, 0.35, roots)
    bend = np.zeros(roots)
    radius = random.uniform(0.004, 0.010, roots)
    points = []
    while len(x):
        points.append(np.stack([x, y, radius]))
        bend = 0.9 * bend + random.normal(0, 0.013, len(x))
        heading = heading + bend
        x, y, radius = x + step * np.cos(heading), y + step * np.sin(heading), 0.9955 * radius
        fork = random.random(len(x)) < 0.03
        side = np.where(random.random(len(x)) < 0.5, -1.0, 1.0)
        child_heading = heading + side * random.uniform(0.5, 1.1, len(x))
        child_radius = radius * random.uniform(0.45, 0.8, len(x))
        heading -= np.where(fork, 0.2 * side, 0)
        radius *= np.where(fork, 0.95, 1)
        state = np.stack([x, y, heading, bend, radius])
        born = np.stack([x, y, child_heading, 0 * bend, child_radius])[:, fork]
        state = np.concatenate([state, born], axis=1)
        beyond = abs(state[:2] - [[width / 2], [height / 2]]) - [[width / 2], [height / 2]]
        x, y, heading, bend, radius = state[:, (state[4] > 0.0011) & (beyond < 0.03).all(axis=0)]
    return np.concatenate(points, axis=1), step


def _vessel_absorption(shape: tuple[int, ...], random: np.random.Generator) -> _Doubles:
    """Absorption of the vessels, shape (Y, X): the light that is left is exp(-absorption)."""
    unit = max(shape)
    (x, y, radius), step = _grow_vessels(shape[1] / unit, shape[0] / unit, random)
    margin = math.ceil(0.04 * unit) + 1
    padded = shape[0] + 2 * margin, shape[1] + 2 * margin
    x, y, sigma_px = x * unit - 0.5 + margin, y * unit - 0.5 + margin, 0.6 * radius * unit
    depth = 0.75 * (radius / 0.010) ** 0.7
    weight = depth * step * unit * math.sqrt(2 * math.pi) * sigma_px
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    # Blurred by a few radii instead of each its own: one FFT per level, and no loop over points.
    levels = np.geomspace(sigma_px.min(), sigma_px.max(), 8)
    level = np.interp(np.log(sigma_px), np.log(levels), np.arange(len(levels)))
    spectrum = np.zeros((padded[0], padded[1] // 2 + 1), complex)
    for number, sigma in enumerate(levels.tolist()):
        share = weight * np.maximum(0, 1 - abs(level - number))
        image = np.zeros(padded[0] * padded[1])
        for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
            near = (1 - abs(y - top - row)) * (1 - abs(x - left - column))
            image += np.bincount((top + row) * padded[1] + left + column, share * near, image.size)
        spectrum += np.fft.rfft2(image.reshape(padded)) * _gaussian(
            padded, math.hypot(sigma, OPTICS_PX)
        )
    absorption = np.fft.irfft2(spectrum, s=padded)[margin:-margin, margin:-margin]
    return np.maximum(absorption, 0)
