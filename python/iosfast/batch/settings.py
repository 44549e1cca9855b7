"""What is done with a recording: how it is read, calibrated, and turned into maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from .. import arguments
from ..planning import checked_channels, checked_start
from ..recipe import Recipe
from ..storage import checked_layout
from .identity import checksum, digest

#: Options of a recording that only raw files, or those of several recordings, need.
_READING = ("shape", "dtype", "offset", "dataset", "allow_truncated")

#: Options that each step goes by.
PREPROCESS_OPTIONS: tuple[str, ...] = (
    "recipe", "frame_rate_hz", "pixel_size_mm", "times", "channels", "mask", "start_time", "layout",
    *_READING, "picture",
)  # fmt: skip
EPISODE_OPTIONS: tuple[str, ...] = ("midline_x_px", "max_speed_mm_min", "picture")
SEGMENT_OPTIONS: tuple[str, ...] = ("max_speed_mm_min", "picture")
MEASURE_OPTIONS: tuple[str, ...] = ("midline_x_px",)
REPORT_OPTIONS: tuple[str, ...] = ("max_speed_mm_min",)
_CLOCKS = ("frames", "mtime", "name", "datetime")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Options of one recording; see `iosfast.preprocess` for those that have the same names.

    Attributes
    ----------
    midline_x_px : float or None
        Between the hemispheres; see `iosfast.find_episodes`.
    max_speed_mm_min : float or None
        As for `iosfast.find_episodes` and `iosfast.segment`; None is their default.
    picture : bool
        Draw ``contact_sheet.png`` beside the maps, and an overview of the episodes.
    """

    recipe: Recipe = field(default_factory=Recipe)
    frame_rate_hz: float | None = None
    pixel_size_mm: float | None = None
    times: str | None = None
    channels: int | tuple[str, ...] | str | None = None
    mask: str | None = None
    start_time: str | None = None
    layout: str = "stack"
    shape: tuple[int, ...] | None = None
    dtype: str | None = None
    offset: int = 0
    dataset: str | None = None
    allow_truncated: bool = False
    midline_x_px: float | None = None
    max_speed_mm_min: float | None = None
    picture: bool = True

    def __post_init__(self) -> None:
        """Check every option before a night is spent on it."""
        for name in ("frame_rate_hz", "pixel_size_mm", "max_speed_mm_min"):
            self._set(name, arguments.positive(name, getattr(self, name)))
        if self.midline_x_px is not None:
            self._set("midline_x_px", arguments.number("midline_x_px", self.midline_x_px))
        if self.times is not None:
            arguments.choice("times", self.times, _CLOCKS)
        if self.channels is not None:
            checked_channels(self.channels)
            if not isinstance(self.channels, str | int):
                self._set("channels", tuple(self.channels))
        checked_start(self.start_time)
        checked_layout(self.layout)
        if self.shape is not None:
            self._set("shape", tuple(arguments.integer("shape", n, 1) for n in self.shape))
        for name in ("mask", "dataset", "dtype"):
            if not isinstance(getattr(self, name), str | None):
                raise TypeError(f"{name} must be a text, not {getattr(self, name)!r}")
        for name in ("allow_truncated", "picture"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be True or False, not {getattr(self, name)!r}")
        arguments.integer("offset", self.offset, 0)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def changed(self, options: Mapping[str, Any]) -> Self:
        """Return settings in which some options are others, by name; `recipe` may be partial."""
        known = {f.name for f in fields(self)}
        if unknown := sorted(options.keys() - known):
            raise ValueError(
                f"there is no option {unknown[0]!r}; known are {', '.join(sorted(known))}"
            )
        values = dict(options)
        if "recipe" in values:
            values["recipe"] = recipe_of(values["recipe"], self.recipe)
        return replace(self, **values)

    def reading(self) -> dict[str, Any]:
        """Options of `open_recording`."""
        return {name: getattr(self, name) for name in _READING}

    def preprocessing(self) -> dict[str, Any]:
        """Options of `preprocess`, but for `out`."""
        names = ("recipe", "frame_rate_hz", "pixel_size_mm", "times", "channels", "mask")
        given = {name: getattr(self, name) for name in (*names, "start_time", "layout")}
        return {**given, **self.reading()}

    def told(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Return options as JSON-serialisable values; a mask by its content."""
        values: dict[str, Any] = {}
        for name in names:
            value = getattr(self, name)
            if name == "recipe":
                value = value.to_dict()
            elif name == "mask" and value is not None:
                value = checksum(Path(value))
            values[name] = list(value) if isinstance(value, tuple) else value
        return values


def recipe_of(told: Any, base: Recipe | None = None) -> Recipe:
    """Return the recipe of a name, of a mapping of options, or as it is.

    A mapping may name the recipe that it changes under ``"base"``.
    """
    if isinstance(told, Mapping):
        options = dict(told)
        named = options.pop("base", None)
        start = Recipe.named(named) if named is not None else base or Recipe()
        if isinstance(options.get("scale_range"), list):
            options["scale_range"] = tuple(options["scale_range"])
        if unknown := sorted(options.keys() - start.to_dict().keys()):
            raise ValueError(f"a recipe has no option {unknown[0]!r}")
        return start.replaced(**options)
    return Recipe.named(told)


def differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Tell which options differ, and how."""
    told = []
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            told.append(differing(old, new))
        elif name == "mask":
            how = "has other content" if old and new else "is given" if new else "is left out"
            told.append(f"mask {how}")
        else:
            told.append(f"{name} is {new!r}, not {old!r}")
    return ", ".join(told) or f"options differ ({digest(dict(now))})"
