"""What TIFF files tell of their frames: order and files of OME-TIFF, calibration, times."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from recordings import BLOCKS, PAGES, some_frames

from iosfast import IosfastWarning, ReadError, open_recording

FRAMES = some_frames()
#: As Bio-Formats writes it.
OME = '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{}</OME>'


def ome_xml(size_t, data, *, images=1, **pixels):
    attributes = {"SizeX": 67, "SizeY": 33, "SizeT": size_t, "SizeZ": 1, "SizeC": 1, **pixels}
    text = " ".join(f'{name}="{value}"' for name, value in attributes.items())
    image = (
        f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" {text}>'
        f'<Channel ID="Channel:0:0" SamplesPerPixel="1"/>{data}</Pixels></Image>'
    )
    return OME.format(image * images).encode()


def write_pages(path, frames, description, **options):
    with tifffile.TiffWriter(path) as tif:
        for i, frame in enumerate(frames):
            text = description if i == 0 else None
            tif.write(frame, metadata=None, description=text, **options)


# OME-TIFF


def test_ome_in_several_files(tmp_path):
    paths = [tmp_path / f"part{i}.ome.tif" for i in range(3)]
    data = "".join(
        f'<TiffData FirstT="{2 * i + k}" IFD="{k}" PlaneCount="1">'
        f'<UUID FileName="{path.name}">urn:uuid:{i}</UUID></TiffData>'
        for i, path in enumerate(paths)
        for k in range(2)
    )
    for i, path in enumerate(paths):
        write_pages(path, FRAMES[2 * i : 2 * i + 2], ome_xml(6, data))
    recording = open_recording(paths[0])
    np.testing.assert_array_equal(recording.read(), FRAMES)
    assert recording.frame_source is not None
    np.testing.assert_array_equal(open_recording(paths).read(), FRAMES)
    np.testing.assert_array_equal(open_recording(tmp_path).read(), FRAMES)
    with pytest.raises(ReadError, match="no directory, hence no DateTime"):
        recording.clock_s("datetime")
    paths[1].rename(tmp_path / "elsewhere.ome.tif")
    with pytest.raises(ReadError, match="frame 2: is missing"):
        open_recording(paths[0])


def test_ome_in_several_cut_or_compressed_files(tmp_path):
    paths = [tmp_path / f"part{i}.ome.tif" for i in range(2)]
    data = "".join(
        f'<TiffData FirstT="{3 * i}" IFD="0" PlaneCount="3">'
        f'<UUID FileName="{path.name}">urn:uuid:{i}</UUID></TiffData>'
        for i, path in enumerate(paths)
    )
    for i, path in enumerate(paths):
        write_pages(path, FRAMES[3 * i : 3 * i + 3], ome_xml(6, data))
    np.testing.assert_array_equal(open_recording(paths[0]).read(), FRAMES)
    paths[1].write_bytes(paths[1].read_bytes()[:-20])
    with pytest.raises(ReadError, match="frame 5: the file is cut; 1 of 6 frames is lost"):
        open_recording(paths[0])
    with pytest.warns(IosfastWarning, match="1 of 6 frames is lost"):
        recording = open_recording(paths[0], allow_truncated=True)
    np.testing.assert_array_equal(recording.read(), FRAMES[:5])
    for i, path in enumerate(paths):
        write_pages(path, FRAMES[3 * i : 3 * i + 3], ome_xml(6, data), compression="zlib")
    for source in (paths[0], paths[1], paths, tmp_path):
        np.testing.assert_array_equal(open_recording(source).read(), FRAMES)
    data = data.replace('FirstT="0"', 'FirstT="9"').replace('FirstT="3"', 'FirstT="0"')
    write_pages(paths[0], FRAMES[:3], ome_xml(6, data.replace("9", "3")), compression="zlib")
    np.testing.assert_array_equal(open_recording(paths[0]).read(), FRAMES[[3, 4, 5, 0, 1, 2]])
    mixed = data.replace('PlaneCount="3"', 'PlaneCount="2"').replace('FirstT="9"', 'FirstT="2"')
    mixed += '<TiffData FirstT="4" IFD="2" PlaneCount="1"/><TiffData FirstT="5" IFD="0"/>'
    write_pages(tmp_path / "mixed.tif", FRAMES[:3], ome_xml(6, mixed), compression="zlib")
    with pytest.raises(ReadError, match="give the files as a list"):
        open_recording(tmp_path / "mixed.tif")
    paths[1].unlink()
    with pytest.raises(ReadError, match=r"part1\.ome\.tif: .*is missing"):
        open_recording(paths[0])


def test_ome_files_whose_metadata_is_in_another(tmp_path):
    data = "".join(
        f'<TiffData FirstT="{3 * i}" IFD="0" PlaneCount="3"><UUID FileName="{i}.ome.tif">{i}</UUID>'
        "</TiffData>"
        for i in range(2)
    )
    only = OME.format('<BinaryOnly MetadataFile="0.ome.tif" UUID="0"/>').encode()
    write_pages(tmp_path / "0.ome.tif", FRAMES[:3], ome_xml(6, data))
    write_pages(tmp_path / "1.ome.tif", FRAMES[3:], only)
    for source in ("1.ome.tif", "0.ome.tif", ""):
        np.testing.assert_array_equal(open_recording(tmp_path / source).read(), FRAMES)
    write_pages(tmp_path / "0.ome.tif", FRAMES[:3], only)
    np.testing.assert_array_equal(open_recording(tmp_path / "1.ome.tif").read(), FRAMES[3:])
    (tmp_path / "0.ome.tif").unlink()
    with pytest.raises(ReadError, match=r"0\.ome\.tif: is missing; 1\.ome\.tif has its metadata"):
        open_recording(tmp_path / "1.ome.tif")


def test_ome_planes_in_another_file_at_their_own_number(tmp_path):
    data = "".join(
        f'<TiffData FirstT="{i}" IFD="{i}"><UUID FileName="{name}">{name}</UUID></TiffData>'
        for i, name in enumerate(("a.ome.tif", "b.ome.tif"))
    )
    write_pages(tmp_path / "a.ome.tif", FRAMES[:2], ome_xml(2, data))
    write_pages(tmp_path / "b.ome.tif", FRAMES[2:4], ome_xml(2, data))
    recording = open_recording(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(recording.read(), FRAMES[[0, 3]])


def test_ome_order_of_planes_is_respected(tmp_path):
    path, order = tmp_path / "a.ome.tif", [3, 0, 5, 1, 4, 2]
    data = "".join(f'<TiffData FirstT="{t}" IFD="{ifd}"/>' for t, ifd in enumerate(order))
    write_pages(path, FRAMES, ome_xml(6, data))
    np.testing.assert_array_equal(open_recording(path).read(), FRAMES[order])
    np.testing.assert_array_equal(tifffile.imread(path), FRAMES[order])


def test_ome_files_may_be_renamed(tmp_path):
    path = tmp_path / "renamed.tif"
    data = (
        '<TiffData IFD="0" PlaneCount="6"><UUID FileName="a.ome.tif">urn:uuid:1</UUID></TiffData>'
    )
    write_pages(path, FRAMES, ome_xml(6, data))
    np.testing.assert_array_equal(open_recording(path).read(), FRAMES)


def test_ome_that_tells_of_other_frames_than_there_are(tmp_path):
    path = tmp_path / "a.ome.tif"
    write_pages(path, FRAMES, ome_xml(100, '<TiffData IFD="0" PlaneCount="100"/>'))
    with pytest.warns(IosfastWarning, match="tells of 100 frames, but it holds 6"):
        recording = open_recording(path)
    np.testing.assert_array_equal(recording.read(), FRAMES)
    assert len(recording.notes) == 1


@pytest.mark.parametrize("claim", ['PlaneCount="4000000000"', 'PlaneCount="9"', 'PlaneCount="-1"'])
def test_ome_sets_that_claim_more_than_there_is(tmp_path, claim):
    data = "".join(
        f'<TiffData FirstT="{3 * i}" IFD="0" {claim}><UUID FileName="{i}.ome.tif">{i}</UUID>'
        "</TiffData>"
        for i in range(2)
    )
    for i in range(2):
        xml = ome_xml(8_000_000_000, data)
        write_pages(tmp_path / f"{i}.ome.tif", FRAMES[3 * i : 3 * i + 3], xml)
    if "-1" in claim:  # which is no metadata; the files' own pages are left
        np.testing.assert_array_equal(open_recording(tmp_path / "0.ome.tif").read(), FRAMES[:3])
        return
    for source in ("0.ome.tif", "1.ome.tif"):
        with pytest.raises(ReadError, match="frame 3: is missing"):
            open_recording(tmp_path / source)


# What the file tells


@pytest.mark.parametrize(
    ("interval", "unit", "hz"),
    [
        (1 / 60, "s", 60.0),
        (0.0333, "sec", 1 / 0.0333),
        (20.0, "ms", 50.0),
        (0.5, "min", 1 / 30),
        (0.0, "s", None),
        (-1.0, "s", None),
        (float("inf"), "s", None),
        (1.0, "fortnight", None),
    ],
)
def test_imagej_interval(tmp_path, interval, unit, hz):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, FRAMES, imagej=True, metadata={"finterval": interval, "tunit": unit})
    assert open_recording(path).frame_rate_hz == (None if hz is None else pytest.approx(hz, 1e-6))


@pytest.mark.parametrize(
    ("unit", "resolution", "mm"),
    [
        ("mm", (51.2, 51.2), 10 / 512),
        ("micron", (0.05, 0.05), 0.02),
        ("um", (0.05, 0.05), 0.02),
        ("\\u00B5m", (0.05, 0.05), 0.02),
        ("cm", (512, 512), 10 / 512),
        ("inch", (254.0, 254.0), 0.1),
        ("pixel", (1, 1), None),
        ("mm", (50, 25), None),
        ("", (50, 50), None),
    ],
)
def test_imagej_pixel_size(tmp_path, unit, resolution, mm):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, FRAMES, imagej=True, resolution=resolution, metadata={"unit": unit})
    assert open_recording(path).pixel_size_mm == (None if mm is None else pytest.approx(mm, 1e-6))


@pytest.mark.parametrize(
    ("attributes", "hz", "mm"),
    [
        ({"TimeIncrement": 0.02}, 50.0, None),
        ({"TimeIncrement": 20, "TimeIncrementUnit": "ms"}, 50.0, None),
        ({"PhysicalSizeX": 19.5, "PhysicalSizeY": 19.5}, None, 0.0195),
        (
            {f"PhysicalSize{a}": 0.02 for a in "XY"} | {f"PhysicalSize{a}Unit": "mm" for a in "XY"},
            None,
            0.02,
        ),
        ({"PhysicalSizeX": 19.5, "PhysicalSizeY": 39.0}, None, None),
        ({"PhysicalSizeX": 19.5, "PhysicalSizeY": 19.5, "PhysicalSizeXUnit": "mm"}, None, None),
        ({"TimeIncrement": "soon", "PhysicalSizeX": "nan"}, None, None),
    ],
)
def test_ome_calibration(tmp_path, attributes, hz, mm):
    path = tmp_path / "a.ome.tif"
    write_pages(path, FRAMES, ome_xml(6, '<TiffData IFD="0" PlaneCount="6"/>', **attributes))
    recording = open_recording(path)
    assert recording.frame_rate_hz == hz
    assert recording.pixel_size_mm == (None if mm is None else pytest.approx(mm))


def test_calibration_is_not_guessed(tmp_path):
    """Dots per inch are for printers."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, FRAMES, resolution=(72, 72), resolutionunit="INCH")
    recording = open_recording(path)
    assert (recording.frame_rate_hz, recording.pixel_size_mm, recording.start_s) == (None,) * 3


def test_time_of_pages(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        for second, frame in enumerate(FRAMES):
            tif.write(frame, metadata=None, datetime=f"2023:09:22 23:59:{54 + second:02d}")
    recording = open_recording(path)
    start_s = np.datetime64("2023-09-22T23:59:54").astype(np.int64)
    assert recording.start_s == start_s
    np.testing.assert_array_equal(recording.clock_s("datetime"), start_s + np.arange(6))
    with pytest.raises(ReadError, match="no time per frame by 'mtime'"):
        recording.clock_s("mtime")
    BLOCKS["contiguous, one directory"](path, FRAMES)
    with pytest.raises(ReadError, match="no directory, hence no DateTime"):
        open_recording(path).clock_s("datetime")
    PAGES["pages"](path, FRAMES)
    with pytest.raises(ReadError, match="frame 0: has no DateTime tag"):
        open_recording(path).clock_s("datetime")
