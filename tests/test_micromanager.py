"""Micro-Manager's files: all parts are found from any of them, in order, with their time stamps."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from micromanager_files import write_micromanager
from recordings import outcome, some_frames

from iosfast import IosfastWarning, ReadError, open_recording

FRAMES = some_frames((14, 9, 22))
TIMES_MS = [round(16.7 * i + (i % 3) * 0.25, 3) for i in range(14)]


def test_the_files_are_what_tifffile_takes_for_micromanagers(tmp_path):
    paths = write_micromanager(tmp_path, FRAMES, 5, times_ms=TIMES_MS)
    assert [path.name for path in paths] == [
        "x_MMStack_Pos0.ome.tif", "x_MMStack_Pos0_1.ome.tif", "x_MMStack_Pos0_2.ome.tif",
    ]  # fmt: skip
    with tifffile.TiffFile(paths[1]) as tif:
        assert tif.is_micromanager
        assert tif.is_ome
        assert tif.micromanager_metadata["Summary"]["MicroManagerVersion"] == "1.4.23"
        assert len(tif.micromanager_metadata["IndexMap"]) == 5
        assert tif.pages[2].tags[51123].value["ElapsedTime-ms"] == TIMES_MS[7]
    np.testing.assert_array_equal(tifffile.imread(paths[0]), FRAMES)


@pytest.mark.parametrize("ome", [True, False])
@pytest.mark.parametrize("base", ["x_MMStack_Pos0", "x_MMStack", "x_MMStack_1-Pos_000_001"])
def test_any_part_or_the_folder_is_the_whole_recording(tmp_path, base, ome):
    paths = write_micromanager(tmp_path, FRAMES, 1 + 14 // 3, base=base, ome=ome)
    for source in (*paths, tmp_path):
        recording = open_recording(source)
        np.testing.assert_array_equal(recording.read(), FRAMES)
        assert recording.frame_source is not None
        assert recording.pixel_size_mm == pytest.approx(0.0195)
        assert recording.metadata["camera"] == "Andor Zyla"


def test_more_than_ten_parts_are_in_the_order_of_their_numbers(tmp_path):
    more = some_frames((30, 9, 22))
    paths = write_micromanager(tmp_path, more, 2, base="x_MMStack", ome=False)
    assert len(paths) == 15
    for source in (paths[0], paths[11], tmp_path):
        np.testing.assert_array_equal(open_recording(source).read(), more)


@pytest.mark.parametrize("ome", [True, False])
@pytest.mark.parametrize("missing", [1, 2])
def test_a_missing_part_is_named(tmp_path, missing, ome):
    paths = write_micromanager(tmp_path, FRAMES, 4, ome=ome)  # the last of 4 parts is short
    paths[missing].unlink()
    for source in (paths[0], paths[3], tmp_path):
        with pytest.raises(ReadError, match=r"is missing"):
            open_recording(source)
        _, error, _ = outcome(source)
        assert paths[missing].name in str(error)


@pytest.mark.parametrize("missing", [0, 3])
def test_a_missing_first_or_last_part_is_told_by_the_metadata(tmp_path, missing):
    paths = write_micromanager(tmp_path, FRAMES, 4)
    paths[missing].unlink()
    for source in (paths[1], tmp_path):
        _, error, _ = outcome(source, allow_truncated=True)
        assert paths[missing].name in str(error)


def test_a_last_part_that_the_metadata_does_not_tell_of_is_not_lost(tmp_path):
    (tmp_path / "more").mkdir()
    write_micromanager(tmp_path, FRAMES[:10], 5)
    last = write_micromanager(tmp_path / "more", FRAMES[10:], 5, ome=False)[0]
    last.rename(tmp_path / "x_MMStack_Pos0_2.ome.tif")
    for source in (tmp_path / "x_MMStack_Pos0.ome.tif", tmp_path):
        np.testing.assert_array_equal(open_recording(source).read(), FRAMES)


def test_a_cut_last_part(tmp_path):
    paths = write_micromanager(tmp_path, FRAMES, 5, times_ms=TIMES_MS)
    whole = paths[2].read_bytes()
    with tifffile.TiffFile(paths[2]) as tif:
        ends = [page.dataoffsets[0] + page.nbytes for page in tif.pages]
    for size in range(40, len(whole), 97):
        paths[2].write_bytes(whole[:size])
        there = 10 + sum(end <= size for end in ends)
        frames, error, _ = outcome(paths[0])
        if error is None:
            assert there == 14
            np.testing.assert_array_equal(frames, FRAMES)
        else:
            assert "cut" in str(error)
        kept, refusal, notes = outcome(paths[0], allow_truncated=True)
        if refusal is None:
            np.testing.assert_array_equal(kept, FRAMES[: len(kept)])
            assert there - 1 <= len(kept) <= there
            assert len(notes) == (error is not None)
        else:
            assert there == 10  # nothing of this part can be read
            assert refusal.path == str(paths[2])


# Time stamps


@pytest.mark.parametrize("deltas", [True, False])
@pytest.mark.parametrize("per_part", [14, 5])
def test_time_stamps(tmp_path, deltas, per_part):
    paths = write_micromanager(tmp_path, FRAMES, per_part, times_ms=TIMES_MS, deltas=deltas)
    recording = open_recording(paths[-1])
    assert recording.frame_rate_hz is None  # an interval of 0 is none
    assert recording.times_s.dtype == np.float64
    np.testing.assert_allclose(recording.times_s, np.array(TIMES_MS) / 1000, rtol=1e-12)


def test_time_stamps_that_are_not_given_for_all_frames(tmp_path):
    path = write_micromanager(tmp_path, FRAMES, 14, times_ms=TIMES_MS, deltas=False)[0]
    data = path.read_bytes()
    path.write_bytes(data.replace(b"ElapsedTime-ms", b"ElapsedTime-mz", 1))
    assert open_recording(path).times_s is None
    path.write_bytes(data.replace(b'"ElapsedTime-ms": ', b'"ElapsedTime-ms":-', 1))
    assert open_recording(path).times_s is not None
    path.write_bytes(data.replace(b'"ElapsedTime-ms": 0', b'"ElapsedTime-ms": .', 1))
    assert open_recording(path).times_s is None


# Channels


@pytest.mark.parametrize("per_part", [14, 5])
def test_channels_in_turn(tmp_path, per_part):
    paths = write_micromanager(tmp_path, FRAMES, per_part, times_ms=TIMES_MS, channels=2)
    for source in (*paths, tmp_path):
        recording = open_recording(source)
        np.testing.assert_array_equal(recording.read(), FRAMES)
        assert recording.channels == ("LED0", "LED1")
        np.testing.assert_allclose(recording.times_s, np.array(TIMES_MS) / 1000, rtol=1e-12)
    if len(paths) == 1:  # whose metadata is cut off, too
        return
    paths[-1].write_bytes(paths[-1].read_bytes()[:2000])
    with pytest.warns(IosfastWarning, match="the file is cut"):
        recording = open_recording(paths[0], allow_truncated=True)
    assert len(recording) % 2 == 0
    np.testing.assert_array_equal(recording.read(), FRAMES[: len(recording)])
    assert recording.channels == ("LED0", "LED1")
