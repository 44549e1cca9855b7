"""OME-XML, as far as it concerns one sequence of frames, perhaps of several channels in turn."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from .channel_labels import channel_names

SECONDS = {"s": 1.0, "sec": 1.0, "ms": 1e-3, "µs": 1e-6, "μs": 1e-6, "us": 1e-6, "min": 60.0}


class Planes(NamedTuple):
    """Planes that are consecutive directories of one file.

    Attributes
    ----------
    plane, directory : int
        The first ones, counted from 0.
    number : int or None
        How many there are; None if all directories of the file.
    file : str or None
        Name of the file; None if the metadata gives none.
    own : bool
        Whether the file is the one that was written with this XML, by its UUID.
    """

    plane: int
    directory: int
    number: int | None
    file: str | None
    own: bool


@dataclass(frozen=True)
class OmeImage:
    """The first image that OME-XML describes.

    Attributes
    ----------
    attributes : mapping of str to str
        Of the Pixels element.
    images : int
        Images in all; positions, say.
    sizes : dict of str to int
        Of the axes other than Y and X, the one that changes fastest first.
    parts : tuple of Planes
        Where the planes are.
    channels : tuple of str
        Their names, if there are several in turn.
    times_s : ndarray of float64, shape (planes,), or None
        Time of every plane, if the metadata tells that of all of them.
    """

    attributes: Mapping[str, str]
    images: int
    sizes: Mapping[str, int]
    parts: tuple[Planes, ...]
    channels: tuple[str, ...]
    times_s: NDArray[np.float64] | None

    @property
    def in_order(self) -> bool:
        """Whether plane n is directory n of one file, whatever its name was."""
        expected = 0
        for part in self.parts:
            if not part.plane == part.directory == expected:
                return False
            expected += part.number or 0
        return len({part.file for part in self.parts}) <= 1

    def is_own(self, part: Planes, name: str) -> bool:
        """Tell whether planes are in the file of this name, which holds the XML.

        Every file of a set may hold the same XML, so names, if they fit, tell more than UUIDs.
        """
        names = {p.file and p.file.lower() for p in self.parts}
        if part.file is None or len(names) == 1:
            return True
        return part.file.lower() == name.lower() if name.lower() in names else part.own


class _Parser:
    """Reads one element after another, since a long recording has millions of them."""

    def __init__(self) -> None:
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self.start
        self.images = 0
        self.pixels: dict[str, str] | None = None
        self.sizes: dict[str, int] = {}
        self.parts: list[Planes] = []
        self.names: list[str] = []
        self.planes, self.times = array("q"), array("d")
        self.metadata_file: str | None = None
        self._steps = (0, 0, 0)  # between planes, along T, Z, C
        self._inside = False  # of the first image
        self._own: str | None = None
        self._data: tuple[int, int, int | None] | None = None  # plane, directory, number
        self._file: str | None = None
        self._is_own = True
        self._files: dict[str | None, bool] = {}
        self._text: list[str] = []

    def start(self, tag: str, said: dict[str, str]) -> None:
        name = tag.rpartition(":")[2] if ":" in tag else tag
        if name == "UUID" and self._data is not None:
            self._file = said.get("FileName")
            self._is_own = self._files.get(self._file, False)
            if self._file not in self._files:  # its text is read only once
                self._text = []
                self.parser.CharacterDataHandler = self._text.append
            return
        if self._data is not None:
            self._add(*self._data)
            self._data = None
        if name == "Plane" and self._inside:
            t, z, c = self._steps
            self.planes.append(
                int(said.get("TheT", 0)) * t
                + int(said.get("TheZ", 0)) * z
                + int(said.get("TheC", 0)) * c
            )
            unit = SECONDS.get(said.get("DeltaTUnit", "s"), math.nan)
            self.times.append(float(said.get("DeltaT", "nan")) * unit)
        elif name == "TiffData" and self._inside:
            self._tiff_data(said)
        elif name == "Channel" and self._inside:
            self.names.append(said.get("Name", ""))
        elif name == "Pixels" and self.pixels is None:
            self._pixels(said)
        elif name == "Image":
            self.images += 1
            self._inside = False
        elif name == "OME":
            self._own = said.get("UUID")
        elif name == "BinaryOnly":
            self.metadata_file = said.get("MetadataFile")

    def _pixels(self, said: dict[str, str]) -> None:
        order = said.get("DimensionOrder", "XYCZT")[2:]
        if sorted(order) != ["C", "T", "Z"]:
            raise ValueError(order)
        self.pixels, self._inside = said, True
        self.sizes = {axis: int(said.get(f"Size{axis}", 1)) for axis in order}
        steps, step = {}, 1
        for axis, size in self.sizes.items():
            steps[axis] = step
            step *= max(1, size)
        self._steps = steps["T"], steps["Z"], steps["C"]

    def _tiff_data(self, said: dict[str, str]) -> None:
        self._known()
        number = int(said["PlaneCount"]) if "PlaneCount" in said else 1 if "IFD" in said else None
        firsts = [int(said.get(f"First{axis}", 0)) for axis in "TZC"]
        directory = int(said.get("IFD", 0))
        if min(*firsts, directory, number or 0) < 0:
            raise ValueError(said)
        plane = sum(map(int.__mul__, firsts, self._steps))
        if max(plane, directory, number or 0) > 1 << 60:
            raise ValueError(said)
        self._data = plane, directory, number
        self._file, self._is_own = None, True

    def _known(self) -> None:
        """Take the text of a UUID that was read."""
        if self.parser.CharacterDataHandler is not None:
            self.parser.CharacterDataHandler = None
            self._is_own = self._own is not None and "".join(self._text).strip() == self._own
            self._files[self._file] = self._is_own

    def _add(self, plane: int, directory: int, number: int | None) -> None:
        self._known()
        file, own = self._file, self._is_own
        if self.parts and number is not None:
            last = self.parts[-1]
            if last.number is not None and last[-2:] == (file, own):
                follows = (last.plane + last.number, last.directory + last.number)
                if follows == (plane, directory):
                    self.parts[-1] = last._replace(number=last.number + number)
                    return
        self.parts.append(Planes(plane, directory, number, file, own))

    def finish(self) -> None:
        """Take what was read last."""
        if self._data is not None:
            self._add(*self._data)
            self._data = None

    def times_s(self) -> NDArray[np.float64] | None:
        count = math.prod(self.sizes.values())
        if len(self.planes) != count or count == 0:
            return None
        planes, times = np.array(self.planes, np.int64), np.array(self.times)
        if planes.max() >= count or not np.isfinite(times).all():
            return None
        in_order = np.full(count, np.nan)
        in_order[planes] = times
        return in_order if np.isfinite(in_order).all() else None


def read_ome(xml: str) -> OmeImage | None:
    """Return what OME-XML tells; None if it tells of no image, or cannot be parsed."""
    found = _parsed(xml)
    if found is None or found.pixels is None:
        return None
    channels: tuple[str, ...] = ()
    if found.sizes["C"] > 1 and found.sizes["T"] > 1:
        channels = channel_names(found.names, found.sizes["C"])
    return OmeImage(
        found.pixels, found.images, found.sizes, tuple(found.parts), channels, found.times_s()
    )


def metadata_file(xml: str) -> str | None:
    """Return the name of the file that holds the metadata instead of this one, if XML tells so."""
    found = _parsed(xml)
    return None if found is None or found.images else found.metadata_file


def _parsed(xml: str) -> _Parser | None:
    found = _Parser()
    try:
        found.parser.Parse(xml, True)
        found.finish()
    except (expat.ExpatError, ValueError, OverflowError):
        return None
    finally:
        found.parser.StartElementHandler = None  # which leads back to itself
    return found
