"""What is known of a labelled image: polygons, and all that its file says besides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import ReadError
from ..outlines import corners_of

#: The category of polygons that clear what lies below them.
BACKGROUND = "__background__"

DEFAULT_CATEGORY = "signal"


class ObjectKey(NamedTuple):
    """What makes polygons one object, on all images of a set."""

    category: str
    group: int

    def __str__(self) -> str:
        return f"{self.category} (group {self.group})"


@dataclass(frozen=True)
class Origin:
    """What a file said: kept, so that what is not used comes back as it was.

    Attributes
    ----------
    format : str
    fields : mapping
        All that stood there, less the points.
    known : tuple
        What was understood of it; to tell whether it was changed since.
    """

    format: str
    fields: Mapping[str, Any]
    known: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Polygon:
    """One outline of an object.

    Attributes
    ----------
    category : str
        Its label; `BACKGROUND` clears what lies on lower layers.
    points : ndarray of float64, shape (N, 2)
        Corners as (x, y) in pixels; the centre of the first pixel is (0, 0).
    group : int
        Polygons of one category and group are one object.
    layer : float
        Its place in the order of drawing.
    iscrowd : bool
    note : str
    origin : Origin, optional
        What its file said.
    """

    category: str
    points: NDArray[np.float64]
    group: int = 1
    layer: float = 1.0
    iscrowd: bool = False
    note: str = ""
    origin: Origin | None = field(default=None, repr=False)

    @property
    def key(self) -> ObjectKey:
        """The object that it belongs to."""
        return ObjectKey(self.category, self.group)

    @property
    def area(self) -> float:
        """Area by its corners (shoelace), in pixels."""
        x, y = (self.points - self.points[0]).T
        return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """(xmin, ymin, xmax, ymax)."""
        (x0, y0), (x1, y1) = self.points.min(axis=0).tolist(), self.points.max(axis=0).tolist()
        return x0, y0, x1, y1

    @property
    def known(self) -> tuple[Any, ...]:
        """What a file can say of it, for comparison."""
        return (self.category, id(self.points), self.group, self.layer, self.iscrowd, self.note)

    def unchanged(self, file_format: str) -> Mapping[str, Any] | None:
        """Return what its file said, if that was of this format and still holds."""
        origin = self.origin
        if origin is None or origin.format != file_format or origin.known != self.known:
            return None
        return origin.fields

    def with_origin(self, file_format: str, fields: Mapping[str, Any]) -> Polygon:
        """Return it with what its file said."""
        origin = Origin(file_format, fields, self.known)
        return replace(self, origin=origin)


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """The labels of one image.

    Attributes
    ----------
    name : str
        Its file's name without ending; with the folders within the set, if it has some.
    shape : tuple of int, or None
        (Y, X), if that is known.
    polygons : tuple of Polygon
    file_name : str
        Name of the image file.
    folder : str
        Where the image lies, as its file says.
    depth : int, or None
        Number of colours; 0 is a grey image.
    note : str
    origin : Origin, optional
        What its file said.
    """

    name: str
    shape: tuple[int, int] | None
    polygons: tuple[Polygon, ...] = ()
    file_name: str = ""
    folder: str = ""
    depth: int | None = 3
    note: str = ""
    origin: Origin | None = field(default=None, repr=False)

    def with_origin(self, file_format: str, fields: Mapping[str, Any]) -> LabelledImage:
        """Return it with what its file said."""
        return replace(self, origin=Origin(file_format, fields, ()))

    def said(self, file_format: str) -> dict[str, Any]:
        """Return a copy of what its file said, if that was of this format."""
        origin = self.origin
        return dict(origin.fields) if origin is not None and origin.format == file_format else {}

    def drawn(self) -> list[Polygon]:
        """Return the polygons in the order of drawing."""
        return sorted(self.polygons, key=lambda polygon: polygon.layer)


class Place:
    """Where in which file a label is being read; for errors."""

    def __init__(self, path: Any, what: str, number: int) -> None:
        self.path = path
        self._what = what
        self._number = number

    def __str__(self) -> str:
        return f"{self._what} {self._number + 1}"

    def error(self, text: str) -> ReadError:
        """Return an error that names the file and the object."""
        return ReadError(f"{self}: {text}", self.path)

    def points(self, value: Any) -> NDArray[np.float64]:
        """Return corners, or raise ReadError."""
        try:
            return corners_of(value, "its polygon")
        except ValueError as error:
            raise self.error(str(error)) from None

    def text(self, name: str, value: Any) -> str:
        """Return text, or a number as text."""
        if isinstance(value, bool | list | dict) or value is None:
            raise self.error(f"{name} must be text, not {value!r:.60}")
        return str(value)

    def group(self, value: Any) -> int:
        """Return the number of a group; none and empty text are 0, as for ISAT."""
        if value is None or value == "":
            return 0
        try:
            if isinstance(value, bool) or int(value) != float(value):
                raise ValueError
            return int(value)
        except (TypeError, ValueError, OverflowError):
            raise self.error(f"group must be a whole number, not {value!r:.60}") from None

    def layer(self, value: Any) -> float:
        """Return the number of a layer."""
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            raise self.error(f"layer must be a number, not {value!r:.60}")
        return float(value)


def size_of(path: Any, height: Any, width: Any) -> tuple[int, int] | None:
    """Return (Y, X) as a file says it, or None if it does not."""
    if height is None and width is None:
        return None
    for value in (height, width):
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= 1_000_000:
            raise ReadError(f"its image has no size: width {width!r}, height {height!r}", path)
    return height, width
