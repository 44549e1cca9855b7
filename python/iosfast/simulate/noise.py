"""What stands between the waves and the camera's counts."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace

from .. import arguments

#: Kinds of spells that spoil pictures, by the parameter of `Noise` that gives their size.
SPELLS = ("spell_shift_px", "spell_flicker_percent", "spell_clouds_percent", "spell_bands_percent")
#: Parameters that have to be above 0.
_ABOVE = (
    "electrons_per_count",
    "heartbeat_hz",
    "breathing_hz",
    "drift_period_s",
    "vasomotion_period_s",
    "spell_s",
)
#: Of each level: size of all noise, spells per minute, their length (s), and their size.
_LEVELS = {1: (0.42, 0.0, 3.0, 0.0), 2: (0.72, 2.5, 3.0, 1.1), 3: (1.24, 5.0, 3.5, 1.3)}
#: Parameters that are at most 1.
_AT_MOST_ONE = ("jitter_px", "dropped_fraction", "spell_shift_px")


@dataclass(frozen=True)
class Noise:
    """What stands between the signal and the camera's counts.

    Parameters
    ----------
    electrons_per_count : float, optional
        Shot noise has the variance counts / electrons_per_count. None: no shot noise.
    read_noise_counts : float
        Standard deviation of the camera's read noise, counts.
    heartbeat_percent, breathing_percent : float
        Amplitude of the sinusoidal modulation of tissue, in percent of the background.
    heartbeat_hz, breathing_hz : float
        Their frequencies; above half the frame rate they alias, as with a camera.
    vessel_factor : float
        The modulation in a vessel is up to (1 + vessel_factor) times that of tissue.
    drift_percent, drift_period_s : float
        Amplitude (percent) and period (s) of the sinusoidal drift of the illumination.
    jitter_px : float
        Greatest shift by a movement of the animal, 0 to 1 pixel; first order in the shift.
    jitter_per_min : float
        Mean number of movements per minute, each half a second long.
    dropped_fraction : float
        Part of the frames that is missing, 0 to below 1. The first frame is always there.
    vasomotion_percent, vasomotion_period_s : float
        Standard deviation (percent of the background, over space and time) of clouds of many
        sizes that brighten and darken slowly, and their mean period (s).
    spell_per_min, spell_s : float
        Mean number per minute, and mean length (s), of spells that spoil the picture. Each is of
        one of the kinds below that are not 0, and has 0.4 to 1 times the size given.
    spell_shift_px : float
        Shift by a lasting movement, 0 to 1 pixel; first order in the shift.
    spell_flicker_percent : float
        Change of the light in percent, one-sided: nothing at one edge of the field, all at the
        other.
    spell_clouds_percent : float
        Standard deviation, in percent, of clouds that are new in each frame.
    spell_bands_percent : float
        Amplitude, in percent, of stripes along a row or a column, other ones in each frame.

    Raises
    ------
    TypeError, ValueError
        If a parameter is of the wrong type or out of its range.

    Notes
    -----
    A value of 0 switches its kind of noise off.
    """

    electrons_per_count: float | None = 3.0
    read_noise_counts: float = 5.0
    heartbeat_percent: float = 0.05
    heartbeat_hz: float = 8.3
    breathing_percent: float = 0.1
    breathing_hz: float = 2.1
    vessel_factor: float = 2.0
    drift_percent: float = 0.5
    drift_period_s: float = 300.0
    jitter_px: float = 0.2
    jitter_per_min: float = 4.0
    dropped_fraction: float = 0.0005
    vasomotion_percent: float = 0.0
    vasomotion_period_s: float = 12.0
    spell_per_min: float = 0.0
    spell_s: float = 3.0
    spell_shift_px: float = 0.0
    spell_flicker_percent: float = 0.0
    spell_clouds_percent: float = 0.0
    spell_bands_percent: float = 0.0

    def __post_init__(self) -> None:
        """Check every parameter."""
        for name, value in asdict(self).items():
            if value is not None or name != "electrons_per_count":
                high = 100 if name.endswith("_percent") else math.inf
                high = 1 if name in _AT_MOST_ONE else high
                checked = arguments.number(name, value, 0, high, above=name in _ABOVE)
                object.__setattr__(self, name, checked)
        if self.dropped_fraction == 1:
            raise ValueError("dropped_fraction must be below 1, not 1")

    @classmethod
    def none(cls) -> Noise:
        """No noise of any kind, no frame dropped: only rounding to counts remains."""
        percent = ("heartbeat_percent", "breathing_percent", "drift_percent")
        off = ("read_noise_counts", *percent, "jitter_px", "dropped_fraction")
        return cls(electrons_per_count=None, **dict.fromkeys(off, 0.0))

    @classmethod
    def level(cls, level: int, amplitude_percent: float = 2.0) -> Noise:
        """Noise of one of three levels for waves of a given amplitude, filmed at 60 Hz.

        The levels are told by the signal-to-noise ratio in maps of the default recipe (change in
        5 s of means of 1 s, 21 px box). Signal: extreme of the noise-free map, median over the
        maps with a wave. Noise: robust standard deviation (1.4826 times the median absolute
        deviation, within the cortex), median over the maps of the recording without waves.

        - Level 1, clear: ratio from 16 to 30.
        - Level 2: 9 to 16, and spells of 3 s spoil the picture two and a half times a minute.
        - Level 3, severe: 4.5 to 8.5, and longer and worse spells five times a minute.

        The noise returned gives a ratio near the middle of its range (22, 12, 6) for a `Wave` of
        default band at 3.5 mm/min; recordings differ by a fifth.

        Parameters
        ----------
        level : {1, 2, 3}
        amplitude_percent : float
            Amplitude of the waves; all noise is in proportion to it.

        Returns
        -------
        Noise
            See `of_means` for recordings at 1 frame per second.
        """
        level = arguments.integer("level", level, 1, 3)
        amplitude = arguments.number("amplitude_percent", amplitude_percent, -100, 100)
        if amplitude == 0:
            raise ValueError("amplitude_percent must not be 0")
        calm = cls(
            electrons_per_count=0.006,
            read_noise_counts=20.0,
            heartbeat_percent=0.4,
            breathing_percent=0.4,
            drift_percent=0.5,
            dropped_fraction=0,
            vasomotion_percent=0.05,
        )
        factor, per_min, length_s, size = _LEVELS[level]
        spoiled = replace(
            calm,
            spell_per_min=per_min,
            spell_s=length_s,
            spell_shift_px=0.35 * size,
            spell_flicker_percent=0.7 * size,
            spell_clouds_percent=0.5 * size,
            spell_bands_percent=0.4 * size,
        )
        return spoiled.scaled(factor * abs(amplitude) / 2)

    def scaled(self, factor: float) -> Noise:
        """All noise times a factor; shifts stay at most one pixel, frames drop as before.

        Parameters
        ----------
        factor : float
            Above 0.

        Returns
        -------
        Noise
        """
        factor = arguments.number("factor", factor, 0, above=True)
        changed = {
            name: min(value * factor, 1.0 if name.endswith("_px") else 100.0)
            for name, value in asdict(self).items()
            if name.endswith(("_percent", "_px"))
        }
        changed["read_noise_counts"] = self.read_noise_counts * factor
        if self.electrons_per_count is not None:
            changed["electrons_per_count"] = self.electrons_per_count / factor**2
        return replace(self, **changed)

    def of_means(self, frames: int, frame_rate_hz: float) -> Noise:
        """Noise of means of successive frames, for a recording that stands for such means.

        Shot noise and read noise average out, and so does most of a pulse that is faster than
        the mean; what is slower, and movements, stay.

        Parameters
        ----------
        frames : int
            Frames in a mean.
        frame_rate_hz : float
            Of the frames.

        Returns
        -------
        Noise
        """
        frames = arguments.integer("frames", frames, 1)
        rate = arguments.number("frame_rate_hz", frame_rate_hz, 0, above=True)

        def residue(hz: float) -> float:
            turn = math.pi * hz / rate
            return (
                1.0
                if abs(math.sin(turn)) < 1e-9
                else abs(math.sin(frames * turn) / (frames * math.sin(turn)))
            )

        gain = self.electrons_per_count
        return replace(
            self,
            electrons_per_count=None if gain is None else gain * frames,
            read_noise_counts=self.read_noise_counts / math.sqrt(frames),
            heartbeat_percent=self.heartbeat_percent * residue(self.heartbeat_hz),
            breathing_percent=self.breathing_percent * residue(self.breathing_hz),
        )
