"""The compiled kernels against the reference: integers and float32 alike must be equal."""

from __future__ import annotations

import signal
import threading

import numpy as np
import pytest
import reference
from core_calls import THREADS, binned, dtypes, edges_of, reference_bins, seeds, shapes
from hypothesis import example, given
from hypothesis import strategies as st

from iosfast import _core

#: Several tiles of 65,536 pixels, as whole frames, as one row, as one column, and just one more.
LARGE = ((300, 701), (1, 131073), (70001, 1), (257, 257))

bin_counts = st.lists(st.integers(1, 11), min_size=1, max_size=5)


# Frames in memory


@given(shapes, dtypes, bin_counts, st.integers(0, 5), st.sampled_from(THREADS), seeds)
def test_bin_frames_is_the_rounded_mean(shape, dtype, counts, first, threads, seed):
    edges = edges_of(counts, first)
    frames = reference.sample((edges[-1] + 2, *shape), dtype, seed)
    source = _core.FrameSource.from_array(frames)
    np.testing.assert_array_equal(binned(source, edges, threads), reference_bins(frames, edges))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", LARGE)
def test_large_frames_are_binned_alike_by_any_number_of_threads(shape, dtype):
    edges = edges_of([6, 1, 2])
    frames = reference.sample((9, *shape), dtype, seed=4)
    expected = reference_bins(frames, edges)
    source = _core.FrameSource.from_array(frames)
    for threads in (0, *THREADS):
        np.testing.assert_array_equal(binned(source, edges, threads), expected)


@given(
    shapes,
    st.sampled_from(["u1", "u2", "i2", "i4", "f4", "f8"]),
    bin_counts,
    st.sampled_from(THREADS),
    seeds,
)
@example((300, 701), "u2", [3, 4], 3, 1)
@example((300, 701), "f8", [3, 4], 2, 1)
@example((1, 131073), "u1", [1], 2, 1)
@example((140001, 1), "f4", [1], 7, 1)
def test_means_are_transposed(shape, dtype, counts, threads, seed):
    edges = edges_of(counts)
    random = np.random.default_rng(seed)
    frames = random.integers(0, 100, (edges[-1], *shape)).astype(dtype)
    source = _core.FrameSource.from_array(frames)
    mean = _core.mean_dtype(frames.dtype)
    got = binned(source, edges, threads, dtype=mean, transposed=True)
    np.testing.assert_array_equal(got.swapaxes(1, 2), binned(source, edges, dtype=mean))
    sums = _core.BinAccumulator(shape, frames.dtype)
    sums.add(source, 0, counts[0])
    out = np.full(shape[::-1], 77, mean)
    sums.mean(out, True)
    np.testing.assert_array_equal(out, got[0])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 60, 61, 997, 1000])
def test_every_fraction_of_a_mean_is_rounded_half_up(count):
    levels = np.array([0, 1, 2, 127, 128, 32767, 32768, 65534])
    above = np.arange(count + 1)  # so many frames lie one above the level
    frames = np.arange(count)[:, np.newaxis, np.newaxis] < above
    frames = (frames + levels[:, np.newaxis]).astype(np.uint16)
    exact = (2 * (levels[:, np.newaxis] * count + above) + count) // (2 * count)
    source = _core.FrameSource.from_array(frames)
    np.testing.assert_array_equal(binned(source, edges_of([count]))[0], exact)


@pytest.mark.parametrize("less", [0, 1, 32768, 32769, 65537])
def test_the_longest_bin_is_exact_at_full_scale(less):
    count = _core.MAX_FRAMES_PER_BIN
    assert count * 65535 == 2**32 - 1
    frames = np.full((count, 1, 2), 65535, np.uint16)
    frames[:less, 0, 1] -= 1
    exact = [(2 * s + count) // (2 * count) for s in frames.sum(axis=0, dtype=np.int64)[0].tolist()]
    source = _core.FrameSource.from_array(frames)
    assert binned(source, edges_of([count])).ravel().tolist() == exact
    sums = _core.BinAccumulator((1, 2), np.dtype("u2"))
    out = np.empty((1, 2), np.uint16)
    for start in range(0, count, 20000):
        sums.add(source, start, min(start + 20000, count))
    assert sums.frames == count
    sums.mean(out)
    assert out.ravel().tolist() == exact


def test_one_frame_more_than_the_longest_bin_is_an_error():
    count = _core.MAX_FRAMES_PER_BIN + 1
    source = _core.FrameSource.from_array(np.full((count, 1, 1), 65535, np.uint16))
    with pytest.raises(ValueError, match="65538"):
        binned(source, edges_of([count]))
    sums = _core.BinAccumulator((1, 1), np.dtype("u2"))
    with pytest.raises(ValueError, match="65538"):
        sums.add(source, 0, count)
    sums.add(source, 0, count - 1)
    with pytest.raises(ValueError, match="65538"):
        sums.add(source, 0, 1)
    out = np.empty((1, 1), np.uint16)
    sums.mean(out)
    assert out[0, 0] == 65535


# Progress and interruption


@pytest.fixture
def endless(files):
    """Frames that are all one in a small file, so many that binning them takes a while."""
    path = files(b"\1" * 2 * 256 * 256)
    segments = np.array([[0, 0, 0, 400_000]], np.int64)
    return _core.FrameSource([path], segments, (256, 256), np.dtype("<u2"))


@pytest.mark.parametrize("threads", THREADS)
def test_progress_counts_up_to_all_frames(threads):
    source = _core.FrameSource.from_array(reference.sample((50, 30, 30), np.uint16, 0))
    seen = []
    binned(source, edges_of([10, 20, 15], first=3), threads, seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 45


class Stopped(Exception):
    """Raised by a progress callback."""


@pytest.mark.parametrize("error", [Stopped, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_in_progress_stops_the_work(endless, error, threads):
    def stop(done):
        raise error

    out = np.zeros((1000, 256, 256), np.uint16)
    with pytest.raises(error):
        _core.bin_frames(endless, edges_of([400] * 1000), out, threads, stop)
    assert not out[-1].any()  # it was not worked through to the end


def test_an_interrupt_from_the_keyboard_stops_the_work(endless):
    timer = threading.Timer(0.1, signal.raise_signal, [signal.SIGINT])
    out = np.zeros((1000, 256, 256), np.uint16)
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 (the join is for a machine too fast)
        timer.start()
        _core.bin_frames(endless, edges_of([400] * 1000), out, 2)
        timer.join()
    assert not out[-1].any()


# Smoothing


@given(
    st.integers(1, 3),
    shapes,
    st.integers(0, 15).map(lambda r: 2 * r + 1),
    st.sampled_from(["zero", "inside"]),
    st.booleans(),
    st.sampled_from(THREADS),
    seeds,
)
@example(1, (40, 300), 255, "zero", False, 1, 2)
@example(1, (40, 300), 255, "inside", True, 1, 0)
@example(2, (261, 258), 255, "zero", True, 1, 2)
@example(1, (3, 5), 255, "inside", False, 1, 2)
def test_box_mean(count, shape, size, border, rounded, threads, seed):
    images = reference.sample((count, *shape), np.uint16, seed)
    got = np.full(images.shape, 7, np.float32)
    _core.box_mean(images, size, _core.Border.__members__[border], rounded, got, threads)
    expected = [reference.box_mean(image, size, border, rounded) for image in images]
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("size", [0, 2, 20, 254, 256, 257, 2**40 + 1])
def test_a_box_has_a_middle_and_a_sum_that_fits(size):
    images = np.ones((1, 3, 3), np.uint16)
    with pytest.raises(ValueError, match="odd and at most 255"):
        _core.box_mean(images, size, _core.Border.zero, False, np.empty(images.shape, np.float32))


# Change and colour

COLORS = np.random.default_rng(1).integers(0, 256, (257, 3), np.uint8)


def change_maps(earlier, later, kind, limits=None, mask=None, threads=1, colors=COLORS):
    change = np.full(later.shape, 7, np.float32)
    rgb = np.full((*later.shape, 3), 7, np.uint8)
    kind = _core.Change.__members__[kind]
    undefined = _core.change_maps(earlier, later, kind, limits, colors, mask, change, rgb, threads)
    return change, rgb, undefined


def reference_maps(earlier, later, kind, limits, mask):
    change, rgb, undefined = [], [], []
    for a, b in zip(np.broadcast_to(earlier, later.shape), later, strict=True):
        values = reference.change_of(kind, a, b)
        if limits is None:
            entries, defined = reference.entries_per_map(values)
        else:
            entries, defined = reference.entries_fixed(values, *limits), True
        if mask is not None:
            entries[mask == 0] = 256
        change.append(values.astype(np.float32))
        rgb.append(COLORS[entries])
        undefined.append(not defined)
    return np.array(change), np.array(rgb), np.array(undefined, np.uint8)


smoothed_levels = {
    "many": lambda random, shape: random.uniform(0, 65535, shape),
    "whole": lambda random, shape: random.integers(0, 65535, shape, endpoint=True),
    "zeros": lambda random, shape: random.integers(0, 2, shape),
    "close": lambda random, shape: 30000 + random.integers(0, 3, shape),
    "nearly equal": lambda random, shape: 30000 + random.integers(0, 200, shape) / 512,
    "none": lambda random, shape: np.zeros(shape),
    "one zero over": lambda random, shape: np.append(np.ones(np.prod(shape) - 1), 0).reshape(shape),
}
levels = st.sampled_from(sorted(smoothed_levels))


@given(
    st.integers(1, 3),
    st.one_of(shapes, st.sampled_from([(1, 1023), (32, 32), (5, 205), (1, 2049), (7, 1)])),
    st.booleans(),
    levels,
    levels,
    st.sampled_from(["ratio", "difference", "dff"]),
    st.sampled_from([None, (0.99, 1.01), (-0.5, 0.25), (-1000.0, 1000.0), (0.0, 65535.0)]),
    st.booleans(),
    st.sampled_from(THREADS),
    seeds,
)
@example(1, (2, 3), True, "none", "none", "ratio", None, False, 1, 0)
@example(1, (2, 3), True, "none", "none", "dff", (-1.0, 1.0), True, 1, 0)
@example(1, (2, 3), True, "one zero over", "many", "ratio", None, True, 1, 0)
@example(3, (2, 3), True, "whole", "none", "difference", None, False, 1, 0)
@example(1, (90, 90), True, "nearly equal", "nearly equal", "dff", None, False, 1, 0)
@example(3, (300, 400), False, "many", "many", "dff", None, True, 7, 0)
def test_change_maps(count, shape, shared, before, after, kind, limits, masked, threads, seed):
    random = np.random.default_rng(seed)
    first = smoothed_levels[before](random, (1 if shared else count, *shape)).astype(np.float32)
    kinds = [after, before, after][:count]
    later = np.array([smoothed_levels[k](random, shape) for k in kinds], np.float32)
    mask = random.integers(0, 3, shape, np.uint8) if masked else None
    got = change_maps(first, later, kind, limits, mask, threads)
    for one, expected in zip(got, reference_maps(first, later, kind, limits, mask), strict=True):
        assert one.dtype == expected.dtype
        np.testing.assert_array_equal(one, expected)


@pytest.mark.parametrize("limits", [None, (0.0, 65535.0), (0.0, 255.0)])
def test_every_entry_of_a_scale(limits):
    """All N, and all halves between them and between entries, by exact arithmetic."""
    assert len(np.unique(COLORS, axis=0)) == 257
    steps = np.arange(0, 2 * 65535 + 1)
    later = (steps / 2).astype(np.float32)[np.newaxis, np.newaxis]
    if limits is None:
        entries = ((steps + 1) // 2 * 2 * 255 + 65535) // (2 * 65535)
    else:
        top = int(limits[1])
        entries = (np.minimum(steps, 2 * top) * 255 + top) // (2 * top)
    _, rgb, _ = change_maps(np.zeros_like(later), later, "difference", limits)
    np.testing.assert_array_equal(rgb[0, 0], COLORS[entries])


@pytest.mark.parametrize("place", range(11))
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_no_number_anywhere(place, value):
    earlier = np.zeros((1, 1, 11), np.float32)
    later = np.arange(11, dtype=np.float32)[np.newaxis, np.newaxis].copy()
    later[0, 0, place] = value
    for limits in (None, (2.0, 8.0)):
        got = change_maps(earlier, later, "difference", limits)
        expected = reference_maps(earlier, later, "difference", limits, None)
        for one, other in zip(got, expected, strict=True):
            np.testing.assert_array_equal(one, other)
