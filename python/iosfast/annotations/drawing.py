"""Masks to polygons of several objects, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..outlines import ERASE, Outline, PolygonList, trace, trace_stack
from . import isat
from .labels import BACKGROUND, LabelledImage, ObjectKey, Polygon


def polygons_of(
    masks: NDArray[np.bool_],
    keys: Sequence[ObjectKey],
    tolerance_px: float = 0.0,
    threads: int = 0,
    progress: Any = None,
) -> list[tuple[Polygon, ...]]:
    """Return polygons of every image, that drawn by their layers give its masks.

    Holes are polygons of `BACKGROUND`, which clear the pixels of all objects below. So where
    objects overlap, what a hole of one takes away from another is drawn once more above it.

    Parameters
    ----------
    masks : ndarray of bool, shape (objects, T, Y, X)
    keys : sequence of ObjectKey
        Of the objects.
    tolerance_px : float
        See `iosfast.outlines.trace`.
    threads : int
    progress : callable, optional
        Called with the number of masks (objects times images) done.

    Returns
    -------
    list of tuple of Polygon
        For each image.
    """
    objects, images, height, width = masks.shape
    traced = trace_stack(
        masks.reshape(objects * images, height, width),
        tolerance_px,
        threads,
        progress,
    )
    result = []
    for t in range(images):
        each = [traced[o * images + t] for o in range(objects)]
        drawn = [(o, outline) for o, outlines in enumerate(each) for outline in outlines]
        if sum(map(bool, each)) > 1 and any(outline.hole for _, outline in drawn):
            drawn += _taken_away(drawn, objects, (height, width))
        result.append(
            tuple(
                Polygon(BACKGROUND, outline.points, 0, layer)
                if outline.hole
                else Polygon(*_named(keys[o], outline), layer)
                for layer, (o, outline) in enumerate(drawn, 1)
            )
        )
    return result


def _named(key: ObjectKey, outline: Outline) -> tuple[str, NDArray[np.float64], int]:
    return key.category, outline.points, key.group


def _taken_away(
    drawn: list[tuple[int, Outline]], objects: int, shape: tuple[int, int]
) -> list[tuple[int, Outline]]:
    """Return outlines, none of them holes, of what the holes of other objects clear of each."""
    again = []
    polygons = PolygonList.of(outline.points for _, outline in drawn)
    together = np.zeros((objects, 1, *shape), np.bool_)
    numbers = [ERASE if outline.hole else o for o, outline in drawn]
    polygons.fill(np.zeros(len(drawn)), numbers, together, threads=1)
    for o in range(objects):
        alone = np.zeros((1, 1, *shape), np.bool_)
        own = [outline for number, outline in drawn if number == o]
        erased = [ERASE if outline.hole else 0 for outline in own]
        PolygonList.of(p.points for p in own).fill(np.zeros(len(own)), erased, alone, threads=1)
        lost = alone[0, 0] & ~together[o, 0]
        again += [(o, outline) for outline in _without_holes(lost)]
    return again


def _without_holes(mask: NDArray[np.bool_]) -> list[Outline]:
    """Trace a mask, cut into pieces where it has holes."""
    outlines = trace(mask)
    if not any(outline.hole for outline in outlines):
        return outlines
    rows = np.flatnonzero(mask.any(axis=1))
    middle = (rows[0] + rows[-1] + 1) // 2
    upper, lower = mask.copy(), mask.copy()
    upper[middle:] = False
    lower[:middle] = False
    return _without_holes(upper) + _without_holes(lower)


def masks_of(
    images: Sequence[LabelledImage | None],
    keys: Sequence[ObjectKey],
    shape: tuple[int, int],
    threads: int,
) -> NDArray[np.bool_]:
    """Draw the polygons of images; None is one without labels.

    Returns
    -------
    ndarray of bool, shape (objects, T, Y, X)
    """
    number = {key: o for o, key in enumerate(keys)}
    points, of, objects = [], [], []
    for t, image in enumerate(images):
        for polygon in image.drawn() if image is not None else ():
            erases = polygon.category == BACKGROUND
            if not erases and polygon.key not in number:
                continue
            origin = polygon.origin
            moved = origin is not None and origin.format == isat.FORMAT
            points.append(isat.snapped(polygon.points) if moved else polygon.points)
            of.append(t)
            objects.append(ERASE if erases else number[polygon.key])
    masks = np.zeros((len(keys), len(images), *shape), np.bool_)
    PolygonList.of(points).fill(of, objects, masks, threads)
    return masks
