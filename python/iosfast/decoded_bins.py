"""Means of frames that must be decoded first."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from .readers import Recording

#: Frames of a block for each bin that it belongs to, from which on their sums are made at once:
#: they take no more memory than the frames, and little time to merge.
_WORTH_SUMS = 8

#: Sums of frames, or frames [start, stop) of a source.
_Piece = _core.BinAccumulator | tuple[_core.FrameSource, int, int]


def bin_decoded(
    recording: Recording,
    edges: NDArray[np.int64],
    out: NDArray[Any],
    threads: int,
    progress: Callable[[int], object],
    transposed: bool = False,
) -> None:
    """Write the mean of frames [edges[b], edges[b + 1]) to out[b].

    Whole numbers are summed by the threads that decode them, block by block, since their sums do
    not depend on the order; floats one frame after the other.

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
    transposed : bool
        Exchange rows and columns of the means: out is (B, X, Y).

    Raises
    ------
    ReadError
        If the recording cannot be read.
    """
    exact = threads != 1 and out.dtype == np.uint16

    def pieces(first: int, frames: NDArray[Any]) -> list[tuple[int, _Piece]]:
        """Cut a block where bins end; return frames up to which each piece goes, and the pieces."""
        source, last = _core.FrameSource.from_array(frames), first + len(frames)
        inside = edges[np.searchsorted(edges, first, "right") : np.searchsorted(edges, last)]
        cuts = [first, *inside.tolist(), last]
        found: list[tuple[int, _Piece]] = []
        for begin, end in pairwise(cuts):
            piece = (source, begin - first, end - first)
            if exact and len(frames) >= _WORTH_SUMS * (len(cuts) - 1):
                sums = _core.BinAccumulator(recording.shape[1:], recording.dtype)
                sums.add(*piece, 1)
                found.append((end, sums))
            else:
                found.append((end, piece))
        return found

    bins = _core.BinAccumulator(recording.shape[1:], recording.dtype)
    b, stop = 0, int(edges[-1])
    for found in recording.map_blocks(pieces, start=int(edges[0]), stop=stop, threads=threads):
        for end, piece in found:
            if isinstance(piece, _core.BinAccumulator):
                bins.merge(piece)
            else:
                bins.add(*piece, threads)
            if end == edges[b + 1]:
                bins.mean(out[b], transposed)
                b += 1
            progress(end)
