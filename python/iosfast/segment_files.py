"""Segmentations on disk: masks, labels for annotation tools, prompts, and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from .annotations import Annotations
from .annotations.annotations import Format
from .clips import IMAGE_ENDINGS, Clip, as_clip
from .errors import WriteError
from .maps import Maps
from .prompts import write_prompts
from .segment import Segmentation
from .staging import Staging, check_place, write_error
from .storage import write_image

#: All that the folder of a segmentation may hold.
_PROMPTS, _PICTURE = "prompts.json", "outlines.png"
_PLACES: dict[Format, str] = {
    "isat": "isat",
    "labelme": "labelme",
    "coco": "coco.json",
    "coco-rle": "coco-rle.json",
    "png": "png",
    "tiff": "masks.tif",
}
_OWN_NAMES = {_PROMPTS, _PICTURE, "masks", *_PLACES.values()}


def write_segmentation(
    found: Segmentation,
    maps: Maps | Clip,
    out: str | PathLike[str],
    *,
    formats: Sequence[Format] = ("isat",),
    category: str = "signal",
    picture: bool = True,
    overwrite: bool = False,
) -> Path:
    """Write a segmentation as a folder, which appears when it is complete.

    It holds ``masks.tif`` (or, where objects overlap, ``masks/`` with a stack for each),
    ``prompts.json``, ``outlines.png``, and the labels in a folder or file of each format. Beside
    labels of ISAT and labelme there are the images of maps, so that the tool opens that folder;
    labels of a clip name its own images.

    Parameters
    ----------
    found : Segmentation
    maps : Maps or Clip
        What was segmented.
    out : path
    formats : sequence of str
        As for `Annotations.write`.
    category : str
        What the objects are called.
    picture : bool
        Draw the outlines on maps.
    overwrite : bool
        Replace an earlier segmentation, but nothing else.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    WriteError
        If it cannot be made there; nothing is left.
    """
    clip = as_clip(maps)
    place = Path(out).absolute()
    with Staging(place, overwrite, check=_check_replaceable) as staging:
        work = staging.work
        write_prompts(work / _PROMPTS, found.prompts)
        overlap = len(found.objects) > 1 and bool(
            (found.masks.sum(axis=0, dtype=np.uint16) > 1).any()
        )
        for kind in dict.fromkeys((*formats, "tiff")):
            labels = _labels(found, maps, clip, category, place / _PLACES[kind])
            name = "masks" if kind == "tiff" and overlap else _PLACES[kind]
            labels.write(work / name, kind)
            if isinstance(maps, Maps) and kind in ("isat", "labelme"):
                _write_images(maps, clip, work / name)
        if picture:
            draw_outlines(found, maps, work / _PICTURE)
        staging.finish()
    return place


def check_segmentation_place(out: str | PathLike[str], overwrite: bool) -> None:
    """Raise WriteError unless a segmentation may be written here."""
    check_place(Path(out).absolute(), overwrite, _check_replaceable)


def draw_outlines(found: Segmentation, maps: Maps | Clip, path: str | PathLike[str]) -> Path:
    """Draw maps with the outlines of the objects; see `iosfast.figures.montage`."""
    from .figures import ColorScale, montage, save

    masks = found.masks if len(found.masks) else np.zeros((1, *maps.change.shape), bool)
    shown = np.flatnonzero(masks.any(axis=(0, 2, 3)))
    first, last = (int(shown[0]), int(shown[-1]) + 1) if shown.size else (0, len(maps))
    figure = montage(
        np.asarray(maps.rgb[first:last]),
        masks[:, first:last],
        found.times_s[first:last],
        scale=ColorScale.of(maps.recipe) if isinstance(maps, Maps) else None,
        pixel_size_mm=found.pixel_size_mm,
        objects=found.objects or None,
    )
    return save(figure, path, dpi=130)


def _labels(
    found: Segmentation, maps: Maps | Clip, clip: Clip, category: str, place: Path
) -> Annotations:
    if isinstance(maps, Maps) or clip.path is None:
        return found.annotations(category, folder=place)
    files = {p.stem: p.suffix for p in clip.path.iterdir() if p.suffix.lower() in IMAGE_ENDINGS}
    suffix = files.get(clip.names[0], ".tiff")
    return found.annotations(category, folder=clip.path.absolute(), image_suffix=suffix)


def _write_images(maps: Maps, clip: Clip, folder: Path) -> None:
    try:
        for name, image in zip(clip.names, clip.rgb, strict=True):
            write_image(folder / f"{name}.tiff", image, maps.info)
    except OSError as error:
        raise write_error(folder, error) from error


def _check_replaceable(out: Path, overwrite: bool) -> None:
    inside = {path.name for path in out.iterdir()}
    strange = sorted(inside - _OWN_NAMES)
    if strange or _PROMPTS not in inside:
        raise WriteError(
            f"{out}: exists and holds other files than a segmentation; choose another out"
        )
    if not overwrite:
        raise WriteError(f"{out}: holds a segmentation already; choose another out, or overwrite")
