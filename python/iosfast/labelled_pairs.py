"""Labels of two sets of images, side by side as masks, clip by clip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .annotations import Annotations, ObjectKey
from .errors import warn

_Masks = NDArray[np.bool_]


def pairs_of_labels(
    predicted: Any, truth: Any, each_object: bool, missing: str
) -> Iterator[tuple[str, str | None, tuple[str, ...], _Masks, _Masks]]:
    """Draw predicted and true labels of the same images, one clip at a time.

    Parameters
    ----------
    predicted, truth : Annotations or path
        Images are the same by their names, folders included; their folder is their clip.
    each_object : bool
        Each object by itself, those of one category and group; else all together.
    missing : {"error", "empty"}
        What to make of images without predicted labels.

    Yields
    ------
    tuple
        Clip, object or None, names of the images, predicted and true masks, (T, Y, X).

    Raises
    ------
    ValueError
        If images have no predicted labels, or the labels are of images of other sizes.
    """
    ours, theirs = _labels("predicted", predicted), _labels("truth", truth)
    known = set(ours.names)
    lacking = [name for name in theirs.names if name not in known]
    if not theirs.names:
        raise ValueError("truth has no labels")
    if len(lacking) == len(theirs):
        raise ValueError(
            f"predicted has labels of no image that truth has; they are of {_first(ours)}, those "
            f"of truth of {_first(theirs)}"
        )
    if lacking and missing == "error":
        raise ValueError(
            f"predicted has no labels of {len(lacking)} images that truth has, such as "
            f"{lacking[0]}; missing='empty' counts them as empty"
        )
    more = len(known.difference(theirs.names))
    if more:
        warn(f"{more} images have predicted labels, but no true ones; they are left out")
    for clip, names in clips_of(theirs.names).items():
        a, b = _of_images(ours, names), _of_images(theirs, names)
        shape = b.shape or a.shape
        if shape is None:
            raise ValueError(f"neither labels of clip {clip!r} say the size of their images")
        short = tuple(PurePosixPath(name).name for name in names)
        if not each_object:
            yield clip, None, short, _drawn(a, names, shape), _drawn(b, names, shape)
            continue
        for key in dict.fromkeys((*b.objects, *a.objects)):
            drawn = _drawn(a, names, shape, key), _drawn(b, names, shape, key)
            yield clip, f"{key.category}/{key.group}", short, *drawn


def clips_of(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the images of each clip, which is their folder."""
    clips: dict[str, list[str]] = {}
    for name in names:
        clips.setdefault(name.rpartition("/")[0], []).append(name)
    return clips


def _labels(name: str, labels: Any) -> Annotations:
    if isinstance(labels, Annotations):
        return labels
    if isinstance(labels, str | PathLike):
        return Annotations.read(labels)
    raise TypeError(
        f"{name} must be an array, a mapping of clips to arrays, Annotations or a path, "
        f"not {type(labels).__name__}"
    )


def _first(labels: Annotations) -> str:
    return f"{labels.names[0]} ..." if labels.names else "no image"


def _of_images(labels: Annotations, names: list[str]) -> Annotations:
    wanted = set(names)
    return Annotations(tuple(image for image in labels.images if image.name in wanted))


def _drawn(
    labels: Annotations, names: list[str], shape: tuple[int, int], key: ObjectKey | None = None
) -> _Masks:
    """Masks of one object, or of all together, (T, Y, X); empty without any."""
    objects = labels.objects if key is None else (key,) * (key in labels.objects)
    if not objects:
        return np.zeros((len(names), *shape), bool)
    return np.asarray(labels.masks(names=names, objects=objects, shape=shape).any(axis=0))
