"""The labels of a set of images, whatever tool they come from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import arguments
from ..outlines import as_masks
from ..progress import progress_for
from .drawing import masks_of, polygons_of
from .labels import BACKGROUND, DEFAULT_CATEGORY, LabelledImage, ObjectKey, Polygon

Format = Literal["isat", "labelme", "coco", "coco-rle", "png", "tiff"]


@dataclass(frozen=True, eq=False)
class Annotations:
    """Labels of a set of images: outlines of objects, and all that their files say besides.

    Attributes
    ----------
    images : tuple of LabelledImage
        In the order of their names, or of their file.
    categories : mapping
        What `isat.yaml` of each folder says, by the folder's path in the set.
    """

    images: tuple[LabelledImage, ...]
    categories: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for image in self.images:
            if image.name in seen:
                raise ValueError(f"two images have the name {image.name!r}")
            seen.add(image.name)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the images, without ending."""
        return tuple(image.name for image in self.images)

    @property
    def objects(self) -> tuple[ObjectKey, ...]:
        """Category and group of every object, in the order in which they appear."""
        keys = (p.key for image in self.images for p in image.polygons if p.category != BACKGROUND)
        return tuple(dict.fromkeys(keys))

    @property
    def shape(self) -> tuple[int, int] | None:
        """(Y, X) of all images; None if none says it.

        Raises
        ------
        ValueError
            If they are of several sizes.
        """
        first = next((image for image in self.images if image.shape is not None), None)
        if first is None:
            return None
        for image in self.images:
            if image.shape not in (None, first.shape):
                raise ValueError(
                    f"the images are of several sizes: {first.name} is {first.shape} (Y, X), but "
                    f"{image.name} is {image.shape}"
                )
        return first.shape

    @classmethod
    def read(
        cls,
        path: str | PathLike[str],
        *,
        shape: tuple[int, int] | None = None,
        progress: bool | Callable[[int, int], None] = False,
    ) -> Annotations:
        """Read labels; what they are is found by their content.

        Parameters
        ----------
        path : path
            A label file of ISAT or labelme, or a folder of them, also in folders of their own; a
            JSON file of COCO; a PNG or TIFF file of masks, or a folder of them, where pixels are
            0 or the number of an object. A TIFF stack has a page for each image; several of them
            in one folder are different objects.
        shape : tuple of int, optional
            (Y, X) that the images must have.
        progress : bool or callable
            Show a bar, or call with the files done and their number.

        Returns
        -------
        Annotations

        Raises
        ------
        ReadError
            If there are no labels, a file cannot be read, a polygon has fewer than three corners,
            or an image has another size. It names the file and the object.

        Warns
        -----
        IosfastWarning
            If polygons cross themselves; they are filled by the even-odd rule.
        """
        from .reading import read

        return read(
            Path(path), None if shape is None else arguments.image_shape("shape", shape), progress
        )

    @classmethod
    def from_masks(
        cls,
        masks: ArrayLike,
        *,
        names: Sequence[str] | None = None,
        objects: Sequence[Any] | None = None,
        category: str = DEFAULT_CATEGORY,
        image_suffix: str = ".tiff",
        folder: str | PathLike[str] = "",
        depth: int = 3,
        tolerance_px: float = 0.0,
        threads: int = 0,
        progress: bool | Callable[[int, int], None] = False,
    ) -> Annotations:
        """Trace masks; drawn again (`masks`) they are the same, to the bit.

        Parameters
        ----------
        masks : array_like of bool, shape (objects, T, Y, X)
            Objects may overlap.
        names : sequence of str, optional
            Of the images, without ending (default: map_0000 and so on).
        objects : sequence, optional
            Of each object its group (a number from 1, with `category`), its category (text, such
            as "1-2"), or both as (category, group). Default: 1, 2 and so on.
        category : str
            Of objects that are numbers.
        image_suffix : str
            Ending of the image files.
        folder : path
            Where the images lie, for ISAT.
        depth : int
            Number of colours of the images; 0 for grey ones.
        tolerance_px : float
            0 keeps every pixel; else fewer corners, see `iosfast.outlines.trace`.
        threads : int
            0 is one per core; the result is the same.
        progress : bool or callable
            Show a bar, or call with the masks done and their number.

        Returns
        -------
        Annotations
        """
        checked = as_masks("masks", masks, 4)
        count, length, height, width = checked.shape
        if names is None:
            names = [f"map_{t:0{max(4, len(str(length - 1)))}d}" for t in range(length)]
        if len(names) != length:
            raise ValueError(f"names must be {length}, one for each image, not {len(names)}")
        keys = _keys(objects, count, category)
        arguments.number("tolerance_px", tolerance_px, 0)
        with progress_for(progress, count * length, checked.nbytes, "outline") as update:
            polygons = polygons_of(checked, keys, tolerance_px, arguments.threads(threads), update)
        images = (
            LabelledImage(
                name,
                (height, width),
                of_image,
                file_name=Path(name).name + image_suffix,
                folder=str(folder),
                depth=depth,
            )
            for name, of_image in zip(names, polygons, strict=True)
        )
        return cls(tuple(images))

    def masks(
        self,
        *,
        names: Iterable[str] | None = None,
        objects: Iterable[tuple[str, int]] | None = None,
        shape: tuple[int, int] | None = None,
        threads: int = 0,
    ) -> NDArray[np.bool_]:
        """Draw the masks of the objects.

        Polygons are drawn by their layers, and those of the category `BACKGROUND` clear what lies
        below. Polygons of one category and group are one object. Objects do not hide each other.

        Parameters
        ----------
        names : iterable of str, optional
            Of images, in the order wanted; one without labels is empty. Default: all.
        objects : iterable of (category, group), optional
            Default: `self.objects`.
        shape : tuple of int, optional
            (Y, X) that the images must have; needed if the labels do not say it.
        threads : int
            0 is one per core; the result is the same.

        Returns
        -------
        ndarray of bool, shape (objects, T, Y, X)

        Raises
        ------
        ValueError
            If an image has another size, none of the names is known, or an object is not.
        """
        wanted = None if shape is None else arguments.image_shape("shape", shape)
        own = self.shape
        if wanted is not None and own not in (None, wanted):
            raise ValueError(f"the labels are of images of {own} (Y, X), not {wanted}")
        size = wanted or own
        if size is None:
            raise ValueError("the labels do not say the size of their images; give shape=(Y, X)")
        known = {image.name: image for image in self.images}
        chosen = list(known) if names is None else list(names)
        images = [known.get(name) for name in chosen]
        if chosen and known and not any(image is not None for image in images):
            raise ValueError(f"none of the names has labels; they are of {next(iter(known))} ...")
        keys = self.objects if objects is None else tuple(ObjectKey(*key) for key in objects)
        for key in keys:
            if key not in self.objects:
                raise ValueError(
                    f"no label is of {key}; there are {', '.join(map(str, self.objects))}"
                )
        return masks_of(images, keys, size, arguments.threads(threads))

    def write(
        self,
        path: str | PathLike[str],
        format: Format = "isat",
        *,
        overwrite: bool = False,
        progress: bool | Callable[[int, int], None] = False,
    ) -> Path:
        """Write the labels; all files, or none.

        Parameters
        ----------
        path : path
            A folder, which may hold the images; for COCO a JSON file; for TIFF a file, or a
            folder for a stack of each object, which may overlap then.
        format : {"isat", "labelme", "coco", "coco-rle", "png", "tiff"}
            One label file for each image, by its name, for ISAT (with `isat.yaml`) and labelme.
            For COCO, objects are polygons, but run lengths if they have holes; "coco-rle" makes
            run lengths of all, which are exact for every COCO tool. PNG and TIFF are images of
            masks, see `read`.
        overwrite : bool
            Replace files of the same names.
        progress : bool or callable
            Show a bar, or call with the images done and their number.

        Returns
        -------
        Path
            What was written.

        Raises
        ------
        WriteError
            If a file exists already, or cannot be written; nothing is changed then.
        """
        from .writing import write

        return write(self, Path(path), format, overwrite, progress)


def _keys(objects: Sequence[Any] | None, count: int, category: str) -> list[ObjectKey]:
    if objects is None:
        objects = range(1, count + 1)
    if len(objects) != count:
        raise ValueError(f"objects must be {count}, one for each mask, not {len(objects)}")
    keys = []
    for n, each in enumerate(objects, 1):
        if isinstance(each, str):
            keys.append(ObjectKey(each, n))
        elif isinstance(each, tuple):
            if len(each) != 2 or not isinstance(each[0], str):
                raise ValueError(f"an object must be (category, group), not {each!r}")
            keys.append(ObjectKey(each[0], arguments.integer("group", each[1], 0)))
        else:
            keys.append(ObjectKey(category, arguments.integer("objects", each, 1)))
    if len(set(keys)) != len(keys):
        raise ValueError("two objects have the same category and group")
    if any(key.category == BACKGROUND for key in keys):
        raise ValueError(f"{BACKGROUND} is the category of holes, and no object's")
    return keys


__all__ = ["Annotations", "Format", "Polygon"]
