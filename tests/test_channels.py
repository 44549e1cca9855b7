"""Several wavelengths in turn: maps of each, also where frames are missing."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import reference
import tifffile
from recordings import Chunks

import iosfast
from iosfast import IosfastWarning, ReadError, Recipe, WriteError, open_recording, preprocess

RECIPE = Recipe(interval_bins=2, smoothing_px=3)
RATE_HZ = 30.0
NAMES = ("545", "558", "578")
FRAMES = reference.sample((30 * 8, 9, 14), np.uint16, seed=4)


def stack(path, frames, **options):
    tifffile.imwrite(path, frames, **options)
    return path


def folder(path, frames):
    path.mkdir()
    for i, frame in enumerate(frames):
        tifffile.imwrite(path / f"f{i}.tif", frame, metadata=None)
    return path


def parts(path, frames):
    """Files that end in the middle of a turn."""
    stack(path / "a.tif", frames[:100])
    stack(path / "b.tif", frames[100:])
    return [path / "a.tif", path / "b.tif"]


SOURCES = {
    "array": lambda path, frames: frames,
    "stack": lambda path, frames: stack(path / "a.tif", frames),
    "pages": lambda path, frames: stack(path / "a.tif", frames, contiguous=False, metadata=None),
    "big-endian": lambda path, frames: stack(path / "a.tif", frames, byteorder=">"),
    "compressed": lambda path, frames: stack(path / "a.tif", frames, compression="zlib"),
    "folder": lambda path, frames: folder(path / "a", frames),
    "parts": parts,
    "chunks": lambda path, frames: Chunks(frames, 16),
    "large chunks": lambda path, frames: Chunks(frames, 500),
}


def assert_same(maps, expected):
    for name in ("binned", "change", "rgb", "times_s", "bin_times_s", "bin_frames"):
        np.testing.assert_array_equal(getattr(maps, name), getattr(expected, name))


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("threads", [1, 2])
def test_each_channel_is_as_if_it_were_alone(tmp_path, kind, threads):
    source = SOURCES[kind](tmp_path, FRAMES)
    maps = preprocess(source, recipe=RECIPE, frame_rate_hz=RATE_HZ, channels=NAMES, threads=threads)
    assert list(maps) == list(NAMES)
    for i, name in enumerate(NAMES):
        alone = preprocess(FRAMES[i::3].copy(), recipe=RECIPE, frame_rate_hz=RATE_HZ / 3)
        assert_same(maps[name], alone)
        assert maps[name].frame_rate_hz == RATE_HZ / 3
        assert (maps[name].source["channel"], maps[name].source["channels"]) == (name, 3)


@pytest.mark.parametrize("kind", ["stack", "pages", "folder", "parts"])
def test_channels_of_plain_files_are_read_by_the_core(tmp_path, kind, monkeypatch):
    """In one call each, and without the frames of the other channels."""
    source = open_recording(SOURCES[kind](tmp_path, FRAMES))
    monkeypatch.setattr(type(source), "_read", None)
    assert len(preprocess(source, recipe=RECIPE, frame_rate_hz=RATE_HZ, channels=3)["0"]) == 3


def test_numbers_for_names_and_a_turn_that_is_not_complete():
    maps = preprocess(FRAMES[:-1], recipe=RECIPE, frame_rate_hz=RATE_HZ, channels=2)
    assert list(maps) == ["0", "1"]
    assert "the last turn has only 1 of 2 channels" in maps["0"].notes


def test_missing_frames_do_not_mix_the_channels(tmp_path):
    """Each channel's frames have a value of their own, and a few frames are not there."""
    due = np.delete(np.arange(240), [31, 100, 101, 102, 103, 200])
    frames = np.zeros((len(due), 4, 5), np.uint16) + (1000 * (1 + due % 3))[:, None, None]
    frames = frames.astype(np.uint16)
    recipe = RECIPE.replaced(scale="range", scale_range=(-1, 1))
    given = {"recipe": recipe, "channels": NAMES, "times": due / RATE_HZ}
    with pytest.warns(IosfastWarning, match="6 frames are missing, in 3 places, the first"):
        maps = preprocess(stack(tmp_path / "a.tif", frames), **given)
    for i, name in enumerate(NAMES):
        assert (maps[name].binned == 1000 * (i + 1)).all()
        assert (maps[name].bin_frames.sum()) == np.count_nonzero(due % 3 == i)
        assert any("channels are told by time stamps" in note for note in maps[name].notes)
    assert [maps[n].info.dropped_frames for n in NAMES] == [1, 3, 2]


def test_a_file_that_tells_its_channels():
    told = Chunks(FRAMES, 6, channels=("violet", "blue"), frame_rate_hz=RATE_HZ, start_s=100.0)
    with pytest.raises(ValueError, match=r"2 channels in turn \(violet, blue\), which must not be"):
        preprocess(told, recipe=RECIPE)
    with pytest.raises(ValueError, match=r"holds 2 channels \(violet, blue\), not 3"):
        preprocess(told, recipe=RECIPE, channels=3)
    maps = preprocess(told, recipe=RECIPE, channels="file")
    assert list(maps) == ["violet", "blue"]
    assert_same(maps["blue"], preprocess(told, recipe=RECIPE, channels=["a", "b"])["b"])
    assert maps["blue"].start_s == 100.0 + 1 / RATE_HZ
    with pytest.raises(ValueError, match="tells of no channels"):
        preprocess(FRAMES, recipe=RECIPE, channels="file", frame_rate_hz=RATE_HZ)


@pytest.mark.parametrize(
    ("channels", "error", "match"),
    [
        ("violet", TypeError, "a list of names, or 'file', not 'violet'"),
        (0, ValueError, "at least 1"),
        (1.5, TypeError, "whole number"),
        ([], TypeError, "at least one"),
        (["a", 5], TypeError, "must be names"),
        (["a", "a"], ValueError, "different names"),
        (["a", "A"], ValueError, "different names"),
        (["a", "../b"], ValueError, "no name that a folder can have"),
        (["a", ""], ValueError, "no name"),
        (["a", ".b"], ValueError, "no name"),
        (241, ValueError, "240 frames are too few for 241 channels"),
    ],
)
def test_channels_that_make_no_sense(channels, error, match):
    with pytest.raises(error, match=match):
        preprocess(FRAMES, recipe=RECIPE, frame_rate_hz=3000.0, channels=channels)


@pytest.mark.parametrize("layout", ["stack", "published"])
def test_channels_on_disk(tmp_path, layout):
    options = {"recipe": RECIPE, "frame_rate_hz": RATE_HZ, "start_time": "2023-09-22"}
    out = tmp_path / "new" / "maps"
    expected = preprocess(FRAMES, channels=NAMES, **options)
    maps = preprocess(FRAMES, channels=NAMES, out=out, layout=layout, **options)
    assert sorted(os.listdir(out)) == sorted(NAMES)
    for name in NAMES:
        assert maps[name].path == out / name
        assert maps[name].timings
        for each in (maps[name], iosfast.load(out / name)):
            assert_same(each, expected[name])
    with pytest.raises(ReadError, match=r"several channels, .*: 545, 558, 578"):
        iosfast.load(out)
    assert os.listdir(tmp_path / "new") == ["maps"]
    with pytest.raises(WriteError, match="holds maps already"):
        preprocess(FRAMES, channels=NAMES, out=out, layout=layout, **options)
    preprocess(FRAMES, channels=2, out=out, layout=layout, overwrite=True, **options)
    assert sorted(os.listdir(out)) == ["0", "1"]
    preprocess(FRAMES, out=out, layout=layout, overwrite=True, **options)
    assert json.loads((out / "maps.json").read_text())["source"]["shape"] == [240, 9, 14]
    preprocess(FRAMES, channels=2, out=out, layout=layout, overwrite=True, **options)
    (out / "0" / "thesis.txt").write_text("mine")
    with pytest.raises(WriteError, match=r"thesis\.txt beside the maps"):
        preprocess(FRAMES, channels=2, out=out, layout=layout, overwrite=True, **options)


def test_a_run_that_fails_leaves_no_channel(tmp_path):
    broken = Chunks(FRAMES, 1, fails_at=230)
    with pytest.raises(ReadError, match="is broken"):
        preprocess(broken, recipe=RECIPE, frame_rate_hz=30, channels=3, out=tmp_path / "maps")
    assert os.listdir(tmp_path) == []


def test_progress_counts_the_frames_of_all_channels():
    calls = []
    preprocess(
        FRAMES,
        recipe=RECIPE,
        frame_rate_hz=RATE_HZ,
        channels=3,
        progress=lambda *call: calls.append(call),
    )
    assert calls[-1] == (240, 240)
    assert calls == sorted(calls)


def wfield(path, frames):
    frames.tofile(path)
    return path


def test_joined_files_keep_their_channels(tmp_path):
    frames = np.tile(np.array([100, 1000], np.uint16), 60)[:, None, None] + np.zeros((120, 9, 14))
    frames = frames.astype(np.uint16)
    paths = [
        wfield(tmp_path / f"{name}_2_9_14_uint16.dat", frames[part])
        for name, part in [("a", slice(0, 40)), ("b", slice(40, None))]
    ]
    assert open_recording(paths).channels == ("0", "1")
    with pytest.raises(ValueError, match="2 channels in turn"):
        preprocess(paths, recipe=RECIPE, frame_rate_hz=20.0)
    maps = preprocess(paths, recipe=RECIPE, frame_rate_hz=20.0, channels="file")
    assert [set(m.binned.ravel().tolist()) for m in maps.values()] == [{100}, {1000}]
    other = wfield(tmp_path / "c_1_9_14_uint16.dat", frames)
    with pytest.raises(ReadError, match=r"channels none, which cannot follow those of .*\(0, 1\)"):
        open_recording([*paths, other])


def stamped(frames, times_s, channels=()):
    recording = Chunks(frames, 1, times_s=np.asarray(times_s), channels=channels)
    recording.frame_rate_hz = None
    return recording


def test_a_file_that_tells_its_channels_takes_them_in_turn_whatever_the_times():
    late = np.arange(240.0)
    late[100:] += 1
    frames = np.zeros_like(FRAMES) + np.uint16(100)
    frames[1::2] = 1000
    told = stamped(frames, late / RATE_HZ, ("violet", "blue"))
    with pytest.warns(IosfastWarning, match="1 frame is missing"):
        maps = preprocess(told, recipe=RECIPE, channels="file")
    assert [set(part.binned.ravel().tolist()) for part in maps.values()] == [{100}, {1000}]


@pytest.mark.parametrize("kind", ["pause", "often"])
def test_times_that_do_not_tell_the_channels(kind):
    due = np.arange(240)
    if kind == "pause":
        due[120:] += 101
    else:
        due += np.cumsum(due % 20 == 19)
    given = {"recipe": RECIPE, "channels": 2, "frame_rate_hz": RATE_HZ}
    with (
        pytest.warns(IosfastWarning, match="missing"),
        pytest.raises(ValueError, match=r"do not tell which channel .* times='frames'"),
    ):
        preprocess(stamped(FRAMES, due / RATE_HZ), **given)
    maps = preprocess(stamped(FRAMES, due / RATE_HZ), times="frames", **given)
    assert_same(maps["0"], preprocess(FRAMES, **given)["0"])


def test_coarse_time_stamps_are_no_missing_frames():
    ticks = np.floor(np.arange(6000) / 60 * 64) / 64  # a timer of 15.6 ms
    frames = np.broadcast_to(FRAMES[:2], (3000, 2, 9, 14)).reshape(6000, 9, 14)
    for rate in (None, 60.0):
        maps = preprocess(stamped(frames, ticks), recipe=RECIPE, channels=2, frame_rate_hz=rate)
        assert maps["0"].info.dropped_frames is None
        np.testing.assert_array_equal(maps["1"].binned[7], FRAMES[1])
        assert any("too few, coarse or irregular" in note for note in maps["0"].notes)


@pytest.mark.parametrize("source", ["array", "file"])
def test_fewer_frames_than_channels(tmp_path, source):
    frames = stack(tmp_path / "a.tif", FRAMES[:1]) if source == "file" else FRAMES[:1]
    with pytest.raises(ValueError, match="1 frames are too few for 2 channels"):
        preprocess(frames, channels=2, frame_rate_hz=1.0)
