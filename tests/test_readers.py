"""Folders, lists, raw and NumPy files, arrays; and what all recordings have in common."""

from __future__ import annotations

import os
import re
import time

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import KINDS, by_hand, pages, some_frames, stack

from iosfast import IosfastWarning, ReadError, open_recording

FRAMES = some_frames((12, 9, 14))
NAMES = [f"f{i}.tif" for i in range(12)]  # f10 and f11 are last only in natural order


def write_folder(folder, frames=FRAMES, names=NAMES, **options):
    folder.mkdir(exist_ok=True)
    for name, frame in zip(names, frames, strict=True):
        tifffile.imwrite(folder / name, frame, metadata=None, **options)
    return folder


def assert_gives(recording, frames, *, plain=True):
    assert recording.shape == frames.shape
    assert recording.dtype == frames.dtype.newbyteorder("=")
    assert recording.dtype.isnative
    np.testing.assert_array_equal(recording.read(), frames)
    source = recording.frame_source
    assert (source is not None) == plain
    if source is not None:
        assert source.shape == frames.shape
        np.testing.assert_array_equal(source.read(0, len(frames)), frames)


# A folder of frames


@pytest.mark.parametrize(
    ("options", "plain"),
    [
        ({}, True),
        ({"byteorder": ">"}, True),
        ({"bigtiff": True}, True),
        ({"rowsperstrip": 2}, True),
        ({"rowsperstrip": 2, "byteorder": ">"}, True),
        ({"compression": "zlib"}, False),
        ({"compression": "lzw", "predictor": True}, False),
        ({"tile": (16, 16)}, False),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_folder(tmp_path, options, plain, dtype):
    frames = some_frames((12, 9, 14), dtype)
    recording = open_recording(write_folder(tmp_path / "a", frames, **options))
    assert_gives(recording, frames, plain=plain)
    assert recording.metadata["files"] == 12
    assert recording.notes == ()


def test_more_files_than_may_be_open_at_once(tmp_path):
    frames = some_frames((200, 5, 7))
    folder = write_folder(tmp_path / "a", frames, [f"{i}.tiff" for i in range(200)])
    recording = open_recording(folder)
    assert_gives(recording, frames)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    recordings = [open_recording(folder) for _ in range(20)]
    for each in recordings:
        each.read(0, 150)
    after = len(os.listdir("/proc/self/fd")) if before else 0
    assert after - before < 40


@pytest.mark.parametrize(
    "change",
    [
        {"datetime": "2023:09:22 22:14:31"},
        {"description": "a longer description than the others have"},
        {"software": "another"},
        {"rowsperstrip": 3},
        {"bigtiff": True},
        {"extratags": [(65000, 4, 1, 7, True)]},
    ],
)
@pytest.mark.parametrize("at", [0, 7, 11])
def test_folder_with_different_headers(tmp_path, change, at):
    folder = write_folder(tmp_path / "a", description="short")
    tifffile.imwrite(folder / NAMES[at], FRAMES[at], metadata=None, **change)
    assert_gives(open_recording(folder), FRAMES)


@pytest.mark.parametrize("change", [{"byteorder": ">"}, {"compression": "zlib"}])
@pytest.mark.parametrize("at", [0, 7])
def test_folder_with_pixels_stored_in_several_ways(tmp_path, change, at):
    folder = write_folder(tmp_path / "a")
    tifffile.imwrite(folder / NAMES[at], FRAMES[at], metadata=None, **change)
    recording = open_recording(folder)
    assert_gives(recording, FRAMES, plain=False)
    assert ("stored in several ways" in "".join(recording.notes)) == (
        at > 0 or "byteorder" in change
    )


def test_offsets_follow_the_header_of_each_file(tmp_path):
    """The same directory in both files, but pixels elsewhere."""
    for i, gap in enumerate((0, 0, 6, 0)):
        write = by_hand("data first" if i == 2 else "directory first", gap=gap)
        write(tmp_path / f"{i}.tif", FRAMES[i : i + 1])
    assert_gives(open_recording(tmp_path), FRAMES[:4])


def test_offsets_follow_the_strips_of_each_file(tmp_path):
    """The same directory in both files, but strips in another order."""
    folder = write_folder(tmp_path / "a", rowsperstrip=3)
    with tifffile.TiffFile(folder / NAMES[5]) as tif:
        tag = tif.pages[0].tags["StripOffsets"]
        strips = np.array(tag.value, "<u4" if tag.dtype == 4 else "<u2")
    data = bytearray((folder / NAMES[5]).read_bytes())
    data[tag.valueoffset : tag.valueoffset + strips.nbytes] = strips[::-1].tobytes()
    (folder / NAMES[5]).write_bytes(data)
    expected = FRAMES.copy()
    expected[5] = np.concatenate([FRAMES[5, 6:], FRAMES[5, 3:6], FRAMES[5, :3]])
    assert_gives(open_recording(folder), expected, plain=False)


def test_natural_order(tmp_path):
    names = ["rec.tif", "rec-1.tif", "rec-2.tif", "rec-10.tif", "rec-10b.tif", "Rec_001.TIFF"]
    names = ["Rec_001.TIFF", *names[:-1]]
    write_folder(tmp_path / "a", FRAMES[:6], names)
    assert_gives(open_recording(tmp_path / "a"), FRAMES[:6])


def test_a_list_is_taken_in_its_order(tmp_path):
    folder = write_folder(tmp_path / "a")
    paths = [folder / NAMES[i] for i in (3, 1, 11)]
    assert_gives(open_recording(paths), FRAMES[[3, 1, 11]])
    assert_gives(open_recording(tuple(map(str, paths))), FRAMES[[3, 1, 11]])
    assert_gives(open_recording(paths[:1]), FRAMES[3:4])


def test_other_files_in_a_folder_are_told(tmp_path):
    folder = write_folder(tmp_path / "a")
    (folder / "f3.json").write_text("{}")  # belongs to f3.tif
    (folder / "notes.txt").write_text("windy")
    (folder / ".hidden.tif").write_text("")
    recording = open_recording(folder)
    assert_gives(recording, FRAMES)
    assert len(recording.notes) == 1
    assert re.search(r"2 other files are left out: f3\.json, notes\.txt", recording.notes[0])


# Several files with several frames


@pytest.mark.parametrize("kind", ["contiguous", "pages", "big-endian", "ImageJ", "zlib", "tiles"])
def test_several_stacks(tmp_path, kind):
    frames = some_frames((14, 17, 21))
    for i, (begin, end) in enumerate([(0, 6), (6, 13), (13, 14)]):
        KINDS[kind](tmp_path / f"part{9 + i}.tif", frames[begin:end])
    recording = open_recording(tmp_path)
    assert_gives(recording, frames, plain=kind not in ("zlib", "tiles"))
    np.testing.assert_array_equal(recording.read(5, 14), frames[5:])
    reverse = [tmp_path / f"part{n}.tif" for n in (11, 10, 9)]
    expected = np.concatenate([frames[13:], frames[6:13], frames[:6]])
    if kind in ("contiguous", "big-endian"):
        with pytest.raises(ReadError, match="holds several frames, but the first file one"):
            open_recording(reverse)
    else:
        KINDS[kind](reverse[0], frames[12:14])
        expected = np.concatenate([frames[12:], frames[6:13], frames[:6]])
        assert_gives(open_recording(reverse), expected, plain=kind not in ("zlib", "tiles"))


def test_stacks_of_several_byte_orders(tmp_path):
    stack()(tmp_path / "1.tif", FRAMES[:6])
    stack(byteorder=">")(tmp_path / "2.tif", FRAMES[6:])
    assert_gives(open_recording(tmp_path), FRAMES, plain=False)


def test_calibration_of_several_files(tmp_path):
    for i in range(3):
        options = {"metadata": {"finterval": 0.02}} if i == 1 else {}
        tifffile.imwrite(tmp_path / f"{i}.tif", FRAMES[4 * i : 4 * i + 4], imagej=True, **options)
    assert open_recording(tmp_path).frame_rate_hz == 50
    tifffile.imwrite(tmp_path / "2.tif", FRAMES[8:], imagej=True, metadata={"finterval": 0.04})
    with pytest.raises(ReadError, match=r"has frame_rate_hz 25, but .*1\.tif has 50"):
        open_recording(tmp_path)


def test_several_folders(tmp_path):
    write_folder(tmp_path / "a.tif", FRAMES[:5], NAMES[:5])
    write_folder(tmp_path / "b", FRAMES[5:], NAMES[5:])
    recording = open_recording([tmp_path / "a.tif", tmp_path / "b"])
    assert_gives(recording, FRAMES)
    assert recording.clock_s("mtime").shape == (12,)
    stack()(tmp_path / "c.tif", FRAMES)
    both = open_recording([tmp_path / "c.tif", tmp_path / "b"])
    assert_gives(both, np.concatenate([FRAMES, FRAMES[5:]]))
    with pytest.raises(ReadError, match=r"c\.tif: has no time per frame by 'mtime'"):
        both.clock_s("mtime")


def test_several_arrays_and_raw_files(tmp_path):
    np.save(tmp_path / "a.npy", FRAMES[:5])
    np.save(tmp_path / "b.npy", FRAMES[5:])
    assert_gives(open_recording([tmp_path / "a.npy", tmp_path / "b.npy"]), FRAMES)
    FRAMES[:5].tofile(tmp_path / "a.raw")
    FRAMES[5:].tofile(tmp_path / "b.raw")
    both = [tmp_path / "a.raw", tmp_path / "b.raw"]
    assert_gives(open_recording(both, shape=(9, 14)), FRAMES)


# Clocks


def set_mtimes(folder, seconds):
    for name, second in zip(NAMES, seconds, strict=True):
        os.utime(folder / name, ns=(0, round(second * 1e9)))


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
def test_modification_times(tmp_path, options):
    folder = write_folder(tmp_path / "a", **options)
    utc = 1_695_420_000 + np.arange(12) * 0.25
    set_mtimes(folder, utc)
    recording, times = open_recording(folder).in_time_order("mtime")
    offset = time.localtime(utc[0]).tm_gmtoff
    np.testing.assert_allclose(times, utc + offset, atol=1e-6)
    assert_gives(recording, FRAMES, plain=not options)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
def test_frames_are_sorted_by_time_with_a_warning(tmp_path, options):
    folder = write_folder(tmp_path / "a", **options)
    order = np.random.default_rng(0).permutation(12)
    set_mtimes(folder, 1_695_420_000 + order)
    unsorted = open_recording(folder)
    with pytest.warns(IosfastWarning, match=r"sorted by mtime, which moves \d+ of 12 frames"):
        recording, times = unsorted.in_time_order("mtime")
    assert (np.diff(times) == 1).all()
    assert_gives(recording, FRAMES[np.argsort(order)], plain=not options)
    assert len(recording.notes) == 1
    assert_gives(unsorted, FRAMES, plain=not options)


def test_frames_of_equal_time_stay_in_order_of_name(tmp_path):
    folder = write_folder(tmp_path / "a")
    set_mtimes(folder, [1_695_420_000 + i // 4 for i in range(12)])
    recording, _ = open_recording(folder).in_time_order("mtime")
    assert_gives(recording, FRAMES)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kolkata"])
def test_modification_times_through_the_end_of_summer_time(tmp_path, monkeypatch, zone):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        folder = write_folder(tmp_path / "a")
        end_of_summer_time = 1_698_541_200  # 2023-10-29 01:00 UTC
        set_mtimes(folder, end_of_summer_time + np.arange(-6, 6))
        _, times = open_recording(folder).in_time_order("mtime")
        hours = {"UTC": 0, "Europe/Berlin": 2, "Asia/Kolkata": 5.5}[zone]
        expected = end_of_summer_time + np.arange(-6, 6) + 3600 * hours
        np.testing.assert_array_equal(times, expected)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_times_by_name(tmp_path):
    names = [f"20230922_2359{50 + i}_cam.tif" for i in range(10)]
    names += ["20230923_000000.tif", "20230923_000001_0001.tif"]
    recording, times = open_recording(write_folder(tmp_path / "a", names=names)).in_time_order(
        "name"
    )
    start = np.datetime64("2023-09-22T23:59:50").astype(np.int64)
    np.testing.assert_array_equal(times, start + np.arange(12))
    assert_gives(recording, FRAMES)


@pytest.mark.parametrize("name", ["a.tif", "20231301_000000.tif", "20230922_2214311.tif"])
def test_names_without_a_time(tmp_path, name):
    names = ["20230922_221430.tif", name]
    recording = open_recording([write_folder(tmp_path / "a", FRAMES[:2], names) / n for n in names])
    with pytest.raises(ReadError, match="frame 1: has no name that begins with") as caught:
        recording.clock_s("name")
    assert caught.value.path == str(tmp_path / "a" / name)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
def test_times_by_tag(tmp_path, options):
    folder = tmp_path / "a"
    folder.mkdir()
    for i in range(12):
        stamp = f"2023:09:22 22:14:{40 - i:02d}"
        tifffile.imwrite(folder / NAMES[i], FRAMES[i], metadata=None, datetime=stamp, **options)
    first = open_recording(folder)
    assert first.start_s == np.datetime64("2023-09-22T22:14:40").astype(np.int64)
    with pytest.warns(IosfastWarning, match="sorted by datetime"):
        recording, times = first.in_time_order("datetime")
    assert (np.diff(times) == 1).all()
    assert_gives(recording, FRAMES[::-1], plain=not options)
    tifffile.imwrite(folder / NAMES[4], FRAMES[4], metadata=None, **options)
    with pytest.raises(ReadError, match="frame 4: has no DateTime tag"):
        open_recording(folder).clock_s("datetime")


# NumPy and raw files, arrays


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
@pytest.mark.parametrize("dtype", ["<u2", ">u2", "u1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(tmp_path, version, dtype, order):
    frames = np.asarray(some_frames((5, 7, 3), np.dtype(dtype).newbyteorder("=")), dtype, order)
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array(file, frames, version)
    recording = open_recording(tmp_path / "a.npy")
    assert_gives(recording, frames, plain=order == "C")
    assert recording.metadata["format"] == "npy"
    recording.close()
    with pytest.raises(ReadError, match="was closed"):
        recording.read(0, 1)


@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    dtype=st.sampled_from(["<u2", ">u2", "u1"]),
    offset=st.integers(0, 40),
    counted=st.booleans(),
)
def test_raw(tmp_path_factory, shape, dtype, offset, counted):
    path = tmp_path_factory.mktemp("raw") / "a.raw"
    frames = some_frames(shape, np.dtype(dtype).newbyteorder("=")).astype(dtype)
    path.write_bytes(b"x" * offset + frames.tobytes())
    given = shape if counted else shape[1:]
    recording = open_recording(path, shape=given, dtype=dtype, offset=offset)
    assert_gives(recording, frames)


def test_raw_is_little_endian_uint16_unless_told(tmp_path):
    FRAMES.astype("<u2").tofile(tmp_path / "a.dat")
    assert_gives(open_recording(str(tmp_path / "a.dat"), shape=[9, 14]), FRAMES)


@pytest.mark.parametrize(
    "array",
    [
        FRAMES,
        FRAMES[::-1],
        FRAMES[:, ::2, 1:],
        np.asfortranarray(FRAMES),
        FRAMES.astype(">u2"),
        FRAMES.astype("u1"),
        np.frombuffer(b"x" + FRAMES.tobytes(), np.uint8)[1:].view("u2").reshape(FRAMES.shape),
    ],
)
def test_arrays(array):
    recording = open_recording(array)
    plain = array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative
    assert_gives(recording, array, plain=plain)


# What all recordings have in common


OPENERS = {
    "array": lambda folder: FRAMES,
    "stack": lambda folder: stack()(folder / "a.tif", FRAMES) or folder / "a.tif",
    "pages": lambda folder: pages(metadata=None)(folder / "a.tif", FRAMES) or folder / "a.tif",
    "decoded": lambda folder: stack(compression="zlib")(folder / "a.tif", FRAMES) or folder,
    "folder": lambda folder: write_folder(folder / "a"),
    "decoded folder": lambda folder: write_folder(folder / "a", compression="zlib"),
    "npy": lambda folder: np.save(folder / "a.npy", FRAMES) or folder / "a.npy",
    "stacks": lambda folder: [
        stack(compression=c)(folder / f"{i}.tif", FRAMES[6 * i : 6 * i + 6]) or folder / f"{i}.tif"
        for i, c in enumerate((None, "zlib"))
    ],
}


@pytest.mark.parametrize("kind", OPENERS)
def test_ranges_and_blocks(tmp_path, kind):
    with open_recording(OPENERS[kind](tmp_path)) as recording:
        assert open_recording(recording) is recording
        assert len(recording) == 12
        assert recording.nbytes == FRAMES.nbytes
        assert "12 x 9 x 14 uint16" in repr(recording)
        for start, stop in [(0, 12), (3, 9), (5, 6), (4, 4), (12, 12)]:
            got = recording.read(start, stop)
            np.testing.assert_array_equal(got, FRAMES[start:stop])
            assert got.flags.c_contiguous
            assert got.dtype == np.dtype("uint16")
        np.testing.assert_array_equal(recording.read(7), FRAMES[7:])
        for size in (1, 5, 12, 100, None):
            blocks = list(recording.blocks(size))
            np.testing.assert_array_equal(np.concatenate(blocks), FRAMES)
            assert all(len(b) == min(size or 12, 12) for b in blocks[:-1])
        for start, stop in [(-1, 3), (0, 13), (5, 4), (13, 13)]:
            with pytest.raises(IndexError, match=r"which has 12"):
                recording.read(start, stop)
        with pytest.raises(ValueError, match="at least 1"):
            next(recording.blocks(0))


@pytest.mark.parametrize("kind", [k for k in OPENERS if k not in ("array", "decoded folder")])
def test_nothing_can_be_read_from_a_closed_recording(tmp_path, kind):
    with open_recording(OPENERS[kind](tmp_path)) as recording:
        pass
    with pytest.raises(ReadError, match="was closed"):
        recording.read(0, 12)


def test_the_working_directory_may_change(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "a")
    recording = open_recording("a")
    os.mkdir("elsewhere")
    os.chdir("elsewhere")
    assert_gives(recording, FRAMES)


@settings(max_examples=20)
@given(
    name=st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=30)
)
def test_names_of_any_letters(tmp_path_factory, name):
    path = tmp_path_factory.mktemp("name") / f"a{name}.tif"
    stack()(path, FRAMES)
    assert_gives(open_recording(path), FRAMES)


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX only")
def test_names_that_are_no_text(tmp_path):
    folder = os.fsencode(tmp_path) + b"/m\xe4use"
    os.mkdir(folder)
    for i, frame in enumerate(FRAMES):
        tifffile.imwrite(os.fsdecode(folder + b"/\xfc%d.tif" % i), frame)
    assert_gives(open_recording(os.fsdecode(folder)), FRAMES)
    os.truncate(folder + b"/\xfc5.tif", 100)
    with pytest.raises(ReadError, match="frame 5: the file is cut"):
        open_recording(os.fsdecode(folder))
