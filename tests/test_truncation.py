"""Cut files: the whole frames before the cut and a count of what is lost, or an error."""

from __future__ import annotations

import os
import re

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import BLOCKS, KINDS, by_hand, outcome, some_frames, stack

from iosfast import IosfastWarning, ReadError, open_recording

FRAMES = some_frames()
COUNT = len(FRAMES)


# Cut files


class Whole:
    """A file before it is cut, and where each frame's pixels and directory end in it."""

    def __init__(self, kind, path):
        KINDS[kind](path, FRAMES)
        self.bytes = path.read_bytes()
        self.pixels, self.directories, self.values = [], [], []
        with tifffile.TiffFile(path) as tif:
            tag = 20 if tif.is_bigtiff else 12
            for page in (p.aspage() for p in tif.pages):
                ends = map(sum, zip(page.dataoffsets, page.databytecounts, strict=True))
                self.pixels.append(max(ends))
                self.directories.append(page.offset + tag + tag * len(page.tags))
                self.values.append(max(t.valueoffset + t.valuebytecount for t in page.tags))
        if len(self.pixels) == 1:  # frames behind the only directory
            first = tif.pages.first.dataoffsets[0]
            self.pixels = [first + (i + 1) * FRAMES[0].nbytes for i in range(COUNT)]
        self.needed = max(self.directories[0], self.values[0])

    def edges(self):
        ends = {0, 4, 8, 16, *self.pixels, *self.directories, *self.values}
        near = {end + d for end in ends for d in (-1, 0, 1)}
        return sorted(n for n in near if 0 <= n < len(self.bytes))


@pytest.fixture(scope="module")
def wholes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return {kind: Whole(kind, folder / "a.tif") for kind in KINDS}


def check_cut(path, kind, whole, size):
    path.write_bytes(whole.bytes[:size])
    there = next((i for i, end in enumerate(whole.pixels) if end > size), COUNT)
    frames, error, _ = outcome(path)
    if error is None:
        assert there == COUNT
        np.testing.assert_array_equal(frames, FRAMES)
    else:
        assert error.path == str(path)
        assert str(error).startswith(f"{path}: ")
    kept, refusal, notes = outcome(path, allow_truncated=True)
    if refusal is not None:  # the first frame is lost, or all that tells where it is
        assert there == 0 or size < whole.needed
        assert refusal.path == str(path)
        return
    np.testing.assert_array_equal(kept, FRAMES[: len(kept)])
    if kind in BLOCKS:  # directories behind the pixels are not needed
        assert len(kept) == there
    else:
        ends = zip(whole.pixels, whole.directories, whole.values, strict=True)
        found = next((i for i, each in enumerate(ends) if max(each) > size), COUNT)
        assert found <= len(kept) <= there
    if error is not None:
        lost = rf"({COUNT - len(kept)} of {COUNT} frames|an unknown number of frames)"
        assert len(notes) == 1
        assert re.search(rf"the file is cut; {lost} .* {len(kept)} whole frames", notes[0])
        assert error.frame == len(kept)
        assert "allow_truncated=True" in str(error)


@pytest.mark.parametrize("kind", KINDS)
def test_cut_at_every_edge(tmp_path, wholes, kind):
    for size in wholes[kind].edges():
        check_cut(tmp_path / "a.tif", kind, wholes[kind], size)


@settings(max_examples=300)
@given(kind=st.sampled_from(list(KINDS)), part=st.floats(0, 1, exclude_max=True))
def test_cut_anywhere(tmp_path_factory, wholes, kind, part):
    size = int(part * len(wholes[kind].bytes))
    check_cut(tmp_path_factory.mktemp("cut") / "a.tif", kind, wholes[kind], size)


def test_frames_before_a_cut_are_counted(tmp_path):
    path = tmp_path / "a.tif"
    stack(imagej=True)(path, FRAMES)
    os.truncate(path, 352 + 4 * FRAMES[0].nbytes + 17)
    with pytest.raises(ReadError, match="frame 4: the file is cut; 2 of 6 frames are lost"):
        open_recording(path)
    with pytest.warns(IosfastWarning, match="2 of 6 frames are lost, the 4 whole frames before"):
        recording = open_recording(path, allow_truncated=True)
    assert recording.shape == (4, 33, 67)
    assert len(recording.notes) == 1


def test_pixels_without_their_directories(tmp_path):
    path = tmp_path / "a.tif"
    stack()(path, FRAMES)
    with tifffile.TiffFile(path) as tif:
        os.truncate(path, tif.pages[3].offset)
    with pytest.warns(IosfastWarning, match="directories are cut, but the pixels of all 6 frames"):
        recording = open_recording(path)
    np.testing.assert_array_equal(recording.read(), FRAMES)
    assert len(recording.notes) == 1


def test_gaps_as_large_as_frames_are_not_frames(tmp_path):
    """The second directory, as far off as four frames would be, is cut; one frame is sure."""
    path = tmp_path / "a.tif"
    directory = 2 + 12 * 9 + 4
    by_hand("data first", gap=FRAMES[0].nbytes - directory // 2)(path, FRAMES)
    os.truncate(path, 8 + 4 * FRAMES[0].nbytes - 1)
    with pytest.warns(IosfastWarning, match="the 1 whole frames"):
        recording = open_recording(path, allow_truncated=True)
    np.testing.assert_array_equal(recording.read(), FRAMES[:1])


def test_a_cut_description(tmp_path):
    """tifffile writes that of OME-TIFF last; without it, all frames are there."""
    path = tmp_path / "a.ome.tif"
    stack(compression="zlib")(path, FRAMES)
    os.truncate(path, path.stat().st_size - 10)
    with pytest.warns(IosfastWarning, match="the description of the recording is cut off"):
        recording = open_recording(path)
    np.testing.assert_array_equal(recording.read(), FRAMES)


def test_a_description_behind_the_pixels(tmp_path):
    """One directory for all frames, and what tells of the others is cut."""
    path = tmp_path / "a.tif"
    stack(imagej=True, truncate=True, byteorder="<")(path, FRAMES)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tif:
        tag = tif.pages[0].tags["ImageDescription"]
        text = data[tag.valueoffset : tag.valueoffset + tag.count]
    data[tag.valueoffset : tag.valueoffset + tag.count] = bytes(tag.count)
    data[tag.offset + 8 : tag.offset + 12] = len(data).to_bytes(4, "little")
    path.write_bytes(data + text)
    np.testing.assert_array_equal(open_recording(path).read(), FRAMES)
    path.write_bytes(data + text[:-1])
    with pytest.raises(ReadError, match="frame 1: the file is cut; an unknown number of frames"):
        open_recording(path)
    with pytest.warns(IosfastWarning, match="unknown number of frames is lost, the 1 whole"):
        assert len(open_recording(path, allow_truncated=True)) == 1


def test_a_writer_that_died_before_its_directories(tmp_path):
    """One directory, pixels of six frames: one frame must not pass for the recording."""
    path = tmp_path / "a.tif"
    stack(metadata=None, truncate=True)(path, FRAMES)
    with pytest.warns(IosfastWarning, match="one frame by its directory, .* could be 5 more"):
        assert len(open_recording(path)) == 1
    offset = int(re.search(r"offset=(\d+)", outcome(path)[2][0]).group(1))
    recording = open_recording(path, shape=(33, 67), offset=offset)
    np.testing.assert_array_equal(recording.read(), FRAMES)


@given(cut=st.integers(0, 12 * 9 * 14 * 2 + 127), order=st.sampled_from("CF"))
def test_cut_npy(tmp_path_factory, cut, order):
    frames, path = some_frames((12, 9, 14)), tmp_path_factory.mktemp("npy") / "a.npy"
    np.save(path, np.asarray(frames, order=order))
    header = path.stat().st_size - frames.nbytes
    os.truncate(path, cut)
    there = max(cut - header, 0) // frames[0].nbytes
    _, error, _ = outcome(path)
    assert error.path == str(path)
    kept, refusal, notes = outcome(path, allow_truncated=True)
    if order == "F" or there == 0:
        assert refusal.path == str(path)
    else:
        np.testing.assert_array_equal(kept, frames[:there])
        assert f"{12 - there} of 12 frames" in notes[0]


@given(cut=st.integers(0, 12 * 9 * 14 * 2 - 1), counted=st.booleans())
def test_cut_raw(tmp_path_factory, cut, counted):
    frames, path = some_frames((12, 9, 14)), tmp_path_factory.mktemp("raw") / "a.raw"
    path.write_bytes(frames.tobytes()[:cut])
    shape = (12, 9, 14) if counted else (9, 14)
    there, rest = divmod(cut, frames[0].nbytes)
    whole, error, _ = outcome(path, shape=shape)
    if counted or rest or not there:
        assert error.path == str(path)
    else:  # a whole number of frames, and nobody said how many
        np.testing.assert_array_equal(whole, frames[:there])
    kept, refusal, notes = outcome(path, shape=shape, allow_truncated=True)
    if there == 0:
        assert refusal.path == str(path)
    else:
        np.testing.assert_array_equal(kept, frames[:there])
        assert bool(notes) == (error is not None)


# A file of several is cut


SINGLE = {
    "plain": {},
    "BigTIFF": {"bigtiff": True},
    "strips": {"rowsperstrip": 4},
    "zlib": {"compression": "zlib"},
    "described": {"description": "x" * 100},
}


@settings(max_examples=120)
@given(
    kind=st.sampled_from(list(SINGLE)),
    at=st.integers(0, 4),
    part=st.floats(0, 1, exclude_max=True),
    listed=st.booleans(),
)
def test_a_cut_file_among_frames(tmp_path_factory, kind, at, part, listed):
    folder = tmp_path_factory.mktemp("frames")
    paths = [folder / f"f{i}.tif" for i in range(5)]
    for path, frame in zip(paths, FRAMES, strict=False):
        tifffile.imwrite(path, frame, metadata=None, **SINGLE[kind])
    with tifffile.TiffFile(paths[at]) as tif:
        page = tif.pages.first
        end = max(map(sum, zip(page.dataoffsets, page.databytecounts, strict=True)))
    os.truncate(paths[at], int(part * end))
    source = paths if listed else folder
    _, error, _ = outcome(source)
    assert (error.path, error.frame) == (str(paths[at]), at)
    kept, _, notes = outcome(source, allow_truncated=True)
    np.testing.assert_array_equal(kept, np.delete(FRAMES[:5], at, axis=0))
    assert len(notes) == 1
    assert f"1 of 5 files are cut and left out, the first is f{at}.tif" in notes[0]


def test_all_frames_of_a_folder_are_cut(tmp_path):
    for i in range(3):
        tifffile.imwrite(tmp_path / f"{i}.tif", FRAMES[i])
        os.truncate(tmp_path / f"{i}.tif", 0 if i == 1 else 1000 - i)
    for allow in (False, True):
        with pytest.raises(ReadError, match=r"all 3 files are cut"):
            open_recording(tmp_path, allow_truncated=allow)


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("kind", ["contiguous", "pages", "zlib"])
def test_a_cut_file_among_stacks(tmp_path, kind, at):
    for i in range(3):
        KINDS[kind](tmp_path / f"{i}.tif", FRAMES[2 * i : 2 * i + 2])
    cut = tmp_path / f"{at}.tif"
    with tifffile.TiffFile(cut) as tif:
        os.truncate(cut, tif.pages[1].dataoffsets[0] + 100)
    _, error, _ = outcome(tmp_path)
    assert (error.path, error.frame) == (str(cut), 1)
    kept, _, notes = outcome(tmp_path, allow_truncated=True)
    np.testing.assert_array_equal(kept, np.delete(FRAMES, 2 * at + 1, axis=0))
    assert len(notes) == 1
