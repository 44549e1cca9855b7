"""One frame at a time: at least half as fast as a whole file."""

import numpy as np
import tifffile
from conftest import FRAME_RATE_HZ, SHAPE

import iosfast


def test_push(race, recording):
    movie = np.array(tifffile.memmap(recording, mode="r")[:1800])

    def whole():
        return iosfast.preprocess(recording, frame_rate_hz=FRAME_RATE_HZ)

    copies = -(-len(tifffile.memmap(recording, mode="r")) // len(movie))

    def pushed():
        live = iosfast.Preprocessor(SHAPE, frame_rate_hz=FRAME_RATE_HZ)
        maps = []
        for _ in range(copies):
            for frame in movie:
                maps += live.push(frame)
        return maps

    expected = iosfast.preprocess(movie, frame_rate_hz=FRAME_RATE_HZ)
    for got, change in zip(pushed(), expected.change, strict=False):
        np.testing.assert_array_equal(got.change, change)
    race(
        "as many frames pushed one at a time",
        pushed,
        {"preprocess of the whole file": (whole, "2")},
        rounds=5,
    )
