"""Dropped and doubled frames are found where they are; channels stay apart across them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

from iosfast import IosfastWarning, ReadError, Recipe, load, preprocess
from iosfast.readers.frame_times import FrameTimes
from iosfast.readers.memory import ArrayRecording


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
    times_s = stamps(due, interval_s, 0.0 if again else jitter, resolution, seed)
    found = FrameTimes.of(times_s, 1 / interval_s)
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


# Through preprocess


class Stamped(ArrayRecording):
    """Frames with time stamps of their own."""

    def __init__(self, frames, times_s, rate_hz=None):
        super().__init__(frames)
        self.frame_rate_hz, self._times_s = rate_hz, times_s

    @property
    def times_s(self):
        return self._times_s


RECIPE = Recipe(interval_bins=2, smoothing_px=3)


def test_time_stamps_make_the_bins_and_tell_what_is_missing():
    due = np.delete(np.arange(200), [30, 31, 32, 150])
    frames = reference.sample((196, 7, 8), np.uint16, seed=4)
    report = "by their time stamps, 4 frames are missing, in 2 places, the first is after frame 29"
    with pytest.warns(IosfastWarning, match=report):
        maps = preprocess(Stamped(frames, due / 20), recipe=RECIPE)
    assert maps.bin_frames.tolist() == [20, 17, 20, 20, 20, 20, 20, 19, 20, 20]
    assert (maps.info.dropped_frames, maps.info.doubled_frames) == (4, 0)
    assert report in maps.notes
    for i in (1, 7):
        inside = due // 20 == i
        np.testing.assert_array_equal(maps.binned[i], reference.bin_mean(frames[inside]))
    assert maps.source["timed_by"] == "time stamps"
    with pytest.warns(IosfastWarning, match="4 frames are missing"):
        counted = preprocess(Stamped(frames, due / 20, 20.0), recipe=Recipe(bin_frames=20))
    assert set(counted.bin_frames.tolist()) == {20}
    assert (counted.info.dropped_frames, counted.source["timed_by"]) == (4, "frames")


def test_doubled_frames_are_told(tmp_path):
    due = np.sort([*range(200), 77, 78])
    frames = reference.sample((202, 7, 8), np.uint16, seed=4)
    with pytest.warns(IosfastWarning, match="2 frames are doubled, the first is frame 78"):
        maps = preprocess(Stamped(frames, due / 20), recipe=RECIPE, out=tmp_path / "a")
    assert maps.bin_frames.tolist() == [20, 20, 20, 22, *[20] * 6]
    again = load(tmp_path / "a")
    assert (again.info.dropped_frames, again.info.doubled_frames) == (0, 2)


def test_a_frame_rate_that_is_not_that_of_the_time_stamps():
    frames = reference.sample((200, 7, 8), np.uint16, seed=4)
    with pytest.warns(IosfastWarning, match=r"0\.05 s apart .* 20 Hz, not the 30 Hz"):
        preprocess(Stamped(frames, np.arange(200) / 20), recipe=RECIPE, frame_rate_hz=30.0)


def test_recordings_without_time_stamps_tell_of_no_missing_frames(tmp_path):
    frames = reference.sample((200, 7, 8), np.uint16, seed=4)
    maps = preprocess(frames, recipe=RECIPE, frame_rate_hz=20.0, out=tmp_path / "a")
    assert (maps.info.dropped_frames, maps.info.doubled_frames) == (None, None)


@pytest.mark.parametrize(("frame", "time_s"), [(50, 0.1), (50, np.nan), (199, 1e12)])
def test_time_stamps_that_are_damaged(frame, time_s):
    frames = reference.sample((200, 7, 8), np.uint16, seed=4)
    times_s = np.arange(200) / 20
    times_s[frame] = time_s
    with pytest.raises(ReadError, match=r"time stamps are damaged .*; times='frames' counts"):
        preprocess(Stamped(frames, times_s), recipe=RECIPE)
    maps = preprocess(Stamped(frames, times_s), recipe=RECIPE, times="frames", frame_rate_hz=20.0)
    assert len(maps) == 4


def test_bins_begin_with_the_first_time_stamp():
    frames = reference.sample((200, 7, 8), np.uint16, seed=4)
    maps = preprocess(Stamped(frames, 0.99 + np.arange(200) / 20), recipe=RECIPE)
    assert maps.bin_frames.tolist() == [20] * 10


def test_time_stamps_that_stand_still_are_left_out():
    frames = reference.sample((200, 7, 8), np.uint16, seed=4)
    with pytest.warns(IosfastWarning, match="time stamps do not increase and are left out"):
        maps = preprocess(Stamped(frames, np.zeros(200)), recipe=RECIPE, frame_rate_hz=20.0)
    assert maps.bin_frames.tolist() == [20] * 10
