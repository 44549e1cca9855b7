"""What one worker does at a time, and how much it is given."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace
from types import SimpleNamespace

import pytest

from iosfast.batch import dispatch
from iosfast.batch.cluster import own_cluster
from iosfast.batch.settings import Settings
from iosfast.batch.sources import Source
from iosfast.batch.tasks import Outcome, Task

_WAIT_S = 60.0


def task_named(name, parts=1):
    source = Source((f"/nowhere/{name}",))
    return Task(
        name=name,
        folder=f"/nowhere/out/{name}",
        source=source,
        settings=Settings(),
        steps=("preprocess",),
        parts=parts,
    )


@pytest.fixture
def worker(monkeypatch):
    """A worker that counts how often a task left its place to the next."""
    left = []
    of_dask = SimpleNamespace(
        get_worker=lambda: SimpleNamespace(name="w", log_event=lambda topic, told: None),
        secede=lambda: left.append(threading.current_thread()),
    )
    monkeypatch.setattr(dispatch, "needed", lambda name: of_dask)
    return left


def test_while_one_is_written_the_next_is_read(worker, monkeypatch):
    begun = {name: threading.Event() for name in "abc"}
    following = {"a": "b", "b": "c"}

    def perform(task, report, free):
        begun[task.name].set()
        assert worker == []  # as long as something is to be read, nothing else comes
        free()
        if task.name in following:
            assert begun[following[task.name]].wait(_WAIT_S)
        return Outcome(task.name)

    monkeypatch.setattr(dispatch, "perform", perform)
    outcomes = dispatch._perform(tuple(map(task_named, "abc")))
    assert [outcome.name for outcome in outcomes] == ["a", "b", "c"]
    assert len(worker) == 1


def test_the_next_waits_until_one_is_read(worker, monkeypatch):
    reading = []

    def perform(task, report, free):
        reading.append(task.name)
        assert reading == [task.name]
        reading.remove(task.name)
        free()
        return Outcome(task.name)

    monkeypatch.setattr(dispatch, "perform", perform)
    assert len(dispatch._perform(tuple(map(task_named, "abcdefgh")))) == 8


def test_a_worker_takes_no_more_while_much_is_to_be_written(worker, monkeypatch):
    monkeypatch.setattr(dispatch, "perform", lambda task, report, free: Outcome(task.name))
    held = [dispatch._writing.acquire(blocking=False) for _ in range(2)]
    try:
        dispatch._perform((task_named("a"),))
    finally:
        for _ in filter(None, held):
            dispatch._writing.release()
    assert worker == []
    dispatch._perform((task_named("a"),))
    assert len(worker) == 1


@pytest.mark.parametrize(
    ("slots", "nbytes", "expected"),
    [
        (1, [1] * 10, [10]),
        (1, [1] * 100, [64, 36]),
        (1, [3 << 30, 2 << 30, 2 << 30, 1], [1, 2, 1]),
        (2, [1] * 16, [4, 3, 2, 1, 1, 1, 1, 1, 1, 1]),
        (8, [1] * 4, [1, 1, 1, 1]),
    ],
)
def test_short_recordings_go_together(slots, nbytes, expected):
    waiting = deque(
        dispatch._Job(task_named(str(number)), "disk", 0, True, size)
        for number, size in enumerate(nbytes)
    )
    groups = []
    while waiting:
        groups.append(dispatch._together(waiting, slots))
    assert [len(group) for group in groups] == expected
    names = [job.task.name for group in groups for job in group]
    assert names == [str(number) for number in range(len(nbytes))]


def grouped(*args):
    groups = []
    while args[0]:
        groups.append(len(dispatch._together(*args)))
    return groups


def test_where_one_reads_at_a_time_nobody_else_could_take_them():
    def waiting(*steps):
        jobs = (dispatch._Job(task_named(str(n)), "disk", 0, True, 1) for n in range(16))
        return deque(replace(job, task=replace(job.task, steps=steps)) for job in jobs)

    assert grouped(waiting("preprocess"), 4, 1) == [16]
    assert grouped(waiting("preprocess"), 4, 2) == grouped(waiting("preprocess"), 2)
    # Other workers wait for what is read.
    steps = ("preprocess", "episodes")
    assert grouped(waiting(*steps), 4, 1) == grouped(waiting(*steps), 4)


def threads_of(disks, readers, workers):
    """Threads with which tasks run, each on a disk: 2 of 6 while all workers are busy.

    Disks of capital letters have a recording that is as long as sixteen others.
    """
    told = {}

    def performed(tasks):
        return tuple(Outcome(task.name, error=f"{task.threads}") for task in tasks)

    tasks = [
        (task_named(f"{number} {disk}"), disk, 1 << (44 if disk.isupper() else 40))
        for number, disk in enumerate(disks)
    ]
    with (
        own_cluster(workers, 2, 1 << 30, alone=6, processes=False) as cluster,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(dispatch, "_perform", performed)
        dispatch.Dispatch(cluster, readers).run(
            tasks, lambda outcome: told.update({outcome.name: int(outcome.error)})
        )
    return [told[task.name] for task, *_ in tasks]


@pytest.mark.parametrize(
    ("disks", "readers", "workers", "expected"),
    [
        ("a", {}, 2, [6]),
        ("aaaaa", {}, 2, [2, 2, 2, 2, 6]),
        ("aaaaa", {}, 3, [2, 2, 2, 6, 6]),
        ("aaa", {}, 1, [2, 2, 2]),
        ("aaa", {"a": 1}, 2, [6, 6, 6]),
        ("aaaa", {"a": 2}, 2, [2, 2, 2, 6]),
        ("aaaa", {"a": 2}, 3, [6, 6, 6, 6]),
        ("abab", {"a": 1, "b": 1}, 2, [2, 2, 2, 6]),
        ("Aaaa", {}, 2, [6, 2, 2, 6]),
        ("A" + 16 * "a", {}, 2, [*[2] * 16, 6]),
    ],
)
def test_threads_where_fewer_are_at_work(disks, readers, workers, expected):
    assert threads_of(disks, readers, workers) == expected


def test_a_part_goes_alone():
    jobs = [
        dispatch._Job(task_named(str(n), parts), "d", 0, True, 1)
        for n, parts in ((0, 2), (1, 1), (2, 1))
    ]
    waiting = deque(jobs)
    assert dispatch._together(waiting, 1) == jobs[:1]
    assert dispatch._together(waiting, 1) == jobs[1:]


def test_a_scheduler_that_is_lost_before_it_gives_a_result(monkeypatch):
    """The task is done, and what it has given cannot be had any more: not waited for."""
    monkeypatch.setattr(dispatch, "_perform", lambda tasks: tuple(Outcome(t.name) for t in tasks))
    told = []
    with own_cluster(1, 1, 1 << 30, processes=False) as cluster:

        async def lost(*args, **options):
            raise OSError("connection lost")

        monkeypatch.setattr(cluster.client, "_gather", lost)

        def run():
            tasks = [(task_named("a"), "disk", 1)]
            try:
                dispatch.Dispatch(cluster, {}).run(tasks, told.append)
            except ConnectionError as error:
                told.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(_WAIT_S)
    assert [type(each) for each in told] == [ConnectionError]


def test_a_scheduler_that_is_lost_before_anything_begins(monkeypatch):
    def slots():
        raise OSError("connection lost")

    with own_cluster(1, 1, 1 << 30, processes=False) as cluster:
        gone = SimpleNamespace(client=cluster.client, workers=None, slots=slots)
        with pytest.raises(ConnectionError, match="scheduler was lost"):
            dispatch.Dispatch(gone, {}).run([(task_named("a"), "disk", 1)], print)
