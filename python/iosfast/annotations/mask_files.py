"""Masks as images: a number for each object, in PNG files or TIFF stacks that say which is which.

A PNG holds the labels of one image; a TIFF stack those of all, one page for each. Pixels are 0 or
the number of an object. What iosfast writes also says the objects' names (text "iosfast" of a PNG,
information of an ImageJ stack), and the names of the images (labels of an ImageJ stack).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ReadError
from .labels import DEFAULT_CATEGORY, ObjectKey

#: Objects by the number of their pixels.
Numbers = dict[int, ObjectKey]

_PALETTE = (0, 0, 0, 239, 41, 41, 114, 159, 207, 138, 226, 52, 252, 175, 62, 173, 127, 168)


def numbers_of(keys: Sequence[ObjectKey]) -> Numbers:
    """Return the number of each object: its group if no two have the same, else as they come."""
    groups = [key.group for key in keys]
    if len(set(groups)) == len(groups) and all(0 < group < 256 for group in groups):
        return dict(zip(groups, keys, strict=True))
    if len(keys) > 65535:
        raise ValueError(f"an image of masks can hold 65535 objects, not {len(keys)}")
    return dict(enumerate(keys, 1))


def label_images(masks: NDArray[np.bool_], numbers: Numbers, names: Sequence[str]) -> NDArray[Any]:
    """Return the numbers of the objects, uint8 or uint16 (T, Y, X).

    Raises
    ------
    ValueError
        If objects overlap.
    """
    dtype = np.uint8 if max(numbers, default=0) < 256 else np.uint16
    labels = np.zeros(masks.shape[1:], dtype)
    for mask, (number, key) in zip(masks, numbers.items(), strict=True):
        both = mask & (labels != 0)
        if both.any():
            t = int(np.flatnonzero(both.any(axis=(1, 2)))[0])
            other = numbers[int(labels[t][both[t]][0])]
            raise ValueError(
                f"{other} and {key} overlap on image {names[t]}, and an image has one number for "
                "a pixel; write a TIFF stack for each object (a folder as the place), or labels"
            )
        labels[mask] = number
    return labels


def _description(numbers: Numbers) -> str:
    objects = [{"value": n, "category": k.category, "group": k.group} for n, k in numbers.items()]
    return json.dumps({"format": "iosfast masks", "objects": objects})


def _described(text: Any) -> Numbers | None:
    """Return the objects that a description names, or None if it is none of ours."""
    try:
        document = json.loads(text)
        if document["format"] != "iosfast masks":
            return None
        return {
            int(o["value"]): ObjectKey(str(o["category"]), int(o["group"]))
            for o in document["objects"]
        }
    except (TypeError, ValueError, KeyError, RecursionError):
        return None


def write_png(path: Path, labels: NDArray[Any], numbers: Numbers) -> None:
    """Write the labels of one image, uint8 or uint16 (Y, X)."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    image = Image.fromarray(labels)
    if labels.dtype == np.uint8:
        rest = [c for n in range(len(_PALETTE) // 3, 256) for c in (n * 37 % 256, n, 255 - n)]
        image.putpalette([*_PALETTE, *rest])
    info = PngInfo()
    info.add_itxt("iosfast", _description(numbers))
    image.save(path, format="PNG", pnginfo=info)


def write_tiff(path: Path, labels: NDArray[Any], numbers: Numbers, names: Sequence[str]) -> None:
    """Write the labels of all images, uint8 or uint16 (T, Y, X), as an ImageJ stack."""
    import tifffile

    tifffile.imwrite(
        path,
        labels,
        imagej=True,
        metadata={"axes": "TYX", "Labels": list(names), "Info": _description(numbers)},
    )


def read_png(path: Path) -> tuple[NDArray[Any], Numbers | None]:
    """Read the labels of one image of any kind that Pillow knows, (Y, X)."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.load()
            labels = np.asarray(image)
            numbers = _described(getattr(image, "text", {}).get("iosfast"))
    except Exception as error:  # what a library raises on a damaged image is open-ended
        raise ReadError(f"the masks cannot be read: {error}", path) from error
    return _checked(labels, 2, path), numbers


def read_tiff(path: Path) -> tuple[NDArray[Any], Numbers | None, list[str] | None]:
    """Read the labels of a stack, (T, Y, X), and the names of its images."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as tif:
            labels = tif.asarray()
            imagej = tif.imagej_metadata or {}
    except Exception as error:  # what a library raises on a damaged image is open-ended
        raise ReadError(f"the masks cannot be read: {error}", path) from error
    if labels.ndim == 2:
        labels = labels[np.newaxis]
    labels = _checked(labels, 3, path)
    names = imagej.get("Labels")
    if isinstance(names, str):
        names = [names]
    if names is not None and (len(names) != len(labels) or len(set(names)) != len(names)):
        names = None
    return labels, _described(imagej.get("Info")), names


def _checked(labels: NDArray[Any], ndim: int, path: Path) -> NDArray[Any]:
    if labels.ndim != ndim or labels.dtype.kind not in ("b", "u") or labels.dtype.itemsize > 2:
        raise ReadError(
            f"is no image of masks (0, or the number of an object, in whole numbers of 8 or 16 "
            f"bits), but {labels.dtype} of shape {labels.shape}",
            path,
        )
    return labels.astype(np.uint8) if labels.dtype.kind == "b" else labels


def objects_of(labels: NDArray[Any], path: Path) -> Numbers:
    """Return the objects of images that do not name them: by number, or one if that is 255."""
    seen = np.zeros(65536, np.bool_)
    for image in labels:
        seen[np.unique(image)] = True
    values = np.flatnonzero(seen).tolist()
    found = [value for value in values if value]
    if len(found) > 1000:
        raise ReadError(f"has pixels of {len(found)} values, so it is no image of masks", path)
    if found == [255]:
        return {255: ObjectKey(DEFAULT_CATEGORY, 1)}
    return {value: ObjectKey(DEFAULT_CATEGORY, value) for value in found}
