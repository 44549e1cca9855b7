"""Labels: masks to polygons and back in every format, and files that come back unchanged."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from some_labels import SHAPE, SQUARE, apart, isat_document, isat_object, parsed, waves, write_json

from iosfast import Annotations, IosfastWarning, ReadError, WriteError
from iosfast.annotations import BACKGROUND, LabelledImage, Polygon
from iosfast.annotations.json_text import indented
from iosfast.run_lengths import decode, encode

stacks = arrays.arrays(
    np.bool_,
    st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 8), st.integers(1, 8)),
    elements=st.booleans(),
)
FORMATS = {
    "isat": "labels",
    "labelme": "labels",
    "coco": "labels.json",
    "coco-rle": "labels.json",
    "tiff": "masks",
}


@given(stacks)
def test_masks_come_back_whatever_overlaps(masks):
    labels = Annotations.from_masks(masks)
    np.testing.assert_array_equal(labels.masks(objects=keys_of(masks)), masks[present(masks)])
    for image in labels.images:
        assert [p.layer for p in image.polygons] == list(range(1, len(image.polygons) + 1))


def present(masks):
    return masks.any(axis=(1, 2, 3))


def keys_of(masks):
    return [("signal", o) for o in np.flatnonzero(present(masks)) + 1]


@pytest.mark.parametrize("smooth", [0, 1.5, 4])
@pytest.mark.parametrize("file_format", FORMATS)
def test_masks_come_back_from_files(tmp_path, file_format, smooth):
    masks = waves(3, 3, smooth)
    labels = Annotations.from_masks(masks, names=["a", "b", "c"])
    path = tmp_path / "new" / FORMATS[file_format]
    assert labels.write(path, file_format) == path
    again = Annotations.read(path)
    assert again.names == ("a", "b", "c")
    assert again.shape == SHAPE
    assert set(again.objects) == {("signal", 1), ("signal", 2), ("signal", 3)}
    np.testing.assert_array_equal(again.masks(objects=labels.objects), masks)
    np.testing.assert_array_equal(again.masks(objects=labels.objects, threads=1), masks)


@pytest.mark.parametrize(("file_format", "name"), [("png", "masks"), ("tiff", "masks.tif")])
def test_objects_that_do_not_overlap_are_numbers_in_an_image(tmp_path, file_format, name):
    masks = apart(waves(3))
    objects = ["1-1", "1-2", ("signal", 9)]
    labels = Annotations.from_masks(masks, names=["x/a", "x/b", "y"], objects=objects)
    labels.write(tmp_path / name, file_format)
    again = Annotations.read(tmp_path / name)
    assert again.names == ("x/a", "x/b", "y")
    assert set(again.objects) == {("1-1", 1), ("1-2", 2), ("signal", 9)}
    np.testing.assert_array_equal(again.masks(objects=labels.objects), masks)
    if file_format == "png":
        values = np.asarray(Image.open(tmp_path / name / "x" / "b.png"))
    else:
        values = tifffile.imread(tmp_path / name)[1]
    assert values.dtype == np.uint8
    np.testing.assert_array_equal(values, masks[0, 1] * 1 + masks[1, 1] * 2 + masks[2, 1] * 9)


@pytest.mark.parametrize(("file_format", "name"), [("png", "masks"), ("tiff", "masks.tif")])
def test_objects_that_overlap_are_none(tmp_path, file_format, name):
    labels = Annotations.from_masks(waves(2), names=["a", "b", "c"])
    with pytest.raises(ValueError, match=r"group 1\) and signal \(group 2\) overlap on image a"):
        labels.write(tmp_path / name, file_format)
    assert not (tmp_path / name).exists()


def test_more_objects_than_a_byte_has_numbers(tmp_path):
    masks = np.zeros((300, 1, 20, 20), bool)
    masks.reshape(300, -1)[np.arange(300), np.arange(300)] = True
    labels = Annotations.from_masks(masks)
    for file_format, name in (("tiff", "m.tif"), ("png", "m")):
        labels.write(tmp_path / name, file_format)
        again = Annotations.read(tmp_path / name)
        np.testing.assert_array_equal(again.masks(objects=labels.objects), masks)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, bool])
def test_masks_of_other_programs(tmp_path, dtype):
    labels = np.zeros((2, *SHAPE), dtype)
    labels[0, 3:9, 4:8] = 1
    labels[1, 20:25, 30:35] = 1 if dtype is bool else 7
    tifffile.imwrite(tmp_path / "stack.tif", labels, photometric="minisblack")
    for t, name in enumerate(["one", "two"]):
        (tmp_path / "png").mkdir(exist_ok=True)
        Image.fromarray(labels[t]).save(tmp_path / "png" / f"{name}.png")
        (tmp_path / "tif").mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / "tif" / f"{name}.tif", labels[t])
    for place, names in [
        ("stack.tif", ("map_0000", "map_0001")),
        ("png", ("one", "two")),
        ("tif", ("one", "two")),
    ]:
        found = Annotations.read(tmp_path / place)
        assert found.names == names
        for category, number in found.objects:
            assert category == "signal"
            value = 1 if number == 1 else 7
            mask = found.masks(objects=[(category, number)])[0]
            bilevel = dtype is bool
            np.testing.assert_array_equal(mask, labels if bilevel else labels == value)
        assert len(found.objects) == (1 if dtype is bool else 2)


def test_black_and_white_is_one_object(tmp_path):
    image = np.zeros(SHAPE, np.uint8)
    image[5:9, 6:12] = 255
    Image.fromarray(image).save(tmp_path / "a.png")
    found = Annotations.read(tmp_path)
    assert found.objects == (("signal", 1),)
    np.testing.assert_array_equal(found.masks()[0, 0], image > 0)


def operators_files(folder):
    """A data set as ISAT leaves it: notes, holes, layers, keys of another version, two folders."""
    first = isat_document(
        isat_object(SQUARE, layer=2.0, note="unsure, see é"),
        isat_object([[0.1, 0.1], [9, 0.1], [9.25, 8]], category="1-1", group=3, extra={"a": [1]}),
        isat_object([[12, 14], [15.5, 14], [15, 17]], category=BACKGROUND, group=0, layer=3.0),
        isat_object([[30, 3], [40, 3], [40, 9]], category="1-2", group=4, bbox=None, iscrowd=True),
        note="wave 1",
        scanner="x",
    )
    first["version"] = 2
    write_json(folder / "segment_0" / "20230922_221431.json", first)
    empty = isat_document(name="20230922_221436.tiff", depth=0)
    write_json(folder / "segment_0" / "20230922_221436.json", empty)
    less = {"category": "signal", "group": "", "segmentation": SQUARE, "area": 0, "bbox": []}
    write_json(folder / "segment_1" / "20230922_230000.json", isat_document(less, folder=""))
    text = (
        "label:\n- color: '#000000'\n  name: __background__\n- color: '#123456'\n  name: signal\n"
    )
    (folder / "segment_0" / "isat.yaml").write_text(text + "other: [1, 2]\n")
    return folder


def test_label_files_come_back_unchanged(tmp_path):
    source = operators_files(tmp_path / "in")
    labels = Annotations.read(source)
    assert labels.names == (
        "segment_0/20230922_221431",
        "segment_0/20230922_221436",
        "segment_1/20230922_230000",
    )
    labels.write(tmp_path / "out")
    assert parsed(tmp_path / "out") == parsed(source)
    for path in (tmp_path / "out").rglob("*.json"):  # and to the letter, if all numbers are floats
        document = json.loads(path.read_text(encoding="utf-8"))
        expected = json.dumps(document, indent=4, ensure_ascii=False)
        assert path.read_text(encoding="utf-8") == expected
    said = yaml.safe_load((tmp_path / "out" / "segment_0" / "isat.yaml").read_text())
    assert said["other"] == [1, 2]
    assert said["label"][:2] == [
        {"color": "#000000", "name": BACKGROUND},
        {"color": "#123456", "name": "signal"},
    ]
    assert [label["name"] for label in said["label"][2:]] == ["1-1", "1-2"]


def test_objects_are_category_and_group_and_holes_are_cleared(tmp_path):
    labels = Annotations.read(operators_files(tmp_path))
    assert labels.objects == (("signal", 1), ("1-1", 3), ("1-2", 4), ("signal", 0))
    masks = labels.masks()
    assert masks.shape == (4, 3, *SHAPE)
    square = np.zeros(SHAPE, bool)
    square[12:21, 10:19] = True
    hole = np.zeros(SHAPE, bool)
    hole[14, 12:16] = hole[15, 13:16] = hole[16, 14:16] = hole[17, 15] = True
    assert (masks[0, 0] <= square).all()
    cleared = square & ~masks[0, 0]
    assert cleared[14, 12:16].all()
    assert (cleared <= hole).all()
    np.testing.assert_array_equal(masks[3, 2], square)
    assert masks[1, 0, 0, 0]  # a corner at 0.1 was found at 0
    assert not masks[:, 1].any()


def test_layers_are_the_order_of_drawing():
    hole = Polygon(BACKGROUND, np.array(SQUARE), 0, 2.0)
    below = Polygon("a", np.array(SQUARE) + 1, 1, 1.0)
    above = Polygon("b", np.array(SQUARE) + 1, 1, 3.0)
    image = LabelledImage("x", SHAPE, (above, hole, below))
    masks = Annotations((image,)).masks(objects=[("a", 1), ("b", 1)])
    assert masks[1].sum() == 81
    assert masks[0].sum() == 81 - 64


def test_what_is_changed_is_written_anew_and_the_rest_stays(tmp_path):
    labels = Annotations.read(operators_files(tmp_path / "in"))
    first = labels.images[0]
    moved = replace(first.polygons[1], points=np.array(SQUARE) + 0.5)
    changed = replace(first, polygons=(first.polygons[0], moved), note="checked")
    Annotations((changed,), labels.categories).write(tmp_path / "out")
    (before,) = [d for n, d in parsed(tmp_path / "in").items() if "221431" in n]
    (after,) = parsed(tmp_path / "out").values()
    assert after["info"] == {**before["info"], "note": "checked"}
    assert after["version"] == 2
    assert after["objects"][0] == before["objects"][0]
    new = after["objects"][1]
    assert new["segmentation"] == (np.array(SQUARE) + 0.5).tolist()
    assert (new["area"], new["bbox"]) == (64.0, [10.5, 12.5, 18.5, 20.5])
    assert (new["category"], new["group"], new["extra"]) == ("1-1", 3, {"a": [1]})
    assert len(after["objects"]) == 2


def test_what_isat_needs_is_written(tmp_path):
    masks = np.zeros((1, 1, *SHAPE), bool)
    masks[0, 0, 12:21, 10:19] = True
    Annotations.from_masks(masks, names=["map_7"], folder="/data").write(tmp_path)
    assert parsed(tmp_path) == {
        "map_7.json": isat_document(
            isat_object(SQUARE, area=64.0, bbox=[10.0, 12.0, 18.0, 20.0]),
            name="map_7.tiff",
            folder="/data",
        )
    }
    labels = yaml.safe_load((tmp_path / "isat.yaml").read_text())["label"]
    assert [label["name"] for label in labels] == [BACKGROUND, "signal"]
    assert labels[0]["color"] == "#000000"


def test_images_are_chosen_by_name(tmp_path):
    masks = waves(1, 3)
    labels = Annotations.from_masks(masks, names=["a", "b", "c"])
    got = labels.masks(names=["c", "unlabelled", "a"])
    np.testing.assert_array_equal(got[0, [0, 2]], masks[0, [2, 0]])
    assert not got[0, 1].any()
    with pytest.raises(ValueError, match="none of the names"):
        labels.masks(names=["d"])
    with pytest.raises(ValueError, match=r"\(40, 52\) \(Y, X\), not \(52, 40\)"):
        labels.masks(shape=SHAPE[::-1])
    with pytest.raises(ValueError, match="no label is of other"):
        labels.masks(objects=[("other", 1)])


def test_simplified_outlines_have_fewer_corners():
    masks = waves(1, 2)
    exact, simpler = Annotations.from_masks(masks), Annotations.from_masks(masks, tolerance_px=1)
    count = [sum(len(p.points) for i in a.images for p in i.polygons) for a in (exact, simpler)]
    assert count[1] < 0.6 * count[0]
    assert np.mean(simpler.masks() != masks) < 0.1


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_change_nothing(threads):
    masks = waves(3, 5, 1.5)
    one = Annotations.from_masks(masks)
    other = Annotations.from_masks(masks, threads=threads)
    for a, b in zip(one.images, other.images, strict=True):
        assert [p.points.tolist() for p in a.polygons] == [p.points.tolist() for p in b.polygons]


@given(arrays.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_run_lengths_come_back(mask):
    np.testing.assert_array_equal(decode(encode(mask)), mask)


coordinates = st.floats(-1e9, 1e9)


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=5), max_size=3),
    st.text(max_size=20),
)
def test_json_is_indented_as_by_the_standard_library(polygons, text):
    items = [{"before": text, "points": [list(p) for p in polygon]} for polygon in polygons]
    document = {"items": items, text + "x": [text, {}, []]}
    points = [np.array(polygon) for polygon in polygons]
    expected = json.dumps(document, indent=4, ensure_ascii=False)
    assert indented(document, "items", "points", points) == expected


def test_nothing_of_an_operator_is_replaced(tmp_path):
    labels = Annotations.from_masks(waves(2, 2), names=["a", "b"])
    (tmp_path / "b.json").write_text("precious")
    (tmp_path / "a.tiff").write_text("image")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    for file_format in ("isat", "labelme"):
        with pytest.raises(WriteError, match=r"b\.json: exists already"):
            labels.write(tmp_path, file_format)
        assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    with pytest.raises(WriteError, match=r"b\.json: exists already"):
        labels.write(tmp_path / "b.json", "coco")
    labels.write(tmp_path, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "a.tiff", "b.json", "isat.yaml"]
    np.testing.assert_array_equal(Annotations.read(tmp_path).masks(), labels.masks())


def test_what_fails_midway_leaves_all_as_it_was(tmp_path, monkeypatch):
    labels = Annotations.from_masks(waves(1, 4), names=["a", "b", "c", "d"])
    labels.write(tmp_path / "out")
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    from pathlib import Path

    rename = Path.rename

    def failing(self, target):
        if self.parent.name == "new" and self.name == "c.json":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    other = Annotations.from_masks(waves(1, 4, seed=9), names=["a", "b", "c", "d"])
    with pytest.raises(WriteError, match="No space left"):
        other.write(tmp_path / "out", overwrite=True)
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before
    with pytest.raises(WriteError, match="No space left"):
        other.write(tmp_path / "elsewhere" / "deep")
    assert not (tmp_path / "elsewhere").exists()


def test_categories_that_are_there_are_kept(tmp_path):
    masks = waves(1, 1)
    (tmp_path / "isat.yaml").write_text("label:\n- {color: '#000000', name: __background__}\n")
    with pytest.raises(WriteError, match=r"isat\.yaml: lacks the category 'signal'"):
        Annotations.from_masks(masks).write(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["isat.yaml"]
    text = (
        "label:\n- {color: '#000000', name: __background__}\n- {color: '#111111', name: signal}\n"
    )
    (tmp_path / "isat.yaml").write_text(text)
    Annotations.from_masks(masks).write(tmp_path)
    assert (tmp_path / "isat.yaml").read_text() == text


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"names": ["a"]}, "names must be 3"),
        ({"names": ["a", "a", "b"]}, "two images have the name 'a'"),
        ({"objects": [1]}, "objects must be 2"),
        ({"objects": [1, 1]}, "same category and group"),
        ({"objects": [0, 1]}, "objects must be at least 1"),
        ({"objects": [("a", 1, 2), 1]}, r"\(category, group\)"),
        ({"objects": ["a", BACKGROUND]}, "category of holes"),
        ({"tolerance_px": -1}, "tolerance_px"),
    ],
)
def test_arguments_that_do_not_fit(arguments, match):
    with pytest.raises(ValueError, match=match):
        Annotations.from_masks(waves(2, 3), **arguments)


@pytest.mark.parametrize("name", ["../a", "/a", "a/../../b", "a\\b"])
def test_names_do_not_lead_out_of_the_folder(tmp_path, name):
    labels = Annotations.from_masks(waves(1, 1), names=[name])
    with pytest.raises(ValueError, match="no name of a file"):
        labels.write(tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_progress_is_told(tmp_path):
    labels = Annotations.from_masks(waves(2, 3))
    calls = []
    labels.write(tmp_path, progress=lambda done, of: calls.append((done, of)))
    assert calls == [(1, 3), (2, 3), (3, 3)]
    calls.clear()
    Annotations.read(tmp_path, progress=lambda done, of: calls.append(done))
    assert calls == [1, 2, 3]


def test_crossing_polygons_are_read_with_a_warning(tmp_path):
    bow = [[2, 2], [12, 12], [12, 2], [2, 12]]
    write_json(tmp_path / "a.json", isat_document(isat_object(SQUARE), isat_object(bow, group=5)))
    with pytest.warns(IosfastWarning, match=r"1 polygon crosses itself .*polygon 2 of a"):
        labels = Annotations.read(tmp_path)
    mask = labels.masks(objects=[("signal", 5)])[0, 0]
    assert mask[7, 7]
    assert mask[3, 2]
    assert not mask[3, 7]


def read_error(path, match):
    with pytest.raises(ReadError, match=match) as caught:
        Annotations.read(path)
    assert "\n" not in str(caught.value)


OBJECTS = {
    "two points": (isat_object([[1, 2], [3, 4]]), "object 2: its polygon must be at least three"),
    "no points": (isat_object([]), "object 2: its polygon must be at least three"),
    "not finite": (isat_object([[1, 2], [3, float("nan")], [5, 6]]), "object 2: .*finite"),
    "text": (isat_object([["1", "2"], ["3", "4"], ["5", "6"]]), "object 2: .*list of"),
    "flat": (isat_object([1, 2, 3, 4, 5, 6]), "object 2: .*at least three"),
    "nothing": (isat_object(None), "object 2: "),
    "no object": ("signal", "object 2: is no object"),
    "layer": (isat_object(SQUARE, layer="top"), "object 2: layer must be"),
    "group": (isat_object(SQUARE, group=1.5), "object 2: group must be"),
    "group of text": (isat_object(SQUARE, group="1-1"), "object 2: group must be"),
    "category": (isat_object(SQUARE, category=["a"]), "object 2: category must be"),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_objects_that_are_none(tmp_path, name):
    bad, match = OBJECTS[name]
    write_json(tmp_path / "good.json", isat_document(isat_object(SQUARE)))
    path = write_json(tmp_path / "map 7.json", isat_document(isat_object(SQUARE), bad))
    read_error(tmp_path, rf"map 7\.json: {match}")
    read_error(path, rf"map 7\.json: {match}")


@pytest.mark.parametrize("size", [{"width": 0}, {"height": "40"}, {"width": None}, {"width": 1e3}])
def test_sizes_that_are_none(tmp_path, size):
    write_json(tmp_path / "a.json", isat_document(**size))
    read_error(tmp_path, r"a\.json: its image has no size")


def test_images_of_other_sizes(tmp_path):
    write_json(tmp_path / "a.json", isat_document(isat_object(SQUARE)))
    write_json(tmp_path / "b.json", isat_document(isat_object(SQUARE), height=41))
    with pytest.raises(ReadError, match=r"image b is \(41, 52\) \(Y, X\), not \(40, 52\)"):
        Annotations.read(tmp_path, shape=SHAPE)
    labels = Annotations.read(tmp_path)
    with pytest.raises(ValueError, match="several sizes: a is"):
        labels.masks()


def test_files_that_are_cut(tmp_path):
    text = json.dumps(isat_document(isat_object(SQUARE)))
    path = tmp_path / "a.json"
    for length in range(0, len(text), 7):
        path.write_text(text[:length])
        read_error(tmp_path, r"a\.json: the labels cannot be read")


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        5,
        "ISAT",
        {"info": {"description": "isat"}, "objects": []},
        {"info": "ISAT", "objects": []},
        {"images": []},
    ],
)
def test_json_that_is_no_label_file(tmp_path, document):
    path = write_json(tmp_path / "b.json", document)
    read_error(path, "neither ISAT, labelme nor COCO")
    read_error(tmp_path, "neither ISAT, labelme nor COCO")
    write_json(tmp_path / "a.json", isat_document(isat_object(SQUARE)))
    read_error(tmp_path, r"b\.json: is no label file of isat")


def test_places_without_labels(tmp_path):
    read_error(tmp_path, "holds no labels: is empty")
    read_error(tmp_path / "missing", "missing: .*cannot be read|No such file")
    (tmp_path / "a.txt").write_text("?")
    read_error(tmp_path / "a.txt", "is no JSON, PNG or TIFF")
    (tmp_path / "a.json").write_bytes(b"[" * 100_000)
    read_error(tmp_path, r"a\.json: the labels cannot be read")


def test_pictures_that_are_no_masks(tmp_path):
    colors = np.random.default_rng(0).integers(0, 255, (*SHAPE, 3), np.uint8)
    Image.fromarray(colors).save(tmp_path / "a.png")
    read_error(tmp_path, r"a\.png: is no image of masks")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    read_error(tmp_path, r"a\.png: the masks cannot be read")
    (tmp_path / "a.png").unlink()
    tifffile.imwrite(tmp_path / "a.tif", np.arange(40 * 52, dtype=np.uint16).reshape(SHAPE))
    read_error(tmp_path, r"values, so it is no image of masks")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(SHAPE, np.float32))
    read_error(tmp_path, r"a\.tif: is no image of masks")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3, *SHAPE), np.uint8), photometric="minisblack")
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((2, *SHAPE), np.uint8), photometric="minisblack")
    read_error(tmp_path, r"b\.tif: has 2 pages, but .*a\.tif has 3")
