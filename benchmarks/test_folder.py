"""A folder of single-frame TIFFs: as fast as opening and reading the files."""

import numpy as np
import tifffile
from conftest import FRAME_RATE_HZ

import iosfast


def test_folder(race, recording, tmp_path, frames):
    movie = tifffile.memmap(recording, mode="r")[: max(360, frames // 2)]
    for i, frame in enumerate(movie):
        tifffile.imwrite(tmp_path / f"frame_{i:06d}.tif", frame, metadata=None)
    paths = sorted(tmp_path.iterdir())

    def read_all():
        for path in paths:
            with open(path, "rb", buffering=0) as file:
                file.read()

    def ours():
        return iosfast.preprocess(tmp_path, frame_rate_hz=FRAME_RATE_HZ)

    read_all()
    np.testing.assert_array_equal(
        ours().binned, iosfast.preprocess(np.array(movie), frame_rate_hz=FRAME_RATE_HZ).binned
    )
    race(
        f"folder of {len(paths):,} single-frame TIFFs to maps, cached",
        ours,
        {"open and read each file": (read_all, "1.3")},
    )
