"""Movies and behaviour that resemble nature, from a seed: what a simulated mouse sees and does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .. import arguments

#: Level and contrast of the movies, on the scale of 0 to 255.
MEAN, CONTRAST = 127.5, 50.0


def natural_movies(
    count: int,
    frames: int,
    shape: tuple[int, int],
    *,
    seed: int = 0,
    exponent: float = 1.0,
    objects: int = 3,
    speed_px: float = 0.4,
) -> NDArray[np.float32]:
    """Movies of a 1/f texture that pans, with textured discs that move over it.

    Parameters
    ----------
    count, frames : int
    shape : tuple of int
        (Y, X).
    seed : int
        Each movie of a seed is the same, however many are asked for.
    exponent : float
        The amplitude of a spatial frequency f is 1 / f ** exponent; 1 in natural images.
    objects : int
        Discs in each movie; they cover each other and have textures of their own.
    speed_px : float
        Of the pan and the discs, in pixels per frame (root of the mean square).

    Returns
    -------
    ndarray of float32, shape (count, T, Y, X)
        From 0 to 255, about 127.5.
    """
    count = arguments.integer("count", count, 1)
    frames = arguments.integer("frames", frames, 1)
    shape = arguments.image_shape("shape", shape)
    seed = arguments.integer("seed", seed, 0)
    exponent = arguments.number("exponent", exponent, 0, 4)
    objects = arguments.integer("objects", objects, 0)
    speed = arguments.number("speed_px", speed_px, 0)
    movies = np.empty((count, frames, *shape), np.float32)
    for number, movie in enumerate(movies):
        random = np.random.default_rng((seed, number))
        movie[...] = _texture_moved(random, frames, shape, exponent, speed)
        for _ in range(objects):
            over = _texture_moved(random, frames, shape, exponent, speed)
            inside = _disc(random, frames, shape, speed)
            movie += inside * (over + random.normal(0, 0.7) - movie)
        movie -= movie.mean()
        movie *= CONTRAST / movie.std()
        movie += MEAN
    return np.clip(movies, 0, 255)


def behaviour_traces(count: int, frames: int, *, seed: int = 0) -> NDArray[np.float32]:
    """Pupil dilation and running speed of a simulated mouse, which change slowly.

    Parameters
    ----------
    count, frames : int
    seed : int

    Returns
    -------
    ndarray of float32, shape (count, 2, T)
        Both from 0 to about 3, with a mean near 1.
    """
    count = arguments.integer("count", count, 1)
    frames = arguments.integer("frames", frames, 1)
    random = np.random.default_rng((arguments.integer("seed", seed, 0), 1))
    arousal = _slow(random, (count, 1, frames), 60)
    own = _slow(random, (count, 2, frames), 20)
    return np.exp(0.3 * arousal + 0.3 * own).astype(np.float32)


def _slow(
    random: np.random.Generator, shape: tuple[int, ...], correlation_frames: float
) -> NDArray[np.float64]:
    """Give noise of unit variance with a correlation that decays over these frames."""
    keep = np.exp(-1 / correlation_frames)
    steps = random.standard_normal(shape)
    trace = np.empty(shape)
    trace[..., 0] = steps[..., 0]
    for t in range(1, shape[-1]):
        trace[..., t] = keep * trace[..., t - 1] + np.sqrt(1 - keep**2) * steps[..., t]
    return trace


def _path(random: np.random.Generator, frames: int, speed: float) -> NDArray[np.float64]:
    """Give displacements in pixels, shape (T, 2); the velocity changes over about 30 frames."""
    velocity = speed / np.sqrt(2) * _slow(random, (2, frames), 30)
    return np.cumsum(velocity, axis=1).T


def _texture_moved(
    random: np.random.Generator,
    frames: int,
    shape: tuple[int, int],
    exponent: float,
    speed: float,
) -> NDArray[np.float64]:
    """Give a texture of unit variance that is twice as large as the field and moves behind it."""
    height, width = 2 * shape[0], 2 * shape[1]
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    frequency = np.hypot(fy, fx)
    frequency[0, 0] = np.inf
    waves = np.fft.rfft2(random.standard_normal((height, width))) / frequency**exponent
    waves *= 1 / np.fft.irfft2(waves, s=(height, width)).std()
    out = np.empty((frames, *shape))
    for t, (y, x) in enumerate(_path(random, frames, speed)):
        moved = np.fft.irfft2(waves * np.exp(-2j * np.pi * (fy * y + fx * x)), s=(height, width))
        out[t] = moved[: shape[0], : shape[1]]
    return out


def _disc(
    random: np.random.Generator, frames: int, shape: tuple[int, int], speed: float
) -> NDArray[np.float64]:
    """Give how far each pixel is inside of a disc that moves, 0 to 1, with an edge of a pixel."""
    size = np.array(shape)
    radius = min(shape) * random.uniform(0.12, 0.3)
    centers = random.uniform(0, size) + 1.5 * _path(random, frames, speed)
    centers = np.abs((centers + size) % (2 * size) - size)  # turns around at the border
    y, x = np.mgrid[: shape[0], : shape[1]]
    far = np.hypot(y - centers[:, 0, None, None], x - centers[:, 1, None, None])
    inside: NDArray[np.float64] = np.clip(radius - far + 0.5, 0, 1)
    return inside
