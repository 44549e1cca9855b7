"""Compressed recordings: decoded by all cores, and faster than by their own libraries."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import h5py
import numcodecs
import numpy as np
import pytest
import tifffile
import zarr
from conftest import FRAME_RATE_HZ, read_anew
from peer import BLOCK_BYTES, in_blocks, of_zarr, pushed_change, zarr_array

import iosfast
from iosfast.readers.recording import available_cores

CHUNK = 16


def tiff(compression):
    def write(folder, frames):
        path = folder / "movie.tif"
        with tifffile.TiffWriter(path, bigtiff=True) as tif:
            for frame in frames:
                tif.write(frame, metadata=None, compression=compression)
        return path

    return write


def of_tiff(path):
    """Read blocks by as many threads as there are cores, which tifffile does if it is asked."""
    with tifffile.TiffFile(path) as tif:
        count, block = len(tif.pages), max(1, BLOCK_BYTES // tif.pages[0].nbytes)
        for start in range(0, count, block):
            pages = range(start, min(count, start + block))
            yield tif.asarray(key=pages, maxworkers=available_cores())


def hdf5(chunk):
    def write(folder, frames):
        with h5py.File(folder / "movie.h5", "w") as file:
            file.create_dataset(
                "movie",
                data=frames,
                chunks=(chunk, *frames.shape[1:]),
                compression="gzip",
                shuffle=True,
            )
        return folder / "movie.h5"

    return write


def of_hdf5(path):
    with h5py.File(path) as file:
        yield from in_blocks(file["movie"])


ZSTD = zarr.codecs.ZstdCodec(level=3)
#: Name: how it is written, the library that reads it, and how that gives blocks.
KINDS = {
    "TIFF, LZW": (tiff("lzw"), "tifffile", of_tiff),
    "TIFF, Deflate": (tiff("zlib"), "tifffile", of_tiff),
    "TIFF, ZSTD": (tiff("zstd"), "tifffile", of_tiff),
    "HDF5, shuffle and gzip, chunks of 1 frame": (hdf5(1), "h5py", of_hdf5),
    "HDF5, shuffle and gzip, chunks of 16 frames": (hdf5(CHUNK), "h5py", of_hdf5),
    "Zarr 2, Blosc, chunks of 16 frames": (
        zarr_array(2, numcodecs.Blosc("lz4"), chunks=CHUNK),
        "zarr",
        of_zarr,
    ),
    "Zarr 3, Zstandard, chunks of 16 frames": (zarr_array(3, ZSTD, chunks=CHUNK), "zarr", of_zarr),
    "Zarr 3, Zstandard, shards of 4 x 16 frames": (
        zarr_array(3, ZSTD, chunks=CHUNK, shards=4 * CHUNK),
        "zarr",
        of_zarr,
    ),
}


def by_one_thread(source):
    iosfast.preprocess(source, frame_rate_hz=FRAME_RATE_HZ, threads=1)


@pytest.fixture(scope="module")
def processes():
    """Two processes that have begun."""
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        list(pool.map(time.sleep, (0.1, 0.1)))
        yield pool


@pytest.mark.parametrize("name", KINDS)
def test_compressed(race, folder, movie, timed, processes, name):
    write, library, blocks = KINDS[name]
    frames = movie
    source = write(folder, frames)
    if timed:
        read_anew(source)

    def ours(threads):
        return iosfast.preprocess(source, frame_rate_hz=FRAME_RATE_HZ, threads=threads)

    def theirs():
        return pushed_change(blocks(source), FRAME_RATE_HZ)

    expected = iosfast.preprocess(frames, frame_rate_hz=FRAME_RATE_HZ)
    assert len(expected) > 0
    for threads in (1, 2):
        np.testing.assert_array_equal(ours(threads).binned, expected.binned)
    np.testing.assert_array_equal(theirs(), expected.change)
    race(
        f"{name}, {frames.nbytes / 1e6:,.0f} MB of pixels to maps by 2 threads",
        lambda: ours(2),
        {
            "by 1 thread": (lambda: ours(1), "0.556"),
            f"{library}, the same binning": (theirs, "1"),
            # As fast as two cores are together: nothing is shared but what the machine shares.
            "all of it in each of two processes at once, by 1 thread": (
                lambda: list(processes.map(by_one_thread, (source, source))),
                "0.5",
            ),
        },
        rounds=5,
    )
