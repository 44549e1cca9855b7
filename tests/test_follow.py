"""Recordings that are still being written give the maps that the complete ones give."""

from __future__ import annotations

import io
import os
import threading
import time

import numpy as np
import pytest
import reference
import tifffile

import iosfast
from iosfast import IosfastWarning, ReadError, Recipe, preprocess

RECIPE = Recipe(interval_bins=2, smoothing_px=3)
OPTIONS = {"recipe": RECIPE, "frame_rate_hz": 20.0}
FRAMES = reference.sample((130, 9, 14), np.uint16, seed=4)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("iosfast.follow.POLL_S", 0.02)


def write_pieces(path, data, halfway):
    """In pieces that end within frames."""
    with path.open("wb") as file:
        for at in range(0, len(data), 777):
            if at >= len(data) // 2:
                halfway()
            file.write(data[at : at + 777])
            file.flush()


def write_raw(path, frames, halfway):
    write_pieces(path, frames.tobytes(), halfway)


def write_npy(path, frames, halfway):
    """Its header tells from the begin how many frames there will be."""
    whole = io.BytesIO()
    np.save(whole, frames)
    write_pieces(path, whole.getvalue(), halfway)


def write_tiff(path, frames, halfway):
    with tifffile.TiffWriter(path) as writer:
        for i, frame in enumerate(frames):
            if i == 60:
                halfway()
            writer.write(frame, metadata=None, contiguous=False)


def write_folder(path, frames, halfway):
    path.mkdir()
    for i, frame in enumerate(frames):
        if i == 60:
            halfway()
        tifffile.imwrite(path / f"f{i}.tif", frame, metadata=None)


KINDS = {
    "a.raw": (write_raw, {"shape": (9, 14)}),
    "a.tif": (write_tiff, {}),
    "a.npy": (write_npy, {}),
    "folder": (write_folder, {}),
}


def assert_same(maps, expected):
    for name in ("binned", "change", "rgb", "times_s", "bin_times_s", "bin_frames"):
        np.testing.assert_array_equal(getattr(maps, name), getattr(expected, name))
    assert maps.notes == expected.notes


@pytest.mark.parametrize(
    ("kind", "where"),
    [*[(kind, "memory") for kind in KINDS], ("a.raw", "stack"), ("folder", "published")],
)
def test_a_growing_recording(tmp_path, kind, where):
    write, given = KINDS[kind]
    path, out = tmp_path / "data" / kind, tmp_path / "maps"
    path.parent.mkdir()
    told = {} if where == "memory" else {"out": out, "layout": where}
    seen, begun = [], threading.Event()

    def progress(done, _):
        seen.append(done)
        begun.set()

    def write_later():
        time.sleep(0.1)
        write(path, FRAMES, begun.wait)

    writer = threading.Thread(target=write_later)
    writer.start()
    maps = preprocess(
        path,
        follow=True,
        silence_s=2.0,
        progress=progress,
        start_time="2023-09-22",
        **OPTIONS,
        **given,
        **told,
    )
    writer.join()
    assert_same(maps, preprocess(path, **OPTIONS, **given, start_time="2023-09-22"))
    assert seen[-1] == 130
    assert seen[0] <= 70  # the writer waited until half of it had been taken
    assert seen == sorted(seen)
    if where != "memory":
        assert maps.path == out
        assert_same(iosfast.load(out), maps)
        assert sorted(os.listdir(tmp_path)) == ["data", "maps"]


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_channels_of_a_growing_recording(tmp_path, where):
    path = tmp_path / "a.raw"
    writer = threading.Thread(target=write_raw, args=(path, FRAMES, lambda: None))
    writer.start()
    given = {"shape": (9, 14), "channels": ("violet", "blue"), **OPTIONS}
    out = tmp_path / "maps" if where == "disk" else None
    maps = preprocess(path, follow=True, silence_s=1.5, out=out, **given)
    writer.join()
    for name, expected in preprocess(path, **given).items():
        assert_same(maps[name], expected)


def test_a_complete_recording_and_one_frame_that_is_cut(tmp_path):
    path = tmp_path / "a.raw"
    path.write_bytes(FRAMES.tobytes() + b"half of a frame")
    with pytest.warns(IosfastWarning, match="1 of 131 frames is lost"):
        maps = preprocess(path, follow=True, silence_s=0.1, shape=(9, 14), **OPTIONS)
    np.testing.assert_array_equal(maps.binned, preprocess(FRAMES, **OPTIONS).binned)
    assert any("the file is cut" in note for note in maps.notes)


@pytest.mark.parametrize("content", [None, b"", b"II*\0"])
def test_a_recording_that_never_comes(tmp_path, content):
    path = tmp_path / "a.tif"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ReadError, match=r"does not exist|is empty|is cut before"):
        preprocess(path, follow=True, silence_s=0.1, out=tmp_path / "maps", **OPTIONS)
    assert not (tmp_path / "maps").exists()
    assert all(not name.startswith(".maps") for name in os.listdir(tmp_path))


def test_a_recording_that_becomes_shorter(tmp_path):
    path = tmp_path / "a.raw"
    path.write_bytes(FRAMES.tobytes())
    seen = []

    def shorten(done, _):
        seen.append(done)
        os.truncate(path, 10 * FRAMES[0].nbytes)

    with pytest.raises(
        ReadError, match=r"has become shorter .* 10 frames, after 130|the file ends at"
    ):
        preprocess(path, follow=True, silence_s=0.5, shape=(9, 14), progress=shorten, **OPTIONS)
    assert seen


def test_what_cannot_be_followed(tmp_path):
    path = tmp_path / "a.raw"
    path.write_bytes(FRAMES.tobytes())
    with pytest.raises(TypeError, match="for a path"):
        preprocess(FRAMES, follow=True, **OPTIONS)
    with pytest.raises(ValueError, match="silence_s must be above 0"):
        preprocess(path, follow=True, silence_s=0, **OPTIONS)
    with pytest.raises(TypeError, match="cannot be given, only named"):
        preprocess(
            path, follow=True, silence_s=0.1, shape=(9, 14), times=np.arange(130), recipe=RECIPE
        )
    with pytest.raises(ValueError, match="too few for a map"):
        preprocess(path, follow=True, silence_s=0.1, shape=(9, 14), frame_rate_hz=100)
    with pytest.warns(IosfastWarning, match="60 Hz is assumed"):
        maps = preprocess(
            path,
            follow=True,
            silence_s=0.1,
            shape=(9, 14),
            recipe=RECIPE.replaced(bin_seconds=0.5),
        )
    assert (maps.frame_rate_hz, len(maps)) == (60, 1)


def test_a_file_of_a_folder_that_is_complete_only_later(tmp_path):
    folder = tmp_path / "a"
    write_folder(folder, FRAMES[:60], lambda: None)
    late = folder / "f30.tif"
    whole = late.read_bytes()
    late.write_bytes(whole[:200])
    seen = []

    def progress(done, _):
        seen.append(done)
        late.write_bytes(whole)

    maps = preprocess(folder, follow=True, silence_s=1.0, progress=progress, **OPTIONS)
    assert seen[0] <= 30
    assert_same(maps, preprocess(folder, **OPTIONS))


def test_a_file_that_appears_in_front_of_others(tmp_path):
    folder = tmp_path / "a"
    write_folder(folder, FRAMES[:60], lambda: None)
    late = folder / "f30.tif"
    kept = late.read_bytes()
    late.unlink()

    def progress(done, _):
        late.write_bytes(kept)

    with pytest.raises(ReadError, match="frames in front of those that were taken"):
        preprocess(folder, follow=True, silence_s=1.0, progress=progress, **OPTIONS)


def test_a_file_that_is_written_in_place(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros_like(FRAMES))

    def progress(done, _):
        np.lib.format.open_memmap(path, "r+")[:] = FRAMES
        os.utime(path, (1e9, 1e9))  # whatever the clock of the file system

    with pytest.raises(ReadError, match="is written in place"):
        preprocess(path, follow=True, silence_s=1.0, progress=progress, **OPTIONS)


def test_channels_that_were_counted_across_missing_frames(tmp_path, monkeypatch):
    path = tmp_path / "a.raw"
    path.write_bytes(FRAMES.tobytes())
    times_s = np.delete(np.arange(131), 33) / 20
    monkeypatch.setattr("iosfast.readers.pixels.PixelRecording.times_s", times_s)
    with (
        pytest.warns(IosfastWarning, match="1 frame is missing"),
        pytest.raises(ReadError, match="channels which were told by counting are mixed"),
    ):
        preprocess(path, follow=True, silence_s=0.2, shape=(9, 14), channels=2, recipe=RECIPE)


def stamp(monkeypatch, times_of):
    """Give raw files time stamps, by their number of frames."""
    monkeypatch.setattr(
        "iosfast.readers.pixels.PixelRecording.times_s", property(lambda r: times_of(len(r)))
    )


def test_time_stamps_of_a_recording_that_begins_with_one_frame(tmp_path, monkeypatch):
    stamp(monkeypatch, lambda frames: 0.7 + np.arange(frames) / 20)
    path, begun = tmp_path / "a.raw", threading.Event()
    path.write_bytes(FRAMES[:1].tobytes())

    def write_later():
        begun.wait()
        with path.open("ab") as file:
            file.write(FRAMES[1:].tobytes())

    writer = threading.Thread(target=write_later)
    writer.start()
    given = {"shape": (9, 14), "recipe": RECIPE}
    maps = preprocess(path, follow=True, silence_s=1.5, progress=lambda *_: begun.set(), **given)
    writer.join()
    assert maps.source["timed_by"] == "time stamps"
    assert_same(maps, preprocess(path, **given))


def test_time_stamps_that_are_half_written_are_waited_for(tmp_path, monkeypatch):
    looks = []

    def times_of(frames):
        looks.append(frames)
        there = frames <= 60 or looks.count(frames) > 3
        return np.arange(frames) / 20 if there else None

    stamp(monkeypatch, times_of)
    path = tmp_path / "a.raw"
    path.write_bytes(FRAMES[:60].tobytes())
    given = {"shape": (9, 14), "recipe": RECIPE}

    def progress(done, _):
        if done == 60:
            path.write_bytes(FRAMES.tobytes())

    maps = preprocess(path, follow=True, silence_s=1.5, progress=progress, **given)
    assert_same(maps, preprocess(path, **given))


def test_time_stamps_that_come_too_late_are_told(tmp_path, monkeypatch):
    stamp(monkeypatch, lambda frames: None if frames < 130 else np.arange(frames) / 20)
    path = tmp_path / "a.raw"
    path.write_bytes(FRAMES[:60].tobytes())

    def progress(done, _):
        if done == 60:
            path.write_bytes(FRAMES.tobytes())

    with pytest.warns(IosfastWarning, match="time stamps came only after the first frames"):
        maps = preprocess(
            path, follow=True, silence_s=1.0, shape=(9, 14), progress=progress, **OPTIONS
        )
    assert maps.source["timed_by"] == "frames"
    assert any("time stamps came only after" in note for note in maps.notes)
