"""From binned images to maps: smoothing, change over an interval, colour."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from .recipe import Recipe
from .timing import Stopwatch


def map_bins(recipe: Recipe, bins: int) -> NDArray[np.int64]:
    """Later bin of every map that so many bins give, int64 (M,)."""
    later = np.arange(recipe.interval_bins, bins, recipe.interval_bins, dtype=np.int64)
    return later if recipe.baseline_bins is None else later[later >= recipe.baseline_bins]


class IntervalStage:
    """Turns binned images into maps, a few bins at a time; the chunking changes nothing."""

    def __init__(
        self,
        recipe: Recipe,
        shape: tuple[int, int],
        mask: NDArray[np.bool_] | None,
        threads: int,
        watch: Stopwatch,
    ) -> None:
        self._recipe = recipe
        self._shape = shape
        self._mask = None if mask is None else np.ascontiguousarray(mask).view(np.uint8)
        self._threads = threads
        self._watch = watch
        self._colors = recipe.colors()
        self._range = recipe.color_range
        self._kind = _core.Change.__members__[recipe.change]
        self._border = _core.Border.__members__[recipe.smoothing_border]
        self._seen = 0
        self._earlier: NDArray[np.float32] | None = None  # (1, Y, X)
        self._baseline_sum: NDArray[np.float64] | None = None
        self._maps = 0
        self.undefined_scales: list[int] = []

    def count(self, bins: int) -> int:
        """Maps that the next so many bins will give."""
        return map_bins(self._recipe, self._seen + bins).size - self._maps

    def consume(
        self, binned: NDArray[np.uint16], change: NDArray[np.float32], rgb: NDArray[np.uint8]
    ) -> None:
        """Take the next bins, uint16 (n, Y, X), and write their maps, as many as `count` said."""
        first, self._seen = self._seen, self._seen + len(binned)
        recipe = self._recipe
        with self._watch.stage("smooth"):
            if recipe.baseline_bins is not None:
                self._add_to_baseline(binned[: max(0, recipe.baseline_bins - first)])
            step = recipe.interval_bins
            images = np.ascontiguousarray(binned[-first % step :: step])
            if recipe.baseline_bins is not None:
                images = images[len(images) - len(change) :]
                earlier, later = self._earlier, self._smooth(images, recipe.smoothing_px)
            else:
                earlier, later = self._pairs(images, first == 0)
        if not len(change):
            return
        assert earlier is not None
        with self._watch.stage("change and colour"):
            undefined = _core.change_maps(
                earlier,
                later,
                self._kind,
                self._range,
                self._colors,
                self._mask,
                change,
                rgb,
                self._threads,
            )
        self.undefined_scales += (self._maps + np.flatnonzero(undefined)).tolist()
        self._maps += len(change)

    def _pairs(
        self, images: NDArray[np.uint16], at_start: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Earlier and later images; the last one stays as the next pair's earlier image."""
        chain: list[Any] = [] if self._earlier is None else [self._earlier]
        if at_start and len(images):
            size = self._recipe.smoothing_first_px or self._recipe.smoothing_px
            chain.append(self._smooth(images[:1], size))
            images = images[1:]
        if len(images):
            chain.append(self._smooth(images, self._recipe.smoothing_px))
        if not chain:
            nothing = np.empty((0, *self._shape), np.float32)
            return nothing, nothing
        smoothed = np.concatenate(chain)
        self._earlier = smoothed[-1:].copy()
        return smoothed[:-1], smoothed[1:]

    def _add_to_baseline(self, images: NDArray[np.uint16]) -> None:
        for image in images:  # one after the other: the same sum whatever the chunking
            smoothed = self._smooth(image[np.newaxis], self._recipe.smoothing_px)[0]
            if self._baseline_sum is None:
                self._baseline_sum = np.zeros(self._shape)
            self._baseline_sum += smoothed
        if self._baseline_sum is not None and self._recipe.baseline_bins is not None:
            mean = self._baseline_sum / self._recipe.baseline_bins
            self._earlier = mean.astype(np.float32)[np.newaxis]

    def _smooth(self, images: NDArray[np.uint16], size: int) -> NDArray[np.float32]:
        if not len(images):
            return np.empty((0, *self._shape), np.float32)
        return _core.box_mean(
            np.ascontiguousarray(images),
            size,
            self._border,
            self._recipe.smoothing_rounded,
            self._threads,
        )
