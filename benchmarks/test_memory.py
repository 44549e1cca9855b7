"""Peak resident memory of a run that writes its maps, mapped pages included."""

import os
import subprocess
import sys

import pytest
from conftest import FRAME_RATE_HZ, SHAPE

SCRIPT = """
import sys
import iosfast
maps = iosfast.preprocess(sys.argv[1], shape=(512, 512), frame_rate_hz=60.0, out=sys.argv[2])
status = open("/proc/self/status").read()
print(len(maps), status.partition("VmHWM:")[2].split()[0])
"""


@pytest.mark.parametrize("minutes", [2, 20, 150])
def test_peak_memory(tmp_path, note, minutes, timed, benchmark):
    """A sparse raw file: any length, without the disk space."""
    if not timed:
        minutes = min(minutes, 4)
    path = tmp_path / "long.raw"
    frames = int(minutes * 60 * FRAME_RATE_HZ)
    path.touch()
    os.truncate(path, frames * SHAPE[0] * SHAPE[1] * 2)
    command = [sys.executable, "-c", SCRIPT, str(path), str(tmp_path / "maps")]
    result = benchmark.pedantic(
        lambda: subprocess.run(command, capture_output=True, text=True, check=True), rounds=1
    )
    maps, peak_kib = map(int, result.stdout.split())
    assert maps == (minutes * 60 - 1) // 5
    assert peak_kib < 400 * 1024
    note(
        f"Peak resident memory, {minutes} min ({frames:,} frames) to disk: {peak_kib / 1024:.0f} "
        "MiB; aim: 400."
    )
