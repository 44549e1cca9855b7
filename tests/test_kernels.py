"""The compiled kernels against the reference: integers and float32 alike must be equal."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import threading

import numpy as np
import pytest
import reference
from hypothesis import example, given
from hypothesis import strategies as st

from iosfast import ReadError, _core

THREADS = (1, 2, 3, 7)
#: Several tiles of 65,536 pixels, as whole frames, as one row, as one column, and just one more.
LARGE = ((300, 701), (1, 131073), (70001, 1), (257, 257))

sides = st.integers(1, 24)
shapes = st.tuples(sides, sides)
seeds = st.integers(0, 2**32)
dtypes = st.sampled_from([np.uint8, np.uint16])
bin_counts = st.lists(st.integers(1, 11), min_size=1, max_size=5)


def edges_of(counts, first=0):
    return np.cumsum([first, *counts]).astype(np.int64)


def binned(source, edges, threads=1, progress=None):
    out = np.full((len(edges) - 1, *source.shape[1:]), 12345, np.uint16)
    _core.bin_frames(source, edges, out, threads, progress)
    return out


def reference_bins(frames, edges):
    return np.array([reference.bin_mean(frames[a:b]) for a, b in itertools.pairwise(edges)])


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


@given(shapes, dtypes, st.lists(st.tuples(st.integers(0, 7), st.booleans()), max_size=8), seeds)
def test_the_accumulator_adds_any_pieces_and_starts_anew(shape, dtype, pieces, seed):
    frames = reference.sample((60, *shape), dtype, seed)
    source = _core.FrameSource.from_array(frames)
    sums = _core.BinAccumulator(shape, np.dtype("u2"))
    begin = at = 0
    for count, ends in pieces:
        sums.add(source, at, at + count, threads=2)
        at += count
        assert sums.frames == at - begin
        if ends and at > begin:
            out = np.empty(shape, np.uint16)
            sums.mean(out)
            np.testing.assert_array_equal(out, reference.bin_mean(frames[begin:at]))
            begin = at


@given(shapes, dtypes, st.lists(st.integers(1, 9), min_size=1, max_size=6), seeds)
def test_accumulators_are_merged_in_any_order(shape, dtype, counts, seed):
    frames = reference.sample((sum(counts), *shape), dtype, seed)
    source = _core.FrameSource.from_array(frames)
    parts, at = [], 0
    for count in counts:
        parts.append(_core.BinAccumulator(shape, np.dtype(dtype)))
        parts[-1].add(source, at, at + count)
        at += count
    np.random.default_rng(seed).shuffle(parts)
    whole = parts.pop()
    for part in parts:
        whole.merge(part)
        assert part.frames == 0
    assert whole.frames == len(frames)
    out = np.empty(shape, np.uint16)
    whole.mean(out)
    np.testing.assert_array_equal(out, reference.bin_mean(frames))


def test_accumulators_that_cannot_be_merged():
    def one(shape=(1, 2), dtype="u2", frames=1):
        sums = _core.BinAccumulator(shape, np.dtype(dtype))
        sums.add(_core.FrameSource.from_array(np.ones((frames, *shape), dtype)), 0, frames)
        return sums

    sums = one()
    for other in (sums, one((2, 1)), one(dtype="f4"), one(frames=_core.MAX_FRAMES_PER_BIN)):
        had = other.frames
        with pytest.raises(ValueError, match=r"of another one|whole numbers|65538"):
            sums.merge(other)
        assert (sums.frames, other.frames) == (1, had)
    with pytest.raises(ValueError, match="whole numbers"):
        one(dtype="f8").merge(one(dtype="i4"))


@pytest.mark.parametrize("threads", THREADS)
def test_the_accumulator_cuts_large_blocks_into_parts(threads):
    frames = reference.sample((30, 301, 701), np.uint16, seed=8)  # above the 8 MiB of one thread
    sums = _core.BinAccumulator((301, 701), np.dtype("u2"))
    out = np.empty((301, 701), np.uint16)
    sums.add(_core.FrameSource.from_array(frames), 1, 30, threads)
    sums.mean(out)
    np.testing.assert_array_equal(out, reference.bin_mean(frames[1:]))


def test_a_source_keeps_its_array_and_does_not_copy_it():
    frames = reference.sample((3, 40, 50), np.uint16, seed=0)
    expected = frames.copy()
    expected[1, 2, 3] ^= 1
    source = _core.FrameSource.from_array(frames)
    frames[1, 2, 3] ^= 1
    del frames
    gc.collect()
    assert (source.frames, source.shape) == (3, (3, 40, 50))
    np.testing.assert_array_equal(source.read(0, 3), expected)


# Frames in files


def scattered(frames, stored, runs, gap, offset, n_files, write):
    """Lay frames out in files, as runs with gaps; return the source and the paths."""
    frame_bytes = frames[0].size * stored.itemsize
    contents = [bytearray(b"\xa5" * offset) for _ in range(n_files)]
    segments, at = [], 0
    for i, count in enumerate(runs):
        content = contents[i * 7 % n_files]
        segments.append((i * 7 % n_files, len(content), frame_bytes + gap, count))
        for frame in frames[at : at + count]:
            content += frame.astype(stored).tobytes() + b"\x5a" * gap
        at += count
    paths = [write(bytes(content)) for content in contents]
    shape = frames.shape[1:]
    return _core.FrameSource(paths, np.array(segments, np.int64), shape, stored), paths


@given(
    shapes,
    st.sampled_from(["u1", "<u2", ">u2"]).map(np.dtype),
    st.lists(st.integers(1, 9), min_size=1, max_size=6),
    st.integers(0, 5),
    st.integers(0, 9),
    st.sampled_from([1, 2, 3, 64, 65, 71]),
    st.sampled_from(THREADS),
    seeds,
)
@example((257, 300), np.dtype(">u2"), [5, 4], 1, 3, 2, 2, 0)
@example((257, 300), np.dtype(">u2"), [5, 4], 1, 3, 65, 2, 0)
@example((257, 300), np.dtype("u1"), [5, 4], 1, 3, 65, 3, 0)
def test_frames_in_files(files, shape, stored, runs, gap, offset, n_files, threads, seed):
    native = stored.newbyteorder("=")
    frames = reference.sample((sum(runs), *shape), native, seed)
    source, _ = scattered(frames, stored, runs, gap, offset, n_files, files)
    assert source.shape == frames.shape
    got = source.read(0, len(frames))
    assert got.dtype == native
    np.testing.assert_array_equal(got, frames)
    middle = len(frames) // 2
    np.testing.assert_array_equal(source.read(middle, len(frames)), frames[middle:])
    assert source.read(middle, middle).shape == (0, *shape)
    edges = np.unique([0, middle, len(frames)]).astype(np.int64)
    expected = reference_bins(frames, edges)
    np.testing.assert_array_equal(binned(source, edges, threads), expected)
    sums = _core.BinAccumulator(shape, np.dtype("u2"))
    out = np.empty(shape, np.uint16)
    sums.add(source, 0, len(frames), threads)
    sums.mean(out)
    np.testing.assert_array_equal(out, reference.bin_mean(frames))


def test_frames_may_overlap_in_a_file(files):
    content = np.arange(40, dtype="<u2")
    segments = np.array([[0, 0, 0, 3], [0, 10, 4, 5]], np.int64)
    source = _core.FrameSource([files(content.tobytes())], segments, (2, 3), np.dtype("<u2"))
    starts = [0, 0, 0, 5, 7, 9, 11, 13]
    expected = np.array([content[s : s + 6].reshape(2, 3) for s in starts])
    np.testing.assert_array_equal(source.read(0, 8), expected)


@pytest.mark.parametrize("n_files", [1, 2, 70])
@pytest.mark.parametrize("threads", THREADS)
def test_a_file_that_became_shorter_names_itself_and_the_frame(files, n_files, threads):
    runs = [4] * max(2, n_files)
    frames = reference.sample((sum(runs), 3, 5), np.uint16, seed=0)
    source, paths = scattered(frames, np.dtype("<u2"), runs, 0, 0, n_files, files)
    victim = paths[7 % n_files]  # holds the second run
    whole_frames = 4 + 2 if n_files == 1 else 2
    os.truncate(victim, (whole_frames + 1) * 30 - 1)
    np.testing.assert_array_equal(source.read(0, 6), frames[:6])
    for work in (
        lambda: source.read(0, 8),
        lambda: binned(source, edges_of([6, 2]), threads),
        lambda: _core.BinAccumulator((3, 5), np.dtype("u2")).add(source, 0, 8, threads),
    ):
        with pytest.raises(ReadError, match=r"frame 6: .*shorter") as caught:
            work()
        assert (caught.value.path, caught.value.frame) == (victim, 6)


@pytest.mark.parametrize("n_files", [2, 70])
def test_a_file_that_went_away_names_itself_and_the_frame(files, n_files):
    frames = reference.sample((4 * n_files, 3, 5), np.uint16, seed=0)
    source, paths = scattered(frames, np.dtype("<u2"), [4] * n_files, 0, 0, n_files, files)
    os.remove(paths[7 % n_files])
    np.testing.assert_array_equal(source.read(0, 4), frames[:4])
    for _ in range(2):  # the second time as well
        with pytest.raises(ReadError, match="cannot be opened") as caught:
            source.read(0, 8)
        assert (caught.value.path, caught.value.frame) == (paths[7 % n_files], 4)


@given(st.binary(max_size=60), *[st.integers(0, 20)] * 4)
def test_read_records(files, content, offset, stride, count, length):
    starts = [offset + i * stride for i in range(count)]
    whole = list(itertools.takewhile(lambda s: s + length <= len(content) or not length, starts))
    got = _core.read_records(files(content), offset, stride, count, length)
    assert got.dtype == np.uint8
    assert got.shape == (len(whole), length)
    assert [bytes(row) for row in got] == [content[s : s + length] for s in whole]


def test_probe_files(files):
    contents = [bytes([i % 256, i // 256, 7, 8 + i % 2]) * (1 + i % 3) for i in range(600)]
    contents[5] = b""
    paths = [files(content) for content in contents]
    for i, path in enumerate(paths):
        os.utime(path, ns=(0, 1_695_420_871_000_000_000 + i * 1_000_001))
    expected = [(0, b"\0\0\7", b"\0\1\xff"), (3, b"\x08", b"\xff")]
    seen = []
    sizes, times, matches = _core.probe_files(paths, expected, 3, seen.append)
    assert (sizes.dtype, times.dtype, matches.dtype) == (np.int64, np.int64, bool)
    assert sizes.tolist() == [len(c) for c in contents]
    assert times.tolist() == [os.stat(p).st_mtime_ns for p in paths]
    assert matches.tolist() == [len(c) > 3 and c[1] % 2 == 0 and c[3] == 8 for c in contents]
    assert seen == sorted(seen)
    assert seen
    os.remove(paths[400])
    with pytest.raises(ReadError) as caught:
        _core.probe_files(paths, expected, 3)
    assert (caught.value.path, caught.value.frame) == (paths[400], 400)


def test_file_sizes(files, tmp_path):
    paths = [files(b"a" * (i % 7)) for i in range(200)] + [str(tmp_path / "\u00e9-1"), tmp_path]
    paths[130:130] = [tmp_path / "none", os.fsencode(tmp_path / "no" / "such" / "file")]
    for threads in (1, 3):
        sizes = _core.file_sizes(paths, threads)
        assert sizes.dtype == np.int64
        assert sizes.tolist() == [os.stat(p).st_size if os.path.exists(p) else -1 for p in paths]
    assert _core.file_sizes([]).shape == (0,)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such error")
def test_what_the_system_refuses_is_no_missing_file(files):
    inside = os.path.join(files(b"a"), "b")
    with pytest.raises(ReadError, match="cannot be read") as caught:
        _core.file_sizes([inside])
    assert caught.value.path == inside


@pytest.mark.parametrize("paths", ["ab", [5], [None], ["a\0b"], 5])
@pytest.mark.parametrize("function", ["file_sizes", "probe_files"])
def test_paths_are_checked(function, paths):
    more = () if function == "file_sizes" else ([],)
    with pytest.raises(TypeError):
        getattr(_core, function)(paths, *more)


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
