"""Masks and label files for the tests of annotations."""

from __future__ import annotations

import json

import numpy as np
from scipy.ndimage import gaussian_filter

SHAPE = (40, 52)


def waves(objects=2, images=3, smooth=4.0, seed=0):
    """Blobs with holes and islands that overlap, bool (objects, T, Y, X)."""
    random = np.random.default_rng(seed)
    masks = np.zeros((objects, images, *SHAPE), bool)
    for mask in masks.reshape(-1, *SHAPE):
        noise = gaussian_filter(random.standard_normal(SHAPE), smooth) if smooth else None
        noise = random.standard_normal(SHAPE) if noise is None else noise
        mask[...] = abs(noise - noise.mean()) > noise.std() * 0.6
    return masks


def apart(masks):
    """Take from each object what belongs to an earlier one."""
    masks = masks.copy()
    for o in range(1, len(masks)):
        masks[o] &= ~masks[:o].any(axis=0)
    return masks


def isat_object(points, **more):
    return {
        "category": "signal",
        "group": 1,
        "segmentation": points,
        "area": 12.5,
        "layer": 1.0,
        "bbox": [1.0, 2.0, 3.0, 4.0],
        "iscrowd": False,
        "note": "",
        **more,
    }


def isat_document(*objects, **info):
    height, width = SHAPE
    return {
        "info": {
            "description": "ISAT",
            "folder": "/data/2023 09/é",
            "name": "20230922_221431.tiff",
            "width": width,
            "height": height,
            "depth": 3,
            "note": "",
            **info,
        },
        "objects": list(objects),
    }


SQUARE = [[10.0, 12.0], [18.0, 12.0], [18.0, 20.0], [10.0, 20.0]]


def write_json(path, document):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=4, ensure_ascii=False), encoding="utf-8")
    return path


def parsed(folder):
    """All JSON files of a folder, by their path in it."""
    return {
        path.relative_to(folder).as_posix(): json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.rglob("*.json"))
    }
