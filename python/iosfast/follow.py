"""Maps of a recording that is still being written."""

from __future__ import annotations

import stat
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
from .planning import ASSUMED_FRAME_RATE_HZ, Job, Plan, Timed, channel_names, stands_still
from .progress import progress_for
from .readers import Recording
from .readers.pixels import Layout
from .readers.recording import ClockName
from .staging import STACKS, Staging
from .storage import load

#: Seconds between two looks at the recording, unless looking takes long.
POLL_S = 0.5
#: Waiting takes at least so many times as long as looking.
_PATIENCE = 4


def follow_recording(
    reopen: Callable[..., Recording],
    path: Path,
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
    path : Path
        The recording.
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
        for recording, first, last in _growth(reopen, path, silence_s, followed.lacks):
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
    reopen: Callable[..., Recording],
    path: Path,
    silence_s: float,
    lacks: Callable[[Recording], bool],
) -> Iterator[tuple[Recording, int, int]]:
    """Yield the recording with a range of new frames, which is empty the last time.

    Frames are taken when they are found for the second time, as the last one may not be complete
    although the file is long enough, and while the recording `lacks` nothing that it had.
    """
    done = seen = 0
    grown = time.monotonic()
    before: Layout | None = None
    looked, in_place, has_grown = _size_and_time(path), False, False
    while True:
        began = time.monotonic()
        problem: ReadError | None = None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", IosfastWarning)  # told at the end, if still true
                recording, count = _look(reopen)
        except ReadError as error:  # not there yet, or in the middle of being written
            problem = error
        else:
            with recording:
                now = _size_and_time(path)
                if now is not None and looked is not None:
                    has_grown = has_grown or now[0] > looked[0]
                    # Headers of files that grow are changed in place, too.
                    in_place = not has_grown and (in_place or now[1] != looked[1])
                if count > seen or now != looked:
                    grown = time.monotonic()
                looked = now
                _check_growth(recording, count, seen, done, before)
                if in_place and done:
                    raise ReadError(
                        "is written in place (its size was fixed before), so that frames which "
                        "were taken may have been empty; run again without follow, when it is "
                        "complete",
                        recording.source,
                    )
                silent = time.monotonic() - grown >= silence_s
                chunk = recording.chunk_frames
                whole_chunks = seen if chunk == 1 else max(0, seen - 1) // chunk * chunk
                ready = len(recording) if silent else done if in_place else whole_chunks
                if silent or (ready > done and not lacks(recording)):
                    yield recording, done, max(done, ready)
                    done = max(done, ready)
                seen, before = count, recording.layout
                if silent:
                    return
        now_s = time.monotonic()
        if problem is not None and now_s - grown >= silence_s:
            raise problem
        left_s = max(0.0, grown + silence_s - now_s)
        time.sleep(min(max(POLL_S, _PATIENCE * (now_s - began)), left_s))


def _look(reopen: Callable[..., Recording]) -> tuple[Recording, int]:
    """Open the recording as it is now; also tell how many frames there are without a gap."""
    try:
        recording = reopen(allow_truncated=False)
    except ReadError as error:
        if error.frame is None:
            raise
        recording = reopen(allow_truncated=True)
        return recording, min(len(recording), error.frame)
    return recording, len(recording)


def _size_and_time(path: Path) -> tuple[int, int] | None:
    """Size and time of a file, which tell that it is written to; None for a folder."""
    try:
        about = path.stat()
    except OSError:
        return None
    return None if stat.S_ISDIR(about.st_mode) else (about.st_size, about.st_mtime_ns)


def _check_growth(
    recording: Recording, count: int, seen: int, done: int, before: Layout | None
) -> None:
    """Raise ReadError unless frames were only added behind those that were there."""
    if count < seen:
        raise ReadError(
            f"has become shorter while it was followed: {count:,} frames, after {seen:,}",
            recording.source,
        )
    layout = recording.layout
    if before is not None and layout is not None and layout.first(done) != before.first(done):
        raise ReadError(
            "has got frames in front of those that were taken, or others in their place, while "
            "it was followed; run again without follow, when it is complete",
            recording.source,
        )


class _Followed:
    """Maps of all channels of a recording, as far as it has come."""

    def __init__(self, job: Job, folder: Path | None) -> None:
        self._job = job
        self._folder = folder
        self._parts: dict[str, _Follower] = {}
        self._kind: tuple[Any, ...] = ()
        self._by_time = False

    def lacks(self, recording: Recording) -> bool:
        """Tell whether there are no time stamps, though there were; they may be half written."""
        return self._by_time and self._times_s(recording) is None

    def take(self, recording: Recording, first: int, last: int) -> Iterator[int]:
        """Take frames [first, last), and yield the number of those that are done."""
        job = self._job
        if not self._parts:
            self._begin(recording)
        if (*recording.shape[1:], recording.dtype) != self._kind:
            raise ReadError("has other frames than when it was begun to follow", recording.source)
        times_s = self._times_s(recording) if self._by_time else None
        if self._by_time and times_s is None:
            raise ReadError("has lost its time stamps while it was followed", recording.source)
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
        self._by_time = self._times_s(recording) is not None
        if rate is None and not self._by_time:
            rate = ASSUMED_FRAME_RATE_HZ
            warn(f"no frame rate is told yet; {rate:g} Hz is assumed while following")
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
            own = None if self._job.counts_frames else recording.times_s
            return None if own is None or stands_still(own) else own - own[0]
        if isinstance(times, str):
            return recording.clock_s(times) if times in get_args(ClockName) else None  # type: ignore[arg-type]
        raise TypeError("times of a recording that is followed cannot be given, only named")

    def _has_own_times(self, recording: Recording) -> bool:
        return not self._job.counts_frames and recording.times_s is not None

    def finish(self, recording: Recording) -> dict[str, Maps]:
        """Return the maps of all channels, given the complete recording."""
        job = self._job
        if job.times is None and not self._by_time:  # time stamps that came later do not count
            job = replace(job, times="frames")
        timed = Timed.of(recording, job)
        if job.times != self._job.times and self._has_own_times(recording):
            note = "time stamps came only after the first frames had been taken; frames are counted"
            warn(note)
            timed = replace(timed, notes=(*timed.notes, note))
        if len(self._parts) > 1 and not timed.counts_turns:
            raise ReadError(
                "frames are missing, so that channels which were told by counting are mixed; run "
                "again without follow, now that it is complete",
                recording.source,
            )
        plans = job.plans(timed)
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
