"""Whole batches on a Dask cluster: what is done, what is told, and what is refused."""

from __future__ import annotations

import csv
import errno
import html.parser
import os
import shutil
import subprocess
import sys
from urllib.parse import unquote

import numpy as np
import pyarrow.parquet as parquet
import pytest
import yaml
from some_archives import OPTIONS, archive_of, results, write_folder, write_tiff

import iosfast
from iosfast import ReadError, WriteError
from iosfast.batch import cluster as clusters
from iosfast.batch import planning, run
from iosfast.batch.disks import Disk
from iosfast.batch.dispatch import Dispatch
from iosfast.batch.locks import locked
from iosfast.batch.tasks import COMPARED
from iosfast.cli import main
from iosfast.simulate import Noise, Simulation, Wave

pytestmark = pytest.mark.filterwarnings("ignore::iosfast.IosfastWarning")


@pytest.fixture(scope="module")
def scheduler():
    """Address of a scheduler with two workers that are processes of their own."""
    with clusters.own_cluster(2, 1, 2 << 30) as cluster:
        yield cluster.client.scheduler.address


@pytest.fixture
def archive(tmp_path):
    return archive_of(tmp_path / "archive")


@pytest.fixture
def batch(tmp_path, scheduler):
    def call(*archives, out=tmp_path / "out", **options):
        return iosfast.batch(archives, out, scheduler=scheduler, **{**OPTIONS, **options})

    return call


def states(result):
    return {row.planned.name: row.state for row in result.rows}


def rows_of(out):
    with open(out / "summary.csv", newline="", encoding="utf-8") as file:
        return {row["recording"]: row for row in csv.DictReader(file)}


def test_all_is_done_and_then_nothing(batch, archive, tmp_path):
    result = batch(archive)
    names = [f"archive/m{n}/s.tif" for n in range(3)]
    assert states(result) == dict.fromkeys(names, "done")
    assert not result.failed
    for number, name in enumerate(names):
        maps = iosfast.load(tmp_path / "out" / name / "maps")
        plain = iosfast.preprocess(
            archive / f"m{number}" / "s.tif",
            frame_rate_hz=5.0,
            recipe=iosfast.Recipe(interval_bins=2),
        )
        np.testing.assert_array_equal(maps.change, plain.change)
    held = results(tmp_path / "out")
    with pytest.raises(WriteError, match="holds a batch already; resume goes on"):
        batch(archive)
    (tmp_path / "out" / ".events.partial-0123abcd.parquet").write_bytes(b"half")  # of a killed one
    again = batch(archive, resume=True)
    assert states(again) == dict.fromkeys(names, "up to date")
    assert results(tmp_path / "out") == held
    assert iosfast.verify(tmp_path / "out") == []


def test_only_what_is_missing_or_stale_is_done(batch, archive, tmp_path):
    batch(archive)
    write_tiff(archive / "m1" / "s.tif", 7)
    write_tiff(archive / "m9" / "s.tif", 8)
    shutil.rmtree(tmp_path / "out" / "archive" / "m2")
    result = batch(archive, resume=True)
    assert states(result) == {
        "archive/m0/s.tif": "up to date",
        "archive/m1/s.tif": "done",
        "archive/m2/s.tif": "done",
        "archive/m9/s.tif": "done",
    }
    rows = rows_of(tmp_path / "out")
    assert rows["archive/m1/s.tif"]["reason"] == "preprocess: the source has other content"
    assert rows["archive/m2/s.tif"]["reason"] == "preprocess: not done yet"
    result = batch(archive, resume=True, recipe={"interval_bins": 3})
    assert set(states(result).values()) == {"done"}
    assert "interval_bins is 3, not 2" in rows_of(tmp_path / "out")["archive/m0/s.tif"]["reason"]


def test_a_bad_recording_stops_no_other(batch, archive, tmp_path):
    write_tiff(archive / "cut.tif").write_bytes(b"II*\0" + bytes(3000))
    os.symlink("nowhere", archive / "lost.tif")
    result = batch(archive)
    assert [row.planned.name for row in result.failed] == ["archive/cut.tif", "archive/lost.tif"]
    rows = rows_of(tmp_path / "out")
    assert [rows[f"archive/m{n}/s.tif"]["state"] for n in range(3)] == ["done"] * 3
    bad = rows["archive/cut.tif"]
    assert bad["state"] == "failed"
    assert str(archive / "cut.tif") in bad["error"]
    assert "Traceback" in (tmp_path / "out" / bad["log"]).read_text()
    assert "link to nothing" in rows["archive/lost.tif"]["error"]
    (archive / "lost.tif").unlink()
    write_tiff(archive / "cut.tif")
    assert not batch(archive, resume=True).failed
    assert not (tmp_path / "out" / bad["log"]).exists()


def wave(path, seed):
    waves = [Wave(shape="ring", origin_mm=(1.5, 8.5), amplitude_percent=3, start_s=15)]
    Simulation(
        shape=(64, 64),
        duration_s=150,
        frame_rate_hz=2,
        pixel_size_mm=10 / 64,
        waves=waves,
        noise=Noise(),
        seed=seed,
    ).write(path)


@pytest.fixture(scope="module")
def waves(tmp_path_factory):
    """Two recordings with a wave, and one without."""
    root = tmp_path_factory.mktemp("waves") / "disk"
    root.mkdir()
    for number in range(2):
        wave(root / f"w{number}.tif", number)
    write_tiff(root / "none.tif", count=60)
    return root


EVENTS = {
    "recipe": "default",
    "frame_rate_hz": 2.0,
    "pixel_size_mm": 10 / 64,
    "steps": ("measure",),
}


def test_events_of_all_animals(batch, waves, tmp_path):
    manifest = tmp_path / "m.toml"
    manifest.write_text(
        "[[recordings]]\nmatch = 'w0.tif'\nanimal = 'm-101'\ncondition = 'awake'\n"
        "[[recordings]]\nmatch = '*w1.tif'\nanimal = '102'\n"
    )
    result = batch(waves, **EVENTS, manifest=manifest)
    assert not result.failed
    events = parquet.read_table(tmp_path / "out" / "events.parquet").to_pandas()
    assert events["recording"].tolist() == ["disk/w0.tif", "disk/w1.tif"]
    assert events["animal"].tolist() == ["m-101", "102"]
    assert events["condition"].tolist() == ["awake", ""]
    assert (events["front_speed_median_mm_min"] > 1).all()
    for name in ("w0.tif", "w1.tif"):
        own = parquet.read_table(tmp_path / "out/disk" / name / "measures/events.parquet")
        rows = events[events["recording"] == f"disk/{name}"]
        assert rows["path_length_mm"].tolist() == own["path_length_mm"].to_pylist()
    rows = rows_of(tmp_path / "out")
    assert (rows["disk/none.tif"]["waves"], rows["disk/w0.tif"]["waves"]) == ("0", "1")
    assert rows["disk/w0.tif"]["animal"] == "m-101"
    links = links_of(tmp_path / "out" / "index.html")
    assert "disk/w0.tif/measures/events.csv" in links
    assert "events.parquet" in links
    assert all((tmp_path / "out" / link).exists() for link in links)
    assert set(states(batch(waves, **EVENTS, resume=True, manifest=manifest)).values()) == {
        "up to date"
    }
    assert (tmp_path / "out" / "events.parquet").exists()


def test_channels_have_results_of_their_own(batch, tmp_path):
    frames = write_tiff(tmp_path / "a" / "two.tif", count=60)
    assert not batch(frames, channels=("violet", "blue"), steps=("measure",)).failed
    folder = tmp_path / "out" / "a" / "two.tif"
    assert len(iosfast.load(folder / "maps" / "blue")) > 0
    assert sorted(p.name for p in (folder / "episodes").iterdir()) == ["blue.csv", "violet.csv"]
    assert iosfast.verify(tmp_path / "out") == []


class _Links(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.links = []

    def handle_starttag(self, tag, attributes):
        self.links += [unquote(v) for k, v in attributes if k in ("href", "src")]


def links_of(page):
    parser = _Links()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser.links


@pytest.mark.parametrize("name", ["a 'quoted' \"<b>&amp;\"", "ü 鼠#%3F?", "x" * 200])
def test_names_of_all_kinds(batch, tmp_path, name):
    write_tiff(tmp_path / name / f"{name}.tif")
    result = batch(tmp_path / name, picture=True)
    assert states(result) == {f"{name}/{name}.tif": "done"}
    assert rows_of(tmp_path / "out")[f"{name}/{name}.tif"]["state"] == "done"
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "<b>" not in page
    links = links_of(result.index)
    assert all((tmp_path / "out" / link).exists() for link in links)
    assert f"{name}/{name}.tif/maps/contact_sheet.png" in links
    assert iosfast.verify(tmp_path / "out") == []


def test_results_within_the_archive(batch, archive):
    out = archive / "results"
    first = batch(archive, out=out)
    assert len(first.rows) == 3
    again = batch(archive, out=out, resume=True)
    assert states(again) == dict.fromkeys(states(first), "up to date")


def test_archives_of_one_name(batch, tmp_path):
    for disk in "ab":
        archive_of(tmp_path / disk / "data", 1)
    assert set(states(batch(tmp_path / "a/data", tmp_path / "b/data"))) == {
        "data/m0/s.tif",
        "data-2/m0/s.tif",
    }
    one = batch(tmp_path / "b/data", resume=True)
    assert states(one) == {"data-2/m0/s.tif": "up to date"}
    (tmp_path / "b").rename(tmp_path / "c")  # as where a disk is mounted elsewhere
    shutil.copytree(tmp_path / "c", tmp_path / "d")
    moved = batch(tmp_path / "a/data", tmp_path / "c/data", resume=True)
    assert states(moved) == {"data/m0/s.tif": "up to date", "data-2/m0/s.tif": "up to date"}


def test_a_dry_run_writes_nothing(archive, tmp_path):
    lines = []
    write_folder(archive / "frames")
    result = iosfast.batch(archive, tmp_path / "out", dry_run=True, say=lines.append, **OPTIONS)
    assert not (tmp_path / "out").exists()
    assert result.rows == ()
    text = "\n".join(lines)
    assert "archive/m0/s.tif: 51.1 kB; preprocess (not done yet)" in text
    assert "4 recordings" in text
    assert "4 to do" in text
    assert sum(each.nbytes for each in result.plan.recordings) == sum(
        path.stat().st_size for path in archive.rglob("*.tif")
    )


def test_two_batches_in_one_folder(batch, archive, tmp_path):
    (tmp_path / "out").mkdir()
    with locked(tmp_path / "out" / ".lock"), pytest.raises(WriteError, match="another batch works"):
        batch(archive)
    assert not batch(archive).failed


def test_verify_tells_what_is_not_as_it_was(batch, archive, tmp_path):
    batch(archive)
    folder = tmp_path / "out" / "archive" / "m0" / "s.tif"
    change = folder / "maps" / "change.tif"
    held = bytearray(change.read_bytes())
    held[-1] ^= 1
    change.write_bytes(held)
    (folder.parents[1] / "m1" / "s.tif" / "maps" / "binned.tif").unlink()
    write_tiff(archive / "m2" / "s.tif", 5)
    (folder / "maps" / "mine.txt").write_text("x")
    found = {(f.recording, f.what, f.told) for f in iosfast.verify(tmp_path / "out")}
    assert found == {
        ("archive/m0/s.tif", "output", "maps/change.tif has other content than was written"),
        ("archive/m0/s.tif", "output", "maps/mine.txt was not made by iosfast"),
        ("archive/m1/s.tif", "output", "maps/binned.tif is missing"),
        ("archive/m2/s.tif", "source", "has other content"),
    }
    assert len(iosfast.verify(tmp_path / "out", source=False)) == 3
    (folder / "done" / "preprocess.json").write_text("{}")
    assert {f.what for f in iosfast.verify(tmp_path / "out") if "m0" in f.recording} == {"marker"}
    with pytest.raises(ReadError, match="holds no batch"):
        iosfast.verify(archive)


def test_reading_again(batch, archive, tmp_path):
    batch(archive)
    result = batch(archive, verify_source=True)
    assert {step.reason for row in result.rows for step in row.outcome.steps} == {COMPARED}
    change = tmp_path / "out" / "archive" / "m0" / "s.tif" / "maps" / "change.tif"
    held = bytearray(change.read_bytes())
    held[-1] ^= 1
    change.write_bytes(held)
    result = batch(archive, verify_source=True)
    assert [row.planned.name for row in result.failed] == ["archive/m0/s.tif"]


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"steps": ("x",)}, ValueError, "steps must be of preprocess"),
        ({"steps": ()}, ValueError, "steps is empty"),
        ({"retries": -1}, ValueError, "retries"),
        ({"join": "x"}, ValueError, "join"),
        ({"workers": 2}, ValueError, "this machine's own cluster"),
        ({"readers_per_disk": 0}, ValueError, "readers_per_disk"),
        ({"recipe": {"colormap": "x"}}, ValueError, "colormap"),
        ({"frames_hz": 2}, ValueError, "no option 'frames_hz'"),
        ({"manifest": "x.json"}, ReadError, "toml"),
    ],
)
def test_misuse(batch, archive, tmp_path, options, error, told):
    with pytest.raises(error, match=told):
        batch(archive, **options)
    assert not (tmp_path / "out").exists()


def test_a_place_for_something_else(batch, archive, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.doc").write_text("x")
    with pytest.raises(WriteError, match="holds other files"):
        batch(archive)
    with pytest.raises(ReadError, match="does not exist"):
        batch(tmp_path / "nowhere", out=tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(ValueError, match="archives is empty"):
        batch()


def test_one_reader_at_a_time_from_a_spinning_disk(batch, archive, monkeypatch):
    archive_of(archive, 8)

    def disk_of(path):
        odd = int(path.parent.name[1]) % 2 == 1
        return Disk("slow" if odd else "fast", odd)

    monkeypatch.setattr(planning, "disk_of", disk_of)
    most = {}
    submit = Dispatch._submit

    def counted(self, completed):
        submit(self, completed)
        for disk in ("slow", "fast"):
            now = sum(job.reading and job.disk == disk for job, *_ in self._running.values())
            most[disk] = max(most.get(disk, 0), now)

    monkeypatch.setattr(Dispatch, "_submit", counted)
    assert not batch(archive).failed
    assert most["slow"] == 1
    assert most["fast"] > 1
    result = batch(archive, resume=True, readers_per_disk=2, recipe={"interval_bins": 3})
    assert not result.failed
    assert max(most.values()) >= 2


def test_long_recordings_are_read_in_parts(batch, archive, tmp_path):
    batch(archive, out=tmp_path / "whole")
    result = batch(archive, split_bytes=20_000, steps="episodes")
    assert set(states(result).values()) == {"done"}
    whole, split = results(tmp_path / "whole"), results(tmp_path / "out")
    assert {path: split[path] for path in whole} == whole
    assert not list((tmp_path / "out").rglob(".parts"))


def test_a_worker_that_dies_again_and_again(archive, tmp_path, monkeypatch):
    """The recording over which workers die has failed; those that wait behind it are done."""
    code = (
        "import os, iosfast\n"
        "from iosfast.batch import cluster, dispatch, steps\n"
        "cluster.ALLOWED_FAILURES = dispatch.ALLOWED_FAILURES = 0\n"
        "if __name__ == '__main__':\n"
        f"    result = iosfast.batch({str(archive)!r}, {str(tmp_path / 'out')!r}, workers=1,"
        f" progress=True, **{OPTIONS!r})\n"
        "    print(*(f'{r.planned.name} {r.state} {r.error}' for r in result.rows), sep='\\n')\n"
        "else:\n"
        "    real = steps.BY_NAME['preprocess'].run\n"
        "    def run(work):\n"
        "        if 'm0' in work.name: os.kill(os.getpid(), 9)\n"
        "        return real(work)\n"
        "    from dataclasses import replace\n"
        "    steps.BY_NAME['preprocess'] = replace(steps.BY_NAME['preprocess'], run=run)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=300, check=False
    )
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["archive/m0/s.tif", "failed"],
        ["archive/m1/s.tif", "done"],
        ["archive/m2/s.tif", "done"],
    ], done.stderr
    assert "its worker died 1 times" in lines[0]
    assert "[3/3]" in done.stderr


def test_the_command(archive, tmp_path, capfd):
    out = tmp_path / "out"
    command = ["batch", str(archive), "--out", str(out), "--frame-rate-hz", "5", "--no-pictures"]
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("interval_bins: 2\n")
    command += ["--recipe", str(recipe)]
    assert main([*command, "--dry-run"]) == 0
    assert "3 to do" in capfd.readouterr().out
    assert main([*command, "--workers", "1"]) == 0
    told = capfd.readouterr()
    assert "3 recordings: 3 done" in told.out
    assert "dashboard: http://127.0.0.1:" in told.out
    assert "[3/3] archive/m2/s.tif: preprocess done" in told.err
    assert main(command) == 2
    assert "holds a batch already" in capfd.readouterr().err
    write_tiff(archive / "bad.tif").write_bytes(b"II*\0")
    assert main([*command, "--resume", "--workers", "1"]) == 3
    assert "failed: archive/bad.tif: FAILED in preprocess" in capfd.readouterr().out
    assert main(["verify", str(out)]) == 0
    (out / "archive/m0/s.tif/maps/change.tif").unlink()
    assert main(["verify", str(out)]) == 3
    assert "maps/change.tif is missing" in capfd.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["batch", str(archive)])
    assert ended.value.code == 2


def test_the_scheduler_is_lost(archive, tmp_path, monkeypatch):
    lines = []

    def lost(self, *args):
        raise ConnectionError("the scheduler was lost")

    monkeypatch.setattr(Dispatch, "run", lost)
    monkeypatch.setattr(run, "own_cluster", fake_cluster)
    result = iosfast.batch(archive, tmp_path / "out", say=lines.append, **OPTIONS)
    assert set(states(result).values()) == {"stopped"}
    assert len(result.failed) == 3
    assert any("left for resume" in line for line in lines)


@pytest.mark.parametrize(
    ("cores", "memory_gib", "options", "count", "expected"),
    [
        (2, 24, {}, 3, (2, 1, 2, 4)),
        (12, 64, {}, 9, (8, 2, 12, 4)),
        (12, 64, {}, 3, (3, 4, 12, 4)),
        (12, 64, {}, 1, (1, 12, 12, 4)),
        (8, 9, {}, 9, (4, 2, 8, 2.25)),  # 2 GiB each, at least
        (8, 1, {}, 9, (1, 8, 8, 1)),
        (8, 9, {"memory_per_worker": 3 << 30}, 9, (3, 3, 8, 3)),
        (8, 9, {"workers": 9}, 9, (9, 1, 8, 1)),
        (8, 64, {"workers": 2, "threads": 3}, 9, (2, 3, 3, 4)),
        (8, 64, {"threads": 1}, 9, (8, 1, 1, 4)),
    ],
)
def test_workers_and_threads(tmp_path, monkeypatch, cores, memory_gib, options, count, expected):
    archive = archive_of(tmp_path / "archive", count)
    made = []

    def own_cluster(*args, **named):
        made.append(fake_cluster(*args, **named))
        return made[-1]

    monkeypatch.setattr(Dispatch, "run", lambda self, *args: None)
    monkeypatch.setattr(run, "available_cores", lambda: cores)
    monkeypatch.setattr(run, "available_memory", lambda: memory_gib << 30)
    monkeypatch.setattr(run, "own_cluster", own_cluster)
    lines = []
    iosfast.batch(archive, tmp_path / "out", say=lines.append, **OPTIONS, **options)
    workers, threads, alone, gib = expected
    cluster = made[0].cluster
    assert (cluster.workers, cluster.threads, cluster.alone) == (workers, threads, alone)
    assert cluster.memory == pytest.approx(gib * 2**30, abs=2**20 * 128)
    assert any(line.startswith(f"{workers} worker") for line in lines)
    assert any(f"({alone} where" in line for line in lines) == (alone > threads)


def test_a_summary_that_cannot_be_written(batch, archive, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device", "summary.csv")

    monkeypatch.setattr(run, "write_summary", full)
    result = batch(archive)
    assert set(states(result).values()) == {"done"}
    assert result.unwritten == "summary.csv: No space left on device"


def test_workers_that_do_not_start(monkeypatch):
    starts = []

    def start():
        starts.append(1)
        if len(starts) < 5:
            raise RuntimeError("Nanny failed to start.")
        return "cluster"

    assert clusters._started(start) == "cluster"
    with pytest.raises(ConnectionError, match="cannot be started: x"):
        clusters._started(raised(RuntimeError("x")))


def raised(error):
    def function(*args):
        raise error

    return function


class fake_cluster:
    def __init__(self, workers, threads, memory, alone):
        client = type("Client", (), {"dashboard_link": "http://x"})()
        client.subscribe_topic = client.unsubscribe_topic = lambda *args: None
        self.cluster = clusters.Cluster(client, workers, threads, alone, memory)

    def __enter__(self):
        return self.cluster

    def __exit__(self, *exc):
        pass


def test_a_manifest(batch, archive, tmp_path):
    text = {
        "defaults": {"frame_rate_hz": 5, "pixel_size_mm": "10/32"},
        "recordings": [
            {
                "path": "archive/m0/s.tif",
                "name": "first",
                "animal": 1,
                "recipe": {"interval_bins": 3},
            },
            {"paths": ["archive/m1/s.tif", "archive/m2/s.tif"], "name": "both/joined"},
        ],
    }
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(text))
    result = batch(archive, manifest=tmp_path / "m.yaml", frame_rate_hz=None)
    assert states(result) == {"first": "done", "both/joined": "done"}
    first = iosfast.load(tmp_path / "out" / "first" / "maps")
    assert (first.recipe.interval_bins, first.pixel_size_mm) == (3, 10 / 32)
    joined = iosfast.load(tmp_path / "out" / "both" / "joined" / "maps")
    assert joined.source["shape"][0] == 60
    assert joined.recipe.interval_bins == 2
    only = batch(out=tmp_path / "other", manifest=tmp_path / "m.yaml")
    assert set(states(only)) == {"first", "both/joined"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[1, 2]", "mapping"),
        ("recordings: [{path: a, match: b}]", "one of path, paths and match"),
        ("recordings: [{path: a, frame_rate: 3}]", "no option 'frame_rate'"),
        ("recordings: [{match: a, name: b}]", "a name is for one recording"),
        ("recordings: {}\nx: 1", "tells of 'x'"),
        ("recordings: [{path: nowhere.tif}]", "nowhere.tif: is named by the manifest"),
        ("recordings: [{path: [a, b]}]", "paths joins"),
        ("defaults: {pixel_size_mm: 1/0}", "defaults"),
        ("a: [", "is damaged"),
    ],
)
def test_a_manifest_that_cannot_be(batch, tmp_path, text, told):
    (tmp_path / "m.yaml").write_text(text)
    with pytest.raises(ReadError, match=told):
        batch(tmp_path, manifest=tmp_path / "m.yaml")
