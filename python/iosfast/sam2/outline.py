"""Method "sam2": objects of clips, from prompts in their pixels to masks in their pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .. import arguments
from ..clips import Clip
from ..front import Followed
from ..prompts import Prompt
from .device_memory import free_device_bytes, rows_that_fit
from .model import Device, Model
from .propagate import Found, Said, Task, propagate
from .sessions import OPENVINO

Float = NDArray[np.float32]


def follow(
    clips: Sequence[tuple[Clip, Sequence[Prompt], bool]],
    model: str | PathLike[str] | Model,
    *,
    device: Device = "auto",
    batch_size: int | Literal["auto"] = "auto",
    correct_backwards: bool = False,
    threads: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Followed]:
    """Follow objects through clips with SAM 2, all clips in one batch.

    Maps are scaled to the model's image size, and masks back, as sam2's video predictor does. The
    first prompt of an object starts it, without a memory. Later ones correct what was found on
    their map from the maps before; what follows remembers the corrected mask, as in sam2 when one
    follows on from the next map. Prompts on one map are taken in sam2's order: what was drawn,
    then the points and the box, which correct it.

    The confidence is the probability that the object is there (the logistic function of the model's
    object score), times the overlap (IoU) of the mask with the object that the model predicts; 1
    where the mask was drawn, and 0 where nothing is outlined.

    Parameters
    ----------
    clips : sequence of (Clip, sequence of Prompt, bool)
        Prompts that are checked against their clip, and whether to follow them back in time, too,
        from the first ones.
    model : path or Model
        What `export` has made.
    device : {"auto", "cpu", "cuda", "openvino", "openvino-bf16"}
        See `Model`.
    batch_size : int or "auto"
        Objects, and maps to encode, at a time. "auto" takes 1 on the CPU, where more are not
        faster: then no bit depends on what else is followed. On a GPU it takes what fits into the
        memory that is free there, up to 64. If that does not suffice, it goes on with fewer, with
        a warning.
    correct_backwards : bool
        Take all prompts of an object as first ones, which count for all maps.
    threads : int
        Of the CPU; 0 is one per core.
    progress : callable, optional
        Called with how many maps of all clips were looked at, and how many are to be, from 0 on;
        those that are followed both ways, twice.

    Returns
    -------
    list of Followed

    Raises
    ------
    ValueError
        If the first prompt of an object does not say where it is.
    MemoryError
        If the memory does not suffice for a single object.
    """
    if batch_size != "auto":
        arguments.integer("batch_size", batch_size, 1)
    if not isinstance(model, Model):
        model = Model(model, device=device, threads=threads)
    elif device not in ("auto", model.device):
        raise ValueError(f"device is {device!r}, but the model was loaded for {model.device!r}")
    size = model.manifest.image_size
    tasks, results = [], []
    for clip, told, both in clips:
        said = _said(told, clip, size)
        tasks.append(Task(_images(clip, size), len(clip), said, both, correct_backwards))
        shape = (len(said), *clip.change.shape)
        results.append((np.zeros(shape, bool), np.zeros(shape[:2])))
    total = sum(len(task.steps()) for task in tasks)
    looked = 0

    def done(maps: int) -> None:
        nonlocal looked
        looked += maps
        if progress is not None:
            progress(looked, total)

    done(0)
    rows = _rows(model) if batch_size == "auto" else batch_size
    for found in propagate(
        model,
        tasks,
        rows=rows,
        ahead=rows,
        done=done,
    ):
        masks, confidence = results[found.task]
        row = sorted(tasks[found.task].said).index(found.name)
        mask = masks[row, found.index]
        clip, told, _ = clips[found.task]
        drawn = _only_drawn(told, found, mask.shape)
        if drawn is not None:
            mask[...] = drawn
            confidence[row, found.index] = float(mask.any())
        else:
            mask[...] = enlarged(found.logits, mask.shape) > 0
            if clip.mask is not None:
                mask &= clip.mask
            there = 1 / (1 + np.exp(-found.score))
            confidence[row, found.index] = mask.any() * there * np.clip(found.quality, 0, 1)
    notes = _notes(model)
    return [
        Followed(masks, tuple(sorted(task.said)), confidence, notes)
        for task, (masks, confidence) in zip(tasks, results, strict=True)
    ]


def _rows(model: Model) -> int:
    if model.memory == "cpu":
        return 1
    return rows_that_fit(model.manifest, free_device_bytes())


def _notes(model: Model) -> tuple[str, ...]:
    manifest = model.manifest
    own = [name for name in model.providers if name.startswith(OPENVINO)]
    others = [name for name in model.providers if name not in own]
    ran = [f"{', '.join(others)} of ONNX Runtime {model.runtime_version}", *own]
    return (
        f"{manifest.model} at {manifest.image_size} pixels, {manifest.precision}, on "
        f"{', '.join(ran)}",
    )


def _images(clip: Clip, size: int) -> Callable[[int], NDArray[np.uint8]]:
    def image(index: int) -> NDArray[np.uint8]:
        from PIL import Image

        found: NDArray[np.uint8] = clip.rgb[index]
        if found.shape[:2] == (size, size):
            return found
        # bicubic, as sam2 reads images
        return np.asarray(Image.fromarray(found).resize((size, size), Image.Resampling.BICUBIC))

    return image


def check(prompts: Sequence[Prompt], clip: Clip) -> None:
    """Raise ValueError unless prompts can be taken, and the first of each object tells where it is.

    Parameters
    ----------
    prompts : sequence of Prompt
        Checked against the clip.
    clip : Clip
    """
    _said(prompts, clip, max(clip.change.shape[1:]))


def _said(prompts: Sequence[Prompt], clip: Clip, size: int) -> dict[int, dict[int, Said]]:
    """Return prompts as the model takes them, by object and map."""
    together: dict[int, dict[int, list[Prompt]]] = {}
    for prompt in sorted(prompts, key=lambda prompt: (prompt.object_id, prompt.map_index)):
        together.setdefault(prompt.object_id, {}).setdefault(prompt.map_index, []).append(prompt)
    for each in together.values():
        first = each[min(each)]
        if not any(_tells_where(prompt, clip) for prompt in first):
            raise ValueError(
                f"{first[0]} is the first one, and must say where the object is: give a point "
                "with label 1, a box, a polygon, or a mask that is not empty"
            )
    height, width = clip.change.shape[1:]
    return {
        name: {index: _as_said(some, (height, width), size) for index, some in each.items()}
        for name, each in together.items()
    }


def _tells_where(prompt: Prompt, clip: Clip) -> bool:
    if prompt.drawn:
        height, width = clip.change.shape[1:]
        return bool(prompt.drawing((height, width)).any())
    return prompt.box is not None or 1 in (prompt.labels or ())


def _as_said(prompts: Sequence[Prompt], shape: tuple[int, int], size: int) -> Said:
    """Return the prompts of an object on a map as one; of several boxes the one around them."""
    height, width = shape
    points: list[tuple[float, float]] = []
    labels: list[int] = []
    boxes = np.array([prompt.box for prompt in prompts if prompt.box is not None])
    if boxes.size:
        x0, y0 = boxes[:, :2].min(0).tolist()
        x1, y1 = boxes[:, 2:].max(0).tolist()
        points, labels = [(x0, y0), (x1, y1)], [2, 3]
    for prompt in prompts:
        points += prompt.points
        labels += prompt.labels or ()
    drawn = _drawing(prompts, shape)
    places = np.array(points, np.float32).reshape(-1, 2)
    places /= np.array([width, height], np.float32)
    places *= np.float32(size)
    mask = None if drawn is None else scaled(drawn, size)
    return Said(places, np.array(labels, np.float32), mask)


def _drawing(prompts: Sequence[Prompt], shape: tuple[int, int]) -> NDArray[np.bool_] | None:
    """Return all that was drawn, if anything was."""
    drawn = [prompt.drawing(shape) for prompt in prompts if prompt.drawn]
    return np.logical_or.reduce(drawn) if drawn else None


def _only_drawn(
    prompts: Sequence[Prompt], found: Found, shape: tuple[int, ...]
) -> NDArray[np.bool_] | None:
    """Return the object's pixels where they were drawn and no point or box corrects them."""
    here = [p for p in prompts if (p.object_id, p.map_index) == (found.name, found.index)]
    height, width = shape
    return _drawing(here, (height, width)) if all(prompt.drawn for prompt in here) else None


def scaled(mask: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """Return a mask at the model's image size, smoothed where it shrinks, as sam2 scales masks."""
    from PIL import Image

    if mask.shape == (size, size):
        return mask
    image = Image.fromarray(mask.astype(np.float32))
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR)) >= 0.5


def enlarged(logits: Float, shape: tuple[int, ...]) -> Float:
    """Return logits at another size, bilinear with the centres of pixels in proportion."""
    if logits.shape == shape:
        return logits
    for axis, count in enumerate(shape):
        old = logits.shape[axis]
        middle = np.arange(count, dtype=np.float32) + np.float32(0.5)
        place = np.maximum(middle * np.float32(old / count) - np.float32(0.5), 0)
        low = np.minimum(place.astype(np.int64), old - 1)
        high = np.minimum(low + 1, old - 1)
        weight = place - low.astype(np.float32)
        weight = weight[:, None] if axis == 0 else weight
        logits = logits.take(low, axis) * (1 - weight) + logits.take(high, axis) * weight
    return logits
