"""Labels in the programs that they are for: ISAT, labelme, pycocotools; and the command line."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from ISAT.annotation import Annotation
from ISAT.formats.coco import COCO as IsatCoco
from ISAT.formats.isat import ISAT
from ISAT.formats.labelme import LABELME
from labelme._label_file import LabelFile
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from scipy.ndimage import binary_dilation, binary_opening
from some_labels import SHAPE, SQUARE, apart, isat_document, isat_object, parsed, waves, write_json

from iosfast import Annotations, IosfastWarning, ReadError
from iosfast.cli import main
from iosfast.run_lengths import encode, pack, unpack

NAMES = ["20230922_221431", "20230922_221436", "20230922_221441"]


@pytest.fixture
def clip(tmp_path):
    """A folder of images, as ISAT opens it, and labels of them."""
    folder = tmp_path / "segment_0"
    folder.mkdir()
    for name in NAMES:
        Image.fromarray(np.zeros((*SHAPE, 3), np.uint8)).save(folder / f"{name}.tiff")
    masks = waves(2, 3)
    labels = Annotations.from_masks(masks, names=NAMES, objects=["1-1", "1-2"], folder=folder)
    return folder, labels, masks


def through_isat(folder):
    """Open every image in ISAT and save its labels again."""
    for name in NAMES:
        label = folder / f"{name}.json"
        annotation = Annotation(str(folder / f"{name}.tiff"), str(label)).load_annotation()
        assert (annotation.height, annotation.width, annotation.depth) == (*SHAPE, 3)
        label.unlink()
        assert annotation.save_annotation()


def test_isat_opens_our_labels_and_saves_them_the_same(clip):
    folder, labels, masks = clip
    labels.write(folder)
    ours = {p.name: p.read_bytes() for p in folder.glob("*.json")}
    through_isat(folder)
    assert {p.name: p.read_bytes() for p in folder.glob("*.json")} == ours
    np.testing.assert_array_equal(Annotations.read(folder).masks(objects=labels.objects), masks)


def test_labels_of_isat_come_back_to_the_letter(clip, tmp_path):
    folder, labels, _ = clip
    labels.write(folder)
    converter = ISAT()
    converter.read_from_ISAT(str(folder))
    assert converter.cates == ("__background__", "1-1", "1-2")
    theirs = tmp_path / "theirs"
    converter.save_to_ISAT(str(theirs))
    Annotations.read(theirs).write(tmp_path / "again")
    names = sorted(p.name for p in theirs.glob("*.json"))
    assert len(names) == 3
    for name in names:
        assert (tmp_path / "again" / name).read_bytes() == (theirs / name).read_bytes()


def test_isat_imports_our_coco_file_and_we_import_its(tmp_path):
    masks = waves(2, 2)
    filled = Annotations.from_masks(masks[:, :, 8:30, 8:30])
    outer = [[p for p in image.polygons if p.category == "signal"][:1] for image in filled.images]
    from dataclasses import replace

    images = tuple(replace(i, polygons=tuple(p)) for i, p in zip(filled.images, outer, strict=True))
    labels = Annotations(images)
    labels.write(tmp_path / "ours.json", "coco")
    isat = IsatCoco()
    isat.read_from_coco(str(tmp_path / "ours.json"))
    for image in labels.images:
        (theirs,) = isat.annos[image.name].objs
        assert theirs.category == "signal"
        np.testing.assert_array_equal(theirs.segmentation, image.polygons[0].points)
        isat.annos[image.name].info.description = "ISAT"
    isat.save_to_coco(str(tmp_path / "theirs.json"), ("__background__", "signal"))
    again = Annotations.read(tmp_path / "theirs.json")
    np.testing.assert_array_equal(again.masks()[0], labels.masks().any(axis=0))


def test_isat_imports_our_labelme_files(clip, tmp_path):
    _, labels, _ = clip
    labels.write(tmp_path / "labelme", "labelme")
    isat = LABELME()
    isat.read_from_LABELME(str(tmp_path / "labelme"))
    for image in labels.images:
        theirs = isat.annos[image.name].objs
        assert [(o.category, o.group, o.layer) for o in theirs] == [
            (p.category, p.group, p.layer) for p in image.polygons
        ]
        for o, p in zip(theirs, image.polygons, strict=True):
            np.testing.assert_array_equal(o.segmentation, p.points)


def test_labelme_opens_our_labels(clip):
    folder, labels, _ = clip
    labels.write(folder, "labelme")
    for image in labels.images:
        opened = LabelFile(str(folder / f"{image.name}.json"))
        assert opened.image_path == image.file_name
        for shape, polygon in zip(opened.shapes, image.polygons, strict=True):
            assert (shape["label"], shape["shape_type"]) == (polygon.category, "polygon")
            assert shape["group_id"] == (polygon.group or None)
            np.testing.assert_array_equal(shape["points"], polygon.points)


def png(mask):
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def labelme_document():
    height, width = SHAPE

    def shape(label, points, kind="polygon", **more):
        more = {"group_id": None, "description": "", "flags": {}, "mask": None, **more}
        return {"label": label, "points": points, "shape_type": kind, **more}

    return {
        "version": "5.4.1",
        "flags": {"checked": True},
        "shapes": [
            shape("1-1", SQUARE, group_id=4, description="sure", flags={"a": True}),
            shape("box", [[30, 5], [24.0, 9]], "rectangle"),
            shape("dot", [[3, 4]], "point"),
            shape("m", [[0, 0], [1, 1]], "mask", mask=png(np.ones((2, 2), bool))),
        ],
        "imagePath": "..\\20230922_221431.tiff",
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
        "colour": [1, 2.5],
    }


def test_labelme_files_come_back_unchanged(tmp_path):
    write_json(tmp_path / "in" / "a.json", labelme_document())
    with pytest.warns(IosfastWarning, match=r"2 shapes are no polygons \(mask, point\)"):
        labels = Annotations.read(tmp_path / "in")
    labels.write(tmp_path / "out", "labelme")
    assert parsed(tmp_path / "out") == parsed(tmp_path / "in")
    masks = labels.masks()
    assert labels.objects == (("1-1", 4), ("box", 0))
    assert np.argwhere(masks[1, 0]).min(axis=0).tolist() == [5, 24]
    assert np.argwhere(masks[1, 0]).max(axis=0).tolist() == [9, 30]
    labels.write(tmp_path / "isat")
    np.testing.assert_array_equal(Annotations.read(tmp_path / "isat").masks(), masks)


@given(arrays.arrays(np.bool_, st.tuples(st.integers(1, 20), st.integers(1, 20))))
def test_run_lengths_are_those_of_pycocotools(mask):
    ours = encode(mask)
    theirs = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert ours["size"] == theirs["size"]
    assert ours["counts"].encode() == theirs["counts"]


@given(st.lists(st.integers(0, 2**30), max_size=40))
def test_packed_counts_come_back(counts):
    assert unpack(pack(np.array(counts, np.int64))).tolist() == counts


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # its own
@pytest.mark.parametrize("file_format", ["coco", "coco-rle"])
def test_pycocotools_sees_the_masks(tmp_path, file_format, capsys):
    masks = waves(2, 3)
    labels = Annotations.from_masks(masks, names=NAMES)
    labels.write(tmp_path / "c.json", file_format)
    coco = COCO(str(tmp_path / "c.json"))
    capsys.readouterr()
    for image in coco.loadImgs(coco.getImgIds()):
        t = NAMES.index(image["file_name"].removesuffix(".tiff"))
        for annotation in coco.loadAnns(coco.getAnnIds(image["id"])):
            exact = masks[annotation["group"] - 1, t]
            seen = coco.annToMask(annotation).astype(bool)
            if isinstance(annotation["segmentation"], dict):
                np.testing.assert_array_equal(seen, exact)
                assert annotation["area"] == exact.sum()
                assert annotation["bbox"] == coco_mask.toBbox(coco.annToRLE(annotation)).tolist()
            else:  # a pixel more or less at the border, in its own way; thin parts may vanish
                box = np.ones((3, 3))
                assert (binary_opening(exact, box) <= binary_dilation(seen, box)).all()
                assert (seen <= binary_dilation(exact, box)).all()
    assert all(isinstance(a["iscrowd"], bool) for a in coco.dataset["annotations"])


def coco_document():
    height, width = SHAPE
    rle = coco_mask.encode(np.asfortranarray(waves(1, 1)[0, 0].astype(np.uint8)))
    counts = {"size": [height, width], "counts": [0, 50, height * width - 50]}
    packed = {"size": rle["size"], "counts": rle["counts"].decode()}
    flat = [n for point in SQUARE for n in point]
    image = {"height": height, "width": width, "license": 3}
    return {
        "info": {"year": 2026},
        "licenses": [{"id": 3}],
        "images": [
            {"id": 7, "file_name": "a/x.png", **image},
            {"id": 2, "file_name": "a/y.png", **image},
            {"id": 9, "file_name": "a/z.png", **image},
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 5, "segmentation": [flat], "score": 0.5},
            {"id": 2, "image_id": 7, "category_id": 5, "segmentation": packed, "iscrowd": 1},
            {"id": 8, "image_id": 2, "category_id": 6, "segmentation": counts, "iscrowd": 0},
            {"id": 9, "image_id": 2, "category_id": 6, "segmentation": [flat, flat], "track_id": 4},
        ],
        "categories": [{"id": 5, "name": "1-1", "color": 3}, {"id": 6, "name": "1-2"}],
        "more": {"a": 1},
    }


def test_coco_files_come_back_unchanged(tmp_path):
    document = coco_document()
    path = write_json(tmp_path / "in.json", document)
    labels = Annotations.read(path)
    assert labels.names == ("a/x", "a/y", "a/z")
    labels.write(tmp_path / "out.json", "coco")
    assert json.loads((tmp_path / "out.json").read_text()) == document
    masks = labels.masks(objects=[("1-1", 2), ("1-2", 1), ("1-2", 4)])
    np.testing.assert_array_equal(masks[0, 0], waves(1, 1)[0, 0])
    assert masks[1, 1].sum() == 50
    assert masks[1, 1, :, 0].all()
    assert masks[2, 1].sum() == 81


COCO_ERRORS = {
    "image": ({"image_id": 77}, "annotation 1: is of image 77"),
    "category": ({"category_id": 77}, "annotation 1: has the category 77"),
    "nothing": ({"segmentation": None}, "annotation 1: has no segmentation"),
    "two points": ({"segmentation": [[1, 2, 3, 4]]}, "annotation 1: its polygon must be at least"),
    "half a point": ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "annotation 1: .*x, y, x, y"),
    "pairs": ({"segmentation": [SQUARE]}, "annotation 1: its polygon"),
    "size": (
        {"segmentation": {"size": [3, 3], "counts": [9]}},
        "1: is of .3, 3. pixels",
    ),
    "no size": ({"segmentation": {"counts": [9]}}, "annotation 1: .*no size"),
    "huge": ({"segmentation": {"size": [10**6, 10**6], "counts": [10**12]}}, "too many"),
    "short": ({"segmentation": {"size": [40, 52], "counts": [9]}}, "do not fill 52 x 40"),
    "negative": ({"segmentation": {"size": [40, 52], "counts": [-1, 2081]}}, "do not fill"),
    "damaged": ({"segmentation": {"size": [40, 52], "counts": "ooooooooooo"}}, "damaged"),
    "strange": ({"segmentation": {"size": [40, 52], "counts": "\x01é"}}, "damaged"),
    "text": ({"segmentation": {"size": [40, 52], "counts": ["a"]}}, "whole numbers"),
}


@pytest.mark.parametrize("name", COCO_ERRORS)
def test_annotations_of_coco_that_are_none(tmp_path, name):
    change, match = COCO_ERRORS[name]
    document = coco_document()
    document["annotations"][0].update(change)
    path = write_json(tmp_path / "in.json", document)
    with pytest.raises(ReadError, match=rf"in\.json: .*{match}"):
        Annotations.read(path)


def test_from_one_tool_to_another_and_back(tmp_path):
    masks = waves(2, 3)
    labels = Annotations.from_masks(masks, names=NAMES, objects=["1-1", "1-2"])
    for n, file_format in enumerate(["isat", "labelme", "coco", "isat", "coco-rle", "labelme"]):
        place = tmp_path / (f"{n}.json" if "coco" in file_format else str(n))
        labels.write(place, file_format)
        labels = Annotations.read(place)
        assert set(labels.objects) == {("1-1", 1), ("1-2", 2)}
        np.testing.assert_array_equal(labels.masks(objects=[("1-1", 1), ("1-2", 2)]), masks)


def test_the_command_line_goes_there_and_back(tmp_path, capsys):
    masks = apart(waves(2, 3))
    source = tmp_path / "masks.tif"
    Annotations.from_masks(masks, names=NAMES).write(source, "tiff")
    assert main(["annotate", "export", str(source), str(tmp_path / "isat")]) == 0
    assert "3 images, 2 objects" in capsys.readouterr().out
    assert len(list((tmp_path / "isat").glob("*.json"))) == 3
    assert main(["annotate", "import", str(tmp_path / "isat"), str(tmp_path / "again.tif")]) == 0
    np.testing.assert_array_equal(Annotations.read(tmp_path / "again.tif").masks(), masks)
    out = str(tmp_path / "c.json")
    arguments = ["annotate", "export", str(tmp_path / "isat"), out, "--format", "coco-rle"]
    assert main(arguments) == 0
    np.testing.assert_array_equal(Annotations.read(out).masks(), masks)
    capsys.readouterr()
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("iosfast: error:")
    assert "exists already" in error
    assert error.count("\n") == 1
    assert main([*arguments, "--overwrite", "--shape", "40,52"]) == 0
    assert main([*arguments, "--overwrite", "--shape", "40,53"]) == 1
    assert "(40, 52) (Y, X), not (40, 53)" in capsys.readouterr().err


def test_the_command_line_names_what_is_wrong(tmp_path, capsys):
    write_json(tmp_path / "a.json", isat_document(isat_object([[1, 2], [3, 4]])))
    assert main(["annotate", "import", str(tmp_path), str(tmp_path / "m.tif")]) == 1
    error = capsys.readouterr().err
    assert "a.json: object 1: its polygon must be at least three" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "m.tif").exists()
