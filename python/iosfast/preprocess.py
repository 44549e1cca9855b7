"""The main job: a recording to maps, in memory or on disk."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from . import _core, arguments
from .binning import FrameClock, checked_times, edges_of, too_many_frames
from .change import IntervalStage, map_bins
from .errors import warn
from .live import partial_note, stage_notes, unrounded_note
from .maps import Info, Maps, Stacks
from .masks import read_mask
from .progress import Progress, progress_for
from .readers import Recording, Source, open_recording
from .readers.clocks import clock_seconds
from .readers.recording import ClockName
from .recipe import Recipe, RecipeName
from .storage import MapsWriter, check_place, checked_layout, load
from .timing import Stopwatch

#: Frame rate taken for recordings that tell none, with a warning: that of the published method.
ASSUMED_FRAME_RATE_HZ = 60.0

#: Bytes of binned images, maps and colours that one block of a run makes at most, if it can.
BLOCK_BYTES = 24 << 20


def preprocess(
    source: Source,
    *,
    recipe: Recipe | RecipeName = "default",
    frame_rate_hz: float | None = None,
    pixel_size_mm: float | None = None,
    times: ClockName | Literal["frames"] | ArrayLike | None = None,
    mask: str | PathLike[str] | NDArray[Any] | None = None,
    out: str | PathLike[str] | None = None,
    layout: Literal["stack", "published"] = "stack",
    overwrite: bool = False,
    start_time: str | datetime | None = None,
    progress: bool | Callable[[int, int], None] = False,
    threads: int = 0,
    allow_truncated: bool = False,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
    offset: int = 0,
) -> Maps:
    """Turn a recording into maps: mean per second, change over five seconds, colour.

    Parameters
    ----------
    source : path, list of paths, ndarray (T, Y, X), or Recording
        What `iosfast.open_recording` opens.
    recipe : Recipe or {"default", "published"}
        What to compute; see `Recipe`.
    frame_rate_hz : float, optional
        Frames per second. Without it that of the file is taken, and 60 Hz, with a warning, if
        it has none.
    pixel_size_mm : float, optional
        Side of a pixel; without it that of the file, if it has one. Never assumed.
    times : {"mtime", "name", "datetime", "frames"} or array_like of float (T,), optional
        Bin by the clock: time of every frame in seconds, or by modification times of single-frame
        files, by names that begin with ``YYYYMMDD_HHMMSS``, or by DateTime tags. "frames" bins by
        count. Without it, a recording's own time stamps are used if it has some; else frames are
        counted. By the clock, bins begin at multiples of `bin_seconds`, and a second without
        frames has no bin.
    mask : ndarray or path, optional
        The cortex: an image that is 0 outside, or a JSON outline; see `iosfast.read_mask`.
    out : path, optional
        Write to this new folder as the run proceeds, in bounded memory; the returned maps are
        memory-mapped. Without it, the maps are arrays.
    layout : {"stack", "published"}
        ``binned.tif``, ``change.tif`` and ``rgb.tif``; or one TIFF per map, named by its time.
        With ``maps.json`` in both.
    overwrite : bool
        Replace maps that are at `out` already; never replaces anything else.
    start_time : str or datetime, optional
        Wall-clock time of the first frame ("2023-09-22 22:14:31"), for names and provenance, if
        the recording does not tell.
    progress : bool or callable
        Show a bar, or call with (frames done, frames in all).
    threads : int
        0 is one per core. The result does not depend on it.
    allow_truncated : bool
        Use the whole frames of a file that is cut, with a warning, instead of raising an error.
    shape, dtype, offset
        For raw files; see `iosfast.open_recording`.

    Returns
    -------
    Maps

    Raises
    ------
    ReadError
        If the recording cannot be read; names the file and the frame.
    WriteError
        If `out` cannot be written; nothing is left there.
    TypeError, ValueError
        If an argument does not fit.

    Notes
    -----
    ``recipe="published"`` reproduces Zhang et al., Sci Data 13, 255 (2026),
    doi 10.1038/s41597-026-06580-1.
    """
    recipe = Recipe.named(recipe)
    frame_rate_hz = arguments.positive("frame_rate_hz", frame_rate_hz)
    pixel_size_mm = arguments.positive("pixel_size_mm", pixel_size_mm)
    threads = arguments.threads(threads)
    layout = checked_layout(layout)
    start_s = _checked_start(start_time)
    recipe.colors()  # an unknown colour map is told before anything is read
    if out is not None:
        check_place(Path(out), overwrite)
    with ExitStack() as stack:
        recording = open_recording(
            source, shape=shape, dtype=dtype, offset=offset, allow_truncated=allow_truncated
        )
        if recording is not source:
            stack.callback(recording.close)
        inside = None if mask is None else read_mask(mask, recording.shape[1:])
        plan = _plan(recording, recipe, frame_rate_hz, pixel_size_mm, times, start_s)
        if out is not None and layout == "published":
            plan = _with_start(plan)
        shown = stack.enter_context(progress_for(progress, plan.frames, plan.recording.nbytes))
        run = _Run(plan, inside, threads, shown)
        if out is None:
            return run.in_memory()
        return run.on_disk(Path(out), layout, overwrite)


@dataclass(frozen=True)
class _Plan:
    """Which frames make which bin, and all that is known before the first is read."""

    recording: Recording
    edges: NDArray[np.int64]
    info: Info

    @property
    def frames(self) -> int:
        return int(self.edges[-1])


def _plan(
    recording: Recording,
    recipe: Recipe,
    frame_rate_hz: float | None,
    pixel_size_mm: float | None,
    times: Any,
    start_s: float | None,
) -> _Plan:
    notes: list[str] = []
    recording, times_s, timing = _times_of(recording, times)
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
        source={
            "path": recording.source,
            "shape": [t, y, x],
            "dtype": str(recording.dtype),
            "timed_by": timing,
            **recording.metadata,
        },
        notes=(*recording.notes, *notes),
    )
    return _Plan(recording, edges, info)


def _times_of(
    recording: Recording, times: Any
) -> tuple[Recording, NDArray[np.float64] | None, str]:
    """Times of all frames if bins go by the clock, and the name of the clock."""
    if times is None:
        own = recording.times_s
        if own is None:
            return recording, None, "frames"
        return recording, checked_times(own, len(recording)), "time stamps"
    if isinstance(times, str):
        if times == "frames":
            return recording, None, "frames"
        arguments.choice("times", times, ("frames", *get_args(ClockName)))
        recording, found = recording.in_time_order(cast(ClockName, times))
        return recording, checked_times(found, len(recording)), times
    return recording, checked_times(times, len(recording)), "given times"


def _note_gaps(
    clock: FrameClock, starts: NDArray[np.int64], counts: NDArray[np.int64], notes: list[str]
) -> None:
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


def _checked_start(start_time: str | datetime | None) -> float | None:
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


def _with_start(plan: _Plan) -> _Plan:
    """Give names something to begin with, if the recording has no wall-clock time."""
    if plan.info.start_s is not None:
        return plan
    note = "the recording tells no time of day; names count from 1970-01-01 00:00:00 (start_time)"
    warn(note)
    return replace(plan, info=replace(plan.info, start_s=0.0, notes=(*plan.info.notes, note)))


class _Run:
    """One pass over the recording, block by block of bins."""

    def __init__(
        self, plan: _Plan, mask: NDArray[np.bool_] | None, threads: int, progress: Progress
    ) -> None:
        self._recording = plan.recording
        self._edges = plan.edges
        self._info = plan.info
        self._mask = mask
        self._threads = threads
        self._progress = progress
        self._watch = Stopwatch()
        self._stage = IntervalStage(plan.info.recipe, plan.info.shape, mask, threads, self._watch)

    def in_memory(self) -> Maps:
        """Return maps as arrays."""
        bins, maps, shape = self._edges.size - 1, self._info.times_s.size, self._info.shape
        binned = np.empty((bins, *shape), self._info.bin_dtype)
        change = np.empty((maps, *shape), np.float32)
        rgb = np.empty((maps, *shape, 3), np.uint8)
        done = 0
        for first, last in self._blocks():
            self._bin(first, last, binned[first:last])
            made = done + self._stage.count(last - first)
            self._stage.consume(binned[first:last], change[done:made], rgb[done:made])
            done = made
        stacks: Stacks = {"binned": binned, "change": change, "rgb": rgb}
        return Maps(self._final_info(), self._mask, None, self._watch.stages, stacks)

    def on_disk(self, out: Path, layout: Literal["stack", "published"], overwrite: bool) -> Maps:
        """Write maps while the next ones are made; at most two blocks are in memory."""
        shape = self._info.shape
        with (
            MapsWriter(
                out,
                self._info,
                bins=self._edges.size - 1,
                mask=self._mask,
                layout=layout,
                overwrite=overwrite,
            ) as writer,
            ThreadPoolExecutor(1, "iosfast-writer") as pool,
        ):
            writing: Future[None] | None = None
            done = 0
            for first, last in self._blocks():
                count = self._stage.count(last - first)
                binned = np.empty((last - first, *shape), self._info.bin_dtype)
                change = np.empty((count, *shape), np.float32)
                rgb = np.empty((count, *shape, 3), np.uint8)
                self._bin(first, last, binned)
                self._stage.consume(binned, change, rgb)
                with self._watch.stage("wait for disk"):
                    if writing is not None:
                        writing.result()
                writing = pool.submit(writer.write, first, binned, done, change, rgb)
                done += count
            with self._watch.stage("wait for disk"):
                if writing is not None:
                    writing.result()
                writer.finish(self._final_info())
        return replace(load(out), timings=self._watch.stages)

    def _blocks(self) -> list[tuple[int, int]]:
        bins = self._edges.size - 1
        pixels = self._info.shape[0] * self._info.shape[1]
        per_bin = pixels * (self._info.bin_dtype.itemsize + 7 / self._info.recipe.interval_bins)
        step = max(1, int(BLOCK_BYTES / per_bin))
        return [(first, min(first + step, bins)) for first in range(0, bins, step)]

    def _bin(self, first: int, last: int, out: NDArray[Any]) -> None:
        edges = self._edges[first : last + 1]
        begin = int(edges[0])
        source = self._recording.frame_source
        with self._watch.stage("read and bin"):
            if source is not None:
                _core.bin_frames(
                    source, edges, out, self._threads, lambda done: self._progress(begin + done)
                )
            else:
                self._bin_decoded(edges.tolist(), out)

    def _bin_decoded(self, edges: list[int], out: NDArray[Any]) -> None:
        sums = _core.BinAccumulator(self._info.shape, self._recording.dtype)
        at, index = edges[0], 0
        for frames in self._recording.blocks(start=at, stop=edges[-1], threads=self._threads):
            source, done = _core.FrameSource.from_array(frames), 0
            while done < len(frames):
                until = min(len(frames), edges[index + 1] - at)
                sums.add(source, done, until, self._threads)
                done = until
                if at + done == edges[index + 1]:
                    sums.mean(out[index])
                    index += 1
            at += len(frames)
            self._progress(at)

    def _final_info(self) -> Info:
        notes = stage_notes(self._stage)
        for note in notes:
            warn(note)
        return replace(self._info, notes=(*self._info.notes, *notes))
