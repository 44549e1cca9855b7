"""How far a run is: a bar for people, a call for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int], None]


@contextmanager
def progress_for(
    progress: bool | Callable[[int, int], None],
    frames: int,
    nbytes: int,
    what: str = "preprocess",
) -> Iterator[Progress]:
    """Yield a function to call with the number of frames done."""
    if callable(progress):
        yield lambda done: progress(done, frames)
    elif not isinstance(progress, bool):
        raise TypeError(f"progress must be True, False or a function, not {progress!r}")
    elif progress:
        with _bar(frames, nbytes, what) as update:
            yield update
    else:
        yield lambda done: None


@contextmanager
def _bar(frames: int, nbytes: int, what: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=nbytes)
        yield lambda done: bar.update(task, completed=nbytes * done // max(1, frames))
