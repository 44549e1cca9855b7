"""COCO's run lengths of masks, plain and packed into text."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Larger masks are taken for a damaged file.
MAX_PIXELS = 1 << 30


def encode(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Return a mask (Y, X) as packed run lengths."""
    return {"size": list(mask.shape), "counts": pack(runs_of(mask))}


def runs_of(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the lengths of runs down the columns, of pixels outside and inside in turn."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    bounds = np.concatenate([[0], changes, [flat.size]])
    if flat[0]:  # the first run is of zeros, if an empty one
        bounds = np.concatenate([[0], bounds])
    return np.diff(bounds)


def decode(segmentation: Any) -> NDArray[np.bool_]:
    """Return the mask (Y, X) of plain or packed run lengths.

    Raises
    ------
    ValueError
        If they are none, or do not fill the image.
    """
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if (
        not isinstance(size, list)
        or len(size) != 2
        or not all(isinstance(n, int) and 0 < n <= 1_000_000 for n in size)
    ):
        raise ValueError(f"its run lengths have no size [height, width], but {size!r:.60}")
    height, width = size
    if height * width > MAX_PIXELS:
        raise ValueError(f"its run lengths are of {width} x {height} pixels, which is too many")
    if isinstance(counts, str):
        runs = unpack(counts)
    else:
        runs = np.asarray(counts)
        if runs.ndim != 1 or (runs.size and runs.dtype.kind not in "iu"):
            raise ValueError("its run lengths must be whole numbers, or packed text")
    if (runs < 0).any() or (runs > height * width).any() or runs.sum() != height * width:
        raise ValueError(f"its run lengths do not fill {width} x {height} pixels")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def pack(counts: NDArray[Any]) -> str:
    """Pack run lengths into text: each as its difference from the second before, in base 32."""
    rest = np.asarray(counts, np.int64).copy()
    rest[3:] -= counts[1:-2]
    columns, used = [], []
    more = np.ones(len(rest), np.bool_)
    while more.any():
        low = rest & 31
        rest >>= 5
        used.append(more)
        more = more & np.where(low & 16, rest != -1, rest != 0)
        columns.append(low + 32 * more + 48)
    if not columns:
        return ""
    text = np.stack(columns, axis=1)[np.stack(used, axis=1)]
    return text.astype(np.uint8).tobytes().decode("ascii")


def unpack(text: str) -> NDArray[np.int64]:
    """Return the run lengths that `pack` packed."""
    codes = np.frombuffer(text.encode("ascii", "replace"), np.uint8).astype(np.int64) - 48
    if not codes.size:
        return codes
    more = (codes & 32) != 0
    if ((codes < 0) | (codes > 63)).any() or more[-1]:
        raise ValueError("its packed run lengths are damaged")
    first = np.flatnonzero(np.concatenate([[True], ~more[:-1]]))
    lengths = np.diff(np.append(first, codes.size))
    if lengths.max() > 7:
        raise ValueError("its packed run lengths are damaged")
    place = np.arange(codes.size) - np.repeat(first, lengths)
    values = np.add.reduceat((codes & 31) << (5 * place), first)
    last = codes[first + lengths - 1]
    values -= np.where(last & 16, np.int64(1) << (5 * lengths), 0)
    values[1::2] = np.cumsum(values[1::2])  # each is a difference from the second before
    values[2::2] = np.cumsum(values[2::2])
    return np.asarray(values)
