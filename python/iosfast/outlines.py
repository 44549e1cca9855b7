"""Polygons and masks: filling, tracing without loss, and what is a polygon at all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core, arguments

#: What `fill` writes for holes, instead of the number of an object.
ERASE = -1


@dataclass(frozen=True, eq=False)
class Outline:
    """One closed outline of a mask.

    Attributes
    ----------
    points : ndarray of float64, shape (N, 2)
        Corners as (x, y) in pixels, at least three; the centre of the first pixel is (0, 0).
    layer : int
        Its place in the order of drawing. Those of even layers are filled, of odd ones cleared.
    """

    points: NDArray[np.float64]
    layer: int

    @property
    def hole(self) -> bool:
        """Whether its pixels are cleared."""
        return self.layer % 2 == 1


@dataclass(frozen=True, eq=False)
class PolygonList:
    """Polygons one after another, as the core takes them.

    Attributes
    ----------
    points : ndarray of float64, shape (N, 2)
    starts : ndarray of int64, shape (P + 1,)
        Where each polygon begins in `points`, and N.
    """

    points: NDArray[np.float64]
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, polygons: Iterable[NDArray[np.float64]]) -> PolygonList:
        """Put polygons one after another."""
        each = list(polygons)
        starts = np.zeros(len(each) + 1, np.int64)
        np.cumsum([len(p) for p in each], out=starts[1:])
        points = np.concatenate(each) if each else np.empty((0, 2))
        return cls(np.ascontiguousarray(points, np.float64), starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def crossing(self, threads: int = 0) -> NDArray[np.bool_]:
        """Tell which of them cross themselves, bool (P,); see `crosses_itself`."""
        return _core.find_crossings(self.points, self.starts, threads).view(np.bool_)

    def fill(
        self,
        images: ArrayLike,
        objects: ArrayLike,
        masks: NDArray[np.bool_],
        threads: int = 0,
        progress: Any = None,
    ) -> None:
        """Fill them in their order into masks, bool (objects, T, Y, X).

        `images` and `objects`, int (P,), name the mask of each; images must not decrease. A
        polygon whose object is `ERASE` clears its pixels in the masks of all objects.
        """
        if not masks.size:
            return
        _core.fill_polygons(
            self.points,
            self.starts,
            np.ascontiguousarray(images, np.int64),
            np.ascontiguousarray(objects, np.int64),
            masks.view(np.uint8),
            threads,
            progress,
        )


def corners_of(polygon: ArrayLike, name: str = "polygon") -> NDArray[np.float64]:
    """Return at least three finite (x, y) as float64 (N, 2), or raise ValueError."""
    try:
        corners = np.array(polygon)
        if corners.dtype.kind not in "iuf":
            raise ValueError
        corners = corners.astype(np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a list of (x, y), not {polygon!r:.200}") from None
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3:
        raise ValueError(f"{name} must be at least three (x, y), not of shape {corners.shape}")
    if not np.isfinite(corners).all():
        raise ValueError(f"{name} must be finite")
    if np.abs(corners).max() > _core.MAX_COORDINATE:
        raise ValueError(f"{name} must not be farther out than {_core.MAX_COORDINATE:g} pixels")
    return corners


def fill_polygon(polygon: ArrayLike, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Fill a closed polygon.

    A pixel is set if its centre is inside by the even-odd rule, or on the border. For corners at
    whole numbers this is exact. Parts outside of the image are cut.

    Parameters
    ----------
    polygon : array_like, shape (N, 2)
        Corners as (x, y) in pixels, at least three; the centre of the first pixel is (0, 0).
    shape : tuple of int
        (Y, X).

    Returns
    -------
    ndarray of bool, shape (Y, X)

    Raises
    ------
    ValueError
        If there are fewer than three corners, or one is not finite.
    """
    return fill([Outline(corners_of(polygon), 0)], shape)


def fill(outlines: Iterable[Outline], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Fill outlines in ascending order of their layers; those of odd layers clear their pixels.

    Parameters
    ----------
    outlines : iterable of Outline
        As `trace` returns them.
    shape : tuple of int
        (Y, X).

    Returns
    -------
    ndarray of bool, shape (Y, X)
    """
    height, width = arguments.image_shape("shape", shape)
    ordered = sorted(outlines, key=lambda outline: outline.layer)
    polygons = PolygonList.of(outline.points for outline in ordered)
    mask = np.zeros((1, 1, height, width), np.bool_)
    objects = [ERASE if outline.hole else 0 for outline in ordered]
    polygons.fill(np.zeros(len(ordered)), objects, mask, threads=1)
    result: NDArray[np.bool_] = mask[0, 0]
    return result


def trace(mask: ArrayLike, tolerance_px: float = 0.0) -> list[Outline]:
    """Trace the outlines of a mask, through the centres of the pixels at its border.

    Filled again (`fill`), they give the mask to the bit, whatever it looks like: layer 0 holds the
    outlines of its outermost 8-connected components, layer 1 those of their holes, layer 2 those
    of islands in these, and so on. Only corners are kept. A single pixel, or a line of pixels, has
    an outline that is a quarter of a pixel wide and reaches no other pixel's centre, as other
    programs expect at least three corners.

    Parameters
    ----------
    mask : array_like of bool, shape (Y, X)
    tolerance_px : float
        Leave out corners as long as every pixel that changes lies within this distance of an
        outline as it was (Douglas and Peucker). An outline that would vanish is kept as it is.

    Returns
    -------
    list of Outline
        In ascending order of their layers.
    """
    checked = as_masks("mask", mask, 2)
    return trace_stack(checked[np.newaxis], tolerance_px, threads=1)[0]


def trace_stack(
    masks: ArrayLike, tolerance_px: float = 0.0, threads: int = 0, progress: Any = None
) -> list[list[Outline]]:
    """Trace the outlines of many masks at once; see `trace`.

    Parameters
    ----------
    masks : array_like of bool, shape (N, Y, X)
    tolerance_px : float
    threads : int
        0 is one per core; the result is the same.
    progress : callable, optional
        Called with the number of masks done.

    Returns
    -------
    list of list of Outline
        Those of each mask, in ascending order of their layers.
    """
    checked = as_masks("masks", masks, 3)
    tolerance = arguments.number("tolerance_px", tolerance_px, 0)
    threads = arguments.threads(threads)
    result: list[list[Outline]] = [[] for _ in range(len(checked))]
    if not checked.size:
        return result
    points, starts, of, layers = _core.trace_masks(
        checked.view(np.uint8), tolerance, threads, progress
    )
    for p, (index, layer) in enumerate(zip(of.tolist(), layers.tolist(), strict=True)):
        result[index].append(Outline(points[starts[p] : starts[p + 1]], layer))
    return result


def as_masks(name: str, masks: ArrayLike, ndim: int) -> NDArray[np.bool_]:
    """Return masks as a C-contiguous array of bool, or raise TypeError or ValueError."""
    checked = np.asarray(masks)
    if checked.dtype != np.bool_:
        if checked.dtype.kind not in "iu":
            raise TypeError(f"{name} must be bool, not {checked.dtype}")
        if checked.size and not ((checked == 0) | (checked == 1)).all():
            raise ValueError(f"{name} must be bool, or hold nothing but 0 and 1")
        checked = checked.astype(np.bool_)
    if checked.ndim != ndim:
        axes = ("objects", "T", "Y", "X")[-ndim:] if ndim != 3 else ("N", "Y", "X")
        raise ValueError(f"{name} must have axes ({', '.join(axes)}), not shape {checked.shape}")
    return np.ascontiguousarray(checked)


def crosses_itself(polygon: ArrayLike) -> bool:
    """Tell whether a polygon crosses itself.

    It does if two of its edges cross, or meet in a corner and go on on the other side. One that
    only touches itself, or goes back along an edge, does not.

    Parameters
    ----------
    polygon : array_like, shape (N, 2)
        Corners as (x, y) in pixels.

    Returns
    -------
    bool
    """
    return bool(PolygonList.of([corners_of(polygon)]).crossing(threads=1)[0])


def check_polygon(
    points: ArrayLike, shape: tuple[int, int], name: str = "polygon"
) -> NDArray[np.float64]:
    """Return a polygon that outlines something in an image.

    Parameters
    ----------
    points : array_like, shape (N, 2)
        Corners as (x, y) in pixels, at least three; the centre of the first pixel is (0, 0).
    shape : tuple of int
        (Y, X) of the image.
    name : str
        What errors call it.

    Returns
    -------
    ndarray of float64, shape (N, 2)

    Raises
    ------
    ValueError
        If there are fewer than three corners, one is not finite, the polygon crosses itself, or
        holds no pixel of the image.
    """
    shape = arguments.image_shape("shape", shape)
    corners = corners_of(points, name)
    if crosses_itself(corners):
        raise ValueError(f"{name} crosses itself")
    if not fill_polygon(corners, shape).any():
        height, width = shape
        raise ValueError(f"{name} holds no pixel of the image, which is {height} x {width} (Y, X)")
    return corners
