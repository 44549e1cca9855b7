"""What the colours of an image mean."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from .. import arguments
from ..recipe import Recipe

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_UNITS = {"dff": "dF/F (%)", "ratio": "ratio F/F0", "difference": "difference (counts)"}


#: Values of which the percentiles of images are taken, about; and that are coloured at a time.
_SAMPLE, _AT_ONCE = 1 << 18, 1 << 15


@dataclass(frozen=True, eq=False)
class ColorScale:
    """Colours for numbers, and what to write beside them.

    Parameters
    ----------
    low, high : float
        Values of the first and the last colour.
    label : str
        Quantity and unit.
    colors : str or ndarray of uint8, shape (N, 3)
        Name of a colour map of matplotlib, or a table; at most 256 colours of it are used.
    factor : float
        Values times this are in the label's unit: 100 for percent.

    Raises
    ------
    TypeError, ValueError
        If they are not; `high` must be above `low`.
    """

    low: float
    high: float
    label: str = ""
    colors: str | NDArray[np.uint8] = "gray"
    factor: float = 1.0

    def __post_init__(self) -> None:
        """Check every parameter, and look the colours up."""
        low = arguments.number("low", self.low)
        arguments.number("high", self.high, low, above=True)
        arguments.number("factor", self.factor, 0, above=True)
        if isinstance(self.colors, str):
            from matplotlib import colormaps

            if self.colors not in colormaps:
                raise ValueError(f"colors must be a colour map of matplotlib, not {self.colors!r}")
            table = colormaps[self.colors](np.arange(256), bytes=True)[:, :3]
        else:
            table = np.asarray(self.colors)[:256]
            if table.dtype != np.uint8 or table.ndim != 2 or table.shape[1] != 3:
                raise TypeError("colors must be a name or uint8 (N, 3)")
        object.__setattr__(self, "colors", np.ascontiguousarray(table))

    @classmethod
    def of(cls, recipe: Recipe) -> Self:
        """Return the colours of maps; relative to each map where each has its own scale."""
        colors = recipe.colors()
        limits = recipe.color_range
        if limits is None:
            return cls(0.0, 1.0, "minimum to maximum of each map", colors)
        factor = 100.0 if recipe.change == "dff" else 1.0
        return cls(*limits, _UNITS[recipe.change], colors, factor)

    @classmethod
    def of_images(cls, images: NDArray[Any], label: str = "", colors: str = "gray") -> Self:
        """Return a scale from the 1st to the 99.5th percentile of what is finite in images.

        Of a stack, or of large images, those of some evenly spread images and pixels.
        """
        sample = images[:: max(1, len(images) // 16)] if images.ndim == 3 else images
        every = max(1, math.isqrt(sample.size // _SAMPLE))
        sample = sample[..., ::every, ::every]
        told = sample[np.isfinite(sample)]
        low, high = np.percentile(told, (1, 99.5)).tolist() if told.size else (0.0, 1.0)
        return cls(low, high if high > low else low + 1, label, colors)

    def indices(self, images: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the number of the colour of each value; of those that are not finite, 0."""
        values = np.atleast_1d(images)
        found = np.empty(values.shape, np.uint8)
        # A part at a time, which stays in the cache.
        rows = max(1, _AT_ONCE * len(values) // max(1, values.size))
        for first in range(0, len(values), rows):
            found[first : first + rows] = self._some_indices(values[first : first + rows])
        return found.reshape(np.shape(images))

    def _some_indices(self, values: NDArray[Any]) -> NDArray[np.float32]:
        last = len(self.colors) - 1
        index: NDArray[np.float32] = np.subtract(values, np.float32(self.low), dtype=np.float32)
        index *= np.float32(last / (self.high - self.low))
        index += np.float32(0.5)
        np.clip(index, 0, last, out=index)
        if values.dtype.kind == "f":
            index[~np.isfinite(values)] = 0
        return index

    def rgb(self, images: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the colours of values, uint8 (..., 3); those that are not finite are the first."""
        return np.asarray(np.asarray(self.colors)[self.indices(images)])

    def bar(self, figure: Figure, axes: list[Axes], **placing: Any) -> None:
        """Draw the scale beside axes."""
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import ListedColormap, Normalize

        limits = self.low * self.factor, self.high * self.factor
        colors = ListedColormap(np.asarray(self.colors) / 255)
        bar = figure.colorbar(ScalarMappable(Normalize(*limits), colors), ax=axes, **placing)
        bar.set_label(self.label, fontsize=8)
        bar.ax.tick_params(labelsize=7)
