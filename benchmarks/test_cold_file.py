"""A file that is not in the page cache: as fast as dd."""

import subprocess

from conftest import FRAME_RATE_HZ, forget

import iosfast


def test_cold_file(race, recording, frames):
    maps = iosfast.preprocess(recording, frame_rate_hz=FRAME_RATE_HZ)
    assert maps.bin_frames.sum() == frames // 60 * 60
    command = ["dd", f"if={recording}", "of=/dev/null", "bs=8M", "status=none"]
    race(
        "path to maps, cold file",
        lambda: iosfast.preprocess(recording, frame_rate_hz=FRAME_RATE_HZ),
        {"dd bs=8M": (lambda: subprocess.run(command, check=True), "1.1")},
        rounds=9,
        prepare=lambda: forget(recording),
    )
