"""Simulated clips of maps with the truth of each wave, at three levels of noise.

Definitions
-----------
Maps are those of `iosfast.preprocess` with its default recipe (interval 5 s, 21 px box) of
recordings at 1 frame per second that stand for means of 60 frames at 60 Hz.

Truth of a wave in a map: where the noise-free map of that wave alone, made by the same recipe,
passes half of its extreme in the direction of the wave's amplitude; nothing where the extreme is
below `PRESENT` of the wave's largest extreme in the clip.

Signal-to-noise ratio of a wave: the extreme of its noise-free map, median over the maps that have
a truth, by the robust standard deviation (1.4826 times the median absolute deviation, within the
cortex; median over maps) of the maps of the same recording without waves.

A map is spoiled if its robust standard deviation without waves is above `SPOILED` times the median
over maps.

The levels are `LEVELS`. The prompt of a wave is one point, the innermost of the truth of the first
map that is not spoiled and has at least `PROMPT_PIXELS` of truth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
from eikonal_scenes import EikonalScene
from scipy.ndimage import distance_transform_edt, label
from simulated_scenes import INTERVAL_S, PIXEL_SIZE_MM, SimulatedScene

import iosfast

PRESENT = 0.1
SPOILED = 1.7
PROMPT_PIXELS = 150
#: A wave is in at least so many maps, else another clip is drawn.
LEAST_MAPS = 5
#: Clips of a level.
COUNTS = {"development": 15, "test": 20}


class Level(NamedTuple):
    """Range of signal-to-noise ratios from which that of a clip's weakest wave is drawn."""

    low: float
    high: float
    seed: int


LEVELS = {1: Level(16.0, 30.0, 1000), 2: Level(9.0, 16.0, 2000), 3: Level(4.5, 8.5, 3000)}

Kind = Literal["development", "test"]


class Scene(Protocol):
    """What a generator makes: images of T + 1 instants, 5 s apart."""

    generator: str
    kinds: tuple[str, ...]
    signs: list[float]  # of the waves' amplitudes
    alone: list[np.ndarray]  # images without noise, of one wave each
    cortex: np.ndarray

    def images(self, factor: float, *, waves: bool) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class LabelledClip:
    """A clip, its prompts, and its truth: one object a wave.

    Attributes
    ----------
    name : str
    level : int
    generator : str
        "simulate" or "eikonal".
    kinds : tuple of str
        plane, ring, sector, ragged; ends, leaves, late, two.
    change : ndarray of float32, shape (T, Y, X)
    times_s : ndarray of float64, shape (T,)
    cortex : ndarray of bool, shape (Y, X)
    truth : ndarray of bool, shape (objects, T, Y, X)
    prompts : tuple of (map index, (x, y)), one an object
    snr : tuple of float, one an object
    spoiled : ndarray of bool, shape (T,)
    """

    name: str
    level: int
    generator: str
    kinds: tuple[str, ...]
    change: np.ndarray
    times_s: np.ndarray
    cortex: np.ndarray
    truth: np.ndarray
    prompts: tuple[tuple[int, tuple[int, int]], ...]
    snr: tuple[float, ...]
    spoiled: np.ndarray
    pixel_size_mm: float = PIXEL_SIZE_MM


def clips(
    level: int, kind: Kind = "development", count: int | None = None
) -> Iterator[LabelledClip]:
    """Yield clips of a level; those of "test" have other seeds, and two generators."""
    for number in range(COUNTS[kind] if count is None else count):
        yield labelled_clip(level, kind, number)


def labelled_clip(level: int, kind: Kind, number: int) -> LabelledClip:
    """Make one clip; the same arguments give the same clip."""
    low, high, seed = LEVELS[level]
    seed += number + (500 if kind == "test" else 0)
    for attempt in range(100):
        random = np.random.default_rng((seed, attempt))
        if kind == "test" and number % 5 in (1, 3):
            scene: Scene = EikonalScene(level, number // 5 * 2 + number % 5 // 3, random)
        else:
            scene = SimulatedScene(level, number, random)
        clip = _labelled(scene, f"{kind}-{level}-{number:02d}", level, random.uniform(low, high))
        if clip is not None:
            return clip
    raise AssertionError(f"no clip of level {level} and number {number} shows its waves")


def maps_of(images: np.ndarray) -> np.ndarray:
    """Maps of successive images; those of a recording at 1 Hz with every fifth image."""
    recipe = iosfast.Recipe(bin_frames=1, interval_bins=1)
    maps = iosfast.preprocess(images, recipe=recipe, frame_rate_hz=1 / INTERVAL_S)
    return np.asarray(maps.change)


def extremes(alone: np.ndarray, sign: float) -> np.ndarray:
    """Extreme of each noise-free map (T, Y, X) in the direction of the wave, (T,)."""
    return np.maximum((alone * sign).max(axis=(1, 2)), 0)


def truth_of(alone: np.ndarray, sign: float) -> np.ndarray:
    """Truth of a wave from its noise-free maps, bool (T, Y, X)."""
    extreme = extremes(alone, sign)
    present = extreme >= PRESENT * extreme.max()
    return (alone * sign > extreme[:, None, None] / 2) & present[:, None, None]


def robust_sd(maps: np.ndarray, cortex: np.ndarray) -> np.ndarray:
    """1.4826 times the median absolute deviation of each map within the cortex, (T,)."""
    inside = maps[:, cortex]
    return 1.4826 * np.median(abs(inside - np.median(inside, axis=1, keepdims=True)), axis=1)


def _labelled(scene: Scene, name: str, level: int, snr: float) -> LabelledClip | None:
    truths, tops = [], []
    for images, sign in zip(scene.alone, scene.signs, strict=True):
        alone = maps_of(images)
        truth = truth_of(alone, sign)
        if (truth.sum(axis=(1, 2)) >= PROMPT_PIXELS).sum() < LEAST_MAPS:
            return None
        truths.append(truth)
        tops.append(float(np.median(extremes(alone, sign)[truth.any(axis=(1, 2))])))
    sd = np.median(robust_sd(maps_of(scene.images(1.0, waves=False)), scene.cortex))
    factor = min(tops) / float(snr * sd)
    # Not all noise is in proportion (a shift is a pixel at most), so that it is measured again.
    without = robust_sd(maps_of(scene.images(factor, waves=False)), scene.cortex)
    spoiled = without > SPOILED * np.median(without)
    prompts = []
    for truth in truths:
        usable = np.flatnonzero((truth.sum(axis=(1, 2)) >= PROMPT_PIXELS) & ~spoiled)
        if not usable.size:
            return None
        prompts.append((int(usable[0]), _innermost(truth[usable[0]])))
    change = maps_of(scene.images(factor, waves=True))
    return LabelledClip(
        name,
        level,
        scene.generator,
        scene.kinds,
        change,
        INTERVAL_S * np.arange(1.0, len(change) + 1),
        scene.cortex,
        np.array(truths),
        tuple(prompts),
        tuple(top / float(np.median(without)) for top in tops),
        spoiled,
    )


def _innermost(truth: np.ndarray) -> tuple[int, int]:
    """Point (x, y) of the largest piece that is furthest from its border."""
    pieces, _ = label(truth)
    largest = pieces == np.argmax(np.bincount(pieces.ravel())[1:]) + 1
    depth = distance_transform_edt(np.pad(largest, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(x), int(y)
