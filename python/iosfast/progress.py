"""How far a run is: a bar for people, a call for programs; and Ctrl-C, which must not get lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Progress = Callable[[int], None]

_interrupted = threading.Event()

#: What asks a program to end; Windows has no SIGHUP.
_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


@contextmanager
def heeding_interrupts() -> Iterator[None]:
    """Let what asks a program to end do so as Ctrl-C does, which tidies up.

    These are `kill`, a cluster's scheduler, and a terminal that is closed. An exception that got
    lost is raised anew at the next sign of progress: Python drops those that a signal raises
    within callbacks of its own, such as those of imports. For programs, in their main thread.
    """

    def interrupt(_number: int, _frame: Any) -> None:
        _interrupted.set()
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    # Others are ignored, as after nohup, or somebody else's.
    ours = [n for n, was in before.items() if was in (signal.default_int_handler, signal.SIG_DFL)]
    for number in ours:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])
        _interrupted.clear()


@contextmanager
def progress_for(
    progress: bool | Callable[[int, int], None],
    frames: int | None,
    nbytes: int | None,
    what: str = "preprocess",
) -> Iterator[Progress]:
    """Yield a function to call with the number of frames done, out of `frames` if that is known.

    The bar tells bytes out of `nbytes`, or without it how many are done, of what does not take
    its time by its bytes.
    """
    with _updates(progress, frames, nbytes, what) as update:

        def heeding(done: int) -> None:
            if _interrupted.is_set():
                raise KeyboardInterrupt
            update(done)

        yield heeding


@contextmanager
def _updates(
    progress: bool | Callable[[int, int], None], frames: int | None, nbytes: int | None, what: str
) -> Iterator[Progress]:
    if callable(progress):
        yield lambda done: progress(done, done if frames is None else frames)
    elif not isinstance(progress, bool):
        raise TypeError(f"progress must be True, False or a function, not {progress!r}")
    elif progress and frames is None:
        with _counter(what) as update:
            yield update
    elif progress:
        assert frames is not None
        with _bar(frames, nbytes, what) as update:
            yield update
    else:
        yield lambda done: None


@contextmanager
def _bar(frames: int, nbytes: int | None, what: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    total = frames if nbytes is None else nbytes
    amounts = (DownloadColumn(), TransferSpeedColumn())
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        *((MofNCompleteColumn(),) if nbytes is None else amounts),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=total * done // max(1, frames))


@contextmanager
def _counter(what: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    text = TextColumn("{task.description}: {task.completed:,.0f} frames")
    columns = (SpinnerColumn(), text, TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done: bar.update(task, completed=done)
