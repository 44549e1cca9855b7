"""Masks of the cortex: drawn, and read from files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import reference
import tifffile
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from iosfast import ReadError, cortex_mask, read_mask

SHAPE = (5, 8)
INSIDE = np.random.default_rng(3).integers(0, 3, SHAPE, np.uint8)

# No corner lies on the height of a pixel's centre, and no edge through one (but by a rare chance
# that the fractions exclude): which side such a pixel belongs to is nobody's business.
corners = st.tuples(
    st.integers(-8, 40).map(lambda n: n + 0.3217), st.integers(-8, 40).map(lambda n: n + 0.4391)
)


@given(
    st.lists(corners, min_size=3, max_size=7, unique=True),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
)
def test_an_outline_is_filled_smoothed_and_cut(polygon, shape):
    expected = reference.cortex_mask(polygon, shape)
    if not expected.any():
        with pytest.raises(ValueError, match="no pixel"):
            cortex_mask(polygon, shape)
        return
    got = cortex_mask(polygon, shape)
    assert (got.dtype, got.shape) == (bool, shape)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(cortex_mask(np.array(polygon[::-1]), shape), expected)


def test_a_rectangle_keeps_its_straight_sides_and_loses_its_corners():
    mask = cortex_mask([(9.5, 19.5), (49.5, 19.5), (49.5, 39.5), (9.5, 39.5)], (60, 70))
    filled = np.zeros((60, 70), bool)
    filled[20:40, 10:50] = True
    assert not (mask & ~filled).any()
    lost = filled & ~mask
    assert lost[20, 10]
    assert lost[39, 49]
    assert not lost[:, 16:44].any()
    np.testing.assert_array_equal(lost[20:40, 10:50], lost[20:40, 10:50][::-1, ::-1])


@pytest.mark.parametrize(
    "polygon",
    [
        [],
        [(1, 2), (3, 4)],
        [1, 2, 3],
        [(1, 2, 3), (4, 5, 6), (7, 8, 9)],
        [(0, 0), (0, np.nan), (5, 5)],
        [(0, 0), (0, np.inf), (5, 5)],
        [(100, 100), (120, 100), (110, 120)],
        [(2.2, 2.2), (2.4, 2.2), (2.3, 2.4)],
    ],
)
def test_outlines_that_are_none(polygon):
    with pytest.raises(ValueError, match="polygon"):
        cortex_mask(polygon, (20, 30))


def rgba(grey):
    return np.stack([grey * 0, grey, grey * 0, grey * 0 + 255], axis=-1)


def palette(grey):
    image = Image.fromarray(grey)
    image.putpalette([0, 0, 0, 0, 0, 255, 9, 9, 9])
    return image


WRITERS = {
    "grey.png": lambda path: Image.fromarray(INSIDE * 100).save(path),
    "bilevel.png": lambda path: Image.fromarray(INSIDE > 0).save(path),
    "deep.png": lambda path: Image.fromarray(INSIDE.astype(np.uint16) * 20000).save(path),
    "color.PNG": lambda path: Image.fromarray(rgba(INSIDE)[..., :3]).save(path),
    "alpha.png": lambda path: Image.fromarray(rgba(INSIDE)).save(path),
    "palette.png": lambda path: palette(INSIDE).save(path),
    "grey.bmp": lambda path: Image.fromarray(INSIDE).save(path),
    "byte.tif": lambda path: tifffile.imwrite(path, INSIDE),
    "deep.TIFF": lambda path: tifffile.imwrite(path, INSIDE.astype(">u2") * 20000),
    "float.tif": lambda path: tifffile.imwrite(path, INSIDE / np.float32(2)),
    "color.tiff": lambda path: tifffile.imwrite(path, rgba(INSIDE)[..., :3], photometric="rgb"),
    "bool.npy": lambda path: np.save(path, INSIDE > 0),
    "signed.npy": lambda path: np.save(path, -INSIDE.astype(np.int32)),
    "fortran.npy": lambda path: np.save(path, np.asfortranarray(INSIDE)),
}


@pytest.mark.parametrize("name", WRITERS)
def test_images_are_used_as_they_are(tmp_path, name):
    WRITERS[name](tmp_path / name)
    for path in (tmp_path / name, str(tmp_path / name)):
        got = read_mask(path, SHAPE)
        assert (got.dtype, got.shape) == (bool, SHAPE)
        np.testing.assert_array_equal(got, INSIDE > 0)


@pytest.mark.parametrize("dtype", ["?", "u1", ">u2", "i4", "f4", "f8"])
def test_arrays_are_used_as_they_are(dtype):
    np.testing.assert_array_equal(read_mask(INSIDE.astype(dtype), SHAPE), INSIDE > 0)
    np.testing.assert_array_equal(read_mask(INSIDE.T.astype(dtype).T, SHAPE), INSIDE > 0)


def test_the_shape_may_be_any_pair():
    outline = [(-9, -9), (40, -9), (40, 9), (-9, 9)]
    for pair in (list, np.array):
        np.testing.assert_array_equal(read_mask(INSIDE, pair(SHAPE)), INSIDE > 0)
        assert cortex_mask(outline, pair((20, 30))).shape == (20, 30)


@pytest.mark.parametrize(
    ("shape", "error"),
    [((0, 5), ValueError), ((5,), ValueError), ((5.5, 5), TypeError), (5, TypeError)],
)
def test_shapes_that_are_none(shape, error):
    with pytest.raises(error, match="shape"):
        cortex_mask([(0, 0), (9, 0), (9, 9)], shape)
    with pytest.raises(error, match="shape"):
        read_mask(INSIDE, shape)


@pytest.mark.parametrize(
    ("mask", "error", "match"),
    [
        (INSIDE.T, ValueError, r"shape \(8, 5\), but the frames are \(5, 8\)"),
        (INSIDE[:4], ValueError, "shape"),
        (INSIDE[np.newaxis], ValueError, "shape"),
        (np.zeros((0, 0)), ValueError, "shape"),
        (INSIDE * 0, ValueError, "empty"),
        (np.zeros(SHAPE, bool), ValueError, "empty"),
        (INSIDE * np.nan, ValueError, "finite"),
        (np.where(INSIDE, np.inf, 0), ValueError, "finite"),
        (INSIDE * 1j, TypeError, "numbers"),
        (INSIDE.astype(str), TypeError, "numbers"),
        (INSIDE.astype(object), TypeError, "numbers"),
    ],
)
def test_arrays_that_are_no_mask(mask, error, match):
    with pytest.raises(error, match=match):
        read_mask(mask, SHAPE)


@pytest.mark.parametrize("name", ["m.png", "m.tif", "m.npy"])
def test_images_of_another_size_are_named(tmp_path, name):
    WRITERS[{"png": "grey.png", "tif": "byte.tif", "npy": "bool.npy"}[name[2:]]](tmp_path / name)
    with pytest.raises(ValueError, match=name.replace(".", r"\.") + r" has shape \(5, 8\)"):
        read_mask(tmp_path / name, (5, 9))


@given(st.lists(corners, min_size=3, max_size=5, unique=True))
def test_outlines_in_json(tmp_path_factory, polygon):
    assume(reference.cortex_mask(polygon, (20, 30)).any())
    path = tmp_path_factory.mktemp("json") / "outline.json"
    path.write_text(json.dumps(polygon))
    np.testing.assert_array_equal(read_mask(path, (20, 30)), cortex_mask(polygon, (20, 30)))


@pytest.mark.parametrize("text", ["", "[[1, 2], [3", "\ud800", "\0"])
def test_json_that_is_none(tmp_path, text):
    path = tmp_path / "outline.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ReadError, match="cannot be read") as caught:
        read_mask(path, SHAPE)
    assert caught.value.path == str(path)


@pytest.mark.parametrize(
    "outline", [{}, {"polygon": [[0, 0], [9, 0], [9, 9]]}, None, 5, "text", [], [[1], [2, 3]]]
)
def test_json_without_an_outline(tmp_path, outline):
    path = tmp_path / "outline.json"
    path.write_text(json.dumps(outline))
    with pytest.raises(ValueError):
        read_mask(path, SHAPE)


#: Nothing, text, the first bytes of a PNG, and .npy files whose header is cut and nonsense.
NO_IMAGES = (
    b"",
    b"not an image, nor anything else",
    b"\x89PNG\r\n\x1a\n",
    b"\x93NUMPY\x01\0",
    b"\x93NUMPY\x01\0\x02\0({",
)


@pytest.mark.parametrize("name", ["m.png", "m.tif", "m.npy", "m.json", "m.npz", "m"])
def test_files_that_are_no_image(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(ReadError, match="cannot be read"):
        read_mask(path, SHAPE)
    for content in NO_IMAGES:
        path.write_bytes(content)
        with pytest.raises(ReadError, match="cannot be read") as caught:
            read_mask(path, SHAPE)
        assert caught.value.path == str(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(ReadError, match="cannot be read"):
        read_mask(path, SHAPE)


def mask_or_none(path):
    try:
        return read_mask(path, SHAPE)
    except ValueError:  # that it cannot be read, or has another size
        return None


@pytest.mark.parametrize("name", ["grey.png", "byte.tif", "bool.npy", "float.tif"])
def test_images_that_are_cut(tmp_path, name):
    path = tmp_path / name
    WRITERS[name](path)
    content = path.read_bytes()
    masks = []
    for length in range(len(content)):
        path.write_bytes(content[:length])
        masks.append(mask_or_none(path))
    assert all(mask is None for mask in masks[: len(content) // 2])
    for mask in masks:  # unless what is lost was not part of the image
        assert mask is None or (mask == (INSIDE > 0)).all()


def test_a_pickle_is_not_opened(tmp_path):
    path = tmp_path / "mask.npy"
    np.save(path, np.array([[object()]]), allow_pickle=True)
    with pytest.raises(ReadError, match="cannot be read"):
        read_mask(path, (1, 1))
