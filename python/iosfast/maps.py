"""The result of preprocessing: maps, in memory or on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .recipe import Recipe
from .timing import StageTime

#: The three stacks by name, or how to read them.
Stacks = dict[str, NDArray[Any] | Callable[[], NDArray[Any]]]


@dataclass(frozen=True, eq=False)
class Map:
    """One map of a live stream.

    Attributes
    ----------
    index : int
        Number of the map, counted from 0.
    time_s : float
        Begin of the later image's bin, in seconds since the begin of the first bin.
    change : ndarray of float32, shape (Y, X)
    rgb : ndarray of uint8, shape (Y, X, 3)
    """

    index: int
    time_s: float
    change: NDArray[np.float32]
    rgb: NDArray[np.uint8]


@dataclass(frozen=True)
class Info:
    """Everything about maps except their pixels.

    Attributes
    ----------
    recipe : Recipe
    shape : tuple of int
        (Y, X).
    bin_dtype : dtype
        Of the mean images: uint16 (rounded) for uint8 and uint16 frames; float32 for int16 and
        float32, and float64 for 32-bit integers and float64, which are not rounded to counts.
    times_s : ndarray of float64, shape (M,)
        Begin of each map's later image, in seconds since the begin of the first bin.
    bin_times_s : ndarray of float64, shape (B,)
        Begin of each bin, likewise.
    bin_frames : ndarray of int64, shape (B,)
        Frames that each bin is the mean of.
    frame_rate_hz, pixel_size_mm : float or None
        None if neither the file nor the caller told.
    start_s : float or None
        Begin of the first bin by the wall clock, in seconds since 1970-01-01 local time.
    dropped_frames, doubled_frames : int or None
        Frames missing, and frames too many, by time stamps; None if there are none that tell.
    source : dict
        Where the frames came from: path, format, shape, dtype, how frames were timed.
    notes : tuple of str
        What was assumed, left out or looks unusual.
    """

    recipe: Recipe
    shape: tuple[int, int]
    bin_dtype: np.dtype[Any]
    times_s: NDArray[np.float64]
    bin_times_s: NDArray[np.float64]
    bin_frames: NDArray[np.int64]
    frame_rate_hz: float | None
    pixel_size_mm: float | None
    start_s: float | None
    dropped_frames: int | None
    doubled_frames: int | None
    source: dict[str, Any]
    notes: tuple[str, ...] = ()

    def bin_names(self) -> list[str]:
        """Name of every bin by the second in which it begins, ``YYYYMMDD_HHMMSS``.

        Bins that are no whole number of seconds apart have milliseconds behind the second.
        """
        assert self.start_s is not None
        seconds = bool(np.all(self.bin_times_s == np.floor(self.bin_times_s)))
        begin = np.floor(self.start_s) if seconds else self.start_s
        milliseconds = np.floor((begin + self.bin_times_s) * 1000 + 1e-3).astype(np.int64)
        names = []
        for ms in milliseconds.tolist():
            name = datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y%m%d_%H%M%S")
            names.append(name if seconds else f"{name}_{ms % 1000:03d}")
        return names

    def map_bins(self) -> NDArray[np.int64]:
        """Bin of each map's later image, int64 (M,)."""
        return np.searchsorted(self.bin_times_s, self.times_s).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Maps:
    """Maps of one recording, as `preprocess` or `load` return them.

    Attributes
    ----------
    binned : ndarray of uint16, float32 or float64, shape (B, Y, X)
        Mean image of every bin; see `Info.bin_dtype`.
    change : ndarray of float32, shape (M, Y, X)
        Interval change: dF/F as a fraction (0.01 is 1 %), ratio, or difference in counts.
    rgb : ndarray of uint8, shape (M, Y, X, 3)
        Its colours.
    mask : ndarray of bool, shape (Y, X), or None
        Pixels of the cortex.
    info : Info
        Recipe, times, calibration, source; also reachable as attributes of the maps.
    path : Path or None
        The folder that holds the maps.
    timings : mapping of str to StageTime
        Where the time of the run went; empty for maps that were loaded.
    """

    info: Info
    mask: NDArray[np.bool_] | None = None
    path: Path | None = None
    timings: Mapping[str, StageTime] = field(default_factory=dict, repr=False)
    _stacks: Stacks = field(default_factory=dict, repr=False)

    def _stack(self, name: str) -> NDArray[Any]:
        stack = self._stacks[name]
        return stack() if callable(stack) else stack

    @cached_property
    def binned(self) -> NDArray[Any]:
        """Mean image of every bin, of `info.bin_dtype`, (B, Y, X)."""
        return self._stack("binned")

    @cached_property
    def change(self) -> NDArray[np.float32]:
        """Interval change, float32 (M, Y, X)."""
        return self._stack("change")

    @cached_property
    def rgb(self) -> NDArray[np.uint8]:
        """Colours of the interval change, uint8 (M, Y, X, 3)."""
        return self._stack("rgb")

    @property
    def recipe(self) -> Recipe:
        """How the maps were made."""
        return self.info.recipe

    @property
    def times_s(self) -> NDArray[np.float64]:
        """Time of each map, float64 (M,): begin of its later bin, since that of the first bin."""
        return self.info.times_s

    @property
    def bin_times_s(self) -> NDArray[np.float64]:
        """Begin of each bin, float64 (B,), since that of the first bin."""
        return self.info.bin_times_s

    @property
    def bin_frames(self) -> NDArray[np.int64]:
        """Frames in each bin, int64 (B,)."""
        return self.info.bin_frames

    @property
    def frame_rate_hz(self) -> float | None:
        """Frames per second of the recording, if known."""
        return self.info.frame_rate_hz

    @property
    def pixel_size_mm(self) -> float | None:
        """Side of a pixel in millimetres, if known."""
        return self.info.pixel_size_mm

    @property
    def start_s(self) -> float | None:
        """Wall-clock time of the first bin, seconds since 1970-01-01 local time, if known."""
        return self.info.start_s

    @property
    def source(self) -> dict[str, Any]:
        """Where the frames came from."""
        return self.info.source

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed, left out or looks unusual."""
        return self.info.notes

    def __len__(self) -> int:
        return int(self.times_s.size)

    def __repr__(self) -> str:
        y, x = self.info.shape
        return (
            f"<Maps {len(self)} maps, {self.bin_times_s.size} bins of {y} x {x} pixels "
            f"({self.recipe.change}) from {self.source.get('path')!r}>"
        )

    def save(
        self, out: str | PathLike[str], *, layout: str = "stack", overwrite: bool = False
    ) -> Path:
        """Write the maps to a new folder, as `preprocess` with `out` would have.

        See `iosfast.preprocess` for `layout`, `overwrite` and errors.
        """
        from .storage import MapsWriter, checked_layout

        with MapsWriter(
            out,
            self.info,
            bins=self.bin_times_s.size,
            mask=self.mask,
            layout=checked_layout(layout),
            overwrite=overwrite,
        ) as writer:
            writer.write(0, self.binned, 0, self.change, self.rgb)
            return writer.finish(self.info)
