"""Label files of ISAT: one JSON for each image, and `isat.yaml` for the categories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ReadError
from .json_text import indented
from .labels import BACKGROUND, LabelledImage, Place, Polygon, size_of

FORMAT = "isat"
CATEGORIES_FILE = "isat.yaml"

#: The layer that ISAT gives an object without one.
_DEFAULT_LAYER = 2.0

#: Colours of categories after `BACKGROUND`, which is black.
_COLORS = (
    "#ef2929",
    "#729fcf",
    "#8ae234",
    "#fcaf3e",
    "#ad7fa8",
    "#fce94f",
    "#34e2e2",
    "#e9b96e",
)


def is_document(document: Any) -> bool:
    """Tell whether a JSON document is a label file of ISAT, by what it says of itself."""
    info = document.get("info") if isinstance(document, dict) else None
    return isinstance(info, dict) and bool(info.get("description") == "ISAT")


def image_of(document: dict[str, Any], name: str, path: Path) -> LabelledImage:
    """Return the labels of one image."""
    info, objects = document["info"], document.get("objects", [])
    if not isinstance(objects, list):
        raise ReadError("objects must be a list", path)
    depth = info.get("depth")
    image = LabelledImage(
        name,
        size_of(path, info.get("height"), info.get("width")),
        tuple(_polygon(entry, Place(path, "object", n)) for n, entry in enumerate(objects)),
        file_name=str(info.get("name", "")),
        folder=str(info.get("folder", "")),
        depth=depth if isinstance(depth, int) else None,
        note=str(info.get("note", "")),
    )
    document["objects"] = None  # keeps its place
    return image.with_origin(FORMAT, document)


def _polygon(entry: Any, place: Place) -> Polygon:
    if not isinstance(entry, dict):
        raise place.error("is no object of ISAT")
    points = place.points(entry.get("segmentation", []))
    entry["segmentation"] = None  # keeps its place
    return Polygon(
        place.text("category", entry.get("category", "unknown")),
        points,
        place.group(entry.get("group", 0)),
        place.layer(entry.get("layer", _DEFAULT_LAYER)),
        bool(entry.get("iscrowd", False)),
        str(entry.get("note", "")),
    ).with_origin(FORMAT, entry)


def text_of(image: LabelledImage) -> str:
    """Return the label file of an image, as ISAT writes it."""
    if image.shape is None:
        raise ValueError(f"the size of image {image.name} is not known, which ISAT needs")
    said = image.said(FORMAT)
    info = dict(said.get("info", {}))
    height, width = image.shape
    here = {
        "description": "ISAT",
        "folder": image.folder,
        "name": image.file_name,
        "width": width,
        "height": height,
        "depth": 3 if image.depth is None else image.depth,
        "note": image.note,
    }
    info.update({k: v for k, v in here.items() if k not in info or _differs(info[k], v, k)})
    document = {**said, "info": info}
    document["objects"] = [_entry(polygon) for polygon in image.polygons]
    return indented(document, "objects", "segmentation", [p.points for p in image.polygons])


def _differs(said: Any, value: Any, key: str) -> bool:
    """Whether a field was changed since it was read; some are read as something else."""
    if key == "depth" and not isinstance(said, int):
        return False
    if key in ("folder", "name", "note"):
        return str(said) != str(value)
    return bool(said != value)


def _entry(polygon: Polygon) -> dict[str, Any]:
    said = polygon.unchanged(FORMAT)
    if said is not None:
        return dict(said)
    origin = polygon.origin
    before = dict(origin.fields) if origin is not None and origin.format == FORMAT else {}
    return {
        **before,
        "category": polygon.category,
        "group": polygon.group,
        "segmentation": None,
        "area": polygon.area,
        "layer": polygon.layer,
        "bbox": list(polygon.box),
        "iscrowd": polygon.iscrowd,
        "note": polygon.note,
    }


def read_categories(path: Path) -> dict[str, Any]:
    """Read `isat.yaml`."""
    import yaml

    try:
        document = yaml.safe_load(path.read_bytes())
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise ReadError(f"the categories cannot be read: {error}", path) from error
    labels = document.get("label", []) if isinstance(document, dict) else None
    if not isinstance(labels, list) or not all(isinstance(label, dict) for label in labels):
        raise ReadError("holds no list of categories (label: [{color, name}, ...])", path)
    return dict(document)


def categories_text(said: dict[str, Any], names: list[str]) -> str:
    """Return `isat.yaml`: what it said, and the names that it lacks; `BACKGROUND` first."""
    import yaml

    labels = list(said.get("label", []))
    known = {str(label.get("name")) for label in labels}
    if not labels or BACKGROUND not in known:
        labels.insert(0, {"color": "#000000", "name": BACKGROUND})
    for name in names:
        if name not in known and name != BACKGROUND:
            color = _COLORS[(len(labels) - 1) % len(_COLORS)]
            labels.append({"color": color, "name": name})
    labels.sort(key=lambda label: label.get("name") != BACKGROUND)
    text = yaml.safe_dump({**said, "label": labels}, allow_unicode=True)
    return str(text)


def snapped(points: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return corners as they were found: ISAT moves those of its masks from 0 to 0.1."""
    at_border = points == 0.1
    return np.where(at_border, 0.0, points) if at_border.any() else points
