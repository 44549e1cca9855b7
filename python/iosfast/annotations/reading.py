"""Finding out what labels are, and reading them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ReadError, warn
from ..outlines import PolygonList
from ..progress import progress_for
from . import coco, isat, labelme, mask_files
from .annotations import Annotations
from .labels import LabelledImage, ObjectKey

_STACKS = (".tif", ".tiff")
_IMAGES = (*_STACKS, ".png", ".bmp")


def read(
    path: Path, shape: tuple[int, int] | None, progress: bool | Callable[[int, int], None]
) -> Annotations:
    """Read labels of any kind; see `Annotations.read`."""
    try:
        files = sorted(_files(path), key=Path.as_posix) if path.is_dir() else [path]
        total = sum(file.stat().st_size for file in files)
    except OSError as error:
        raise ReadError(f"cannot be read: {error.strerror}", path) from error
    documents = [file for file in files if file.suffix.lower() == ".json"]
    pictures = [file for file in files if file.suffix.lower() in _IMAGES]
    if not path.is_dir() and not documents and not pictures:
        raise ReadError("is no JSON, PNG or TIFF file of labels", path)
    base = path if path.is_dir() else path.parent
    with progress_for(progress, len(files), total, "read labels") as update:
        found = _read_documents(documents, base, update) if documents else None
        if found is None and pictures:
            found = _read_pictures(pictures, base, update)
    if found is None:
        what = f"{documents[0]} is of neither ISAT, labelme nor COCO" if documents else "is empty"
        raise ReadError(f"holds no labels: {what}", path)
    if shape is not None:
        for image in found.images:
            if image.shape not in (None, shape):
                raise ReadError(f"image {image.name} is {image.shape} (Y, X), not {shape}", path)
    _tell_of_crossings(found, path)
    return found


def _files(folder: Path) -> Iterator[Path]:
    for at, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        yield from (Path(at) / name for name in names if not name.startswith("."))


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ReadError(f"the labels cannot be read: {error}", path) from error


def _read_documents(
    paths: list[Path], base: Path, update: Callable[[int], None]
) -> Annotations | None:
    """Read label files of one kind; None if none is a label file."""
    images: list[LabelledImage] = []
    kind: Any = None
    strange: Path | None = None
    for n, path in enumerate(paths):
        document = _load(path)
        known = [k for k in (isat, labelme, coco) if k.is_document(document)]
        if not known:
            strange = strange or path
            continue
        if kind not in (None, known[0]) or (kind is coco):
            raise ReadError(f"is of {known[0].FORMAT}, but other labels there are too", path)
        kind = known[0]
        if kind is coco:
            images += coco.images_of(document, path)
        else:
            name = path.relative_to(base).with_suffix("").as_posix()
            images.append(kind.image_of(document, name, path))
        update(n + 1)
    if kind is None:
        return None
    if strange is not None:
        raise ReadError(f"is no label file of {kind.FORMAT}, as others beside it are", strange)
    if kind is labelme:
        _tell_of_others(images, base)
    categories = {}
    if kind is isat:
        for folder in dict.fromkeys(path.parent for path in paths):
            file = folder / isat.CATEGORIES_FILE
            if file.is_file():
                at = folder.relative_to(base).as_posix()
                categories[at] = isat.read_categories(file)
    try:
        return Annotations(tuple(images), categories)
    except ValueError as error:
        raise ReadError(str(error), base) from None


def _read_pictures(paths: list[Path], base: Path, update: Callable[[int], None]) -> Annotations:
    """Read masks: one image for each file, or stacks."""
    labels: list[NDArray[Any]] = []  # (T, Y, X), one for each file
    numbers: list[mask_files.Numbers | None] = []
    names: list[list[str] | None] = []
    for n, path in enumerate(paths):
        if path.suffix.lower() in _STACKS:
            stack, told, pages = mask_files.read_tiff(path)
        else:
            image, told = mask_files.read_png(path)
            stack, pages = image[np.newaxis], None
        labels.append(stack)
        numbers.append(told)
        names.append(pages)
        if stack.shape[1:] != labels[0].shape[1:]:
            size = labels[0].shape[1:]
            raise ReadError(f"is {stack.shape[1:]} (Y, X), but {paths[0]} is {size}", path)
        update(n + 1)
    if any(len(stack) > 1 for stack in labels) or names[0] is not None:
        for path, stack in zip(paths, labels, strict=True):
            if len(stack) != len(labels[0]):
                length = len(labels[0])
                raise ReadError(f"has {len(stack)} pages, but {paths[0]} has {length}", path)
        return _masks(labels, numbers, names[0], paths)
    own = [path.relative_to(base).with_suffix("").as_posix() for path in paths]
    told = next((told for told in numbers if told is not None), None)
    return _masks([np.concatenate(labels)], [told], own, paths)


def _masks(
    stacks: list[NDArray[Any]],
    numbers: list[mask_files.Numbers | None],
    names: list[str] | None,
    paths: list[Path],
) -> Annotations:
    masks: dict[ObjectKey, NDArray[np.bool_]] = {}
    for stack, told, path in zip(stacks, numbers, paths, strict=False):
        objects = mask_files.objects_of(stack, path) if told is None else told
        for number, key in objects.items():
            mask = stack == number
            masks[key] = masks[key] | mask if key in masks else mask
    length, *size = stacks[0].shape
    every = np.array(list(masks.values())) if masks else np.zeros((0, length, *size), np.bool_)
    return Annotations.from_masks(every, names=names, objects=list(masks))


def _tell_of_others(images: list[LabelledImage], path: Path) -> None:
    """Warn of shapes that are not drawn."""
    types = [kind for image in images for kind in labelme.not_drawn(image)]
    if types:
        kinds = ", ".join(sorted(set(types)))
        warn(f"{path}: {len(types)} shapes are no polygons ({kinds}); kept, but not in the masks")


def _tell_of_crossings(found: Annotations, path: Path) -> None:
    """Warn of polygons that cross themselves."""
    every = [
        (image, n, polygon) for image in found.images for n, polygon in enumerate(image.polygons, 1)
    ]
    crossing = PolygonList.of(polygon.points for _, _, polygon in every).crossing()
    if crossing.any():
        image, n, polygon = every[int(np.flatnonzero(crossing)[0])]
        count = int(crossing.sum())
        what = "polygon crosses itself" if count == 1 else "polygons cross themselves"
        warn(
            f"{path}: {count} {what} (the first is polygon {n} of {image.name}, "
            f"{polygon.key}); filled by the even-odd rule"
        )
