"""Frames in files and in memory as the core reads them, and looks at many files."""

from __future__ import annotations

import gc
import itertools
import os

import numpy as np
import pytest
import reference
from core_calls import THREADS, binned, edges_of, reference_bins, seeds, shapes
from hypothesis import example, given
from hypothesis import strategies as st

from iosfast import ReadError, _core


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


@pytest.mark.parametrize("shape", [(1, 131073), (140001, 1), (3, 140000), (300, 701)])
@pytest.mark.parametrize("n_files", [1, 2, 65])
@pytest.mark.parametrize("threads", THREADS)
def test_means_of_frames_in_files_are_transposed(files, shape, n_files, threads):
    frames = reference.sample((5, *shape), np.uint16, seed=4)
    source, _ = scattered(frames, np.dtype("<u2"), [2, 2, 1], 1, 3, n_files, files)
    edges = edges_of([3, 2])
    got = binned(source, edges, threads, transposed=True)
    np.testing.assert_array_equal(got.swapaxes(1, 2), reference_bins(frames, edges))


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
