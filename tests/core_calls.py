"""Calls of the core that several tests make."""

from __future__ import annotations

import itertools

import numpy as np
import reference

from iosfast import _core

THREADS = (1, 2, 3, 7)


def edges_of(counts, first=0):
    """Edges of bins of so many frames each."""
    return np.cumsum([first, *counts]).astype(np.int64)


def binned(source, edges, threads=1, progress=None, dtype=np.uint16):
    """Means of frames by the core, written over other values."""
    out = np.full((len(edges) - 1, *source.shape[1:]), 77, dtype)
    _core.bin_frames(source, edges, out, threads, progress)
    return out


def reference_bins(frames, edges):
    """Means of the same frames by the reference."""
    return np.array([reference.bin_mean(frames[a:b]) for a, b in itertools.pairwise(edges)])
