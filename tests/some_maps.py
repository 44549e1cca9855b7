"""A small recording, its maps, and how to compare maps in memory and on disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from recordings import some_frames

from iosfast import Recipe, preprocess

LAYOUTS = ("stack", "published")
STACKS = ("binned", "change", "rgb")
FRAMES = some_frames((60, 21, 34))
MASK = np.random.default_rng(5).random((21, 34)) > 0.3
START = "2023-09-22 23:59:57"
OPTIONS = {
    "recipe": Recipe(bin_seconds=1.0, interval_bins=2, smoothing_px=3),
    "frame_rate_hz": 4.0,
    "pixel_size_mm": 0.02,
    "start_time": START,
}


def run(out=None, frames=FRAMES, **options):
    return preprocess(frames, out=out, **{**OPTIONS, **options})


def same_maps(got, expected):
    for name in STACKS:
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name), name)
        assert getattr(got, name).dtype == getattr(expected, name).dtype
    for name in ("times_s", "bin_times_s", "bin_frames"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name), name)
        assert getattr(got, name).dtype == getattr(expected, name).dtype
    for name in ("recipe", "frame_rate_hz", "pixel_size_mm", "start_s", "source", "notes"):
        assert getattr(got, name) == getattr(expected, name), name
    assert (got.mask is None) == (expected.mask is None)
    if got.mask is not None:
        np.testing.assert_array_equal(got.mask, expected.mask)


def files_in(folder):
    """Bytes of all files in a folder, by name."""
    paths = sorted(p for p in Path(folder).rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths}


def written_bytes(folder, layout):
    """What the folder of a complete run holds."""
    out = folder / "reference"
    run(out, layout=layout)
    held = files_in(out)
    shutil.rmtree(out)
    return held
