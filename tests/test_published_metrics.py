"""The data set's table: an example worked by hand, and its coverage on shapes that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull, Delaunay

import iosfast
from iosfast import _core
from iosfast.published_metrics import (
    PUBLISHED_COLUMNS,
    boundary_area,
    outline_area,
    path_amplitude,
)


def test_an_example_worked_by_hand():
    """Two waves over midnight, each of five maps, 5 s apart, on pixels of 0.02 mm.

    The first is a 5 x 5 square: centroids (12, 22), (15, 26), (18, 30), (21, 34), (24, 38): steps
    of 5 px, that is 0.1 mm; journey 0.4 mm in 20 s, 1.2 mm/min; distance 20 px, 0.4 mm. All
    outlines lie on a line of squares, side by side at their corners.

    The second is a 3 x 3 square that goes right and comes back: (41, 11), (51, 11), (61, 11),
    (51, 11), (41, 11): journey 40 px, 0.8 mm, 2.4 mm/min; distance 0. The pixels of the outlines
    are those of three squares: columns 40-42, 50-52 and 60-62 of rows 10-12. Their hull is 22 x 2
    pixels; no other region holds all of them, as they are 8 pixels apart.

    The images have the value 100 t + y in map t. A quarter, a half and three quarters of the way
    of five maps are maps 1, 2 and 3: the blocks' means are 100 t and the row of the centroid.
    """
    masks = np.zeros((2, 5, 60, 80), bool)
    for t in range(5):
        masks[0, t, 20 + 4 * t : 25 + 4 * t, 10 + 3 * t : 15 + 3 * t] = True
    for t, x in enumerate((40, 50, 60, 50, 40)):
        masks[1, t, 10:13, x : x + 3] = True
    images = np.arange(5)[:, None, None] * 100.0 + np.arange(60)[:, None] + np.zeros(80)
    midnight = 24 * 3600.0
    times = midnight - 12 + 5 * np.arange(5)
    table = iosfast.measure(
        masks, times, 0.02, images, objects=["1-1", "1-2"], clip="segment_0",
        hemisphere={"1-1": "left", "1-2": "right"},
    ).published()  # fmt: skip
    assert tuple(table) == PUBLISHED_COLUMNS
    assert table.iloc[1].to_dict() == pytest.approx(
        {
            "SignalClipsName": "segment_0",
            "Labelindex": "1-2",
            "Brain_region": "right",
            "OrigalPoint_x": 42,
            "OrigalPoint_y": 12,
            "EndPoint_x": 42,
            "EndPoint_y": 12,
            "SignalAmp": 200 + 11,
            "AverageSpeed": 2.4,
            "Distance": 0,
            "LastTime": 20,
            "CoverArea": 22 * 2 * 0.02**2,
        }
    )
    first = table.iloc[0].to_dict()
    area = first.pop("CoverArea")
    assert first == pytest.approx(
        {
            "SignalClipsName": "segment_0",
            "Labelindex": "1-1",
            "Brain_region": "left",
            "OrigalPoint_x": 13,
            "OrigalPoint_y": 23,
            "EndPoint_x": 25,
            "EndPoint_y": 39,
            "SignalAmp": 200 + (26 + 30 + 34) / 3,
            "AverageSpeed": 1.2,
            "Distance": 0.4,
            "LastTime": 20,
        }
    )
    # Between the squares of 4 x 4 (between centres) and their convex hull, which is a strip.
    squares, hull = 5 * 16 - 4, 16 + 16 * 4 + 12 * 4
    assert squares * 0.02**2 <= area <= hull * 0.02**2


# Coverage


def grid(width, height, step=1.0):
    x, y = np.meshgrid(np.arange(0, width + step, step), np.arange(0, height + step, step))
    return np.column_stack([x.ravel(), y.ravel()])


def test_rectangles():
    for shrink in (0, 0.5, 1):
        assert boundary_area(grid(6, 3), shrink) == pytest.approx(18)
        assert boundary_area([[0, 0], [5, 0], [5, 2], [0, 2]], shrink) == pytest.approx(10)
    assert boundary_area([[0, 0], [3, 0], [0, 4]]) == pytest.approx(6)


def test_the_angle_of_an_l_is_cut_off_by_the_hull_only():
    """A grid of squares of 1 in the shape of an L: arms 2 wide and 10 long."""
    points = grid(10, 10)
    points = points[(points[:, 0] <= 2) | (points[:, 1] <= 2)]
    area = 10 * 2 + 8 * 2
    # The angle's own half square has the circle of every other half square.
    assert boundary_area(points, 1) == pytest.approx(area + 0.5)
    assert boundary_area(points, 0) == pytest.approx(area + 8 * 8 / 2)
    between = boundary_area(points, 0.5)
    assert area < between < area + 8 * 8 / 2


def test_what_is_enclosed_counts():
    """A frame of points around nothing: a ring of squares of 1 about a hole of 6 x 6."""
    points = grid(8, 8)
    inside = (np.abs(points - 4) < 3).all(axis=1)
    for shrink in (0, 0.5, 1):
        assert boundary_area(points[~inside], shrink) == pytest.approx(64)


def test_a_c_opens_with_the_shrink_factor():
    angle = np.radians(np.arange(30, 331, 3))
    points = np.vstack([r * np.column_stack([np.cos(angle), np.sin(angle)]) for r in (8, 9, 10)])
    ring = np.pi * (100 - 64) * 300 / 360
    areas = [boundary_area(points, shrink) for shrink in (0, 0.25, 0.5, 0.75, 1)]
    assert areas[0] == pytest.approx(ConvexHull(points).volume)
    assert areas == sorted(areas, reverse=True)
    assert areas[-1] == pytest.approx(ring, rel=0.02)


def test_discs_converge():
    random = np.random.default_rng(1)
    radius, angle = np.sqrt(random.random(4000)), random.uniform(0, 2 * np.pi, 4000)
    points = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    assert boundary_area(points) == pytest.approx(np.pi, rel=0.05)


def slow_boundary_area(points, shrink):
    """The same, by trying each radius from the smallest with SciPy's triangles."""
    points = np.unique(points, axis=0)
    mesh = Delaunay(points)
    corners = points[mesh.simplices]
    a, b, c = (np.linalg.norm(corners[:, i] - corners[:, i - 1], axis=1) for i in range(3))
    areas = np.abs(np.linalg.det(corners[:, 1:] - corners[:, :1])) / 2
    radii = a * b * c / (4 * areas)
    order = sorted(set(radii), reverse=True)

    def pieces(wanted):
        left, found = set(np.flatnonzero(wanted).tolist()), []
        while left:
            piece, latest = set(), [left.pop()]
            while latest:
                i = latest.pop()
                piece.add(i)
                for j in mesh.neighbors[i].tolist():
                    if j in left:
                        left.discard(j)
                        latest.append(j)
            found.append(piece)
        return found

    count = 0
    for n, radius in reversed(list(enumerate(order, 1))):
        kept = radii <= radius
        if len(pieces(kept)) == 1 and len(set(mesh.simplices[kept].ravel())) == len(points):
            count = n
            break
    kept = radii <= order[:count][-max(math.ceil((1 - shrink) * count), 1)]
    for piece in pieces(~kept):
        if all((mesh.neighbors[i] >= 0).all() for i in piece):
            kept[list(piece)] = True
    return areas[kept].sum()


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(4, 60), st.sampled_from([0, 0.3, 0.5, 1]))
def test_points_at_random(seed, count, shrink):
    points = np.random.default_rng(seed).normal(size=(count, 2)) * [1, 3]
    assert boundary_area(points, shrink) == pytest.approx(slow_boundary_area(points, shrink))


@settings(max_examples=60)
@given(
    st.integers(0, 2**32),
    st.sampled_from([0.1, 0.4, 0.8, 0.95]),
    st.sampled_from([0, 0.5, 1]),
    st.sampled_from([(1.0, 1.0), (0.02, 0.03)]),
)
def test_pixels_side_by_side_need_no_triangulation(seed, part, shrink, size):
    random = np.random.default_rng(seed)
    outline = random.random(random.integers(1, 20, 2)) < part
    outline |= random.random(outline.shape[0])[:, None] < 0.3
    y, x = np.nonzero(outline)
    expected = boundary_area(np.column_stack([x * size[1], y * size[0]]), shrink) if x.size else 0
    assert outline_area(outline, size, shrink) == pytest.approx(expected, rel=1e-9)


def test_coverage_is_left_out_if_it_is_not_wanted():
    masks = np.zeros((2, 20, 20), bool)
    masks[:, 5:10, 5:9] = True
    with_hull = iosfast.measure(masks, [0, 5], 0.5)
    without = iosfast.measure(masks, [0, 5], 0.5, hull=False)
    assert with_hull.events.coverage_hull_mm2.item() == pytest.approx(4 * 3 * 0.25)
    assert np.isnan(without.published().CoverArea.item())
    rest = with_hull.events.columns.drop("coverage_hull_mm2").tolist()
    assert without.events[rest].equals(with_hull.events[rest])


@settings(max_examples=80)
@given(
    st.integers(0, 2**32), st.sampled_from([0.1, 0.5, 0.9, 1]), st.sampled_from([1.0, 1.5, 0.37])
)
def test_triangles_of_a_grid(seed, part, high):
    """Against Qhull; which of several triangulations of points on a circle it is, is open."""
    random = np.random.default_rng(seed)
    pixels = random.random(random.integers(1, 25, 2)) < part
    pixels[0, 0] = True
    x, y = np.nonzero(pixels)
    points = np.column_stack([x, y]).astype(np.int32)
    corners, neighbours = _core.delaunay(points, 1.0, high)
    if len(points) < 3 or np.linalg.matrix_rank(points - points[0]) < 2:
        assert len(corners) == 0
        return
    placed = points * [1.0, high]

    def by_radius(triangles):
        a, b, c = (placed[triangles[:, i]] for i in range(3))
        sides = [np.linalg.norm(p - q, axis=1) for p, q in ((a, b), (b, c), (c, a))]
        areas = np.abs((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2
        solid = areas > 1e-9
        radii = np.round(np.prod(sides, axis=0)[solid] / (4 * areas[solid]), 6)
        found = {}
        for radius, area in zip(radii.tolist(), areas[solid].tolist(), strict=True):
            found[radius] = found.get(radius, 0) + area
        return found

    assert by_radius(corners) == pytest.approx(by_radius(Delaunay(placed).simplices))
    for number, (own, others) in enumerate(zip(corners.tolist(), neighbours.tolist(), strict=True)):
        for side, other in enumerate(others):
            ends = {own[side], own[(side + 1) % 3]}
            sharing = [n for n, c in enumerate(corners.tolist()) if ends <= set(c) and n != number]
            assert sharing == ([] if other < 0 else [other])


def test_bad_grids_and_regions():
    for points in ([[0, 0, 0]], [[1, 0], [0, 0]], [[0, 0], [0, 0]], [[-1, 0]], [[0, 40000]]):
        with pytest.raises(ValueError, match="points must be"):
            _core.delaunay(np.array(points, np.int32), 1.0, 1.0)
    with pytest.raises(ValueError, match="above 0"):
        _core.delaunay(np.zeros((1, 2), np.int32), 0.0, 1.0)
    good = {
        "triangles": np.array([[0, 1, 2]], np.int32),
        "neighbours": np.array([[-1, -1, -1]], np.int32),
        "order": np.array([0]),
        "ends": np.array([1]),
        "points": 3,
    }
    assert _core.groups_to_one_region(**good) == 1
    assert _core.groups_to_one_region(**good | {"points": 4}) == 2
    for name, wrong in (
        ("triangles", np.array([[0, 1, 3]], np.int32)),
        ("triangles", np.array([0, 1, 2], np.int32)),
        ("neighbours", np.array([[-1, -1, 1]], np.int32)),
        ("neighbours", np.array([[-2, -1, -1]], np.int32)),
        ("neighbours", np.zeros((0, 3), np.int32)),
        ("order", np.array([1])),
        ("ends", np.array([2])),
    ):
        with pytest.raises(ValueError, match=r"names|must be"):
            _core.groups_to_one_region(**good | {name: wrong})


def test_points_without_an_area():
    for points in ([[1, 2]], [[1, 2], [3, 4]], [[0, 0], [1, 1], [5, 5]], [[1, 1]] * 5):
        assert boundary_area(points) == 0
    assert outline_area(np.zeros((4, 5), bool), (1, 1)) == 0
    assert outline_area(np.eye(5, dtype=bool), (1, 1)) == 0


def test_bad_points():
    for points in ([[0, 0, 0]], [[0, np.nan]], [1, 2, 3]):
        with pytest.raises(ValueError, match="points"):
            boundary_area(points)
    with pytest.raises(ValueError, match="shrink"):
        boundary_area([[0, 0], [1, 0], [0, 1]], 1.5)


# Amplitude


def test_amplitude_is_that_of_the_own_path():
    """Not that of the last label, and not of (y, x)."""
    images = np.zeros((3, 30, 30))
    images[1, 4:7, 20:23] = 9.0
    path = np.array([[21.0, 5.0]] * 3)
    # Maps 1 (0.5 rounded up), 1 and 2 (1.5 rounded up) of three.
    assert path_amplitude(images, path, [0, 1, 2]) == pytest.approx(6.0)
    assert path_amplitude(images, path[:, ::-1], [0, 1, 2]) == 0
    assert path_amplitude(images, path[:1], [1]) == pytest.approx(9.0)
    assert np.isnan(path_amplitude(images, path[:0], []))


def test_amplitude_at_the_corner_of_the_image():
    images = np.full((1, 6, 6), 7, np.uint16)
    assert path_amplitude(images, np.array([[0.0, 0.0]]), [0]) == 7
    assert path_amplitude(images, np.array([[5.4, 5.4]]), [0]) == 7
