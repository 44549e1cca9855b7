"""Polygons and masks: filled as by geometry, traced without loss, and what no polygon is."""

from __future__ import annotations

from fractions import Fraction

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.ndimage import binary_fill_holes, distance_transform_edt, gaussian_filter, label
from shapely.geometry import LinearRing, LineString, Point, Polygon
from skimage.measure import grid_points_in_poly

from iosfast import _core, outlines
from iosfast.outlines import check_polygon, crosses_itself, fill, fill_polygon, trace, trace_stack

masks = arrays.arrays(
    np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.booleans()
)
whole = st.tuples(st.integers(-3, 14), st.integers(-3, 14))
#: No edge between such corners passes through the centre of a pixel.
odd = st.tuples(
    st.integers(-3, 14).map(lambda n: n + 0.3217), st.integers(-3, 14).map(lambda n: n + 0.4391)
)


def blobs(count, shape, smooth, seed=0):
    random = np.random.default_rng(seed)
    noise = [gaussian_filter(random.standard_normal(shape), smooth) for _ in range(count)]
    return np.array([image > image.std() / 2 for image in noise])


def holds(polygon, x, y):
    """Whether a polygon of whole corners holds a pixel, in exact arithmetic."""
    inside = False
    for (ax, ay), (bx, by) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        side = (bx - ax) * (y - ay) - (by - ay) * (x - ax)
        if side == 0 and min(ax, bx) <= x <= max(ax, bx) and min(ay, by) <= y <= max(ay, by):
            return True
        if (ay > y) != (by > y) and x < ax + Fraction((y - ay) * (bx - ax), by - ay):
            inside = not inside
    return inside


@given(st.lists(whole, min_size=3, max_size=9))
def test_polygons_of_whole_corners_are_filled_exactly(polygon):
    expected = [[holds(polygon, x, y) for x in range(12)] for y in range(9)]
    got = fill_polygon(polygon, (9, 12))
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(fill_polygon(polygon[::-1], (9, 12)), got)
    np.testing.assert_array_equal(fill_polygon(polygon[2:] + polygon[:2], (9, 12)), got)


@given(st.lists(odd, min_size=3, max_size=9))
def test_polygons_are_filled_as_by_scikit_image(polygon):
    expected = grid_points_in_poly((9, 12), [(y, x) for x, y in polygon])
    np.testing.assert_array_equal(fill_polygon(polygon, (9, 12)), expected)


@given(st.lists(odd, min_size=3, max_size=3))
def test_triangles_are_filled_as_by_shapely(polygon):
    triangle = Polygon(polygon)
    expected = [[triangle.intersects(Point(x, y)) for x in range(12)] for y in range(9)]
    np.testing.assert_array_equal(fill_polygon(polygon, (9, 12)), expected)


@given(st.lists(st.tuples(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9)), min_size=3, max_size=6))
def test_corners_far_outside_are_cut(polygon):
    got = fill_polygon(polygon, (7, 5))
    assert got.shape == (7, 5)
    around = [(-(10**9), -(10**9)), (10**9, -(10**9)), (10**9, 10**9), (-(10**9), 10**9)]
    assert fill_polygon(around, (7, 5)).all()


def same_again(mask):
    found = trace(mask)
    np.testing.assert_array_equal(fill(found, mask.shape), mask)
    assert all(len(outline.points) >= 3 for outline in found)
    assert [outline.layer for outline in found] == sorted(outline.layer for outline in found)
    assert not any(crosses_itself(outline.points) for outline in found)
    return found


@given(masks)
def test_every_mask_comes_back(mask):
    same_again(mask)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (9, 1), (2, 4), (3, 3)])
def test_all_masks_of_a_size_come_back(height, width):
    pixels = height * width
    numbers = np.arange(2**pixels)
    stack = (numbers[:, np.newaxis] >> np.arange(pixels) & 1).astype(bool)
    for mask in stack.reshape(-1, height, width):
        same_again(mask)


def rings(size):
    y, x = np.mgrid[:size, :size]
    return np.maximum(abs(x - size // 2), abs(y - size // 2)) % 2 == 0


@pytest.mark.parametrize(
    "mask",
    [
        np.zeros((5, 7), bool),
        np.ones((5, 7), bool),
        np.indices((9, 12)).sum(axis=0) % 2 == 0,
        rings(21),
        ~rings(21),
        np.eye(9, dtype=bool),
        *blobs(4, (80, 60), 3),
        *blobs(4, (80, 60), 0),
    ],
)
def test_masks_of_many_parts_come_back(mask):
    same_again(mask)


@given(masks)
def test_outlines_are_those_of_opencv(mask):
    """The first layer: one outline for each outermost component, with the same corners."""
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    contours = {frozenset(map(tuple, c[:, 0].tolist())) for c in found if len(c) > 2}
    first = [outline for outline in trace(mask) if outline.layer == 0]
    assert len(first) == label(binary_fill_holes(mask), np.ones((3, 3)))[1]
    ours = {frozenset(map(tuple, outline.points.tolist())) for outline in first}
    assert contours <= ours
    filled = np.zeros(mask.shape, np.uint8)
    for outline in first:
        cv2.fillPoly(filled, [outline.points.astype(np.int32)], 1)
    np.testing.assert_array_equal(filled > 0, fill(first, mask.shape))
    np.testing.assert_array_equal(filled > 0, binary_fill_holes(mask))


@pytest.mark.parametrize("line", [[(2, 3)], [(2, 3), (3, 3)], [(2, 1), (3, 2), (4, 3)]])
def test_a_point_or_line_has_a_thin_outline_with_an_area(line):
    mask = np.zeros((6, 7), bool)
    for x, y in line:
        mask[y, x] = True
    (outline,) = same_again(mask)
    assert Polygon(outline.points).is_valid
    assert 0 < Polygon(outline.points).area <= 0.5 * len(line)


def test_holes_and_islands_are_further_layers():
    found = same_again(rings(9))
    assert [(outline.layer, outline.hole) for outline in found] == [
        (0, False),
        (1, True),
        (2, False),
        (3, True),
        (4, False),
    ]
    assert found[1].points.tolist() == [[1, 1], [7, 1], [7, 7], [1, 7]]


@pytest.mark.parametrize("smooth", [0, 1, 4])
@pytest.mark.parametrize("tolerance_px", [0.5, 1.0, 2.5])
def test_what_simplification_changes_lies_near_the_outlines(smooth, tolerance_px):
    for mask in blobs(3, (90, 70), smooth, seed=5):
        exact, simpler = trace(mask), trace(mask, tolerance_px)
        assert len(exact) == len(simpler)
        assert sum(len(o.points) for o in simpler) < sum(len(o.points) for o in exact)
        lines = [LinearRing(outline.points) for outline in exact]
        for y, x in np.argwhere(fill(simpler, mask.shape) != mask):
            assert min(line.distance(Point(x, y)) for line in lines) <= tolerance_px + 1e-9


def test_simplification_keeps_every_part():
    mask = np.zeros((40, 40), bool)
    mask[3, 4] = mask[10, 5:9] = mask[20:23, 20:22] = True
    for tolerance_px in (1, 100):
        assert (fill(trace(mask, tolerance_px), mask.shape) & mask).any(axis=1).tolist() == (
            mask.any(axis=1).tolist()
        )


def test_threads_and_stacks_change_nothing():
    stack = blobs(11, (50, 41), 2)
    one = [trace(mask) for mask in stack]
    for threads in (0, 1, 3):
        many = trace_stack(stack, threads=threads)
        assert len(many) == len(one)
        for a, b in zip(many, one, strict=True):
            assert [o.layer for o in a] == [o.layer for o in b]
            for p, q in zip(a, b, strict=True):
                np.testing.assert_array_equal(p.points, q.points)
        points, starts, of, layers = _core.trace_masks(stack.view(np.uint8), 0.0, threads)
        filled = np.zeros((1, *stack.shape), np.uint8)
        objects = np.where(layers % 2, outlines.ERASE, 0)
        _core.fill_polygons(points, starts, of, objects, filled, threads)
        np.testing.assert_array_equal(filled[0].view(bool), stack)
    assert trace_stack(np.zeros((0, 4, 4), bool)) == []
    assert trace_stack(np.zeros((2, 0, 4), bool)) == [[], []]


@given(st.lists(odd, min_size=3, max_size=8))
def test_crossings_are_those_that_shapely_finds(polygon):
    ring = LinearRing(polygon)
    parts = [LineString(p) for p in zip(polygon, polygon[1:] + polygon[:1], strict=True)]
    crossing = any(a.crosses(b) for i, a in enumerate(parts) for b in parts[:i])
    if ring.is_simple:
        assert not crosses_itself(polygon)
    assert crosses_itself(polygon) >= crossing
    assert crosses_itself(polygon[::-1]) == crosses_itself(polygon)
    assert crosses_itself(polygon[1:] + polygon[:1]) == crosses_itself(polygon)


@pytest.mark.parametrize(
    ("polygon", "crossing"),
    [
        ([(0, 0), (4, 0), (4, 4), (0, 4)], False),
        ([(0, 0), (4, 4), (4, 0), (0, 4)], True),
        ([(0, 0), (2, 2), (4, 4), (4, 0), (2, 2), (0, 4)], True),
        ([(0, 0), (2, 2), (4, 0), (4, 4), (2, 2), (0, 4)], False),  # two triangles that touch
        ([(0, 0), (4, 0), (4, 4), (2, 0), (0, 4)], False),  # a corner on an edge
        ([(0, 0), (4, 0), (4, 4), (2, 0), (2, -3), (0, 4)], True),  # and through it
        ([(0, 0), (4, 0), (8, 0), (4, 0), (4, 4), (0, 4)], False),  # there and back
        ([(0, 0), (0, 0), (4, 0), (4, 4), (4, 4), (0, 4), (0, 0)], False),  # said twice
        ([(0, 0), (4, 0), (4, 4), (0, 4), (0, 0), (4, 0), (4, 4), (0, 4)], False),  # twice around
        ([(1, 1), (1, 1), (1, 1)], False),
    ],
)
def test_touching_is_no_crossing(polygon, crossing):
    for turned in (polygon, polygon[::-1], polygon[2:] + polygon[:2], [(y, x) for x, y in polygon]):
        assert crosses_itself(turned) is crossing


def test_polygons_for_an_image():
    polygon = [(1, 1), (5, 1), (5, 5.5)]
    got = check_polygon(polygon, (10, 12))
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, polygon)


@pytest.mark.parametrize(
    ("polygon", "match"),
    [
        ([], "at least three"),
        ([(1, 1), (5, 5)], "at least three"),
        ([(1, 1, 1), (5, 5, 5), (2, 3, 4)], "at least three"),
        ([(1, 1), (5, np.nan), (5, 5)], "finite"),
        ([(1, 1), (5, np.inf), (5, 5)], "finite"),
        ([(1, 1), (5, 2e9), (5, 5)], "farther out than 1e"),
        ([("1", "1"), ("5", "2"), ("5", "5")], "list of"),
        ([(True, False), (True, True), (False, True)], "list of"),
        ([(1, 1), (5,)], "list of"),
        ("polygon", "list of"),
        (None, "list of"),
        ([(1, 1), (5, 5), (5, 1), (1, 5)], "crosses itself"),
        ([(100, 1), (150, 1), (130, 9)], "no pixel of the image, which is 10 x 12"),
        ([(1.2, 1.2), (1.4, 1.2), (1.3, 1.4)], "no pixel"),
    ],
)
def test_what_is_no_polygon_for_an_image(polygon, match):
    with pytest.raises(ValueError, match=f"outline .*{match}"):
        check_polygon(polygon, (10, 12), "outline")


@pytest.mark.parametrize(
    ("mask", "error"),
    [
        (np.ones((3, 3)), TypeError),
        (np.full((3, 3), 2), ValueError),
        (np.ones(3, bool), ValueError),
        (np.ones((1, 3, 3), bool), ValueError),
        ("mask", TypeError),
    ],
)
def test_what_is_no_mask(mask, error):
    with pytest.raises(error, match="mask"):
        trace(mask)


@pytest.mark.parametrize("tolerance_px", [-1, np.nan, np.inf])
def test_tolerances_that_are_none(tolerance_px):
    with pytest.raises(ValueError, match="tolerance_px"):
        trace(np.ones((3, 3), bool), tolerance_px)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("image_of", [1, 0]),
        ("image_of", [0, 4]),
        ("image_of", [-1, 0]),
        ("object_of", [-2, 0]),
        ("object_of", [0, 1]),
        ("starts", [0, 4, 3]),
        ("starts", [1, 3, 6]),
        ("points", np.nan),
    ],
)
def test_numbers_out_of_range_do_not_reach_memory(name, value):
    arguments = {
        "points": np.ones((6, 2)),
        "starts": np.array([0, 3, 6]),
        "image_of": np.array([0, 1]),
        "object_of": np.array([0, 0]),
        "filled": np.zeros((1, 4, 5, 6), np.uint8),
    }
    arguments[name] = np.full_like(arguments[name], value)
    with pytest.raises(ValueError, match=name):
        _core.fill_polygons(**arguments)
    assert not arguments["filled"].any()


def test_distances_of_a_ring_are_kept():
    """A disc with a hole, at a size of real maps: the outline is where the border is."""
    y, x = np.mgrid[:300, :280]
    radius = np.hypot(x - 140, y - 150)
    mask = (radius < 120) & (radius > 40)
    border = mask & (distance_transform_edt(mask) < 1.1)
    for outline in same_again(mask):
        corners = outline.points.astype(int)
        on = border if not outline.hole else ~mask
        assert on[corners[:, 1], corners[:, 0]].all()
