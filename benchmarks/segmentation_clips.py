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

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from eikonal import eikonal_images
from scipy.ndimage import distance_transform_edt, label

import iosfast
from iosfast.simulate import Noise, Simulation, Wave

SHAPE = (512, 512)
PIXEL_SIZE_MM = 10 / 512
MAPS = 30
INTERVAL_S = 5
PRESENT = 0.1
SPOILED = 1.7
PROMPT_PIXELS = 150
#: A clip has a wave in at least so many maps, else another one is drawn.
LEAST_MAPS = 5

#: Every fifth image of one second is all that the maps are made of.
STEP = iosfast.Recipe(bin_seconds=None, bin_frames=1, interval_bins=1)


class Level(NamedTuple):
    """Range of signal-to-noise ratios from which that of a clip is drawn."""

    low: float
    high: float
    seed: int


LEVELS = {1: Level(7.0, 14.0, 1000), 2: Level(4.0, 7.0, 2000), 3: Level(2.2, 3.5, 3000)}

Kind = Literal["development", "test"]


@dataclass(frozen=True, eq=False)
class LabelledClip:
    """A clip, its prompts, and its truth: one object a wave.

    Attributes
    ----------
    name : str
    kinds : tuple of str
        Of waves: plane, ring, sector; ends, leaves, late, two.
    generator : str
        "simulate" or "eikonal".
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
    kinds: tuple[str, ...]
    generator: str
    change: np.ndarray
    times_s: np.ndarray
    cortex: np.ndarray
    truth: np.ndarray
    prompts: tuple[tuple[int, tuple[int, int]], ...]
    snr: tuple[float, ...]
    spoiled: np.ndarray
    pixel_size_mm: float = PIXEL_SIZE_MM


class Images(NamedTuple):
    """What a generator makes: images every 5 s, and where the cortex is."""

    noisy: np.ndarray  # (T + 1, Y, X) counts
    empty: np.ndarray  # the same without waves
    alone: list[np.ndarray]  # without noise, one wave each
    signs: list[float]
    cortex: np.ndarray
    kinds: tuple[str, ...]


def clips(
    level: int, kind: Kind = "development", count: int | None = None
) -> Iterator[LabelledClip]:
    """Yield clips of a level; those of "test" have other seeds, and both generators."""
    count = {"development": 16, "test": 24}[kind] if count is None else count
    for number in range(count):
        yield labelled_clip(level, kind, number)


def labelled_clip(level: int, kind: Kind, number: int) -> LabelledClip:
    """Make one clip; the same arguments give the same clip."""
    eikonal = kind == "test" and number % 5 in (1, 3)
    make = eikonal_images if eikonal else simulated_images
    seed = LEVELS[level].seed + number + (500 if kind == "test" else 0)
    for attempt in range(100):
        random = np.random.default_rng((seed, attempt))
        snr = random.uniform(*LEVELS[level][:2])
        images = make(level, number, snr, random)
        clip = images and _labelled(images, f"{kind}-{level}-{number:02d}", level, eikonal)
        if clip:
            return clip
    raise AssertionError("no clip has the waves asked for")


def _maps(images: np.ndarray) -> np.ndarray:
    return np.asarray(iosfast.preprocess(images, recipe=STEP, frame_rate_hz=1 / INTERVAL_S).change)


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


def _labelled(images: Images, name: str, level: int, eikonal: bool) -> LabelledClip | None:
    noisy, empty = _maps(images.noisy), _maps(images.empty)
    sd = robust_sd(empty, images.cortex)
    spoiled = sd > SPOILED * np.median(sd)
    truths, prompts, ratios = [], [], []
    for frames, sign in zip(images.alone, images.signs, strict=True):
        alone = _maps(frames)
        truth = truth_of(alone, sign)
        seen = truth.sum(axis=(1, 2)) >= PROMPT_PIXELS
        usable = np.flatnonzero(seen & ~spoiled)
        if seen.sum() < LEAST_MAPS or not usable.size:
            return None
        prompts.append((int(usable[0]), _innermost(truth[usable[0]])))
        extreme = extremes(alone, sign)[truth.any(axis=(1, 2))]
        ratios.append(float(np.median(extreme) / np.median(sd)))
        truths.append(truth)
    return LabelledClip(
        name,
        level,
        images.kinds,
        "eikonal" if eikonal else "simulate",
        noisy,
        INTERVAL_S * np.arange(1.0, len(noisy) + 1),
        images.cortex,
        np.array(truths),
        tuple(prompts),
        tuple(ratios),
        spoiled,
    )


def _innermost(truth: np.ndarray) -> tuple[int, int]:
    """Point (x, y) of the largest piece that is furthest from its border."""
    pieces, _ = label(truth)
    largest = pieces == np.argmax(np.bincount(pieces.ravel())[1:]) + 1
    depth = distance_transform_edt(np.pad(largest, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(x), int(y)


# Waves of the package's own simulation

#: What the clips are of, in turn.
SCENES = (
    ("ring",),
    ("plane", "leaves"),
    ("sector",),
    ("ring", "ends"),
    ("plane", "late"),
    ("sector", "two"),
    ("ring", "leaves"),
    ("sector", "ends"),
    ("plane",),
    ("ring", "two"),
    ("sector", "late"),
)


def simulated_images(
    level: int, number: int, snr: float, random: np.random.Generator
) -> Images | None:
    """Images of `iosfast.simulate`."""
    kinds = SCENES[number % len(SCENES)]
    lead_s = int(random.integers(0, 12)) * INTERVAL_S
    waves = [_wave(kinds, lead_s, random)]
    if "two" in kinds:
        other = _wave((str(random.choice(["plane", "ring", "sector"])),), lead_s, random)
        louder = waves[0].amplitude_percent * random.uniform(1, 1.5) * random.choice([-1, 1])
        waves.append(replace(other, amplitude_percent=louder))
    noise = Noise.level(level)
    noise = replace(
        noise,
        vessel_factor=random.uniform(0.5, 4),
        drift_percent=noise.drift_percent * random.uniform(0, 3),
        drift_period_s=random.uniform(60, 600),
        jitter_per_min=random.uniform(0, 12),
        vasomotion_period_s=random.uniform(8, 25),
    ).of_means(60, 60.0)
    recording = Simulation(
        shape=SHAPE,
        duration_s=lead_s + MAPS * INTERVAL_S + 1,
        frame_rate_hz=1,
        pixel_size_mm=PIXEL_SIZE_MM,
        waves=(),
        noise=noise,
        seed=int(random.integers(1 << 31)),
    )
    cortex = recording.cortex_mask()
    alone = [_noise_free(recording, wave, lead_s) for wave in waves]
    tops = []
    for frames, wave in zip(alone, waves, strict=True):
        extreme = extremes(_maps(frames), math.copysign(1, wave.amplitude_percent))
        if extreme.max() <= 0:
            return None
        tops.append(np.median(extreme[extreme >= PRESENT * extreme.max()]))
    first = _every_fifth(recording, lead_s)
    sd = float(np.median(robust_sd(_maps(first), cortex)))
    noise = noise.scaled(float(min(tops)) / (snr * sd))
    noisy, empty = (_every_fifth(_again(recording, noise, w), lead_s) for w in (waves, []))
    signs = [math.copysign(1, wave.amplitude_percent) for wave in waves]
    return Images(noisy, empty, alone, signs, cortex, kinds)


def _again(recording: Simulation, noise: Noise, waves: list[Wave]) -> Simulation:
    return Simulation(
        shape=SHAPE,
        duration_s=len(recording),
        frame_rate_hz=1,
        pixel_size_mm=PIXEL_SIZE_MM,
        waves=waves,
        noise=noise,
        seed=recording.metadata["seed"],
    )


def _every_fifth(recording: Simulation, lead_s: int) -> np.ndarray:
    times = range(lead_s, len(recording), INTERVAL_S)
    return np.concatenate([recording.read(index, index + 1) for index in times])


def _noise_free(recording: Simulation, wave: Wave, lead_s: int) -> np.ndarray:
    alone = _again(recording, Noise.none(), [wave])
    background = alone.background()
    times = range(lead_s, len(recording), INTERVAL_S)
    return np.array([background * (1 + alone.signal(float(time))) for time in times])


def _wave(kinds: tuple[str, ...], lead_s: int, random: np.random.Generator) -> Wave:
    shape = kinds[0]
    field_mm = SHAPE[0] * PIXEL_SIZE_MM
    leaves = "leaves" in kinds
    speed = random.uniform(5, 8) if leaves else math.exp(random.uniform(math.log(1.5), math.log(8)))
    width_mm = random.uniform(15, 50) * PIXEL_SIZE_MM
    band_s = float(np.clip(3 * width_mm / (speed / 60), 15, 90))
    angle = random.uniform(0, 2 * math.pi)
    out_mm = field_mm / 2 * (1.0 if shape == "plane" else random.uniform(0, 1.05))
    middle = field_mm / 2
    origin = middle - out_mm * math.cos(angle), middle - out_mm * math.sin(angle)
    start_s = lead_s + random.uniform(5, 30)
    if "late" in kinds:
        start_s = lead_s + random.uniform(40, 75)
    elif random.random() < 0.4 or leaves:
        start_s = random.uniform(0, lead_s + 10)
    return Wave(
        shape=shape,  # type: ignore[arg-type]
        origin_mm=origin,
        direction_deg=math.degrees(angle) + random.uniform(-30, 30),
        opening_deg=random.uniform(50, 240),
        speed_mm_min=speed,
        amplitude_percent=math.exp(random.uniform(math.log(0.3), math.log(4)))
        * float(random.choice([-1, 1])),
        start_s=start_s,
        duration_s=random.uniform(30, 80) if "ends" in kinds else None,
        band_s=band_s,
    )
