"""Maps from frames as they arrive."""

from __future__ import annotations

import itertools
import math
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core, arguments
from .binning import FrameClock, checked_times, edges_of
from .change import IntervalStage
from .errors import warn
from .maps import Map
from .masks import read_mask
from .readers.pixels import check_pixels
from .recipe import Recipe, RecipeName
from .timing import Stopwatch


class Preprocessor:
    """Turn frames into maps while they arrive, any number at a time.

    The maps are those of `preprocess` for the same frames, to the bit.

    Parameters
    ----------
    shape : tuple of int
        (Y, X) of a frame.
    recipe : Recipe or {"default", "published"}
        What to compute.
    frame_rate_hz : float, optional
        Needed unless times are pushed with the frames.
    mask : ndarray or path, optional
        The cortex; see `iosfast.read_mask`.
    threads : int
        0 is one per core. The result does not depend on it.

    Attributes
    ----------
    notes : list of str
        What was left out or looks unusual.
    bin_dtype : dtype
        Of mean images: uint16, unless other frames are pushed than uint8 and uint16.

    Examples
    --------
    >>> live = iosfast.Preprocessor(shape=(512, 512), frame_rate_hz=60.0)
    >>> for block in camera:
    ...     for m in live.push(block):
    ...         show(m.rgb)
    >>> live.flush()
    """

    def __init__(
        self,
        shape: tuple[int, int],
        *,
        recipe: Recipe | RecipeName = "default",
        frame_rate_hz: float | None = None,
        mask: str | PathLike[str] | NDArray[Any] | None = None,
        threads: int = 0,
    ) -> None:
        self.shape = arguments.image_shape("shape", shape)
        self.recipe = Recipe.named(recipe)
        self.frame_rate_hz = arguments.positive("frame_rate_hz", frame_rate_hz)
        self.notes: list[str] = []
        self.bin_dtype: np.dtype[Any] = np.dtype(np.uint16)
        self._threads = arguments.threads(threads)
        self._watch = Stopwatch()
        self._mask = None if mask is None else read_mask(mask, self.shape)
        self._stage = IntervalStage(self.recipe, self.shape, self._mask, self._threads, self._watch)
        self._sums: _core.BinAccumulator | None = None
        self._clock: FrameClock | None = None
        self._frames = 0
        self._edge = 0
        self._bin = self._first_bin = 0
        self._last_time_s = -math.inf
        self._bin_frames: list[int] = []
        self._maps = 0
        self._flushed = False

    def push(self, frames: NDArray[Any], times_s: ArrayLike | None = None) -> list[Map]:
        """Add frames; return the maps that they complete.

        Parameters
        ----------
        frames : ndarray, shape (n, Y, X) or (Y, X)
            uint8 or uint16; or, always the same, one of the others that `preprocess` takes.
        times_s : array_like of float, shape (n,), optional
            Times in seconds, never decreasing; either with every push or with none. Bins then
            begin at multiples of the recipe's `bin_seconds`.

        Returns
        -------
        list of Map
            Usually empty, or one map.

        Raises
        ------
        TypeError, ValueError
            If the frames or times do not fit.
        """
        if self._flushed:
            raise ValueError("frames were pushed after flush; make a new Preprocessor")
        block = self._checked_frames(frames)
        by_time = times_s is not None
        if self._clock is None:
            if not by_time and self.frame_rate_hz is None:
                raise ValueError("give frame_rate_hz, or push times_s with the frames")
            self._clock = FrameClock.of(self.recipe, self.frame_rate_hz, by_time)
            if not by_time:
                self._edge = self._clock.next_edge(0)
        elif self._clock.by_time != by_time:
            raise ValueError("push times_s either with every block of frames or with none")
        self._check_dtype(block.dtype)
        if not len(block):
            return []
        if times_s is not None:
            times = np.atleast_1d(np.asarray(times_s))
            return self._push_by_time(block, checked_times(times, len(block)))
        return self._push_by_count(block)

    def flush(self) -> list[Map]:
        """End the recording: keep or drop the last bin as the recipe says; return its map."""
        was_flushed, self._flushed = self._flushed, True
        if was_flushed or self._clock is None or self._sums is None or self._sums.frames == 0:
            return []
        whole = self._clock.is_whole(self._sums.frames, self._frames, self._bin_frames)
        if not whole:
            note = partial_note(self.recipe, self._sums.frames)
            self.notes.append(note)
            if self.recipe.partial_bin == "drop":
                return []
        return self._complete()

    def _checked_frames(self, frames: NDArray[Any]) -> NDArray[Any]:
        if not isinstance(frames, np.ndarray):
            raise TypeError(f"frames must be an array, not {type(frames).__name__}")
        check_pixels(frames.dtype, TypeError)
        block = frames[np.newaxis] if frames.ndim == 2 else frames
        if block.ndim != 3 or block.shape[1:] != self.shape:
            raise ValueError(
                f"frames must be (n, {self.shape[0]}, {self.shape[1]}), not {frames.shape}"
            )
        if block.flags.c_contiguous and block.flags.aligned and block.dtype.isnative:
            return block
        return np.require(block, block.dtype.newbyteorder("="), ["C", "A"])

    def _check_dtype(self, dtype: np.dtype[Any]) -> None:
        """Make room for sums, or raise TypeError if these frames do not go with those before."""
        bin_dtype = _core.mean_dtype(dtype)
        if self._sums is None:
            self._sums = _core.BinAccumulator(self.shape, dtype)
            self.bin_dtype = bin_dtype
            if (note := unrounded_note(dtype)) is not None:
                self.notes.append(note)
        elif bin_dtype != self.bin_dtype:
            raise TypeError(
                f"frames of {dtype} cannot follow frames whose mean images are {self.bin_dtype}"
            )

    def _push_by_count(self, block: NDArray[Any]) -> list[Map]:
        assert self._clock is not None
        assert self._sums is not None
        source = _core.FrameSource.from_array(block)
        maps: list[Map] = []
        at = 0
        while at < len(block):
            take = min(len(block) - at, self._edge - self._frames)
            self._sums.add(source, at, at + take, self._threads)
            at += take
            self._frames += take
            if self._frames == self._edge:
                maps += self._complete()
                self._bin += 1
                self._edge = self._clock.next_edge(self._frames)
        return maps

    def _push_by_time(self, block: NDArray[Any], times: NDArray[np.float64]) -> list[Map]:
        assert self._clock is not None
        assert self._sums is not None
        if times[0] < self._last_time_s:
            raise ValueError(
                f"times must not decrease; frame {self._frames} ({times[0]} s) is before the "
                f"frame pushed last ({self._last_time_s} s)"
            )
        self._last_time_s = float(times[-1])
        bins = self._clock.by_times(times)
        source = _core.FrameSource.from_array(block)
        maps: list[Map] = []
        edges = edges_of(bins).tolist()
        for begin, end in itertools.pairwise(edges):
            number = int(bins[begin])
            if self._sums.frames and number != self._bin:
                maps += self._complete()
            if not self._frames:
                self._first_bin = number
            self._bin = number
            self._sums.add(source, begin, end, self._threads)
            self._frames += end - begin
        return maps

    def _complete(self) -> list[Map]:
        assert self._clock is not None
        assert self._sums is not None
        self._bin_frames.append(self._sums.frames)
        binned = np.empty((1, *self.shape), self.bin_dtype)
        self._sums.mean(binned[0])
        count = self._stage.count(1)
        change = np.empty((count, *self.shape), np.float32)
        rgb = np.empty((count, *self.shape, 3), np.uint8)
        undefined = len(self._stage.undefined_scales)
        self._stage.consume(binned, change, rgb)
        self._keep(binned, change, rgb)
        if not count:
            return []
        index = self._maps
        self._maps += 1
        if len(self._stage.undefined_scales) > undefined:
            note = undefined_note([index])
            self.notes.append(note)
            warn(note)
        time_s = (self._bin - self._first_bin) * self._clock.bin_seconds
        return [Map(index, time_s, change[0], rgb[0])]

    def _keep(
        self, binned: NDArray[Any], change: NDArray[np.float32], rgb: NDArray[np.uint8]
    ) -> None:
        """Take a finished bin, (1, Y, X), and its map, if there is one; for who stores them."""


def partial_note(recipe: Recipe, frames: int) -> str:
    """Say what became of a last bin that is not full."""
    kept = "kept" if recipe.partial_bin == "keep" else "dropped"
    return f"the last bin has only {frames:,} frames and is {kept} (partial_bin)"


def unrounded_note(dtype: np.dtype[Any]) -> str | None:
    """Say that mean images are not rounded to counts, where they are not."""
    bin_dtype = _core.mean_dtype(dtype)
    if bin_dtype == np.uint16:
        return None
    return f"pixels are {dtype}; mean images are kept as {bin_dtype}, not rounded to counts"


def stage_notes(stage: IntervalStage) -> list[str]:
    """Say what maps are not as they should be."""
    notes = [undefined_note(stage.undefined_scales)] if stage.undefined_scales else []
    if stage.incomplete_maps:
        notes.append(
            f"{stage.incomplete_maps:,} maps have pixels without a value, where the frames hold "
            "NaN or infinity, or F0 is 0"
        )
    return notes


def undefined_note(maps: list[int]) -> str:
    """Say which maps show nothing."""
    which = ", ".join(str(m) for m in maps[:5]) + (", ..." if len(maps) > 5 else "")
    return (
        f"{len(maps)} map{'s' if len(maps) > 1 else ''} without a colour scale of "
        f"{'their' if len(maps) > 1 else 'its'} own, as all pixels are equal or one is infinite: "
        f"map {which}; shown in the first colour throughout"
    )
