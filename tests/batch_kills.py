"""Kills what runs a batch, at random moments, and looks at what is left.

``python tests/batch_kills.py --kills 100 --seed 1`` kills workers, commands, and schedulers in
processes of their own, in turns; after each kill whatever is marked as done must be whole, and a
batch that was killed several times and then resumed must hold the same bits as an undisturbed one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import psutil
from some_archives import results, write_folder, write_tiff

import iosfast
from iosfast.batch.place import write_batch_file
from iosfast.batch.planning import Plan, task_of
from iosfast.batch.tasks import perform
from iosfast.simulate import Noise, Simulation, Wave

KINDS = ("worker", "command", "scheduler", "task")
_STEPS = "preprocess,episodes,segment,measure"
#: Within so many seconds a task is killed, at first.
_TASK_S = 1.0


def make_archive(root: Path, waves: int = 1, others: int = 6) -> Path:
    """Some recordings, of which a few have a wave."""
    root.mkdir(parents=True)
    for number in range(waves):
        Simulation(
            shape=(64, 64),
            duration_s=150,
            frame_rate_hz=5,
            pixel_size_mm=10 / 64,
            waves=[Wave(shape="ring", origin_mm=(1.5, 8.5), amplitude_percent=3, start_s=15)],
            noise=Noise(),
            seed=number,
        ).write(root / f"wave {number}.tif")
    for number in range(others):
        if number % 3 == 2:
            write_folder(root / f"frames {number}", number, 200)
        else:
            write_tiff(root / f"r{number}.tif", number, count=300, shape=(128, 128))
    return root


class Killing:
    """One archive, its undisturbed results, and batches that are killed."""

    def __init__(
        self, folder: Path, seed: int, archive: Path, steps: str = _STEPS, workers: int = 2
    ) -> None:
        self.random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self._steps = steps
        self._workers = str(workers)
        self._archive = archive
        self._out = folder / "out"
        self._folder = folder
        begin = time.monotonic()
        self._finish()
        self.seconds = time.monotonic() - begin
        self._reference = results(self._out)
        assert self._reference
        shutil.rmtree(self._out)

    def round(self, kinds: Sequence[str]) -> None:
        """Kill a batch in these ways, finish it, and compare it with the undisturbed one."""
        for kind in kinds:
            if kind == "task":
                seconds = _TASK_S
                while self._kill_task(self.random.random() * seconds):
                    self.look()
                    seconds *= 1.05  # or the longest step would never come to its end
                continue
            with contextlib.ExitStack() as stack:
                process = address = None
                if kind == "scheduler":
                    process, address = stack.enter_context(_scheduler(self._folder))
                command = self._start(address)
                stack.callback(_end, command)
                time.sleep(self.random.uniform(0.1, 1.0) * self.seconds)
                if kind == "worker":  # the command goes on with others
                    for _ in range(self.random.randint(1, 4 * int(self._workers))):
                        if command.poll() is None:
                            self._kill(kind, self._worker(command))
                            time.sleep(self.random.uniform(0.02, 0.4) * self.seconds)
                    command.wait(600)
                    # 1: workers died again and again while they were started
                    assert command.returncode in (0, 1, 3), "the command fell"
                elif kind == "command":
                    self._kill(kind, psutil.Process(command.pid))
                    command.wait(60)
                else:
                    self._kill(kind, process)
                    assert command.wait(300) in (0, 1, 2, 3), "the command fell"
            self.look()
        self._finish()
        self.look()
        found = results(self._out)
        assert found.keys() == self._reference.keys(), found.keys() ^ self._reference.keys()
        differ = [path for path in found if found[path] != self._reference[path]]
        assert not differ, f"other bits than undisturbed: {differ}"
        self.counts["rounds"] += 1
        shutil.rmtree(self._out)

    def look(self) -> None:
        """Nothing that is marked as done may be half."""
        if not (self._out / "batch.json").exists():
            return
        findings = [
            f for f in iosfast.verify(self._out) if f.what in ("output", "marker", "source")
        ]
        # What was not yet marked again lies beside older markers, and is told as an input.
        assert not findings, findings
        self.counts["looked"] += 1

    def _start(self, scheduler: str | None = None) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "iosfast.cli", "batch", str(self._archive), "--out"]
        command += [str(self._out), "--steps", self._steps, "--frame-rate-hz", "5", "--resume"]
        command += ["--pixel-size-mm", "10/64", "--no-pictures", "--split-gb", "0.003"]
        command += ["--workers", self._workers] if scheduler is None else ["--scheduler", scheduler]
        log = (self._folder / "log.txt").open("ab")
        with log:
            return subprocess.Popen(command, stdout=log, stderr=log)

    def _finish(self) -> None:
        command = self._start()
        try:
            assert command.wait(600) == 0, (self._folder / "log.txt").read_text()[-3000:]
        finally:
            _end(command)

    def _kill_task(self, after_s: float) -> bool:
        """Kill what a worker does, in a process of its own; tells whether anything was to do."""
        plan = self._plan()
        if not plan.to_do:
            return False
        self._out.mkdir(exist_ok=True)
        write_batch_file(plan.out, [self._archive])
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                for each in plan.to_do:
                    perform(task_of(each, plan, 10**9))
            os._exit(0)
        time.sleep(after_s)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        self.counts["task"] += os.WIFSIGNALED(status)
        return True

    def _plan(self) -> Plan:
        names = self._steps.split(",")
        options = {"frame_rate_hz": 5.0, "pixel_size_mm": 10 / 64, "picture": False}
        return iosfast.batch(self._archive, self._out, dry_run=True, steps=names, **options).plan

    def _kill(self, kind: str, process: psutil.Process | None) -> None:
        if process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.status() != psutil.STATUS_ZOMBIE:
                    process.kill()
                    self.counts[kind] += 1

    def _worker(self, command: subprocess.Popen[bytes]) -> psutil.Process | None:
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(command.pid).children(recursive=True)
            workers = [p for p in children if "spawn_main" in _line(p)]
            return self.random.choice(workers) if workers else None
        return None


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _end(command: subprocess.Popen[bytes]) -> None:
    """End a command and all that it began."""
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(command.pid).children(recursive=True)
        for process in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    command.kill()
    command.wait(60)


@contextlib.contextmanager
def _scheduler(folder: Path):
    """A scheduler and a worker, each a process of its own; yields the first and its address."""
    place = folder / "scheduler.json"
    place.unlink(missing_ok=True)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    run = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    scheduler = subprocess.Popen(
        [*run, "--port", "0", "--no-dashboard", "--scheduler-file", str(place)], **quiet
    )
    worker = None
    try:
        while True:
            with contextlib.suppress(OSError, ValueError):
                address = json.loads(place.read_text())["address"]
                break
            time.sleep(0.05)
        run = [sys.executable, "-m", "distributed.cli.dask_worker", address]
        worker = subprocess.Popen(
            [*run, "--nthreads", "1", "--no-dashboard", "--no-nanny"], **quiet
        )
        yield psutil.Process(scheduler.pid), address
    finally:
        for process in filter(None, (worker, scheduler)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            process.wait(60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, required=True, help="new folder to work in")
    parser.add_argument("--waves", type=int, default=1, help="recordings with a wave")
    parser.add_argument("--others", type=int, default=6, help="recordings without")
    parser.add_argument("--steps", default=_STEPS)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    options = parser.parse_args()
    options.folder.mkdir(parents=True)
    archive = make_archive(options.folder / "archive", options.waves, options.others)
    killing = Killing(options.folder, options.seed, archive, options.steps)
    print(f"undisturbed: {killing.seconds:.1f} s", flush=True)
    begin = time.monotonic()
    while sum(killing.counts[kind] for kind in KINDS) < options.kills:
        killing.round(killing.random.choices(options.kinds, k=killing.random.randint(1, 5)))
        print(f"{time.monotonic() - begin:.0f} s: {dict(killing.counts)}", flush=True)


if __name__ == "__main__":
    main()
