"""Means of decoded frames, however blocks and bins cut them, by any number of threads."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import reference
from recordings import Chunks, some_frames

from iosfast import ReadError, _core
from iosfast.decoded_bins import bin_decoded

COUNT = 200
BINS = {
    "long": [3, 70, 141, 199],
    "shorter than a block": [0, 9, 17, 30, 31, 55, 64, 120],
    "of one frame": list(range(11, 60)),
}


def means_of(recording, edges, threads, transposed=False):
    shape = recording.shape[:0:-1] if transposed else recording.shape[1:]
    out = np.zeros((len(edges) - 1, *shape), _core.mean_dtype(recording.dtype))
    done = []
    bin_decoded(recording, np.array(edges, np.int64), out, threads, done.append, transposed)
    assert done == sorted(done)
    assert done[-1] == edges[-1]
    return out


def expected(frames, edges):
    """Whole numbers by a slow reference; floats added up one frame after the other."""
    found = []
    for a, b in itertools.pairwise(edges):
        if frames.dtype.itemsize <= 2 and frames.dtype.kind == "u":
            found.append(reference.bin_mean(frames[a:b]))
            continue
        total = np.zeros(frames.shape[1:])
        for frame in frames[a:b]:
            total += frame
        found.append((total / (b - a)).astype(_core.mean_dtype(frames.dtype)))
    return np.array(found)


@pytest.mark.parametrize("threads", [1, 2, 3, 0])
@pytest.mark.parametrize("chunk", [1, 16])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4"])
@pytest.mark.parametrize("bins", BINS)
def test_means(bins, dtype, chunk, threads, monkeypatch):
    frames = (some_frames((COUNT, 9, 14)) / 3).astype(dtype)
    monkeypatch.setattr("iosfast.readers.recording.BLOCK_BYTES", 20 * frames[0].nbytes)
    monkeypatch.setattr("iosfast.readers.recording._LEAST_BLOCK_BYTES", 20 * frames[0].nbytes)
    recording, means = Chunks(frames, chunk_frames=chunk), expected(frames, BINS[bins])
    np.testing.assert_array_equal(means_of(recording, BINS[bins], threads), means)
    transposed = means_of(recording, BINS[bins], threads, transposed=True)
    np.testing.assert_array_equal(transposed, means.swapaxes(1, 2))


def test_threads_give_sums_only_where_bins_are_long(monkeypatch):
    merged = []

    class Counting(_core.BinAccumulator):
        def merge(self, other):
            merged.append(other.frames)
            super().merge(other)

    monkeypatch.setattr(_core, "BinAccumulator", Counting)
    recording = Chunks(some_frames((COUNT, 9, 14)))
    for edges, threads, sums in (([0, 100, 200], 2, 200), ([0, 100, 200], 1, 0)):
        merged.clear()
        means_of(recording, edges, threads)
        assert sum(merged) == sums
    merged.clear()
    means_of(recording, BINS["of one frame"], 2)
    assert merged == []


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_of_a_reader(threads):
    with pytest.raises(ReadError, match="frame 151: is broken"):
        means_of(Chunks(some_frames((COUNT, 9, 14)), fails_at=151), [0, 100, 200], threads)
