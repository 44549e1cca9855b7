"""TIFF files of every kind give the pixels that tifffile and NumPy find in them."""

from __future__ import annotations

import logging
import threading
import warnings

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from recordings import BLOCKS, KINDS, PACKED, PAGES, by_hand, pages, pillow, some_frames, stack

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


def by_tifffile(path):
    with tifffile.TiffFile(path) as tif:
        if len(tif.pages) == 1:
            return tif.asarray()
        return np.stack([page.aspage().asarray() for page in tif.pages])


# Pixels


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("kind", KINDS)
def test_pixels_of_every_kind(tmp_path, kind, dtype):
    frames, path = some_frames(dtype=dtype), tmp_path / "a.tif"
    KINDS[kind](path, frames)
    np.testing.assert_array_equal(by_tifffile(path), frames)
    with open_recording(path) as recording:
        assert recording.shape == frames.shape
        assert recording.dtype == frames.dtype
        assert recording.notes == ()
        np.testing.assert_array_equal(recording.read(), frames)
        assert (recording.frame_source is None) == (kind in PACKED)
        if recording.frame_source is not None:
            np.testing.assert_array_equal(recording.frame_source.read(0, len(frames)), frames)


@pytest.mark.parametrize("kind", ["contiguous", "pages", "Pillow", "big-endian", "tiles", "ZSTD"])
@pytest.mark.parametrize("shape", [(1, 3, 5), (2, 1, 9), (2, 9, 5), (7, 16, 16)])
def test_small_and_odd_shapes(tmp_path, kind, shape):
    options = {} if kind == "Pillow" else {"photometric": "minisblack"}
    writers = {
        "contiguous": stack(**options),
        "pages": pages(metadata=None, **options),
        "Pillow": pillow(),
        "big-endian": stack(byteorder=">", **options),
        "tiles": stack(tile=(16, 16), **options),
        "ZSTD": stack(compression="zstd", **options),
    }
    frames, path = some_frames(shape), tmp_path / "a.tif"
    writers[kind](path, frames)
    recording = open_recording(path)
    assert recording.shape == shape
    np.testing.assert_array_equal(recording.read(), frames)


@settings(max_examples=60)
@given(
    layout=st.sampled_from(
        ["directory first", "data first", "directories last", "directories first", "backwards"]
    ),
    order=st.sampled_from("<>"),
    count=st.integers(1, 300),
    gap=st.integers(0, 9),
    odd=st.sets(st.integers(0, 299), max_size=4),
)
def test_directories_anywhere(tmp_path_factory, layout, order, count, gap, odd):
    """Runs at constant steps are taken in bulk; a directory that differs must not be missed."""
    path = tmp_path_factory.mktemp("any") / "a.tif"
    frames = some_frames((count, 3, 5))
    by_hand(layout, order, gap=gap)(path, frames)
    with tifffile.TiffFile(path) as tif:
        starts = [page.tags["StripByteCounts"].valueoffset for page in tif.pages]
    data = bytearray(path.read_bytes())
    for frame in odd & set(range(count)):  # byte counts that are too large, yet harmless
        data[starts[frame] : starts[frame] + 4] = (31).to_bytes(
            4, "big" if order == ">" else "little"
        )
    path.write_bytes(data)
    recording = open_recording(path)
    np.testing.assert_array_equal(recording.read(), frames)


def test_a_directory_that_differs_deep_in_the_file_is_found(tmp_path):
    frames, path = some_frames((2000, 4, 6)), tmp_path / "a.tif"
    by_hand()(path, frames)
    with tifffile.TiffFile(path) as tif:
        at = tif.pages[1234].tags["PhotometricInterpretation"].valueoffset
    data = bytearray(path.read_bytes())
    data[at] = 3
    path.write_bytes(data)
    with pytest.raises(ReadError, match="frame 1234: is a colour image") as caught:
        open_recording(path)
    assert caught.value.frame == 1234


@pytest.mark.parametrize("tag", [{317: (3, 2)}, {266: (3, 2)}])
def test_pixels_that_programs_read_differently_are_refused(tmp_path, tag):
    """libtiff ignores a predictor where there is no compression, tifffile does not."""
    path = tmp_path / "a.tif"
    by_hand(tags=tag)(path, FRAMES)
    with pytest.raises(ReadError, match="reversed bits, or with a predictor"):
        open_recording(path)


def test_more_pages_than_sixteen_bits_count(tmp_path):
    frames, path = some_frames((66_000, 2, 3)), tmp_path / "a.tif"
    by_hand()(path, frames)
    recording = open_recording(path)
    assert len(recording.runs) == 1
    np.testing.assert_array_equal(recording.read(), frames)
    tifffile.imwrite(path, frames, photometric="minisblack")
    np.testing.assert_array_equal(open_recording(path).read(65_500), frames[65_500:])


@pytest.mark.parametrize("kind", ["ImageJ", "BigTIFF", "tifffile"])
def test_files_over_four_gigabytes(tmp_path, kind):
    """Frames are put into a sparse file; an ImageJ one has a single directory for all."""
    shape, path = (2100, 1024, 1030), tmp_path / "a.tif"
    options = {"imagej": True} if kind == "ImageJ" else {"bigtiff": True}
    if kind == "tifffile":
        options["truncate"] = True
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "truncating ImageJ file|.*truncating ImageJ")
        tifffile.imwrite(path, shape=shape, dtype="<u2", byteorder="<", **options)
    with tifffile.TiffFile(path) as tif:
        offset = tif.series[0].dataoffset
        assert (len(tif.pages) == 1) == (kind != "BigTIFF")
    assert path.stat().st_size > 2**32
    frames = some_frames((3, *shape[1:]))
    with path.open("r+b") as file:
        for number, frame in zip((0, 2047, 2099), frames, strict=True):
            file.seek(offset + number * frame.nbytes)
            file.write(frame.tobytes())
    recording = open_recording(path)
    assert recording.shape == shape
    for number, frame in zip((0, 2047, 2099), frames, strict=True):
        np.testing.assert_array_equal(recording.read(number, number + 1)[0], frame)
    assert not recording.read(1, 2).any()


def test_metamorph_stacks_have_one_directory(tmp_path):
    path = tmp_path / "a.stk"
    tifffile.imwrite(
        path,
        FRAMES,
        metadata=None,
        truncate=True,
        extratags=[
            (33628, 5, 1, (0, 1), True),
            (33629, 5, len(FRAMES), (1,) * 2 * len(FRAMES), True),
        ],
    )
    np.testing.assert_array_equal(open_recording(path).read(), FRAMES)


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
    with pytest.raises(ReadError, match="frame 5: the file is cut") as caught:
        open_recording(paths[0])
    assert caught.value.path == str(paths[1])
    for i, path in enumerate(paths):
        write_pages(path, FRAMES[3 * i : 3 * i + 3], ome_xml(6, data), compression="zlib")
    with pytest.raises(ReadError, match="give the files as a list"):
        open_recording(paths[0])
    np.testing.assert_array_equal(open_recording(paths).read(), FRAMES)


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


@pytest.mark.parametrize(
    ("write", "what"),
    [
        (lambda p: write_pages(p, FRAMES, ome_xml(3, "<TiffData/>", SizeC=2)), "3 T, 2 C"),
        (lambda p: write_pages(p, FRAMES, ome_xml(6, "<TiffData/>", images=2)), "2 OME images"),
        (
            lambda p: tifffile.imwrite(p, FRAMES.reshape(3, 2, 33, 67), metadata={"axes": "TCYX"}),
            "hyperstack",
        ),
        (
            lambda p: tifffile.imwrite(
                p, FRAMES.reshape(3, 2, 33, 67), imagej=True, metadata={"axes": "TCYX"}
            ),
            "3 T, 2 C",
        ),
        (lambda p: tifffile.imwrite(p, FRAMES.reshape(2, 3, 33, 67), truncate=True), "hyperstack"),
    ],
)
def test_channels_are_not_taken_for_frames(tmp_path, write, what):
    path = tmp_path / "a.ome.tif"
    write(path)
    with pytest.raises(ReadError, match=what):
        open_recording(path)


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


# Silence


def test_nothing_is_printed(tmp_path, capfd):
    """tifffile logs what it finds odd, which goes to stderr unless logging is set up."""
    path = tmp_path / "a.tif"
    loggers = [logging.getLogger("tifffile"), logging.getLogger()]
    kept = [(logger, logger.handlers) for logger in loggers]
    try:
        for logger in loggers:
            logger.handlers = []
        PACKED["zlib"](path, FRAMES)
        data = path.read_bytes()
        for size in range(8, len(data), 401):
            path.write_bytes(data[:size])
            with pytest.raises(ReadError):
                open_recording(path)
        assert capfd.readouterr().err == ""
        logging.getLogger("tifffile").warning("of someone else")
        assert "of someone else" in capfd.readouterr().err
    finally:
        for logger, handlers in kept:
            logger.handlers = handlers


def test_silence_holds_for_each_thread(tmp_path, caplog):
    path = tmp_path / "a.tif"
    KINDS["zlib"](path, FRAMES)
    path.write_bytes(path.read_bytes()[:-3000])

    refused = []

    def work():
        for _ in range(30):
            try:
                open_recording(path)
            except ReadError as error:
                refused.append(error.frame)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == [5] * 120
    assert not caplog.records


@pytest.mark.parametrize("kind", ["zlib", "contiguous"])
def test_threads_read_one_recording(tmp_path, kind):
    path = tmp_path / "a.tif"
    frames = some_frames((40, 33, 67))
    KINDS[kind](path, frames)
    wrong = []
    with open_recording(path) as recording:

        def work(seed):
            for start in np.random.default_rng(seed).integers(0, 35, 30).tolist():
                if not np.array_equal(recording.read(start, start + 5), frames[start : start + 5]):
                    wrong.append(start)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong
