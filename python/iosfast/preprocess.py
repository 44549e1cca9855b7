"""The main job: a recording to maps, in memory or on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from . import _core, arguments
from .change import IntervalStage
from .decoded_bins import bin_decoded
from .errors import warn
from .follow import follow_recording
from .live import stage_notes
from .maps import Info, Maps, Stacks
from .masks import read_mask
from .planning import Job, Plan, Timed, checked_channels, checked_start
from .progress import Progress, progress_for
from .readers import Source, open_recording
from .readers.recording import ClockName
from .recipe import Recipe, RecipeName
from .staging import Staging, check_place
from .storage import MapsWriter, checked_layout, load
from .timing import Stopwatch

#: Bytes of binned images, maps and colours that one block of a run makes at most, if it can.
BLOCK_BYTES = 24 << 20


class PreprocessOptions(TypedDict, total=False):
    """What `preprocess` can be told beside the source and the channels; see there."""

    recipe: Recipe | RecipeName
    frame_rate_hz: float | None
    pixel_size_mm: float | None
    times: ClockName | Literal["frames"] | ArrayLike | None
    mask: str | PathLike[str] | NDArray[Any] | None
    out: str | PathLike[str] | None
    layout: Literal["stack", "published"]
    overwrite: bool
    start_time: str | datetime | None
    follow: bool
    silence_s: float
    progress: bool | Callable[[int, int], None]
    threads: int
    allow_truncated: bool
    shape: tuple[int, ...] | None
    dtype: DTypeLike | None
    offset: int
    dataset: str | None


@overload
def preprocess(
    source: Source, *, channels: None = None, **options: Unpack[PreprocessOptions]
) -> Maps: ...


@overload
def preprocess(
    source: Source, *, channels: int | Sequence[str], **options: Unpack[PreprocessOptions]
) -> dict[str, Maps]: ...


def preprocess(
    source: Source,
    *,
    recipe: Recipe | RecipeName = "default",
    frame_rate_hz: float | None = None,
    pixel_size_mm: float | None = None,
    times: ClockName | Literal["frames"] | ArrayLike | None = None,
    channels: int | Sequence[str] | None = None,
    mask: str | PathLike[str] | NDArray[Any] | None = None,
    out: str | PathLike[str] | None = None,
    layout: Literal["stack", "published"] = "stack",
    overwrite: bool = False,
    start_time: str | datetime | None = None,
    follow: bool = False,
    silence_s: float = 10.0,
    progress: bool | Callable[[int, int], None] = False,
    threads: int = 0,
    allow_truncated: bool = False,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
    offset: int = 0,
    dataset: str | None = None,
) -> Maps | dict[str, Maps]:
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
    channels : int, list of str, or "file", optional
        Several wavelengths whose frames follow each other in turn: their number or their names,
        in the order of the frames, or as the file tells. Each gives maps of its own. The frame
        rate is that of all frames. Where time stamps tell that frames are missing, channels are
        told by them, and not by counting.
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
    follow : bool
        The file or folder is still being written: keep up with it, and end when it has not grown
        for `silence_s`. A last frame that is cut is left out, with a warning.
    silence_s : float
        Seconds without a new frame after which a followed recording is taken as complete.
    progress : bool or callable
        Show a bar, or call with (frames done, frames in all).
    threads : int
        0 is one per core. The result does not depend on it.
    allow_truncated : bool
        Use the whole frames of a file that is cut, with a warning, instead of raising an error.
    shape, dtype, offset, dataset
        For raw files, and files of several recordings; see `iosfast.open_recording`.

    Returns
    -------
    Maps
        Or, with `channels`, a dict of the channels' names to their Maps. With `out`, each channel
        has a folder of its name in it.

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
    job = checked_job(
        recipe=recipe,
        frame_rate_hz=frame_rate_hz,
        pixel_size_mm=pixel_size_mm,
        times=times,
        channels=channels,
        mask=mask,
        out=out,
        layout=layout,
        overwrite=overwrite,
        start_time=start_time,
        threads=threads,
    )
    if job.out is not None:
        check_place(job.out, overwrite)
    reopen = partial(
        open_recording, source, shape=shape, dtype=dtype, offset=offset, dataset=dataset
    )
    if follow:
        silence_s = arguments.number("silence_s", silence_s, 0, above=True)
        if not isinstance(source, str | PathLike):
            raise TypeError("follow=True is for a path, which is opened again and again")
        return follow_recording(reopen, Path(source), job, silence_s, progress)
    with ExitStack() as stack:
        recording = reopen(allow_truncated=allow_truncated)
        if recording is not source:
            stack.callback(recording.close)
        inside = None if mask is None else read_mask(mask, recording.shape[1:])
        plans = job.plans(Timed.of(recording, job))
        total = sum(plan.frames for plan in plans.values())
        nbytes = sum(plan.recording.nbytes for plan in plans.values())
        shown = stack.enter_context(progress_for(progress, total, nbytes))
        if job.channels is None:
            return Run(plans[""], inside, job, shown).maps(job.out)
        return _run_all(plans, inside, job, shown)


def checked_job(
    *,
    recipe: Recipe | RecipeName,
    frame_rate_hz: float | None,
    pixel_size_mm: float | None,
    times: Any,
    channels: int | Sequence[str] | None,
    mask: Any,
    out: str | PathLike[str] | None,
    layout: str,
    overwrite: bool,
    start_time: str | datetime | None,
    threads: int,
) -> Job:
    """Check what `preprocess` was told; see there."""
    job = Job(
        recipe=Recipe.named(recipe),
        frame_rate_hz=arguments.positive("frame_rate_hz", frame_rate_hz),
        pixel_size_mm=arguments.positive("pixel_size_mm", pixel_size_mm),
        times=times,
        channels=None if channels is None else checked_channels(channels),
        start_s=checked_start(start_time),
        mask=mask,
        out=None if out is None else Path(out),
        layout=checked_layout(layout),
        overwrite=overwrite,
        threads=arguments.threads(threads),
    )
    job.recipe.colors()  # an unknown colour map is told before anything is read
    return job


def _run_all(
    plans: dict[str, Plan], mask: NDArray[np.bool_] | None, job: Job, progress: Progress
) -> dict[str, Maps]:
    """Make the maps of all channels, one after the other; on disk all appear at once."""
    maps: dict[str, Maps] = {}
    with ExitStack() as stack:
        staging = None
        if job.out is not None:
            staging = stack.enter_context(Staging(job.out, job.overwrite))
        done = 0
        for name, plan in plans.items():
            run = Run(plan, mask, job, _behind(progress, done))
            maps[name] = run.maps(None if staging is None else staging.work / name)
            done += plan.frames
        if staging is None:
            return maps
        out = staging.finish()
    return {n: replace(load(out / n), timings=part.timings) for n, part in maps.items()}


def _behind(progress: Progress, before: int) -> Progress:
    return lambda frames: progress(before + frames)


class Run:
    """One pass over the recording, block by block of bins.

    `made` gives bins that are there already: it fills an array with the bins [first, last), or
    returns False.
    """

    def __init__(
        self,
        plan: Plan,
        mask: NDArray[np.bool_] | None,
        job: Job,
        progress: Progress,
        made: Callable[[int, int, NDArray[Any]], bool] | None = None,
    ) -> None:
        self._made = made
        self._recording = plan.recording
        self._edges = plan.edges
        self.info = plan.info
        self._mask = mask
        self._job = job
        self._threads = job.threads
        self._progress = progress
        self._watch = Stopwatch()
        self._stage = IntervalStage(
            plan.info.recipe, plan.info.shape, mask, job.threads, self._watch
        )

    def maps(self, out: Path | None) -> Maps:
        """Return the maps, as arrays or in a new folder."""
        return self._in_memory() if out is None else self._on_disk(out)

    def _in_memory(self) -> Maps:
        bins, maps, shape = self._edges.size - 1, self.info.times_s.size, self.info.shape
        binned = np.empty((bins, *shape), self.info.bin_dtype)
        change = np.empty((maps, *shape), np.float32)
        rgb = np.empty((maps, *shape, 3), np.uint8)
        done = 0
        for first, last in self.blocks():
            self.bin(first, last, binned[first:last])
            made = done + self._stage.count(last - first)
            self._stage.consume(binned[first:last], change[done:made], rgb[done:made])
            done = made
        stacks: Stacks = {"binned": binned, "change": change, "rgb": rgb}
        return Maps(self._final_info(), self._mask, None, self._watch.stages, stacks)

    def _on_disk(self, out: Path) -> Maps:
        """Write maps while the next ones are made; at most two blocks are in memory."""
        shape = self.info.shape
        with (
            MapsWriter(
                out,
                self.info,
                bins=self._edges.size - 1,
                mask=self._mask,
                layout=self._job.layout,
                overwrite=self._job.overwrite,
            ) as writer,
            ThreadPoolExecutor(1, "iosfast-writer") as pool,
        ):
            writing: Future[None] | None = None
            done = 0
            for first, last in self.blocks():
                count = self._stage.count(last - first)
                binned = np.empty((last - first, *shape), self.info.bin_dtype)
                change = np.empty((count, *shape), np.float32)
                rgb = np.empty((count, *shape, 3), np.uint8)
                self.bin(first, last, binned)
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

    def blocks(self) -> list[tuple[int, int]]:
        """Bins that are made at a time: first, and behind the last."""
        bins = self._edges.size - 1
        pixels = self.info.shape[0] * self.info.shape[1]
        per_bin = pixels * (self.info.bin_dtype.itemsize + 7 / self.info.recipe.interval_bins)
        step = max(1, int(BLOCK_BYTES / per_bin))
        return [(first, min(first + step, bins)) for first in range(0, bins, step)]

    def bin(self, first: int, last: int, out: NDArray[Any]) -> None:
        """Fill an array with the bins [first, last)."""
        if self._made is not None and self._made(first, last, out):
            self._progress(int(self._edges[last]))
            return
        edges = self._edges[first : last + 1]
        with self._watch.stage("read and bin"):
            self._bin_frames(edges, out)

    def _bin_frames(self, edges: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Read the frames of bins; transpose means rather than frames, which is less work."""
        stored = self._recording.as_stored
        transposed = stored is not None
        recording = self._recording if stored is None else stored
        if recording.frame_source is None:
            bin_decoded(recording, edges, out, self._threads, self._progress, transposed)
            return
        begin = int(edges[0])
        _core.bin_frames(
            recording.frame_source,
            edges,
            out,
            self._threads,
            lambda done: self._progress(begin + done),
            transposed,
        )

    def _final_info(self) -> Info:
        notes = stage_notes(self._stage)
        for note in notes:
            warn(note)
        return replace(self.info, notes=(*self.info.notes, *notes))
