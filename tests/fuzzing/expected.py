"""Which frames a broken recording may still give, told from its bytes and not by iosfast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import iosfast
from iosfast import ReadError

from .kind import Kind, Seed
from .mutations import Broken

if TYPE_CHECKING:
    from .judge import _Trial


class Fault(Exception):
    """What iosfast must not do."""


@dataclass
class Expected:
    """What must hold of the frames.

    Attributes
    ----------
    rule : str
        "same": only pixels were changed, if anything; frames that were not touched are as before,
        and uncompressed ones are as the file has them. "prefix": files were cut; whole frames
        from the begin. "some": files of several frames were cut; frames in their order.
        "begin": bytes were added; the first frames are as before. "any": plausible frames.
    frames : ndarray, shape (T, Y, X)
    touched : set of int
        Frames whose compressed bytes were changed, which may be anything.
    uncompressed : bool
    """

    rule: str
    frames: NDArray[Any]
    touched: set[int]
    uncompressed: bool
    counted: bool

    @classmethod
    def of(cls, kind: Kind, made: Broken) -> Expected:
        seed = kind.seed
        plain = bool(seed.pieces) and seed.pieces[0].row is not None
        rule = _rule(kind, seed, made)
        frames, touched = seed.frames, set()
        if rule == "same" and made.files != seed.files:
            if plain:
                frames = _as_stored(seed, made)
            else:
                touched = _touched(seed, made)
        return cls(rule, frames, touched, plain, kind.counted)

    @property
    def opens(self) -> bool:
        return self.rule == "same"

    def check_size(self, trial: _Trial, recording: iosfast.Recording) -> None:
        """Uncompressed pixels cannot be more than the files hold."""
        there = sum(len(data) for data in trial.made.files.values())
        _, y, x = recording.shape
        frame_bytes = y * x * recording.dtype.itemsize
        if recording.frame_source is not None and frame_bytes > there:
            raise Fault(f"{recording.shape} {recording.dtype} in files of {there} bytes")
        if self.rule == "same" and recording.shape != self.frames.shape:
            raise Fault(f"has shape {recording.shape}, not {self.frames.shape}")

    def check(
        self,
        trial: _Trial,
        recording: iosfast.Recording,
        frames: NDArray[Any] | None,
        error: ReadError | None,
    ) -> None:
        """Judge all frames that were read at once."""
        shrinks = trial.made.during == "shrinks"
        if frames is None:
            if self.rule == "same" and not self.touched and not shrinks:
                raise Fault(f"no frame was touched, but they cannot be read: {error}")
            # A compressed chunk does not tell its length before it is decoded.
            if self.rule in ("prefix", "some", "begin") and self.uncompressed and not shrinks:
                raise Fault(f"opens, but cannot be read: {error}")
            return
        if self.rule == "any":
            if recording.frame_source is not None and not shrinks:
                _check_windows(trial.made, frames)
            return
        if frames.shape[1:] != self.frames.shape[1:] or frames.dtype != self._native:
            raise Fault(f"gave {frames.shape} {frames.dtype} of {self.frames.shape}")
        if self.rule == "same":
            for frame in set(range(len(self.frames))) - self.touched:
                self._equal(frames, frame, frame)
        elif self.rule == "begin":
            for frame in range(min(len(frames), len(self.frames))):
                self._equal(frames, frame, frame)
            if len(frames) < len(self.frames):
                raise Fault(f"{len(frames)} frames, though bytes were only added")
        else:
            self._check_cut(trial, recording, frames)

    def check_one(
        self, trial: _Trial, frame: int, one: NDArray[Any] | None, error: ReadError | None
    ) -> None:
        """Judge a frame that was read alone, as all together could not be."""
        if self.rule != "same" or frame in self.touched:
            return
        if one is not None:
            self._equal(one, 0, frame)
        elif trial.made.during != "shrinks":
            raise Fault(f"frame {frame} was not touched, but cannot be read: {error}")

    def _check_cut(self, trial: _Trial, recording: iosfast.Recording, frames: NDArray[Any]) -> None:
        at = 0
        for i in range(len(frames)):
            frame = i
            if self.rule == "some":
                same = [
                    k for k in range(at, len(self.frames)) if np.array_equal(frames[i], self._of(k))
                ]
                if not same:
                    raise Fault(f"frame {i} of the cut files is none of those before, in order")
                frame = same[0]
            elif i >= len(self.frames):
                raise Fault(f"{len(frames)} frames of a cut file that had {len(self.frames)}")
            self._equal(frames, i, frame)
            at = frame + 1
        if len(frames) < len(self.frames) and self.counted:
            if not trial.allow:
                raise Fault(f"{len(frames)} of {len(self.frames)} frames without an error")
            if not trial.said(recording):
                raise Fault(f"{len(frames)} of {len(self.frames)} frames without a warning")

    def _of(self, frame: int) -> NDArray[Any]:
        return self.frames[frame].astype(self._native)

    @property
    def _native(self) -> np.dtype[Any]:
        return self.frames.dtype.newbyteorder("=")

    def _equal(self, frames: NDArray[Any], at: int, frame: int) -> None:
        if frames[at].tobytes() != self._of(frame).tobytes():
            bad = np.argwhere(frames[at] != self._of(frame))
            where = (
                "" if not len(bad) else f", first at {tuple(bad[0].tolist())}, {len(bad)} in all"
            )
            raise Fault(f"wrong pixels in frame {frame}{where}")


def _rule(kind: Kind, seed: Seed, made: Broken) -> str:
    """Tell by the bytes themselves what was done; several changes at once tell less."""
    if made.place or made.files.keys() != seed.files.keys() or made.source != seed.source:
        return "any"
    pairs = [(made.files[name], seed.files[name], name) for name in seed.files]
    if all(len(now) == len(then) for now, then, _ in pairs):
        for now, then, name in pairs:
            changed = np.frombuffer(now, "u1") != np.frombuffer(then, "u1")
            if (changed & ~seed.pixels[name]).any():
                return "any"
        return "same"
    if all(then.startswith(now) for now, then, _ in pairs):
        return "some" if kind.separate or len(pairs) > 1 else "prefix"
    if all(now.startswith(then) for now, then, _ in pairs) and len(pairs) == 1:
        return "begin"
    return "any"


def _as_stored(seed: Seed, made: Broken) -> NDArray[Any]:
    """Read every row where the original has it."""
    first = seed.pieces[0]
    raw = seed.files[first.file][first.begin : first.end]
    native = seed.frames.dtype.newbyteorder("=")
    order = "<" if raw == seed.frames[0, 0].astype(native.newbyteorder("<")).tobytes() else ">"
    frames = seed.frames.astype(native)
    for piece in seed.pieces:
        raw = made.files[piece.file][piece.begin : piece.end]
        frames[piece.frame, piece.row] = np.frombuffer(raw, native.newbyteorder(order))
    return frames


def _touched(seed: Seed, made: Broken) -> set[int]:
    return {
        piece.frame
        for piece in seed.pieces
        if made.files[piece.file][piece.begin : piece.end]
        != seed.files[piece.file][piece.begin : piece.end]
    }


def _check_windows(made: Broken, frames: NDArray[Any]) -> None:
    """Pixels that lie uncompressed in files must be bytes of them."""
    contents = list(made.files.values())
    for number, frame in enumerate(frames[:20]):
        stored = [frame.astype(frame.dtype.newbyteorder(order)) for order in "<>"]
        if any(f.tobytes() in data for f in stored for data in contents):
            continue
        for f in stored:
            if all(any(row.tobytes() in data for data in contents) for row in f):
                break
        else:
            raise Fault(f"frame {number} holds pixels that no file has")
