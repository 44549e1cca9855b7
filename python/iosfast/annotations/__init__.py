"""Labels of images: outlines of objects, read from and written to the formats of other tools."""

from .annotations import Annotations
from .labels import BACKGROUND, LabelledImage, ObjectKey, Polygon

__all__ = ["BACKGROUND", "Annotations", "LabelledImage", "ObjectKey", "Polygon"]
