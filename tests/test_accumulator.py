"""The mean of frames that arrive a few at a time, against the reference."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from core_calls import THREADS, dtypes, seeds, shapes
from hypothesis import given
from hypothesis import strategies as st

from iosfast import _core


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
