"""Prompts: what is refused, what they say of pixels, and JSON there and back."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco
from skimage.draw import polygon2mask

from iosfast import Prompt, ReadError, WriteError, read_prompts, write_prompts

SHAPE = (20, 30)
SQUARE = [(2, 3), (9, 3), (9, 8), (2, 8)]

coordinates = st.floats(-1e6, 1e6, allow_nan=False)
pairs = st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=5)


@st.composite
def prompts(draw):
    said = {"map_index": draw(st.integers(0, 9999)), "object_id": draw(st.integers(1, 99))}
    kind = draw(st.sampled_from(["points", "box", "both", "polygon", "mask"]))
    if kind in ("points", "both"):
        said["points"] = draw(pairs)
        count = len(said["points"])
        said["labels"] = draw(st.lists(st.integers(0, 1), min_size=count, max_size=count))
    if kind in ("box", "both"):
        x0, y0 = draw(coordinates), draw(coordinates)
        said["box"] = (x0, y0, x0 + draw(st.floats(1, 99)), y0 + draw(st.floats(1, 99)))
    if kind == "polygon":
        said["polygon"] = draw(pairs)
    if kind == "mask":
        said["mask"] = draw(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9)))
    return Prompt(**said)


def content(prompt):
    mask = None if prompt.mask is None else (prompt.mask.shape, prompt.mask.tobytes())
    others = ("map_index", "object_id", "points", "labels", "box", "polygon")
    return [getattr(prompt, name) for name in others], mask


@given(st.lists(prompts(), max_size=4))
def test_json_there_and_back(told):
    entries = json.loads(json.dumps([prompt.as_json() for prompt in told]))
    again = [Prompt.from_json(entry) for entry in entries]
    assert list(map(content, again)) == list(map(content, told))


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_run_lengths_of_masks_are_those_of_coco(mask):
    size, counts = Prompt(0, mask=mask).as_json()["mask"].values()
    runs = coco.frPyObjects({"size": size, "counts": counts}, *size)
    assert runs == coco.encode(np.asfortranarray(mask.view(np.uint8)))
    packed = {"size": size, "counts": runs["counts"].decode()}
    for given_mask in ({"size": size, "counts": counts}, packed):
        read = Prompt.from_json({"map_index": 0, "mask": given_mask})
        np.testing.assert_array_equal(read.mask, mask)


def test_file(tmp_path):
    told = [Prompt(3, 2, points=[(1.5, 2)], labels=[0]), Prompt(0, polygon=SQUARE)]
    path = write_prompts(tmp_path / "prompts.json", told)
    assert list(map(content, read_prompts(path))) == list(map(content, told))
    assert json.loads(path.read_text()) == [
        {"map_index": 3, "object_id": 2, "points": [[1.5, 2.0]], "labels": [0]},
        {"map_index": 0, "object_id": 1, "polygon": [[float(x), float(y)] for x, y in SQUARE]},
    ]
    assert [p.name for p in tmp_path.iterdir()] == ["prompts.json"]
    path.write_text(json.dumps({"prompts": [{"map_index": 1, "box": [0, 0, 4, 5], "mask": None}]}))
    (read,) = read_prompts(path)
    assert (read.map_index, read.object_id, read.box) == (1, 1, (0.0, 0.0, 4.0, 5.0))
    with pytest.raises(WriteError, match="nothing was left"):
        write_prompts(tmp_path / "none" / "prompts.json", told)


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        ({}, ValueError, "object 1 on map 0 is empty: give points, a box, a polygon or a mask"),
        ({"points": []}, ValueError, "is empty"),
        ({"map_index": -1}, ValueError, "map_index must be at least 0, not -1"),
        ({"map_index": 0.5}, TypeError, "map_index must be a whole number"),
        ({"object_id": 0}, ValueError, "object_id must be at least 1, not 0"),
        ({"points": 5}, TypeError, "points must be a list, not 5"),
        ({"points": "12"}, TypeError, "points must be a list, not '12'"),
        ({"points": [1, 2]}, ValueError, "points must have 2 numbers each, not shape (2,)"),
        ({"points": [(1, 2, 3)]}, ValueError, "points must have 2 numbers each"),
        ({"points": [(1, "a")]}, TypeError, "points must be numbers"),
        ({"points": [(1, 2), (3,)]}, TypeError, "points must be numbers"),
        ({"points": [(True, False)]}, TypeError, "points must be numbers"),
        ({"points": [(1, np.nan)]}, ValueError, "points must be finite"),
        ({"points": [(1, 2)], "labels": [1, 0]}, ValueError, "one a point, but 1 have 2"),
        ({"points": [(1, 2)], "labels": [2]}, ValueError, "labels must be 1 (object) or 0 (not)"),
        ({"points": [(1, 2)], "labels": [0.5]}, ValueError, "labels must be 1 (object) or 0"),
        ({"points": [(1, 2)], "labels": 1}, TypeError, "labels must be a list, not 1"),
        ({"labels": [1]}, ValueError, "labels must be one a point, but 0 have 1"),
        ({"box": (1, 2, 1, 5)}, ValueError, "box must be (x0, y0, x1, y1) with x0 < x1, y0 < y1"),
        ({"box": (1, 2, 3)}, ValueError, "box must have 4 numbers"),
        ({"box": (1, 2, 3, np.inf)}, ValueError, "box must be finite"),
        ({"box": "1234"}, TypeError, "box must be numbers"),
        ({"polygon": SQUARE, "points": [(1, 2)]}, ValueError, "not several of these"),
        ({"polygon": SQUARE, "mask": np.ones(SHAPE, bool)}, ValueError, "not several of these"),
        ({"polygon": [(1, 2, 3)]}, ValueError, "polygon must have 2 numbers each"),
        ({"mask": np.ones(SHAPE)}, TypeError, "mask must be bool (Y, X), not float64 (20, 30)"),
        ({"mask": np.ones((2, *SHAPE), bool)}, TypeError, "mask must be bool (Y, X), not bool (2,"),
        ({"mask": np.ones((0, 5), bool)}, ValueError, "mask must have pixels, not shape (0, 5)"),
    ],
)
def test_what_contradicts_itself(said, error, message):
    with pytest.raises(error, match=re.escape(message)):
        Prompt(**{"map_index": 0, **said})


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"map_index": 7, "points": [(1, 2)]}, "map 7: the clip has only the maps 0 to 6"),
        ({"points": [(29.5, 2)]}, "point (29.5, 2) lies outside of the image, which is 30 wide"),
        ({"points": [(1, 2), (1, -0.6)]}, "the point (1, -0.6) lies outside of the image"),
        ({"box": (30, 2, 35, 5)}, "the box (30.0, 2.0, 35.0, 5.0) lies outside of the image"),
        ({"box": (3.2, 2, 3.8, 5)}, "the box (3.2, 2.0, 3.8, 5.0) holds the centre of no pixel"),
        ({"polygon": SQUARE[:2]}, "polygon must be at least three (x, y)"),
        ({"polygon": [(1, 1), (8, 8), (8, 1), (1, 8)]}, "polygon crosses itself"),
        ({"polygon": [(-9, 1), (-4, 8), (-2, 1)]}, "polygon holds no pixel of the image"),
        ({"mask": np.ones((30, 20), bool)}, "the mask is (30, 20), but maps are (20, 30) (Y, X)"),
    ],
)
def test_what_does_not_fit_a_clip(said, message):
    prompt = Prompt(**{"map_index": 0, "object_id": 4, **said})
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        prompt.check(7, SHAPE)
    assert str(caught.value).startswith(f"the prompt of object 4 on map {prompt.map_index}: ")


@pytest.mark.parametrize(
    "said",
    [
        {"points": [(-0.5, -0.5), (29.49, 19.49)]},
        {"box": (-50, 3, 2, 90)},
        {"polygon": SQUARE},
        {"mask": np.zeros(SHAPE, bool)},
    ],
)
def test_what_fits_a_clip(said):
    prompt = Prompt(6, **said)
    assert prompt.check(7, SHAPE) is prompt


def test_pixels():
    drawn = Prompt(0, polygon=[(2.4, 3.2), (20.6, 4.1), (11.3, 17.7)])
    corners = np.array(drawn.polygon)[:, ::-1]
    np.testing.assert_array_equal(drawn.drawing(SHAPE), polygon2mask(SHAPE, corners))
    expected = np.zeros(SHAPE, bool)
    expected[3:6, 2:10] = True
    np.testing.assert_array_equal(Prompt(0, box=(1.5, 3, 9, 5)).within(SHAPE), expected)
    assert Prompt(0, points=[(1, 1)]).within(SHAPE).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[{", "the prompts cannot be read: "),
        ("[" * 100_000, "the prompts cannot be read: "),
        ("5", "holds no list of prompts, but int"),
        ('{"points": []}', "holds no list of prompts, but dict"),
        ("[5]", "prompt 1 of 1: a prompt must be an object with map_index, object_id"),
        ('[{"points": [[1, 2]]}]', "prompt 1 of 1: a prompt needs map_index"),
        ('[{"map_index": 0, "point": [1, 2]}]', "prompt 1 of 1: a prompt has no point"),
        ('[{"map_index": 0}]', "prompt 1 of 1: the prompt of object 1 on map 0 is empty"),
        ('[{"map_index": "0", "box": [0, 0, 1, 1]}]', "map_index must be a whole number, not '0'"),
        ('[{"map_index": 0, "points": [[1, NaN]]}]', "points must be finite"),
        ('[{"map_index": 0, "mask": []}]', "mask must be {'size': [Y, X], 'counts': [...]}"),
        ('[{"map_index": 0, "mask": {"size": [2, 3]}}]', "mask: its run lengths must be"),
        (
            '[{"map_index": 0, "mask": {"size": [2, 3], "counts": [1, 4]}}]',
            "mask: its run lengths do not fill 3 x 2 pixels",
        ),
        (
            f'[{{"map_index": 0, "mask": {{"size": [2, 3], "counts": [{2**70}]}}}}]',
            "mask: its run lengths must be whole numbers",
        ),
        (
            '[{"map_index": 0, "mask": {"size": [2, 3], "counts": [1.5, 4.5]}}]',
            "mask: its run lengths must be whole numbers",
        ),
    ],
)
def test_files_that_hold_no_prompts(tmp_path, text, message):
    path = tmp_path / "prompts.json"
    path.write_text(text)
    with pytest.raises(ReadError, match=re.escape(message)) as caught:
        read_prompts(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ReadError, match=r"the prompts cannot be read: .*No such file"):
        read_prompts(tmp_path / "none.json")
