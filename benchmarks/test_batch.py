"""What a batch costs beside the plain calls, and how long it takes to plan one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import FRAME_RATE_HZ, SHAPE, SMALL_SHAPE, read_anew

import iosfast

SECTION = "Batch"
RECIPE = {"interval_bins": 2}
pytestmark = pytest.mark.filterwarnings("ignore::iosfast.IosfastWarning")


@pytest.fixture(scope="module")
def archive(tmp_path_factory, timed):
    """Twenty recordings, of 126 MB each where times are taken."""
    count, frames, shape = (20, 240, SHAPE) if timed else (2, 240, SMALL_SHAPE)
    root = tmp_path_factory.mktemp("archive")
    random = np.random.default_rng(0)
    movie = random.integers(15_000, 25_000, (frames, *shape), np.uint16)
    for number in range(count):
        movie[:, 0, 0] = number
        (root / f"m{number}").mkdir()
        tifffile.imwrite(root / f"m{number}" / "s.tif", movie, photometric="minisblack")
    read_anew(root)
    yield root
    shutil.rmtree(root)


def test_overhead(archive, tmp_path, timed, section):
    """The time of each recording more, as a ratio, so that the start of the workers is apart."""
    cores = len(os.sched_getaffinity(0))
    paths = sorted(archive.glob("*/s.tif"))

    def plain(number):
        for path in paths[:number]:
            out = tmp_path / "plain" / path.parent.name
            iosfast.preprocess(
                path,
                out=out,
                frame_rate_hz=FRAME_RATE_HZ,
                recipe=iosfast.Recipe(**RECIPE),
                threads=cores,
            )

    def batch(number):
        result = iosfast.batch(
            [path.parent for path in paths[:number]],
            tmp_path / "batch",
            frame_rate_hz=FRAME_RATE_HZ,
            recipe=RECIPE,
            workers=1,
            threads=cores,
            picture=False,
        )
        assert not result.failed

    def seconds(function, number):
        begin = time.perf_counter()
        function(number)
        return time.perf_counter() - begin

    few, many = (2, 20) if timed else (1, 2)
    ratios, starts = [], []
    for turn in range(5 if timed else 1):
        took = {}
        for number in (few, many):
            for function in (plain, batch):
                took[function, number] = seconds(function, number)
                if turn == 0 and number == many and function is batch:
                    _same(tmp_path, paths)
                shutil.rmtree(tmp_path / function.__name__)
        each = {f: (took[f, many] - took[f, few]) / (many - few) for f in (plain, batch)}
        ratios.append(each[batch] / each[plain])
        starts.append(took[batch, few] - few * each[batch])
    if timed:
        size = paths[0].stat().st_size / 1e6
        told = f"{np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        section(SECTION).append(
            f"* Each recording more of {size:.0f} MB takes {told} times what `preprocess` to disk "
            f"takes (aim: 1.05); the workers start in {np.median(starts):.1f} s."
        )


def _same(folder: Path, paths: list[Path]) -> None:
    """Both wrote the same bits."""
    plain = folder / "plain"
    if not plain.exists():
        return
    for path in paths:
        name = path.parent.name
        for file in (plain / name).iterdir():
            twin = folder / "batch" / name / "s.tif" / "maps" / file.name
            assert twin.read_bytes() == file.read_bytes()


def test_planning(tmp_path, timed, section):
    """Ten thousand small recordings: to plan anew, and again where all are done."""
    count = 10_000 if timed else 20
    movie = np.random.default_rng(0).integers(0, 9, (20, 8, 8), np.uint16)
    tifffile.imwrite(tmp_path / "one.tif", movie, photometric="minisblack")
    content = (tmp_path / "one.tif").read_bytes()
    for number in range(count):
        folder = tmp_path / "archive" / f"m{number // 100}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"session {number} a.tif").write_bytes(content)
    code = (
        "import iosfast, resource, sys, time\n"
        "begin = time.perf_counter()\n"
        "result = iosfast.batch(sys.argv[1], sys.argv[2], dry_run=True)\n"
        "took = time.perf_counter() - begin\n"
        "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "print(len(result.plan.recordings), took, peak)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "archive"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found, took, peak = done.stdout.split()
    assert int(found) == count
    if timed:
        section(SECTION).append(
            f"* Planning {count:,} small recordings takes {float(took):.1f} s and "
            f"{float(peak):.0f} MiB."
        )
