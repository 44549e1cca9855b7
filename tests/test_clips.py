"""Clips of maps, and of the images that this and other programs leave in a folder."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image
from some_maps import MASK, run

from iosfast import Maps, ReadError, Recipe
from iosfast.clips import Clip, as_clip, map_names, read_clip
from iosfast.recipe import matlab_jet

SHAPE = (16, 20)


def a_clip(count=3, **parts):
    random = np.random.default_rng(0)
    good = {
        "change": random.normal(size=(count, *SHAPE)).astype(np.float32),
        "times_s": np.arange(count) * 5.0,
        "names": tuple(f"map{i}" for i in range(count)),
        "rgb": random.integers(0, 256, (count, *SHAPE, 3), np.uint8),
    }
    return Clip(**{**good, **parts})


def names(count, step_s=5):
    return [f"20230922_2214{i * step_s:02d}" for i in range(count)]


def indices(count, seed=0):
    index = np.random.default_rng(seed).integers(0, 256, (count, *SHAPE), np.uint8)
    index[0].flat[:256] = np.arange(256)
    return index


def write_images(folder, images, ending=".tiff", stems=None):
    folder.mkdir(exist_ok=True)
    for stem, image in zip(stems or names(len(images)), images, strict=True):
        if ending == ".tiff":
            tifffile.imwrite(folder / (stem + ending), image)
        else:
            Image.fromarray(image).save(folder / (stem + ending))
    return folder


def test_clip_of_maps():
    maps = run(mask=MASK)
    clip = Clip.of(maps, 2, 5)
    assert len(clip) == 3
    np.testing.assert_array_equal(clip.change, maps.change[2:5])
    np.testing.assert_array_equal(clip.rgb, maps.rgb[2:5])
    np.testing.assert_array_equal(clip.times_s, maps.times_s[2:5])
    # The recording begins at 23:59:57, bins last a second, and a map is named by its later bin.
    assert clip.names == ("20230923_000003", "20230923_000005", "20230923_000007")
    assert clip.mask is maps.mask
    assert clip.pixel_size_mm == 0.02
    assert "20230923_000003 to 20230923_000007" in repr(clip)
    assert len(Clip.of(maps)) == len(maps)
    assert np.shares_memory(clip.change, maps.change)  # as many maps as there are on disk
    assert np.shares_memory(clip.rgb, maps.rgb)


def test_names_are_those_of_the_published_layout(tmp_path):
    maps = run(tmp_path / "maps", layout="published")
    files = sorted(p.stem for p in (tmp_path / "maps" / "change").iterdir())
    assert list(map_names(maps.info)) == files
    assert map_names(run(start_time=None).info)[0] == "19700101_000002"


def test_unknown_pixels_outside_of_the_cortex_are_no_change():
    maps = run(mask=MASK)
    change = maps.change.copy()
    change[1, ~MASK] = np.nan
    clip = Clip.of(Maps(maps.info, MASK, _stacks={"change": change, "rgb": maps.rgb}))
    assert np.isnan(change[1][~MASK]).all()  # the maps themselves stay as they are
    assert (clip.change[1][~MASK] == 0).all()
    np.testing.assert_array_equal(clip.change[1][MASK], change[1][MASK])
    ratio = replace(maps.info, recipe=Recipe(change="ratio"))
    clip = Clip.of(Maps(ratio, MASK, _stacks={"change": change, "rgb": maps.rgb}))
    assert (clip.change[1][~MASK] == 1).all()


def test_the_largest_change_is_of_either_sign():
    change = np.zeros((2, 4, 5), np.float32)
    for value in (0.25, -0.5, 0.375):
        change[1, 2, 3] = value
        clip = Clip(change, np.array([0.0, 5]), ("a", "b"), np.zeros((2, 4, 5, 3), "u1"))
        assert clip.largest == abs(value)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_name_the_map(bad):
    maps = run(mask=MASK)
    change = maps.change.copy()
    change[3][MASK] = bad
    with pytest.raises(ValueError, match=r"map 1 \(20230923_000005\) of change is not finite in"):
        Clip.of(Maps(maps.info, MASK, _stacks={"change": change, "rgb": maps.rgb}), 2)


@pytest.mark.parametrize(
    ("parts", "error", "told"),
    [
        ({"change": np.zeros((3, *SHAPE))}, TypeError, "change must be float32, not float64"),
        ({"change": [[1.0]]}, TypeError, "change must be an array of float32, not list"),
        ({"change": np.zeros(SHAPE, np.float32)}, ValueError, r"change must be \(T, Y, X\)"),
        ({"change": np.zeros((0, *SHAPE), np.float32)}, ValueError, "must hold a map"),
        ({"times_s": np.arange(2.0)}, ValueError, "3 maps, but there are 2 times_s and 3 names"),
        ({"times_s": np.array([0, 5, 5.0])}, ValueError, "times_s must be finite and increase"),
        ({"names": ("a", "b")}, ValueError, "3 times_s and 2 names"),
        ({"names": ("a", "b", "a")}, ValueError, "different, but 'a' is there twice"),
        ({"names": ("a", "b", 3)}, TypeError, "names must be texts"),
        ({"rgb": np.zeros((3, *SHAPE), np.uint8)}, ValueError, r"rgb must be \(T, Y, X, 3\)"),
        ({"rgb": np.zeros((3, *SHAPE, 4), np.uint8)}, ValueError, r"rgb must be \(3, 16, 20, 3\)"),
        ({"mask": np.ones((2, 2), bool)}, ValueError, r"mask must be \(16, 20\), not \(2, 2\)"),
        ({"mask": np.zeros(SHAPE, bool)}, ValueError, "mask is empty"),
        ({"mask": np.ones(SHAPE, np.uint8)}, TypeError, "mask must be bool, not uint8"),
        ({"pixel_size_mm": -1}, ValueError, "pixel_size_mm must be above 0"),
    ],
)
def test_parts_that_do_not_fit(parts, error, told):
    with pytest.raises(error, match=told):
        a_clip(**parts)


@pytest.mark.parametrize(
    ("start", "stop", "told"),
    [
        (-1, None, "start must be at least 0"),
        (29, None, "start must be at least 0 and at most 6"),
        (3, 3, "stop must be at least 4"),
        (0, 99, "stop must be at least 1 and at most 7"),
    ],
)
def test_maps_that_are_not_there(start, stop, told):
    with pytest.raises(ValueError, match=told):
        Clip.of(run(), start, stop)


@pytest.mark.parametrize("ending", [".tiff", ".png"])
def test_jet_is_turned_back(tmp_path, ending):
    index = indices(3)
    folder = write_images(tmp_path / "clip", matlab_jet()[index], ending)
    (folder / "20230922_221400.json").write_text("{}")
    (folder / "isat.yaml").write_text("label: []")
    clip = read_clip(folder)
    np.testing.assert_array_equal(np.rint(clip.change * 255).astype(np.uint8), index)
    np.testing.assert_array_equal(clip.rgb, matlab_jet()[index])
    assert clip.times_s.tolist() == [0, 5, 10]
    assert clip.names == tuple(names(3))
    assert clip.mask is None
    assert clip.pixel_size_mm is None
    assert clip.path == folder


def test_colour_entry_0_in_all_images_is_outside(tmp_path):
    index = np.maximum(indices(3), 1)
    index[:, :, :4] = 0
    index[1, 8, 8] = 0  # the smallest change of that map
    clip = read_clip(write_images(tmp_path / "clip", matlab_jet()[index]))
    expected = np.ones(SHAPE, bool)
    expected[:, :4] = False
    np.testing.assert_array_equal(clip.mask, expected)
    assert (clip.change[:, ~expected] == 0.5).all()
    assert clip.change[1, 8, 8] == 0


def test_default_colours_are_turned_back(tmp_path):
    table = Recipe().colors()
    index = indices(2)
    rgb = table[index]
    rgb[:, :5] = table[256]
    clip = read_clip(write_images(tmp_path / "clip", rgb))
    assert not clip.mask[:5].any()
    assert clip.mask[5:].all()
    found = np.rint(clip.change[:, 5:] * 255).astype(int)
    np.testing.assert_array_equal(table[found], rgb[:, 5:])


def test_other_colours_by_name(tmp_path):
    table = Recipe(colormap="viridis").colors()
    index = indices(2)
    folder = write_images(tmp_path / "clip", table[index])
    with pytest.raises(ReadError, match=r"20230922_221400.*colour \(68, 1, 84\), which is none of"):
        read_clip(folder)
    clip = read_clip(folder, colormap="viridis")
    found = np.rint(clip.change * 255).astype(int)
    np.testing.assert_array_equal(table[found], table[index])


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_images(tmp_path, channels):
    index = np.maximum(indices(2), 1)
    images = index if channels == 1 else np.repeat(index[..., np.newaxis], 3, axis=3)
    clip = read_clip(write_images(tmp_path / "clip", images))
    np.testing.assert_array_equal(np.rint(clip.change * 255).astype(np.uint8), index)
    np.testing.assert_array_equal(clip.rgb[..., 1], index)


@pytest.mark.parametrize("recipe", ["default", "published"])
def test_images_that_iosfast_wrote(tmp_path, recipe):
    frames = np.random.default_rng(3).integers(20000, 20400, (60, 21, 34), np.uint16)
    maps = run(tmp_path / "maps", frames, recipe=Recipe.named(recipe), layout="published")
    clip = read_clip(tmp_path / "maps" / "rgb")
    np.testing.assert_array_equal(clip.rgb, maps.rgb)
    assert clip.pixel_size_mm == 0.02
    assert clip.names == map_names(maps.info)
    np.testing.assert_array_equal(clip.times_s, maps.times_s - maps.times_s[0])
    for got, change in zip(clip.change, maps.change, strict=True):  # affine, up to the rounding
        slope, offset = np.polyfit(change.ravel(), got.ravel(), 1)
        assert slope > 0
        assert abs(slope * change + offset - got).max() < 1.01 / 255


def test_milliseconds_and_midnight(tmp_path):
    stems = ["20230922_235959_250", "20230923_000000_000", "20230923_000000_750"]
    clip = read_clip(write_images(tmp_path / "clip", indices(3), ".png", stems))
    assert clip.times_s.tolist() == [0, 0.75, 1.5]


def test_names_without_times(tmp_path):
    folder = write_images(tmp_path / "clip", indices(3), ".png", ["b", "a", "c"])
    with pytest.raises(ReadError, match=r"a\.png: has no name that begins with YYYYMMDD_HHMMSS"):
        read_clip(folder)
    clip = read_clip(folder, interval_s=4)
    assert clip.names == ("a", "b", "c")
    assert clip.times_s.tolist() == [0, 4, 8]


def test_folders_that_are_no_clip(tmp_path):
    with pytest.raises(ReadError, match="no such folder of images"):
        read_clip(tmp_path / "missing")
    with pytest.raises(ReadError, match=r"holds no images \(\.tif"):
        read_clip(tmp_path)
    folder = write_images(tmp_path / "a", indices(2))
    tifffile.imwrite(folder / "20230922_221500.tiff", np.zeros((5, 6), np.uint8))
    with pytest.raises(ReadError, match=r"221500.*has 5 x 6 pixels, but 20230922_221400"):
        read_clip(folder)
    tifffile.imwrite(folder / "20230922_221500.tiff", np.zeros(SHAPE, np.uint16))
    with pytest.raises(ReadError, match=r"uint16, not 8-bit grey or RGB"):
        read_clip(folder)
    (folder / "20230922_221500.tiff").write_bytes(b"II*\0")
    with pytest.raises(ReadError, match=r"221500\.tiff: is damaged"):
        read_clip(folder)
    (folder / "20230922_221500.tiff").unlink()
    (folder / "20230922_221500.png").write_bytes(b"no image")
    with pytest.raises(ReadError, match=r"221500\.png: is damaged or no image"):
        read_clip(folder)
    (folder / "20230922_221500.png").unlink()
    Image.fromarray(indices(1)[0]).save(folder / "20230922_221400.png")
    with pytest.raises(ReadError, match=r"221400\.tiff: has the name of 20230922_221400\.png"):
        read_clip(folder)


def test_images_of_the_same_second(tmp_path):
    stems = ["20230922_221400_a", "20230922_221400_b"]
    folder = write_images(tmp_path / "clip", indices(2), ".png", stems)
    with pytest.raises(ReadError, match=r"is not later than 20230922_221400_a\.png"):
        read_clip(folder)


def test_as_clip(tmp_path):
    maps = run(tmp_path / "maps", layout="published")
    clip = Clip.of(maps)
    assert as_clip(clip) is clip
    for source in (maps, tmp_path / "maps", str(tmp_path / "maps")):
        np.testing.assert_array_equal(as_clip(source).change, clip.change)
    np.testing.assert_array_equal(as_clip(tmp_path / "maps" / "rgb").rgb, clip.rgb)
    with pytest.raises(TypeError, match="must be Maps, a Clip or a folder, not 3"):
        as_clip(3)
    with pytest.raises(TypeError, match="maps must be Maps"):
        Clip.of(clip)
