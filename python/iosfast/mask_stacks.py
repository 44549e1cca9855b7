"""Checks of what is measured: stacks of masks, and the size of their pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core, arguments


def checked_stacks(name: str, masks: Any) -> NDArray[np.uint8]:
    """Masks as bytes, (objects, T, Y, X), contiguous; those that are so are not copied."""
    if not isinstance(masks, np.ndarray):
        raise TypeError(f"{name} must be an array, not {type(masks).__name__}")
    if masks.dtype not in (np.dtype(bool), np.dtype(np.uint8)):
        raise TypeError(f"{name} must be bool or uint8, not {masks.dtype}")
    if masks.ndim not in (3, 4) or masks.size == 0:
        raise ValueError(
            f"{name} must be (T, Y, X) or (objects, T, Y, X), and not empty, not {masks.shape}"
        )
    if max(masks.shape[-2:]) > _core.MAX_MASK_SIDE:
        raise ValueError(
            f"{name} must have at most {_core.MAX_MASK_SIDE} pixels a side, not {masks.shape}"
        )
    stacks = masks if masks.ndim == 4 else masks[np.newaxis]
    return np.ascontiguousarray(stacks).view(np.uint8)


def checked_pixel_size(pixel_size_mm: Any) -> tuple[float, float]:
    """Edges of a pixel, (y, x)."""
    name = "pixel_size_mm"
    if pixel_size_mm is None:
        raise TypeError(f"{name} must be given: lengths in mm need it, and it is never assumed")
    if np.ndim(pixel_size_mm) == 0:
        edge = arguments.number(name, pixel_size_mm, 0, above=True)
        return edge, edge
    y, x = arguments.pair(name, pixel_size_mm)
    return arguments.number(name, y, 0, above=True), arguments.number(name, x, 0, above=True)
