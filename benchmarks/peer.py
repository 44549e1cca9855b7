"""The same maps with the tools that a careful person would take today.

Either all of the work is theirs, or only the reading, with the binning of iosfast behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from scipy.ndimage import uniform_filter

import iosfast

#: What a careful person reads at a time.
BLOCK_BYTES = 16 << 20


def numpy_scipy_maps(
    path: Path,
    frames_per_bin: int,
    colors: np.ndarray,
    read: Callable[[Path], np.ndarray] = tifffile.imread,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make the published maps with tifffile, NumPy (float32 mean), SciPy and a lookup table."""
    movie = read(path)
    bins = len(movie) // frames_per_bin
    binned = np.empty((bins, *movie.shape[1:]), np.uint16)
    for b in range(bins):
        block = movie[b * frames_per_bin : (b + 1) * frames_per_bin]
        binned[b] = np.rint(block.mean(axis=0, dtype=np.float32))
    smoothed = [
        np.rint(uniform_filter(binned[b].astype(np.float32), 31 if b == 0 else 21, mode="constant"))
        for b in range(0, bins, 5)
    ]
    change = np.empty((len(smoothed) - 1, *movie.shape[1:]), np.float32)
    rgb = np.empty((*change.shape, 3), np.uint8)
    for m in range(len(change)):
        np.divide(smoothed[m + 1], smoothed[m], out=change[m])
        low, high = change[m].min(), change[m].max()
        entries = np.rint((change[m] - low) * (255 / (high - low))).astype(np.uint8)
        colors.take(entries, axis=0, out=rgb[m])
    return binned, change, rgb


def in_blocks(movie: Any) -> Iterator[np.ndarray]:
    """Slice what a library calls an array, and reads when it is sliced."""
    frames = max(1, BLOCK_BYTES // (movie.shape[-2] * movie.shape[-1] * movie.dtype.itemsize))
    for start in range(0, movie.shape[0], frames):
        yield movie[start : start + frames]


def pushed_change(blocks: Iterable[np.ndarray], frame_rate_hz: float) -> np.ndarray:
    """Make the maps of blocks that another library has read, so that only the reading differs."""
    live, maps = None, []
    for block in blocks:
        if live is None:
            live = iosfast.Preprocessor(block.shape[1:], frame_rate_hz=frame_rate_hz)
        maps += live.push(block)
    assert live is not None
    maps += live.flush()
    return np.array([m.change for m in maps])


def zarr_array(zarr_format, compressor, **sizes):
    """Write frames as a Zarr array; sizes are frames in `chunks`, and in `shards`."""

    def write(folder, frames):
        array = zarr.create_array(
            folder / "movie.zarr",
            shape=frames.shape,
            dtype=frames.dtype,
            zarr_format=zarr_format,
            compressors=compressor,
            **{name: (count, *frames.shape[1:]) for name, count in sizes.items()},
        )
        array[:] = frames
        return folder / "movie.zarr"

    return write


def of_zarr(path):
    """Blocks of a Zarr array."""
    return in_blocks(zarr.open_array(path, mode="r"))
