"""Maps on disk: what is written can be opened everywhere; what is damaged is told."""

from __future__ import annotations

import json
import shutil
import warnings
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from recordings import some_frames
from some_maps import FRAMES, LAYOUTS, MASK, STACKS, START, files_in, run, same_maps

import iosfast
from iosfast import IosfastWarning, Maps, ReadError, Recipe, load

# Round trips


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("mask", [None, MASK])
def test_round_trip(tmp_path, layout, mask):
    in_memory = run(mask=mask)
    written = run(tmp_path / "a", mask=mask, layout=layout)
    for maps in (written, load(tmp_path / "a"), load(str(tmp_path / "a"))):
        same_maps(maps, in_memory)
        assert maps.path == tmp_path / "a"
    assert isinstance(written.change, np.memmap) == (layout == "stack")
    if layout == "stack":
        assert written.change.mode == "r"
        with pytest.raises(ValueError, match="read-only"):
            written.change[0] = 0


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("again", LAYOUTS)
def test_save(tmp_path, layout, again):
    in_memory = run(mask=MASK)
    path = in_memory.save(tmp_path / "made" / "for" / "it", layout=layout)
    assert path == tmp_path / "made" / "for" / "it"
    run(tmp_path / "b", mask=MASK, layout=layout)
    assert files_in(path) == files_in(tmp_path / "b")
    load(path).save(tmp_path / "c", layout=again)
    same_maps(load(tmp_path / "c"), in_memory)


@given(
    shape=st.tuples(st.integers(14, 40), st.integers(1, 12), st.integers(1, 12)),
    layout=st.sampled_from(LAYOUTS),
)
def test_round_trip_of_any_shape(tmp_path_factory, shape, layout):
    out = tmp_path_factory.mktemp("maps") / "a"
    frames = some_frames(shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IosfastWarning)
        written = run(out, frames, layout=layout)
        same_maps(written, run(frames=frames))


def test_maps_json(tmp_path):
    maps = run(tmp_path / "a", mask=MASK)
    told = json.loads((tmp_path / "a" / "maps.json").read_text(encoding="utf-8"))
    assert told["format"] == "iosfast maps"
    assert told["format_version"] == 1
    assert told["iosfast_version"] == iosfast.__version__
    assert (told["layout"], told["mask"]) == ("stack", "mask.png")
    assert told["recipe"] == maps.recipe.to_dict()
    assert told["shape"] == [21, 34]
    assert (told["frame_rate_hz"], told["pixel_size_mm"]) == (4.0, 0.02)
    assert told["start_s"] == np.datetime64(START).astype(np.int64)
    assert told["times_s"] == [2, 4, 6, 8, 10, 12, 14]
    assert told["bin_times_s"] == list(range(15))
    assert told["bin_frames"] == [4] * 15
    assert told["source"]["path"] == "array"
    assert told["notes"] == []
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == sorted(
        ["maps.json", "mask.png", "binned.tif", "change.tif", "rgb.tif"]
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_input_gives_the_same_bytes(tmp_path, layout):
    for name in "ab":
        run(tmp_path / name, mask=MASK, layout=layout, threads=1 if name == "a" else 3)
    first, second = files_in(tmp_path / "a"), files_in(tmp_path / "b")
    assert first.keys() == second.keys()
    assert first == second
    assert any("change" in name for name in first)


# What other programs see


def test_stacks_open_as_imagej_hyperstacks(tmp_path):
    maps = run(tmp_path / "a", recipe=Recipe(bin_seconds=0.5, interval_bins=3, smoothing_px=1))
    for name in STACKS:
        with tifffile.TiffFile(tmp_path / "a" / f"{name}.tif") as tif:
            assert tif.is_imagej
            assert tif.series[0].axes == ("TYXS" if name == "rgb" else "TYX")
            np.testing.assert_array_equal(tif.asarray(), getattr(maps, name))
            told = tif.imagej_metadata
            assert told["finterval"] == pytest.approx(0.5 if name == "binned" else 1.5)
            assert (told["tunit"], told["unit"]) == ("s", "mm")
            assert told["frames"] == len(getattr(maps, name))
            numerator, denominator = tif.pages[0].tags["XResolution"].value
            assert denominator / numerator == pytest.approx(0.02)
            assert tif.pages[0].tags["YResolution"].value == (numerator, denominator)
            if name == "change":
                assert (told["min"], told["max"]) == (-0.01, 0.01)
            assert tif.pages[0].software == f"iosfast {iosfast.__version__}"


def test_unknown_calibration_is_not_made_up(tmp_path):
    run(tmp_path / "a", pixel_size_mm=None)
    with tifffile.TiffFile(tmp_path / "a" / "change.tif") as tif:
        assert "unit" not in tif.imagej_metadata
    run(tmp_path / "b", pixel_size_mm=None, layout="published")
    with tifffile.TiffFile(next((tmp_path / "b" / "rgb").iterdir())) as tif:
        assert tif.pages[0].resolution == (1, 1)


def test_large_stacks_are_ome_bigtiff(tmp_path, monkeypatch):
    monkeypatch.setattr("iosfast.tiff_stack.CLASSIC_TIFF_BYTES", 22_500)
    written = run(tmp_path / "a")
    same_maps(written, run())
    for name, big in (("binned", True), ("change", False), ("rgb", False)):
        with tifffile.TiffFile(tmp_path / "a" / f"{name}.tif") as tif:
            assert (tif.is_ome, tif.is_bigtiff, tif.is_imagej) == (big, big, not big)
            assert tif.series[0].axes == ("TYXS" if name == "rgb" else "TYX")
            np.testing.assert_array_equal(tif.asarray(), getattr(written, name))
    with iosfast.open_recording(tmp_path / "a" / "binned.tif") as recording:
        assert recording.frame_rate_hz == 1
        assert recording.pixel_size_mm == pytest.approx(0.02)
        np.testing.assert_array_equal(recording.read(), written.binned)


@pytest.mark.parametrize(
    ("bin_seconds", "frames", "names"),
    [
        (1.0, 60, ["20230922_235957", "20230922_235958", "20230922_235959", "20230923_000000"]),
        (0.25, 15, ["20230922_235957_000", "20230922_235957_250", "20230922_235957_500"]),
        (1.5, 60, ["20230922_235957_000", "20230922_235958_500", "20230923_000000_000"]),
        (2.0, 60, ["20230922_235957", "20230922_235959", "20230923_000001"]),
    ],
)
def test_names_of_the_published_layout(tmp_path, bin_seconds, frames, names):
    recipe = Recipe(bin_seconds=bin_seconds, interval_bins=2, smoothing_px=1)
    maps = run(tmp_path / "a", FRAMES[:frames], recipe=recipe, layout="published")
    for name in STACKS:
        images = sorted((tmp_path / "a" / name).iterdir())
        stack = getattr(maps, name)
        first = names[: len(names)] if name == "binned" else names[2::2]
        assert [p.stem for p in images[: len(first)]] == first
        assert len(images) == len(stack)
        for path, expected in zip(images, stack, strict=True):
            image = tifffile.imread(path)
            assert image.dtype == expected.dtype
            np.testing.assert_array_equal(image, expected)
    with tifffile.TiffFile(images[0]) as tif:
        assert tif.pages[0].photometric.name == "RGB"
        x, y = tif.pages[0].get_resolution("MILLIMETER")
        assert (1 / x, 1 / y) == (pytest.approx(0.02), pytest.approx(0.02))


def test_published_images_are_a_recording(tmp_path):
    maps = run(tmp_path / "a", layout="published")
    recording, times = iosfast.open_recording(tmp_path / "a" / "binned").in_time_order("name")
    np.testing.assert_array_equal(recording.read(), maps.binned)
    np.testing.assert_array_equal(times - times[0], maps.bin_times_s)


def test_names_must_differ(tmp_path):
    recipe = Recipe(bin_seconds=0.0004, interval_bins=2, smoothing_px=1)
    with pytest.raises(ValueError, match="by the millisecond, in which there are several bins"):
        run(tmp_path / "a", recipe=recipe, frame_rate_hz=10_000.0, layout="published")
    assert list(tmp_path.iterdir()) == []


def test_names_without_a_time_of_day(tmp_path):
    maps = run(start_time=None)
    with pytest.warns(IosfastWarning, match="names count from 1970-01-01") as caught:
        maps.save(tmp_path / "a", layout="published")
    assert caught[0].filename == __file__
    loaded = load(tmp_path / "a")
    assert loaded.start_s == 0
    np.testing.assert_array_equal(loaded.change, maps.change)
    assert "1970" in loaded.notes[0]


# Folders that are not what they were


def edited(out, **changes):
    told = json.loads((out / "maps.json").read_text())
    (out / "maps.json").write_text(json.dumps({**told, **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, "not one of iosfast"),
        ({"format_version": 2}, "newer iosfast"),
        ({"format_version": "1"}, "damaged"),
        ({"layout": "heap"}, "damaged"),
        ({"recipe": {"smoothing_px": 4}}, "damaged"),
        ({"recipe": {"unknown": 4}}, "damaged"),
        ({"recipe": None}, "damaged"),
        ({"shape": [21]}, "damaged"),
        ({"shape": [21, "34"]}, "damaged"),
        ({"shape": [0, 34]}, "damaged"),
        ({"times_s": []}, "damaged"),
        ({"times_s": [2, 4, 6, 8, 10, 12, 13.5]}, "damaged"),
        ({"times_s": ["2"]}, "damaged"),
        ({"bin_times_s": [0, 1, 1]}, "damaged"),
        ({"bin_times_s": 5}, "damaged"),
        ({"bin_frames": [4]}, "damaged"),
        ({"bin_frames": [4.5] * 15}, "damaged"),
        ({"frame_rate_hz": "fast"}, "damaged"),
        ({"frame_rate_hz": -1}, "damaged"),
        ({"pixel_size_mm": [1]}, "damaged"),
        ({"start_s": "noon"}, "damaged"),
        ({"source": 5}, "damaged"),
        ({"notes": None}, "damaged"),
        ({"times_s": [2, 4]}, r"change\.tif: is \(7, 21, 34\) float32, not \(2, 21, 34\)"),
        ({"shape": [34, 21]}, r"binned\.tif: is \(15, 21, 34\) uint16, not \(15, 34, 21\)"),
        ({"mask": "mask.png"}, "mask"),
    ],
)
def test_damaged_maps_json(tmp_path, changes, message):
    run(tmp_path / "a")
    edited(tmp_path / "a", **changes)
    with pytest.raises(ReadError, match=message) as caught:
        load(tmp_path / "a")
    assert caught.value.path.startswith(str(tmp_path / "a"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_cut_maps_json(tmp_path, layout):
    run(tmp_path / "a", layout=layout)
    path = tmp_path / "a" / "maps.json"
    text = path.read_bytes()
    for size in [*range(0, len(text) - 3, 97), len(text) - 3]:
        path.write_bytes(text[:size])
        with pytest.raises(ReadError, match=r"maps\.json is damaged"):
            load(tmp_path / "a")
    path.write_bytes(text.replace(b"iosfast", b"\xff\xfe"))
    with pytest.raises(ReadError, match="cannot be read"):
        load(tmp_path / "a")
    for key in json.loads(text):
        told = json.loads(text)
        del told[key]
        path.write_text(json.dumps(told))
        if key != "iosfast_version":
            with pytest.raises(ReadError, match=f"damaged .*{key}"):
                load(tmp_path / "a")


def test_folders_that_are_no_maps(tmp_path):
    with pytest.raises(ReadError, match=r"no maps\.json in it"):
        load(tmp_path)
    with pytest.raises(ReadError, match="no such folder"):
        load(tmp_path / "a")


@pytest.mark.parametrize("name", STACKS)
def test_damaged_stacks(tmp_path, name, capfd):
    run(tmp_path / "a")
    path = tmp_path / "a" / f"{name}.tif"
    data = path.read_bytes()
    swapped = np.array(getattr(load(tmp_path / "a"), name))
    pixels = swapped.nbytes
    for size in (0, 5, 100, 1000, len(data) // 2, pixels, pixels + 100):
        path.write_bytes(data[:size])
        with pytest.raises(ReadError) as caught:
            load(tmp_path / "a")
        assert caught.value.path == str(path)
    tifffile.imwrite(path, some_frames((15, 21, 34)).astype(np.float64))
    with pytest.raises(ReadError, match="float64"):
        load(tmp_path / "a")
    tifffile.imwrite(path, swapped, imagej=True, byteorder=">")
    with pytest.raises(ReadError, match="is big-endian"):
        load(tmp_path / "a")
    path.write_text("no TIFF at all" * 10_000)
    with pytest.raises(ReadError, match="no TIFF file"):
        load(tmp_path / "a")
    path.unlink()
    with pytest.raises(ReadError, match="is missing"):
        load(tmp_path / "a")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", STACKS)
def test_damaged_images(tmp_path, name):
    run(tmp_path / "a", layout="published")
    folder = tmp_path / "a" / name
    path = folder / "20230923_000003.tiff"
    data = path.read_bytes()
    maps = load(tmp_path / "a")
    path.write_bytes(data[:-200])
    with pytest.raises(ReadError) as caught:
        getattr(maps, name)
    assert caught.value.path == str(path)
    tifffile.imwrite(path, np.zeros((21, 30), np.uint8))
    with pytest.raises(ReadError, match=r"is .* uint8, not as maps\.json says"):
        getattr(load(tmp_path / "a"), name)
    path.unlink()
    with pytest.raises(ReadError, match=f"is missing, as 1 of {len(list(folder.iterdir())) + 1}"):
        load(tmp_path / "a")
    shutil.rmtree(folder)
    with pytest.raises(ReadError, match="is missing"):
        load(tmp_path / "a")


def test_damaged_masks(tmp_path):
    run(tmp_path / "a", mask=MASK)
    path = tmp_path / "a" / "mask.png"
    data = path.read_bytes()
    run(tmp_path / "b", FRAMES[:, :20], mask=MASK[:20])
    for other in (b"", data[:60], (tmp_path / "b" / "mask.png").read_bytes()):
        path.write_bytes(other)
        with pytest.raises(ReadError, match="mask"):
            load(tmp_path / "a")
    path.unlink()
    with pytest.raises(ReadError, match="mask"):
        load(tmp_path / "a")


def test_what_json_cannot_hold_is_told_before_anything_is_written(tmp_path):
    maps = run()
    odd = Maps(replace(maps.info, source={"gain": float("nan")}), _stacks=maps._stacks)
    with pytest.raises(ValueError, match="not JSON compliant"):
        odd.save(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="layout must be one of 'stack', 'published'"):
        maps.save(tmp_path / "a", layout="heap")
