"""Images in OME-Zarr 0.4 and 0.5, by the text of the specification."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from recordings import some_frames

from iosfast import ReadError, open_recording

FRAMES = some_frames((12, 33, 67))
AXES = [
    {"name": "t", "type": "time", "unit": "millisecond"},
    {"name": "c", "type": "channel"},
    {"name": "z", "type": "space", "unit": "micrometer"},
    {"name": "y", "type": "space", "unit": "micrometer"},
    {"name": "x", "type": "space", "unit": "micrometer"},
]


def write(path, version="0.5", shape=(12, 1, 1, 33, 67), axes=AXES, scale=(20, 1, 1, 19.5, 19.5),
          more=None, omero=None):  # fmt: skip
    root = zarr.open_group(path, mode="w", zarr_format=3 if version == "0.5" else 2)
    root.create_array("0", data=FRAMES.reshape(shape), chunks=(*(1 for _ in shape[:-2]), 33, 67))
    root.create_array("1", data=FRAMES.reshape(shape)[..., ::2, ::2])
    step = [{"type": "scale", "scale": list(scale)}]
    image = {
        "name": "session",
        "axes": axes,
        "datasets": [
            {"path": "0", "coordinateTransformations": step},
            {"path": "1", "coordinateTransformations": step},
        ],
    }
    if more is not None:
        image["coordinateTransformations"] = [{"type": "scale", "scale": more}]
    if version == "0.5":
        said = {"version": "0.5", "multiscales": [image]} | ({"omero": omero} if omero else {})
        root.attrs["ome"] = said
    else:
        root.attrs["multiscales"] = [{**image, "version": version}]
        if omero:
            root.attrs["omero"] = omero
    return path


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_frames_and_facts(tmp_path, version):
    recording = open_recording(write(tmp_path / "a.ome.zarr", version))
    np.testing.assert_array_equal(recording.read(), FRAMES)
    assert (recording.frame_rate_hz, recording.pixel_size_mm) == (50, 0.0195)
    assert recording.metadata["format"] == f"OME-Zarr {version}"
    assert recording.channels == ()
    named = open_recording(tmp_path / "a.ome.zarr", dataset="0")
    assert named.pixel_size_mm == 0.0195


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_channels(tmp_path, version):
    omero = {"channels": [{"label": "green"}, {"label": "red"}]}
    path = write(tmp_path / "a", version, (6, 2, 1, 33, 67), omero=omero)
    recording = open_recording(path)
    assert recording.channels == ("green", "red")
    assert recording.frame_rate_hz == 100  # of the frames of both in turn
    np.testing.assert_array_equal(recording.read(), FRAMES)
    np.testing.assert_array_equal(recording.read(3, 8), FRAMES[3:8])


def test_a_scale_of_all_sizes(tmp_path):
    path = write(tmp_path / "a", scale=(1, 1, 1, 1, 1), more=[25, 1, 1, 13, 13])
    recording = open_recording(path)
    assert (recording.frame_rate_hz, recording.pixel_size_mm) == (40, 0.013)


def test_what_is_not_told_is_not_guessed(tmp_path):
    axes = [{"name": axis["name"]} for axis in AXES]
    recording = open_recording(write(tmp_path / "a", axes=axes))
    assert (recording.frame_rate_hz, recording.pixel_size_mm) == (None, None)
    recording = open_recording(write(tmp_path / "b", scale=(20, 1, 1, 19.5, 10)))
    assert recording.pixel_size_mm is None


def test_frames_along_z(tmp_path):
    recording = open_recording(write(tmp_path / "a", shape=(1, 1, 12, 33, 67)))
    np.testing.assert_array_equal(recording.read(), FRAMES)
    assert recording.frame_rate_hz is None
    assert "along z" in recording.notes[0]


def test_volumes_are_no_recordings(tmp_path):
    with pytest.raises(ReadError, match=r"shape \(3, 1, 4, 33, 67\) along t, c, z, y, x"):
        open_recording(write(tmp_path / "a", shape=(3, 1, 4, 33, 67)))


def test_several_images(tmp_path):
    for name in ("0", "1"):
        write(tmp_path / "a" / name)
    zarr.open_group(tmp_path / "a", mode="a").attrs["bioformats2raw.layout"] = 3
    with pytest.raises(ReadError, match=r"holds 2 recordings; .*: 0/0 .*, 1/0"):
        open_recording(tmp_path / "a")
    np.testing.assert_array_equal(open_recording(tmp_path / "a", dataset="1").read(), FRAMES)


@pytest.mark.parametrize(
    "said", [[], [{}], [{"datasets": []}], [{"datasets": [{"path": "9"}]}], "no", [None], 5]
)
def test_damaged_descriptions(tmp_path, said):
    path = write(tmp_path / "a")
    zarr.open_group(path, mode="a").attrs["ome"] = {"version": "0.5", "multiscales": said}
    with pytest.raises(ReadError, match="Zarr metadata is damaged"):
        open_recording(path)
