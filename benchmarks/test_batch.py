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
from iosfast.batch.cluster import own_cluster

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


def test_overhead(race, archive, tmp_path, section, timed):
    """Of recordings whose workers have started; the start is told apart."""
    cores = len(os.sched_getaffinity(0))
    paths = sorted(archive.glob("*/s.tif"))

    def plain():
        for path in paths:
            iosfast.preprocess(
                path,
                out=tmp_path / "plain" / path.parent.name,
                frame_rate_hz=FRAME_RATE_HZ,
                recipe=iosfast.Recipe(**RECIPE),
                threads=cores,
            )

    def clear():
        for name in ("plain", "batch"):
            shutil.rmtree(tmp_path / name, ignore_errors=True)

    begin = time.perf_counter()
    with own_cluster(1, cores, 4 << 30) as cluster:
        start_s = time.perf_counter() - begin

        def batch():
            result = iosfast.batch(
                [path.parent for path in paths],
                tmp_path / "batch",
                frame_rate_hz=FRAME_RATE_HZ,
                recipe=RECIPE,
                scheduler=cluster.client.scheduler.address,
                threads=cores,
                picture=False,
            )
            assert not result.failed

        plain()
        batch()
        _same(tmp_path, paths)
        clear()
        size = paths[0].stat().st_size / 1e6
        race(
            f"batch of {len(paths)} recordings of {size:.0f} MB, cached, one worker",
            batch,
            {"preprocess to disk, one after the other": (plain, "1.05")},
            rounds=5,
            prepare=clear,
            section=SECTION,
        )
    if timed:
        section(SECTION).append(f"* The workers start in {start_s:.1f} s.")


def _same(folder: Path, paths: list[Path]) -> None:
    """Both wrote the same bits."""
    plain = folder / "plain"
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
