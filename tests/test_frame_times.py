"""Dropped and doubled frames are found where they are; channels stay apart across them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iosfast.readers.frame_times import FrameTimes


def stamps(due, interval_s=1 / 60, jitter=0.0, resolution_s=0.0, seed=0, start_s=0.0):
    """Times of frames that were due at these intervals."""
    random = np.random.default_rng(seed)
    times = start_s + interval_s * (np.asarray(due) + random.uniform(-jitter, jitter, len(due)))
    if resolution_s:
        times = np.round(times / resolution_s) * resolution_s
    return np.maximum.accumulate(times)


@given(
    st.lists(st.integers(0, 999), max_size=12),
    st.lists(st.integers(0, 999), max_size=12),
    st.sampled_from([1 / 60, 0.02, 1.0, 3.7]),
    st.sampled_from([0.0, 0.2]),
    st.sampled_from([0.0, 0.001]),
    st.integers(0, 9),
)
def test_frames_that_are_missing_or_too_many(drop, double, interval_s, jitter, resolution, seed):
    due = np.sort(np.concatenate([np.delete(np.arange(1000), drop), double])).astype(int)
    missing = set(range(due[0], due[-1])) - set(due.tolist())
    again = len(due) - len(set(due.tolist()))
    found = FrameTimes.of(stamps(due, interval_s, 0.0 if again else jitter, resolution, seed))
    apart = np.diff(due)
    if any(min(pair) == 0 and max(pair) > 1 for pair in itertools.pairwise(apart.tolist())):
        return  # a doubled frame beside a gap may as well be a late one
    assert found.interval_s == pytest.approx(interval_s, rel=0.002)
    np.testing.assert_array_equal(found.slots, due - due[0])
    assert (found.dropped, found.doubled) == (len(missing), again)


def test_a_late_frame_is_not_a_dropped_one():
    due = np.arange(50.0)
    due[[10, 20, 30, 31]] += [0.7, 0.9, 1.9, 0.95]
    found = FrameTimes.of(stamps(due))
    assert (found.dropped, found.doubled, found.report()) == (0, 0, "")
    np.testing.assert_array_equal(found.slots, np.arange(50))


def test_a_long_gap_is_counted_by_the_mean_interval():
    """At 60 Hz, time stamps in whole milliseconds are 16 or 17 apart, never 16.67."""
    due = np.concatenate([np.arange(300), np.arange(6300, 6400)])
    assert FrameTimes.of(stamps(due, resolution_s=0.001)).dropped == 6000


@pytest.mark.parametrize(
    "times",
    [
        [0, 1, 2, 3],
        np.floor(np.arange(300) / 60),  # whole seconds
        np.zeros(30),
        np.cumsum(np.random.default_rng(0).exponential(1, 300)),
    ],
)
def test_what_cannot_be_told(times):
    assert FrameTimes.of(np.asarray(times, float)) is None


@pytest.mark.parametrize(
    ("due", "report"),
    [
        ([0, 1, 2, 3, 4, 5, 7, 8, 9], "1 frame is missing, the gap is after frame 5"),
        (
            [*range(20), *range(23, 40), *range(41, 60)],
            "4 frames are missing, in 2 places, the first is after frame 19",
        ),
        ([*range(20), 19, *range(20, 30)], "1 frame is doubled, which is frame 20"),
        (
            [*range(20), 19, *range(20, 30), *range(30, 33), 32, 33, *range(39, 70)],
            "5 frames are missing, the gap is after frame 35; 2 frames are doubled, the first is "
            "frame 20",
        ),
    ],
)
def test_reports(due, report):
    assert FrameTimes.of(stamps(due)).report() == report
