"""Which frames make which bin, and all that is known before the first frame is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self, cast, get_args

import numpy as np
from numpy.typing import NDArray

from . import _core, arguments
from .binning import FrameClock, checked_times, edges_of, too_many_frames
from .change import map_bins
from .errors import ReadError, warn
from .live import partial_note, unrounded_note
from .maps import Info
from .readers import Recording
from .readers.channels import split_channels
from .readers.clocks import clock_seconds
from .readers.frame_times import FrameTimes
from .readers.recording import ClockName
from .recipe import Recipe
from .storage import Layout

#: Frame rate taken for recordings that tell none, with a warning: that of the published method.
ASSUMED_FRAME_RATE_HZ = 60.0

#: Frame rates that differ more than this from that of the time stamps are warned of.
RATE_TOLERANCE = 0.05

_NOT_IN_NAMES = set('/\\:*?"<>|')

_OWN, _GIVEN = "time stamps", "given times"


@dataclass(frozen=True)
class Plan:
    """Which frames make which bin, and all that is known before the first is read."""

    recording: Recording
    edges: NDArray[np.int64]
    info: Info

    @property
    def frames(self) -> int:
        """Number of frames from the first on that are needed."""
        return int(self.edges[-1])


def stands_still(times_s: NDArray[np.float64]) -> bool:
    """Tell whether time stamps do not increase from the first frame to the last."""
    return bool(times_s.size > 1 and times_s[-1] <= times_s[0])


@dataclass(frozen=True)
class Timed:
    """A recording and how its frames are timed.

    Attributes
    ----------
    recording : Recording
    times_s : ndarray of float64, shape (T,), or None
        If bins go by the clock.
    timed_by : str
        Name of the clock.
    frame_times : FrameTimes or None
        Which frames are missing, if time stamps tell.
    notes : tuple of str
        What time stamps tell.
    """

    recording: Recording
    times_s: NDArray[np.float64] | None
    timed_by: str
    frame_times: FrameTimes | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, recording: Recording, job: Job) -> Self:
        """Find the times of frames, and examine them."""
        recording, times_s, timed_by = _times_of(recording, job.times)
        if times_s is None or timed_by not in (_OWN, _GIVEN):
            return cls(recording, times_s, timed_by)
        stamps = timed_by
        if timed_by == _OWN:
            if stands_still(times_s):
                note = "its time stamps do not increase and are left out; frames are counted"
                warn(note)
                return cls(recording, None, "frames", None, (note,))
            times_s = times_s - times_s[0]  # bins begin with the first frame
        rate = job.frame_rate_hz if job.frame_rate_hz is not None else recording.frame_rate_hz
        found = FrameTimes.of(times_s, rate)
        if job.counts_frames:
            times_s, timed_by = None, "frames"
        if found is None:
            note = f"their {stamps} are too few, coarse or irregular to tell of missing frames"
            return cls(recording, times_s, timed_by, None, (note,))
        notes = []
        if report := found.report():
            notes.append(f"by their {stamps}, {report}")
        if rate is not None and abs(rate * found.interval_s - 1) > RATE_TOLERANCE:
            notes.append(
                f"frames are {found.interval_s:g} s apart by their {stamps}, which is "
                f"{1 / found.interval_s:.4g} Hz, not the {rate:.4g} Hz of the frame rate"
            )
        for note in notes:
            warn(note)
        return cls(recording, times_s, timed_by, found, tuple(notes))

    @property
    def interval_s(self) -> float:
        """From frame to frame, if time stamps tell."""
        assert self.frame_times is not None
        return self.frame_times.interval_s

    @property
    def counts_turns(self) -> bool:
        """Whether channels are told by counting frames.

        They are if the file itself tells its channels, and if no frame is known to be missing.
        """
        found = self.frame_times
        return bool(self.recording.channels or found is None or (np.diff(found.slots) == 1).all())

    def channels(self, names: tuple[str, ...]) -> dict[str, Timed]:
        """Split it into channels, whose frames follow each other in turn."""
        count = len(names)
        if len(self.recording) < count:
            raise ValueError(
                f"{self.recording.source}: {len(self.recording)} frames are too few for "
                f"{count} channels"
            )
        slots, notes = None, self.notes
        if not self.counts_turns:
            assert self.frame_times is not None
            if not self.frame_times.tells_turns:
                raise ValueError(
                    f"{self.recording.source}: so many frames are missing, or there is such a "
                    "pause, that their times do not tell which channel a frame is of "
                    f"({self.frame_times.report()}); times='frames' takes them in turns in spite "
                    "of that"
                )
            slots = self.frame_times.slots
            note = "channels are told by time stamps, since frames are missing or doubled"
            notes = (*notes, note)
        elif rest := len(self.recording) % count:
            notes = (*notes, f"the last turn has only {rest} of {count} channels")
        parts = {}
        for name, (part, frames) in split_channels(self.recording, names, slots).items():
            times_s = None if self.times_s is None else self.times_s[frames]
            own = None
            if slots is not None:
                turns = slots[frames] // count
                own = FrameTimes(self.interval_s * count, turns - turns[0])
            elif times_s is not None:
                own = FrameTimes.of(times_s, part.frame_rate_hz)
            parts[name] = Timed(part, times_s, self.timed_by, own, notes)
        return parts


@dataclass(frozen=True, kw_only=True)
class Job:
    """What `preprocess` was told, checked; see there."""

    recipe: Recipe
    frame_rate_hz: float | None
    pixel_size_mm: float | None
    times: Any
    channels: tuple[str, ...] | Literal["file"] | None
    start_s: float | None
    mask: Any
    out: Path | None
    layout: Layout
    overwrite: bool
    threads: int

    @property
    def counts_frames(self) -> bool:
        """Bins are so many frames, though the recording has time stamps."""
        return self.times is None and self.recipe.bin_frames is not None

    def plans(self, timed: Timed) -> dict[str, Plan]:
        """Return the plan of every channel; that of a recording without channels is named ""."""
        names = channel_names(timed.recording, self.channels)
        parts, rate = {"": timed}, self.frame_rate_hz
        if names is not None:
            parts = timed.channels(names)
            rate = None if rate is None else rate / len(names)
        plans = {}
        for name, part in parts.items():
            plan = _plan(part, self.recipe, rate, self.pixel_size_mm, self.start_s)
            named = self.out is not None and self.layout == "published"
            plans[name] = _with_start(plan) if named else plan
        return plans


def _plan(
    timed: Timed,
    recipe: Recipe,
    frame_rate_hz: float | None,
    pixel_size_mm: float | None,
    start_s: float | None,
) -> Plan:
    """Decide which frames make which bin; raises ValueError if there is no map in them."""
    recording, times_s, timing = timed.recording, timed.times_s, timed.timed_by
    notes = list(timed.notes)
    rate = frame_rate_hz if frame_rate_hz is not None else recording.frame_rate_hz
    if rate is None and times_s is None:
        rate = ASSUMED_FRAME_RATE_HZ
        note = f"the recording tells no frame rate; {rate:g} Hz is assumed (frame_rate_hz)"
        warn(note)
        notes.append(note)
    by_time = times_s is not None
    clock = FrameClock.of(recipe, rate, by_time)
    numbers = clock.by_position(0, len(recording)) if times_s is None else clock.by_times(times_s)
    edges = edges_of(numbers)
    counts = np.diff(edges)
    whole = clock.is_whole(int(counts[-1]), len(recording), counts[:-1].tolist())
    if not whole:
        if recipe.partial_bin == "drop" and counts.size == 1:
            raise ValueError(
                f"{recording.source}: {len(recording):,} frames are less than one bin; use "
                "shorter bins (bin_seconds, bin_frames) or partial_bin='keep'"
            )
        notes.append(partial_note(recipe, int(counts[-1])))
        if recipe.partial_bin == "drop":
            edges, counts = edges[:-1], counts[:-1]
    if counts.max() > _core.MAX_FRAMES_PER_BIN:
        raise too_many_frames(int(counts.max()))
    starts = numbers[edges[:-1]]
    if by_time:
        _note_gaps(clock, starts, counts, notes)
    later = map_bins(recipe, counts.size)
    if not later.size:
        baseline = (
            "" if recipe.baseline_bins is None else f" and baseline_bins={recipe.baseline_bins}"
        )
        raise ValueError(
            f"{recording.source}: {len(recording):,} frames make {counts.size} bins, too few for "
            f"a map with interval_bins={recipe.interval_bins}{baseline}; the recording is too "
            "short, or frame_rate_hz or times are not what they are taken for"
        )
    if (unrounded := unrounded_note(recording.dtype)) is not None:
        notes.append(unrounded)
    bin_times_s = (starts - starts[0]) * clock.bin_seconds
    if start_s is None and timing in get_args(ClockName):
        start_s = float(starts[0] * clock.bin_seconds)
    elif start_s is None:
        start_s = recording.start_s
    t, y, x = recording.shape
    info = Info(
        recipe=recipe,
        shape=(y, x),
        bin_dtype=_core.mean_dtype(recording.dtype),
        times_s=bin_times_s[later],
        bin_times_s=bin_times_s,
        bin_frames=counts,
        frame_rate_hz=rate,
        pixel_size_mm=recording.pixel_size_mm if pixel_size_mm is None else pixel_size_mm,
        start_s=start_s,
        dropped_frames=None if timed.frame_times is None else timed.frame_times.dropped,
        doubled_frames=None if timed.frame_times is None else timed.frame_times.doubled,
        source={
            "path": recording.source,
            "shape": [t, y, x],
            "dtype": str(recording.dtype),
            "timed_by": timing,
            **recording.metadata,
        },
        notes=(*recording.notes, *notes),
    )
    return Plan(recording, edges, info)


def _times_of(
    recording: Recording, times: Any
) -> tuple[Recording, NDArray[np.float64] | None, str]:
    """Times of all frames if bins go by the clock, and the name of the clock."""
    if times is None:
        own = recording.times_s
        if own is None:
            return recording, None, "frames"
        try:
            return recording, checked_times(own, len(recording)), _OWN
        except ValueError as error:
            raise ReadError(
                f"its time stamps are damaged ({error}); times='frames' counts frames instead",
                recording.source,
            ) from error
    if isinstance(times, str):
        if times == "frames":
            return recording, None, "frames"
        arguments.choice("times", times, ("frames", *get_args(ClockName)))
        recording, found = recording.in_time_order(cast(ClockName, times))
        return recording, checked_times(found, len(recording)), times
    return recording, checked_times(times, len(recording)), _GIVEN


def _note_gaps(
    clock: FrameClock, starts: NDArray[np.int64], counts: NDArray[np.int64], notes: list[str]
) -> None:
    """Note, and warn of, bins without a frame, and bins with more or fewer frames than others."""
    steps = np.diff(starts)
    missing = int((steps - 1).sum())
    if missing:
        first = int(np.flatnonzero(steps > 1)[0])
        after_s = float((starts[first] - starts[0] + 1) * clock.bin_seconds)
        note = (
            f"{missing:,} bins are missing, as they have no frame; the first begins at "
            f"{after_s:g} s. Maps across a gap span more than their interval"
        )
        warn(note)
        notes.append(note)
    inner = counts[:-1] if counts.size > 1 else counts
    if inner.min() != inner.max():
        notes.append(f"bins hold {inner.min():,} to {inner.max():,} frames")


def checked_channels(channels: Any) -> tuple[str, ...] | Literal["file"]:
    """Return names of channels, or raise TypeError or ValueError."""
    if isinstance(channels, str):
        if channels == "file":
            return "file"
        raise TypeError(f"channels must be a number, a list of names, or 'file', not {channels!r}")
    if isinstance(channels, Sequence):
        names = tuple(channels)
        if not names or not all(isinstance(name, str) for name in names):
            raise TypeError(f"channels must be names, and at least one, not {channels!r}")
    else:
        names = tuple(map(str, range(arguments.integer("channels", channels, 1, 1000))))
    for name in names:
        if not name.strip() or name.startswith(".") or set(name) & _NOT_IN_NAMES:
            raise ValueError(f"channels: {name!r} is no name that a folder can have")
    if len({name.casefold() for name in names}) < len(names):
        raise ValueError(f"channels must have different names, not {', '.join(names)}")
    return names


def _file_name(name: str) -> str:
    """Return a name that a folder can have."""
    return "".join("_" if c in _NOT_IN_NAMES else c for c in name).lstrip(".")


def channel_names(
    recording: Recording, channels: tuple[str, ...] | Literal["file"] | None
) -> tuple[str, ...] | None:
    """Return the names of a recording's channels; None if it is not to be split.

    Raises
    ------
    ValueError
        If the recording holds channels, and others than were asked for.
    """
    told = recording.channels
    if channels is None:
        if len(told) > 1:
            raise ValueError(
                f"{recording.source}: holds {len(told)} channels in turn ({', '.join(told)}), "
                "which must not be mixed; give channels='file', or names for them"
            )
        return None
    if channels == "file":
        if not told:
            raise ValueError(f"{recording.source}: tells of no channels; give their names")
        return cast(tuple[str, ...], checked_channels([_file_name(name) for name in told]))
    if told and len(told) != len(channels):
        raise ValueError(
            f"{recording.source}: holds {len(told)} channels ({', '.join(told)}), not "
            f"{len(channels)} ({', '.join(channels)})"
        )
    return channels


def checked_start(start_time: str | datetime | None) -> float | None:
    """Return the wall-clock time of the first frame, in seconds since 1970, if there is one."""
    if start_time is None:
        return None
    if isinstance(start_time, str):
        try:
            start_time = datetime.fromisoformat(start_time)
        except ValueError:
            raise ValueError(
                f"start_time must look like '2023-09-22 22:14:31', not {start_time!r}"
            ) from None
    if not isinstance(start_time, datetime):
        raise TypeError(f"start_time must be a text or datetime, not {start_time!r}")
    return clock_seconds(start_time)


def _with_start(plan: Plan) -> Plan:
    """Give names something to begin with, if the recording has no wall-clock time."""
    if plan.info.start_s is not None:
        return plan
    note = "the recording tells no time of day; names count from 1970-01-01 00:00:00 (start_time)"
    warn(note)
    return replace(plan, info=replace(plan.info, start_s=0.0, notes=(*plan.info.notes, note)))
