"""Ends of waves, of which some outlines are faint, lost, or of something else."""

from __future__ import annotations

import numpy as np
import pytest

from iosfast.wave_ends import Outlined, ends_of


def outlined(first, areas, strengths=None, sign=1):
    """Outlines in successive maps, but for those of no area."""
    strengths = np.full(len(areas), 0.01) if strengths is None else np.array(strengths, float)
    areas = np.array(areas, int)
    seen = np.flatnonzero(areas)
    return Outlined(first + seen, areas[seen], strengths[seen], sign)


NOTHING = outlined(0, [])


def ends(tracked, seen, signs=None, confidence=None):
    count = len(tracked)
    return ends_of(tracked, signs or [1] * count, confidence or [0.9] * count, seen)


def test_what_is_outlined_in_maps():
    change = np.zeros((6, 5, 10), np.float32)
    masks = np.zeros(change.shape, bool)
    masks[2, :2] = masks[4, 0, :5] = True
    change[2, :2] = -np.arange(20).reshape(2, 10)
    change[4, 0, :5] = 3  # against the direction of the others
    seen = Outlined.of(change, masks, 100)
    np.testing.assert_array_equal(seen.maps, [102, 104])
    np.testing.assert_array_equal(seen.areas, [20, 5])
    np.testing.assert_allclose(seen.strengths, [17.1, -3])
    assert seen.sign == -1
    assert Outlined.of(-change, masks, 100).sign == 1
    assert len(Outlined.of(change, np.zeros_like(masks), 100).maps) == 0


GONE = [900, 1000, 1000, 1000, 1000, 1000, 1000, 300]
LOST = [900, 1000, 1000, 1000, 1000, 1000, 1000, 1000]
GAP = [0] * 4


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (NOTHING, (10, 20)),
        (outlined(8, [500] * 15), (8, 22)),
        (outlined(9, GONE), (9, 16)),  # it has left
        (outlined(9, LOST), (9, 20)),  # it was lost
        (outlined(10, LOST), (10, 17)),  # three maps more or less are no contradiction
        (outlined(9, LOST, [4] * 7 + [1.9]), (9, 16)),  # it fades
        (outlined(9, LOST + [800] * 6, [4] * 12 + [1.1, 1.1]), (9, 20)),  # it swings back
        (outlined(9, LOST + [800] * 6, [4] * 12 + [-2, -2]), (9, 20)),
        (outlined(2, [900, 1000, 300]), (10, 20)),  # something else that ends too early,
        (outlined(18, [900, 1000, 300]), (10, 20)),  # or begins too late
        (outlined(5, [300] + [1000] * 16), (5, 21)),  # it comes before it is tracked
        (outlined(5, [1000] * 17), (10, 21)),  # what was there at once is another one
        (outlined(4, [88, *GAP] + [500] * 13), (9, 21)),  # far from the others
        (outlined(9, [500] * 13 + [*GAP, 88]), (9, 21)),
        (outlined(9, [500] * 4 + GAP + [500] * 5), (9, 21)),  # spoiled maps
        (outlined(9, [500] * 13, sign=-1), (10, 20)),  # its wake
        (outlined(7, [500] * 10 + [100], sign=-1), (7, 17)),  # its wake was tracked,
        (outlined(9, LOST, sign=-1), (9, 16)),  # which lasts longer
        (outlined(11, [500] * 2, sign=-1), (11, 20)),  # too few maps to tell
    ],
)
def test_ends_of_a_wave(seen, expected):
    assert ends([(10, 20)], [seen]) == [expected]


def test_a_wave_less_sure_than_another_one_tells_no_ends():
    spans = [(10, 20), (14, 26), (30, 40)]
    own = [outlined(start, [500] * (end - start + 1)) for start, end in spans]
    assert ends(spans, own, confidence=[0.9, 0.5, 0.9]) == [(10, 20), (14, 20), (30, 40)]
    assert ends(spans, own, confidence=[0.9, 0.7, 0.9]) == spans
    assert ends(spans[:2], own[:2], confidence=[0.5, 0.9]) == [(14, 20), (14, 26)]
    apart = [(10, 20), (24, 30)]
    assert ends(apart, [NOTHING] * 2, confidence=[0.9, 0.5]) == apart


def test_a_wave_that_is_another_one_ends_with_it():
    other, own = (10, 20), (12, 22)
    whole = outlined(10, [500] * 11)
    assert ends([other, own], [whole, NOTHING]) == [other, (12, 20)]
    assert ends([own, other], [NOTHING, whole]) == [(12, 20), other]
    assert ends([other, own], [NOTHING, NOTHING]) == [other, own]  # who knows which
    assert ends([other, (17, 27)], [whole, NOTHING]) == [other, (17, 27)]  # little in common
    assert ends([other, own], [whole, outlined(12, [500] * 11)]) == [other, own]


def test_a_wave_that_was_tracked_together_with_a_surer_one():
    tracked = [(10, 30), (22, 26)]
    first, other = outlined(10, [500] * 10 + [100]), outlined(20, [500] * 10)
    assert ends(tracked, [first, other], confidence=[0.9, 0.5]) == [(10, 20), (20, 29)]
    faint = outlined(20, [500] * 10, [0.005] * 10)
    assert ends(tracked, [first, faint], confidence=[0.9, 0.5]) == [(10, 20), (20, 20)]


def test_tracked_maps_stand_for_outlines():
    other = outlined(10, [500] * 11)
    tracked = [(10, 20), (12, 23)]
    assert ends(tracked, [other, NOTHING]) == [(10, 20), (12, 20)]
    assert ends(tracked, [other, Outlined.as_tracked(12, 23, 1)]) == tracked
