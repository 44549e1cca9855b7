"""Andor spool folders: real ones, every encoding, files that are cut or missing."""

import os
import warnings

import numpy as np
import pytest
import sif_parser
from andor_files import REAL, TICK_NS, spool_name, write_ini, write_spool
from recordings import some_frames

import iosfast
from iosfast import IosfastWarning, ReadError, open_recording

real = pytest.mark.skipif(not REAL.is_dir(), reason="no files of real cameras here")
BITS = {"Mono12": 12, "Mono16": 16, "Mono32": 31, "Mono12Packed": 12}


def frames_of(encoding, shape=(13, 33, 67)):
    frames = some_frames(shape, "uint32") >> (32 - BITS[encoding])
    return frames.astype("u4" if encoding == "Mono32" else "u2")


def by_sif_parser(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sif_parser.np_spool_open(str(folder))[0]


@real
@pytest.mark.parametrize(("kind", "count"), [("Mono16", 1), ("Mono32", 10)])
def test_real_folders(kind, count):
    folder = REAL / f"spool_{kind}"
    for path in (folder, folder / "Spooled files.sifx"):
        with open_recording(path) as recording:
            assert recording.shape == (count, 200, 200)
            assert recording.dtype == np.dtype("u2" if kind == "Mono16" else "u4")
            np.testing.assert_array_equal(recording.read(), by_sif_parser(folder))
            assert recording.metadata["camera"] == "ZYLA-5.5-CL10"
            assert recording.metadata["encoding"] == kind


@real
def test_times_of_a_real_folder():
    """Ticks of 25 ns; five exposures of 3.58489 ms are added in each frame."""
    recording = open_recording(REAL / "spool_Mono32")
    np.testing.assert_allclose(np.diff(recording.times_s), 5 * 3.58489e-3, rtol=1e-5)
    assert recording.times_s[0] == 0
    assert recording.frame_rate_hz is None  # as the header tells 279 Hz
    recording = open_recording(REAL / "spool_Mono16")
    assert recording.frame_rate_hz == pytest.approx(1 / 0.00358489)


@pytest.mark.parametrize("encoding", BITS)
@pytest.mark.parametrize("row_padding", [0, 4, 9])
@pytest.mark.parametrize("width", [66, 67])
def test_every_encoding(tmp_path, encoding, row_padding, width):
    frames = frames_of(encoding, (3, 33, width))
    write_spool(tmp_path, frames, encoding, row_padding=row_padding)
    with open_recording(tmp_path) as recording:
        assert recording.dtype == frames.dtype
        np.testing.assert_array_equal(recording.read(), frames)
        if encoding in ("Mono16", "Mono32") and not row_padding:
            np.testing.assert_array_equal(recording.read(), by_sif_parser(tmp_path))
        assert recording.frame_rate_hz == pytest.approx(50)


def test_names_are_reversed_digits(tmp_path):
    frames = frames_of("Mono16", (123, 3, 5))
    write_spool(tmp_path, frames)
    assert (tmp_path / "2210000000spool.dat").exists()
    np.testing.assert_array_equal(open_recording(tmp_path).read(), frames)
    np.testing.assert_array_equal(by_sif_parser(tmp_path), frames)


@pytest.mark.parametrize("encoding", ["Mono16", "Mono12Packed"])
@pytest.mark.parametrize("by_frame", [False, True])
@pytest.mark.parametrize("count", [12, 13, 14])
@pytest.mark.parametrize("sifx", [False, True])
def test_several_images_in_a_file(tmp_path, encoding, by_frame, count, sifx):
    frames = frames_of(encoding, (count, 7, 9))
    write_spool(tmp_path, frames, encoding, per_file=4, by_frame=by_frame, sifx=sifx)
    if sifx:
        recording = open_recording(tmp_path)
    else:
        with pytest.warns(IosfastWarning, match=r"holds no \.sifx file"):
            recording = open_recording(tmp_path)
    np.testing.assert_array_equal(recording.read(), frames)
    for start in range(count):
        np.testing.assert_array_equal(recording.read(start, start + 1), frames[start : start + 1])
    np.testing.assert_array_equal(recording.read(3, 9), frames[3:9])


def test_images_behind_the_last_frame_are_left_out(tmp_path):
    frames = frames_of("Mono16", (8, 7, 9))
    write_spool(tmp_path, frames, per_file=4, promised=6)
    np.testing.assert_array_equal(open_recording(tmp_path).read(), frames[:6])


@pytest.mark.parametrize("threads", [1, 3])
def test_packed_frames_are_read_ahead(tmp_path, threads):
    frames = frames_of("Mono12Packed")
    write_spool(tmp_path, frames, "Mono12Packed", per_file=2)
    recording = open_recording(tmp_path)
    blocks = list(recording.blocks(3, threads=threads))
    np.testing.assert_array_equal(np.concatenate(blocks), frames)


@pytest.mark.parametrize("encoding", ["Mono32", "Mono12Packed"])
def test_maps_of_a_spool_folder(tmp_path, encoding):
    frames = frames_of(encoding, (350, 17, 9))
    write_spool(tmp_path, frames, encoding, row_padding=3)
    maps = iosfast.preprocess(tmp_path)
    means = frames.reshape(7, 50, 17, 9).astype("f8").mean(1)
    np.testing.assert_allclose(maps.binned, means, rtol=1e-6, atol=0.5)


@pytest.mark.parametrize("encoding", ["Mono16", "Mono12Packed"])
def test_clock_ticks(tmp_path, encoding):
    frames = frames_of(encoding, (5, 7, 9))
    ticks = 4391726 + np.cumsum([0, 800000, 800001, 1600000, 799999])
    write_spool(tmp_path, frames, encoding, ticks=ticks)
    recording = open_recording(tmp_path)
    expected = (ticks - ticks[0]) * TICK_NS * 1e-9
    np.testing.assert_allclose(recording.times_s, expected, atol=1e-9)
    path = tmp_path / spool_name(4)
    content = bytearray(path.read_bytes())
    content[-15] ^= 1  # of the clock behind the pixels
    path.write_bytes(content)
    recording = open_recording(tmp_path)
    assert recording.times_s is None
    assert "time stamps are not used" in recording.notes[0]
    np.testing.assert_array_equal(recording.read(), frames)


# What is missing


@pytest.mark.parametrize("encoding", ["Mono16", "Mono12Packed"])
@pytest.mark.parametrize("lost", [0, 2, 5])
def test_a_missing_file(tmp_path, encoding, lost):
    frames = frames_of(encoding, (8, 7, 9))
    ticks = np.arange(8) * 800000 + 1
    write_spool(tmp_path, frames, encoding, ticks=ticks)
    path = tmp_path / spool_name(lost)
    path.unlink()
    with pytest.raises(ReadError, match=f"spool file number {lost} .* is missing") as caught:
        open_recording(tmp_path)
    assert (caught.value.path, caught.value.frame) == (str(path), lost)
    with pytest.warns(IosfastWarning, match="1 of 8 frames are lost and left out"):
        recording = open_recording(tmp_path, allow_truncated=True)
    kept = np.delete(np.arange(8), lost)
    np.testing.assert_array_equal(recording.read(), frames[kept])
    np.testing.assert_allclose(recording.times_s, kept * 0.02, atol=1e-9)


@pytest.mark.parametrize("per_file", [1, 4])
def test_missing_files_at_the_end(tmp_path, per_file):
    frames = frames_of("Mono16", (16, 7, 9))
    write_spool(tmp_path, frames, per_file=per_file)
    (tmp_path / spool_name(16 // per_file - 1)).unlink()
    with pytest.raises(ReadError, match=f"{per_file} of 16 frames (is|are) lost"):
        open_recording(tmp_path)
    with pytest.warns(IosfastWarning, match=f"the {16 - per_file} whole frames before are used"):
        recording = open_recording(tmp_path, allow_truncated=True)
    np.testing.assert_array_equal(recording.read(), frames[: 16 - per_file])


@pytest.mark.parametrize("encoding", ["Mono16", "Mono12Packed"])
@pytest.mark.parametrize("number", [0, 1, 3])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.8])
def test_a_file_that_is_cut(tmp_path, encoding, number, share):
    frames = frames_of(encoding, (16, 7, 9))
    write_spool(tmp_path, frames, encoding, per_file=4)
    path = tmp_path / spool_name(number)
    os.truncate(path, int(path.stat().st_size * share))
    whole = int(4 * share)
    with pytest.raises(ReadError, match="the file is cut") as caught:
        open_recording(tmp_path)
    assert (caught.value.path, caught.value.frame) == (str(path), number * 4 + whole)
    with pytest.warns(IosfastWarning, match=f"{4 - whole} of 16 frames"):
        recording = open_recording(tmp_path, allow_truncated=True)
    kept = np.r_[: number * 4 + whole, (number + 1) * 4 : 16]
    np.testing.assert_array_equal(recording.read(), frames[kept])


@pytest.mark.parametrize("encoding", ["Mono16", "Mono12Packed"])
def test_files_that_go_while_they_are_read(tmp_path, encoding):
    write_spool(tmp_path, frames_of(encoding, (6, 7, 9)), encoding)
    recording = open_recording(tmp_path)
    os.truncate(tmp_path / spool_name(2), 60)
    (tmp_path / spool_name(4)).unlink()
    for frame in (2, 4):
        with pytest.raises(ReadError) as caught:
            recording.read(frame, frame + 1)
        assert caught.value.path == str(tmp_path / spool_name(frame))
        assert caught.value.frame == frame
    with pytest.raises(ReadError, match=r"shorter|cut|end"):
        list(recording.blocks(1, threads=2))
    recording.close()
    with pytest.raises(ReadError, match="was closed"):
        recording.read(0, 1)


def test_folders_that_contradict_themselves(tmp_path):
    frames = frames_of("Mono16", (6, 7, 9))
    write_spool(tmp_path, frames, promised=4)
    with pytest.warns(IosfastWarning, match="tells of 4 frames, but the files hold 6"):
        np.testing.assert_array_equal(open_recording(tmp_path).read(), frames)
    write_spool(tmp_path, frames)
    write_ini(tmp_path, 6, 9, 18, "Mono16", 166, 1)
    with pytest.warns(IosfastWarning, match="tells of frames of 7 x 9, but .* of 6 x 9"):
        np.testing.assert_array_equal(open_recording(tmp_path).read(), frames[:, :6])
    write_ini(tmp_path, 3, 9, 18, "Mono16", 60, 1)
    with (
        pytest.warns(IosfastWarning, match="of 3 x 9"),
        pytest.raises(ReadError, match="has 166 bytes, more than 1 images of 60 bytes"),
    ):
        open_recording(tmp_path)
