"""NWB files as pynwb writes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import h5py
import numpy as np
import pytest
from hdmf.backends.hdf5 import H5DataIO
from pynwb import NWBHDF5IO, NWBFile
from pynwb.image import ImageSeries
from pynwb.ophys import OnePhotonSeries, OpticalChannel, TwoPhotonSeries
from recordings import outcome, some_frames

import iosfast
from iosfast import IosfastWarning, ReadError, open_recording

FRAMES = some_frames((12, 33, 67))
#: As the schema has it: (time, x, y).
TURNED = np.ascontiguousarray(FRAMES.swapaxes(1, 2))
START = datetime(2023, 9, 22, 22, 14, 31, 500_000, timezone(timedelta(hours=8)))
LOCAL_S = datetime(2023, 9, 22, 22, 14, 31, 500_000, UTC).timestamp()


class Lab:
    """An NWB file with a device and an imaging plane."""

    def __init__(self, grid_spacing=(0.02, 0.02), unit="millimeters"):
        self.file = NWBFile(
            session_description="a session", identifier="the-id", session_start_time=START
        )
        self.device = self.file.create_device(name="camera", description="an EMCCD")
        self.plane = self.file.create_imaging_plane(
            name="cortex",
            optical_channel=OpticalChannel(
                name="green", description="reflected", emission_lambda=530.0
            ),
            description="exposed cortex",
            device=self.device,
            excitation_lambda=530.0,
            indicator="none",
            location="cortex",
            grid_spacing=list(grid_spacing),
            grid_spacing_unit=unit,
        )

    def add(self, name="movie", data=TURNED, kind=OnePhotonSeries, **options):
        options = {"rate": 50.0, "unit": "counts", **options}
        if "timestamps" in options:
            del options["rate"]
        self.file.add_acquisition(kind(name=name, data=data, imaging_plane=self.plane, **options))
        return self

    def write(self, path):
        with NWBHDF5IO(path, "w") as io:
            io.write(self.file)
        return path


@pytest.mark.parametrize("kind", [OnePhotonSeries, TwoPhotonSeries])
@pytest.mark.parametrize("packed", [False, True])
def test_frames_and_facts(tmp_path, kind, packed):
    data = H5DataIO(TURNED, compression="gzip", chunks=(5, 67, 33)) if packed else TURNED
    path = Lab().add(data=data, kind=kind, starting_time=2.0).write(tmp_path / "a.nwb")
    with NWBHDF5IO(path, "r") as io:
        np.testing.assert_array_equal(io.read().acquisition["movie"].data[:], TURNED)
    with open_recording(path) as recording:
        np.testing.assert_array_equal(recording.read(), FRAMES)
        np.testing.assert_array_equal(recording.read(4, 9), FRAMES[4:9])
    assert recording.frame_rate_hz == 50
    assert recording.pixel_size_mm == 0.02
    assert recording.start_s == LOCAL_S + 2
    assert recording.times_s is None
    assert recording.metadata["format"] == "NWB"
    assert recording.metadata["device"]["name"] == "camera"
    assert recording.metadata["session_description"] == "a session"
    assert "turned from (time, x, y)" in recording.notes[0]


def test_maps(tmp_path):
    frames = some_frames((400, 9, 14))
    path = Lab().add(data=frames.swapaxes(1, 2)).write(tmp_path / "a.nwb")
    maps, expected = iosfast.preprocess(path), iosfast.preprocess(frames, frame_rate_hz=50)
    np.testing.assert_array_equal(maps.change, expected.change)
    assert (maps.frame_rate_hz, maps.pixel_size_mm) == (50, 0.02)


def test_the_data_set_itself_is_read_as_it_is(tmp_path):
    path = Lab().add(data=FRAMES).write(tmp_path / "a.nwb")
    recording = open_recording(path)
    np.testing.assert_array_equal(recording.read(), TURNED)
    assert "dataset='/acquisition/movie/data'" in recording.notes[0]
    recording = open_recording(path, dataset="/acquisition/movie/data")
    np.testing.assert_array_equal(recording.read(), FRAMES)


@pytest.mark.filterwarnings("ignore:.*dimension")
def test_the_dimension_that_a_series_tells_decides(tmp_path):
    path = Lab().add(data=FRAMES, dimension=[67, 33]).write(tmp_path / "a.nwb")
    recording = open_recording(path)
    np.testing.assert_array_equal(recording.read(), FRAMES)
    assert "by the dimension (x, y) = (67, 33)" in recording.notes[0]
    path = Lab().add(dimension=[67, 33]).write(tmp_path / "b.nwb")
    np.testing.assert_array_equal(open_recording(path).read(), FRAMES)


def test_time_stamps(tmp_path):
    times = 3 + np.arange(12) / 40
    recording = open_recording(Lab().add(timestamps=times).write(tmp_path / "a.nwb"))
    np.testing.assert_array_equal(recording.times_s, times)
    assert recording.frame_rate_hz == 40
    assert recording.start_s == LOCAL_S + 3
    times[6:] += 1  # frames are missing
    recording = open_recording(Lab().add(timestamps=times).write(tmp_path / "a.nwb"))
    np.testing.assert_array_equal(recording.times_s, times)
    assert recording.frame_rate_hz is None
    times[5] = np.nan
    path = Lab().add(timestamps=times).write(tmp_path / "a.nwb")
    with pytest.warns(IosfastWarning, match="time stamps go wrong"):
        recording = open_recording(path)
    assert recording.times_s is None


@pytest.mark.parametrize(
    ("spacing", "unit", "expected"),
    [
        ((2e-5, 2e-5), "meters", 0.02),
        ((20.0, 20.0), "micrometers", 0.02),
        ((20.0, 20.0, 5.0), "microns", 0.02),
        ((20.0, 10.0), "microns", None),
        ((20.0, 20.0), "pixels", None),
    ],
)
def test_pixel_size(tmp_path, spacing, unit, expected):
    path = Lab(spacing, unit).add().write(tmp_path / "a.nwb")
    assert open_recording(path).pixel_size_mm == expected


def test_several_series(tmp_path):
    path = Lab().add("blue").add("green", TURNED[:5]).write(tmp_path / "a.nwb")
    with pytest.raises(ReadError, match=r"2 recordings.*: /acquisition/blue .*/acquisition/green"):
        open_recording(path)
    for name in ("green", "/acquisition/green", "acquisition/green"):
        recording = open_recording(path, dataset=name)
        np.testing.assert_array_equal(recording.read(), FRAMES[:5])
    with pytest.raises(ReadError, match="has no data set 'red'"):
        open_recording(path, dataset="red")


def test_frames_in_other_files(tmp_path):
    lab = Lab()
    series = ImageSeries(
        name="video", external_file=["one.avi", "two.avi"], starting_frame=[0, 10], num_samples=20,
        format="external", rate=30.0, unit="n.a.",
    )  # fmt: skip
    lab.file.add_acquisition(series)
    with pytest.raises(ReadError, match=r"/acquisition/video .*open these: one.avi, two.avi"):
        open_recording(lab.write(tmp_path / "a.nwb"))
    np.testing.assert_array_equal(  # the one with frames of its own is meant
        open_recording(Lab().add().write(tmp_path / "b.nwb")).read(), FRAMES
    )


def test_no_series(tmp_path):
    with pytest.raises(ReadError, match="no series of frames"):
        open_recording(Lab().write(tmp_path / "a.nwb"))


def test_cut_and_odd_files(tmp_path):
    path = Lab().add().write(tmp_path / "a.nwb")
    whole = path.read_bytes()
    for part in np.linspace(0.01, 0.99, 20):
        path.write_bytes(whole[: int(part * len(whole))])
        assert outcome(path)[1].path == str(path)
        frames = outcome(path, allow_truncated=True)[0]
        if frames is not None:
            np.testing.assert_array_equal(frames, FRAMES[: len(frames)])
    path.write_bytes(whole)
    with h5py.File(path, "a") as file:
        del file["session_start_time"], file["timestamps_reference_time"]
        file["session_start_time"] = "yesterday"
        file["acquisition/loop"] = h5py.SoftLink("/acquisition")
    with pytest.warns(IosfastWarning, match="session_start_time 'yesterday' is no time"):
        recording = open_recording(path)
    np.testing.assert_array_equal(recording.read(), FRAMES)
    assert recording.start_s is None


def test_frames_behind_a_link_to_another_file(tmp_path):
    """As pynwb links raw data of another file; a cut or missing one is no recording."""
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        file["before"] = np.zeros(5000)
        file.create_dataset("pixels", data=TURNED, chunks=(5, 67, 33), compression="gzip")
    path = Lab().add().write(tmp_path / "a.nwb")
    with h5py.File(path, "a") as file:
        del file["acquisition/movie/data"]
        file["acquisition/movie/data"] = h5py.ExternalLink("raw.h5", "/pixels")
    np.testing.assert_array_equal(open_recording(path).read(), FRAMES)
    (tmp_path / "raw.h5").unlink()
    with pytest.raises(ReadError, match="no series of frames"):
        open_recording(path)
