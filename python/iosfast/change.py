"""From binned images to maps: smoothing, change over an interval, colour."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from .recipe import Recipe
from .timing import Stopwatch

#: Bytes of smoothed images that are made at a time.
BATCH_BYTES = 16 << 20


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
        self._maps = 0
        self._baseline_sum = None if recipe.baseline_bins is None else np.zeros(shape)
        # Smoothed images, used again and again: F0 first, then the later images of a batch.
        batch = max(2, min(8, BATCH_BYTES // (4 * shape[0] * shape[1])))
        self._smoothed = np.empty((1 + batch, *shape), np.float32)
        self.undefined_scales: list[int] = []
        self.incomplete_maps = 0

    def count(self, bins: int) -> int:
        """Maps that the next so many bins will give."""
        return map_bins(self._recipe, self._seen + bins).size - self._maps

    def consume(
        self, binned: NDArray[Any], change: NDArray[np.float32], rgb: NDArray[np.uint8]
    ) -> None:
        """Take the next bins, (n, Y, X), and write their maps, as many as `count` said."""
        first, self._seen = self._seen, self._seen + len(binned)
        recipe = self._recipe
        images = binned[-first % recipe.interval_bins :: recipe.interval_bins]
        if recipe.baseline_bins is not None:
            self._add_to_baseline(binned[: max(0, recipe.baseline_bins - first)])
            if first < recipe.baseline_bins <= self._seen:
                self._check_divisor(binned.dtype)
        elif first == 0 and len(images):
            size = recipe.smoothing_first_px or recipe.smoothing_px
            self._smooth(images[:1], size, self._smoothed[:1])
            self._check_divisor(binned.dtype)
        images = images[len(images) - len(change) :]
        batch = len(self._smoothed) - 1
        for at in range(0, len(images), batch):
            part = slice(at, at + batch)
            self._make_maps(images[part], change[part], rgb[part])

    def _make_maps(
        self, images: NDArray[Any], change: NDArray[np.float32], rgb: NDArray[np.uint8]
    ) -> None:
        later = self._smoothed[1 : 1 + len(images)]
        self._smooth(images, self._recipe.smoothing_px, later)
        by_baseline = self._recipe.baseline_bins is not None
        earlier = self._smoothed[: 1 if by_baseline else len(images)]
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
        if images.dtype.kind == "f":
            inside = ... if self._mask is None else self._mask.view(np.bool_)
            unknown = [not np.isfinite(image[inside]).all() for image in change]
            self.incomplete_maps += sum(unknown)
        self._maps += len(images)
        if not by_baseline:
            self._smoothed[0] = later[-1]

    def _check_divisor(self, dtype: np.dtype[Any]) -> None:
        """Raise ValueError if F0 is nothing that a change can be related to."""
        if dtype.kind != "f" or self._recipe.change == "difference":
            return
        inside = slice(None) if self._mask is None else self._mask.view(np.bool_)
        share = float(np.mean(~(self._smoothed[0][inside] > 0)))
        if share > 0.5:
            raise ValueError(
                f"change={self._recipe.change!r} divides by the first mean image, of which "
                f"{100 * share:.0f} % of the pixels are not above 0: these frames hold no "
                "brightness (was an offset subtracted, or a change computed already?); use "
                "change='difference'"
            )

    def _add_to_baseline(self, images: NDArray[Any]) -> None:
        assert self._baseline_sum is not None
        assert self._recipe.baseline_bins is not None
        smoothed = self._smoothed[1:2]
        for image in images:  # one after the other: the same sum whatever the chunking
            self._smooth(image[np.newaxis], self._recipe.smoothing_px, smoothed)
            self._baseline_sum += smoothed[0]
        self._smoothed[0] = self._baseline_sum / self._recipe.baseline_bins

    def _smooth(self, images: NDArray[Any], size: int, out: NDArray[np.float32]) -> None:
        with self._watch.stage("smooth"):
            rounded = self._recipe.smoothing_rounded
            contiguous = np.ascontiguousarray(images)
            _core.box_mean(contiguous, size, self._border, rounded, out, self._threads)
