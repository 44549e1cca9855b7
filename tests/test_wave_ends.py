"""Ends of waves, of which some outlines are faint, lost, or of something else."""

from __future__ import annotations

import numpy as np
import pytest

from iosfast.wave_ends import Outlined, ends_of


def outlined(first, areas, strengths=None):
    """Outlines in successive maps."""
    strengths = np.full(len(areas), 0.01) if strengths is None else np.array(strengths, float)
    return Outlined(first + np.arange(len(areas)), np.array(areas, int), strengths)


NOTHING = outlined(0, [])


def test_what_is_outlined_in_maps():
    change = np.zeros((6, 5, 10), np.float32)
    masks = np.zeros(change.shape, bool)
    masks[2, :2] = masks[4, 0, :5] = True
    change[2, :2] = -np.arange(20).reshape(2, 10)
    change[4, 0, :5] = 3
    seen = Outlined.of(change, masks, 100)
    np.testing.assert_array_equal(seen.maps, [102, 104])
    np.testing.assert_array_equal(seen.areas, [20, 5])
    np.testing.assert_allclose(seen.strengths, [17.1, 3])
    assert len(Outlined.of(change, np.zeros_like(masks), 100).maps) == 0


GONE = [900, 1000, 1000, 1000, 1000, 1000, 1000, 300]
LOST = [900, 1000, 1000, 1000, 1000, 1000, 1000, 1000]


@pytest.mark.parametrize(
    ("seen", "ends"),
    [
        (NOTHING, (10, 20)),
        (outlined(8, [500] * 15), (8, 22)),
        (outlined(9, GONE), (9, 16)),  # it has left
        (outlined(9, LOST), (9, 20)),  # it was lost
        (outlined(10, LOST), (10, 17)),  # three maps more or less are no contradiction
        (outlined(9, LOST, [4] * 7 + [1.9]), (9, 16)),  # it fades
        (outlined(9, LOST + [800] * 6, [4] * 12 + [1.1, 1.1]), (9, 20)),  # it swings back
        (outlined(2, [900, 1000, 300]), (2, 20)),  # something else that ends too early,
        (outlined(18, [900, 1000, 300]), (10, 20)),  # or begins too late
    ],
)
def test_ends_of_a_wave(seen, ends):
    assert ends_of([(10, 20)], [seen]) == [ends]


def test_a_wave_that_is_another_one_ends_with_it():
    other, own = (10, 20), (12, 22)
    whole = outlined(10, [500] * 11)
    assert ends_of([other, own], [whole, NOTHING]) == [other, (12, 20)]
    assert ends_of([own, other], [NOTHING, whole]) == [(12, 20), other]
    assert ends_of([other, own], [NOTHING, NOTHING]) == [other, own]  # who knows which
    assert ends_of([other, (17, 27)], [whole, NOTHING]) == [other, (17, 27)]  # little in common
    assert ends_of([other, own], [whole, outlined(12, [500] * 11)]) == [other, own]
