"""Maps of plain waves and white noise, made without the simulation."""

import numpy as np

from iosfast import Maps, Recipe
from iosfast.maps import Info

SHAPE = (60, 64)
PIXEL_MM = 10 / 64
BLOCK_NOISE = 0.001


def maps_of(change, recipe=None, mask=None, pixel_size_mm=PIXEL_MM):
    """Maps 5 s apart, with the change given."""
    count, height, width = change.shape
    bins = np.arange(5 * (count + 1), dtype=np.float64)
    info = Info(
        recipe=recipe or Recipe(),
        shape=(height, width),
        bin_dtype=np.dtype(np.uint16),
        times_s=bins[5::5],
        bin_times_s=bins,
        bin_frames=np.ones(bins.size, np.int64),
        frame_rate_hz=1.0,
        pixel_size_mm=pixel_size_mm,
        start_s=1695420871.0,
        dropped_frames=None,
        doubled_frames=None,
        source={"path": "made"},
    )
    rgb = np.zeros((count, height, width, 3), np.uint8)
    binned = np.full((bins.size, height, width), 1000, np.uint16)
    stacks = {"change": change.astype(np.float32), "rgb": rgb, "binned": binned}
    return Maps(info, mask, _stacks=stacks)


def noise(count, seed=0, shape=SHAPE):
    """White noise of images, of which maps are differences."""
    images = np.random.default_rng(seed).normal(0, BLOCK_NOISE, (count + 1, *shape))
    return np.diff(images, axis=0)


def wave(count, first, speed_px=2.0, size=0.02, origin=None, shape=SHAPE, maps_long=None):
    """Change by a front that leaves the left edge, or a point, at a map; px per map."""
    y, x = np.indices(shape).astype(float)
    way = x if origin is None else np.hypot(x - origin[0], y - origin[1])
    images = np.arange(count + 1)[:, None, None]
    since = images - first - way / speed_px
    if maps_long is not None:
        since = np.where(way <= speed_px * maps_long, since, -1)
    course = np.interp(since, [0, 2.5, 8], [0, 1, 0])
    return np.diff(size * course, axis=0)
