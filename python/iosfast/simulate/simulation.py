"""Recordings with a known truth: cortex, vessels, spreading waves and noise, made frame by frame.

A frame is a function of the settings, the seed and its own number alone: a recording of any length
takes no memory, and reads the same in whatever order or chunks.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .. import arguments
from ..errors import WriteError
from ..readers.recording import Recording
from ..tiff_stack import make_stack
from .cortex import Scene, cortex_window, draw_scene
from .disturbance import Disturbances, Streams, shifted
from .noise import Noise
from .wave import Wave

_Image = NDArray[np.float32]
_Doubles = NDArray[np.float64]

#: Instants per bin of which `Simulation.active_masks` takes the mean.
BIN_SAMPLES = 4
#: Maps that reach less than this part of a wave's amplitude have an empty mask.
EMPTY_BELOW = 0.02
# A random stream of its own for each purpose: no setting changes what another one draws.
_TEXTURE, _VESSELS, _DROPPED, _FRAME = 0, 1, 5, 6
DISTURBANCE_STREAMS = Streams(pulse=2, drift=3, jitter=4, vasomotion=7, spells=8, spell_frame=9)


class _Arrival(NamedTuple):
    """When a wave arrives, in seconds from its start; infinite where it never does."""

    delay_s: _Image
    first_s: float
    over_s: float


class Simulation(Recording):
    """A recording of cortex, vessels and waves of which the truth is known.

    Parameters
    ----------
    shape : pair of int
        (Y, X) of a frame.
    duration_s, frame_rate_hz : float
        The camera exposes round(duration_s * frame_rate_hz) frames; some may be dropped.
    pixel_size_mm : float
        Edge of a pixel; pixel [y, x] has its centre at ((x + 0.5), (y + 0.5)) * pixel_size_mm.
    waves : sequence of Wave
        May be empty.
    noise : Noise
        ``Noise.none()`` for none.
    baseline_counts : float
        Mean background within the cortex, counts.
    dtype : {uint16, uint8}
        Counts are rounded and clipped to it.
    seed : int
        Not negative; fixes vessels, noise and dropped frames.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong type or out of its range.

    Notes
    -----
    The vessel tree scales with the field. Frames repeat to the bit with one version of NumPy; its
    random streams may change between versions.
    """

    def __init__(
        self,
        *,
        shape: tuple[int, int] = (512, 512),
        duration_s: float = 120.0,
        frame_rate_hz: float = 60.0,
        pixel_size_mm: float = 10 / 512,
        waves: Sequence[Wave] = (Wave(),),
        noise: Noise = Noise(),  # noqa: B008 (frozen)
        baseline_counts: float = 20000,
        dtype: DTypeLike = np.uint16,
        seed: int = 0,
    ) -> None:
        rows, columns = arguments.image_shape("shape", shape)
        duration_s = arguments.number("duration_s", duration_s, 0, above=True)
        frame_rate_hz = arguments.number("frame_rate_hz", frame_rate_hz, 0, above=True)
        self._pixel_mm = arguments.number("pixel_size_mm", pixel_size_mm, 0, above=True)
        if not isinstance(waves, Sequence) or not all(isinstance(w, Wave) for w in waves):
            raise TypeError(f"waves must be a sequence of Wave, not {waves!r}")
        if not isinstance(noise, Noise):
            raise TypeError(f"noise must be a Noise, not {noise!r}")
        try:
            stored = np.dtype(dtype)
        except TypeError:
            raise TypeError(f"dtype must be uint8 or uint16, not {dtype!r}") from None
        if stored not in (np.dtype(np.uint8), np.dtype(np.uint16)):
            raise TypeError(f"dtype must be uint8 or uint16, not {stored}")
        self._full_scale = int(np.iinfo(stored).max)
        self._baseline = arguments.number(
            "baseline_counts", baseline_counts, 0, self._full_scale, above=True
        )
        self._seed = arguments.integer("seed", seed, 0)
        self._step_s = 1 / frame_rate_hz
        exposed = round(duration_s * frame_rate_hz)
        if exposed < 1:
            raise ValueError(f"duration_s must hold a frame, {duration_s} at {frame_rate_hz} Hz")
        self.waves, self.noise = tuple(waves), noise
        kept = np.ones(exposed, bool)
        dropped = min(round(noise.dropped_fraction * exposed), exposed - 1)
        kept[1 + self._random(_DROPPED).permutation(exposed - 1)[:dropped]] = False
        self._numbers = np.flatnonzero(kept)
        self._frame_times_s: _Doubles = self._numbers / frame_rate_hz
        self._frame_times_s.flags.writeable = False
        note = f"{dropped} of {exposed} frames were dropped; times_s has the time of each frame"
        super().__init__(
            source=f"simulation (seed {self._seed})",
            shape=(exposed - dropped, rows, columns),
            dtype=stored,
            frame_rate_hz=frame_rate_hz,
            pixel_size_mm=self._pixel_mm,
            metadata={
                "waves": [asdict(wave) for wave in self.waves],
                "noise": asdict(noise),
                "baseline_counts": self._baseline,
                "seed": self._seed,
            },
            notes=(note,) if dropped else (),
        )

    @property
    def times_s(self) -> _Doubles:
        """Seconds since the first frame, float64 (T,), read-only; gaps where frames dropped."""
        return self._frame_times_s

    def _random(self, *stream: int) -> np.random.Generator:
        sequence = np.random.SeedSequence(self._seed, spawn_key=stream)
        return np.random.Generator(np.random.SFC64(sequence))

    @cached_property
    def _scene(self) -> Scene:
        return draw_scene(
            self.shape[1:],
            self._baseline,
            self.noise.vessel_factor,
            self._random(_VESSELS),
            self._random(_TEXTURE),
        )

    def _delay_s(self, wave: Wave) -> _Doubles:
        _, rows, columns = self.shape
        y, x = (np.indices((rows, columns)) + 0.5) * self._pixel_mm
        centre = columns / 2 * self._pixel_mm, rows / 2 * self._pixel_mm
        x0, y0 = centre if wave.origin_mm is None else wave.origin_mm
        return np.where(self.cortex_mask(), wave.delay_s(x - x0, y - y0), np.inf)

    @cached_property
    def _arrivals(self) -> tuple[_Arrival, ...]:
        arrivals = []
        for wave in self.waves:
            delay = self._delay_s(wave)
            last = float(delay.max(initial=-math.inf, where=np.isfinite(delay)))
            arrivals.append(
                _Arrival(delay.astype(np.float32), float(delay.min()), last + wave.band_s)
            )
        return tuple(arrivals)

    def _wave_change(self, number: int, time_s: float) -> _Image | None:
        """Fractional change by one wave, or None while it is nothing anywhere."""
        wave, arrival = self.waves[number], self._arrivals[number]
        # A difference of float64, rounded once: float32 seconds would be too coarse after hours.
        since_start_s = time_s - wave.start_s
        if not arrival.first_s < since_start_s < arrival.over_s:
            return None
        return wave.change(arrival.delay_s, since_start_s)

    def _change(self, time_s: float) -> _Image | None:
        total = None
        for number in range(len(self.waves)):
            change = self._wave_change(number, time_s)
            if change is not None:
                total = change if total is None else np.add(total, change, out=total)
        return total

    @cached_property
    def _disturbances(self) -> Disturbances:
        return Disturbances(
            self.noise, self.times_s, self.shape[1:], self._random, DISTURBANCE_STREAMS
        )

    def _expected(self, index: int) -> _Image:
        """Make the counts of one frame before the camera's noise."""
        scene, disturbances = self._scene, self._disturbances
        light = np.float32(disturbances.light[index])
        frame = self._change(self.times_s[index])
        if frame is None:
            frame = scene.background * light
        else:
            frame += np.float32(1)
            frame *= light
            frame *= scene.background
        disturbed = disturbances.change(index, int(self._numbers[index]))
        if disturbed is not None:
            disturbed += np.float32(1)
            frame *= disturbed
        if disturbances.pulse[index]:
            frame += np.float32(disturbances.pulse[index]) * scene.pulsatile
        return shifted(frame, scene, *disturbances.shift_px(index))

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        gain, read_noise = self.noise.electrons_per_count, self.noise.read_noise_counts
        frames = np.empty((stop - start, *self.shape[1:]), self.dtype)
        camera = np.empty(self.shape[1:], np.float32)
        for index in range(start, stop):
            frame = self._expected(index)
            if gain is not None or read_noise:
                random = self._random(_FRAME, int(self._numbers[index]))
                random.standard_normal(out=camera, dtype=np.float32)
                variance = np.maximum(frame, np.float32(0))
                variance *= np.float32(0 if gain is None else 1 / gain)
                variance += np.float32(read_noise**2)
                camera *= np.sqrt(variance, out=variance)
                frame += camera
            np.rint(frame, out=frame)
            frames[index - start] = np.clip(frame, 0, self._full_scale, out=frame)
        return frames

    def background(self) -> _Image:
        """Return the counts without waves and noise.

        Returns
        -------
        ndarray of float32, shape (Y, X)
        """
        return self._scene.background.copy()

    def cortex_mask(self) -> NDArray[np.bool_]:
        """Where the cortex is, a rounded window; there is no signal outside it.

        Returns
        -------
        ndarray of bool, shape (Y, X)
        """
        return cortex_window(self.shape[1:]) <= 1

    def activation_time_s(self, wave: int = 0) -> _Doubles:
        """When the front of a wave arrives, that is when the signal begins to rise.

        Parameters
        ----------
        wave : int
            Number of the wave, from 0.

        Returns
        -------
        ndarray of float64, shape (Y, X)
            start_s + distance / speed, in seconds since the first frame. NaN where the wave never
            comes: behind a plane, beside a sector, after its duration, outside the cortex.

        Raises
        ------
        IndexError
            If there is no such wave.
        """
        chosen = self.waves[self._checked(wave)]
        delay = self._delay_s(chosen)
        return np.where(np.isfinite(delay), delay + chosen.start_s, np.nan)

    def _checked(self, wave: int) -> int:
        if arguments.integer("wave", wave, 0) >= len(self.waves):
            raise IndexError(f"wave must be below the number of waves {len(self.waves)}: {wave}")
        return wave

    def signal(self, time_s: float) -> _Image:
        """Noise-free fractional change (F - F0) / F0 at one time, all waves together.

        Parameters
        ----------
        time_s : float
            Seconds since the first frame; need not be the time of a frame.

        Returns
        -------
        ndarray of float32, shape (Y, X)
        """
        change = self._change(arguments.number("time_s", time_s))
        return np.zeros(self.shape[1:], np.float32) if change is None else change

    def active_masks(
        self,
        times_s: ArrayLike,
        interval_s: float,
        bin_seconds: float = 1.0,
        *,
        wave: int | None = None,
    ) -> NDArray[np.bool_]:
        """Where the waves are active in interval change maps, without noise.

        A map is (later - earlier) / earlier of two bin means of 1 + signal. A wave is active
        where its own map passes half of its extreme in the direction of its amplitude; its mask
        is empty in maps that stay below 2 % of its amplitude. A bin mean is that of 4 instants,
        the midpoints of the quarters of the bin.

        Parameters
        ----------
        times_s : array_like of float, shape (M,)
            Where the later bin of each map begins, in seconds since the first frame.
        interval_s : float
            The earlier bin begins so many seconds before the later one.
        bin_seconds : float
            Length of a bin, s.
        wave : int, optional
            The one wave of interest, from 0. None: the union of all.

        Returns
        -------
        ndarray of bool, shape (M, Y, X)
        """
        try:
            times = np.asarray(times_s, np.float64)
        except (TypeError, ValueError):
            raise TypeError(f"times_s must be numbers, not {times_s!r}") from None
        if times.ndim != 1 or not np.isfinite(times).all():
            raise ValueError(f"times_s must be finite and one-dimensional, not {times_s!r}")
        interval_s = arguments.number("interval_s", interval_s, 0, above=True)
        bin_seconds = arguments.number("bin_seconds", bin_seconds, 0, above=True)
        numbers = range(len(self.waves)) if wave is None else [self._checked(wave)]
        masks = np.zeros((len(times), *self.shape[1:]), bool)
        for mask, time in zip(masks, times.tolist(), strict=True):
            for number in numbers:
                amplitude = self.waves[number].amplitude_percent / 100
                later = self._bin_mean(number, time, bin_seconds)
                earlier = self._bin_mean(number, time - interval_s, bin_seconds)
                change = (later - earlier) / (1 + earlier) / amplitude
                if change.max() > EMPTY_BELOW:
                    mask |= change > change.max() / 2
        return masks

    def _bin_mean(self, number: int, begin_s: float, bin_seconds: float) -> _Doubles:
        total = np.zeros(self.shape[1:])
        for sample in range(BIN_SAMPLES):
            instant_s = begin_s + (sample + 0.5) / BIN_SAMPLES * bin_seconds
            change = self._wave_change(number, instant_s)
            total += 0 if change is None else change
        return total / BIN_SAMPLES

    def write(
        self,
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> Path:
        """Write all frames to one TIFF, BigTIFF from 4 GB on, without holding them in memory.

        Parameters
        ----------
        path : str or path-like
            The file; it appears only when it is complete.
        overwrite : bool
            Replace a file that is already there.
        progress : callable, optional
            Called with the number of frames written.

        Returns
        -------
        pathlib.Path

        Raises
        ------
        WriteError
            If there is such a file already, or it cannot be written.
        """
        path = Path(path)
        if path.exists() and not overwrite:
            raise WriteError(f"{path} is already there; pass overwrite=True to replace it")
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            offset = make_stack(
                partial,
                self.shape,
                self.dtype,
                step_s=self._step_s,
                pixel_size_mm=self._pixel_mm,
            )
            with partial.open("r+b") as file:
                file.seek(offset)
                written = 0
                for block in self.blocks():
                    file.write(block.data)
                    written += len(block)
                    if progress is not None:
                        progress(written)
            partial.replace(path)
        except OSError as error:
            raise WriteError(f"{path} could not be written: {error}") from error
        finally:
            partial.unlink(missing_ok=True)
        return path
