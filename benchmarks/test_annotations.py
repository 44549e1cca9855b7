"""Labels of a whole data set: 5,732 images of 512 x 512 pixels, written and read in seconds."""

from __future__ import annotations

import contextlib
import io
import json
import shutil

import cv2
import numpy as np
import pytest
from ISAT.formats.isat import ISAT
from scipy.ndimage import gaussian_filter

from iosfast import Annotations
from iosfast.outlines import fill, trace_stack


@pytest.fixture(scope="module")
def masks(timed):
    """A wave on every image, bool (1, T, Y, X)."""
    images, size = (5732, 512) if timed else (6, 64)
    random = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size]
    kinds = []
    for _ in range(24):
        border = gaussian_filter(random.standard_normal((size, size)), size / 40)
        center, width = random.uniform(0.2, 0.8, 2) * size, random.uniform(0.1, 0.3) * size
        radius = np.hypot(x - center[0], y - center[1]) + border / border.std() * size / 100
        kinds.append(radius < width)
    return np.resize(np.array(kinds), (1, images, size, size))


@pytest.fixture(scope="module")
def labels(masks):
    return Annotations.from_masks(masks)


def quiet(function, *arguments):
    with contextlib.redirect_stderr(io.StringIO()):
        return function(*arguments)


def test_writing(race, folder, labels):
    def ours():
        labels.write(folder / "ours", overwrite=True)

    def theirs():
        quiet(isat.save_to_ISAT, str(folder / "theirs"))

    ours()
    isat = ISAT()
    quiet(isat.read_from_ISAT, str(folder / "ours"))
    theirs()
    for name in labels.names:
        written = [(folder / who / f"{name}.json").read_bytes() for who in ("ours", "theirs")]
        assert json.loads(written[0]) == json.loads(written[1])
    shutil.rmtree(folder / "theirs")

    def clear():
        for who in ("ours", "theirs"):
            shutil.rmtree(folder / who, ignore_errors=True)

    race(
        f"labels of {len(labels):,} images to ISAT files",
        ours,
        {"ISAT's own writer": (theirs, "1")},
        rounds=3,
        prepare=clear,
        section="Labels",
    )


def test_reading(race, folder, labels):
    labels.write(folder / "isat")
    isat = ISAT()
    ours = Annotations.read(folder / "isat")
    quiet(isat.read_from_ISAT, str(folder / "isat"))
    assert set(isat.annos) == set(ours.names)
    for image in ours.images:
        for polygon, other in zip(image.polygons, isat.annos[image.name].objs, strict=True):
            np.testing.assert_array_equal(polygon.points, other.segmentation)
    race(
        f"ISAT files of {len(labels):,} images to labels",
        lambda: Annotations.read(folder / "isat"),
        {"ISAT's own reader": (lambda: quiet(isat.read_from_ISAT, str(folder / "isat")), "1")},
        rounds=3,
        section="Labels",
    )


def test_tracing(race, masks):
    stack = masks[0, :600]

    def theirs():
        modes = (cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        return [cv2.findContours(mask.view(np.uint8), *modes) for mask in stack]

    for mask, outlines in zip(stack[:24], trace_stack(stack[:24]), strict=True):
        np.testing.assert_array_equal(fill(outlines, mask.shape), mask)
    race(
        f"{len(stack)} masks to outlines by 1 thread",
        lambda: trace_stack(stack, threads=1),
        {"cv2.findContours": (theirs, "none")},
        section="Labels",
    )


def test_filling(race, labels, masks):
    chosen = Annotations(labels.images[:600])
    height, width = masks.shape[2:]

    def theirs():
        filled = np.zeros((len(chosen), height, width), np.uint8)
        for image, mask in zip(chosen.images, filled, strict=True):
            for polygon in image.drawn():
                hole = polygon.category == "__background__"
                cv2.fillPoly(mask, [polygon.points.astype(np.int32)], 0 if hole else 1)
        return filled

    np.testing.assert_array_equal(chosen.masks()[0], masks[0, :600])
    np.testing.assert_array_equal(theirs(), masks[0, :600])
    race(
        f"outlines to {len(chosen)} masks by 1 thread",
        lambda: chosen.masks(threads=1),
        {"cv2.fillPoly": (theirs, "none")},
        section="Labels",
    )
