"""The metrics of the published data set, by its definitions."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core, arguments

_Doubles = NDArray[np.float64]

#: Columns of the data set's table, in its spelling.
PUBLISHED_COLUMNS = (
    "SignalClipsName",
    "Labelindex",
    "Brain_region",
    "OrigalPoint_x",
    "OrigalPoint_y",
    "EndPoint_x",
    "EndPoint_y",
    "SignalAmp",
    "AverageSpeed",
    "Distance",
    "LastTime",
    "CoverArea",
)

#: Shrink factor of the published coverage.
PUBLISHED_SHRINK = 0.5
#: Radii that differ by less than this part are one: those of equal triangles, rounded.
_SAME_RADIUS = 1e-9
#: A triangle of a smaller part of the square of its longest side is a line, but for rounding.
_FLAT = 1e-12


def path_amplitude(intensity: NDArray[Any], centroids: _Doubles, maps: list[int]) -> float:
    """Mean of the images on the way of a wave.

    It is that of three blocks of 3 x 3 pixels, around the centroids in the images a quarter, a
    half and three quarters of the way from the first map to the last (by number, rounded half
    up), each in its own image; less of a block where it reaches beyond the image.

    Parameters
    ----------
    intensity : ndarray, shape (T, Y, X)
        Images of the times of the maps.
    centroids : ndarray of float64, shape (N, 2)
        (x, y) in pixels of every map that has a mask.
    maps : list of int
        The numbers of these N maps.

    Returns
    -------
    float
        NaN without a map.
    """
    if not maps:
        return math.nan
    means = []
    for part in (0.25, 0.5, 0.75):
        i = math.floor((len(maps) - 1) * part + 0.5)
        x, y = (math.floor(c + 0.5) for c in centroids[i])
        block = intensity[maps[i], max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        means.append(float(np.mean(block, dtype=np.float64)))
    return math.fsum(means) / len(means)


def outline_area(
    outline: NDArray[np.bool_],
    pixel_size_mm: tuple[float, float],
    shrink: float = PUBLISHED_SHRINK,
) -> float:
    """Area in mm^2 that the centres of pixels enclose: their `boundary_area`, but faster.

    Where pixels lie side by side the triangulation is known, so that only those at the rim of
    such areas need to be triangulated; and pixels are points of a grid, which the core
    triangulates faster than points anywhere.

    Parameters
    ----------
    outline : ndarray of bool, shape (Y, X)
    pixel_size_mm : pair of float
        (y, x).
    shrink : float
        0 to 1.
    """
    full = outline[:-1, :-1] & outline[1:, :-1] & outline[:-1, 1:] & outline[1:, 1:]
    around = np.pad(full, 1)
    inner = around[:-1, :-1] & around[1:, :-1] & around[:-1, 1:] & around[1:, 1:]
    xy = np.column_stack(np.nonzero((outline & ~inner).T)).astype(np.int32)
    if not len(xy):
        return 0.0
    high, wide = pixel_size_mm
    triangles, neighbours = _core.delaunay(xy, wide, high)
    if not len(triangles):
        return 0.0
    mesh = _measured(triangles, neighbours, xy * np.array([wide, high]))
    # The middle of three corners, rounded down.
    x, y = (xy[:, axis][triangles].sum(axis=1) // 3 for axis in (0, 1))
    mesh.radii[full[y, x]] = math.hypot(wide, high) / 2
    return _enclosed_area(mesh, shrink)


def boundary_area(points: ArrayLike, shrink: float = PUBLISHED_SHRINK) -> float:
    """Area of the region that encloses points tightly, as MATLAB's ``boundary`` draws it.

    The region consists of triangles of the points' Delaunay triangulation: those whose
    circumscribed circle has at most a certain radius, and all that they enclose. The candidates
    are the radii of all triangles, each once, from the smallest for which the triangles hold all
    points and hang together by their sides. Of these n, in ascending order, the one at place
    ceil((1 - shrink) n) is taken, or the first: 0 gives the convex hull, 1 the tightest single
    region.

    Parameters
    ----------
    points : array_like, shape (N, 2)
        (x, y), in any unit.
    shrink : float
        0 to 1.

    Returns
    -------
    float
        In the square of the unit; 0 for points that span no area.
    """
    shrink = arguments.number("shrink", shrink, 0, 1)
    xy = np.unique(np.asarray(points, np.float64), axis=0)
    if xy.ndim != 2 or xy.shape[1] != 2 or not np.isfinite(xy).all():
        raise ValueError("points must be finite (x, y)")
    return 0.0 if _spans_nothing(xy) else _enclosed_area(_triangulated(xy), shrink)


class _Mesh(NamedTuple):
    """Delaunay triangles: corners, neighbours (-1: none), areas, radii of circumscribed circles."""

    triangles: NDArray[np.int32]
    neighbours: NDArray[np.int32]
    areas: _Doubles
    radii: _Doubles


def _spans_nothing(xy: _Doubles) -> bool:
    if len(xy) < 3:
        return True
    reach = float(np.ptp(xy, axis=0).max())
    return int(np.linalg.matrix_rank(xy - xy[0], tol=1e-9 * reach)) < 2


def _triangulated(xy: _Doubles) -> _Mesh:
    """Triangulate points that lie anywhere."""
    from matplotlib.tri import Triangulation

    mesh = Triangulation(xy[:, 0], xy[:, 1])
    return _measured(np.asarray(mesh.triangles), np.asarray(mesh.neighbors), xy)


def _measured(triangles: NDArray[np.int32], neighbours: NDArray[np.int32], xy: _Doubles) -> _Mesh:
    (ax, bx, cx), (ay, by, cy) = (np.ascontiguousarray(xy[:, i])[triangles].T for i in (0, 1))
    sides = [np.hypot(bx - ax, by - ay), np.hypot(cx - bx, cy - by), np.hypot(ax - cx, ay - cy)]
    areas = np.abs((bx - ax) * (cy - ay) - (by - ay) * (cx - ax)) / 2
    flat = areas <= _FLAT * np.maximum(np.maximum(sides[0], sides[1]), sides[2]) ** 2
    radii = sides[0] * sides[1] * sides[2] / (4 * np.where(flat, 1, areas))
    radii[flat] = np.inf
    return _Mesh(np.ascontiguousarray(triangles), np.ascontiguousarray(neighbours), areas, radii)


def _enclosed_area(mesh: _Mesh, shrink: float) -> float:
    steps = _distinct(mesh.radii)
    candidates = steps[: _one_region(mesh, steps)]
    kept = mesh.radii <= candidates[-max(math.ceil((1 - shrink) * len(candidates)), 1)]
    outside = _reached_from_outside(mesh.neighbours, ~kept)
    return math.fsum(mesh.areas[~outside])


def _distinct(radii: _Doubles) -> _Doubles:
    """Every radius once, descending; those that differ by rounding alone are their largest."""
    falling = np.sort(radii[np.isfinite(radii)])[::-1]
    new = np.concatenate([[True], falling[1:] < falling[:-1] * (1 - _SAME_RADIUS)])
    distinct: _Doubles = falling[new]
    return distinct


def _one_region(mesh: _Mesh, steps: _Doubles) -> int:
    """Count the steps down to the smallest radius with a single region that holds all points."""
    order = np.argsort(mesh.radii, kind="stable")
    ends = np.searchsorted(mesh.radii[order], steps[::-1], side="right")
    points = int(mesh.triangles.max()) + 1
    groups = _core.groups_to_one_region(mesh.triangles, mesh.neighbours, order, ends, points)
    return max(len(steps) - groups + 1, 1)


def _reached_from_outside(
    neighbours: NDArray[np.int32], open_to: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Find open triangles that the outside reaches through open ones."""
    reached = open_to & (neighbours < 0).any(axis=1)
    latest: NDArray[Any] = np.flatnonzero(reached)
    while latest.size:
        beside = np.unique(neighbours[latest])
        beside = beside[beside >= 0]
        latest = beside[open_to[beside] & ~reached[beside]]
        reached[latest] = True
    return reached
