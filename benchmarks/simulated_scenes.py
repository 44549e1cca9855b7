"""Scenes of `iosfast.simulate` for clips of maps: waves of many kinds, vessels, drift, movement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from iosfast.simulate import Noise, Simulation, Wave

SHAPE = (512, 512)
PIXEL_SIZE_MM = 10 / 512
IMAGES = 31
INTERVAL_S = 5

#: What the scenes are of, in turn.
KINDS = (
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


class SimulatedScene:
    """A scene of random settings; images are every fifth one of a recording at 1 Hz."""

    generator = "simulate"

    def __init__(self, level: int, number: int, random: np.random.Generator) -> None:
        self.kinds = KINDS[number % len(KINDS)]
        self._lead_s = int(random.integers(0, 12)) * INTERVAL_S
        self._waves = [_wave(self.kinds, self._lead_s, random)]
        if "two" in self.kinds:
            shape = str(random.choice(["plane", "ring", "sector"]))
            amplitude = self._waves[0].amplitude_percent * random.uniform(1, 1.5)
            other = _wave((shape,), self._lead_s, random)
            amplitude *= float(random.choice([-1, 1]))
            self._waves.append(replace(other, amplitude_percent=amplitude))
        noise = Noise.level(level)
        self._noise = replace(
            noise,
            vessel_factor=random.uniform(0.5, 4),
            drift_percent=noise.drift_percent * random.uniform(0, 3),
            drift_period_s=random.uniform(60, 600),
            jitter_per_min=random.uniform(0, 12),
            vasomotion_period_s=random.uniform(8, 25),
        ).of_means(60, 60.0)
        self._seed = int(random.integers(1 << 31))
        self.signs = [math.copysign(1.0, wave.amplitude_percent) for wave in self._waves]
        still = self._recording(Noise.none(), self._waves)
        background, self.cortex = still.background(), still.cortex_mask()
        self.alone = []
        for wave in self._waves:
            lone = self._recording(Noise.none(), [wave])
            signals = [lone.signal(float(time)) for time in self._times_s]
            self.alone.append(np.array([background * (1 + signal) for signal in signals]))

    @property
    def _times_s(self) -> range:
        return range(self._lead_s, self._lead_s + IMAGES * INTERVAL_S, INTERVAL_S)

    def _recording(self, noise: Noise, waves: Sequence[Wave]) -> Simulation:
        return Simulation(
            shape=SHAPE,
            duration_s=self._times_s[-1] + 1,
            frame_rate_hz=1,
            pixel_size_mm=PIXEL_SIZE_MM,
            waves=waves,
            noise=noise,
            seed=self._seed,
        )

    def images(self, factor: float, *, waves: bool) -> np.ndarray:
        """Images (T + 1, Y, X) with the scene's noise times a factor."""
        recording = self._recording(self._noise.scaled(factor), self._waves if waves else ())
        return np.concatenate([recording.read(time, time + 1) for time in self._times_s])


def _wave(kinds: tuple[str, ...], lead_s: int, random: np.random.Generator) -> Wave:
    shape, leaves = kinds[0], "leaves" in kinds
    middle = SHAPE[0] * PIXEL_SIZE_MM / 2
    speed = random.uniform(5, 8) if leaves else math.exp(random.uniform(*np.log((1.5, 8))))
    rise_mm = random.uniform(15, 50) * PIXEL_SIZE_MM
    angle = random.uniform(0, 2 * math.pi)
    out_mm = middle * (1 if shape == "plane" else random.uniform(0, 1.05))
    start_s = lead_s + random.uniform(5, 30)
    if "late" in kinds:
        start_s = lead_s + random.uniform(40, 75)
    elif leaves or random.random() < 0.4:
        start_s = random.uniform(0, lead_s + 10)
    size = math.exp(random.uniform(*np.log((0.3, 4))))
    return Wave(
        shape=shape,  # type: ignore[arg-type]
        origin_mm=(middle - out_mm * math.cos(angle), middle - out_mm * math.sin(angle)),
        direction_deg=math.degrees(angle) + random.uniform(-30, 30),
        opening_deg=random.uniform(50, 240),
        speed_mm_min=speed,
        amplitude_percent=size * float(random.choice([-1, 1])),
        start_s=start_s,
        duration_s=random.uniform(30, 80) if "ends" in kinds else None,
        band_s=float(np.clip(3 * rise_mm / (speed / 60), 15, 90)),
    )
