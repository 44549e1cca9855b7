"""Masks to tables: against scikit-image, map by map, and against a plain sum of the same bytes."""

import numpy as np
import pytest
from conftest import SHAPE, SMALL_SHAPE
from skimage.measure import regionprops_table

import iosfast
from iosfast import _core

PROPERTIES = (
    "area",
    "bbox",
    "centroid",
    "perimeter",
    "axis_major_length",
    "axis_minor_length",
    "orientation",
)


@pytest.fixture(scope="module")
def masks(timed):
    """Bands of 25 pixels behind fronts of rings that come one after the other."""
    maps, (height, width) = (1800, SHAPE) if timed else (12, SMALL_SHAPE)
    y, x = np.indices((height, width))
    radius = np.hypot(y - height / 2, x - width / 3)
    return np.array(
        [(radius < 5 + 3 * (t % 60)) & (radius > 3 * (t % 60) - 20) for t in range(maps)]
    )


def region_properties(masks):
    return [regionprops_table(mask.view(np.uint8), properties=PROPERTIES) for mask in masks]


def plain_sum(masks):
    return masks.reshape(-1).view(np.uint64).sum()


@pytest.mark.parametrize("hull", [False, True])
def test_measure(race, masks, hull):
    times = np.arange(len(masks)) * 1.0
    frames = iosfast.measure(masks, times, 0.02).frames
    for row, region in zip(
        frames.iloc[:60].itertuples(), region_properties(masks[:60]), strict=False
    ):
        assert row.area_px == region["area"][0]
        np.testing.assert_allclose(row.centroid_x_px, region["centroid-1"][0])
        np.testing.assert_allclose(row.major_axis_mm, 0.02 * region["axis_major_length"][0])
    race(
        f"{len(masks):,} masks to tables and speed of the front, "
        f"{'with' if hull else 'without'} the published coverage",
        lambda: iosfast.measure(masks, times, 0.02, hull=hull),
        {
            "scikit-image: regionprops_table of each mask": (
                lambda: region_properties(masks),
                "0.05",
            ),
            "plain sum of the same bytes": (lambda: plain_sum(masks), ""),
        },
        rounds=3,
        section="Measures",
    )


def test_counts(race, masks):
    stack = masks.view(np.uint8)[np.newaxis]
    first = np.empty((1, *masks.shape[1:]), np.int32)
    counts = _core.mask_geometry(stack, first)
    np.testing.assert_array_equal(counts[0, :, 0], masks.sum(axis=(1, 2)))
    race(
        f"{len(masks):,} masks to counts",
        lambda: _core.mask_geometry(stack, first),
        {"plain sum of the same bytes": (lambda: plain_sum(masks), "")},
        section="Measures",
    )
