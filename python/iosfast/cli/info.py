"""``iosfast info``: what a recording holds."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .source import add_source, reading, source

if TYPE_CHECKING:
    from ..readers import Recording


def add_to(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("info", help="tell what a recording holds")
    add_source(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from ..readers import open_recording

    with open_recording(source(options), **reading(options)) as recording:
        t, y, x = recording.shape
        rate, size = recording.frame_rate_hz, recording.pixel_size_mm
        rows = {
            "source": recording.source,
            **{name: str(value) for name, value in recording.metadata.items()},
            "frames": f"{t:,}",
            "frame (Y, X)": f"{y} x {x}",
            "pixels": str(recording.dtype),
            "size": f"{recording.nbytes / 1e9:.3f} GB",
            "frame rate": "not told by the file" if rate is None else f"{rate:g} Hz",
            "duration": "unknown" if rate is None else f"{t / rate:.1f} s",
            "pixel size": "not told by the file" if size is None else f"{size:g} mm",
            "begin": _date(recording.start_s),
            "time stamps": _time_stamps(recording),
            "channels": ", ".join(recording.channels) or "one",
            "read by": "decoding" if recording.frame_source is None else "byte ranges (fast)",
        }
        for name, value in rows.items():
            print(f"{name + ':':14} {value}")
        for note in recording.notes:
            print(f"note: {note}")


def _time_stamps(recording: Recording) -> str:
    from ..readers.frame_times import FrameTimes

    times_s = recording.times_s
    if times_s is None:
        return "none"
    found = FrameTimes.of(times_s, recording.frame_rate_hz)
    if found is None:
        return f"{times_s[-1] - times_s[0]:g} s from first to last, at no steady rate"
    return f"{1 / found.interval_s:.6g} Hz; {found.report() or 'no frame is missing'}"


def _date(start_s: float | None) -> str:
    if start_s is None:
        return "not told by the file"
    return datetime.fromtimestamp(start_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
