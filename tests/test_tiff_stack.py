"""Stacks that are filled as a run proceeds have a directory for each of their images."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from recordings import some_frames

from iosfast import tiff_stack


@pytest.mark.parametrize(
    ("shape", "dtype", "classic"),
    [
        ((1_000_000, 46, 46), "u2", False),  # 4.23 GB of pixels, and 4.49 GB with directories
        ((900_000, 46, 46), "u2", True),
        ((8_000, 512, 512), "u2", True),
        ((8_200, 512, 512), "u2", False),
        ((5_400, 512, 512, 3), "u1", True),
        ((5_460, 512, 512, 3), "u1", False),
        ((16_000_000, 1, 1), "u1", True),
        ((17_000_000, 1, 1), "u1", False),
    ],
)
def test_directories_count_for_the_limit_of_classic_tiff(shape, dtype, classic):
    assert tiff_stack.is_classic(shape, dtype) == classic


@pytest.mark.parametrize("colours", [(), (3,)])
@pytest.mark.parametrize("pixel_size_mm", [None, 10 / 512])
def test_the_room_for_a_directory_suffices(tmp_path, colours, pixel_size_mm):
    path, shape = tmp_path / "a.tif", (200, 3, 5, *colours)
    dtype = "u1" if colours else "f4"
    tiff_stack.make_stack(
        path, shape, dtype, step_s=1 / 3, pixel_size_mm=pixel_size_mm, display_range=(-1, 1)
    )
    beside = path.stat().st_size - np.prod(shape) * np.dtype(dtype).itemsize
    assert beside <= 200 * tiff_stack.DIRECTORY_BYTES
    with tifffile.TiffFile(path) as tif:
        assert tif.is_imagej
        assert len(tif.pages) == 200


@pytest.mark.parametrize("limit", [200 * (30 + 256), 200 * (30 + 256) - 1])
def test_stacks_on_both_sides_of_the_limit_have_all_directories(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(tiff_stack, "CLASSIC_TIFF_BYTES", limit)
    path, frames = tmp_path / "a.tif", some_frames((200, 3, 5))
    at = tiff_stack.make_stack(path, frames.shape, "u2", step_s=1.0, pixel_size_mm=0.02)
    with path.open("r+b") as file:
        file.seek(at)
        file.write(frames.astype("<u2").tobytes())
    with tifffile.TiffFile(path) as tif:
        assert tif.is_bigtiff == (limit < 200 * (30 + 256))
        pages = [page.aspage().asarray() for page in tif.pages]
    np.testing.assert_array_equal(np.stack(pages), frames)
