"""Mono12Packed frames: two pixels of 12 bits in three bytes, as Andor's SDK 3 packs them."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ReadError
from .pixels import Run
from .recording import Recording


def packed_bytes(width: int) -> int:
    """Bytes that a row of `width` pixels takes."""
    return (3 * width + 1) // 2


def unpack_mono12(rows: NDArray[np.uint8], out: NDArray[np.uint16]) -> None:
    """Unpack an image.

    The first byte holds the upper 8 bits of the first pixel, the third byte those of the second;
    the lower half of the middle byte is the rest of the first, its upper half that of the second.

    Parameters
    ----------
    rows : ndarray of uint8, shape (Y, at least packed_bytes(X))
    out : ndarray of uint16, shape (Y, X)
        Written.
    """
    height, width = out.shape
    pairs = width // 2
    triples = rows[:, : 3 * pairs].reshape(height, pairs, 3)
    middle = triples[..., 1]
    first, second = out[:, : 2 * pairs : 2], out[:, 1::2]
    np.left_shift(triples[..., 0], 4, out=first, dtype=np.uint16)
    np.left_shift(triples[..., 2], 4, out=second, dtype=np.uint16)
    first |= middle & 15
    second |= middle >> 4
    if width % 2:
        end = rows[:, 3 * pairs : 3 * pairs + 2].astype(np.uint16)
        out[:, -1] = (end[:, 0] << 4) | (end[:, 1] & 15)


class Mono12PackedFrames(Recording):
    """Frames of spool files that must be unpacked; safe between threads.

    Parameters
    ----------
    runs : iterable of Run
        Where the images lie.
    shape : tuple of int
        (T, Y, X).
    stride : int
        Bytes from row to row.
    **options
        As for `Recording`.
    """

    def __init__(
        self,
        runs: Iterable[Run],
        shape: tuple[int, int, int],
        stride: int,
        **options: Any,
    ) -> None:
        super().__init__(shape=shape, dtype=np.dtype(np.uint16), **options)
        self._runs: list[Run] | None = list(runs)
        self._firsts = list(itertools.accumulate((run.frames for run in self._runs), initial=0))
        self._stride = stride

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        runs = self._runs
        if runs is None:
            raise ReadError("was closed", self.source)
        _, height, width = self.shape
        out = np.empty((stop - start, height, width), np.uint16)
        stored = bytearray(height * self._stride)
        rows = np.frombuffer(stored, np.uint8).reshape(height, self._stride)
        used = memoryview(stored)[: self._stride * (height - 1) + packed_bytes(width)]
        frame = start
        number = bisect_right(self._firsts, start) - 1
        while frame < stop:
            run, first = runs[number], self._firsts[number]
            try:
                with open(run.path, "rb", buffering=0) as file:
                    for image in range(frame - first, min(stop - first, run.frames)):
                        file.seek(run.offset + image * run.stride)
                        if _fill(file, used) < len(used):
                            raise ReadError(
                                "has become shorter since it was opened", run.path, frame
                            )
                        unpack_mono12(rows, out[frame - start])
                        frame += 1
            except OSError as error:
                raise ReadError(f"cannot be read: {error.strerror}", run.path, frame) from None
            number += 1
        return out

    def close(self) -> None:
        """Forget the files."""
        self._runs = None


def _fill(file: Any, buffer: memoryview) -> int:
    """Read until the buffer is full or the file ends."""
    done = 0
    while done < len(buffer):
        count = file.readinto(buffer[done:])
        if not count:
            break
        done += count
    return done
