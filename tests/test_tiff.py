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
from recordings import KINDS, PACKED, by_hand, pages, pillow, some_frames, stack

from iosfast import IosfastWarning, ReadError, open_recording

FRAMES = some_frames()


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


def test_tags_that_cannot_be_parsed(tmp_path):
    """tifffile leaves them out, so a directory is longer than its tags."""
    path = tmp_path / "a.tif"
    by_hand(tags={65000: (0, 7), 65001: (77, 7)})(path, FRAMES)
    recording = open_recording(path)
    np.testing.assert_array_equal(recording.read(), FRAMES)
    assert len(recording.layout.runs) == 1
    for i, frame in enumerate(FRAMES):
        by_hand(tags={65000: (0, i)})(tmp_path / f"{i}.tif", frame[np.newaxis])
    path.unlink()
    np.testing.assert_array_equal(open_recording(tmp_path).read(), FRAMES)


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
def test_pixels_of_which_zero_is_white_are_not_inverted(tmp_path, options):
    write = stack(photometric="miniswhite", **options)
    write(tmp_path / "a.tif", FRAMES)
    for i, frame in enumerate(FRAMES):
        (tmp_path / "b").mkdir(exist_ok=True)
        write(tmp_path / "b" / f"{i}.tif", frame)
    for source in ("a.tif", "b"):
        with pytest.warns(IosfastWarning, match="says that 0 is white"):
            recording = open_recording(tmp_path / source)
        np.testing.assert_array_equal(recording.read(), FRAMES)
        assert len(recording.notes) == 1


@pytest.mark.parametrize("at", [1, 4])
def test_strips_in_another_order(tmp_path, at):
    path = tmp_path / "a.tif"
    KINDS["pages in strips"](path, FRAMES)
    with tifffile.TiffFile(path) as tif:
        tag = tif.pages[at].tags["StripOffsets"]
        first, second = tag.valueoffset, tag.valueoffset + tag.valuebytecount // tag.count
    data = bytearray(path.read_bytes())
    size = second - first
    data[first:second], data[second : second + size] = (
        data[second : second + size],
        data[first:second],
    )
    path.write_bytes(data)
    expected = FRAMES.copy()
    expected[at, :4], expected[at, 4:8] = FRAMES[at, 4:8], FRAMES[at, :4]
    np.testing.assert_array_equal(by_tifffile(path), expected)
    np.testing.assert_array_equal(open_recording(path).read(), expected)


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
    assert len(recording.layout.runs) == 1
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
