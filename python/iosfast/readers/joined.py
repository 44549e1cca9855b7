"""Several recordings, one after the other, as one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ReadError
from .recording import ClockName, Recording


class JoinedRecording(Recording):
    """Recordings of one frame shape and dtype, in the order given."""

    def __init__(
        self, parts: Sequence[Recording], where: Path | None = None, notes: tuple[str, ...] = ()
    ) -> None:
        first = parts[0]
        frame = 0
        for part in parts:
            if part.shape[1:] != first.shape[1:] or part.dtype != first.dtype:
                raise ReadError(
                    f"has frames of {part.shape[1]} x {part.shape[2]} {part.dtype}, but "
                    f"{first.source} has {first.shape[1]} x {first.shape[2]} {first.dtype}",
                    part.source,
                    frame,
                )
            if part.channels != first.channels or len(part) % max(1, len(first.channels)):
                raise ReadError(
                    f"holds {len(part):,} frames of the channels {_told(part)}, which cannot "
                    f"follow those of {first.source} ({_told(first)})",
                    part.source,
                    frame,
                )
            frame += len(part)
        source = str(where) if where is not None else f"{first.source} and {len(parts) - 1} more"
        super().__init__(
            source=source,
            shape=(frame, *first.shape[1:]),
            dtype=first.dtype,
            frame_rate_hz=_common(parts, "frame_rate_hz"),
            pixel_size_mm=_common(parts, "pixel_size_mm"),
            start_s=first.start_s,
            metadata={**first.metadata, "files": len(parts)},
            channels=first.channels,
            notes=notes + tuple(note for part in parts for note in part.notes),
        )
        self._parts = tuple(parts)
        self._firsts = np.cumsum([0] + [len(part) for part in parts])
        layouts = [part.layout for part in parts]
        told = [layout for layout in layouts if layout is not None]
        if len(told) == len(parts) and len({(x.dtype, x.row_bytes) for x in told}) == 1:
            self._lay_out(told[0]._replace(runs=tuple(run for x in told for run in x.runs)))

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        if self._core_source is not None:
            return self._core_source.read(start, stop)
        out = np.empty((stop - start, *self.shape[1:]), self.dtype)
        for part, first in zip(self._parts, self._firsts[:-1].tolist(), strict=True):
            begin, end = max(start, first), min(stop, first + len(part))
            if begin < end:
                out[begin - start : end - start] = part.read(begin - first, end - first)
        return out

    @property
    def times_s(self) -> NDArray[np.float64] | None:
        """Time stamps, if all parts have them and they go on from one part to the next.

        Where they start anew in each part, nothing tells the time between two parts.
        """
        times = [part.times_s for part in self._parts]
        told = [t for t in times if t is not None]
        if len(told) < len(times):
            return None
        joined = np.concatenate(told)
        joints = self._firsts[1:-1]
        return joined if bool((joined[joints] > joined[joints - 1]).all()) else None

    @property
    def chunk_frames(self) -> int:
        """Frames that are stored together in one of the parts."""
        return max(part.chunk_frames for part in self._parts)

    def clock_s(self, clock: ClockName) -> NDArray[np.float64]:
        """Return the times of all parts, in their order."""
        return np.concatenate([part.clock_s(clock) for part in self._parts])

    def close(self) -> None:
        """Close all parts."""
        self._core_source = None
        for part in self._parts:
            part.close()


def _told(recording: Recording) -> str:
    return ", ".join(recording.channels) or "none"


def _common(parts: Sequence[Recording], name: str) -> float | None:
    """Return what those parts that tell agree on."""
    told = [(part, value) for part in parts if (value := getattr(part, name)) is not None]
    for part, value in told[1:]:
        if not math.isclose(value, told[0][1], rel_tol=1e-6):
            raise ReadError(
                f"has {name} {value:g}, but {told[0][0].source} has {told[0][1]:g}", part.source
            )
    return None if not told else float(told[0][1])
