"""Zarr arrays as zarr writes them: every way of storing frames, and damage of every kind."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import outcome, some_frames

import iosfast
from iosfast import IosfastWarning, ReadError, open_recording
from iosfast.readers.pixels import PixelRecording

FRAMES = some_frames((23, 33, 67))
PIECE = (5, 33, 67)


def write(path, frames=FRAMES, dtype="<u2", **options):
    shutil.rmtree(path, ignore_errors=True)
    array = zarr.create_array(path, shape=frames.shape, dtype=dtype, **options)
    array[:] = frames
    return path


def v2(**options):
    return {"zarr_format": 2, "chunks": PIECE, **options}


def v3(**options):
    return {"zarr_format": 3, "chunks": PIECE, **options}


PLAIN = {
    "2, frames": v2(compressors=None, chunks=(1, 33, 67)),
    "2, chunks": v2(compressors=None),
    "2, padded": v2(compressors=None, chunks=(4, 40, 70)),
    "3, frames": v3(compressors=None, chunks=(1, 33, 67)),
    "3, chunks": v3(compressors=None),
    "3, padded": v3(compressors=None, chunks=(40, 33, 70)),
    "3, named like 2": v3(compressors=None, chunk_key_encoding={"name": "v2", "separator": "/"}),
    "shards": v3(compressors=None, chunks=(2, 33, 67), shards=(8, 33, 67)),
    "shards, index first": v3(
        compressors=None,
        chunks=(2, 33, 67),
        shards={"shape": (8, 33, 67), "index_location": "start"},
    ),
}
PACKED = {
    "2, Zstandard": v2(),
    "2, Blosc": v2(compressors=numcodecs.Blosc("lz4")),
    "2, LZ4": v2(compressors=numcodecs.LZ4()),
    "2, gzip": v2(compressors=numcodecs.GZip()),
    "2, zlib": v2(compressors=numcodecs.Zlib()),
    "2, known to zarr only": v2(compressors=numcodecs.BZ2()),
    "2, filter": v2(filters=[numcodecs.Delta("u2")]),
    "2, column order": v2(order="F", compressors=None),
    "2, tiles": v2(chunks=(4, 20, 30)),
    "3, Zstandard": v3(),
    "3, Blosc": v3(compressors=[zarr.codecs.BloscCodec()]),
    "3, gzip": v3(compressors=[zarr.codecs.GzipCodec()]),
    "3, checksum": v3(compressors=[zarr.codecs.Crc32cCodec()]),
    "3, checksum inside": v3(compressors=[zarr.codecs.Crc32cCodec(), zarr.codecs.ZstdCodec()]),
    "3, twice": v3(compressors=[zarr.codecs.GzipCodec(), zarr.codecs.ZstdCodec()]),
    "3, turned": v3(filters=[zarr.codecs.TransposeCodec(order=(2, 0, 1))]),
    "3, tiles": v3(chunks=(4, 20, 30), compressors=None),
    "shards, Zstandard": v3(chunks=(2, 33, 67), shards=(8, 33, 67)),
    "shards of tiles": v3(chunks=(2, 11, 67), shards=(8, 33, 67)),
}
KINDS = PLAIN | PACKED


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", "<>")
def test_every_way_of_storing(tmp_path, kind, order):
    path = write(tmp_path / "a", dtype=order + "u2", **KINDS[kind])
    np.testing.assert_array_equal(zarr.open(path, mode="r")[:], FRAMES)
    with open_recording(path) as recording:
        assert isinstance(recording, PixelRecording) == (kind in PLAIN)
        assert (recording.shape, recording.dtype) == (FRAMES.shape, np.dtype("uint16"))
        np.testing.assert_array_equal(recording.read(), FRAMES)
        np.testing.assert_array_equal(recording.read(3, 14), FRAMES[3:14])
        blocks = list(recording.blocks(4, start=1, threads=3))
        np.testing.assert_array_equal(np.concatenate(blocks), FRAMES[1:])
        np.testing.assert_array_equal(np.concatenate(list(recording.blocks(threads=2))), FRAMES)
        for start, stop in ((0, 2), (5, 10), (5, 8)):  # chunks, and their first frames
            own = recording.read(start, stop)
            own[...] += 1  # what is read belongs to the reader
            np.testing.assert_array_equal(recording.read(start, stop), FRAMES[start:stop])
    with pytest.raises(ReadError, match="was closed"):
        recording.read(0, 1)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "uint32", "float32", "float64"])
@pytest.mark.parametrize("kind", ["3, chunks", "2, Zstandard", "shards, Zstandard"])
def test_every_dtype(tmp_path, dtype, kind):
    frames = (FRAMES // 7).astype(dtype)
    got = open_recording(write(tmp_path / "a", frames, dtype, **KINDS[kind])).read()
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, frames)


def test_maps_are_those_of_the_frames(tmp_path):
    frames = some_frames((600, 20, 30))
    path = write(tmp_path / "a", frames, chunks=(7, 16, 16))
    expected = iosfast.preprocess(frames, frame_rate_hz=60)
    for threads in (1, 2):
        maps = iosfast.preprocess(path, frame_rate_hz=60, threads=threads)
        np.testing.assert_array_equal(maps.binned, expected.binned)
        np.testing.assert_array_equal(maps.change, expected.change)


def test_groups_and_names_of_axes(tmp_path):
    root = zarr.open_group(tmp_path / "a", mode="w")
    with pytest.raises(ReadError, match=r"holds no array .* it has: no array"):
        open_recording(tmp_path / "a")
    root.create_array("b/movie", data=FRAMES, chunks=PIECE)
    root.create_array("mask", data=FRAMES[0])
    np.testing.assert_array_equal(open_recording(tmp_path / "a").read(), FRAMES)
    turned = np.ascontiguousarray(FRAMES.transpose(2, 0, 1))
    root.create_array("turned", data=turned, dimension_names=["x", "time", "y"])
    for name in ("turned", "b/movie", "/b/movie", "b"):
        recording = open_recording(tmp_path / "a", dataset=name)
        np.testing.assert_array_equal(recording.read(2, 9), FRAMES[2:9])
    with pytest.raises(ReadError, match=r"2 recordings; .*: b/movie \(23, 33, 67\) uint16, turned"):
        open_recording(tmp_path / "a")
    with pytest.raises(ReadError, match="has no dataset 'red'; it has: "):
        open_recording(tmp_path / "a", dataset="red")
    with pytest.raises(ReadError, match=r"array mask has the shape \(33, 67\)"):
        open_recording(tmp_path / "a", dataset="mask")


@pytest.mark.parametrize("chunks", [(1, 1, 33, 67), (4, 1, 33, 67), (4, 2, 33, 67), (3, 2, 16, 67)])
@pytest.mark.parametrize("packed", [False, True])
def test_channels_in_turn(tmp_path, chunks, packed):
    frames = FRAMES[:22].reshape(11, 2, 33, 67)
    options = {} if packed else {"compressors": None}
    array = zarr.create_array(
        tmp_path / "a", shape=frames.shape, dtype="u2", chunks=chunks,
        dimension_names=["t", "c", "y", "x"], **options,
    )  # fmt: skip
    array[:] = frames
    recording = open_recording(tmp_path / "a")
    assert recording.channels == ("0", "1")
    assert recording.shape == (22, 33, 67)
    assert isinstance(recording, PixelRecording) != (packed or chunks[2] < 33)
    np.testing.assert_array_equal(recording.read(), FRAMES[:22])
    for first in range(0, 19, 3):
        np.testing.assert_array_equal(recording.read(first, first + 3), FRAMES[first : first + 3])


def chunk_files(path):
    found = [os.path.join(top, n) for top, _, names in os.walk(path) for n in names]
    return sorted(f for f in found if not f.endswith(("zarr.json", ".zarray", ".zattrs")))


@pytest.mark.parametrize("kind", KINDS)
def test_cut_chunks(tmp_path, kind):
    """An error, or with allow_truncated the whole frames before."""
    path = write(tmp_path / "a", **KINDS[kind])
    for file in (chunk_files(path)[0], chunk_files(path)[-1]):
        content = Path(file).read_bytes()
        for size in (0, 1, len(content) // 2, len(content) - 1):
            os.truncate(file, size)
            frames, error, _ = outcome(path)
            assert frames is None, (file, size)
            assert error.path.startswith(str(path))
            kept = outcome(path, allow_truncated=True)[0]
            if kept is not None:
                np.testing.assert_array_equal(kept, FRAMES[: len(kept)])
                assert len(kept) < len(FRAMES)
            Path(file).write_bytes(content)
    np.testing.assert_array_equal(open_recording(path).read(), FRAMES)


@pytest.mark.parametrize("kind", ["3, chunks", "2, Zstandard", "shards, Zstandard"])
def test_chunks_that_are_not_there(tmp_path, kind):
    path = write(tmp_path / "a", fill_value=9, **KINDS[kind])
    files = chunk_files(path)
    os.remove(files[1])
    first, last = (8, 16) if "shards" in kind else (5, 10)
    expected = FRAMES.copy()
    expected[first:last] = 9
    np.testing.assert_array_equal(zarr.open(path, mode="r")[:], expected)
    with pytest.warns(IosfastWarning, match="chunks are not stored and read as the fill value"):
        recording = open_recording(path)
    np.testing.assert_array_equal(recording.read(), expected)
    assert len(recording.notes) == 1
    os.remove(files[-1])
    with pytest.raises(ReadError, match="the file is cut"):
        open_recording(path)
    for file in files[:1] + files[2:-1]:
        os.remove(file)
    with pytest.raises(ReadError, match="none of its chunks is stored"):
        open_recording(path)


@settings(max_examples=300)
@given(
    kind=st.sampled_from(list(KINDS)),
    part=st.floats(0, 1, exclude_max=True),
    value=st.integers(0, 255),
)
def test_damaged_chunks(tmp_path_factory, kind, part, value):
    path = write(tmp_path_factory.mktemp("zarr") / "a", **KINDS[kind])
    file = chunk_files(path)[-1]
    content = bytearray(Path(file).read_bytes())
    at = int(part * len(content))
    same = content[at] == value
    content[at] = value
    Path(file).write_bytes(content)
    frames, error, _ = outcome(path)
    assert (frames is None) != (error is None)
    if same:
        np.testing.assert_array_equal(frames, FRAMES)
    elif frames is not None:
        assert frames.shape == FRAMES.shape


@settings(max_examples=300)
@given(
    format=st.sampled_from([2, 3]),
    part=st.floats(0, 1, exclude_max=True),
    value=st.binary(max_size=6),
)
def test_damaged_metadata(tmp_path_factory, format, part, value):
    path = write(tmp_path_factory.mktemp("zarr") / "a", zarr_format=format, chunks=PIECE)
    mark = path / ("zarr.json" if format == 3 else ".zarray")
    text = mark.read_bytes()
    at = int(part * len(text))
    mark.write_bytes(text[:at] + value + text[at + len(value) :])
    frames, error, _ = outcome(path)
    assert (frames is None) != (error is None)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("shape", [10**15, 33, 67]),
        ("shape", [23, 10**7, 10**7]),
        ("shape", [23, 33, 0]),
        ("chunks", [10**6, 10**6, 10**6]),
        ("chunks", [5, 33, 66]),
        ("chunks", [0, 33, 67]),
        ("dtype", "<u4"),
        ("dtype", "|O"),
        ("compressor", {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1}),
        ("compressor", {"id": "nothing"}),
    ],
)
def test_metadata_that_cannot_be_true(tmp_path, key, value):
    path = write(tmp_path / "a", **v2())
    said = json.loads((path / ".zarray").read_text())
    (path / ".zarray").write_text(json.dumps({**said, key: value}))
    frames, error, _ = outcome(path)
    assert frames is None
    assert error.path.startswith(str(path))


def test_a_longer_chunk_is_no_chunk(tmp_path):
    path = write(tmp_path / "a", **PLAIN["2, chunks"])
    with open(path / "1.0.0", "ab") as file:
        file.write(b"x")
    with pytest.raises(ReadError, match=r"1.0.0: frame 5: holds 22,111 bytes, but a chunk takes"):
        open_recording(path)


def test_a_bomb_is_not_unpacked(tmp_path):
    """Chunks that tell, or hold, far more than an array can have of them."""
    for codec in (numcodecs.Zstd(), numcodecs.GZip(), numcodecs.Blosc("zstd"), numcodecs.LZ4()):
        path = write(tmp_path / "a", **v2(compressors=codec))
        (path / "2.0.0").write_bytes(codec.encode(np.zeros(1 << 24, "u1")))
        with pytest.raises(ReadError, match="frame 10: its chunk cannot be decoded"):
            open_recording(path).read()


def test_without_zarr(tmp_path, monkeypatch):
    path = write(tmp_path / "a", **v2())
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(ImportError, match=r"pip install 'iosfast\[zarr\]'"):
        open_recording(path)


@pytest.mark.parametrize("kind", ["2, frames", "3, frames", "shards"])
def test_a_shape_of_which_nearly_nothing_is_stored(tmp_path, kind):
    path = write(tmp_path / "a", **KINDS[kind])
    file = next(file for file in (path / "zarr.json", path / ".zarray") if file.exists())
    said = json.loads(file.read_text())
    said["shape"][0] = 10**9
    file.write_text(json.dumps(said))
    with pytest.raises(ReadError, match=r"only \d+ of the first [\d,]+ of its [\d,]+ chunks"):
        open_recording(path)
