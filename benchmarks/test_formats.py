"""Every uncompressed format: as fast as a contiguous TIFF, and faster than its own library."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest
import sif_parser
import tifffile
import zarr
from andor_files import sif_bytes, write_spool
from conftest import FRAME_RATE_HZ, files_of, forget, read_anew
from peer import in_blocks, of_zarr, pushed_change, zarr_array
from pynwb import NWBHDF5IO, NWBFile
from pynwb.image import ImageSeries

import iosfast

#: Frames in a chunk, and chunks in a shard.
CHUNK, SHARD = 16, 4
#: That read files from the disk without more than that.
THREADS = 8


@dataclass(frozen=True)
class Format:
    """How frames are written, and read by another library in blocks."""

    write: Callable[[Path, np.ndarray], Path]
    peer: str
    blocks: Callable[[Path], Iterator[np.ndarray]]
    dtype: str = "uint16"
    options: Callable[[np.ndarray], dict[str, Any]] = lambda frames: {}


def tiff_pages(folder, frames):
    path = folder / "pages.tif"
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        for frame in frames:
            tif.write(frame, metadata=None, contiguous=False)
    return path


def pages_of_tiff(path):
    with tifffile.TiffFile(path) as tif:
        count, block = len(tif.pages), max(1, (16 << 20) // tif.pages[0].nbytes)
        for start in range(0, count, block):
            yield tif.asarray(key=range(start, min(count, start + block)))


def big_endian_tiff(folder, frames):
    path = folder / "big.tif"
    tifffile.imwrite(path, frames, byteorder=">", photometric="minisblack")
    assert tifffile.memmap(path, mode="r").dtype == ">u2"
    return path


def tiff_folder(folder, frames):
    for i, frame in enumerate(frames):
        tifffile.imwrite(folder / f"frame_{i:06d}.tif", frame, metadata=None)
    return folder


def files_of_tiff(folder):
    paths = sorted(folder.iterdir())
    block = max(1, (16 << 20) // tifffile.imread(paths[0]).nbytes)
    for start in range(0, len(paths), block):
        yield tifffile.imread(paths[start : start + block])


def npy(folder, frames):
    np.save(folder / "movie.npy", frames)
    return folder / "movie.npy"


def raw(suffix):
    def write(folder, frames):
        path = folder / f"frames_1_{frames.shape[1]}_{frames.shape[2]}_uint16{suffix}"
        frames.tofile(path)
        return path

    return write


def of_raw(path):
    """What wfield does: a memory map of the shape that the name tells."""
    height, width = map(int, path.stem.split("_")[2:4])
    return in_blocks(np.memmap(path, np.uint16, "r").reshape(-1, height, width))


def sif(folder, frames):
    (folder / "movie.sif").write_bytes(sif_bytes(frames))
    return folder / "movie.sif"


def spool(folder, frames):
    write_spool(folder / "spool", frames, padding=800)
    return folder / "spool"


def hdf5(**options):
    def write(folder, frames):
        chunks = {"chunks": (options["chunk"], *frames.shape[1:])} if "chunk" in options else {}
        with h5py.File(folder / "movie.h5", "w") as file:
            file.create_dataset("movie", data=frames, **chunks)
        return folder / "movie.h5"

    return write


def of_hdf5(name):
    def blocks(path):
        with h5py.File(path) as file:
            yield from in_blocks(file[name])

    return blocks


def nwb(turned):
    def write(folder, frames):
        file = NWBFile(
            session_description="a session",
            identifier="the-id",
            session_start_time=datetime(2023, 9, 22, tzinfo=UTC),
        )
        data = np.ascontiguousarray(frames.swapaxes(1, 2)) if turned else frames
        file.add_acquisition(
            ImageSeries(name="movie", data=data, unit="counts", rate=FRAME_RATE_HZ)
        )
        with NWBHDF5IO(folder / "movie.nwb", "w") as io:
            io.write(file)
        return folder / "movie.nwb"

    return write


def of_nwb(turned):
    def blocks(path):
        with NWBHDF5IO(path, "r") as io:
            for block in in_blocks(io.read().acquisition["movie"].data):
                yield block.swapaxes(1, 2) if turned else block

    return blocks


def ome_zarr(folder, frames):
    path = folder / "movie.ome.zarr"
    root = zarr.open_group(path, mode="w", zarr_format=3)
    shape = (len(frames), 1, 1, *frames.shape[1:])
    array = root.create_array(
        "0", shape=shape, dtype=frames.dtype, chunks=(1, *shape[1:]), compressors=None
    )
    array[:] = frames.reshape(shape)
    scale = [{"type": "scale", "scale": [1000 / FRAME_RATE_HZ, 1, 1, 19.5, 19.5]}]
    axes = [
        {"name": "t", "type": "time", "unit": "millisecond"},
        {"name": "c", "type": "channel"},
        *({"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"),
    ]
    image = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    root.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
    return path


def of_ome_zarr(path):
    for block in in_blocks(zarr.open_group(path, mode="r")["0"]):
        yield block[:, 0, 0]


FORMATS = {
    "TIFF, directories between pages": Format(tiff_pages, "tifffile.asarray", pages_of_tiff),
    "TIFF, big-endian": Format(
        big_endian_tiff, "tifffile.memmap", lambda p: in_blocks(tifffile.memmap(p, mode="r"))
    ),
    "folder of single TIFFs": Format(tiff_folder, "tifffile.imread", files_of_tiff),
    ".npy": Format(npy, "numpy.load, mapped", lambda p: in_blocks(np.load(p, mmap_mode="r"))),
    "raw file": Format(
        raw(".raw"), "numpy.memmap", of_raw, options=lambda frames: {"shape": frames.shape}
    ),
    "raw file of wfield": Format(raw(".dat"), "numpy.memmap", of_raw),
    "Andor .sif": Format(
        sif,
        "sif_parser, mapped",
        lambda p: in_blocks(sif_parser.np_open(p, lazy="memmap")[0]),
        "float32",
    ),
    "Andor spool folder, Mono16": Format(
        spool, "sif_parser", lambda p: in_blocks(sif_parser.np_spool_open(os.fspath(p))[0])
    ),
    "HDF5, contiguous": Format(hdf5(), "h5py", of_hdf5("movie")),
    "HDF5, chunks of 16 frames": Format(hdf5(chunk=CHUNK), "h5py", of_hdf5("movie")),
    "HDF5, chunks of 1 frame": Format(hdf5(chunk=1), "h5py", of_hdf5("movie")),
    "NWB, (time, x, y)": Format(nwb(True), "pynwb", of_nwb(True)),
    "NWB, (time, y, x)": Format(
        nwb(False),
        "pynwb",
        of_nwb(False),
        options=lambda frames: {"dataset": "/acquisition/movie/data"},
    ),
    "Zarr 2, chunks of 16 frames": Format(zarr_array(2, None, chunks=CHUNK), "zarr", of_zarr),
    "Zarr 3, chunks of 16 frames": Format(zarr_array(3, None, chunks=CHUNK), "zarr", of_zarr),
    "Zarr 3, shards of 4 x 16 frames": Format(
        zarr_array(3, None, chunks=CHUNK, shards=SHARD * CHUNK), "zarr", of_zarr
    ),
    "OME-Zarr, chunks of 1 frame": Format(ome_zarr, "zarr", of_ome_zarr),
}


@pytest.fixture(scope="module")
def frames_of(movie):
    """The same pixels in another type; half as many of them if a pixel is larger."""

    def convert(dtype):
        if movie.dtype == dtype:
            return movie
        return movie[: max(360, len(movie) // 2)].astype(dtype)

    return convert


@pytest.fixture(scope="module")
def contiguous(tmp_path_factory, frames_of):
    """A contiguous TIFF of every type of pixels, written when it is asked for."""
    folder = tmp_path_factory.mktemp("contiguous")
    paths = {}

    def write(dtype):
        if dtype not in paths:
            paths[dtype] = folder / f"{dtype}.tif"
            tifffile.imwrite(paths[dtype], frames_of(dtype), photometric="minisblack")
        return paths[dtype]

    yield write
    for path in paths.values():
        path.unlink()


class Written(NamedTuple):
    """The same pixels as files of a format, and as a contiguous TIFF."""

    paths: list[Path]
    plain: Path
    frames: np.ndarray
    ours: Callable[[], iosfast.Maps]
    of_plain: Callable[[], iosfast.Maps]
    theirs: Callable[[], np.ndarray]

    def named(self, name):
        return f"{name}, {sum(path.stat().st_size for path in self.paths) / 1e6:,.0f} MB to maps"


@pytest.fixture
def written(folder, frames_of, contiguous):
    """Write a format."""

    def write(name):
        kind = FORMATS[name]
        frames, plain = frames_of(kind.dtype), contiguous(kind.dtype)
        source = kind.write(folder, frames)
        options = kind.options(frames)
        return Written(
            files_of(source),
            plain,
            frames,
            lambda: iosfast.preprocess(source, frame_rate_hz=FRAME_RATE_HZ, **options),
            lambda: iosfast.preprocess(plain, frame_rate_hz=FRAME_RATE_HZ),
            lambda: pushed_change(kind.blocks(source), FRAME_RATE_HZ),
        )

    return write


@pytest.mark.parametrize("name", FORMATS)
def test_format(race, written, timed, name):
    files = written(name)
    if timed:
        for path in (*files.paths, files.plain):
            read_anew(path)
    first = files.frames[:60].mean(axis=0, dtype=np.float64)
    expected, maps = files.of_plain(), files.ours()
    np.testing.assert_allclose(expected.binned[0], first, atol=0.5)
    assert len(expected) > 0
    np.testing.assert_array_equal(maps.binned, expected.binned)
    np.testing.assert_array_equal(maps.change, expected.change)
    np.testing.assert_array_equal(files.theirs(), expected.change)
    peers = {
        "the same pixels as a contiguous TIFF": (files.of_plain, "1.11"),
        f"{FORMATS[name].peer}, the same binning": (files.theirs, "1"),
    }
    if len(files.paths) > 1:  # the least that many files take
        peers["open and read each file"] = (lambda: read_each(files.paths), "1.3")
    race(f"{files.named(name)}, cached", files.ours, peers, rounds=7)


@pytest.mark.parametrize("name", FORMATS)
def test_format_from_disk(race, written, name):
    """What no page cache holds, as in a recording of hundreds of GB.

    Where the system holds the disk of this process down, `IOSFAST_BENCH_DISK` tells to what:
    "a disk held to 0.5 GB/s".
    """
    files = written(name)
    np.testing.assert_array_equal(files.ours().change, files.of_plain().change)

    def prepare():
        for path in (*files.paths, files.plain):
            forget(path)

    peers = {"the same pixels as a contiguous TIFF": (files.of_plain, "1.11")}
    if len(files.paths) > 1:  # what the disk and its file system allow
        peers[f"read each file, {THREADS} at a time"] = (
            lambda: read_each(files.paths, THREADS),
            "1",
        )
    race(
        f"{files.named(name)}, from {os.environ.get('IOSFAST_BENCH_DISK', 'disk')}",
        files.ours,
        peers,
        rounds=5,
        prepare=prepare,
    )


def read_each(paths, threads=1):
    """Read files, each thread into the same memory, as read_bytes would not."""
    largest = max(path.stat().st_size for path in paths)

    def read(some):
        buffer = bytearray(largest)
        for path in some:
            with open(path, "rb", buffering=0) as file:
                file.readinto(buffer)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(read, [paths[first::threads] for first in range(threads)]))
