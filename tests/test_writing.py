"""Maps replace nothing but maps, and are there whole or not at all, whatever ends a run."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tifffile
from some_maps import FRAMES, LAYOUTS, MASK, files_in, run, same_maps, written_bytes

from iosfast import ReadError, WriteError, load
from iosfast.staging import Staging
from iosfast.storage import MapsWriter

# Where maps may be made


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("before", LAYOUTS)
def test_overwrite(tmp_path, layout, before):
    out = tmp_path / "a"
    run(out, FRAMES[:40], mask=MASK, layout=before)
    held = files_in(out)
    with pytest.raises(WriteError, match="holds maps already"):
        run(out, layout=layout)
    assert files_in(out) == held
    (out / "contact_sheet.png").write_bytes(b"drawn from the maps")
    (out / ".DS_Store").write_bytes(b"")
    same_maps(run(out, layout=layout, overwrite=True), run())
    assert files_in(out) == written_bytes(tmp_path, layout)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_what_is_in_the_way_is_told_before_anything_is_written(tmp_path):
    maps = run(tmp_path / "a")
    for path, overwrite in ((tmp_path / "a", False), (tmp_path / "a" / "maps.json", True)):
        with pytest.raises(WriteError, match=r"holds maps already|is no folder"):
            MapsWriter(path, maps.info, bins=15, overwrite=overwrite)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_maps_may_replace_those_they_were_loaded_from(tmp_path, layout):
    run(tmp_path / "a", layout=layout)
    load(tmp_path / "a").save(tmp_path / "a", overwrite=True)
    same_maps(load(tmp_path / "a"), run())


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "name", ["annotation.json", "rgb/20230922_235959.json", "change/mine.tiff", "more/a.tif"]
)
def test_what_is_not_maps_is_never_replaced(tmp_path, overwrite, name):
    out = tmp_path / "a"
    run(out, layout="published")
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).write_text("work of hours")
    held = files_in(out)
    expected = re.escape(f"holds {name.removesuffix('/a.tif')} beside the maps")
    with pytest.raises(WriteError, match=expected if overwrite else "holds maps already"):
        run(out, overwrite=overwrite)
    assert files_in(out) == held
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"format": "other"}', "[" * 10_000])
def test_other_folders_are_never_replaced(tmp_path, text):
    out = tmp_path / "a"
    out.mkdir()
    (out / "frame.tif").write_bytes(b"data")
    if text is not None:
        (out / "maps.json").write_text(text)
    held = files_in(out)
    for overwrite in (False, True):
        with pytest.raises(WriteError, match="exists and holds no maps, but other files"):
            run(out, overwrite=overwrite)
    assert files_in(out) == held


def test_out_may_be_an_empty_folder(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    run(tmp_path / "a")
    (tmp_path / "b").mkdir()
    monkeypatch.chdir(tmp_path)
    run("a/../b")
    same_maps(load("b"), load("a"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_out_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("file", "link", "dangling"):
        with pytest.raises(WriteError, match="exists and is no folder"):
            run(tmp_path / name, overwrite=True)
    with pytest.raises(WriteError, match="is not a folder that can be written to"):
        run(tmp_path / "file" / "maps")
    assert (tmp_path / "file").read_text() == "text"


def test_out_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as it is for those not root
    with pytest.raises(WriteError, match="is not a folder that can be written to"):
        run(tmp_path / "a")
    monkeypatch.undo()

    def refuse(self, *_args, **_options):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(WriteError, match="Permission denied; nothing was left there") as caught:
        run(tmp_path / "a")
    assert caught.value.filename == str(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


# Runs that end early


class Stopped(Exception):
    pass


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("error", [Stopped, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("seed", range(3))
def test_interrupted_by_progress(tmp_path, monkeypatch, layout, error, seed):
    monkeypatch.setattr(sys.modules["iosfast.preprocess"], "BLOCK_BYTES", 1)
    calls = []
    run(progress=lambda done, frames: calls.append(done))
    last = random.Random(seed).randrange(len(calls))
    count = iter(range(len(calls)))

    def stop(done, frames):
        if next(count) == last:
            raise error

    with pytest.raises(error):
        run(tmp_path / "new" / "a", layout=layout, progress=stop)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ReadError, match="holds no maps"):
        load(tmp_path / "new" / "a")


def steps(monkeypatch, stop_at, error):
    """Raise an error at one of the steps in which maps come to the disk; count the steps."""
    count = 0

    def counted(function):
        def step(*args, **options):
            nonlocal count
            count += 1
            if count == stop_at:
                raise error
            return function(*args, **options)

        return step

    with monkeypatch.context() as patch:
        for owner, name in (
            (MapsWriter, "_write"),
            (MapsWriter, "_open"),
            (MapsWriter, "_close"),
            (Path, "mkdir"),
            (Path, "rename"),
            (Path, "write_text"),
            (Path, "write_bytes"),
            (tifffile.TiffWriter, "write"),
        ):
            patch.setattr(owner, name, counted(getattr(owner, name)))
        yield
    yield count


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()])
def test_interrupted_at_any_step(tmp_path, monkeypatch, layout, overwrite, error):
    """What was there stays, or the new maps are there whole; nothing is beside them."""
    maps, out = run(), tmp_path / "new" / "a"
    old, new = written_bytes(tmp_path, "stack"), written_bytes(tmp_path, layout)
    old = {**old, "maps.json": old["maps.json"] + b"\n"}
    for stop_at in range(1, 1000):
        if overwrite:
            maps.save(out)
            (out / "maps.json").write_bytes(old["maps.json"])
        counting = steps(monkeypatch, stop_at, error)
        next(counting)
        expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else WriteError
        failed = False
        try:
            maps.save(out, layout=layout, overwrite=overwrite)
        except expected:
            failed = True
        if next(counting) < stop_at:
            break
        there = files_in(tmp_path)
        if there != {f"new/a/{name}": data for name, data in new.items()}:
            assert failed
            kept = old if overwrite else {}
            assert there == {f"new/a/{name}": data for name, data in kept.items()}
            assert [p.name for p in tmp_path.iterdir()] == (["new"] if overwrite else [])
        shutil.rmtree(tmp_path / "new", ignore_errors=True)
    assert stop_at > 10
    assert not failed
    assert files_in(out) == new


def test_interrupted_again_while_tidying_up(tmp_path, monkeypatch):
    maps = run()
    maps.save(tmp_path / "a")
    held = files_in(tmp_path)
    calls, rename = [], Path.rename

    def impatient(self, target):
        calls.append(self)
        if len(calls) in (2, 3):  # of the new maps to their place, and of the old ones back
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", impatient)
    with pytest.raises(KeyboardInterrupt):
        maps.save(tmp_path / "a", overwrite=True)
    assert len(calls) == 4
    assert files_in(tmp_path) == held


def test_no_space_is_told_before_the_run(tmp_path, monkeypatch):
    needed = 15 * 21 * 34 * 2 + 7 * 21 * 34 * 7
    usage = shutil.disk_usage(tmp_path)
    for free, fits in ((needed, True), (needed - 1, False)):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, n=free: usage._replace(free=n))
        if fits:
            run(tmp_path / "a")
            shutil.rmtree(tmp_path / "a")
            continue
        with pytest.raises(WriteError, match=r"maps take .* but only .* nothing was written"):
            run(tmp_path / "b" / "a")
        assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit of file size")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("limit", [100, 20_000])
def test_a_disk_that_is_full(tmp_path, layout, limit):
    """A limit of file size fails as a full disk does, in the middle of a file."""
    code = f"""
import resource, signal, sys
import numpy as np, iosfast
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
frames = np.arange(60 * 90 * 90, dtype=np.uint16).reshape(60, 90, 90)
try:
    iosfast.preprocess(frames, frame_rate_hz=4.0, out=sys.argv[1], layout={layout!r},
                       start_time="2023-09-22", overwrite=True)
except iosfast.WriteError as error:
    print(error)
"""
    out = tmp_path / "a"
    done = subprocess.run(
        [sys.executable, "-c", code, str(out)], capture_output=True, text=True, check=True
    )
    assert "File too large; nothing was left there" in done.stdout
    assert str(out) in done.stdout
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_a_folder_around_the_maps_that_another_makes_at_the_same_time(tmp_path, monkeypatch):
    make = Path.mkdir

    def late(self, *args, **options):
        if self.name == "around":
            make(self)
        make(self, *args, **options)

    monkeypatch.setattr(Path, "mkdir", late)
    with Staging(tmp_path / "around" / "maps", False) as staging:
        staging.finish()
    assert (tmp_path / "around" / "maps").is_dir()
