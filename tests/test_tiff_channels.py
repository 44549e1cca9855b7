"""Channels that follow each other in turn, and time stamps of planes, in OME-TIFF and ImageJ."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from recordings import some_frames
from test_tiff_metadata import ome_xml, write_pages

from iosfast import IosfastWarning, ReadError, open_recording

FRAMES = some_frames()
TIMES_S = [0.0, 0.017, 0.033, 0.051, 0.066, 0.084]
WRITERS = {
    "ImageJ": {"imagej": True},
    "OME": {"ome": True},
    "OME, compressed": {"ome": True, "compression": "zlib"},
    "OME, BigTIFF": {"ome": True, "bigtiff": True},
}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("count", [2, 3])
def test_channels_in_turn(tmp_path, kind, count):
    path = tmp_path / "a.tif"
    stack = FRAMES.reshape(6 // count, count, 33, 67)
    tifffile.imwrite(path, stack, metadata={"axes": "TCYX"}, **WRITERS[kind])
    np.testing.assert_array_equal(tifffile.imread(path), stack)
    recording = open_recording(path)
    np.testing.assert_array_equal(recording.read(), FRAMES)
    assert recording.channels == tuple("012"[:count])


def test_names_and_rate_of_channels(tmp_path):
    path = tmp_path / "a.tif"
    stack = FRAMES.reshape(3, 2, 33, 67)
    names = {"Channel": {"Name": ["blue", "violet"]}, "TimeIncrement": 0.1}
    tifffile.imwrite(path, stack, ome=True, metadata={"axes": "TCYX", **names})
    recording = open_recording(path)
    assert recording.channels == ("blue", "violet")
    assert recording.frame_rate_hz == pytest.approx(20)  # of all frames
    labels = {"Labels": ["blue", "violet"] * 3, "finterval": 0.1}
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "TCYX", **labels})
    recording = open_recording(path)
    assert recording.channels == ("blue", "violet")
    assert recording.frame_rate_hz == pytest.approx(20)
    labels = {"Labels": [f"image {i}" for i in range(6)]}
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "TCYX", **labels})
    assert open_recording(path).channels == ("0", "1")


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("axes", ["TZYX", "TYX", "CYX", "ZYX"])
def test_other_axes_are_no_channels(tmp_path, kind, axes):
    path = tmp_path / "a.tif"
    stack = FRAMES.reshape(3, 2, 33, 67) if len(axes) == 4 else FRAMES
    tifffile.imwrite(path, stack, metadata={"axes": axes}, **WRITERS[kind])
    if len(axes) == 4:
        with pytest.raises(ReadError, match=r"hyperstack \(2 Z, 3 T\)"):
            open_recording(path)
    else:
        recording = open_recording(path)
        np.testing.assert_array_equal(recording.read(), FRAMES)
        assert recording.channels == ()


@pytest.mark.parametrize(
    ("write", "what"),
    [
        (lambda p: write_pages(p, FRAMES, ome_xml(6, "<TiffData/>", images=2)), "2 OME images"),
        (
            lambda p: tifffile.imwrite(
                p, FRAMES.reshape(2, 3, 33, 67), ome=True, metadata={"axes": "CTYX"}
            ),
            "3 T, 2 C",
        ),
        (
            lambda p: tifffile.imwrite(
                p, FRAMES.reshape(2, 3, 33, 67), truncate=True, photometric="minisblack"
            ),
            "hyperstack",
        ),
        (
            lambda p: tifffile.imwrite(
                p,
                some_frames((130, 3, 5)).reshape(2, 65, 3, 5),
                imagej=True,
                metadata={"axes": "TCYX"},
            ),
            "65 C, 2 T",
        ),
    ],
)
def test_channels_are_not_taken_for_frames(tmp_path, write, what):
    path = tmp_path / "a.tif"
    write(path)
    with pytest.raises(ReadError, match=what):
        open_recording(path)


@pytest.mark.parametrize("kind", ["zlib", None])
def test_a_time_point_that_lacks_a_channel_is_left_out(tmp_path, kind):
    path = tmp_path / "a.ome.tif"
    xml = ome_xml(3, '<TiffData IFD="0" PlaneCount="6"/>', SizeC=2)
    write_pages(path, FRAMES[:5], xml, compression=kind)
    with pytest.warns(IosfastWarning, match="tells of 6 frames, but it holds 5"):
        recording = open_recording(path)
    assert recording.channels == ("0", "1")
    np.testing.assert_array_equal(recording.read(), FRAMES[:4])
    write_pages(path, FRAMES[:1], xml, compression=kind)
    with (
        pytest.warns(IosfastWarning, match="holds 1"),
        pytest.raises(ReadError, match="less than one frame of every channel"),
    ):
        open_recording(path)


# Times of planes


def planes(times, **attributes):
    said = " ".join(f'{name}="{value}"' for name, value in attributes.items())
    each = (f'<Plane TheT="{i}" TheC="0" TheZ="0" DeltaT="{t}" {said}/>' for i, t in times)
    return '<TiffData IFD="0" PlaneCount="6"/>' + "".join(each)


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 1e3), ("µs", 1e6), ("min", 1 / 60)])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
def test_times_of_planes(tmp_path, unit, factor, options):
    path = tmp_path / "a.ome.tif"
    shuffled = [(i, TIMES_S[i] * factor) for i in (3, 0, 5, 1, 2, 4)]
    write_pages(path, FRAMES, ome_xml(6, planes(shuffled, DeltaTUnit=unit)), **options)
    recording = open_recording(path)
    assert recording.times_s.dtype == np.float64
    np.testing.assert_allclose(recording.times_s, TIMES_S, rtol=1e-12)


def test_tifffile_reads_the_same_times(tmp_path):
    path = tmp_path / "a.ome.tif"
    told = {"axes": "TYX", "Plane": {"DeltaT": TIMES_S, "DeltaTUnit": ["s"] * 6}}
    tifffile.imwrite(path, FRAMES, ome=True, metadata=told)
    np.testing.assert_allclose(open_recording(path).times_s, TIMES_S)


@pytest.mark.parametrize(
    "data",
    [
        planes([]),
        planes(list(enumerate(TIMES_S))[:5]),
        planes([*enumerate(TIMES_S[:5]), (4, 1.0)]),
        planes([*enumerate(TIMES_S[:5]), (6, 1.0)]),
        planes([*enumerate(TIMES_S[:5]), (2**50, 1.0)]),
        planes([*enumerate(TIMES_S[:5]), (5, "nan")]),
        planes([*enumerate(TIMES_S[:5]), (5, "soon")]),
        planes(enumerate(TIMES_S), DeltaTUnit="reference frame"),
    ],
)
def test_times_that_are_not_told_for_all_planes(tmp_path, data):
    path = tmp_path / "a.ome.tif"
    write_pages(path, FRAMES, ome_xml(6, data))
    recording = open_recording(path)
    assert recording.times_s is None
    np.testing.assert_array_equal(recording.read(), FRAMES)
