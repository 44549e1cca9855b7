"""One recording in a worker: when its steps are done again, and what never happens to results."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from some_archives import OPTIONS, RATE_HZ, write_folder, write_tiff
from some_maps import files_in

import iosfast
from iosfast import IosfastWarning, ReadError, Recipe, WriteError
from iosfast.batch import markers, steps, tasks
from iosfast.batch.identity import Identity, checksum
from iosfast.batch.locks import locked
from iosfast.batch.markers import Marker, place_of
from iosfast.batch.settings import Settings
from iosfast.batch.sources import Source
from iosfast.batch.tasks import COMPARED, Task, perform

EVERY = ("preprocess", "episodes", "segment", "measure")
SETTINGS = Settings().changed(OPTIONS)

pytestmark = pytest.mark.filterwarnings("ignore::iosfast.IosfastWarning")


@pytest.fixture
def recording(tmp_path):
    return write_tiff(tmp_path / "archive" / "s.tif")


@pytest.fixture
def task(tmp_path, recording):
    out = tmp_path / "out" / "s.tif"
    source = Source((str(recording),))
    return Task(
        name="s.tif", folder=str(out), source=source, settings=SETTINGS, steps=EVERY, pause_s=0
    )


def reasons(outcome):
    assert outcome.error is None, outcome.error
    return {step.step: step.reason for step in outcome.steps}


def changed(task, **options):
    return dataclasses.replace(task, settings=task.settings.changed(options))


def test_a_recording_gets_what_the_plain_calls_give(task, tmp_path):
    assert set(reasons(perform(task)).values()) == {"not done yet"}
    folder = Path(task.folder)
    iosfast.preprocess(
        task.source.paths[0],
        frame_rate_hz=RATE_HZ,
        recipe=Recipe(interval_bins=2),
        out=tmp_path / "maps",
    )
    assert files_in(folder / "maps") == files_in(tmp_path / "maps")
    marker = Marker.read(folder, "preprocess")
    assert {o.path: o.checksum for o in marker.outputs} == {
        f"maps/{name}": checksum(tmp_path / "maps" / name) for name in files_in(tmp_path / "maps")
    }
    assert marker.facts["maps"] == len(iosfast.load(tmp_path / "maps"))
    assert not (folder / "error.log").exists()


def test_another_can_begin_before_the_maps_are_there(task):
    there = []
    maps = Path(task.folder) / "maps"
    only = dataclasses.replace(task, steps=("preprocess",))
    perform(only, free=lambda: there.append(maps.exists()))
    assert there == [False, True]


def test_nothing_is_done_twice(task):
    perform(task)
    before = {p: p.stat().st_mtime_ns for p in Path(task.folder).rglob("*") if p.is_file()}
    assert set(reasons(perform(task)).values()) == {None}
    assert before == {p: p.stat().st_mtime_ns for p in before}


def test_other_content_or_times_or_size(task, recording):
    perform(task)
    held = recording.read_bytes()
    about = recording.stat()
    middle = bytearray(held)
    middle[-3] ^= 1
    recording.write_bytes(middle)
    os.utime(recording, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert reasons(perform(task))["preprocess"] == "the source has other content"
    recording.write_bytes(held)
    os.utime(recording, ns=(0, 0))  # as of a clock that was set back
    assert "other content" in reasons(perform(task))["preprocess"]
    os.utime(recording, ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    told = reasons(perform(task))
    assert "was modified at" in told["preprocess"]
    assert told["episodes"] is None  # as the maps are the same to the bit
    write_tiff(recording, count=40)
    assert "bytes, not" in reasons(perform(task))["preprocess"]


def test_a_file_more_in_a_folder(task, tmp_path):
    folder = write_folder(tmp_path / "frames", count=30)
    task = dataclasses.replace(task, source=Source((str(folder),), "TIFF folder"))
    perform(task)
    (folder / "notes.txt").write_text("of no meaning")
    assert reasons(perform(task))["preprocess"] is None
    shutil.copy(folder / "f1.tif", folder / "f30.tif")
    assert reasons(perform(task))["preprocess"] == "the source has 31 files, not 30"


@pytest.mark.parametrize(
    ("options", "step", "told"),
    [
        ({"recipe": {"smoothing_px": 3}}, "preprocess", "smoothing_px is 3, not 21"),
        ({"pixel_size_mm": 0.1}, "preprocess", "pixel_size_mm is 0.1, not None"),
        ({"midline_x_px": 7}, "episodes", "midline_x_px is 7.0, not None"),
        ({"max_speed_mm_min": 5}, "episodes", "max_speed_mm_min is 5.0, not None"),
    ],
)
def test_an_option_redoes_just_what_goes_by_it(task, options, step, told):
    perform(task)
    found = reasons(perform(changed(task, **options)))
    assert found[step] == told
    assert all(found[name] is None for name in EVERY[: EVERY.index(step)])
    assert set(reasons(perform(changed(task, **options))).values()) == {None}


def test_a_mask_is_told_by_its_content(task, tmp_path):
    mask = np.zeros((24, 32), np.uint8)
    mask[4:20, 4:28] = 1
    np.save(tmp_path / "x.npy", mask)
    from PIL import Image

    Image.fromarray(mask * 255).save(tmp_path / "a.png")
    shutil.copy(tmp_path / "a.png", tmp_path / "b.png")
    assert perform(changed(task, mask=str(tmp_path / "a.png"))).error is None
    assert reasons(perform(changed(task, mask=str(tmp_path / "b.png"))))["preprocess"] is None
    Image.fromarray(255 - mask * 255).save(tmp_path / "b.png")
    told = reasons(perform(changed(task, mask=str(tmp_path / "b.png"))))
    assert told["preprocess"] == "mask has other content"
    assert reasons(perform(task))["preprocess"] == "mask is left out"


def test_another_version_redoes_all_unless_any_will_do(task, monkeypatch):
    perform(task)
    for module in (markers, tasks):
        monkeypatch.setattr(module, "__version__", "9.9")
    assert reasons(perform(dataclasses.replace(task, any_version=True)))["preprocess"] is None
    assert "by iosfast" in reasons(perform(task))["preprocess"]


def test_outputs_that_are_missing_or_cut(task):
    perform(task)
    change = Path(task.folder, "maps", "change.tif")
    held = change.read_bytes()
    change.unlink()
    assert reasons(perform(task))["preprocess"] == "maps/change.tif is missing"
    assert change.read_bytes() == held
    change.write_bytes(held[:-1])
    assert "bytes, not" in reasons(perform(task))["preprocess"]
    assert change.read_bytes() == held


@pytest.mark.parametrize("text", ["", "{}", "[]", "nonsense", "{", "null"])
def test_a_damaged_marker(task, text):
    perform(task)
    place = place_of(Path(task.folder), "preprocess")
    held = place.read_text()
    place.write_text(text)
    assert "damaged" in reasons(perform(task))["preprocess"]
    told = json.loads(held)
    told["outputs"][0][1] += 1
    place.write_text(json.dumps(told))
    assert "checksum" in reasons(perform(task))["preprocess"]


def test_what_people_changed_is_never_replaced(task):
    perform(task)
    table = Path(task.folder, "episodes", "episodes.csv")
    held = table.read_text()
    table.write_text(held + "1,a,b\n")
    outcome = perform(changed(task, midline_x_px=3))
    assert outcome.failed == "episodes"
    assert "was changed since it was made" in outcome.error
    assert table.read_text() == held + "1,a,b\n"
    assert "WriteError" in Path(outcome.log).read_text()
    table.write_text(held)
    assert perform(changed(task, midline_x_px=3)).error is None
    assert not Path(outcome.log).exists()


def test_bad_data_is_tried_once_and_told(task, recording, monkeypatch):
    recording.write_bytes(recording.read_bytes()[:2000])
    calls = counted(monkeypatch, lambda work: preprocess_of(work))
    outcome = perform(task)
    assert (outcome.failed, outcome.retried, len(calls)) == ("preprocess", 0, 1)
    assert str(recording) in outcome.error
    assert "\n" not in outcome.error
    assert "Traceback" in Path(outcome.log).read_text()
    assert sorted(p.name for p in Path(task.folder).iterdir()) == [".lock", "error.log"]


preprocess_of = steps.BY_NAME["preprocess"].run


def counted(monkeypatch, function):
    calls = []

    def run(work):
        calls.append(work)
        return function(work)

    step = dataclasses.replace(steps.BY_NAME["preprocess"], run=run)
    monkeypatch.setitem(steps.BY_NAME, "preprocess", step)
    return calls


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, os.strerror(errno.EIO)),
        OSError(errno.ESTALE, os.strerror(errno.ESTALE)),
        ReadError(os.strerror(errno.ETIMEDOUT), "s.tif", 3),  # as the core tells it
    ],
)
def test_errors_that_may_pass_are_tried_again(task, monkeypatch, error):
    def fails_twice(work):
        if len(calls) < 3:
            raise error
        return preprocess_of(work)

    calls = counted(monkeypatch, fails_twice)
    outcome = perform(task)
    assert (outcome.error, outcome.retried, len(calls)) == (None, 2, 3)
    calls.clear()
    shutil.rmtree(task.folder)
    outcome = perform(dataclasses.replace(task, retries=1))
    assert (outcome.failed, outcome.retried, len(calls)) == ("preprocess", 1, 2)


def test_an_error_behind_another_one(task, monkeypatch):
    def fails(work):
        try:
            raise OSError(errno.EIO, "the disk")
        except OSError:
            raise ReadError("cannot be read", "s.tif") from None

    calls = counted(monkeypatch, fails)
    assert perform(task).retried == 2
    assert len(calls) == 3


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("of a library"), KeyError("x")])
def test_whatever_is_raised_is_told(task, monkeypatch, error):
    def fails(work):
        raise error

    calls = counted(monkeypatch, fails)
    outcome = perform(task)
    assert len(calls) == 1
    assert type(error).__name__ in outcome.error or "out of memory" in outcome.error


def test_a_source_that_changes_while_it_is_read(task, recording, monkeypatch):
    def run(work):
        made = preprocess_of(work)
        write_tiff(recording, 9)
        return made

    counted(monkeypatch, run)
    outcome = perform(task)
    assert "changed while it was read" in outcome.error
    assert not Path(task.folder, "maps").exists()
    assert Marker.read(Path(task.folder), "preprocess") is None


def test_a_source_that_shrinks_or_disappears(task, recording, monkeypatch):
    def shrinks(work):
        os.truncate(recording, 9000)
        return preprocess_of(work)

    counted(monkeypatch, shrinks)
    assert str(recording) in perform(task).error
    recording.unlink()
    outcome = perform(task)
    assert outcome.error == f"{recording}: does not exist"
    assert not Path(task.folder, "maps").exists()


def test_later_steps_need_no_source(task, recording):
    perform(dataclasses.replace(task, steps=("preprocess",)))
    recording.unlink()
    rest = dataclasses.replace(task, steps=EVERY[1:])
    assert set(reasons(perform(rest)).values()) == {"not done yet"}


def test_what_a_killed_run_left_is_removed_or_put_back(task):
    perform(task)
    folder = Path(task.folder)
    held = files_in(folder)
    (folder / ".maps.partial-0123abcd").mkdir()
    (folder / ".maps.partial-0123abcd" / "change.tif").write_text("half")
    (folder / "maps").rename(folder / ".maps.replaced-0123abcd")
    (folder / "done" / ".measure.partial-0123abcd.json").write_text("half")
    (folder / "sub" / ".maps.partial-0123abcd").mkdir(parents=True)  # of another recording
    assert set(reasons(perform(task)).values()) == {None}
    assert files_in(folder) == held
    assert (folder / "sub" / ".maps.partial-0123abcd").is_dir()


def test_reading_again_compares_to_the_bit(task):
    perform(task)
    again = dataclasses.replace(task, compare=True)
    assert reasons(perform(again))["preprocess"] == COMPARED
    change = Path(task.folder, "maps", "change.tif")
    held = bytearray(change.read_bytes())
    held[-1] ^= 1
    change.write_bytes(held)
    outcome = perform(again)
    assert "is not as it was written" in outcome.error
    assert [p.name for p in Path(task.folder).glob(".*partial*")] == []


def test_a_disk_that_reads_otherwise(task, monkeypatch):
    perform(task)
    other = {"recipe": {"smoothing_px": 5}}

    def run(work):
        return preprocess_of(dataclasses.replace(work, settings=work.settings.changed(other)))

    counted(monkeypatch, run)
    outcome = perform(dataclasses.replace(task, compare=True))
    assert "gave other results when it was read again: maps/change.tif" in outcome.error


def test_identity_looks_at_both_ends(tmp_path):
    path = tmp_path / "x.bin"
    content = bytearray(1_000_000)
    path.write_bytes(content)
    first = Identity.of([path])
    for place in (0, len(content) - 1):
        content[place] ^= 1
        path.write_bytes(content)
        assert first.difference(Identity.of([path])) == "has other content"
        content[place] ^= 1
    path.write_bytes(b"")
    assert Identity.of([path]).nbytes == 0
    assert Identity.from_dict(first.to_dict()) == first
    with pytest.raises(ReadError, match="no file, but a pipe"):
        Identity.of([tmp_path])


def test_two_at_once_take_turns(task):
    """The second waits for the first, and finds that all is done."""
    begun, go_on = threading.Event(), threading.Event()
    first: list = []

    def report(told):
        begun.set()
        go_on.wait(30)

    thread = threading.Thread(target=lambda: first.append(perform(task, report)))
    thread.start()
    assert begun.wait(30)
    second: list = []
    other = threading.Thread(target=lambda: second.append(perform(task)))
    other.start()
    other.join(0.3)
    assert other.is_alive()
    go_on.set()
    thread.join()
    other.join()
    assert set(reasons(first[0]).values()) == {"not done yet"}
    assert set(reasons(second[0]).values()) == {None}


def test_a_lock_ends_with_its_holder(tmp_path):
    """However the holder ends: here by kill -9."""
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom iosfast.batch.locks import locked\n"
        "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(600)\n"
    )
    path = tmp_path / ".lock"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError), locked(path):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with locked(path, wait_s=30):
            pass
    with locked(path) as waited:
        assert waited is False


def test_a_lock_whose_file_was_removed(tmp_path):
    """Who waited for it has the lock of the new file, not that of the old one."""
    path, has, go_on = tmp_path / ".lock", threading.Event(), threading.Event()

    def wait():
        with locked(path, wait_s=30):
            has.set()
            go_on.wait(30)

    other = threading.Thread(target=wait)
    with locked(path):
        other.start()
        assert not has.wait(0.2)
        path.unlink()
    assert has.wait(30)
    with pytest.raises(BlockingIOError), locked(path):
        pass
    go_on.set()
    other.join()


def test_a_lock_where_none_can_be(tmp_path):
    with pytest.raises(WriteError), locked(tmp_path / "not there" / ".lock"):
        pass


def test_settings_are_checked():
    for options, error in (
        ({"frame_rate_hz": -1}, ValueError),
        ({"frame_rate_hz": "x"}, TypeError),
        ({"times": "moon"}, ValueError),
        ({"layout": "x"}, ValueError),
        ({"frames_hz": 3}, ValueError),
        ({"recipe": "x"}, ValueError),
        ({"recipe": {"x": 1}}, ValueError),
        ({"channels": "x"}, TypeError),
        ({"mask": 3}, TypeError),
        ({"picture": 1}, TypeError),
        ({"start_time": "noon"}, ValueError),
    ):
        with pytest.raises(error):
            Settings().changed(options)
    recipe = Settings().changed({"recipe": {"base": "published", "interval_bins": 3}}).recipe
    assert recipe == Recipe.published(interval_bins=3)


def test_warnings_are_notes(task):
    """What preprocess warns of is in the marker."""
    with pytest.warns(IosfastWarning, match="60 Hz is assumed"):
        outcome = perform(changed(task, frame_rate_hz=None, recipe={"bin_frames": 5}))
    assert any("60 Hz is assumed" in note for note in outcome.steps[0].notes)


def parts_made(task, count, *numbers):
    split = dataclasses.replace(task, parts=count)
    for number in numbers:
        assert perform(dataclasses.replace(split, part=number)).error is None
    return split


@pytest.mark.parametrize("recipe", ["default", "published"])
@pytest.mark.parametrize("made", [(0, 1, 2), (1, 2), ()])
def test_a_recording_in_parts_gives_the_same_bits(tmp_path, monkeypatch, recipe, made):
    """Parts of several blocks each; also where some are missing."""
    module = sys.modules["iosfast.preprocess"]
    monkeypatch.setattr(module, "BLOCK_BYTES", 3 * 24 * 32 * 4)
    source = Source((str(write_tiff(tmp_path / "s.tif", count=137)),))
    settings = SETTINGS.changed({"recipe": recipe, "picture": True})
    task = Task(
        name="s", folder=str(tmp_path / "whole"), source=source, settings=settings, steps=EVERY[:1]
    )
    assert perform(task).error is None
    split = parts_made(dataclasses.replace(task, folder=str(tmp_path / "split")), 3, *made)
    files = list(Path(split.folder, ".parts").glob("*.npy"))
    assert len(files) == len(made)
    read = []
    real = module.Run._bin_frames
    monkeypatch.setattr(
        module.Run, "_bin_frames", lambda self, *args: (read.append(1), real(self, *args))
    )
    assert perform(split).error is None
    assert bool(read) == (len(made) < 3)
    assert not Path(split.folder, ".parts").exists()
    assert files_in(Path(split.folder, "maps")) == files_in(Path(task.folder, "maps"))


def test_parts_of_another_source_or_recipe_are_of_no_use(task, recording):
    parts_made(task, 2, 0, 1)
    write_tiff(recording, 5)
    split = parts_made(changed(task, recipe={"smoothing_px": 3}), 2)
    assert perform(split).error is None
    shutil.move(Path(task.folder, "maps"), Path(task.folder).parent / "kept")
    shutil.rmtree(task.folder)
    assert perform(changed(task, recipe={"smoothing_px": 3})).error is None
    kept = files_in(Path(task.folder).parent / "kept")
    assert files_in(Path(task.folder, "maps")) == kept


def test_a_part_is_there_when_it_is_on_the_disk(task, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        parts_made(task, 2, 0)
    assert list(Path(task.folder, ".parts").glob("*.npy")) == []


def test_a_marker_that_is_stale_is_gone_for_good_before_results_are_replaced(task, monkeypatch):
    """Or, after a power failure, it might come back beside results of other options."""
    perform(task)
    told = []

    def run(work):
        told.append("run")
        return preprocess_of(work)

    monkeypatch.setattr(markers, "keep_folder", lambda folder: told.append(folder.name))
    counted(monkeypatch, run)
    perform(changed(dataclasses.replace(task, steps=EVERY[:1]), pixel_size_mm=0.1))
    assert told == ["done", "run"]


def test_a_bad_recording_in_parts(task, recording):
    recording.write_bytes(recording.read_bytes()[:2000])
    split = parts_made(task, 2, 0, 1)
    assert str(recording) in perform(split).error


def test_a_disk_that_becomes_full(task, monkeypatch):
    """In the middle of writing maps, and while a marker is written."""
    module = sys.modules["iosfast.storage"]

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(module.MapsWriter, "_write", full)
        outcome = perform(task)
        assert "No space left on device" in outcome.error
        assert outcome.retried == 0
        assert not Path(task.folder, "maps").exists()
    with monkeypatch.context() as patch:
        patch.setattr(markers.os, "fsync", full)
        outcome = perform(task)
        assert "No space left on device" in outcome.error
        assert list(Path(task.folder, "done").glob("*")) == []
    assert set(reasons(perform(task)).values()) == {"not done yet"}


def test_the_report_of_a_recording(tmp_path):
    """With the episodes that the step before has found, or someone has written."""
    source = Source((str(write_tiff(tmp_path / "s.tif", count=150)),))
    settings = SETTINGS.changed({"pixel_size_mm": 0.3, "recipe": {"interval_bins": 1}})
    steps_ = ("preprocess", "episodes", "report")
    task = Task(
        name="s", folder=str(tmp_path / "s"), source=source, settings=settings, steps=steps_
    )
    assert set(reasons(perform(task)).values()) == {"not done yet"}
    page = Path(task.folder, "report", "report.html")
    assert "<html" in page.read_text(encoding="utf-8")
    assert set(reasons(perform(task)).values()) == {None}
    page.unlink()
    assert reasons(perform(task))["report"] == "report/report.html is missing"
    assert page.exists()
