"""COCO: one JSON for all images; objects as polygons or run lengths."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ReadError
from ..run_lengths import decode, encode
from .drawing import masks_of, polygons_of
from .labels import BACKGROUND, LabelledImage, ObjectKey, Place, Polygon, size_of

FORMAT = "coco"


def is_document(document: Any) -> bool:
    """Tell whether a JSON document is of COCO."""
    return isinstance(document, dict) and {"images", "annotations"} <= document.keys()


def images_of(document: dict[str, Any], path: Path) -> list[LabelledImage]:
    """Return the labels of all images, in the order of the file."""
    names = _categories(document, path)
    entries, annotations = document["images"], document["annotations"]
    if not isinstance(entries, list) or not isinstance(annotations, list):
        raise ReadError("images and annotations must be lists", path)
    of_image: dict[Any, list[tuple[dict[str, Any], Place]]] = {}
    ids = set()
    for n, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), int | str):
            raise ReadError(f"image {n + 1} has no id", path)
        if entry["id"] in ids:
            raise ReadError(f"image {n + 1} has the id {entry['id']!r} of another", path)
        ids.add(entry["id"])
    for n, annotation in enumerate(annotations):
        place = Place(path, "annotation", n)
        if not isinstance(annotation, dict):
            raise place.error("is no annotation of COCO")
        image_id = annotation.get("image_id")
        if not isinstance(image_id, int | str) or image_id not in ids:
            raise place.error(f"is of image {image_id!r:.60}, which the file does not have")
        of_image.setdefault(image_id, []).append((annotation, place))
    # What belongs to no image stays with the first.
    extra = {k: v for k, v in document.items() if k not in ("images", "annotations")}
    images = []
    for n, entry in enumerate(entries):
        own = of_image.get(entry["id"], [])
        image = _image(entry, own, names, path)
        fields = {
            "image": entry,
            "annotations": [annotation for annotation, _ in own],
            "polygons": len(image.polygons),
            **({"document": extra} if n == 0 else {}),
        }
        images.append(image.with_origin(FORMAT, fields))
    return images


def _categories(document: dict[str, Any], path: Path) -> dict[Any, str]:
    categories = document.get("categories", [])
    try:
        return {c["id"]: str(c["name"]) for c in categories}
    except (TypeError, KeyError):
        raise ReadError("categories must be a list of {id, name}", path) from None


def _image(
    entry: dict[str, Any],
    annotations: list[tuple[dict[str, Any], Place]],
    names: dict[Any, str],
    path: Path,
) -> LabelledImage:
    file_name = str(entry.get("file_name", entry["id"]))
    shape = size_of(path, entry.get("height"), entry.get("width"))
    outlined: list[Polygon] = []
    masks: dict[ObjectKey, NDArray[np.bool_]] = {}
    crowds = set()
    for n, (annotation, place) in enumerate(annotations):
        category = annotation.get("category_id")
        if not isinstance(category, int | str) or category not in names:
            raise place.error(f"has the category {category!r:.60}, which the file does not have")
        group = place.group(annotation.get("group", annotation.get("track_id", n + 1)))
        key = ObjectKey(names[category], group)
        segmentation = annotation.get("segmentation")
        if annotation.get("iscrowd", False):
            crowds.add(key)
        if isinstance(segmentation, dict):
            mask = _mask(segmentation, shape, place)
            masks[key] = masks[key] | mask if key in masks else mask
        elif isinstance(segmentation, list):
            outlined += [_polygon(numbers, key, place) for numbers in segmentation]
        else:
            raise place.error("has no segmentation")
    # Run lengths first, together, as holes clear what lies below.
    traced: tuple[Polygon, ...] = ()
    if masks:
        sizes = {mask.shape for mask in masks.values()}
        if len(sizes) > 1:
            raise ReadError(f"image {file_name} has run lengths of several sizes", path)
        shape = shape or next(iter(masks.values())).shape
        traced = polygons_of(np.stack(list(masks.values()))[:, np.newaxis], list(masks), 0, 1)[0]
    polygons = (
        replace(p, layer=float(layer), iscrowd=p.key in crowds).with_origin(FORMAT, {})
        for layer, p in enumerate((*traced, *outlined), 1)
    )
    name = PurePosixPath(file_name.replace("\\", "/"))
    return LabelledImage(str(name.with_suffix("")), shape, tuple(polygons), file_name=name.name)


def _mask(
    segmentation: dict[str, Any], shape: tuple[int, int] | None, place: Place
) -> NDArray[np.bool_]:
    try:
        mask = decode(segmentation)
    except (ValueError, TypeError, OverflowError) as error:
        raise place.error(str(error)) from None
    if shape is not None and mask.shape != shape:
        raise place.error(f"is of {mask.shape} pixels (Y, X), but its image of {shape}")
    return mask


def _polygon(numbers: Any, key: ObjectKey, place: Place) -> Polygon:
    if not isinstance(numbers, list) or len(numbers) % 2:
        raise place.error("its polygon must be a list [x, y, x, y, ...]")
    points = place.points([numbers[i : i + 2] for i in range(0, len(numbers), 2)])
    return Polygon(key.category, points, key.group)


def text_of(images: list[LabelledImage], *, run_lengths: bool) -> str:
    """Return the file of all images.

    Objects are polygons, but run lengths if they have holes, which polygons of COCO cannot have;
    or run lengths all of them.
    """
    document = dict(next((i.said(FORMAT)["document"] for i in images if _leads(i)), {}))
    document = {"info": {"description": "labels written by iosfast"}, "licenses": [], **document}
    categories = [dict(c) for c in document.get("categories", [])]
    ids = {str(c["name"]): c["id"] for c in categories}
    for name in sorted({p.category for i in images for p in i.polygons} - {BACKGROUND}):
        if name not in ids:
            numbers = [n for n in ids.values() if isinstance(n, int)]
            ids[name] = max(numbers, default=0) + 1
            categories.append({"id": ids[name], "name": name, "supercategory": ""})
    said = [image.said(FORMAT).get("image") for image in images]
    taken = {entry["id"] for entry in said if entry is not None}
    free = (n for n in range(1, len(images) + len(taken) + 1) if n not in taken)
    entries, annotations = [], []
    for image, entry in zip(images, said, strict=True):
        if entry is None:
            if image.shape is None:
                raise ValueError(f"the size of image {image.name} is not known, which COCO needs")
            file_name = str(PurePosixPath(image.name).with_name(image.file_name or image.name))
            height, width = image.shape
            size = {"width": width, "height": height}
            entry = {"id": next(free), "file_name": file_name, **size}
        entries.append(entry)
        annotations += _annotations(image, entry["id"], ids, run_lengths=run_lengths)
    used = {a["id"] for a in annotations if "id" in a}
    new = (n for n in range(1, len(annotations) + len(used) + 1) if n not in used)
    for annotation in annotations:
        if "id" not in annotation:
            annotation["id"] = next(new)
    document |= {"images": entries, "annotations": annotations, "categories": categories}
    return json.dumps(document, ensure_ascii=False)


def _leads(image: LabelledImage) -> bool:
    return "document" in image.said(FORMAT)


def _annotations(
    image: LabelledImage, image_id: Any, ids: Mapping[str, Any], *, run_lengths: bool
) -> list[dict[str, Any]]:
    kept = _unchanged(image)
    if kept is not None and not run_lengths:
        return kept
    found = []
    keys = list(dict.fromkeys(p.key for p in image.polygons if p.category != BACKGROUND))
    holes = any(p.category == BACKGROUND for p in image.polygons)
    masks = None
    if (holes or run_lengths) and keys:
        if image.shape is None:
            raise ValueError(f"the size of image {image.name} is not known, which COCO needs")
        masks = masks_of([image], keys, image.shape, 1)[:, 0]
    for o, key in enumerate(keys):
        polygons = [p for p in image.polygons if p.key == key]
        corners = np.concatenate([p.points for p in polygons])
        (x0, y0), (x1, y1) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        annotation = {
            "image_id": image_id,
            "category_id": ids[key.category],
            "group": key.group,
            "iscrowd": any(p.iscrowd for p in polygons),
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": sum(p.area for p in polygons),
            "segmentation": [p.points.ravel().tolist() for p in polygons],
        }
        if masks is not None and (run_lengths or _has_holes(image, polygons)):
            ys, xs = np.nonzero(masks[o])
            if not ys.size:
                continue
            x0, y0 = int(xs.min()), int(ys.min())
            annotation["bbox"] = [x0, y0, int(xs.max()) + 1 - x0, int(ys.max()) + 1 - y0]
            annotation["area"] = int(ys.size)
            annotation["segmentation"] = encode(masks[o])
        found.append(annotation)
    return found


def _has_holes(image: LabelledImage, polygons: list[Polygon]) -> bool:
    """Whether something above an object is cleared that may be part of it."""
    lowest = min(p.layer for p in polygons)
    return any(p.category == BACKGROUND and p.layer > lowest for p in image.polygons)


def _unchanged(image: LabelledImage) -> list[dict[str, Any]] | None:
    """Return the annotations of an image as its file had them, if nothing was changed."""
    said = image.said(FORMAT)
    same = said.get("polygons") == len(image.polygons)
    if not same or any(p.unchanged(FORMAT) is None for p in image.polygons):
        return None
    return [dict(annotation) for annotation in said["annotations"]]
