"""Damaged and foreign files: an error that names file and frame, and never wrong pixels."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from recordings import KINDS, by_hand, outcome, pages, some_frames, stack

from iosfast import ReadError, open_recording

FRAMES = some_frames()


# Damage


@settings(max_examples=400)
@given(
    kind=st.sampled_from(list(KINDS)),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4),
    allow=st.booleans(),
)
def test_damaged_bytes_give_frames_or_a_read_error(tmp_path_factory, kind, changes, allow):
    path = tmp_path_factory.mktemp("damaged") / "a.tif"
    KINDS[kind](path, FRAMES[:, :5, :7])
    data = bytearray(path.read_bytes())
    for place, value in changes:
        data[int(place * (len(data) - 1))] = value
    path.write_bytes(data)
    frames, error, _ = outcome(path, allow_truncated=allow)
    assert (frames is None) != (error is None)


@pytest.mark.parametrize("offset", [2**62, 2**63 + 5, 2**64 - 1, 3, 0])
def test_offsets_that_make_no_sense(tmp_path, offset):
    path = tmp_path / "a.tif"
    KINDS["pages of BigTIFF"](path, FRAMES)
    with tifffile.TiffFile(path) as tif:
        at = tif.pages[1].tags["StripOffsets"].valueoffset
    data = bytearray(path.read_bytes())
    data[at : at + 8] = offset.to_bytes(8, "little")
    path.write_bytes(data)
    frames, error, _ = outcome(path)
    assert (error.path, error.frame) == (str(path), 1)
    frames, error, _ = outcome(path, allow_truncated=True)
    if error is None:
        np.testing.assert_array_equal(frames, FRAMES[:1])
    else:
        assert error.frame == 1


def test_directories_in_a_circle(tmp_path):
    for kind, compression in (("directory first", 1), ("data first", 5)):
        path = tmp_path / "a.tif"
        by_hand(kind, tags={259: (3, compression)})(path, FRAMES)
        with tifffile.TiffFile(path) as tif:
            last = tif.pages[5].offset + 2 + 12 * 9
            back = tif.pages[2].offset
        data = bytearray(path.read_bytes())
        data[last : last + 4] = back.to_bytes(4, "little")
        path.write_bytes(data)
        with pytest.raises(ReadError, match="back to an earlier one"):
            open_recording(path)


def test_a_page_that_cannot_be_decoded(tmp_path):
    path = tmp_path / "a.tif"
    pages(compression="zlib", metadata=None)(path, FRAMES)
    with tifffile.TiffFile(path) as tif:
        begin = tif.pages[3].dataoffsets[0]
    data = bytearray(path.read_bytes())
    data[begin : begin + 300] = bytes(300)
    path.write_bytes(data)
    recording = open_recording(path)
    np.testing.assert_array_equal(recording.read(0, 3), FRAMES[:3])
    with pytest.raises(ReadError, match="frame 3: cannot be decoded") as caught:
        recording.read()
    assert (caught.value.path, caught.value.frame) == (str(path), 3)


@pytest.mark.parametrize("kind", ["contiguous", "zlib"])
def test_a_file_that_shrinks_while_it_is_open(tmp_path, kind):
    path = tmp_path / "a.tif"
    KINDS[kind](path, FRAMES)
    recording = open_recording(path)
    os.truncate(path, 10_000)
    with pytest.raises(ReadError) as caught:
        recording.read()
    assert caught.value.path == str(path)
    assert caught.value.frame in (1, 2)


def test_frames_that_go_missing_or_change_while_a_folder_is_open(tmp_path):
    for i in range(3):
        tifffile.imwrite(tmp_path / f"{i}.tif", FRAMES[i], compression="zlib")
    recording = open_recording(tmp_path)
    tifffile.imwrite(tmp_path / "1.tif", FRAMES[1, :5], compression="zlib")
    with pytest.raises(ReadError, match=r"1\.tif: frame 1: has changed"):
        recording.read()
    (tmp_path / "1.tif").unlink()
    with pytest.raises(ReadError, match=r"1\.tif: frame 1: cannot be read: No such file"):
        recording.read()


# Files that are no recordings


def jpeg(path, shape=(33, 67)):
    buffer = io.BytesIO()
    Image.fromarray(np.zeros(shape, np.uint8)).save(buffer, "jpeg")
    path.write_bytes(buffer.getvalue())


STRANGE = {
    "empty file": (lambda p: p.write_bytes(b""), "is empty"),
    "text": (lambda p: p.write_text("this is no image\n"), "is nothing that iosfast knows"),
    "JPEG": (jpeg, "is nothing that iosfast knows"),
    "folder": (lambda p: p.mkdir(), "is empty"),
    "nothing": (lambda p: None, "does not exist"),
    "dangling link": (lambda p: p.symlink_to("nowhere"), "No such file"),
    "magic only": (lambda p: p.write_bytes(b"II*\0"), "is cut before its first frame"),
    "RGB": (stack(photometric="rgb"), "colour images"),
    "planar RGB": (stack(photometric="rgb", planarconfig="separate"), "colour images"),
    "palette": (stack(colormap=np.zeros((3, 256), "u2")), "colour images"),
    "float16": (stack(), "must be one of uint8, .*, not float16: it is not precise enough"),
    "int8": (stack(), "not int8: its values are not as bright as light"),
    "uint64": (stack(), "not uint64: its values are too large for an exact sum"),
    "complex64": (stack(), "not complex64: a change of complex numbers has no sign"),
    "bool": (stack(photometric="minisblack"), "must be one of uint8|of shape"),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_strange_files(tmp_path, kind):
    write, message = STRANGE[kind]
    path = tmp_path / "a.tif"
    data = {
        "RGB": np.zeros((4, 8, 9, 3), "u1"),
        "planar RGB": np.zeros((3, 8, 9), "u1"),
        "palette": np.zeros((4, 8, 9), "u1"),
    }.get(kind)
    if kind in ("float16", "int8", "uint64", "complex64", "bool"):
        data = np.zeros((6, 8, 9), kind)
    write(path) if data is None else write(path, data)
    for source in (path, str(path)):
        with pytest.raises(ReadError, match=message) as caught:
            open_recording(source)
        assert caught.value.path == str(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
@pytest.mark.parametrize("count", [1, 2])
def test_a_missing_file_in_a_list(tmp_path, options, count):
    paths = [tmp_path / f"{i}.tif" for i in range(3)]
    for path in paths:
        tifffile.imwrite(path, FRAMES[:count], photometric="minisblack", **options)
    for at in (0, 1, 2):
        paths[at].rename(tmp_path / "away")
        with pytest.raises(ReadError, match=r"does not exist|No such file") as caught:
            open_recording(paths)
        assert caught.value.path == str(paths[at])
        (tmp_path / "away").rename(paths[at])


def strange_frame(folder, kind):
    path = folder / "f3.tif"
    if kind == "another size":
        tifffile.imwrite(path, FRAMES[0, :20])
    elif kind == "transposed":
        tifffile.imwrite(path, FRAMES[0].T)
    elif kind == "uint8":
        tifffile.imwrite(path, FRAMES[0].astype("u1"))
    elif kind == "RGB":
        tifffile.imwrite(path, np.zeros((33, 67, 3), "u2"), photometric="rgb")
    elif kind == "inverted":
        tifffile.imwrite(path, FRAMES[0], photometric="miniswhite")
    elif kind == "two frames":
        tifffile.imwrite(path, FRAMES[:2], photometric="minisblack")
    elif kind == "text":
        path.write_text("no image, but a text that is longer than a header would be")
    elif kind == "JPEG":
        jpeg(path)
    elif kind == "float32":
        tifffile.imwrite(path, FRAMES[0].astype("f4"))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("another size", "is 20 x 67 uint16, but the first file is 33 x 67 uint16"),
        ("transposed", "is 67 x 33 uint16, but"),
        ("uint8", "is 33 x 67 uint8, but"),
        ("RGB", "colour images"),
        ("inverted", "is 33 x 67 uint16, inverted, but"),
        ("two frames", "holds several frames"),
        ("text", "is damaged or no TIFF file"),
        ("JPEG", "is damaged or no TIFF file"),
        ("float32", "is 33 x 67 float32, but the first file is 33 x 67 uint16"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
@pytest.mark.parametrize("allow", [False, True])
def test_a_strange_frame_in_a_folder(tmp_path, kind, message, options, allow):
    for i in range(6):
        tifffile.imwrite(tmp_path / f"f{i}.tif", FRAMES[i], **options)
    strange_frame(tmp_path, kind)
    with pytest.raises(ReadError, match=f"frame 3: .*{message}") as caught:
        open_recording(tmp_path, allow_truncated=allow)
    assert (caught.value.path, caught.value.frame) == (str(tmp_path / "f3.tif"), 3)


@pytest.mark.parametrize("options", [{"metadata": None}, {"compression": "zlib"}])
@pytest.mark.parametrize("at", [1, 3, 5])
def test_a_strange_page_in_a_file(tmp_path, options, at):
    for other in (FRAMES[0, :, :20], FRAMES[0].astype("u1"), np.zeros((33, 67, 3), "u2")):
        path = tmp_path / "a.tif"
        with tifffile.TiffWriter(path) as tif:
            for i, frame in enumerate(FRAMES):
                tif.write(other if i == at else frame, **options)
        with pytest.raises(ReadError, match=f"frame {at}: is .*, but the first frame is") as caught:
            open_recording(path)
        assert caught.value.frame == at


def test_stacks_of_another_size(tmp_path):
    stack()(tmp_path / "1.tif", FRAMES)
    stack()(tmp_path / "2.tif", FRAMES[:, :, :20])
    with pytest.raises(ReadError, match=r"2\.tif: frame 6: has frames of 33 x 20 uint16, but"):
        open_recording(tmp_path)


def test_folders_without_frames(tmp_path):
    with pytest.raises(ReadError, match="is empty"):
        open_recording(tmp_path)
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(ReadError, match="holds 1 files, but no TIFF file"):
        open_recording(tmp_path)
    (tmp_path / "maps.json").write_text("{}")
    with pytest.raises(ReadError, match=r"holds maps, not a recording; open it with iosfast\.load"):
        open_recording(tmp_path)


@pytest.mark.parametrize("stray", ["frame_0007.png", "frame_0007.tif", "frame_0007"])
def test_a_frame_in_another_format_is_not_left_out(tmp_path, stray):
    for i in (5, 6, 8):
        tifffile.imwrite(tmp_path / f"frame_{i:04d}.tif", FRAMES[0])
    if stray.endswith(".tif"):
        (tmp_path / stray).mkdir()
    else:
        (tmp_path / stray).write_bytes(b"")
    with pytest.raises(ReadError, match="is named like a frame, but is no TIFF file") as caught:
        open_recording(tmp_path)
    assert caught.value.path == str(tmp_path / stray)


def test_unreadable_files(tmp_path, monkeypatch):
    paths = [tmp_path / f"{i}.tif" for i in range(3)]
    for path, frame in zip(paths, FRAMES, strict=False):
        tifffile.imwrite(path, frame)
    if os.geteuid() == 0:  # who may read everything
        real, refused = open, PermissionError(13, "Permission denied")

        def refuse(self, *_args, **_options):
            if self == paths[0]:
                raise refused
            return real(self, *_args, **_options)

        monkeypatch.setattr(Path, "open", refuse)
        monkeypatch.setattr("builtins.open", lambda path, *rest: refuse(Path(path), *rest))
    else:
        paths[0].chmod(0)
    for source in (paths[0], tmp_path):
        with pytest.raises(ReadError, match="Permission denied") as caught:
            open_recording(source)
        assert caught.value.path == str(paths[0])


# Arguments


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"dtype": "u2"}, ValueError, "need shape"),
        ({"offset": 3}, ValueError, "need shape"),
        ({"shape": 5}, ValueError, r"shape must be \(Y, X\)"),
        ({"shape": (1, 2, 3, 4)}, ValueError, r"shape must be \(Y, X\)"),
        ({"shape": (0, 4)}, ValueError, "shape must be at least 1"),
        ({"shape": (2.5, 4)}, TypeError, "shape must be a whole number"),
        ({"shape": (3, 4), "offset": -1}, ValueError, "offset must be at least 0"),
        ({"shape": (3, 4), "offset": 1.5}, TypeError, "offset must be a whole number"),
        ({"shape": (3, 4), "dtype": "what"}, TypeError, "dtype must be a numpy dtype"),
        ({"shape": (3, 4), "dtype": "f2"}, TypeError, "one of uint8"),
        ({"shape": (5, 5)}, ReadError, "no whole number of frames"),
        ({"shape": (1, 3, 4)}, ReadError, "more than shape=.* takes"),
        ({"shape": (60, 60)}, ReadError, "less than one frame"),
        ({"shape": (3, 4), "offset": 1000}, ReadError, "holds no frame"),
    ],
)
def test_arguments_for_raw_files(tmp_path, options, error, message):
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(240))
    with pytest.raises(error, match=message):
        open_recording(path, **options)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ([], ValueError, "empty list"),
        (None, TypeError, "source must be a path"),
        (5, TypeError, "source must be a path"),
        (["a.tif", 5], TypeError, "source must be a path"),
        (b"a.tif", TypeError, "source must be a path"),
        (np.zeros((3, 4), "u2"), ValueError, r"must be \(T, Y, X\)"),
        (np.zeros((0, 3, 4), "u2"), ValueError, "not empty"),
        (np.zeros((2, 3, 4), "f2"), TypeError, "one of uint8"),
        (np.zeros((2, 3, 4), "i8"), TypeError, "one of uint8"),
    ],
)
def test_sources(source, error, message):
    with pytest.raises(error, match=message):
        open_recording(source)


def test_files_that_are_no_raw_files(tmp_path):
    stack()(tmp_path / "a.tif", FRAMES)
    np.save(tmp_path / "a.npy", FRAMES)
    for name in ("a.tif", "a.npy"):
        with pytest.raises(ReadError, match="is no raw file; leave out shape"):
            open_recording(tmp_path / name, shape=(33, 67))
    with pytest.raises(ValueError, match="shape has no meaning for frames"):
        open_recording(FRAMES, shape=(33, 67))
    with pytest.raises(ValueError, match="which is a folder of TIFF files"):
        open_recording(tmp_path, shape=(33, 67))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 4), "u2"),
        np.zeros((0, 3, 4), "u2"),
        np.zeros((2, 3, 4), "f2"),
        np.zeros((2, 3, 4), [("a", "u2")]),
        np.array([[["a"]]], object),
    ],
)
def test_npy_files_of_other_things(tmp_path, array):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(ReadError) as caught:
        open_recording(tmp_path / "a.npy")
    assert caught.value.path == str(tmp_path / "a.npy")


def test_read_errors_are_value_errors():
    assert issubclass(ReadError, ValueError)
    error = ReadError("what", "a.tif", 3)
    assert str(error) == "a.tif: frame 3: what"
