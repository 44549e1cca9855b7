"""HDF5 files as h5py writes them: every way of storing frames, and damage of every kind."""

from __future__ import annotations

import os
import sys

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import outcome, some_frames

import iosfast
from iosfast import IosfastWarning, ReadError, open_recording
from iosfast.readers.pixels import PixelRecording

FRAMES = some_frames((23, 33, 67))
COUNT = len(FRAMES)


def write(path, frames=FRAMES, userblock=0, name="movie", **options):
    with h5py.File(path, "w", userblock_size=userblock) as file:
        file.create_dataset(name, data=frames, **options)
    return path


PLAIN = {
    "contiguous": {},
    "chunks of one frame": {"chunks": (1, 33, 67)},
    "chunks of frames": {"chunks": (5, 33, 67)},
    "padded rows": {"chunks": (5, 40, 80), "maxshape": (None, None, None)},
}
PACKED = {
    "tiles": {"chunks": (5, 16, 32)},
    "chunked by h5py": {"chunks": True, "compression": "gzip"},
    "gzip": {"chunks": (5, 33, 67), "compression": "gzip"},
    "gzip and shuffle": {"chunks": (5, 33, 67), "compression": "gzip", "shuffle": True},
    "gzip, tiles": {"chunks": (4, 17, 20), "compression": "gzip", "shuffle": True},
    "lzf": {"chunks": (5, 33, 67), "compression": "lzf"},
    "checksum": {"chunks": (5, 33, 67), "compression": "gzip", "fletcher32": True},
    "only a checksum": {"chunks": (1, 33, 67), "fletcher32": True},
    "Blosc": {"chunks": (5, 33, 67), **hdf5plugin.Blosc()},
    "Zstandard": {"chunks": (5, 33, 67), **hdf5plugin.Zstd()},
    "LZ4": {"chunks": (5, 33, 67), **hdf5plugin.LZ4()},
    "Bitshuffle": {"chunks": (5, 33, 67), **hdf5plugin.Bitshuffle()},
    "scale and offset": {"chunks": (5, 33, 67), "scaleoffset": 0},
}


@pytest.mark.parametrize("kind", PLAIN | PACKED)
@pytest.mark.parametrize(("order", "userblock"), [("<", 0), (">", 1024)])
def test_every_way_of_storing(tmp_path, kind, order, userblock):
    stored = FRAMES.astype(order + "u2")
    path = write(tmp_path / "a.dat", stored, userblock, **(PLAIN | PACKED)[kind])
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["movie"][()], FRAMES)
    with open_recording(path) as recording:
        assert isinstance(recording, PixelRecording) == (kind in PLAIN)
        assert (recording.shape, recording.dtype) == (FRAMES.shape, np.dtype("uint16"))
        assert list(recording.metadata)[:2] == ["format", "dataset"]
        np.testing.assert_array_equal(recording.read(), FRAMES)
        np.testing.assert_array_equal(recording.read(3, 14), FRAMES[3:14])
        blocks = list(recording.blocks(4, start=1, threads=3))
        np.testing.assert_array_equal(np.concatenate(blocks), FRAMES[1:])
        np.testing.assert_array_equal(np.concatenate(list(recording.blocks(threads=2))), FRAMES)
    with pytest.raises(ReadError, match="was closed"):
        recording.read(0, 1)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "uint32", "float32", "float64"])
@pytest.mark.parametrize("kind", ["contiguous", "gzip and shuffle"])
def test_every_dtype(tmp_path, dtype, kind):
    frames = (FRAMES // 7).astype(dtype)
    path = write(tmp_path / "a.h5", frames, **(PLAIN | PACKED)[kind])
    got = open_recording(path).read()
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, frames)


@pytest.mark.parametrize("dtype", ["float16", "int64", "int8"])
def test_dtypes_that_are_no_pixels(tmp_path, dtype):
    frames, error, _ = outcome(write(tmp_path / "a.h5", (FRAMES % 100).astype(dtype)))
    assert frames is None
    assert f"not {dtype}" in str(error)


def test_maps_are_those_of_the_frames(tmp_path):
    frames = some_frames((600, 20, 30))
    path = write(tmp_path / "a.h5", frames, chunks=(7, 16, 16), compression="gzip")
    expected = iosfast.preprocess(frames, frame_rate_hz=60)
    for threads in (1, 2):
        maps = iosfast.preprocess(path, frame_rate_hz=60, threads=threads)
        np.testing.assert_array_equal(maps.binned, expected.binned)
        np.testing.assert_array_equal(maps.change, expected.change)


def test_twelve_bits_in_sixteen(tmp_path):
    """Bits that HDF5 does not count as part of the number are not pixels."""
    stored = h5py.h5t.STD_U16LE.copy()
    stored.set_precision(12)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        space = h5py.h5s.create_simple(FRAMES.shape)
        made = h5py.h5d.create(file.id, b"movie", stored, space)
        made.write(h5py.h5s.ALL, h5py.h5s.ALL, FRAMES & 0xFFF)
    np.testing.assert_array_equal(open_recording(tmp_path / "a.h5").read(), FRAMES & 0xFFF)


def test_a_choice_of_data_sets(tmp_path):
    path = write(tmp_path / "a.h5", name="b/movie")
    with h5py.File(path, "a") as file:
        file["mask"] = np.zeros((33, 67), "u1")
        file["b/again"] = file["b"]
        file["soft"] = h5py.SoftLink("/soft")
        file["b/outside"] = h5py.ExternalLink("nowhere.h5", "/movie")
    np.testing.assert_array_equal(open_recording(path).read(), FRAMES)
    with h5py.File(path, "a") as file:
        file["a"] = FRAMES[:4]
    with pytest.raises(ReadError, match=r"holds 2 recordings; .*dataset=: /a \(4, 33, 67\) uint16"):
        open_recording(path)
    np.testing.assert_array_equal(open_recording(path, dataset="a").read(), FRAMES[:4])
    np.testing.assert_array_equal(open_recording(path, dataset="/b/movie").read(), FRAMES)
    for name in ("nothing", "soft", "b/outside", "b"):
        with pytest.raises(ReadError, match=r"has no data set .*/a \(4, 33, 67\)|is damaged"):
            open_recording(path, dataset=name)
    with pytest.raises(ReadError, match=r"'mask' has the shape \(33, 67\)"):
        open_recording(path, dataset="mask")


def test_no_frames(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["trace"] = np.zeros(100)
    with pytest.raises(ReadError, match="no data set of numbers"):
        open_recording(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("movie", (5, 4, 3), "u2")
    with pytest.raises(ReadError, match="never written"):
        open_recording(tmp_path / "a.h5")


def test_groups_nested_deep(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("/".join("g" * 200))
    with pytest.raises(ReadError, match="too many groups"):
        open_recording(tmp_path / "a.h5")


def test_facts_of_attributes(tmp_path):
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        file["movie"].attrs.update({"element_size_um": [1.0, 19.5, 19.5], "camera": "iXon"})
        file["movie"].attrs["long"] = np.zeros(2000)
    recording = open_recording(path)
    assert recording.pixel_size_mm == 0.0195
    assert recording.metadata["attributes"]["camera"] == "iXon"
    assert "long" not in recording.metadata["attributes"]


def test_matlab_arrays_are_turned(tmp_path):
    """MATLAB writes (Y, X, T) in column order, behind a block of 512 bytes."""
    turned = np.ascontiguousarray(FRAMES.swapaxes(1, 2))
    for options in ({}, {"chunks": (5, 67, 33), "compression": "gzip"}):
        path = write(tmp_path / "a.mat", turned, 512, **options)
        with h5py.File(path, "a") as file:
            file["movie"].attrs["MATLAB_class"] = np.bytes_("uint16")
        recording = open_recording(path)
        np.testing.assert_array_equal(recording.read(), FRAMES)
        np.testing.assert_array_equal(np.concatenate(list(recording.blocks(3))), FRAMES)
        assert "(Y, X, T)" in recording.notes[0]


def test_frames_in_other_files(tmp_path):
    (tmp_path / "pixels.raw").write_bytes(FRAMES.tobytes())
    with h5py.File(tmp_path / "a.h5", "w") as file:
        external = [(str(tmp_path / "pixels.raw"), 0, FRAMES.nbytes)]
        file.create_dataset("movie", FRAMES.shape, "u2", external=external)
    np.testing.assert_array_equal(open_recording(tmp_path / "a.h5").read(), FRAMES)
    layout = h5py.VirtualLayout(FRAMES.shape, "u2")
    layout[:] = h5py.VirtualSource(write(tmp_path / "b.h5"), "movie", FRAMES.shape)
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_virtual_dataset("movie", layout)
    np.testing.assert_array_equal(open_recording(tmp_path / "v.h5").read(), FRAMES)
    os.remove(tmp_path / "b.h5")
    with pytest.raises(ReadError, match=r"b.h5, which is not there"):
        open_recording(tmp_path / "v.h5")


def test_chunks_that_are_not_stored(tmp_path):
    expected = FRAMES.copy()
    expected[5:10] = 7
    with h5py.File(tmp_path / "a.h5", "w") as file:
        movie = file.create_dataset("movie", FRAMES.shape, "u2", chunks=(5, 33, 67), fillvalue=7)
        movie[:5], movie[10:] = FRAMES[:5], FRAMES[10:]
    with pytest.warns(IosfastWarning, match="1 of 5 chunks are not stored and read as the fill"):
        recording = open_recording(tmp_path / "a.h5")
    np.testing.assert_array_equal(recording.read(), expected)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        movie = file.create_dataset("movie", FRAMES.shape, "u2", chunks=(5, 33, 67))
        movie[:10] = FRAMES[:10]
    with pytest.raises(ReadError, match="frame 10: the file is cut; 13 of 23 frames are lost"):
        open_recording(tmp_path / "b.h5")
    with pytest.warns(IosfastWarning, match="the 10 whole frames before are used"):
        recording = open_recording(tmp_path / "b.h5", allow_truncated=True)
    np.testing.assert_array_equal(recording.read(), FRAMES[:10])


@pytest.mark.parametrize("kind", PLAIN | PACKED)
def test_cut_files(tmp_path, kind):
    """Either an error, or the whole frames before the cut, all of them if stored in order."""
    whole = write(tmp_path / "a.h5", **(PLAIN | PACKED)[kind]).read_bytes()
    saved = 0
    for part in np.linspace(0.02, 0.999, 25):
        (tmp_path / "b.h5").write_bytes(whole[: int(part * len(whole))])
        frames, error, _ = outcome(tmp_path / "b.h5")
        assert frames is None
        assert error.path == str(tmp_path / "b.h5")
        frames, _error, notes = outcome(tmp_path / "b.h5", allow_truncated=True)
        if frames is not None:
            assert notes
            np.testing.assert_array_equal(frames, FRAMES[: len(frames)])
            saved = max(saved, len(frames))
    if kind in ("contiguous", "chunks of frames", "gzip"):
        assert saved > COUNT // 2


@settings(max_examples=300)
@given(
    kind=st.sampled_from(["contiguous", "chunks of frames", "tiles", "gzip", "lzf", "Zstandard"]),
    at=st.floats(0, 1, exclude_max=True),
    value=st.integers(0, 255),
)
def test_damaged_pixels_and_chunks(tmp_path_factory, kind, at, value):
    """A byte changed behind the description: an error, or frames of the right shape."""
    path = tmp_path_factory.mktemp("damage") / "a.h5"
    data = bytearray(write(path, **(PLAIN | PACKED)[kind]).read_bytes())
    begin = 4096
    data[begin + int(at * (len(data) - begin))] = value
    path.write_bytes(data)
    frames, error, _ = outcome(path)
    assert (frames is None) != (error is None)
    if frames is not None:
        assert frames.shape == FRAMES.shape


def test_a_damaged_chunk_names_its_frame(tmp_path):
    path = write(tmp_path / "a.h5", chunks=(5, 33, 67), compression="gzip")
    with h5py.File(path) as file:
        place = file["movie"].id.get_chunk_info(2)
    data = bytearray(path.read_bytes())
    data[place.byte_offset : place.byte_offset + 20] = bytes(20)
    path.write_bytes(data)
    recording = open_recording(path)
    np.testing.assert_array_equal(recording.read(0, 10), FRAMES[:10])
    with pytest.raises(ReadError, match="frame 10: cannot be decoded") as raised:
        recording.read()
    assert raised.value.frame == 10


def test_a_file_that_shrinks(tmp_path):
    for kind in ("contiguous", "gzip"):
        path = write(tmp_path / f"{kind}.h5", **(PLAIN | PACKED)[kind])
        recording = open_recording(path)
        os.truncate(path, path.stat().st_size // 2)
        with pytest.raises(ReadError):
            recording.read()


def test_absurd_shapes(tmp_path):
    for shape, chunks in [
        ((10**12, 512, 512), (1, 512, 512)),
        ((40, 2**15, 2**15), (2, 2**15, 2**14)),
    ]:
        with h5py.File(tmp_path / "a.h5", "w") as file:
            movie = file.create_dataset("movie", shape, "u2", chunks=chunks, compression="gzip")
            movie[-1, 0, :10] = 1
        frames, error, _ = outcome(tmp_path / "a.h5")
        assert frames is None
        assert "holds only 1 of" in str(error) or "which no camera gives" in str(error)


def test_without_h5py(tmp_path, monkeypatch):
    path = write(tmp_path / "a.h5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"pip install 'iosfast\[hdf5\]'"):
        open_recording(path)


def test_without_imagecodecs(tmp_path, monkeypatch):
    """zlib takes its place for gzip, and the HDF5 library for the rest."""
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    for kind in ("gzip and shuffle", "lzf", "checksum"):
        path = write(tmp_path / "a.h5", **PACKED[kind])
        np.testing.assert_array_equal(open_recording(path).read(), FRAMES)
