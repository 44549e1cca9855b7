"""Pixels other than uint8 and uint16: binned without loss, from any place in a file."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import reference
import tifffile
from core_calls import binned
from hypothesis import given
from hypothesis import strategies as st

import iosfast
from iosfast import IosfastWarning, Recipe, _core, open_recording, preprocess

WIDE = ["int16", "int32", "uint32", "float32", "float64"]
ALL = ["uint8", "uint16", *WIDE]
MEANS = {"int16": "float32", "float32": "float32"}

shapes = st.tuples(st.integers(1, 24), st.integers(1, 24))
seeds = st.integers(0, 2**32)


def sample(shape, dtype, seed):
    """Values over the whole range of a type; of floats, over many magnitudes and both signs."""
    random = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return (random.normal(size=shape) * 10.0 ** random.integers(-9, 10, shape)).astype(dtype)
    limits = np.iinfo(dtype)
    if seed % 2:
        return random.choice(np.array([limits.min, 0, limits.max], dtype), shape)
    return random.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def mean_dtype(dtype):
    return np.dtype(MEANS.get(np.dtype(dtype).name, "float64" if dtype in WIDE else "uint16"))


# Kernels


@given(
    shapes,
    st.sampled_from(ALL),
    st.sampled_from("<>"),
    st.integers(0, 9),
    st.integers(0, 5),
    st.integers(0, 7),
    st.sampled_from([1, 2, 5]),
    seeds,
)
def test_frames_anywhere_in_a_file(files, shape, name, order, offset, gap, padding, threads, seed):
    stored = np.dtype(name).newbyteorder(order)
    frames = sample((11, *shape), name, seed)
    rows = [row.astype(stored).tobytes() for frame in frames for row in frame]
    row_bytes = len(rows[0]) + padding
    content = b"\xa5" * offset
    for first in range(0, len(rows), shape[0]):
        content += b"".join(row + b"\x5a" * padding for row in rows[first : first + shape[0]])
        content += b"\x5a" * gap
    segments = np.array([[0, offset, row_bytes * shape[0] + gap, 11]])
    padded = {"row_bytes": row_bytes} if padding else {}
    source = _core.FrameSource([files(content)], segments, shape, stored, **padded)
    got = source.read(0, 11)
    assert got.dtype == frames.dtype
    np.testing.assert_array_equal(got, frames)
    edges = np.array([0, 4, 5, 11])
    expected = [reference.bin_mean(frames[a:b]) for a, b in itertools.pairwise(edges)]
    np.testing.assert_array_equal(binned(source, edges, threads, dtype=mean_dtype(name)), expected)
    sums = _core.BinAccumulator(shape, np.dtype(name))
    out = np.empty(shape, mean_dtype(name))
    for first, last in [(0, 3), (3, 10), (10, 11)]:
        sums.add(source, first, last, threads)
    sums.mean(out)
    np.testing.assert_array_equal(out, reference.bin_mean(frames))


@pytest.mark.parametrize("name", WIDE)
@pytest.mark.parametrize("padding", [0, 6])
def test_large_frames_from_a_file(tmp_path, name, padding):
    """Several tiles, cut in the middle of rows, with and without a memory map."""
    frames = sample((9, 300, 701), name, 4)
    padded = np.zeros((9, 300, 701 * frames.itemsize + padding), np.uint8)
    padded[:, :, : 701 * frames.itemsize] = frames.view(np.uint8).reshape(9, 300, -1)
    path = tmp_path / "a.raw"
    path.write_bytes(b"x" + padded.tobytes())
    segments = np.array([[0, 1, padded[0].nbytes, 9]])
    rows = padded.shape[2] if padding else 0
    source = _core.FrameSource([path], segments, (300, 701), np.dtype(name), rows)
    edges = np.array([0, 6, 9])
    expected = [reference.bin_mean(frames[:6]), reference.bin_mean(frames[6:])]
    for threads in (1, 2, 3, 7):
        np.testing.assert_array_equal(
            binned(source, edges, threads, dtype=mean_dtype(name)), expected
        )


@pytest.mark.parametrize("row_bytes", [1, 5, 2**62, 2**63 - 1])
def test_rows_that_cannot_be(files, row_bytes):
    segments = np.array([[0, 0, 100, 1]])
    with pytest.raises(ValueError, match="row_bytes"):
        _core.FrameSource([files(b"")], segments, (4, 3), np.dtype("u2"), row_bytes)


def test_the_longest_bin_of_the_largest_integers_is_exact():
    for name, value in [("uint32", 2**32 - 1), ("int32", -(2**31)), ("int32", 2**31 - 3)]:
        frame = np.full((1, 1, 2), value, name)
        frame[0, 0, 1] -= 1 if value > 0 else -1
        source = _core.FrameSource.from_array(frame)
        sums = _core.BinAccumulator((1, 2), np.dtype(name))
        for _ in range(_core.MAX_FRAMES_PER_BIN):
            sums.add(source, 0, 1)
        out = np.empty((1, 2))
        sums.mean(out)
        assert out.tolist() == frame[0].tolist()


def test_an_accumulator_takes_frames_of_one_kind():
    sums = _core.BinAccumulator((1, 2), np.dtype("f4"))
    with pytest.raises(ValueError, match="another type"):
        sums.add(_core.FrameSource.from_array(np.zeros((1, 1, 2), "u2")), 0, 1)
    sums.add(_core.FrameSource.from_array(np.ones((1, 1, 2), "i2")), 0, 1)  # float32, too
    for dtype in ("u2", "f8", ">f4"):
        with pytest.raises(TypeError, match="must be float32"):
            sums.mean(np.empty((1, 2), dtype))
    source, out = _core.FrameSource.from_array(np.ones((2, 1, 2))), np.empty((1, 1, 2), np.float32)
    with pytest.raises(TypeError, match="must be float64"):
        _core.bin_frames(source, np.array([0, 2]), out)


@given(
    shapes,
    st.integers(0, 15).map(lambda r: 2 * r + 1),
    st.sampled_from(["zero", "inside"]),
    st.booleans(),
    st.sampled_from(["float32", "float64"]),
    st.sampled_from([1, 2, 7]),
    seeds,
)
def test_box_mean_of_floats(shape, size, border, rounded, dtype, threads, seed):
    images = np.random.default_rng(seed).integers(-40000, 40000, (2, *shape)).astype(dtype)
    got = np.full(images.shape, 7, np.float32)
    _core.box_mean(images, size, _core.Border.__members__[border], rounded, got, threads)
    expected = [reference.box_mean(image, size, border, rounded) for image in images]
    np.testing.assert_array_equal(got, expected)  # sums of whole numbers are exact


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
@pytest.mark.parametrize("size", [1, 3, 21, 255])
def test_a_pixel_without_a_value_spoils_the_boxes_that_hold_it_and_no_others(value, size):
    image = np.random.default_rng(0).integers(0, 1000, (1, 70, 90)).astype(np.float32)
    spoilt = image.copy()
    spoilt[0, 30, 40] = value
    clean, got = np.empty_like(image), np.empty_like(image)
    _core.box_mean(image, size, _core.Border.inside, False, clean, 1)
    _core.box_mean(spoilt, size, _core.Border.inside, False, got, 1)
    y, x = np.ogrid[:70, :90]
    holds = np.maximum(abs(y - 30), abs(x - 40)) <= size // 2
    np.testing.assert_array_equal(got[0][~holds], clean[0][~holds])
    if math.isnan(value):
        assert np.isnan(got[0][holds]).all()
    else:
        assert (got[0][holds] > 1e20).all()


# The whole way


def brightness(dtype, frames=130):
    """Frames as a camera might give them, not rounded if the type allows it."""
    random = np.random.default_rng(5)
    level = 20000 if np.dtype(dtype).itemsize == 2 else 2e9 if dtype != "float32" else 3e4
    values = level * (1 + 0.01 * random.normal(size=(frames, 12, 17)))
    return values.astype(dtype)


OPTIONS = {**reference.DEFAULT, "interval_bins": 2, "smoothing_px": 5}


@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize("recipe", ["default", "published"])
@pytest.mark.parametrize("way", ["array", "file", "decoded", "pushed"])
def test_wide_pixels_become_maps(tmp_path, dtype, recipe, way):
    frames = brightness(dtype)
    base = reference.DEFAULT if recipe == "default" else reference.PUBLISHED
    options = {**base, "interval_bins": 2, "smoothing_px": 5}
    if recipe == "published":
        options["smoothing_first_px"] = 7
    expected = reference.preprocess(frames, options, rate_hz=20.0)
    source = frames
    if way in ("file", "decoded"):
        compression = "zlib" if way == "decoded" else None
        tifffile.imwrite(tmp_path / "a.tif", frames, compression=compression)
        source = tmp_path / "a.tif"
        assert (open_recording(source).frame_source is None) == (way == "decoded")
    note = f"pixels are {dtype}; mean images are kept as {mean_dtype(dtype)}, not rounded to counts"
    if way == "pushed":
        live = iosfast.Preprocessor((12, 17), recipe=Recipe(**options), frame_rate_hz=20.0)
        made = [m for i in range(0, 130, 7) for m in live.push(frames[i : i + 7])] + live.flush()
        np.testing.assert_array_equal([m.change for m in made], expected.change)
        np.testing.assert_array_equal([m.rgb for m in made], expected.rgb)
        assert live.bin_dtype == mean_dtype(dtype)
        assert note in live.notes
        return
    maps = preprocess(source, recipe=Recipe(**options), frame_rate_hz=20.0, threads=2)
    assert maps.binned.dtype == maps.info.bin_dtype == mean_dtype(dtype)
    np.testing.assert_array_equal(maps.binned, expected.binned)
    np.testing.assert_array_equal(maps.change, expected.change)
    np.testing.assert_array_equal(maps.rgb, expected.rgb)
    assert note in maps.notes


@pytest.mark.parametrize("dtype", WIDE)
def test_a_bin_of_one_frame_is_that_frame(dtype):
    frames = sample((4, 5, 6), dtype, 7)
    recipe = Recipe(
        bin_frames=1, interval_bins=1, change="difference", scale_range=(-1, 1), scale="range"
    )
    np.testing.assert_array_equal(preprocess(frames, recipe=recipe, frame_rate_hz=1).binned, frames)


@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize("layout", ["stack", "published"])
def test_wide_maps_on_disk(tmp_path, dtype, layout):
    frames = brightness(dtype)
    options = {"recipe": Recipe(**OPTIONS), "frame_rate_hz": 20.0, "start_time": "2023-09-22"}
    expected = preprocess(frames, **options)
    maps = preprocess(frames, **options, out=tmp_path / "a", layout=layout)
    again = expected.save(tmp_path / "b", layout=layout)
    for each in (maps, iosfast.load(tmp_path / "a"), iosfast.load(again)):
        assert each.info.bin_dtype == mean_dtype(dtype)
        assert each.binned.dtype == mean_dtype(dtype)
        for name in ("binned", "change", "rgb"):
            np.testing.assert_array_equal(getattr(each, name), getattr(expected, name))
    if layout == "stack":
        with tifffile.TiffFile(tmp_path / "a" / "binned.tif") as tif:
            np.testing.assert_array_equal(tif.asarray(), expected.binned)


@pytest.mark.parametrize("change", ["dff", "ratio"])
@pytest.mark.parametrize("baseline", [None, 3])
def test_frames_without_brightness_have_no_relative_change(change, baseline):
    frames = (brightness("float32") - 30000).astype(np.float32)  # about 0
    recipe = Recipe(**OPTIONS).replaced(change=change, baseline_bins=baseline)
    with pytest.raises(ValueError, match=r"of the pixels are not above 0.*change='difference'"):
        preprocess(-abs(frames), recipe=recipe, frame_rate_hz=20.0)
    difference = recipe.replaced(change="difference", scale="per_map")
    assert len(preprocess(-abs(frames), recipe=difference, frame_rate_hz=20.0)) > 0
    inside = np.zeros((12, 17), np.uint8)
    inside[3:6, 3:6] = 1
    bright = np.where(inside, abs(frames) + 1000, -1).astype(np.float32)
    recipe = recipe.replaced(smoothing_px=1)
    with pytest.raises(ValueError, match="96 % of the pixels"):
        preprocess(bright, recipe=recipe, frame_rate_hz=20.0)
    assert len(preprocess(bright, recipe=recipe, mask=inside, frame_rate_hz=20.0)) > 0


def test_pixels_that_are_no_number_are_told():
    frames = brightness("float32")
    frames[50, 3, 4] = np.nan
    recipe = Recipe(**OPTIONS)
    with pytest.warns(IosfastWarning, match="2 maps have pixels without a value"):
        maps = preprocess(frames, recipe=recipe, frame_rate_hz=20.0)
    assert np.isnan(maps.binned[2, 3, 4])
    assert np.isnan(maps.binned).sum() == 1
    assert any("2 maps have pixels without a value" in note for note in maps.notes)
    assert np.isnan(maps.change).sum() == 2 * 25


def test_frames_of_another_kind_cannot_follow():
    live = iosfast.Preprocessor((12, 17), frame_rate_hz=20.0)
    live.push(brightness("float32"))
    live.push(brightness("int16"))
    with pytest.raises(TypeError, match="float64 cannot follow frames whose mean images are flo"):
        live.push(brightness("float64"))
