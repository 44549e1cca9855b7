"""What a batch costs beside the plain calls, and how long it takes to plan one."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import FRAME_RATE_HZ, SHAPE, SMALL_SHAPE, Row, forget, plain_read, read_anew

import iosfast
from iosfast.batch import run
from iosfast.batch.cluster import Cluster, own_cluster

SECTION = "Batch"
RECIPE = {"interval_bins": 2}
CORES = len(os.sched_getaffinity(0))
pytestmark = pytest.mark.filterwarnings("ignore::iosfast.IosfastWarning")


@pytest.fixture(scope="module", params=["126 MB", "503 MB"])
def archive(request, tmp_path_factory, timed):
    """Twenty recordings; where times are taken, 2.5 and 10 GB that the page cache has to hold."""
    count, frames, shape = (20, 240, SHAPE) if timed else (2, 240, SMALL_SHAPE)
    if timed and request.param == "503 MB":
        frames = 960
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


@dataclass
class Workers:
    """The workers that a batch starts where nobody tells how many, kept for the next batch."""

    kept: ExitStack
    cluster: Cluster | None = None
    start_s: float = 0.0

    @contextmanager
    def running(self, *args: int, **options: int) -> Iterator[Cluster]:
        """Stands for `own_cluster`."""
        if self.cluster is None:
            begin = time.perf_counter()
            self.cluster = self.kept.enter_context(own_cluster(*args, **options))
            self.start_s = time.perf_counter() - begin
        yield self.cluster

    def batch(self, paths: list[Path], out: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(run, "own_cluster", self.running)
            result = iosfast.batch(
                [path.parent for path in paths],
                out,
                frame_rate_hz=FRAME_RATE_HZ,
                recipe=RECIPE,
                picture=False,
            )
        assert not result.failed


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    """Workers that have done something before."""
    root = tmp_path_factory.mktemp("first")
    paths = [root / f"m{number}" / "s.tif" for number in range(20)]
    for path in paths:
        path.parent.mkdir()
        tifffile.imwrite(path, np.zeros((240, *SMALL_SHAPE), np.uint16), photometric="minisblack")
    with ExitStack() as kept:
        started = Workers(kept)
        started.batch(paths, root / "out")
        yield started


def plain(paths: list[Path], out: Path, *, keep: bool = False) -> None:
    """What a loop over the recordings does; `keep`: and brings each one's maps to the disk."""
    for path in paths:
        maps = iosfast.preprocess(
            path,
            out=out / path.parent.name,
            frame_rate_hz=FRAME_RATE_HZ,
            recipe=iosfast.Recipe(**RECIPE),
            threads=CORES,
        )
        for file in maps.path.iterdir() if keep else ():
            with open(file, "rb") as opened:
                os.fsync(opened.fileno())


def test_overhead(archive, workers, tmp_path, row, section, timed):
    """What a batch takes for one more recording, and its start, by runs of 5, 10 and 20."""
    paths = sorted(archive.glob("*/s.tif"))
    plain(paths, tmp_path / "plain")
    workers.batch(paths, tmp_path / "batch")
    _same(tmp_path, paths)
    if not timed:
        return
    peers = {
        "batch": workers.batch,
        "preprocess to disk, one after the other": plain,
        "the same, and fsync of its files": partial(plain, keep=True),
    }
    counts = (len(paths) // 4, len(paths) // 2, len(paths))
    times: dict[str, dict[int, list[float]]] = {name: {} for name in peers}
    for _ in range(5):
        for count in counts:
            for name, peer in peers.items():
                for used in ("plain", "batch"):
                    shutil.rmtree(tmp_path / used, ignore_errors=True)
                os.sync()
                time.sleep(1)  # file systems go on to give back what was freed
                begin = time.perf_counter()
                peer(paths[:count], tmp_path / ("batch" if name == "batch" else "plain"))
                times[name].setdefault(count, []).append(time.perf_counter() - begin)
    fits = {}
    for name, by_count in times.items():
        medians = [statistics.median(by_count[count]) for count in counts]
        fits[name] = np.polyfit(counts, medians, 1)
    size = f"{paths[0].stat().st_size / 1e6:.0f} MB"
    for name in list(peers)[1:]:
        for what, one, other in (
            (f"batch: each recording of {size}, cached", fits["batch"][0], fits[name][0]),
            (
                f"batch: {counts[-1]} recordings of {size}, cached",
                statistics.median(times["batch"][counts[-1]]),
                statistics.median(times[name][counts[-1]]),
            ),
        ):
            row(
                Row(
                    what,
                    one,
                    name,
                    other,
                    one / other,
                    "1.05" if "fsync" not in name else "",
                    SECTION,
                )
            )
    section(SECTION).append(
        f"* Of recordings of {size}, a batch with running workers starts in "
        f"{1e3 * fits['batch'][1]:.0f} ms beyond what it takes for each (fit over {counts})."
    )


def test_one_disk(race, archive, workers, tmp_path):
    """Recordings that are not in the page cache, against plainly reading the same files."""
    paths = sorted(archive.glob("*/s.tif"))

    def prepare():
        for used in ("plain", "batch"):
            shutil.rmtree(tmp_path / used, ignore_errors=True)
        os.sync()
        for path in paths:
            forget(path)

    total = sum(path.stat().st_size for path in paths)
    assert sum(map(plain_read, paths)) == total
    prepare()
    race(
        f"batch of {total / 1e9:.1f} GB, cold files of {total / len(paths) / 1e6:.0f} MB",
        lambda: workers.batch(paths, tmp_path / "batch"),
        {
            "plain read of the same files": (lambda: [plain_read(path) for path in paths], "1.15"),
            "preprocess to disk, one after the other": (
                lambda: plain(paths, tmp_path / "plain"),
                "1.05",
            ),
        },
        rounds=5,
        prepare=prepare,
        section=SECTION,
    )


def test_start(workers, section, timed):
    """The start of workers is told apart from what they do."""
    assert workers.start_s > 0
    if timed:
        cluster = workers.cluster
        section(SECTION).append(
            f"* The workers ({cluster.workers}, each of {cluster.threads} to {cluster.alone} "
            f"threads) start in {workers.start_s:.1f} s."
        )


def _same(folder: Path, paths: list[Path]) -> None:
    """Both wrote the same bits."""
    plain = folder / "plain"
    for path in paths:
        name = path.parent.name
        for file in (plain / name).iterdir():
            twin = folder / "batch" / name / "s.tif" / "maps" / file.name
            assert twin.read_bytes() == file.read_bytes()


def test_planning(tmp_path, timed, section):
    """Ten thousand small recordings, and a tenth of them, for what of the memory grows."""
    count = 10_000 if timed else 20
    movie = np.random.default_rng(0).integers(0, 9, (20, 8, 8), np.uint16)
    tifffile.imwrite(tmp_path / "one.tif", movie, photometric="minisblack")
    content = (tmp_path / "one.tif").read_bytes()
    for number in range(count):
        folder = tmp_path / "archive" / f"m{number // 100}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"session {number} a.tif").write_bytes(content)
    code = (
        "import iosfast, sys, time\n"
        "begin, cpu = time.perf_counter(), time.process_time()\n"
        "result = iosfast.batch(sys.argv[2:], sys.argv[1], dry_run=True)\n"
        "took, cpu = time.perf_counter() - begin, time.process_time() - cpu\n"
        "peak = next(line for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(len(result.plan.recordings), took, cpu, int(peak.split()[1]) / 1024)\n"
    )
    every = sorted((tmp_path / "archive").iterdir())
    told = {}
    for part in (every[: max(1, len(every) // 10)], every):
        command = [sys.executable, "-c", code, str(tmp_path / "out"), *map(str, part)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found, took, cpu, peak = map(float, done.stdout.split())
        assert found == len(part) * min(count, 100)
        told[found] = f"{took:.1f} s ({cpu:.1f} s of CPU) and {peak:.0f} MiB"
    if timed:
        section(SECTION).append(
            "* Planning small recordings, with all imports: "
            + "; ".join(f"{found:,.0f} of them {what}" for found, what in told.items())
            + "."
        )
