"""OME-XML, as far as it concerns one sequence of frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple
from xml.etree import ElementTree


class Planes(NamedTuple):
    """Planes that are consecutive directories of one file.

    Attributes
    ----------
    plane, directory : int
        The first ones, counted from 0.
    number : int or None
        How many there are; None if all directories of the file.
    file : str or None
        Name of the file; None for the one that holds the XML.
    """

    plane: int
    directory: int
    number: int | None
    file: str | None


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
        Of the axes other than Y and X.
    parts : tuple of Planes
        Where the planes are.
    """

    attributes: Mapping[str, str]
    images: int
    sizes: Mapping[str, int]
    parts: tuple[Planes, ...]

    @property
    def in_order(self) -> bool:
        """Whether plane n is directory n of one file, whatever its name was."""
        expected = 0
        for part in self.parts:
            if not part.plane == part.directory == expected:
                return False
            expected += part.number or 0
        return len({part.file for part in self.parts}) <= 1


def read_ome(xml: str) -> OmeImage | None:
    """Return what OME-XML tells; None if it tells of no image, or cannot be parsed."""
    try:
        root = ElementTree.fromstring(xml)
        images = [e for e in root if _name(e) == "Image"]
        pixels = next((e for image in images for e in image if _name(e) == "Pixels"), None)
        if pixels is None:
            return None
        sizes = {axis: int(pixels.attrib.get(f"Size{axis}", 1)) for axis in "TZC"}
        own = root.attrib.get("UUID")
        parts = tuple(_planes(e, own) for e in pixels if _name(e) == "TiffData")
        return OmeImage(dict(pixels.attrib), len(images), sizes, parts)
    except (ElementTree.ParseError, ValueError):
        return None


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _planes(data: ElementTree.Element, own: str | None) -> Planes:
    said = data.attrib
    # At most one of the axes is longer than 1: hyperstacks are refused.
    plane = sum(int(said.get(f"First{axis}", 0)) for axis in "TZC")
    number = int(said["PlaneCount"]) if "PlaneCount" in said else 1 if "IFD" in said else None
    uuid = next((e for e in data if _name(e) == "UUID"), None)
    elsewhere = uuid is not None and (own is None or uuid.text != own)
    file = uuid.attrib.get("FileName") if uuid is not None and elsewhere else None
    return Planes(plane, int(said.get("IFD", 0)), number, file)
