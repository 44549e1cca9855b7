"""Opens a broken recording in every way that iosfast offers, and judges what comes of it."""

from __future__ import annotations

import gc
import json
import logging
import math
import os
import shutil
import threading
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from reference import bin_mean

import iosfast
from iosfast import IosfastWarning, ReadError, Recipe

from .expected import Expected, Fault
from .kind import Kind
from .mutations import Broken
from .weather import short_reads, shrinking

RECIPE = Recipe(
    bin_frames=2,
    interval_bins=1,
    smoothing_px=1,
    change="difference",  # as damaged pixels may hold no brightness to divide by
    scale="range",
    scale_range=(-1.0, 1.0),
)

#: Recordings that claim more are read in samples, as nobody can wait for all of it.
READ_WHOLE_BYTES = 64 << 20


@dataclass
class Verdict:
    """What came of a broken recording: "frames", "error" or "bug"."""

    outcome: str = "frames"
    text: str = ""
    warned: bool = False


@dataclass
class _Seen:
    """What was said beside the frames."""

    warnings: list[warnings.WarningMessage] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)


def judge(kind: Kind, made: Broken, folder: Path, random: np.random.Generator) -> Verdict:
    """Write a broken recording into an empty folder, open and read it, and empty the folder."""
    try:
        write(made, folder)
        return _judge_written(kind, made, folder, random)
    finally:
        _empty(folder)


def _judge_written(kind: Kind, made: Broken, folder: Path, random: np.random.Generator) -> Verdict:
    verdict = Verdict()
    before = _descriptors()
    with _listening() as seen:
        try:
            verdict.outcome = _Trial(kind, made, folder, random, seen).run()
        except Fault as fault:
            verdict.outcome, verdict.text = "bug", str(fault)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)
            lines = [f"{Path(f.filename).name}:{f.lineno}" for f in where[-6:]]
            verdict.outcome = "bug"
            verdict.text = f"{type(error).__name__}: {str(error)[:300]} ({' > '.join(lines)})"
    if verdict.outcome != "bug" and _descriptors() > before:
        gc.collect()
        for _ in range(20):  # zarr closes files in a thread of its own
            if _descriptors() <= before:
                break
            time.sleep(0.1)
        if (left := _descriptors() - before) > 0:
            verdict.outcome, verdict.text = "bug", f"{left} descriptors are left open"
    foreign = [w for w in seen.warnings if w.category is not IosfastWarning]
    if verdict.outcome != "bug" and (foreign or seen.logged):
        texts = [f"{w.category.__name__}: {w.message}" for w in foreign]
        said = [*texts, *(f"log: {t}" for t in seen.logged)]
        verdict.outcome, verdict.text = "bug", f"says beside its own warnings: {said[0][:300]}"
    verdict.warned = any(w.category is IosfastWarning for w in seen.warnings)
    return verdict


class _Trial:
    """One broken recording, opened and read."""

    def __init__(
        self, kind: Kind, made: Broken, folder: Path, random: np.random.Generator, seen: _Seen
    ) -> None:
        self.kind, self.made, self.folder, self.random, self.seen = kind, made, folder, random, seen
        self.allow = bool(random.random() < 0.5)
        self.expected = Expected.of(kind, made)

    def run(self) -> str:
        if self.made.during == "short reads":
            with short_reads(self.random):
                return self.opened()
        if self.made.during == "shrinks":
            with shrinking(self.folder, sorted(self.made.files), self.random) as shrink:
                return self.opened(shrink)
        return self.opened()

    def opened(self, shrink: Any = None) -> str:
        paths = [str(self.folder / name) for name in self.made.source]
        source = paths if self.kind.seed.many else paths[0]
        try:
            recording = self.kind.open(source, allow_truncated=self.allow, **self.kind.options)
        except ReadError as error:
            self.check_error(error)
            if self.expected.opens and not shrink:
                raise Fault(f"pixels only were changed, but it does not open: {error}") from error
            return "error"
        except ValueError as error:
            if self.kind.options and "has no meaning for" in str(error):
                return "error"  # another kind of file than the options are for
            raise
        with recording:
            if shrink:
                shrink()
            outcome = self.read_all(recording)
        with suppress(IndexError):
            try:
                recording.read(0, 1)
            except ReadError as error:
                self.check_error(error, "was closed")
            else:
                raise Fault("was read after it was closed")
        return outcome

    def read_all(self, recording: iosfast.Recording) -> str:
        self.check_facts(recording)
        self.expected.check_size(self, recording)
        if recording.nbytes > READ_WHOLE_BYTES:
            for frame in {0, len(recording) // 2, len(recording) - 1}:
                self.read(recording, frame, frame + 1)
            return "frames"
        frames, error = self.read(recording, 0, len(recording))
        self.expected.check(self, recording, frames, error)
        ahead: Any = None
        try:
            parts = list(recording.blocks(int(self.random.integers(1, 4)), threads=2))
            ahead = np.concatenate(parts)
        except ReadError as again:
            self.check_error(again)
        if not self.made.during and ((ahead is None) != (frames is None)):
            raise Fault(f"read() and blocks() differ: {error or 'frames'}")
        if ahead is not None and frames is not None and not _same(ahead, frames):
            raise Fault("blocks(threads=2) gives other pixels than read()")
        if frames is None:
            for frame in range(min(len(recording), 20)):
                one, failed = self.read(recording, frame, frame + 1)
                self.expected.check_one(self, frame, one, failed)
        if len(recording) >= 4 * max(1, len(recording.channels)):
            self.preprocess(recording, frames, error)
        return "error" if frames is None else "frames"

    def read(
        self, recording: iosfast.Recording, start: int, stop: int
    ) -> tuple[NDArray[Any] | None, ReadError | None]:
        try:
            frames = recording.read(start, stop)
        except ReadError as error:
            self.check_error(error)
            return None, error
        if frames.shape != (stop - start, *recording.shape[1:]) or frames.dtype != recording.dtype:
            raise Fault(
                f"gave {frames.shape} {frames.dtype} of {recording.shape} {recording.dtype}"
            )
        if not frames.dtype.isnative or not frames.flags.c_contiguous:
            raise Fault("gave frames that are not native or not contiguous")
        return frames, None

    def preprocess(
        self, recording: iosfast.Recording, frames: NDArray[Any] | None, failed: ReadError | None
    ) -> None:
        try:
            maps = iosfast.preprocess(
                recording,
                recipe=RECIPE,
                frame_rate_hz=50.0,
                times="frames",
                threads=2,
                channels="file" if len(recording.channels) > 1 else None,
            )
        except ReadError as error:
            self.check_error(error)
            if failed is None and not self.made.during:
                raise Fault(f"read() gives frames, but preprocess raises {error}") from error
            return
        if isinstance(maps, dict):  # of channels, whose last frames may be in no bin
            return
        if frames is None:
            if not self.made.during and len(recording) % 2 == 0:
                raise Fault(f"preprocess gives maps, but read() raises {failed}")
            return
        if frames.dtype.kind == "u" and frames.dtype.itemsize <= 2:
            pairs = [bin_mean(frames[i : i + 2]) for i in range(0, len(frames) - 1, 2)]
            if not np.array_equal(maps.binned, pairs):
                raise Fault("preprocess gives other means than those of the frames read")

    def check_facts(self, recording: iosfast.Recording) -> None:
        json.dumps(dict(recording.metadata))
        if len(recording.shape) != 3 or min(recording.shape) < 1:
            raise Fault(f"has shape {recording.shape}")
        for name in ("frame_rate_hz", "pixel_size_mm"):
            value = getattr(recording, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise Fault(f"{name} is {value}")
        if recording.start_s is not None and not math.isfinite(recording.start_s):
            raise Fault(f"start_s is {recording.start_s}")
        self.check_times("times_s", recording.times_s, len(recording))
        if len(recording) > 10_000:  # a clock that is read file by file takes its time
            return
        for clock in ("mtime", "name", "datetime"):
            try:
                times = recording.clock_s(clock)  # type: ignore[arg-type]
            except ReadError as error:
                self.check_error(error)
            else:
                self.check_times(f"clock_s({clock!r})", times, len(recording))

    def check_times(self, name: str, times: NDArray[np.float64] | None, frames: int) -> None:
        if times is None:
            return
        if times.dtype != np.float64 or times.shape != (frames,) or not np.isfinite(times).all():
            raise Fault(f"{name} is {times.dtype} {times.shape}, or not finite")

    def check_error(self, error: ReadError, what: str = "") -> None:
        if error.path is None or not error.path.startswith(str(self.folder)):
            raise Fault(f"the error names no file: {error}")
        if "\n" in str(error) or len(str(error)) > 2000:
            raise Fault(f"the error is no single line: {str(error)[:300]!r}")
        if what not in str(error):
            raise Fault(f"the error does not say {what!r}: {error}")
        if error.frame is not None and error.frame < 0:
            raise Fault(f"the error is at frame {error.frame}: {error}")

    def said(self, recording: iosfast.Recording) -> bool:
        """Whether a person was told of something unusual."""
        return bool(self.seen.warnings) and bool(recording.notes)


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Whether all bits are equal, so that NaN equals NaN."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


class _Listener(logging.Handler):
    def __init__(self, texts: list[str]) -> None:
        super().__init__()
        self.texts = texts

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(f"{record.name}: {record.getMessage()}")


@contextmanager
def _listening() -> Iterator[_Seen]:
    """Record warnings, what is logged, and exceptions of threads."""
    seen = _Seen()
    listener = _Listener(seen.logged)
    logging.getLogger().addHandler(listener)
    hook = threading.excepthook
    threading.excepthook = lambda args: seen.logged.append(f"thread died: {args.exc_value!r}")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            seen.warnings = caught  # type: ignore[assignment]
            yield seen
    finally:
        threading.excepthook = hook
        logging.getLogger().removeHandler(listener)


def write(made: Broken, folder: Path) -> None:
    for name, content in made.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for put in made.place:
        put(folder)


def _empty(folder: Path) -> None:
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry)
        else:
            os.unlink(entry)
