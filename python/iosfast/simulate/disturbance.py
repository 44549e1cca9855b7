"""The course of all noise but the camera's, as random as its seed: one value or picture a frame."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .cortex import Scene, cloud
from .noise import SPELLS, Noise

_Image = NDArray[np.float32]
_Doubles = NDArray[np.float64]

#: Seconds that one movement of the animal takes, there and back.
JITTER_SECONDS = 0.5
#: Clouds of vasomotion, and their sizes as parts of the longer side of the field.
CLOUD_SIZES = (0.012, 0.02, 0.03, 0.05, 0.08, 0.14)


class Streams(NamedTuple):
    """Random streams, one for each purpose: no setting changes what another one draws."""

    pulse: int
    drift: int
    jitter: int
    vasomotion: int
    spells: int
    spell_frame: int


class Spell(NamedTuple):
    """A time in which pictures are spoiled: `kind` is a name in `SPELLS`."""

    begin_s: float
    end_s: float
    kind: str
    size: float
    angle: float


class Disturbances:
    """Light, pulse, movement, vasomotion and spells of a recording's frames."""

    def __init__(
        self,
        noise: Noise,
        times_s: _Doubles,
        shape: tuple[int, int],
        random: Callable[..., np.random.Generator],
        streams: Streams,
    ) -> None:
        self._noise, self._times_s, self._shape = noise, times_s, shape
        self._random, self._streams = random, streams

    @cached_property
    def light(self) -> _Doubles:
        """Illumination of every frame; 1 without drift."""
        phase = self._random(self._streams.drift).uniform(0, 2 * np.pi)
        drift = np.sin(2 * np.pi / self._noise.drift_period_s * self._times_s + phase)
        light: _Doubles = 1 + self._noise.drift_percent / 100 * drift
        return light

    @cached_property
    def pulse(self) -> _Doubles:
        """Heartbeat and breathing of every frame, as a fraction of the background."""
        noise, turns = self._noise, 2 * np.pi * self._times_s
        phases = self._random(self._streams.pulse).uniform(0, 2 * np.pi, 2)
        heart = noise.heartbeat_percent * np.sin(noise.heartbeat_hz * turns + phases[0])
        breath = noise.breathing_percent * np.sin(noise.breathing_hz * turns + phases[1])
        pulse: _Doubles = (heart + breath) / 100
        return pulse

    @cached_property
    def _jitter_px(self) -> _Doubles:
        """Shift (dy, dx) of every frame, shape (T, 2)."""
        noise, times_s = self._noise, self._times_s
        shift = np.zeros((len(times_s), 2))
        random, last_s = self._random(self._streams.jitter), times_s[-1]
        count = random.poisson(noise.jitter_per_min * (last_s + JITTER_SECONDS) / 60)
        for _ in range(count if noise.jitter_px else 0):
            begin, angle = random.uniform(-JITTER_SECONDS, last_s), random.uniform(0, 2 * np.pi)
            size = noise.jitter_px * random.uniform(0.3, 1)
            span = slice(*np.searchsorted(times_s, (begin, begin + JITTER_SECONDS)))
            course = np.sin(np.pi * (times_s[span] - begin) / JITTER_SECONDS) ** 2
            shift[span] += size * course[:, None] * (math.sin(angle), math.cos(angle))
        # Movements that coincide must not leave the range where first order in the shift holds.
        length = np.maximum(np.hypot(shift[:, :1], shift[:, 1:]), 1e-12)
        return shift * np.minimum(1, noise.jitter_px / length)

    @cached_property
    def spells(self) -> tuple[Spell, ...]:
        """Times in which pictures are spoiled, by their begin."""
        noise = self._noise
        sizes = {kind: getattr(noise, kind) for kind in SPELLS if getattr(noise, kind)}
        if not sizes or not noise.spell_per_min:
            return ()
        random, last_s = self._random(self._streams.spells), float(self._times_s[-1])
        spells = []
        for _ in range(random.poisson(noise.spell_per_min * (last_s + noise.spell_s) / 60)):
            begin_s = random.uniform(-noise.spell_s, last_s)
            kind = tuple(sizes)[int(random.integers(len(sizes)))]
            length_s = noise.spell_s * random.uniform(0.4, 1.6)
            size = sizes[kind] * random.uniform(0.4, 1)
            angle = random.uniform(0, 2 * np.pi)
            spells.append(Spell(begin_s, begin_s + length_s, kind, size, angle))
        return tuple(sorted(spells))

    def shift_px(self, index: int) -> tuple[float, float]:
        """Return the shift (dy, dx) of a frame."""
        dy, dx = self._jitter_px[index].tolist()
        for spell in self._spells_at(index):
            if spell.kind == "spell_shift_px":
                dy += spell.size * math.sin(spell.angle)
                dx += spell.size * math.cos(spell.angle)
        return dy, dx

    def _spells_at(self, index: int) -> list[Spell]:
        time = float(self._times_s[index])
        return [spell for spell in self.spells if spell.begin_s <= time < spell.end_s]

    @cached_property
    def _clouds(self) -> _Image:
        random = self._random(self._streams.vasomotion)
        sizes = [cloud(random.standard_normal(self._shape), size) for size in CLOUD_SIZES]
        return np.array(sizes, np.float32)

    @cached_property
    def _cloud_courses(self) -> _Doubles:
        """Brightness of each cloud in every frame, shape (T, clouds); mean square 1 in all."""
        random = self._random(self._streams.vasomotion, 1)
        courses = np.empty((len(self._times_s), len(CLOUD_SIZES)))
        for course in courses.T:
            hz = np.exp(random.normal(0, 0.3)) / self._noise.vasomotion_period_s
            course[:] = np.sin(2 * np.pi * hz * self._times_s + random.uniform(0, 2 * np.pi))
        return courses * math.sqrt(2 / len(CLOUD_SIZES))

    def change(self, index: int, number: int) -> _Image | None:
        """Fractional change of a frame by vasomotion and spells; `number` is its random stream."""
        total = None
        if self._noise.vasomotion_percent:
            course = self._cloud_courses[index] * (self._noise.vasomotion_percent / 100)
            total = np.tensordot(course.astype(np.float32), self._clouds, 1)
        for which, spell in enumerate(self._spells_at(index)):
            random = self._random(self._streams.spell_frame, number, which)
            picture = self._picture(spell, random)
            if picture is not None:
                total = picture if total is None else total + picture
        return total

    def _picture(self, spell: Spell, random: np.random.Generator) -> _Image | None:
        if spell.kind == "spell_shift_px":
            return None
        rows, columns = self._shape
        if spell.kind == "spell_clouds_percent":
            part = cloud(random.standard_normal(self._shape), random.uniform(0.01, 0.05))
        else:
            y, x = (np.arange(rows) + 0.5)[:, None] / rows, (np.arange(columns) + 0.5) / columns
            if spell.kind == "spell_flicker_percent":
                ahead = (x - 0.5) * math.cos(spell.angle) + (y - 0.5) * math.sin(spell.angle)
                part = (0.5 + ahead) * (1 if spell.angle % 1 < 0.5 else -1)
            else:
                along = y + 0 * x if spell.angle < math.pi else x + 0 * y
                turns = random.uniform(4, 16) * along + random.uniform(0, 1)
                part = np.sin(2 * np.pi * turns)
        return (part * (spell.size / 100)).astype(np.float32)


def shifted(frame: _Image, scene: Scene, dy: float, dx: float) -> _Image:
    """Move the scene of a frame, to first order, in place."""
    if dy or dx:
        frame -= np.float32(dy) * scene.gradient_y
        frame -= np.float32(dx) * scene.gradient_x
    return frame
