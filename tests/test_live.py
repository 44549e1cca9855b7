"""Frames as they arrive: the maps are those of the whole recording, to the bit."""

from __future__ import annotations

import itertools
import math
import warnings
from contextlib import contextmanager

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

import iosfast
from iosfast import IosfastWarning, Preprocessor, Recipe

SHAPE = (6, 9)
RECIPES = {
    "default": Recipe(smoothing_px=5),
    "kept": Recipe(smoothing_px=5, partial_bin="keep", interval_bins=2, change="ratio"),
    "published": Recipe.published(interval_bins=3),
    "every bin": Recipe(interval_bins=1, change="difference", scale="per_map"),
    "baseline": Recipe(interval_bins=2, baseline_bins=5, smoothing_px=3),
    "long baseline": Recipe(interval_bins=4, baseline_bins=1, partial_bin="keep"),
}
#: Bins by length, count and frame rate, also such that a bin is no whole number of frames.
LENGTHS = [
    (1.0, None, 3.0),
    (1.0, None, 2.5),
    (0.1, None, 29.97),
    (0.1, None, 60.0),
    (1 / 3, None, 10.0),
    (1.3, None, 3.0),
    (1.0, 1, 60.0),
    (1.0, 4, 7.0),
]
cuts = st.lists(st.integers(0, 100), max_size=12)
seeds = st.integers(0, 2**32)


@contextmanager
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IosfastWarning)
        yield


def chunks(frames, times_s, cuts):
    """The recording in pieces, which may be empty, with their times."""
    edges = [*sorted({0, *(min(c, len(frames)) for c in cuts)}), len(frames), len(frames)]
    for a, b in itertools.pairwise(edges):
        yield frames[a:b], None if times_s is None else times_s[a:b]


def live_maps(live, frames, times_s, cuts):
    maps = []
    for block, block_times in chunks(frames, times_s, cuts):
        maps += live.push(block) if block_times is None else live.push(block, block_times)
    return maps + live.flush()


def check(frames, recipe, rate_hz, times_s, cuts, threads=0, mask=None):
    """Compare with the whole recording, and that with the reference."""
    live = Preprocessor(SHAPE, recipe=recipe, frame_rate_hz=rate_hz, mask=mask, threads=threads)
    expected = reference.preprocess(
        frames, recipe.to_dict(), rate_hz=rate_hz, times_s=times_s, mask=mask
    )
    with quiet():
        maps = live_maps(live, frames, times_s, cuts)
        if not len(expected.times_s):
            assert maps == []
            with pytest.raises(ValueError, match=r"too few for a map|less than one bin"):
                iosfast.preprocess(frames, recipe=recipe, frame_rate_hz=rate_hz, times=times_s)
            return
        whole = iosfast.preprocess(
            frames, recipe=recipe, frame_rate_hz=rate_hz, times=times_s, mask=mask
        )
    assert [m.index for m in maps] == list(range(len(whole)))
    assert [m.time_s for m in maps] == whole.times_s.tolist() == expected.times_s.tolist()
    for m in maps:
        assert (m.change.dtype, m.rgb.dtype) == (np.float32, np.uint8)
        np.testing.assert_array_equal(m.change.view(np.uint32), whole.change[m.index].view("u4"))
        np.testing.assert_array_equal(m.rgb, whole.rgb[m.index])
        np.testing.assert_array_equal(m.change, expected.change[m.index])
        np.testing.assert_array_equal(m.rgb, expected.rgb[m.index])
    partial = [note for note in live.notes if "partial_bin" in note]
    assert partial == [note for note in whole.notes if "partial_bin" in note]
    assert len(partial) == bool(expected.partial)
    undefined = [note for note in live.notes if "without a colour scale" in note]
    assert len(undefined) == len(expected.undefined)


@pytest.mark.parametrize("recipe", RECIPES)
@given(st.sampled_from(LENGTHS), st.integers(1, 90), cuts, st.sampled_from([1, 2, 5]), seeds)
def test_by_count(recipe, length, count, cuts, threads, seed):
    bin_seconds, bin_frames, rate_hz = length
    options = {**RECIPES[recipe].to_dict(), "bin_seconds": bin_seconds, "bin_frames": bin_frames}
    frames = reference.sample((count, *SHAPE), np.uint16, seed)
    check(frames, Recipe.from_dict(options), rate_hz, None, cuts, threads)


@pytest.mark.parametrize("recipe", RECIPES)
@given(
    st.lists(st.sampled_from([0, 1, 17, 250, 500, 1000, 2500]), min_size=1, max_size=90),
    st.sampled_from([0, -3250, 1_695_427_195_000]),
    st.sampled_from([1.0, 0.5, 2.0, 1 / 3]),
    st.none() | st.sampled_from([3.0, 60.0]),
    cuts,
    seeds,
)
def test_by_times(recipe, steps_ms, origin_ms, bin_seconds, rate_hz, cuts, seed):
    times_s = (origin_ms + np.cumsum(steps_ms)) / 1000
    frames = reference.sample((len(times_s), *SHAPE), np.uint8, seed)
    check(frames, RECIPES[recipe].replaced(bin_seconds=bin_seconds), rate_hz, times_s, cuts)


@pytest.mark.parametrize("layout", reference.LAYOUTS)
def test_layouts_and_a_mask(layout):
    frames = reference.sample((20, *SHAPE), np.uint16, seed=0)
    mask = np.arange(54).reshape(SHAPE) % 4 > 0
    moved = reference.LAYOUTS[layout](frames)
    check(moved, RECIPES["published"], 2.0, None, [1, 2, 3, 9], mask=mask)
    np.testing.assert_array_equal(moved, frames)


def test_single_frames_and_maps_that_stay():
    """A frame without a time axis is one frame; maps handed out are not written again."""
    frames = reference.sample((40, *SHAPE), np.uint16, seed=0)
    live = Preprocessor(SHAPE, recipe=Recipe(interval_bins=1, bin_frames=4), frame_rate_hz=4)
    maps, kept = [], []
    for i, frame in enumerate(frames):
        new = live.push(frame)
        assert len(new) == (i % 4 == 3 and i > 4)
        kept += [(m.change.copy(), m.rgb.copy()) for m in new]
        maps += new
        frame[...] = 0  # what was pushed may be used again
    assert live.flush() == []
    for m, (change, rgb) in zip(maps, kept, strict=True):
        np.testing.assert_array_equal(m.change, change)
        np.testing.assert_array_equal(m.rgb, rgb)
    timed = Preprocessor(SHAPE, recipe=Recipe(interval_bins=1))
    assert timed.push(frames[0], 0.0) == []
    assert timed.push(frames[1], [1.5]) == []
    (m,) = timed.push(frames[2], np.float32(3.0))
    assert (m.index, m.time_s) == (0, 1.0)


def test_flush():
    frames = reference.sample((30, *SHAPE), np.uint16, seed=0)
    live = Preprocessor(SHAPE, frame_rate_hz=1)
    assert live.flush() == []
    assert live.notes == []
    with pytest.raises(ValueError, match="after flush"):
        live.push(frames)
    for partial, count in (("drop", 0), ("keep", 1)):
        recipe = Recipe(interval_bins=1, partial_bin=partial)
        live = Preprocessor(SHAPE, recipe=recipe, frame_rate_hz=4)
        live.push(frames[:6])
        assert len(live.flush()) == count
        assert live.flush() == []  # nothing is handed out or told twice
        assert len(live.notes) == 1
        assert "2 frames" in live.notes[0]


def test_maps_of_nothing_are_told_to_the_caller():
    recipe = Recipe.published(interval_bins=1, smoothing_px=1, smoothing_first_px=1)
    live = Preprocessor(SHAPE, recipe=recipe, frame_rate_hz=2)
    dark = np.zeros((4, *SHAPE), np.uint16)
    with pytest.warns(IosfastWarning, match="map 0;") as warned:
        live.push(dark)
    assert [w.filename for w in warned] == [__file__]
    live.push(dark[:1])
    with pytest.warns(IosfastWarning, match="map 1;") as warned:
        live.flush()
    assert [w.filename for w in warned] == [__file__]
    assert sum("without a colour scale" in note for note in live.notes) == 2


FRAMES = np.ones((5, *SHAPE), np.uint16)


@pytest.mark.parametrize(
    ("frames", "error", "match"),
    [
        (FRAMES.tolist(), TypeError, "array"),
        (None, TypeError, "array"),
        *[
            (FRAMES.astype(dtype), TypeError, "one of uint8, uint16")
            for dtype in ("?", "i1", "u8", "f2", "O")
        ],
        (FRAMES[:, :, :8], ValueError, r"\(n, 6, 9\), not \(5, 6, 8\)"),
        (FRAMES.transpose(0, 2, 1), ValueError, r"\(n, 6, 9\)"),
        (FRAMES[np.newaxis], ValueError, r"\(n, 6, 9\)"),
        (FRAMES[0, 0], ValueError, r"\(n, 6, 9\)"),
        (FRAMES[:, :0], ValueError, r"\(n, 6, 9\)"),
    ],
)
def test_frames_that_do_not_fit_leave_no_trace(frames, error, match):
    live = Preprocessor(SHAPE, recipe=Recipe(interval_bins=1), frame_rate_hz=5)
    with pytest.raises(error, match=match):
        live.push(frames)
    assert live.push(FRAMES) == []
    (m,) = live.push(FRAMES)
    assert (m.index, m.time_s) == (0, 1.0)


@pytest.mark.parametrize(
    ("times_s", "error", "match"),
    [
        ([0, 1, 2, 3], ValueError, r"\(5,\), not \(4,\)"),
        (0.0, ValueError, r"\(5,\)"),
        (np.zeros((5, 1)), ValueError, r"\(5,\)"),
        (["a"] * 5, TypeError, "numbers"),
        ([0, 1, math.nan, 3, 4], ValueError, "frame 2"),
        ([5, 6, 8, 7, 9], ValueError, "must not decrease"),
        ([0, 1, 2, 3, 4], ValueError, r"before the frame pushed last \(4.5 s\)"),
        ([1e12] * 5, ValueError, "milliseconds"),
        (None, ValueError, "either with every block"),
    ],
)
def test_times_that_do_not_fit_leave_no_trace(times_s, error, match):
    live = Preprocessor(SHAPE, recipe=Recipe(interval_bins=1))
    live.push(FRAMES[:1], [4.5])
    with pytest.raises(error, match=match):
        live.push(FRAMES, times_s)
    (m,) = live.push(FRAMES, [4.5, 5, 5, 5, 7])
    assert (m.index, m.time_s) == (0, 1.0)


def test_times_come_with_every_push_or_with_none():
    live = Preprocessor(SHAPE, frame_rate_hz=5)
    live.push(FRAMES)
    with pytest.raises(ValueError, match="either with every block"):
        live.push(FRAMES, np.arange(5))
    with pytest.raises(ValueError, match="frame_rate_hz, or push times_s"):
        Preprocessor(SHAPE).push(FRAMES)
    with pytest.raises(ValueError, match="bin_frames counts frames"):
        Preprocessor(SHAPE, recipe=Recipe(bin_frames=3)).push(FRAMES, np.arange(5))
    with pytest.raises(
        ValueError, match=r"shorter than one frame at 0\.5 Hz; use longer bins, or bin_frames=1"
    ):
        Preprocessor(SHAPE, frame_rate_hz=0.5).push(FRAMES)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        *[({"shape": v}, TypeError, "shape") for v in (5, None, (2.0, 3), ("6", "9"), (True, 9))],
        *[({"shape": v}, ValueError, "shape") for v in ((0, 3), (3, -1), (5,), (1, 2, 3))],
        ({"recipe": "best"}, ValueError, "recipe"),
        ({"recipe": Recipe(colormap="nonesuch")}, ValueError, "nonesuch"),
        ({"frame_rate_hz": 0}, ValueError, "frame_rate_hz"),
        ({"frame_rate_hz": "60"}, TypeError, "frame_rate_hz"),
        ({"threads": -1}, ValueError, "threads"),
        ({"threads": 1.0}, TypeError, "threads"),
        ({"mask": np.ones((9, 6))}, ValueError, "mask"),
        ({"mask": np.zeros(SHAPE)}, ValueError, "mask is empty"),
    ],
)
def test_arguments_that_make_no_sense(arguments, error, match):
    with pytest.raises(error, match=match):
        Preprocessor(**{"shape": SHAPE, **arguments})


def test_a_bin_may_hold_too_many_frames():
    live = Preprocessor((1, 1), recipe=Recipe(interval_bins=1))
    live.push(np.full((65537, 1, 1), 65535, np.uint16), np.zeros(65537))
    with pytest.raises(ValueError, match="65538"):
        live.push(np.ones((1, 1, 1), np.uint16), [0.5])
    with pytest.raises(ValueError, match=r"65,538|65538"):
        Preprocessor((1, 1), recipe=Recipe(bin_seconds=65538), frame_rate_hz=1).push(
            np.ones((1, 1, 1), np.uint16)
        )
