"""Tables of waves: closed forms, columns, bad input, files."""

from __future__ import annotations

import math
import sys

import numpy as np
import pandas as pd
import pytest

import iosfast
from iosfast import IosfastWarning, WriteError

SHAPE = (60, 80)


def squares(places, side=10, shape=SHAPE):
    """One map for each (x, y) of a square's corner, or None."""
    masks = np.zeros((len(places), *shape), bool)
    for mask, place in zip(masks, places, strict=True):
        if place is not None:
            x, y = place
            mask[y : y + side, x : x + side] = True
    return masks


def test_a_square_that_moves():
    masks = squares([(10, 20), (13, 24), (19, 16)])
    result = iosfast.measure(masks, [100.0, 105.0, 115.0], 0.1, clip="a clip")
    event = result.events.iloc[0]
    assert (event["clip"], event.object) == ("a clip", 1)
    assert pd.isna(event.hemisphere)
    assert (event.maps, event.empty_maps, event.first_map, event.last_map) == (3, 0, 0, 2)
    assert (event.start_time_s, event.end_time_s, event.duration_s) == (100, 115, 15)
    assert (event.start_x_px, event.start_y_px) == (14.5, 24.5)
    assert (event.end_x_px, event.end_y_px) == (23.5, 20.5)
    assert (event.start_x_mm, event.start_y_mm) == pytest.approx((1.45, 2.45))
    assert (event.end_x_mm, event.end_y_mm) == pytest.approx((2.35, 2.05))
    assert event.path_length_mm == pytest.approx(0.5 + 1.0)
    assert event.path_speed_mm_min == pytest.approx(1.5 / 15 * 60)
    assert event.net_displacement_mm == pytest.approx(math.hypot(0.9, 0.4))
    assert event.net_speed_mm_min == pytest.approx(math.hypot(0.9, 0.4) / 15 * 60)
    assert event.direction_deg == pytest.approx(math.degrees(math.atan2(-4, 9)))
    assert event.max_area_mm2 == pytest.approx(1.0)
    union = masks.any(axis=0)
    assert event.coverage_union_mm2 == pytest.approx(union.sum() * 0.01)
    assert event.touches_border == False  # noqa: E712 (a NumPy bool)
    frames = result.frames
    assert frames.object.tolist() == [1, 1, 1]
    assert frames["map"].tolist() == [0, 1, 2]
    np.testing.assert_allclose(frames.instantaneous_speed_mm_min, [np.nan, 6.0, 6.0])
    assert frames.overlap_px.tolist() == [0, 7 * 6, 4 * 2]
    assert frames.new_px.sum() == union.sum()
    first = np.where(union, np.argmax(masks, axis=0), -1)
    expected = np.where(first >= 0, np.array([100.0, 105.0, 115.0])[first], np.nan)
    np.testing.assert_array_equal(result.activation_time_s[0], expected)


def test_every_column_of_a_quantity_has_its_unit():
    result = iosfast.measure(squares([(5, 5), (8, 5)]), [0.0, 5.0], 0.1)
    units = ("_s", "_px", "_mm", "_mm2", "_mm_min", "_deg", "_intensity")
    plain = {
        "clip", "object", "hemisphere", "map", "maps", "empty_maps", "first_map", "last_map",
        "front_gaps", "touches_border",
    }  # fmt: skip
    for table in (result.frames, result.events):
        assert {name for name in table if not name.endswith(units)} <= plain
        described = iosfast.measure.__doc__
        for name in table:
            assert f"``{name}``" in described or name.endswith("_mm"), name


def test_several_objects_are_each_as_alone():
    masks = np.stack([squares([(5, 5), (9, 5), (14, 5)]), squares([None, (40, 30), (40, 37)])])
    both = iosfast.measure(masks, [0, 5, 10], 0.1, objects=["1-1", "1-2"])
    assert both.events.object.tolist() == ["1-1", "1-2"]
    for number, name in enumerate(both.objects):
        alone = iosfast.measure(masks[number], [0, 5, 10], 0.1, objects=[name])
        pd.testing.assert_frame_equal(
            both.frames[both.frames.object == name].reset_index(drop=True), alone.frames
        )
        pd.testing.assert_frame_equal(
            both.events.iloc[[number]].reset_index(drop=True), alone.events
        )
        np.testing.assert_array_equal(both.front_speed_mm_min[number], alone.front_speed_mm_min[0])


def test_bytes_are_masks_and_nothing_is_changed():
    masks = squares([(5, 5), (9, 5)])
    as_bytes = np.where(masks, np.uint8(200), np.uint8(0))
    as_bytes.flags.writeable = False
    expected = iosfast.measure(masks, [0, 5], 0.1)
    for same in (as_bytes, np.asfortranarray(masks), np.repeat(masks, 2, axis=2)[:, :, ::2]):
        got = iosfast.measure(same, [0, 5], 0.1)
        pd.testing.assert_frame_equal(got.frames, expected.frames)
        pd.testing.assert_frame_equal(got.events, expected.events)


def test_front_of_every_map():
    """A plane of 3 px per second on pixels of 0.1 mm: 18 mm/min, 1.5 mm in 5 s."""
    x = np.indices((50, 200))[1]
    times = np.arange(1.0, 60.0, 5.0)
    result = iosfast.measure(times[:, None, None] * 3 >= x, times, 0.1)
    frames = result.frames
    assert np.isnan(frames.front_speed_mm_min.iloc[0])
    np.testing.assert_allclose(frames.front_speed_mm_min.iloc[1:], 18, rtol=0.02)
    np.testing.assert_allclose(frames.front_advance_mm.iloc[1:], 1.5, rtol=0.02)
    assert result.events.direction_deg.item() == 0


def test_midline_and_hemispheres():
    masks = np.stack([squares([(5, 5), (60, 5)]), squares([(50, 5), (5, 5)])])
    assert iosfast.measure(masks, [0, 5], 0.1, midline_x_px=40).events.hemisphere.tolist() == [
        "left",
        "right",
    ]
    for given, expected in (("left", ["left"] * 2), ({2: "right"}, [None, "right"])):
        events = iosfast.measure(masks, [0, 5], 0.1, hemisphere=given).events
        assert [None if pd.isna(h) else h for h in events.hemisphere] == expected
    for wrong in ({3: "left"}, "up", {1: "up"}, {1: None}):
        with pytest.raises(ValueError, match="hemisphere"):
            iosfast.measure(masks, [0, 5], 0.1, hemisphere=wrong)
    with pytest.raises(ValueError, match="beside hemisphere"):
        iosfast.measure(masks, [0, 5], 0.1, hemisphere="left", midline_x_px=3)


# What is bad, or strange


@pytest.mark.parametrize(
    "speed", ["path_speed", "net_speed", "front_speed_median", "front_speed_q25"]
)
def test_one_map_has_no_speed(speed):
    """Empty, and not infinite."""
    only = iosfast.measure(squares([(5, 5)]), [3.0], 0.1)
    one_of_two = iosfast.measure(squares([None, (5, 5)]), [3.0, 4.0], 0.1)
    for result in (only, one_of_two):
        event = result.events.iloc[0]
        assert np.isnan(event[f"{speed}_mm_min"])
        assert (event.maps, event.duration_s, event.path_length_mm) == (1, 0, 0)
        assert event.max_area_mm2 == pytest.approx(1)
        assert np.isnan(event.direction_deg)
        assert np.isnan(result.front_speed_mm_min).all()
        assert np.isnan(result.frames.instantaneous_speed_mm_min).all()


def test_no_mask_in_any_map():
    masks = np.stack([squares([(5, 5), (9, 5)]), squares([None, None])])
    with pytest.warns(IosfastWarning, match="object 2 has no mask in any map"):
        result = iosfast.measure(masks, [0, 5], 0.1, masks[0].astype(np.float32))
    event = result.events.iloc[1]
    assert (event.maps, event.first_map, event.last_map) == (0, -1, -1)
    assert (event.max_area_mm2, event.coverage_union_mm2, event.coverage_hull_mm2) == (0, 0, 0)
    rest = event[[n for n in event.index if n.endswith(("_s", "_px", "_mm", "_mm_min"))]]
    assert rest.isna().all()
    assert np.isnan(event.amplitude_intensity)
    assert np.isnan(result.activation_time_s[1]).all()
    assert len(result.published()) == 2


def test_an_object_that_vanishes_and_returns():
    result = iosfast.measure(squares([(5, 5), None, None, (35, 5), None]), [0, 5, 10, 20, 25], 0.1)
    event = result.events.iloc[0]
    assert (event.maps, event.empty_maps, event.first_map, event.last_map) == (2, 2, 0, 3)
    assert event.duration_s == 20
    assert event.path_speed_mm_min == pytest.approx(9)
    np.testing.assert_allclose(
        result.frames.instantaneous_speed_mm_min, [np.nan, np.nan, np.nan, 9, np.nan]
    )
    assert result.frames.box_left_px.tolist() == [5, -1, -1, 35, -1]
    assert np.isfinite(result.events.select_dtypes("number").drop(
        columns=[c for c in result.events if c.startswith(("front_speed", "amplitude"))]
    )).all(axis=None)  # fmt: skip


@pytest.mark.parametrize(
    ("place", "touches"), [((0, 5), 1), ((70, 5), 1), ((5, 0), 1), ((5, 50), 1), ((1, 1), 0)]
)
def test_touching_the_border_is_told(place, touches):
    result = iosfast.measure(squares([(30, 30), place]), [0, 5], 0.1)
    assert result.frames.touches_border.tolist() == [False, bool(touches)]
    assert result.events.touches_border.tolist() == [bool(touches)]


def test_masks_of_another_shape_than_the_images():
    masks = squares([(5, 5), (9, 5)])
    for shape in ((2, 60, 81), (3, 60, 80), (60, 80), (1, 2, 60, 80)):
        with pytest.raises(ValueError, match=r"intensity has shape .* but the masks are"):
            iosfast.measure(masks, [0, 5], 0.1, np.zeros(shape, np.uint16))
    with pytest.raises(TypeError, match="intensity must be numbers"):
        iosfast.measure(masks, [0, 5], 0.1, masks)
    with pytest.raises(TypeError, match="intensity must be an array"):
        iosfast.measure(masks, [0, 5], 0.1, [1.0])


@pytest.mark.parametrize(
    ("masks", "error", "told"),
    [
        ([[[True]]], TypeError, "masks must be an array"),
        (np.zeros((2, 3, 4)), TypeError, "masks must be bool or uint8, not float64"),
        (np.zeros((2, 3, 4), np.int64), TypeError, "not int64"),
        (np.zeros((3, 4), bool), ValueError, r"masks must be \(T, Y, X\)"),
        (np.zeros((1, 1, 2, 3, 4), bool), ValueError, r"masks must be \(T, Y, X\)"),
        (np.zeros((2, 0, 4), bool), ValueError, "not empty"),
        (np.zeros((2, 1, 40000), bool), ValueError, "32768 pixels a side"),
    ],
)
def test_bad_masks(masks, error, told):
    with pytest.raises(error, match=told):
        iosfast.measure(masks, [0, 5], 0.1)


@pytest.mark.parametrize(
    ("times", "error", "told"),
    [
        ([0, 0], ValueError, "times_s must increase; maps 0 and 1 are both at 0.0 s"),
        ([5, 0], ValueError, "times must not decrease"),
        ([0, np.nan], ValueError, "finite"),
        ([0, 1, 2], ValueError, "one entry per frame"),
        (["a", "b"], TypeError, "numbers"),
    ],
)
def test_bad_times(times, error, told):
    with pytest.raises(error, match=told):
        iosfast.measure(squares([(5, 5), (9, 5)]), times, 0.1)


@pytest.mark.parametrize(
    ("size", "error"),
    [
        (None, TypeError),
        (0, ValueError),
        (-0.1, ValueError),
        (np.nan, ValueError),
        (np.inf, ValueError),
        ("0.1", TypeError),
        ((0.1, 0.0), ValueError),
        ((0.1, -0.1), ValueError),
        ((0.1, 0.1, 0.1), ValueError),
    ],
)
def test_bad_calibration(size, error):
    with pytest.raises(error, match="pixel_size_mm"):
        iosfast.measure(squares([(5, 5), (9, 5)]), [0, 5], size)


def test_anisotropic_calibration():
    """(y, x): 3 pixels of 0.1 mm across and 4 of 0.2 mm down."""
    event = iosfast.measure(squares([(5, 5), (8, 9)]), [0, 60], (0.2, 0.1)).events.iloc[0]
    assert event.path_length_mm == pytest.approx(math.hypot(0.3, 0.8))
    assert event.direction_deg == pytest.approx(math.degrees(math.atan2(0.8, 0.3)))
    assert event.max_area_mm2 == pytest.approx(100 * 0.02)
    assert (event.start_x_mm, event.start_y_mm) == pytest.approx((0.95, 1.9))


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"objects": ["a", "b"]}, ValueError, "objects must name each of the 1"),
        ({"clip": 5}, TypeError, "clip"),
        ({"threads": -1}, ValueError, "threads"),
        ({"midline_x_px": "3"}, TypeError, "midline_x_px"),
    ],
)
def test_bad_options(options, error, told):
    with pytest.raises(error, match=told):
        iosfast.measure(squares([(5, 5), (9, 5)]), [0, 5], 0.1, **options)
    with pytest.raises(ValueError, match="objects must differ"):
        iosfast.measure(np.stack([squares([(5, 5)])] * 2), [0], 0.1, objects=["a", "a"])


def test_without_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"pip install 'iosfast\[tables\]'"):
        iosfast.measure(squares([(5, 5), (9, 5)]), [0, 5], 0.1)


# Files


@pytest.fixture
def measured():
    masks = squares([(5, 5), None, (9, 7)])
    return iosfast.measure(masks, [0.1, 5.2, 10.3], 0.1, clip="clip, with a comma")


def test_tables_read_back(measured, tmp_path):
    paths = measured.write(tmp_path / "new" / "tables", parquet=True)
    tables = {"frames": measured.frames, "events": measured.events}
    tables["published"] = measured.published()
    assert sorted(paths) == sorted((tmp_path / "new" / "tables").iterdir())
    assert len(paths) == 6
    for name, table in tables.items():
        read = pd.read_csv(paths[0].with_name(f"{name}.csv"))
        pd.testing.assert_frame_equal(read, table, check_exact=True, check_dtype=False)
        read = pd.read_parquet(paths[0].with_name(f"{name}.parquet"))
        pd.testing.assert_frame_equal(read, table, check_exact=True, check_dtype=False)


def test_tables_are_not_replaced_unless_asked(measured, tmp_path):
    measured.write(tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    with pytest.raises(WriteError, match="exists already"):
        measured.write(tmp_path)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == before
    measured.write(tmp_path, overwrite=True)
    assert {p.name for p in tmp_path.iterdir()} == {"frames.csv", "events.csv", "published.csv"}


def test_tables_that_cannot_be_written(measured, tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("kept")
    with pytest.raises(WriteError):
        measured.write(file)
    with pytest.raises(WriteError):
        measured.write(file / "tables")
    assert file.read_text() == "kept"
    (tmp_path / "events.csv").mkdir()
    with pytest.raises(WriteError, match="exists already"):
        measured.write(tmp_path, overwrite=True)

    def full(self, path, **_):
        path.write_text("half of a ta")
        if path.name.startswith(".published"):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(WriteError, match="No space left"):
        measured.write(tmp_path / "tables")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["events.csv", "file"]


def test_parquet_without_its_library(measured, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'iosfast\[parquet\]'"):
        measured.write(tmp_path / "tables", parquet=True)
    assert not (tmp_path / "tables").exists()
