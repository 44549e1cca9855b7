"""Compressed and tiled TIFF files: decoded by several threads, whatever their directories say."""

from __future__ import annotations

import struct
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import PACKED, outcome, pages, some_frames

from iosfast import ReadError, open_recording

FRAMES = some_frames((9, 33, 67))


def tag_at(path, page, code):
    """Where a tag's entry is in the file."""
    with tifffile.TiffFile(path) as tif:
        return tif.pages[page].tags[code].offset


def set_tag(path, page, code, value):
    """Put another value into the entry of a tag of classic TIFF, as LONG."""
    data, at = bytearray(path.read_bytes()), tag_at(path, page, code)
    data[at + 2 : at + 12] = struct.pack("<HII", 4, 1, value)
    path.write_bytes(data)


# Threads


@pytest.mark.parametrize("kind", PACKED)
def test_blocks_of_several_threads(tmp_path, kind):
    path = tmp_path / "a.tif"
    PACKED[kind](path, FRAMES)
    with open_recording(path) as recording:
        for size in (1, 4):
            blocks = list(recording.blocks(size, threads=3))
            np.testing.assert_array_equal(np.concatenate(blocks), FRAMES)


@pytest.mark.parametrize("kind", [k for k in PACKED if k != "OME, compressed"])
def test_folders_of_several_threads(tmp_path, kind):
    for i, frame in enumerate(FRAMES):
        PACKED[kind](tmp_path / f"{i}.tif", frame[np.newaxis])
    with open_recording(tmp_path) as recording:
        assert recording.frame_source is None
        np.testing.assert_array_equal(np.concatenate(list(recording.blocks(2, threads=3))), FRAMES)
    with pytest.raises(ReadError, match="was closed"):
        recording.read(0, 1)


def test_folders_of_files_that_are_packed_in_several_ways(tmp_path):
    kinds = ["zlib", "LZW", "tiles", "ZSTD", "PackBits", "LZW with predictor", "zlib in strips"]
    for i, frame in enumerate(FRAMES):
        PACKED[kinds[i % len(kinds)]](tmp_path / f"{i}.tif", frame[np.newaxis])
    tifffile.imwrite(tmp_path / "8.tif", FRAMES[8], byteorder=">", compression="zlib")
    np.testing.assert_array_equal(open_recording(tmp_path).read(), FRAMES)


@pytest.mark.parametrize("byteorder", "<>")
@pytest.mark.parametrize("bigtiff", [False, True])
def test_directories_that_differ(tmp_path, byteorder, bigtiff):
    """More kinds of directories than are told without parsing."""
    path, frames = tmp_path / "a.tif", some_frames((150, 5, 7))
    with tifffile.TiffWriter(path, byteorder=byteorder, bigtiff=bigtiff) as tif:
        for i, frame in enumerate(frames):
            tags = [(65000 + i % 70, 3, 1, i, True)]
            options = {"compression": ("zlib", "lzw")[i % 2], "rowsperstrip": 1 + i % 3}
            tif.write(frame, metadata=None, extratags=tags, description="x" * (i % 9), **options)
    with open_recording(path) as recording:
        np.testing.assert_array_equal(recording.read(), frames)
        both = list(recording.blocks(10, threads=2))
    np.testing.assert_array_equal(np.concatenate(both), frames)
    with pytest.raises(ReadError, match="was closed"):
        recording.read(149, 150)


# Without imagecodecs


@pytest.mark.parametrize("kind", ["zlib", "zlib with predictor", "tiles", "LZW", "ZSTD"])
def test_without_imagecodecs(tmp_path, kind):
    PACKED[kind](tmp_path / "a.tif", FRAMES)
    script = (
        "import sys; sys.modules['imagecodecs'] = None; import iosfast, numpy\n"
        "try: numpy.save('a.npy', iosfast.open_recording('a.tif').read())\n"
        "except iosfast.ReadError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    if kind in ("LZW", "ZSTD"):
        assert "needs imagecodecs" in done.stdout
        assert "pip install 'iosfast[compressed]'" in done.stdout
    else:
        assert done.stdout == ""
        np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), FRAMES)


# Damage


@pytest.mark.parametrize("kind", ["zlib", "LZW", "ZSTD", "PackBits"])
@pytest.mark.parametrize("count", [0, 1, 10**6, 2**32 - 1])
def test_byte_counts_that_lie(tmp_path, kind, count):
    path = tmp_path / "a.tif"
    pages(compression=kind.lower(), metadata=None)(path, FRAMES)
    set_tag(path, 4, 279, count)
    _, error, _ = outcome(path)
    assert error.path == str(path)
    assert error.frame == 4
    kept, error, notes = outcome(path, allow_truncated=True)
    if count > 1:
        np.testing.assert_array_equal(kept, FRAMES[:4])
        assert len(notes) == 1


@pytest.mark.parametrize("code", [256, 257])
@pytest.mark.parametrize("value", [2**31, 2**32 - 1, 10**6])
@pytest.mark.parametrize("page", [None, 4])
def test_sizes_that_lie(tmp_path, code, value, page):
    path = tmp_path / "a.tif"
    pages(compression="zlib", metadata=None)(path, FRAMES)
    for number in range(9) if page is None else [page]:
        set_tag(path, number, code, value)
    _, error, _ = outcome(path)
    assert error is not None
    assert error.path == str(path)


@pytest.mark.parametrize("value", [2**31, 2**31 - 16, 2**24])
def test_tiles_that_are_too_large(tmp_path, value):
    path = tmp_path / "a.tif"
    pages(tile=(48, 80), metadata=None)(path, FRAMES)
    for number in range(9):
        set_tag(path, number, 322, value)
        set_tag(path, number, 323, value)
    _, error, _ = outcome(path)
    assert error.path == str(path)


@pytest.mark.parametrize("back_to", [0, 1, 5, 8])
def test_directories_that_lead_back(tmp_path, back_to):
    path = tmp_path / "a.tif"
    pages(compression="zlib", metadata=None)(path, FRAMES)
    with tifffile.TiffFile(path) as tif:
        offsets = [page.offset for page in tif.pages]
        end = offsets[8] + 2 + 12 * len(tif.pages[8].tags)
    data = bytearray(path.read_bytes())
    data[end : end + 4] = struct.pack("<I", offsets[back_to])
    path.write_bytes(data)
    with pytest.raises(ReadError, match="frame 9: is damaged: its directories lead back"):
        open_recording(path)


@pytest.mark.parametrize("kind", ["zlib", None])
def test_a_tag_that_lost_its_type_is_not_ignored(tmp_path, kind):
    """Compressed pixels would be taken as they are, for instance."""
    path = tmp_path / "a.tif"
    pages(compression=kind, metadata=None)(path, FRAMES)
    data, at = bytearray(path.read_bytes()), tag_at(path, 4, 259)
    data[at + 2 : at + 4] = b"\0\7"
    path.write_bytes(data)
    with pytest.raises(ReadError, match="frame 4: is damaged: a tag in its directory"):
        open_recording(path)


@settings(max_examples=200)
@given(
    kind=st.sampled_from(["zlib", "zlib with predictor", "zlib in strips", "tiles"]),
    where=st.floats(0, 1, exclude_max=True),
    value=st.integers(0, 255),
    page=st.integers(0, 8),
)
def test_damaged_directories(tmp_path_factory, kind, where, value, page):
    """Any byte of any directory; what is read is what tifffile reads, or there is one error."""
    path = tmp_path_factory.mktemp("damaged") / "a.tif"
    PACKED[kind](path, FRAMES)
    with tifffile.TiffFile(path) as tif:
        at = tif.pages[page].aspage().offset
        length = 2 + 12 * len(tif.pages[page].aspage().tags) + 4
    data = bytearray(path.read_bytes())
    data[at + int(where * length)] = value
    path.write_bytes(data)
    frames, error, _ = outcome(path)
    if error is not None:
        assert error.path == str(path)
    else:
        assert frames.dtype == np.uint16
        try:
            with tifffile.TiffFile(path) as tif:
                expected = [tif.pages[i].aspage().asarray() for i in range(len(frames))]
        except Exception:  # of any kind; then nothing but the true frames will do
            expected = FRAMES[: len(frames)]
        np.testing.assert_array_equal(frames, expected)


@pytest.mark.parametrize("kind", ["zlib", "tiles", "zlib in strips"])
def test_files_that_change_while_they_are_open(tmp_path, kind):
    path = tmp_path / "a.tif"
    PACKED[kind](path, FRAMES)
    data = path.read_bytes()
    recording = open_recording(path)
    for size in (0, 9, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(ReadError, match=r"has changed|is cut since"):
            recording.read()
    path.write_bytes(data)
    np.testing.assert_array_equal(recording.read(), FRAMES)


@pytest.mark.parametrize("compression", ["jpeg", "jpeg2000", "lzma", "png"])
@pytest.mark.parametrize("tile", [None, (16, 32)])
def test_other_codecs_give_what_tifffile_gives(tmp_path, compression, tile):
    path, dtype = tmp_path / "a.tif", "uint8" if compression == "jpeg" else "uint16"
    pages(compression=compression, tile=tile, metadata=None)(path, some_frames(dtype=dtype))
    expected = tifffile.imread(path, key=range(6))
    with open_recording(path) as recording:
        blocks = list(recording.blocks(1, threads=2))
    np.testing.assert_array_equal(np.concatenate(blocks), expected)
