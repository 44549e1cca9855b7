"""Writing labels in the format of another tool: complete, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, get_args

from .. import arguments
from ..errors import WriteError
from ..progress import progress_for
from ..staging import write_error
from . import coco, isat, labelme, mask_files
from .labels import BACKGROUND
from .placing import Placing

if TYPE_CHECKING:
    from .annotations import Annotations

Update = Callable[[int], None]


def write(
    labels: Annotations,
    path: Path,
    file_format: str,
    overwrite: bool,
    progress: bool | Callable[[int, int], None],
) -> Path:
    """Write labels; see `Annotations.write`."""
    from .annotations import Format

    arguments.choice("format", file_format, get_args(Format))
    for image in labels.images:
        name = PurePosixPath(image.name)
        if name.is_absolute() or ".." in name.parts or not name.name or "\\" in image.name:
            raise ValueError(f"image name {image.name!r} is no name of a file in a folder")
    with progress_for(progress, len(labels), 4096 * len(labels), "write labels") as update:
        if file_format in ("isat", "labelme"):
            _write_each(labels, path, file_format, overwrite, update)
        elif file_format in ("coco", "coco-rle"):
            text = coco.text_of(list(labels.images), run_lengths=file_format == "coco-rle")
            with _placing(path.parent, [path.name], overwrite) as place:
                _write_text(place.path(path.name), text)
                place.finish()
            update(len(labels))
        else:
            _write_masks(labels, path, file_format, overwrite, update)
    return path


def _placing(folder: Path, names: list[str], overwrite: bool) -> Placing:
    return Placing(folder, names, overwrite)


def _write_text(path: Path, text: str) -> None:
    try:
        path.write_bytes(text.encode("utf-8"))
    except OSError as error:
        raise write_error(path, error) from error


def _write_each(
    labels: Annotations, folder: Path, file_format: str, overwrite: bool, update: Update
) -> None:
    text_of: Any = isat.text_of if file_format == "isat" else labelme.text_of
    names = [f"{image.name}.json" for image in labels.images]
    extra = _categories(labels, folder, overwrite) if file_format == "isat" else {}
    with _placing(folder, [*names, *extra], overwrite) as place:
        for n, (image, name) in enumerate(zip(labels.images, names, strict=True)):
            _write_text(place.path(name), text_of(image))
            update(n + 1)
        for name, text in extra.items():
            _write_text(place.path(name), text)
        place.finish()


def _categories(labels: Annotations, folder: Path, overwrite: bool) -> dict[str, str]:
    """Return what `isat.yaml` of each folder must say, where it does not."""
    names = list(dict.fromkeys(p.category for i in labels.images for p in i.polygons))
    folders = {PurePosixPath(image.name).parent for image in labels.images} or {PurePosixPath()}
    texts = {}
    for at in sorted(folders):
        name = str(at / isat.CATEGORIES_FILE)
        said: Any = labels.categories.get(at.as_posix(), labels.categories.get(".", {}))
        there = folder / name
        if there.is_file():
            present = isat.read_categories(there)
            has = {str(label.get("name")) for label in present.get("label", [])}
            missing = [n for n in names if n not in has and n != BACKGROUND]
            if not missing:
                continue
            if not overwrite:
                raise WriteError(
                    f"{there}: lacks the category {missing[0]!r}; choose another place, or "
                    "overwrite=True to add it"
                )
            said = present
        texts[name] = isat.categories_text(said, names)
    return texts


def _write_masks(
    labels: Annotations, path: Path, file_format: str, overwrite: bool, update: Update
) -> None:
    keys, names = labels.objects, labels.names
    masks = labels.masks()
    numbers = mask_files.numbers_of(keys)
    if file_format == "png":
        images = mask_files.label_images(masks, numbers, names)
        files = [f"{name}.png" for name in names]
        with _placing(path, files, overwrite) as place:
            for n, (name, image) in enumerate(zip(files, images, strict=True)):
                mask_files.write_png(place.path(name), image, numbers)
                update(n + 1)
            place.finish()
        return
    if path.suffix.lower() in (".tif", ".tiff"):
        stacks = {path.name: (mask_files.label_images(masks, numbers, names), numbers)}
        folder = path.parent
    else:
        folder, stacks = path, {}
        for o, (number, key) in enumerate(numbers.items()):
            own = {number: key}
            name = f"{_file_name(key.category)}_{key.group}.tif"
            if name in stacks:
                raise ValueError(f"two objects would have the file {name}")
            stacks[name] = (mask_files.label_images(masks[o : o + 1], own, names), own)
    with _placing(folder, list(stacks), overwrite) as place:
        for name, (stack, own) in stacks.items():
            try:
                mask_files.write_tiff(place.path(name), stack, own, names)
            except OSError as error:
                raise write_error(folder / name, error) from error
        place.finish()
    update(len(labels))


def _file_name(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-_ ." else "_" for c in text)
