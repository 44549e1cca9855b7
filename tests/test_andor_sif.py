"""Andor .sif files: real ones, those of every version, series of them, and their times."""

import builtins
import json
import os
import sys
import warnings
from datetime import datetime

import numpy as np
import pytest
import sif_parser
from andor_files import CYCLE_S, REAL, STARTED, TICK_NS, sif_bytes
from recordings import some_frames

import iosfast
from iosfast import IosfastWarning, ReadError, open_recording
from iosfast.readers.clocks import clock_seconds

real = pytest.mark.skipif(not REAL.is_dir(), reason="no files of real cameras here")
FRAMES = some_frames((5, 33, 67)).astype("f4") / 4


def saved(path, frames=FRAMES, **options):
    path.write_bytes(sif_bytes(frames, **options))
    return path


def by_sif_parser(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a cut file
        return sif_parser.np_open(str(path), ignore_corrupt=True)[0]


@real
def test_a_real_ixon_file():
    with open_recording(REAL / "ixon897_512.sif") as recording:
        assert (recording.shape, recording.dtype) == ((1, 512, 512), np.dtype("f4"))
        np.testing.assert_array_equal(recording.read(), by_sif_parser(recording.source))
        assert recording.frame_rate_hz == pytest.approx(1 / 1.02962)
        assert recording.times_s is None
        facts = recording.metadata
        assert (facts["camera"], facts["temperature_c"], facts["gain"]) == ("DU897_BV", -100, 1000)
        assert facts["exposure_s"] == 1


@real
def test_a_real_file_that_is_cut():
    path = REAL / "truncated_kinetic.sif"
    with pytest.raises(ReadError, match="is cut; 2 of 4 frames are lost") as caught:
        open_recording(path)
    assert caught.value.frame == 2
    with pytest.warns(IosfastWarning, match="2 of 4 frames are lost"):
        recording = open_recording(path, allow_truncated=True)
    np.testing.assert_array_equal(recording.read(), by_sif_parser(path))
    assert recording.frame_rate_hz == pytest.approx(1 / 0.024591)


@pytest.mark.parametrize("version", [65559, 65564, 65566, 65567])
@pytest.mark.parametrize("shift", range(4))
def test_pixels_are_those_of_sif_parser(tmp_path, version, shift):
    """At every alignment, not square, and in the same order of rows and columns."""
    path = saved(tmp_path / "a.sif", version=version, name=b"C:\\" + b"x" * (10 + shift))
    with open_recording(path) as recording:
        np.testing.assert_array_equal(recording.read(), FRAMES)
        np.testing.assert_array_equal(recording.read(), by_sif_parser(path))
        np.testing.assert_array_equal(recording.read(3, 4), FRAMES[3:4])
        assert recording.metadata["format"] == "Andor SIF"
        json.dumps(dict(recording.metadata), allow_nan=False)


def test_region_and_binning(tmp_path):
    path = saved(tmp_path / "a.sif", binning=(2, 4), left=17, bottom=101)
    facts = open_recording(path).metadata
    assert facts["region"] == {"left": 17, "right": 284, "bottom": 101, "top": 166}
    assert facts["binning"] == [2, 4]
    np.testing.assert_array_equal(open_recording(path).read(), by_sif_parser(path))


def test_facts_on_time(tmp_path):
    recording = open_recording(saved(tmp_path / "a.sif"))
    assert recording.frame_rate_hz == pytest.approx(1 / CYCLE_S)
    local = datetime.fromtimestamp(STARTED)
    assert recording.start_s == pytest.approx(clock_seconds(local) + 0.477)
    assert recording.times_s is None  # as all stamps are zero
    recording = open_recording(saved(tmp_path / "b.sif", accumulations=5))
    assert recording.frame_rate_hz is None
    assert "5 exposures" in recording.notes[0]
    assert open_recording(saved(tmp_path / "c.sif", cycle_s=0)).frame_rate_hz is None


@pytest.mark.parametrize("start", [0, 24591, 3 << 29])
def test_time_stamps(tmp_path, start):
    stamps = start + np.cumsum([0, 20000, 20001, 45000, 19999])
    recording = open_recording(saved(tmp_path / "a.sif", stamps_us=stamps))
    assert recording.times_s.dtype == np.float64
    np.testing.assert_allclose(recording.times_s, (stamps - start) * 1e-6, atol=1e-9)


def test_time_stamps_count_to_32_bits(tmp_path):
    stamps = ((1 << 32) - 45000 + np.arange(5) * 20000) % (1 << 32)
    assert stamps[-1] < stamps[0]
    recording = open_recording(saved(tmp_path / "a.sif", stamps_us=stamps))
    np.testing.assert_allclose(recording.times_s, np.arange(5) * 0.02, atol=1e-9)


@pytest.mark.parametrize("stamps", [[0, 0, 0, 5, 5], [0, 20, 10, 30, 40]])
def test_time_stamps_that_are_none(tmp_path, stamps):
    recording = open_recording(saved(tmp_path / "a.sif", stamps_us=stamps))
    assert recording.times_s is None
    assert "do not increase" in recording.notes[0]


def test_clock_ticks(tmp_path):
    ticks = 4391726 + np.cumsum([0, 716981, 716982, 900000, 716980])
    recording = open_recording(saved(tmp_path / "a.sif", ticks=ticks))
    np.testing.assert_array_equal(recording.read(), FRAMES)
    expected = (ticks - ticks[0]) * TICK_NS * 1e-9
    np.testing.assert_allclose(recording.times_s, expected, atol=1e-9)


def test_maps_of_a_sif_file(tmp_path):
    frames = some_frames((350, 17, 9)).astype("f4") / 8
    path = saved(tmp_path / "a.sif", frames, stamps_us=np.arange(350) * 20000)
    maps = iosfast.preprocess(path)
    means = frames.astype("f8").reshape(7, 50, 17, 9).mean(1)
    np.testing.assert_allclose(maps.binned, means, rtol=1e-6)
    assert maps.frame_rate_hz == 50
    np.testing.assert_array_equal(maps.bin_times_s, np.arange(7))


def test_closed(tmp_path):
    recording = open_recording(saved(tmp_path / "a.sif"))
    recording.close()
    with pytest.raises(ReadError, match="was closed"):
        recording.read()


def test_a_file_that_shrinks(tmp_path):
    path = saved(tmp_path / "a.sif")
    with open_recording(path) as recording:
        os.truncate(path, path.stat().st_size // 2)
        with pytest.raises(ReadError) as caught:
            recording.read()
    assert caught.value.path == str(path)


@pytest.mark.parametrize("version", [65559, 65567])
def test_zero_pixels_are_not_read_as_text(tmp_path, version):
    """8 GB of zeros behind the header, as holes, of which nothing is read to open the file."""
    count, one = 8000, np.zeros((1, 512, 512), "f4")
    total = count * 512 * 512
    head = sif_bytes(one, version=version, promised=count, total=total, pixels=False)
    head = head[: head.rindex(b"0\n0\n0\n0\n")]
    path = tmp_path / "a.sif"
    path.write_bytes(head)
    os.truncate(path, len(head) + total * 4)
    with open_recording(path) as recording:
        assert recording.shape == (count, 512, 512)
        assert recording.frame_source is not None
        assert not recording.read(count - 1).any()


def test_without_sif_parser(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.sif")
    monkeypatch.delitem(sys.modules, "sif_parser", raising=False)
    load = builtins.__import__

    def refuse(name, *rest):
        if name.startswith("sif_parser"):
            raise ImportError(name)
        return load(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"pip install 'iosfast\[andor\]'"):
        open_recording(path)


# Series


def write_series(folder, names, starts_us=None):
    for i, name in enumerate(names):
        start = 0 if starts_us is None else starts_us[i]
        stamps = None if starts_us is None else start + np.arange(5) * 20000
        saved(folder / name, FRAMES + i, stamps_us=stamps)
    return np.concatenate([FRAMES + i for i in range(len(names))])


NAMES = {
    "Solis": ["w.sif", *(f"w_X{i}.sif" for i in range(2, 12))],
    "numbered": [f"w_{i:03d}.sif" for i in range(1, 4)],
    "not padded": [f"w{i}.sif" for i in range(8, 12)],
}


@pytest.mark.parametrize("kind", NAMES)
def test_a_folder_is_a_series(tmp_path, kind):
    frames = write_series(tmp_path, NAMES[kind])
    with open_recording(tmp_path) as recording:
        np.testing.assert_array_equal(recording.read(), frames)
        assert recording.frame_rate_hz == pytest.approx(50)
        assert recording.notes == ()
        assert recording.source == str(tmp_path)
        assert recording.frame_source is not None
    (tmp_path / "notes.txt").write_text("")
    assert open_recording(tmp_path).notes == (f"{tmp_path}: 1 other files are left out",)


def test_a_list_is_a_series_in_the_order_given(tmp_path):
    frames = write_series(tmp_path, NAMES["numbered"])
    paths = [tmp_path / name for name in reversed(NAMES["numbered"])]
    recording = open_recording(paths)
    expected = frames.reshape(3, *FRAMES.shape)[::-1].reshape(frames.shape)
    np.testing.assert_array_equal(recording.read(), expected)
    assert recording.notes == ()


@pytest.mark.parametrize("starts", [[10000, 110000, 210000], [7, 100000, 900000]])
def test_times_of_a_series(tmp_path, starts):
    write_series(tmp_path, NAMES["numbered"], starts)
    times = (np.array(starts)[:, None] + np.arange(5) * 20000).ravel() - starts[0]
    np.testing.assert_allclose(open_recording(tmp_path).times_s, times * 1e-6, atol=1e-9)


def test_times_that_start_anew_are_not_joined(tmp_path):
    write_series(tmp_path, NAMES["numbered"], [0, 0, 0])
    assert open_recording(tmp_path / "w_002.sif").times_s is not None
    assert open_recording(tmp_path).times_s is None


def test_one_file_of_a_series_says_so(tmp_path):
    write_series(tmp_path, NAMES["numbered"])
    saved(tmp_path / "other.sif")
    recording = open_recording(tmp_path / "w_002.sif")
    assert len(recording) == 5
    assert recording.notes[0].endswith(
        "(w_001.sif, w_003.sif); give the folder, or a list of files, to join them"
    )
    assert open_recording(tmp_path / "other.sif").notes == ()
    for day in (20240101, 20240102):
        saved(tmp_path / f"{day}.sif")
    assert open_recording(tmp_path / "20240101.sif").notes == ()


def test_the_first_file_of_a_series_of_solis_warns(tmp_path):
    write_series(tmp_path, NAMES["Solis"])
    with pytest.warns(IosfastWarning, match="10 more are named like parts of the same series"):
        open_recording(tmp_path / "w.sif")


def test_folders_that_are_doubtful(tmp_path):
    write_series(tmp_path, ["w_1.sif", "w_2.sif", "w_4.sif"])
    with pytest.warns(IosfastWarning, match="number 3 of the series 'w' is missing"):
        assert len(open_recording(tmp_path)) == 15
    write_series(tmp_path, ["w_3.sif", "v.sif"])
    with pytest.warns(IosfastWarning, match="files of 2 series are joined"):
        open_recording(tmp_path)
    saved(tmp_path / "w_5.sif", FRAMES[:, :20])
    with (
        pytest.warns(IosfastWarning, match="2 series"),
        pytest.raises(ReadError, match="has frames of 20 x 67 float32, but"),
    ):
        open_recording(tmp_path)
