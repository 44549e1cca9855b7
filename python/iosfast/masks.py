"""The mask of the cortex: read from an image, or drawn as a polygon."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core, arguments
from .errors import ReadError
from .outlines import fill_polygon

#: Side of the mean filter that smooths a drawn outline in the published pipeline.
OUTLINE_SMOOTHING_PX = 11


def cortex_mask(polygon: ArrayLike, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Mask of the cortex from an outline, as in the published pipeline.

    The polygon is filled (`outlines.fill_polygon`), smoothed with an 11 x 11 mean over
    zeros outside the image, and cut at >= 0.5.

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
        If the polygon has fewer than three corners or holds no pixel.

    Notes
    -----
    Zhang et al., Sci Data 13, 255 (2026), doi 10.1038/s41597-026-06580-1.
    """
    filled = fill_polygon(polygon, shape)
    ones = filled[np.newaxis].astype(np.uint16)
    mean = np.empty(ones.shape, np.float32)
    _core.box_mean(ones, OUTLINE_SMOOTHING_PX, _core.Border.zero, False, mean)
    mask: NDArray[np.bool_] = mean[0] >= 0.5
    if not mask.any():
        raise ValueError("polygon holds no pixel of the image")
    return mask


def read_mask(
    mask: str | PathLike[str] | NDArray[Any], shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Mask from an array, an image file, or a JSON file with an outline.

    Parameters
    ----------
    mask : ndarray, shape (Y, X), or path
        An image (PNG, TIFF, ``.npy``), where pixels other than 0 are cortex and are used as they
        are; or a ``.json`` file with a list of (x, y), which goes through `cortex_mask`.
    shape : tuple of int
        (Y, X) of the recording.

    Returns
    -------
    ndarray of bool, shape (Y, X)

    Raises
    ------
    ValueError
        If it has another size, or no pixel.
    ReadError
        If the file cannot be read.
    """
    shape = arguments.image_shape("shape", shape)
    name = "mask"
    image: NDArray[Any]
    if isinstance(mask, str | PathLike):
        path = Path(mask)
        name = f"mask {path}"
        if path.suffix.lower() == ".json":
            return cortex_mask(_read_polygon(path), shape)
        image = _read_image(path)
    else:
        image = np.asarray(mask)
    if image.ndim == 3 and image.shape[2] in (3, 4):
        image = np.any(image[..., :3], axis=2)
    if image.shape != shape:
        raise ValueError(f"{name} has shape {image.shape}, but the frames are {shape} (Y, X)")
    if image.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be numbers, not {image.dtype}")
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise ValueError(f"{name} must be finite")
    inside: NDArray[np.bool_] = image != 0
    if not inside.any():
        raise ValueError(f"{name} is empty: every pixel is 0")
    return inside


def _read_polygon(path: Path) -> Any:
    try:
        outline = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReadError(f"the mask cannot be read: {error}", path) from error
    if not isinstance(outline, list):
        raise ReadError("holds no outline [[x, y], ...]", path)
    return outline


def _read_image(path: Path) -> NDArray[Any]:
    try:
        if path.suffix.lower() == ".npy":
            loaded: NDArray[Any] = np.load(path, allow_pickle=False)
            return loaded
        if path.suffix.lower() in (".tif", ".tiff"):
            import tifffile

            return np.asarray(tifffile.imread(path))
        from PIL import Image

        with Image.open(path) as image:
            return np.asarray(image.convert("RGB") if image.mode == "P" else image)
    except Exception as error:  # what a library raises on a damaged image is open-ended
        raise ReadError(f"the mask cannot be read: {error}", path) from error
