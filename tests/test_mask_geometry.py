"""Counts of masks: exact, against pixel by pixel and scikit-image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from skimage.measure import perimeter_crofton, regionprops

import iosfast
from iosfast import _core


def count(masks, threads=1):
    first = np.full((len(masks), *masks.shape[2:]), 77, np.int32)
    outline = np.full(first.shape, 77, np.uint8)
    counts = _core.mask_geometry(masks, first, outline, threads=threads)
    without = np.empty_like(first)
    np.testing.assert_array_equal(counts, _core.mask_geometry(masks, without))
    np.testing.assert_array_equal(first, without)
    np.testing.assert_array_equal(outline, [outline_of(stack) for stack in masks])
    return counts, first


def outline_of(stack):
    """Pixels of any mask with a neighbour in row or column outside of that mask."""
    padded = np.pad(stack != 0, ((0, 0), (1, 1), (1, 1)))
    moved = [np.roll(padded, step, axis) for step in (1, -1) for axis in (1, 2)]
    return (padded & ~np.all(moved, axis=0)).any(axis=0)[1:-1, 1:-1]


def frames_of(masks, size=1.0):
    return iosfast.measure(masks, np.arange(len(masks)), size).frames


def disc(radius, shape=(120, 130), x=60.0, y=57.0, squash=1.0):
    rows, columns = np.indices(shape)
    return np.hypot((columns - x) / squash, rows - y) <= radius


@settings(max_examples=40)
@given(
    st_numpy.arrays(
        np.uint8,
        st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)),
        elements=st.sampled_from([0, 0, 1, 255, 128]),
    )
)
def test_counts_are_those_of_counting(masks):
    counts, first = count(masks[np.newaxis])
    for got, expected in zip(counts[0], reference.mask_counts(masks), strict=True):
        assert dict(zip(_core.MASK_COUNTS, got.tolist(), strict=True)) == expected
    np.testing.assert_array_equal(first[0], reference.first_covered(masks))


@pytest.mark.parametrize("width", [1, 63, 64, 65, 127, 128, 129, 200])
@pytest.mark.parametrize("part", [0.02, 0.5, 1.0])
def test_counts_across_words_and_bands(width, part):
    """Rows of 64 pixels and bands of 32 rows are seams."""
    random = np.random.default_rng(width)
    masks = (random.random((2, 66, width)) < part).astype(np.uint8)
    counts, first = count(masks[np.newaxis])
    for got, expected in zip(counts[0], reference.mask_counts(masks), strict=True):
        assert dict(zip(_core.MASK_COUNTS, got.tolist(), strict=True)) == expected
    np.testing.assert_array_equal(first[0], reference.first_covered(masks))


def test_objects_and_threads_are_apart():
    random = np.random.default_rng(3)
    masks = (random.random((3, 5, 100, 90)) < 0.3).astype(np.uint8)
    counts, first = count(masks, threads=1)
    for threads in (2, 7):
        again, first_again = count(masks, threads=threads)
        np.testing.assert_array_equal(counts, again)
        np.testing.assert_array_equal(first, first_again)
    for number in range(3):
        alone, first_alone = count(masks[number : number + 1])
        np.testing.assert_array_equal(counts[number], alone[0])
        np.testing.assert_array_equal(first[number], first_alone[0])


def test_region_properties_of_scikit_image():
    random = np.random.default_rng(5)
    shape = (90, 110)
    masks = np.array(
        [disc(r, shape, x=50, y=40, squash=q) for r, q in ((9, 1), (20, 1.8), (30, 0.6))]
    )
    masks ^= random.random(masks.shape) < 0.02
    frames = frames_of(masks)
    for row, mask in zip(frames.itertuples(), masks, strict=True):
        (region,) = regionprops(mask.astype(np.uint8))
        top, left, bottom, right = region.bbox
        box = (row.box_top_px, row.box_left_px, row.box_bottom_px + 1, row.box_right_px + 1)
        assert (row.area_px, box) == (region.area, (top, left, bottom, right))
        assert (row.centroid_y_px, row.centroid_x_px) == pytest.approx(region.centroid, rel=1e-12)
        assert row.major_axis_mm == pytest.approx(region.axis_major_length, rel=1e-9)
        assert row.minor_axis_mm == pytest.approx(region.axis_minor_length, rel=1e-9)
        # scikit-image counts from the rows' axis, which is ours turned by 90 degrees
        turned = math.degrees(region.orientation) + row.orientation_deg
        assert turned % 180 == pytest.approx(90, abs=1e-6)
        assert row.perimeter_mm == pytest.approx(perimeter_crofton(mask, 4), rel=1e-12)


@pytest.mark.parametrize("radius", [15.5, 25.0, 50.7])
def test_discs(radius):
    row = frames_of(disc(radius)[np.newaxis], 0.5).iloc[0]
    assert row.area_mm2 == pytest.approx(np.pi * (radius / 2) ** 2, rel=0.02)
    assert row.perimeter_mm == pytest.approx(np.pi * radius, rel=0.02)
    assert row.major_axis_mm == pytest.approx(radius, rel=0.02)
    assert row.minor_axis_mm == pytest.approx(radius, rel=0.02)


def test_perimeter_of_discs_is_unbiased():
    """On average over sizes and places: within 0.5 %."""
    random = np.random.default_rng(8)
    radii = random.uniform(20, 50, 40)
    masks = np.array([disc(r, x=random.uniform(58, 62), y=random.uniform(56, 60)) for r in radii])
    ratio = frames_of(masks).perimeter_mm / (2 * np.pi * radii)
    assert ratio.mean() == pytest.approx(1, abs=0.005)


def test_pixels_that_are_not_square():
    """A disc in mm, on pixels twice as high as wide."""
    rows, columns = np.indices((80, 160))
    radius = 15.0
    mask = np.hypot((columns - 80) * 0.25, (rows - 40) * 0.5) <= radius
    row = iosfast.measure(mask[np.newaxis], [0.0], (0.5, 0.25)).frames.iloc[0]
    assert row.area_mm2 == pytest.approx(np.pi * radius**2, rel=0.01)
    assert row.major_axis_mm == pytest.approx(2 * radius, rel=0.01)
    assert row.minor_axis_mm == pytest.approx(2 * radius, rel=0.01)
    assert row.perimeter_mm == pytest.approx(2 * np.pi * radius, rel=0.03)


@pytest.mark.parametrize("turn", [0, 30, 60, 90, 120, 150])
def test_ellipses(turn):
    rows, columns = np.indices((150, 150)) - 75.0
    c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    along, across = columns * c + rows * s, rows * c - columns * s
    mask = np.hypot(along / 50, across / 20) <= 1
    row = frames_of(mask[np.newaxis]).iloc[0]
    assert row.major_axis_mm == pytest.approx(100, rel=0.01)
    assert row.minor_axis_mm == pytest.approx(40, rel=0.01)
    apart = (row.orientation_deg - turn) % 180
    assert min(apart, 180 - apart) < 0.5


def test_big_images_do_not_overflow():
    side = 5000
    mask = np.ones((1, side, side), np.uint8)
    counts, _ = count(mask[np.newaxis])
    values = dict(zip(_core.MASK_COUNTS, counts[0, 0].tolist(), strict=True))
    assert values["sum_xx"] == side * sum(x * x for x in range(side))
    assert values["sum_xy"] == sum(range(side)) ** 2


@pytest.mark.parametrize("sigma", [1.5, 3.0])
def test_planes_of_arrival(sigma):
    """Against least squares, pixel by pixel."""
    random = np.random.default_rng(2)
    y, x = np.indices((17, 21))
    first = ((0.6 * x + 0.4 * y + random.random(x.shape)) / 2).astype(np.int32)
    first[random.random(first.shape) < 0.1] = -1
    times_s = 1e5 + np.cumsum(random.uniform(1, 3, first.max() + 1))
    out = np.empty((5, *first.shape))
    _core.fit_arrival(first, times_s, sigma, out)
    again = np.empty_like(out)
    _core.fit_arrival(first, times_s, sigma, again, threads=3)
    np.testing.assert_array_equal(out, again)
    for at in ((8, 10), (0, 0), (16, 20), (3, 17)):
        expected = reference.fitted_plane(first, times_s, sigma, x=at[1], y=at[0])
        np.testing.assert_allclose(out[(slice(0, 3), *at)], expected, rtol=1e-7, atol=1e-6)


def test_no_plane_without_two_outlines():
    first = np.zeros((20, 20), np.int32)
    first[:, 10:] = 1
    out = np.empty((5, 20, 20))
    _core.fit_arrival(first, np.array([0.0, 1.0]), 2.0, out)
    assert np.isnan(out).all()
    with pytest.raises(ValueError, match="below the number of times"):
        _core.fit_arrival(first, np.array([0.0]), 2.0, out)
    for sigma in (0.0, math.nan, 1001.0):
        with pytest.raises(ValueError, match="sigma_px"):
            _core.fit_arrival(first, np.array([0.0, 1.0]), sigma, out)
