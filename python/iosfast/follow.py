"""Maps of a recording that is still being written."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from .errors import IosfastWarning, ReadError, warn
from .live import Preprocessor, stage_notes
from .maps import Maps, Stacks
from .planning import ASSUMED_FRAME_RATE_HZ, Job, Plan, Timed, channel_names
from .progress import progress_for
from .readers import Recording
from .readers.recording import ClockName
from .staging import STACKS, Staging
from .storage import load

#: Seconds between two looks at the recording, unless looking takes long.
POLL_S = 0.5
#: Waiting takes at least so many times as long as looking.
_PATIENCE = 4


def follow_recording(
    reopen: Callable[..., Recording],
    job: Job,
    silence_s: float,
    progress: bool | Callable[[int, int], None],
) -> Maps | dict[str, Maps]:
    """Make maps of a recording as it grows; see `preprocess`.

    The maps are those of `preprocess` for the complete recording, to the bit.

    Parameters
    ----------
    reopen : callable
        Opens the recording, given `allow_truncated`.
    job : Job
    silence_s : float
        It is complete when it has not grown for so many seconds.
    progress : bool or callable
    """
    with ExitStack() as stack:
        staging = None
        if job.out is not None:
            staging = stack.enter_context(Staging(job.out, job.overwrite))
        shown = stack.enter_context(progress_for(progress, None, 0, "follow"))
        followed = _Followed(job, None if staging is None else staging.work)
        final: Recording | None = None
        for recording, first, last in _growth(reopen, silence_s):
            final = recording
            for done in followed.take(recording, first, last):
                shown(done)
        assert final is not None
        for note in final.notes:
            warn(note)
        maps = followed.finish(final)
        if staging is None:
            return maps if job.channels is not None else maps[""]
        for name, part in maps.items():
            part.save(staging.work / "maps" / name, layout=job.layout)
        out = staging.finish("maps")
        found = {n: replace(load(out / n), timings=part.timings) for n, part in maps.items()}
        return found if job.channels is not None else found[""]


def _growth(
    reopen: Callable[..., Recording], silence_s: float
) -> Iterator[tuple[Recording, int, int]]:
    """Yield the recording with a range of new frames, which is empty the last time.

    Frames are taken when they are found for the second time, as the last one may not be complete
    although the file is long enough.
    """
    done = seen = 0
    grown = time.monotonic()
    while True:
        began = time.monotonic()
        problem: ReadError | None = None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", IosfastWarning)  # told at the end, if still true
                recording = reopen(allow_truncated=True)
        except ReadError as error:  # not there yet, or in the middle of being written
            problem = error
        else:
            with recording:
                if len(recording) < seen:
                    raise ReadError(
                        f"has become shorter while it was followed: {len(recording):,} frames, "
                        f"after {seen:,}",
                        recording.source,
                    )
                if len(recording) > seen:
                    grown = time.monotonic()
                silent = time.monotonic() - grown >= silence_s
                ready = len(recording) if silent else seen
                if ready > done or silent:
                    yield recording, done, ready
                    done = ready
                seen = len(recording)
                if silent:
                    return
        now = time.monotonic()
        if problem is not None and now - grown >= silence_s:
            raise problem
        time.sleep(min(max(POLL_S, _PATIENCE * (now - began)), max(0.0, grown + silence_s - now)))


class _Followed:
    """Maps of all channels of a recording, as far as it has come."""

    def __init__(self, job: Job, folder: Path | None) -> None:
        self._job = job
        self._folder = folder
        self._parts: dict[str, _Follower] = {}
        self._kind: tuple[Any, ...] = ()

    def take(self, recording: Recording, first: int, last: int) -> Iterator[int]:
        """Take frames [first, last), and yield the number of those that are done."""
        job = self._job
        if not self._parts:
            self._begin(recording)
        if (*recording.shape[1:], recording.dtype) != self._kind:
            raise ReadError("has other frames than when it was begun to follow", recording.source)
        times_s = self._times_s(recording)
        for block in recording.blocks(start=first, stop=last, threads=job.threads):
            for number, part in enumerate(self._parts.values()):
                mine = slice((number - first) % len(self._parts), None, len(self._parts))
                now = None if times_s is None else times_s[first : first + len(block)][mine]
                if len(block[mine]):
                    part.push(block[mine], now)
            first += len(block)
            yield first

    def _begin(self, recording: Recording) -> None:
        job = self._job
        names = channel_names(recording, job.channels) or ("",)
        rate = job.frame_rate_hz or recording.frame_rate_hz
        if rate is None and self._times_s(recording) is None:
            rate = ASSUMED_FRAME_RATE_HZ
        self._kind = (*recording.shape[1:], recording.dtype)
        for number, name in enumerate(names):
            self._parts[name] = _Follower(
                recording.shape[1:],
                None if self._folder is None else self._folder / f"stacks {number}",
                recipe=job.recipe,
                frame_rate_hz=None if rate is None else rate / len(names),
                mask=job.mask,
                threads=job.threads,
            )

    def _times_s(self, recording: Recording) -> NDArray[np.float64] | None:
        times = self._job.times
        if times is None:
            return None if self._job.counts_frames else recording.times_s
        if isinstance(times, str):
            return recording.clock_s(times) if times in get_args(ClockName) else None  # type: ignore[arg-type]
        raise TypeError("times of a recording that is followed cannot be given, only named")

    def finish(self, recording: Recording) -> dict[str, Maps]:
        """Return the maps of all channels, given the complete recording."""
        plans = self._job.plans(Timed.of(recording, self._job))
        return {name: part.maps(plans[name]) for name, part in self._parts.items()}


class _Follower(Preprocessor):
    """Keeps what a `Preprocessor` makes, in memory or in files of a folder."""

    def __init__(self, shape: tuple[int, int], folder: Path | None, **options: Any) -> None:
        super().__init__(shape, **options)
        self._folder = folder
        self._kept: dict[str, list[NDArray[Any]]] = {name: [] for name in STACKS}
        self._lengths = dict.fromkeys(STACKS, 0)
        if folder is not None:
            folder.mkdir()

    def _keep(
        self, binned: NDArray[Any], change: NDArray[np.float32], rgb: NDArray[np.uint8]
    ) -> None:
        stacks: tuple[NDArray[Any], ...] = (binned, change, rgb)
        for name, stack in zip(STACKS, stacks, strict=True):
            self._lengths[name] += len(stack)
            if self._folder is None:
                self._kept[name].append(stack)
            elif stack.size:
                with (self._folder / name).open("ab") as file:
                    file.write(stack.data)

    def maps(self, plan: Plan) -> Maps:
        """Return all maps, which are those that were planned for the complete recording."""
        self.flush()
        if self._bin_frames != plan.info.bin_frames.tolist():
            raise ReadError(
                "its frames are not those that were followed, as frames are missing or were "
                "reordered; run again without follow, now that it is complete",
                plan.info.source["path"],
            )
        info = replace(plan.info, notes=(*plan.info.notes, *stage_notes(self._stage)))
        return Maps(info, self._mask, None, self._watch.stages, self._stacks())

    def _stacks(self) -> Stacks:
        if self._folder is None:
            return {name: np.concatenate(kept) for name, kept in self._kept.items()}
        stacks: Stacks = {}
        dtypes: tuple[np.dtype[Any], ...] = (
            self.bin_dtype,
            np.dtype(np.float32),
            np.dtype(np.uint8),
        )
        for name, dtype in zip(STACKS, dtypes, strict=True):
            shape = (self._lengths[name], *self.shape, *((3,) if name == "rgb" else ()))
            stacks[name] = np.memmap(self._folder / name, dtype, "r", 0, shape)
        return stacks
