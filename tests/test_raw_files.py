"""Raw files that a sidecar or their name describes."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from recordings import outcome, some_frames

import iosfast
from iosfast import IosfastWarning, ReadError, open_recording

FRAMES = some_frames((12, 9, 14))
TOLD = {"shape": [9, 14], "dtype": "<u2"}


def raw_with(folder, told, frames=FRAMES, name="session.raw"):
    path = folder / name
    frames.tofile(path)
    text = told if isinstance(told, str) else json.dumps(told)
    path.with_suffix(".json").write_text(text)
    return path


# Sidecars


@pytest.mark.parametrize("name", ["session.raw", "session.bin", "session.DAT"])
@pytest.mark.parametrize("shape", [[9, 14], [12, 9, 14]])
def test_sidecar(tmp_path, name, shape):
    told = {
        "shape": shape, "dtype": "<u2", "frame_rate_hz": 60, "pixel_size_mm": 0.02,
        "channels": ["blue", "violet"], "metadata": {"camera": "Zyla", "gain": 3},
    }  # fmt: skip
    recording = open_recording(raw_with(tmp_path, told, name=name))
    np.testing.assert_array_equal(recording.read(), FRAMES)
    assert recording.frame_source is not None
    assert (recording.frame_rate_hz, recording.pixel_size_mm) == (60.0, 0.02)
    assert recording.channels == ("blue", "violet")
    assert dict(recording.metadata) == {"format": "raw", "camera": "Zyla", "gain": 3}
    assert recording.notes == ()


@pytest.mark.parametrize("dtype", [">u2", "<u2", "uint16", "uint8"])
def test_types_and_offset_of_a_sidecar(tmp_path, dtype):
    stored = np.dtype(dtype) if dtype[0] in "<>" else np.dtype(dtype).newbyteorder("<")
    frames = some_frames(FRAMES.shape, stored.newbyteorder("="))
    path = raw_with(tmp_path, {**TOLD, "dtype": dtype, "offset": 77})
    path.write_bytes(b"x" * 77 + frames.astype(stored).tobytes())
    np.testing.assert_array_equal(open_recording(path).read(), frames)


def test_a_sidecar_makes_maps_without_arguments(tmp_path):
    frames = some_frames((24, 9, 14))
    path = raw_with(tmp_path, {**TOLD, "frame_rate_hz": 2, "pixel_size_mm": 0.5}, frames)
    maps = iosfast.preprocess(path)
    expected = frames.reshape(12, 2, 9, 14).mean(axis=1)
    np.testing.assert_allclose(maps.binned, expected, rtol=0, atol=0.5)  # rounded


def test_arguments_win_over_the_sidecar(tmp_path):
    path = raw_with(tmp_path, {**TOLD, "frame_rate_hz": 60})
    recording = open_recording(path, shape=(14, 9), dtype=">u2")
    np.testing.assert_array_equal(recording.read(), FRAMES.byteswap().reshape(12, 14, 9))
    assert recording.frame_rate_hz == 60.0
    frames, error, _ = outcome(path, shape=(10, 14))
    assert frames is None
    assert "check shape and session.json" in str(error)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"shape": [9, 14]}, "has no 'dtype'"),
        ({"dtype": "<u2"}, "has no 'shape'"),
        ({**TOLD, "frame_rate": 60}, "tells of 'frame_rate', which is no key"),
        ({**TOLD, "shape": [9]}, r"its 'shape' must be \[Y, X\]"),
        ({**TOLD, "shape": [9, 0]}, "its 'shape' must be"),
        ({**TOLD, "shape": [9, 14.0]}, "its 'shape' must be"),
        ({**TOLD, "shape": [True, 9, 14]}, "its 'shape' must be"),
        ({**TOLD, "shape": "9x14"}, "its 'shape' must be"),
        ({**TOLD, "shape": [2**70, 14]}, "its 'shape' must be"),
        ({**TOLD, "dtype": "grey"}, "its 'dtype' must be"),
        ({**TOLD, "dtype": "O"}, "its 'dtype' must be"),
        ({**TOLD, "dtype": "2u2"}, "its 'dtype' must be"),
        ({**TOLD, "dtype": 16}, "its 'dtype' must be"),
        ({**TOLD, "offset": -1}, "its 'offset' must be"),
        ({**TOLD, "frame_rate_hz": 0}, "its 'frame_rate_hz' must be a number above 0, not 0"),
        ({**TOLD, "frame_rate_hz": "60"}, "its 'frame_rate_hz' must be"),
        ({**TOLD, "pixel_size_mm": float("nan")}, "its 'pixel_size_mm' must be"),
        ({**TOLD, "pixel_size_mm": 10**400}, "its 'pixel_size_mm' must be"),
        ({**TOLD, "channels": "blue"}, "its 'channels' must be"),
        ({**TOLD, "channels": ["a", "a"]}, "its 'channels' must be"),
        ({**TOLD, "metadata": {"format": "x"}}, "its 'metadata' must be"),
        ({**TOLD, "shape": [5, 9, 14], "channels": ["a", "b"]}, "no multiple of its 2 'channels'"),
        ('{"shape": [9, 14], ', "is no valid JSON"),
        ("[" * 100_000, "is no valid JSON"),
    ],
)
def test_a_wrong_sidecar_is_named(tmp_path, told, message):
    path = raw_with(tmp_path, told)
    for options in ({}, {"shape": (9, 14)}):
        with pytest.raises(ReadError, match=message) as caught:
            open_recording(path, **options)
        assert caught.value.path == str(tmp_path / "session.json")


@pytest.mark.parametrize("told", ['{"animal": "M7"}', "[1, 2]", '"shape"', " " * (1 << 21)])
def test_other_json_files_are_no_sidecars(tmp_path, told):
    path = raw_with(tmp_path, told)
    with pytest.raises(ReadError, match="give shape"):
        open_recording(path)
    np.testing.assert_array_equal(open_recording(path, shape=(9, 14)).read(), FRAMES)


def test_a_cut_file_with_a_sidecar(tmp_path):
    path = raw_with(tmp_path, {**TOLD, "shape": [12, 9, 14], "channels": ["a", "b"]})
    os.truncate(path, 7 * 252 + 5)
    with pytest.raises(ReadError, match="frame 6: the file is cut; 6 of 12 frames are lost"):
        open_recording(path)
    with pytest.warns(IosfastWarning, match="6 of 12 frames are lost"):
        recording = open_recording(path, allow_truncated=True)
    np.testing.assert_array_equal(recording.read(), FRAMES[:6])
    raw_with(tmp_path, {**TOLD, "shape": [11, 9, 14]})
    with pytest.raises(ReadError, match=r"more than shape=.*; check session\.json"):
        open_recording(path)


# wfield


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize(("name", "channels"), [("frames_2", 2), ("1", 1), ("run1_2_3", 3)])
def test_wfield(tmp_path, name, channels, dtype):
    frames = some_frames((12, 9, 14), dtype).reshape(-1, channels, 9, 14)
    path = tmp_path / f"{name}_9_14_{dtype}.dat"
    frames.tofile(path)
    written = np.memmap(path, dtype, "r", shape=frames.shape)  # as wfield itself maps it
    recording = open_recording(path)
    np.testing.assert_array_equal(recording.read(), written.reshape(12, 9, 14))
    assert recording.channels == (tuple("012"[:channels]) if channels > 1 else ())
    assert recording.metadata["format"] == "wfield"


@pytest.mark.parametrize("at", [512, 1024])
def test_pixels_that_look_like_another_format(tmp_path, at):
    """HDF5 may begin there, too; what the name or a sidecar tells goes before."""
    frames = some_frames((12, 9, 14))
    content = bytearray(frames.tobytes())
    content[at : at + 8] = b"\x89HDF\r\n\x1a\n"
    frames = np.frombuffer(content, "<u2").reshape(frames.shape)
    named = tmp_path / "frames_1_9_14_uint16.dat"
    for path in (named, raw_with(tmp_path, TOLD)):
        path.write_bytes(content)
        np.testing.assert_array_equal(open_recording(path).read(), frames)


@pytest.mark.parametrize("rest", [1, 2 * 252 + 1, 3 * 252])
def test_a_cut_wfield_file_keeps_its_channels_together(tmp_path, rest):
    path = tmp_path / "frames_2_9_14_uint16.dat"
    path.write_bytes(FRAMES[:4].tobytes() + FRAMES[4:].tobytes()[:rest])
    with pytest.raises(ReadError, match=r"no whole number of frames.*check the name"):
        open_recording(path)
    with pytest.warns(IosfastWarning, match="the file is cut"):
        recording = open_recording(path, allow_truncated=True)
    kept = 4 + rest // 504 * 2
    np.testing.assert_array_equal(recording.read(), FRAMES[:kept])


def test_wfield_files_without_a_whole_time_point(tmp_path):
    path = tmp_path / "frames_2_9_14_uint16.dat"
    FRAMES[:1].tofile(path)
    for cut in (False, True):
        with pytest.raises(ReadError, match=r"less than one frame .* of every channel"):
            open_recording(path, allow_truncated=cut)


@pytest.mark.parametrize("name", ["frames_0_9_14_uint16.dat", "frames_2_9_14.dat", "a.dat"])
def test_names_that_tell_nothing(tmp_path, name):
    FRAMES.tofile(tmp_path / name)
    with pytest.raises(ReadError, match="give shape"):
        open_recording(tmp_path / name)
