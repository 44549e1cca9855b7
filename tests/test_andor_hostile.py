"""Andor files that are damaged in any way: one ReadError, or right frames."""

import os
import warnings

import numpy as np
import pytest
from andor_files import sif_bytes, spool_name, write_ini, write_spool
from hypothesis import given
from hypothesis import strategies as st
from recordings import some_frames

from iosfast import IosfastWarning, ReadError, open_recording

FRAMES = some_frames((4, 5, 7)).astype("f4") / 4
TICKS = np.arange(4) * 800000 + 4391726
FILES = {
    "old": sif_bytes(FRAMES, version=65559),
    "new": sif_bytes(FRAMES, stamps_us=np.arange(4) * 20000),
    "with ticks": sif_bytes(FRAMES, ticks=TICKS),
}


def pixels_at(content):
    return content.index(FRAMES.astype("<f4").tobytes())


def opened(path, allow_truncated=False):
    """Frames of a file, or the one error that it may give."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IosfastWarning)
        try:
            with open_recording(path, allow_truncated=allow_truncated) as recording:
                return recording.read()
        except ReadError as error:
            found = error
    assert "\n" not in str(found)
    assert len(str(found)) < 500
    return found


@pytest.mark.parametrize("kind", FILES)
def test_cut_at_every_byte_of_the_header(tmp_path, kind):
    content = FILES[kind]
    begin = pixels_at(content)
    path = tmp_path / "a.sif"
    nulls = content.index(b"\0" * 300)
    for size in [*range(1, nulls), *range(nulls + 2000, begin + 1)]:
        path.write_bytes(content[:size])
        for allow in (False, True):
            error = opened(path, allow)
            assert isinstance(error, ReadError), size
            if size >= 36:
                assert error.path == str(path)


@pytest.mark.parametrize("kind", FILES)
def test_cut_within_the_pixels(tmp_path, kind):
    content = FILES[kind]
    begin, frame = pixels_at(content), FRAMES[0].nbytes
    path = tmp_path / "a.sif"
    for size in range(begin, begin + FRAMES.nbytes):
        path.write_bytes(content[:size])
        assert isinstance(opened(path), ReadError)
        whole = (size - begin) // frame
        if whole:
            np.testing.assert_array_equal(opened(path, True), FRAMES[:whole])


@given(
    kind=st.sampled_from(sorted(FILES)),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=3),
)
def test_damaged_bytes(files, kind, edits):
    content = bytearray(FILES[kind])
    begin = pixels_at(bytes(content))
    for share, value in edits:
        at = int(share * (begin - 1))
        content[at] = value
    found = opened(files(bytes(content)))
    if isinstance(found, np.ndarray) and found.shape == FRAMES.shape:
        np.testing.assert_array_equal(found, FRAMES)


@pytest.mark.parametrize("kind", FILES)
def test_every_digit_of_the_text_behind_the_comment(tmp_path, kind):
    """Single wrong bytes in the lines that place the pixels."""
    content = FILES[kind]
    begin = pixels_at(content)
    path = tmp_path / "a.sif"
    for at in range(content.index(b"Pixel number"), begin):
        for value in (b"\n", b" ", b"9", b"0", b"-", b"\0"):
            path.write_bytes(content[:at] + value + content[at + 1 :])
            found = opened(path)
            if isinstance(found, np.ndarray) and found.shape == FRAMES.shape:
                np.testing.assert_array_equal(found, FRAMES, err_msg=f"{at} {value!r}")


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": 0},
        {"count": -1},
        {"count": 10**15},
        {"count": 10**30, "total": 10**30},
        {"subimages": 0},
        {"subimages": 2},
        {"subimages": 10**12},
        {"area": "1 1 0 0 1 1"},
        {"area": "1 1 1000000 1000000 1 1", "length": 10**12, "total": 4 * 10**12},
        {"area": "1 1 7 5 0 0"},
        {"area": "1 1 7"},
        {"area": "1 1 5 7 1 1", "length": 36},
        {"length": 34},
        {"total": 139},
        {"name_length": -5},
        {"name_length": 10**12},
        {"name_length": 3},
        {"text_length": 10**18},
        {"text_length": -1},
        {"text_length": 0},
    ],
)
def test_absurd_numbers(tmp_path, wrong):
    path = tmp_path / "a.sif"
    for version in (65559, 65567):
        path.write_bytes(sif_bytes(FRAMES, version=version, **wrong))
        with pytest.raises(ReadError) as caught:
            open_recording(path)
        assert caught.value.path == str(path)


def test_a_folder_named_like_a_file(tmp_path):
    (tmp_path / "a.sif").mkdir()
    for path in (tmp_path, tmp_path / "a.sif"):
        with pytest.raises(ReadError):
            open_recording(path)
    (tmp_path / "b.sif").write_bytes(FILES["new"])
    np.testing.assert_array_equal(opened(tmp_path), FRAMES)


def test_other_files_named_sif(tmp_path):
    (tmp_path / "a_1.sif").write_bytes(FILES["new"])
    (tmp_path / "a_2.sif").write_bytes(b"no Andor file")
    for source in (tmp_path, [tmp_path / "a_1.sif", tmp_path / "a_2.sif"]):
        with pytest.raises(ReadError, match=r"a_2\.sif: is no Andor file, though its name says so"):
            open_recording(source)
    with pytest.raises(ValueError, match="dataset has no meaning"):
        open_recording(tmp_path / "a_1.sif", dataset="x")


def test_an_empty_file_in_a_list(tmp_path):
    (tmp_path / "a_1.sif").write_bytes(FILES["new"])
    (tmp_path / "a_2.sif").write_bytes(b"")
    with pytest.raises(ReadError, match=r"a_2\.sif: "):
        open_recording([tmp_path / "a_1.sif", tmp_path / "a_2.sif"])


# Spool folders


def spool(folder, **options):
    write_spool(folder, some_frames((4, 5, 7)), **options)
    return folder


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AOIHeight", "0"),
        ("AOIHeight", "-5"),
        ("AOIHeight", "six"),
        ("AOIHeight", "9" * 5000),
        ("AOIHeight", "70000"),
        ("AOIHeight", "6"),
        ("AOIWidth", "8"),
        ("AOIWidth", "\u0665"),
        ("AOIStride", "13"),
        ("AOIStride", "1000000"),
        ("ImageSizeBytes", "69"),
        ("ImageSizeBytes", "1e3"),
        ("ImagesPerFile", "0"),
        ("PixelEncoding", "RGB8Packed"),
        ("PixelEncoding", "%(x)s" * 3000),
        ("PixelEncoding", ""),
    ],
)
def test_wrong_values_in_the_ini_file(tmp_path, name, value):
    path = spool(tmp_path, padding=0) / "acquisitionmetadata.ini"
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    lines = [f"{name} = {value}" if line.startswith(name) else line for line in lines]
    path.write_text("\n".join(lines), encoding="utf-8")
    error = opened(tmp_path)
    assert isinstance(error, ReadError)
    assert error.path.startswith(str(tmp_path))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[data]\n",
        b"\xff\xfe",
        b"\0" * 99,
        b"[data\n",
        b"AOIWidth = 5\n",
        b"[data]\nAOI\n" * 2,
    ],
)
def test_damaged_ini_files(tmp_path, content):
    path = spool(tmp_path) / "acquisitionmetadata.ini"
    path.write_bytes(content)
    with pytest.raises(ReadError) as caught:
        open_recording(tmp_path)
    assert caught.value.path == str(path)
    path.unlink()
    with pytest.raises(ReadError, match=r"metadata\.ini: is missing, so nothing tells"):
        open_recording(tmp_path)
    path.mkdir()
    with pytest.raises(ReadError, match=r"acquisitionmetadata\.ini: cannot be read"):
        open_recording(tmp_path)


def test_a_damaged_sifx_file(tmp_path):
    path = spool(tmp_path, ticks=TICKS) / "Spooled files.sifx"
    content = path.read_bytes()
    for size in range(0, content.index(b"<TInsta"), 13):
        path.write_bytes(content[:size])
        found = opened(tmp_path)
        if isinstance(found, ReadError):
            assert found.path == str(path)
        else:
            np.testing.assert_array_equal(found, some_frames((4, 5, 7)))
    path.unlink()
    with pytest.warns(IosfastWarning, match=r"holds no \.sifx file"):
        assert open_recording(tmp_path).frame_rate_hz is None


def test_strange_spool_files(tmp_path):
    spool(tmp_path)
    (tmp_path / spool_name(2)).unlink()
    (tmp_path / spool_name(2)).mkdir()
    assert isinstance(opened(tmp_path), ReadError)
    (tmp_path / spool_name(2)).rmdir()
    (tmp_path / spool_name(2)).symlink_to("nowhere")
    assert isinstance(opened(tmp_path), ReadError)
    (tmp_path / spool_name(2)).unlink()
    (tmp_path / spool_name(10**9 - 1)).write_bytes(b"")
    assert isinstance(opened(tmp_path), ReadError)
    (tmp_path / "000000000000spool.dat").write_bytes(b"")
    with pytest.raises(ReadError, match="both have the number 0"):
        open_recording(tmp_path)
    (tmp_path / "spool.dat").write_bytes(b"")
    with pytest.raises(ReadError, match="named like a spool file, but without"):
        open_recording(tmp_path)


def test_all_spool_files_are_empty(tmp_path):
    spool(tmp_path)
    for number in range(4):
        os.truncate(tmp_path / spool_name(number), 0)
    for allow in (False, True):
        assert isinstance(opened(tmp_path, allow), ReadError)


def test_no_spool_file(tmp_path):
    write_ini(tmp_path, 5, 7, 14, "Mono16", 70, 1)
    with pytest.raises(ReadError, match="holds no spool file"):
        open_recording(tmp_path)
