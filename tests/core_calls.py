"""What several tests call the core with, and how."""

from __future__ import annotations

import itertools

import numpy as np
import reference
from hypothesis import strategies as st

from iosfast import _core

THREADS = (1, 2, 3, 7)

shapes = st.tuples(st.integers(1, 24), st.integers(1, 24))
seeds = st.integers(0, 2**32)
dtypes = st.sampled_from([np.uint8, np.uint16])


def edges_of(counts, first=0):
    """Edges of bins of so many frames each."""
    return np.cumsum([first, *counts]).astype(np.int64)


def binned(source, edges, threads=1, progress=None, dtype=np.uint16, transposed=False):
    """Means of frames by the core, written over other values."""
    shape = source.shape[:0:-1] if transposed else source.shape[1:]
    out = np.full((len(edges) - 1, *shape), 77, dtype)
    _core.bin_frames(source, edges, out, threads, progress, transposed)
    return out


def reference_bins(frames, edges):
    """Means of the same frames by the reference."""
    return np.array([reference.bin_mean(frames[a:b]) for a, b in itertools.pairwise(edges)])
