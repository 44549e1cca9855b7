"""Small clips with a moving band whose place is known, made without the simulation."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from iosfast import Clip

SHAPE = (96, 128)
PIXEL_MM = 10 / 128
INTERVAL_S = 5.0
#: Pixels that a band moves from map to map: 4.7 mm/min.
SPEED_PX = 5.0
#: Height of a band, and standard deviation of the noise of clear clips.
HEIGHT, NOISE = 0.02, 0.001


def plane(first=1.0, speed_px=SPEED_PX, shape=SHAPE):
    """Arrival at each pixel, in maps, of a band that leaves the left edge."""
    return first + np.indices(shape)[1] / speed_px


def ring(origin, first=1.0, speed_px=SPEED_PX, shape=SHAPE, radius_px=np.inf):
    """Arrival of a band that leaves a point (x, y), and ends at a radius."""
    y, x = np.indices(shape)
    way = np.hypot(x - origin[0], y - origin[1])
    return np.where(way <= radius_px, first + way / speed_px, np.inf)


def band(arrival, count, height=HEIGHT, times=None):
    """Noise-free maps of a band: a pulse, and the opposite change in its wake."""
    times = np.arange(count) if times is None else times
    since = times[:, None, None] - np.where(np.isfinite(arrival), arrival, 1e6)
    return height * (np.exp(-((since / 1.5) ** 2)) - 0.3 * np.exp(-(((since - 4) / 2) ** 2)))


def truth_of(maps, sign=1):
    """Where a noise-free map passes half of its extreme; nowhere where the band has left."""
    extreme = np.maximum((sign * maps).max(axis=(1, 2)), 0)
    present = extreme > 0.25 * extreme.max()
    return (sign * maps > extreme[:, None, None] / 2) & present[:, None, None]


def noise(count, sd=NOISE, seed=0, shape=SHAPE):
    """Smooth noise, as that of smoothed maps."""
    white = np.random.default_rng(seed).normal(size=(count, *shape))
    smooth = gaussian_filter(white, (0, 4, 4), mode="wrap")
    return sd * smooth / smooth.std()


def clip_of(change, mask=None, pixel_size_mm=PIXEL_MM, times=None):
    """Maps 5 s apart, or at the times given in such steps."""
    count = len(change)
    return Clip(
        change=np.asarray(change, np.float32),
        times_s=INTERVAL_S * (np.arange(count) if times is None else np.asarray(times, float)),
        names=tuple(f"map_{t:02d}" for t in range(count)),
        rgb=np.zeros((*change.shape, 3), np.uint8),
        pixel_size_mm=pixel_size_mm,
        mask=mask,
    )


def inner_point(mask):
    """The pixel (x, y) of a mask that is nearest to its median."""
    y, x = np.nonzero(mask)
    best = np.argmin((y - np.median(y)) ** 2 + (x - np.median(x)) ** 2)
    return float(x[best]), float(y[best])
