"""A long recording in parts: workers make the mean images of some bins each, one makes the maps.

Bins do not depend on each other; whoever makes the maps goes through them in order, so that the
maps are those of one run, to the bit. What is split ends where the blocks of one run do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..maps import Maps
from ..masks import read_mask
from ..planning import Timed
from ..preprocess import Run, checked_job
from ..readers import open_recording
from ..staging import file_beside
from .settings import Settings
from .sources import Source

#: Folder of the parts, below that of the recording's results, until the maps are made.
PARTS = ".parts"


@dataclass(frozen=True)
class Parts:
    """The parts of one recording.

    Attributes
    ----------
    folder : Path
        Where they are.
    key : str
        Of the recording as it is, and of the options: parts of another key are of no use.
    count : int
    """

    folder: Path
    key: str
    count: int

    def place(self, number: int) -> Path:
        """Return the file of a part."""
        return self.folder / f"{self.key}-{number}-of-{self.count}.npy"


def make_part(
    source: Source,
    settings: Settings,
    parts: Parts,
    number: int,
    threads: int,
    progress: Callable[[float], None],
) -> None:
    """Make the mean images of a part, unless they are there; tells which part of them is made."""
    if parts.place(number).exists():
        return
    with _run(source, settings, None, parts, threads) as run:
        blocks = _share(run.blocks(), number, parts.count)
        with file_beside(parts.place(number)) as work:
            bins = blocks[-1][1] - blocks[0][0] if blocks else 0
            shape = (bins, *run.info.shape)
            with open(work, "wb") as file:
                header = np.lib.format.header_data_from_array_1_0(np.empty(0, run.info.bin_dtype))
                np.lib.format.write_array_header_1_0(file, {**header, "shape": shape})
                for count, (first, last) in enumerate(blocks, 1):
                    means = np.empty((last - first, *run.info.shape), run.info.bin_dtype)
                    run.bin(first, last, means)
                    file.write(means.data)
                    progress(count / len(blocks))
                file.flush()
                os.fsync(file.fileno())  # as nothing else would tell that a part is half


def preprocess_parts(
    source: Source,
    settings: Settings,
    parts: Parts,
    out: Path,
    threads: int,
) -> Maps:
    """Make the maps from the parts; a part that is missing is made by the way."""
    with _run(source, settings, out, parts, threads) as run:
        return run.maps(out)


@contextmanager
def _run(
    source: Source,
    settings: Settings,
    out: Path | None,
    parts: Parts,
    threads: int,
) -> Iterator[Run]:
    told = settings.preprocessing()
    reading = settings.reading()
    job = checked_job(
        **{name: value for name, value in told.items() if name not in reading},
        out=out,
        overwrite=True,
        threads=threads,
    )
    with open_recording(source.to_open, **reading) as recording:
        inside = None if job.mask is None else read_mask(job.mask, recording.shape[1:])
        plan = job.plans(Timed.of(recording, job))[""]
        made = None if out is None else _Made(parts)
        run = Run(plan, inside, job, lambda done: None, made)
        if made is not None:
            made.blocks = run.blocks()
        yield run


class _Made:
    """Bins from the parts that are there."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.blocks: list[tuple[int, int]] = []

    def __call__(self, first: int, last: int, out: NDArray[Any]) -> bool:
        for number in range(self._parts.count):
            share = _share(self.blocks, number, self._parts.count)
            if share and share[0][0] <= first and last <= share[-1][1]:
                try:
                    held = np.load(self._parts.place(number), mmap_mode="r")
                except FileNotFoundError:
                    return False
                begin = first - share[0][0]
                out[...] = held[begin : begin + last - first]
                return True
        return False


def _share(blocks: list[tuple[int, int]], number: int, count: int) -> list[tuple[int, int]]:
    return blocks[len(blocks) * number // count : len(blocks) * (number + 1) // count]
