"""Means of frames that must be decoded first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from .readers import Recording


def bin_decoded(
    recording: Recording,
    edges: NDArray[np.int64],
    out: NDArray[Any],
    threads: int,
    progress: Callable[[int], object],
) -> None:
    """Write the mean of frames [edges[b], edges[b + 1]) to out[b].

    Whole numbers are summed block by block by the threads that decode them, since their sums do not
    depend on the order; floats one frame after the other.

    Parameters
    ----------
    recording : Recording
    edges : ndarray of int64, shape (B + 1,)
        Increasing.
    out : ndarray of `_core.mean_dtype(recording.dtype)`, shape (B, Y, X)
    threads : int
        0 is one per core.
    progress : callable (frames) -> any
        Called with the number of the frame up to which all is done.

    Raises
    ------
    ReadError
        If the recording cannot be read.
    """
    start, stop = int(edges[0]), int(edges[-1])
    bins = _core.BinAccumulator(recording.shape[1:], recording.dtype)

    def pieces(first: int, frames: NDArray[Any]) -> Iterator[tuple[int, int]]:
        """Cut a block where bins end."""
        last = first + len(frames)
        inside = edges[np.searchsorted(edges, first, "right") : np.searchsorted(edges, last)]
        return pairwise([first, *inside.tolist(), last])

    def sums_of(first: int, frames: NDArray[Any]) -> list[tuple[int, _core.BinAccumulator]]:
        source, found = _core.FrameSource.from_array(frames), []
        for begin, end in pieces(first, frames):
            sums = _core.BinAccumulator(recording.shape[1:], recording.dtype)
            sums.add(source, begin - first, end - first, 1)
            found.append((end, sums))
        return found

    def by_readers() -> Iterator[int]:
        for found in recording.map_blocks(sums_of, start=start, stop=stop, threads=threads):
            for end, sums in found:
                bins.merge(sums)
                yield end

    def in_order() -> Iterator[int]:
        first = start
        for frames in recording.blocks(start=start, stop=stop, threads=threads):
            source = _core.FrameSource.from_array(frames)
            for begin, end in pieces(first, frames):
                bins.add(source, begin - first, end - first, threads)
                yield end
            first += len(frames)

    b = 0
    for end in by_readers() if threads != 1 and out.dtype == np.uint16 else in_order():
        if end == edges[b + 1]:
            bins.mean(out[b])
            b += 1
        progress(end)
