"""Options, and the colours they stand for."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st

from iosfast import Recipe
from iosfast.recipe import matlab_jet

odd = st.integers(0, 127).map(lambda n: 2 * n + 1)
positive = st.floats(1e-3, 1e6)
recipes = st.fixed_dictionaries(
    {},
    optional={
        "partial_bin": st.sampled_from(["drop", "keep"]),
        "interval_bins": st.integers(1, 1000),
        "change": st.sampled_from(["ratio", "dff"]),
        "baseline_bins": st.none() | st.integers(1, 1000),
        "smoothing_px": odd,
        "smoothing_first_px": st.none() | odd,
        "smoothing_border": st.sampled_from(["zero", "inside"]),
        "smoothing_rounded": st.booleans(),
        "scale": st.sampled_from(["percent", "per_map"]),
        "scale_percent": positive,
        "scale_range": st.none() | st.tuples(st.floats(-9, -1), st.floats(0, 9)),
        "colormap": st.text(max_size=9),
    },
)
lengths = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"bin_seconds": positive}),
    st.fixed_dictionaries({"bin_frames": st.integers(1, 65537)}),
)


@given(recipes, lengths, st.booleans())
def test_a_recipe_survives_json(options, length, published):
    recipe = Recipe.published(**options, **length) if published else Recipe(**options, **length)
    again = Recipe.from_dict(json.loads(json.dumps(recipe.to_dict())))
    assert again == recipe
    assert hash(again) == hash(recipe)
    assert again.to_dict() == recipe.to_dict()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bin_seconds", np.float32(0.5)),
        ("bin_seconds", np.float64(0.5)),
        ("bin_seconds", np.int64(2)),
        ("bin_frames", np.int32(7)),
        ("interval_bins", np.int64(3)),
        ("baseline_bins", np.uint16(3)),
        ("smoothing_px", np.int8(3)),
        ("smoothing_first_px", np.int64(3)),
        ("scale_percent", np.float32(0.25)),
        ("scale_range", np.array([0.5, 2])),
    ],
)
def test_options_may_be_numbers_of_numpy(name, value):
    recipe = Recipe(**{name: value})
    text = json.dumps(recipe.to_dict())
    assert json.loads(text)[name] == np.asarray(value).tolist()
    assert Recipe.from_dict(json.loads(text)) == recipe


def test_the_options_are_those_of_the_method():
    assert Recipe.published().to_dict() == reference.PUBLISHED
    assert Recipe().to_dict() == reference.DEFAULT
    assert Recipe.named("published") == Recipe.published()
    assert Recipe.named("default") == Recipe()
    recipe = Recipe.published(interval_bins=2)
    assert Recipe.named(recipe) is recipe
    assert recipe.to_dict() == {**reference.PUBLISHED, "interval_bins": 2}
    assert recipe.replaced(change="dff") == Recipe.published(interval_bins=2, change="dff")
    assert Recipe(bin_frames=30).bin_seconds is None


@pytest.mark.parametrize("name", ["best", "", None, 3, {"change": "dff"}])
def test_names_of_recipes(name):
    with pytest.raises(ValueError, match="'default', 'published' or a Recipe"):
        Recipe.named(name)


def test_unknown_options_are_named():
    with pytest.raises(ValueError, match="no option frames, speed"):
        Recipe.from_dict({"speed": 1, "change": "dff", "frames": 2})


WHOLE = ["bin_frames", "interval_bins", "baseline_bins", "smoothing_px", "smoothing_first_px"]
NUMBER = ["bin_seconds", "scale_percent"]
CHOICE = ["partial_bin", "change", "smoothing_border", "scale"]


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        *[(n, v, TypeError) for n in WHOLE for v in (1.0, "3", True, [3], np.float64(3))],
        *[(n, v, ValueError) for n in WHOLE for v in (0, -1, 2**40)],
        *[(n, v, TypeError) for n in NUMBER for v in ("1", True, [1.0], 1j)],
        *[(n, v, ValueError) for n in NUMBER for v in (0, -1.0, math.nan, math.inf, -math.inf)],
        *[(n, v, ValueError) for n in CHOICE for v in ("none", "", None, 1)],
        *[(n, v, ValueError) for n in WHOLE[3:] for v in (2, 20, 254, 256, 257)],
        ("bin_frames", 65538, ValueError),
        ("bin_seconds", None, ValueError),
        ("bin_seconds", 1e-7, ValueError),
        ("smoothing_px", None, TypeError),
        ("interval_bins", None, TypeError),
        ("scale_percent", None, TypeError),
        *[("smoothing_rounded", v, TypeError) for v in (0, 1, "yes", None)],
        *[("scale_range", v, (TypeError, ValueError)) for v in (1.0, (1.0,), (1, 2, 3), "ab")],
        *[("scale_range", v, ValueError) for v in ((1, 1), (2, 1), (0, math.inf), (math.nan, 1))],
        ("scale_range", (None, 1), TypeError),
        *[("colormap", v, TypeError) for v in (None, 5, ("red", "blue"))],
    ],
)
def test_options_that_make_no_sense_are_named(name, value, error):
    with pytest.raises(error, match=name):
        Recipe(**{name: value})


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"bin_frames": 30, "bin_seconds": 2.0}, "not both"),
        ({"change": "difference"}, "no meaning for change='difference'"),
        ({"scale": "range"}, "needs scale_range"),
        ({"change": "ratio", "scale_percent": 1e-15}, "scale_percent"),  # 1 and 1
        ({"scale_percent": 1e-323}, "scale_percent"),
        ({"scale": "range", "scale_range": (-1e308, 1e308)}, "scale_range"),  # infinitely wide
    ],
)
def test_options_that_do_not_go_together(options, match):
    with pytest.raises(ValueError, match=match):
        Recipe(**options)


@given(st.sampled_from(["ratio", "dff", "difference"]), positive, st.floats(-5, 5))
def test_color_range(change, percent, low):
    limits = (low, low + 1)
    assert Recipe(change=change, scale="per_map").color_range is None
    assert Recipe(change=change, scale="range", scale_range=limits).color_range == limits
    if change != "difference":
        recipe = Recipe(change=change, scale_percent=percent)
        assert recipe.color_range == reference.fixed_range(recipe.to_dict())
        low, high = recipe.color_range
        assert (low + high) / 2 == pytest.approx(1.0 if change == "ratio" else 0.0, abs=1e-9)


def test_jet():
    table = matlab_jet()
    assert (table.dtype, table.shape) == (np.uint8, (256, 3))
    np.testing.assert_array_equal(table, reference.jet())
    # The two ends as published: (0, 0, 0.515625) and (0.5, 0, 0).
    assert table[0].tolist() == [0, 0, math.floor(255 * 0.515625 + 0.5)]
    assert table[255].tolist() == [math.floor(255 * 0.5 + 0.5), 0, 0]
    sixty_fourths = np.floor(255 * np.arange(65) / 64 + 0.5)
    assert np.isin(table, sixty_fourths).all()


@pytest.mark.parametrize("name", ["matlab_jet", "RdBu_r", "viridis", "jet", "gray", "tab10"])
def test_color_tables(name):
    table = Recipe(colormap=name).colors()
    assert (table.dtype, table.shape) == (np.uint8, (257, 3))
    np.testing.assert_array_equal(table, reference.color_table(name))


def test_no_change_is_nearly_white_and_outside_is_none_of_the_colors():
    table = Recipe().colors().astype(int)
    middle = table[127:129]
    assert middle.min() > 240
    assert (table[256] != table[:256]).any(axis=1).all()
    np.testing.assert_array_equal(Recipe.published().colors()[256], reference.jet()[0])


@pytest.mark.parametrize("name", ["no such map", "", "Viridis"])
def test_unknown_color_maps_are_named(name):
    with pytest.raises(ValueError, match=f"{name!r} is neither"):
        Recipe(colormap=name).colors()
