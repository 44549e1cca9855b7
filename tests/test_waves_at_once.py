"""Waves that cross each other, or follow each other closely: all of them tell the ends."""

from __future__ import annotations

import numpy as np
import pytest
from wave_maps import SHAPE, maps_of, noise, wave

from iosfast import find_episodes
from iosfast.wave_residuals import unexplained
from iosfast.wave_search import Found, without_doubt
from iosfast.wave_tracks import Course, Track, follow

COUNT = 150


def ends(change, seed):
    (episode,) = find_episodes(maps_of(noise(COUNT, seed) + change))
    return episode.start, episode.end


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("first", "second", "end"),
    [
        ({"maps_long": 20}, {"first": 50, "maps_long": 20}, 72),
        ({"maps_long": 20}, {"first": 46, "maps_long": 26}, 74),
        (
            {"origin": (20, 30), "maps_long": 16},
            {"first": 48, "origin": (22, 30), "maps_long": 16},
            66,
        ),
        ({}, {"first": 47}, 80),
    ],
)
def test_a_weaker_wave_right_behind_another_one(seed, first, second, end):
    """It might be the wake of the other, but has a wake of its own, which is no wave."""
    change = wave(COUNT, 40, size=-0.03, **first) + wave(COUNT, size=0.02, **second)
    start, last = ends(change, seed)
    assert abs(start - 40) <= 1
    assert abs(last - end) <= 2


@pytest.mark.parametrize("seed", range(3))
def test_the_wake_of_a_wave_that_crosses_another_one(seed):
    change = wave(COUNT, 40, origin=(20, 30), maps_long=18)
    change += wave(COUNT, 44, size=-0.02, origin=(30, 50), maps_long=20)
    start, last = ends(change, seed)
    assert abs(start - 40) <= 1
    assert abs(last - 66) <= 2


@pytest.mark.parametrize("seed", [0, 2])
def test_a_wave_tracked_together_with_another_one_that_it_outlasts(seed):
    change = wave(COUNT, 40, speed_px=3)
    change += wave(COUNT, 50, origin=(50, 30), speed_px=1.5, maps_long=16)
    start, last = ends(change, seed)
    assert abs(start - 40) <= 1
    assert abs(last - 67) <= 2


@pytest.mark.parametrize(
    ("start", "end", "kept"),
    [(14, 19, False), (11, 20, False), (9, 21, False), (8, 15, True), (14, 22, True)],
)
def test_a_doubted_wave_has_to_outlast_the_others(start, end, kept):
    sure = [Found(12, 20, front=(Track(1),)), Found(10, 16, front=(Track(1),))]
    doubted = Found(start, end, front=(Track(-1, doubted=True),))
    waves = [sure[0], doubted, sure[1]]
    left, ends = without_doubt(waves, [(wave.start, wave.end) for wave in waves])
    assert left == (waves if kept else sure)
    assert ends == [(wave.start, wave.end) for wave in left]
    assert without_doubt([doubted], [(start, end)]) == ([doubted], [(start, end)])


def test_cells_far_from_outlines():
    masks = np.zeros((2, 3, 40, 60), bool)
    masks[0, 1, 20, 20] = masks[1, 1, 0, 50] = True  # cells (5, 5) and (0, 12)
    masks[0, 2, 20, 20] = True
    cells = np.array([(5, 7), (5, 8), (2, 3), (1, 10), (9, 14)])
    front = (Track(1, {11: cells}), Track(1, {12: cells[:1], 40: cells}))
    rest = unexplained(front, masks, 10, 4, 2.9)
    assert rest.sign == 1
    assert {now: c.tolist() for now, c in rest.cells.items()} == {11: [[5, 8], [2, 3], [9, 14]]}


@pytest.mark.parametrize(("size", "tracks"), [(4, 2), (11, 1)])
def test_what_comes_back_much_smaller_is_another_wave(size, tracks):
    z = np.zeros((20, *SHAPE), np.float32)
    z[5:9, 20:40, 20:40] = 10
    z[10:14, 30 : 30 + size, 30 : 30 + size] = 10
    course = Course(z, np.ones(SHAPE, bool), 1)
    assert len(follow(course, 1, 5.0, 4)) == tracks
