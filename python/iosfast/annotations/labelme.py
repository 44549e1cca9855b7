"""Label files of labelme: one JSON for each image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ReadError
from .json_text import indented
from .labels import LabelledImage, Place, Polygon, size_of

FORMAT = "labelme"

#: Shapes that are polygons; others are kept as they are, but not drawn.
DRAWN = ("polygon", "rectangle")

#: The version of labelme whose files these are.
_VERSION = "5.5.0"


def is_document(document: Any) -> bool:
    """Tell whether a JSON document is a label file of labelme."""
    return isinstance(document, dict) and "shapes" in document and "imagePath" in document


def image_of(document: dict[str, Any], name: str, path: Path) -> LabelledImage:
    """Return the labels of one image; shapes without an area are kept, but are no polygons."""
    shapes = document["shapes"]
    if not isinstance(shapes, list):
        raise ReadError("shapes must be a list", path)
    polygons = []
    for n, entry in enumerate(shapes):
        place = Place(path, "shape", n)
        if not isinstance(entry, dict):
            raise place.error("is no shape of labelme")
        if entry.get("shape_type", "polygon") in DRAWN:
            polygons.append(_polygon(entry, n, place))
    return LabelledImage(
        name,
        size_of(path, document.get("imageHeight"), document.get("imageWidth")),
        tuple(polygons),
        file_name=str(document["imagePath"]),
        depth=None,
    ).with_origin(FORMAT, document)


def not_drawn(image: LabelledImage) -> list[str]:
    """Return the types of the shapes of an image that are kept, but not drawn."""
    types = [str(entry.get("shape_type", "polygon")) for entry in image.said(FORMAT)["shapes"]]
    return [kind for kind in types if kind not in DRAWN]


def _polygon(entry: dict[str, Any], number: int, place: Place) -> Polygon:
    points = entry.get("points", [])
    if entry.get("shape_type") == "rectangle":
        points = _corners(points, place)
    polygon = Polygon(
        place.text("label", entry.get("label", "unknown")),
        place.points(points),
        place.group(entry.get("group_id")),
        place.layer(entry.get("layer", number + 1.0)),
        bool(entry.get("iscrowd", False)),
        str(entry.get("description") or ""),
    )
    return polygon.with_origin(FORMAT, entry)


def _corners(points: Any, place: Place) -> Any:
    """Return the four corners of a rectangle, which has two or four."""
    if not isinstance(points, list) or len(points) != 2:
        return points
    try:
        (x0, y0), (x1, y1) = points
    except (TypeError, ValueError):
        raise place.error("its rectangle must be two (x, y)") from None
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]


def text_of(image: LabelledImage) -> str:
    """Return the label file of an image."""
    said = image.said(FORMAT)
    height, width = image.shape if image.shape is not None else (None, None)
    document = {"version": _VERSION, "flags": {}, "shapes": [], "imageData": None, **said}
    here = {"imagePath": image.file_name, "imageHeight": height, "imageWidth": width}
    document.update({k: v for k, v in here.items() if document.get(k) != v or k not in said})
    entries: list[dict[str, Any]] = []
    points: list[np.ndarray[Any, Any] | None] = []
    left = {id(polygon.unchanged(FORMAT)): polygon for polygon in image.polygons}
    left.pop(id(None), None)
    # What the file held, as far as it was not changed or removed, and then what is new.
    for entry in said.get("shapes", []):
        kind = entry.get("shape_type", "polygon")
        if id(entry) in left or kind not in DRAWN:
            entries.append(entry)
            points.append(left[id(entry)].points if kind == "polygon" else None)
    for polygon in image.drawn():
        if polygon.unchanged(FORMAT) is None:
            entries.append(_entry(polygon))
            points.append(polygon.points)
    document["shapes"] = entries
    return indented(document, "shapes", "points", points)


def _entry(polygon: Polygon) -> dict[str, Any]:
    origin = polygon.origin
    before = dict(origin.fields) if origin is not None and origin.format == FORMAT else {}
    return {
        **before,
        "label": polygon.category,
        "points": None,
        "group_id": polygon.group or None,
        "description": polygon.note,
        "shape_type": "polygon",
        "flags": before.get("flags", {}),
        "layer": polygon.layer,
        "iscrowd": polygon.iscrowd,
    }
