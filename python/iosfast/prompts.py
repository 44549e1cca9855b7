"""Prompts: what a person, or a program, says of objects in some maps."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import arguments
from .errors import ReadError
from .outlines import check_polygon, fill_polygon
from .run_lengths import decode, runs_of
from .staging import file_beside

_NAMES = ("map_index", "object_id", "points", "labels", "box", "polygon", "mask")


@dataclass(frozen=True, eq=False)
class Prompt:
    """What is said of one object in one map.

    A prompt holds points, or a box, or both; or a polygon; or a mask. The centre of the first pixel
    is (0, 0). Several prompts of one object in one map are taken together.

    Parameters
    ----------
    map_index : int
        Number of the map in the clip, from 0.
    object_id : int
        Which object it is about; at least 1.
    points : sequence of (x, y)
        Places in pixels.
    labels : sequence of int
        One a point: 1 belongs to the object, 0 does not. Default: all 1.
    box : (x0, y0, x1, y1), optional
        The object lies in it; the corners belong to it.
    polygon : array_like, shape (N, 2), optional
        Outline of the object as (x, y).
    mask : array_like of bool, shape (Y, X), optional
        The object's pixels; none of them means that the object is not in this map.

    Raises
    ------
    TypeError, ValueError
        If it says nothing, contradicts itself, or is no such thing.
    """

    map_index: int
    object_id: int = 1
    points: Sequence[tuple[float, float]] = ()
    labels: Sequence[int] | None = None
    box: tuple[float, float, float, float] | None = None
    polygon: ArrayLike | None = None
    mask: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        """Check what can be checked without the clip."""
        put = object.__setattr__
        put(self, "map_index", arguments.integer("map_index", self.map_index, 0))
        put(self, "object_id", arguments.integer("object_id", self.object_id, 1))
        given = _list("points", self.points)
        points = _numbers("points", given, 2) if given else np.empty((0, 2))
        put(self, "points", tuple((float(x), float(y)) for x, y in points))
        labels = [1] * len(points) if self.labels is None else _list("labels", self.labels)
        if len(labels) != len(points):
            raise ValueError(f"labels must be one a point, but {len(points)} have {len(labels)}")
        if not all(isinstance(n, int | np.integer) and n in (0, 1) for n in labels):
            raise ValueError(f"labels must be 1 (object) or 0 (not), not {labels}")
        put(self, "labels", tuple(int(label) for label in labels))
        if self.box is not None:
            x0, y0, x1, y1 = _numbers("box", [self.box], 4)[0].tolist()
            if not (x0 < x1 and y0 < y1):
                raise ValueError(f"box must be (x0, y0, x1, y1) with x0 < x1, y0 < y1: {self.box}")
            put(self, "box", (x0, y0, x1, y1))
        if self.polygon is not None:
            put(self, "polygon", tuple(map(tuple, _numbers("polygon", self.polygon, 2).tolist())))
        if self.mask is not None:
            mask = np.asarray(self.mask)
            if mask.ndim != 2 or mask.dtype != np.bool_:
                raise TypeError(f"mask must be bool (Y, X), not {mask.dtype} {mask.shape}")
            if not mask.size:
                raise ValueError(f"mask must have pixels, not shape {mask.shape}")
            put(self, "mask", mask)
        ways = [bool(points.size or self.box), self.polygon is not None, self.mask is not None]
        if sum(ways) == 0:
            raise ValueError(f"{self} is empty: give points, a box, a polygon or a mask")
        if sum(ways) > 1:
            raise ValueError(
                f"{self} must be points and a box, or a polygon, or a mask, not several of these"
            )

    def __str__(self) -> str:
        return f"the prompt of object {self.object_id} on map {self.map_index}"

    @property
    def drawn(self) -> bool:
        """Whether it tells every pixel of the object."""
        return self.polygon is not None or self.mask is not None

    @property
    def says_where(self) -> bool:
        """Whether it says where the object is, and not only where it is not."""
        drawn = self.mask is None or bool(self.mask.any())
        return drawn and not (self.points and self.box is None and 1 not in (self.labels or ()))

    def drawing(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Return the pixels of a polygon or mask, bool (Y, X)."""
        if self.polygon is not None:
            return fill_polygon(self.polygon, shape)
        assert self.mask is not None
        return self.mask

    def within(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Return the pixels of the box, bool (Y, X); all if there is none."""
        x0, y0, x1, y1 = self.box or (0, 0, shape[1], shape[0])
        y, x = np.ogrid[: shape[0], : shape[1]]
        found: NDArray[np.bool_] = (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)
        return found

    def check(self, maps: int, shape: tuple[int, int]) -> Self:
        """Return the prompt if it fits a clip, or raise ValueError.

        Parameters
        ----------
        maps : int
            How many maps the clip has.
        shape : tuple of int
            (Y, X).
        """
        height, width = shape
        if self.map_index >= maps:
            raise ValueError(f"{self}: the clip has only the maps 0 to {maps - 1}")
        for x, y in self.points:
            if not (-0.5 <= x < width - 0.5 and -0.5 <= y < height - 0.5):
                raise ValueError(
                    f"{self}: the point ({x:g}, {y:g}) lies outside of the image, which is "
                    f"{width} wide and {height} high"
                )
        if self.box is not None:
            x0, y0, x1, y1 = self.box
            if x1 < 0 or y1 < 0 or x0 > width - 1 or y0 > height - 1:
                raise ValueError(f"{self}: the box {self.box} lies outside of the image")
            if not self.within(shape).any():
                raise ValueError(f"{self}: the box {self.box} holds the centre of no pixel")
        if self.polygon is not None:
            check_polygon(self.polygon, shape, f"{self}: polygon")
        if self.mask is not None and self.mask.shape != shape:
            raise ValueError(f"{self}: the mask is {self.mask.shape}, but maps are {shape} (Y, X)")
        return self

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON holds it; a mask as run lengths, as in COCO."""
        found: dict[str, Any] = {"map_index": self.map_index, "object_id": self.object_id}
        if self.points:
            found |= {"points": [list(point) for point in self.points], "labels": self.labels}
        if self.box is not None:
            found["box"] = list(self.box)
        if self.polygon is not None:
            found["polygon"] = [list(corner) for corner in np.asarray(self.polygon).tolist()]
        if self.mask is not None:
            runs = runs_of(self.mask).tolist()
            found["mask"] = {"size": list(self.mask.shape), "counts": runs}
        return found

    @classmethod
    def from_json(cls, entry: Any) -> Self:
        """Return a prompt from JSON, or raise TypeError or ValueError."""
        if not isinstance(entry, dict):
            raise TypeError(f"a prompt must be an object with {', '.join(_NAMES)}, not {entry!r}")
        unknown = set(entry) - set(_NAMES)
        if unknown or "map_index" not in entry:
            what = f"has no {', '.join(sorted(unknown))}" if unknown else "needs map_index"
            raise ValueError(f"a prompt {what}; it has {', '.join(_NAMES)}")
        given = {name: value for name, value in entry.items() if value is not None}
        if "mask" in given:
            given["mask"] = _mask(given["mask"])
        return cls(**given)


def read_prompts(path: str | PathLike[str]) -> list[Prompt]:
    """Read prompts from JSON: a list of objects with the names of `Prompt`.

    A mask is ``{"size": [Y, X], "counts": [...]}``: lengths of runs down the columns, of pixels
    outside and inside in turn, as in COCO.

    Raises
    ------
    ReadError
        If the file cannot be read, or an entry is no prompt.
    """
    try:
        entries = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ReadError(f"the prompts cannot be read: {error}", path) from error
    if isinstance(entries, dict) and isinstance(entries.get("prompts"), list):
        entries = entries["prompts"]
    if not isinstance(entries, list):
        raise ReadError(f"holds no list of prompts, but {type(entries).__name__}", path)
    prompts = []
    for number, entry in enumerate(entries, 1):
        try:
            prompts.append(Prompt.from_json(entry))
        except (TypeError, ValueError) as error:
            raise ReadError(f"prompt {number} of {len(entries)}: {error}", path) from error
    return prompts


def write_prompts(path: str | PathLike[str], prompts: Iterable[Prompt]) -> Path:
    """Write prompts as JSON, for `read_prompts`.

    Raises
    ------
    WriteError
        If the file cannot be written.
    """
    entries = [json.dumps(prompt.as_json()) for prompt in prompts]
    text = "[\n" + ",\n".join(f" {entry}" for entry in entries) + "\n]\n"
    with file_beside(path) as work:
        work.write_text(text, encoding="utf-8")
    return Path(path)


def _numbers(name: str, value: Any, columns: int) -> NDArray[np.float64]:
    try:
        numbers = np.array(value)
        if numbers.dtype.kind not in "iuf":
            raise ValueError
        numbers = numbers.astype(np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be numbers, not {value!r:.200}") from None
    if numbers.ndim != 2 or numbers.shape[1] != columns:
        raise ValueError(f"{name} must have {columns} numbers each, not shape {numbers.shape}")
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name} must be finite")
    return numbers


def _list(name: str, value: Any) -> list[Any]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be a list, not {value!r:.200}")
    return list(value)


def _mask(runs: Any) -> NDArray[np.bool_]:
    if not isinstance(runs, dict):
        raise TypeError(f"mask must be {{'size': [Y, X], 'counts': [...]}}, not {runs!r:.200}")
    try:
        return decode(runs)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"mask: {error}") from error
