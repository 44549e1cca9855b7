"""What is computed from a recording: the options of binning, change and colour."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from . import _core, arguments

ChangeName = Literal["ratio", "difference", "dff"]
BorderName = Literal["zero", "inside"]
ScaleName = Literal["percent", "range", "per_map"]
PartialBin = Literal["drop", "keep"]
RecipeName = Literal["default", "published"]

PUBLISHED_COLORMAP = "matlab_jet"
MAX_BINS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Options that decide what the maps show; the same recipe and frames give the same bits.

    `Recipe()` is meant for people: the change is dF/F, images are smoothed alike and without
    rounding, and one symmetric range of colours holds for all maps, so that a colour means the
    same change everywhere and no change is white. `Recipe.published()` reproduces the published
    pipeline exactly; its colours stretch from the minimum to the maximum of each map, so they
    cannot be compared between maps, and a map of pure noise looks as vivid as one with a wave.

    Parameters
    ----------
    bin_seconds : float or None
        Length of a bin in seconds; by time stamps, bins begin at multiples of it.
    bin_frames : int or None
        Length of a bin in frames, instead of `bin_seconds`.
    partial_bin : {"drop", "keep"}
        What becomes of a last bin with fewer frames than belong into it.
    interval_bins : int
        Bins from the earlier image of a map to the later one; there is one map per interval.
    change : {"dff", "ratio", "difference"}
        (F - F0) / F0, F / F0 or F - F0, with F0 the earlier image or the baseline.
    baseline_bins : int or None
        If given, F0 is the mean of this many first bins instead of the earlier image, and the
        first map is that of the first interval which ends after them.
    smoothing_px : int
        Side of the mean box filter in pixels, odd; 1 is no smoothing.
    smoothing_first_px : int or None
        The same for the very first image only, if it is an F0; None is `smoothing_px`.
    smoothing_border : {"inside", "zero"}
        Mean over the pixels of the box within the image, or with zeros around the image.
    smoothing_rounded : bool
        Round smoothed images to whole numbers.
    scale : {"percent", "range", "per_map"}
        Colours from -`scale_percent` to +`scale_percent` of change (not for `difference`), over
        `scale_range`, or from the minimum to the maximum of each map.
    scale_percent : float
        Percent of change at the ends of the colour map.
    scale_range : tuple of float or None
        (low, high) in the unit of the change.
    colormap : str
        A name known to matplotlib, or "matlab_jet" (the published colours).

    Raises
    ------
    ValueError, TypeError
        For an option that makes no sense, by name.

    Notes
    -----
    Published pipeline: Zhang et al., Sci Data 13, 255 (2026), doi 10.1038/s41597-026-06580-1.
    """

    bin_seconds: float | None = 1.0
    bin_frames: int | None = None
    partial_bin: PartialBin = "drop"
    interval_bins: int = 5
    change: ChangeName = "dff"
    baseline_bins: int | None = None
    smoothing_px: int = 21
    smoothing_first_px: int | None = None
    smoothing_border: BorderName = "inside"
    smoothing_rounded: bool = False
    scale: ScaleName = "percent"
    scale_percent: float = 1.0
    scale_range: tuple[float, float] | None = None
    colormap: str = "RdBu_r"

    def __post_init__(self) -> None:
        if self.bin_frames is not None:
            if self.bin_seconds not in (None, 1.0):
                raise ValueError("give bin_seconds or bin_frames, not both")
            self._set("bin_seconds", None)
            self._set(
                "bin_frames",
                arguments.integer("bin_frames", self.bin_frames, 1, _core.MAX_FRAMES_PER_BIN),
            )
        elif self.bin_seconds is None:
            raise ValueError("give bin_seconds or bin_frames")
        else:
            self._set("bin_seconds", arguments.number("bin_seconds", self.bin_seconds, 1e-6, 1e6))
        arguments.choice("partial_bin", self.partial_bin, get_args(PartialBin))
        self._set(
            "interval_bins", arguments.integer("interval_bins", self.interval_bins, 1, MAX_BINS)
        )
        arguments.choice("change", self.change, get_args(ChangeName))
        if self.baseline_bins is not None:
            bins = arguments.integer("baseline_bins", self.baseline_bins, 1, MAX_BINS)
            self._set("baseline_bins", bins)
        for name in ("smoothing_px", "smoothing_first_px"):
            size = getattr(self, name)
            if size is None and name == "smoothing_first_px":
                continue
            self._set(name, arguments.integer(name, size, 1, _core.MAX_BOX))
            if getattr(self, name) % 2 == 0:
                raise ValueError(f"{name} must be odd, so that a box has a middle pixel: {size}")
        arguments.choice("smoothing_border", self.smoothing_border, get_args(BorderName))
        if not isinstance(self.smoothing_rounded, bool):
            raise TypeError(f"smoothing_rounded must be True or False: {self.smoothing_rounded!r}")
        arguments.choice("scale", self.scale, get_args(ScaleName))
        percent = arguments.number("scale_percent", self.scale_percent, 0, above=True)
        self._set("scale_percent", percent)
        if self.scale == "percent" and self.change == "difference":
            raise ValueError(
                "scale='percent' has no meaning for change='difference', which is in counts; "
                "use scale='range' with scale_range=(low, high), or scale='per_map'"
            )
        if self.scale == "range" and self.scale_range is None:
            raise ValueError("scale='range' needs scale_range=(low, high)")
        if self.scale_range is not None:
            low, high = arguments.pair("scale_range", self.scale_range)
            if low >= high:
                raise ValueError(f"scale_range must be (low, high), not {self.scale_range!r}")
            self._set("scale_range", (low, high))
        if self.color_range is not None:
            low, high = self.color_range
            if not 0 < high - low < math.inf:
                option = "scale_range" if self.scale == "range" else "scale_percent"
                raise ValueError(f"{option} gives colours from {low} to {high}, which is no range")
        if not isinstance(self.colormap, str):
            raise TypeError(f"colormap must be a name, not {self.colormap!r}")

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @classmethod
    def published(cls, **changes: Any) -> Recipe:
        """Return the published pipeline's options; `changes` replaces some of them."""
        options: dict[str, Any] = {
            "partial_bin": "keep",
            "change": "ratio",
            "smoothing_first_px": 31,
            "smoothing_border": "zero",
            "smoothing_rounded": True,
            "scale": "per_map",
            "colormap": PUBLISHED_COLORMAP,
        }
        return cls(**{**options, **changes})

    @classmethod
    def named(cls, recipe: Recipe | RecipeName) -> Recipe:
        """Return the recipe of that name, or the recipe itself."""
        if isinstance(recipe, Recipe):
            return recipe
        if recipe == "default":
            return cls()
        if recipe == "published":
            return cls.published()
        raise ValueError(f"recipe must be 'default', 'published' or a Recipe, not {recipe!r}")

    def replaced(self, **changes: Any) -> Recipe:
        """Return a copy with some options changed."""
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return all options as JSON-serialisable values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, options: dict[str, Any]) -> Recipe:
        """Return the recipe that `to_dict` described."""
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(options) - known)
        if unknown:
            raise ValueError(f"a recipe has no option {', '.join(unknown)}")
        return cls(**options)

    @property
    def color_range(self) -> tuple[float, float] | None:
        """Change at the two ends of the colour map; None if every map has its own."""
        if self.scale == "per_map":
            return None
        if self.scale == "range":
            return self.scale_range
        middle = 1.0 if self.change == "ratio" else 0.0
        half = self.scale_percent / 100
        return middle - half, middle + half

    def colors(self) -> NDArray[np.uint8]:
        """Return the colour table, uint8 (257, 3); the last entry is for pixels without a value.

        Outside the mask the published pipeline shows colour entry 0; all other colour maps show
        black, which is none of their colours.
        """
        table = np.zeros((257, 3), np.uint8)
        if self.colormap == PUBLISHED_COLORMAP:
            table[:256] = matlab_jet()
            table[256] = table[0]
            return table
        import matplotlib

        try:
            colormap = matplotlib.colormaps[self.colormap]
        except KeyError:
            raise ValueError(
                f"colormap {self.colormap!r} is neither {PUBLISHED_COLORMAP!r} nor known to "
                "matplotlib; matplotlib.colormaps lists the names"
            ) from None
        values = colormap(np.arange(256) / 255.0)[:, :3]
        table[:256] = np.floor(255 * values + 0.5)
        return table


def matlab_jet() -> NDArray[np.uint8]:
    """Return MATLAB's `jet(256)` as uint8 (256, 3), 255 * value rounded half up.

    Entry 0 is (0, 0, 0.515625) and entry 255 is (0.5, 0, 0); all values are multiples of 1/64.
    """
    ramp = np.concatenate([np.arange(1, 65), np.full(63, 64), np.arange(64, 0, -1)]) / 64
    table = np.zeros((256, 3))
    for channel, first in enumerate((96, 32, -32)):  # red, green, blue
        at = np.arange(ramp.size) + first
        inside = (at >= 0) & (at < 256)
        table[at[inside], channel] = ramp[inside]
    return np.floor(255 * table + 0.5).astype(np.uint8)
