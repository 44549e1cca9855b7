"""What happens to files while they are read."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np


@contextmanager
def short_reads(random: np.random.Generator) -> Iterator[None]:
    """Let the system's reads give fewer bytes than asked for, as network file systems do."""
    parts = random.integers(1, 5000, 256).tolist()
    count = iter(range(1 << 60))
    real = {name: getattr(os, name) for name in ("read", "pread", "preadv") if hasattr(os, name)}

    def few() -> int:
        return int(parts[next(count) % 256])

    def read(fd: int, length: int) -> bytes:
        return bytes(real["read"](fd, min(length, few())))

    def pread(fd: int, length: int, offset: int) -> bytes:
        return bytes(real["pread"](fd, min(length, few()), offset))

    def preadv(fd: int, buffers: Any, offset: int, flags: int = 0) -> int:
        first = next((memoryview(b).cast("B") for b in buffers if memoryview(b).nbytes), None)
        part = [] if first is None else [first[: few()]]
        return int(real["preadv"](fd, part or buffers, offset, flags))

    faked = {"read": read, "pread": pread, "preadv": preadv}
    with mock.patch.multiple(os, **{name: faked[name] for name in real}):
        yield


@contextmanager
def shrinking(
    folder: Path, names: list[str], random: np.random.Generator
) -> Iterator[Callable[[], None]]:
    """Give a function that shortens files: at once, or by a thread that goes on meanwhile."""
    paths = [folder / name for name in names]
    steps = random.random((4, max(1, len(paths))))
    pauses = random.random(4) * 0.002
    at_once = bool(random.random() < 0.4)
    threads: list[threading.Thread] = []

    def shorten(step: int) -> None:
        for path, part in zip(paths, steps[step].tolist(), strict=False):
            if part < 0.6 and path.is_file():
                size = path.stat().st_size
                os.truncate(path, int(size * part / 0.6))

    def go_on() -> None:
        for step, pause in enumerate(pauses.tolist()):
            time.sleep(pause)
            shorten(step)

    def begin() -> None:
        if at_once:
            shorten(0)
        else:
            threads.append(threading.Thread(target=go_on))
            threads[0].start()

    try:
        yield begin
    finally:
        for thread in threads:
            thread.join()
