"""Methods of segmentation side by side on labelled clips: how good, and how fast."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from . import arguments
from .annotations import Annotations
from .clips import Clip, read_clip
from .evaluate import evaluate
from .labelled_pairs import clips_of
from .mask_scores import distances
from .prompts import Prompt
from .sam2.fetch import OFFICIAL
from .sam2.model import Device, Model
from .score_tables import clip_table, summary_table
from .segment import segment
from .tables import pandas, write_tables

if TYPE_CHECKING:
    import pandas as pd

PromptKind = Literal["point", "box", "mask"]

#: Pixels of the clips that are in memory at a time.
_PIXELS = 1 << 27
_SHOWN = ("dice", "iou", "contour_f")
_COLUMNS = (*_SHOWN, *(f"{name}_{end}" for name in _SHOWN for end in ("low", "high")))


@dataclass(frozen=True, eq=False)
class Comparison:
    """What methods made of the same clips and prompts.

    Attributes
    ----------
    methods : pandas.DataFrame
        A row for each method: ``method``, ``clips``, ``objects``, ``maps`` that were scored,
        ``maps_per_s``, ``ran_on``, and means over clips with the ends of their 95 % intervals:
        ``dice``, ``iou`` (J), ``contour_f``, each also with ``_low`` and ``_high``.
    maps : pandas.DataFrame
        A row for each method, clip, object and map, with the scores of `iosfast.evaluate`.
    notes : tuple of str
        What is to be known of the figures.
    """

    methods: pd.DataFrame
    maps: pd.DataFrame
    notes: tuple[str, ...] = ()

    def write(
        self, folder: str | PathLike[str], *, parquet: bool = False, overwrite: bool = False
    ) -> list[Path]:
        """Write the tables to a folder: ``methods.csv`` and ``maps.csv``.

        See `Measurement.write` for the parameters and errors.
        """
        tables = {"methods": self.methods, "maps": self.maps}
        return write_tables(Path(folder), tables, parquet=parquet, overwrite=overwrite)


@dataclass(frozen=True, eq=False)
class _Labelled:
    """A clip, a prompt for each object, and its masks on the maps that are scored."""

    name: str
    clip: Clip
    prompts: list[Prompt]
    scored: list[tuple[str, NDArray[np.intp], NDArray[np.bool_]]]


def compare(
    clips: str | PathLike[str],
    models: Sequence[str | PathLike[str] | Model] = (),
    *,
    labels: str | PathLike[str] | None = None,
    front: bool = True,
    prompt: PromptKind = "point",
    devices: Sequence[Device] = ("auto",),
    pixel_size_mm: float | None = None,
    interval_s: float | None = None,
    threads: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Segment labelled clips by several methods, and score each against the labels.

    Each object is prompted once, on the first map on which it is labelled, and followed forwards.
    All labelled maps from there on are scored; a map without a label file is not.

    Parameters
    ----------
    clips : path
        A folder of images with labels beside them, or of such folders, each a clip: see
        `read_clip` and `Annotations.read`.
    models : sequence of path or Model
        Models that ``iosfast sam2 export`` has made, such as of other image sizes or precisions.
    labels : path, optional
        The labels, if they are not beside the images.
    front : bool
        Compare the method ``front``, too.
    prompt : {"point", "box", "mask"}
        The innermost pixel of the label, the box around it, or the label itself, whose map is then
        not scored.
    devices : sequence of {"auto", "cpu", "cuda", "openvino", "openvino-bf16"}
        Where to run each model that is a path.
    pixel_size_mm : float, optional
        Side of a pixel, where the images do not tell it.
    interval_s : float, optional
        Seconds from image to image, where names do not tell it.
    threads : int
        0 is one per core.
    progress : callable, optional
        Called with the clips that are done, and their number.

    Returns
    -------
    Comparison

    Raises
    ------
    ReadError
        If images, labels or a model cannot be read.
    ValueError
        If there is nothing to compare, or labels and images do not fit.
    ImportError
        Without pandas (extra ``tables``), or what a model needs.
    """
    arguments.choice("prompt", prompt, get_args(PromptKind))
    arguments.threads(threads)
    library = pandas()
    root = Path(clips)
    truth = Annotations.read(root if labels is None else labels)
    methods = _methods(models, front, devices, threads)
    scores: dict[str, list[Any]] = {name: [] for name in methods}
    seconds = dict.fromkeys(methods, 0.0)
    followed, ran = 0, dict.fromkeys(methods, "")
    names = clips_of(truth.names)
    for group in _groups(root, truth, names, prompt, interval_s):
        for name, options in methods.items():
            told = [one.prompts for one in group]
            before = time.perf_counter()
            found = segment(
                [one.clip for one in group],
                told,
                pixel_size_mm=pixel_size_mm,
                threads=threads,
                **options,
            )
            seconds[name] += time.perf_counter() - before
            ran[name] = found[0].notes[0] if "model" in options else "CPU"
            for one, segmented in zip(group, found, strict=True):
                masks = dict(zip(segmented.objects, segmented.masks, strict=True))
                scores[name] += _scored(one, masks)
        followed += sum(len(one.clip) for one in group)
        if progress is not None:
            progress(len({table["clip"].iloc[0] for table in scores[name]}), len(names))
    rows, tables = [], []
    for name, parts in scores.items():
        maps = library.concat(parts, ignore_index=True)
        maps.insert(0, "method", name)
        tables.append(maps)
        row = summary_table(
            maps, clip_table(maps), [], average="clips", resamples=10_000, confidence=0.95, seed=0
        ).iloc[-1]
        rows.append(
            {
                "method": name,
                "clips": int(row["clips"]),
                "objects": len(maps[["clip", "object"]].drop_duplicates()),
                "maps": int(row["maps"]),
                **{column: row[column] for column in _COLUMNS},
                "maps_per_s": followed / seconds[name],
                "ran_on": ran[name],
            }
        )
    return Comparison(
        library.DataFrame(rows), library.concat(tables, ignore_index=True), _notes(methods)
    )


def _methods(
    models: Sequence[str | PathLike[str] | Model],
    front: bool,
    devices: Sequence[Device],
    threads: int,
) -> dict[str, dict[str, Any]]:
    """Return options of `segment` by names that are all different."""
    if isinstance(models, str | PathLike | Model):
        raise TypeError(f"models must be a list of folders, not {models!r}")
    methods: dict[str, dict[str, Any]] = {"front": {"method": "front"}} if front else {}
    for model in models:
        for each in (
            [model]
            if isinstance(model, Model)
            else [Model(model, device=device, threads=threads) for device in devices]
        ):
            manifest = each.manifest
            name = f"sam2 {manifest.image_size} {manifest.precision} {each.device}"
            if name in methods:
                raise ValueError(f"two models are {name}; compare them one by one")
            methods[name] = {"method": "sam2", "model": each}
    if not methods:
        raise ValueError("there is nothing to compare: give models, or front=True")
    return methods


def _groups(
    root: Path,
    truth: Annotations,
    names: Mapping[str, Sequence[str]],
    prompt: PromptKind,
    interval_s: float | None,
) -> Iterator[list[_Labelled]]:
    """Yield the clips that have objects, as many at a time as fit into memory."""
    group: list[_Labelled] = []
    pixels = nothing = 0
    for name, images in names.items():
        made = _labelled(root, name, images, truth, prompt, interval_s)
        if made is None:
            nothing += 1
            continue
        if group and pixels + made.clip.change.size > _PIXELS:
            yield group
            group, pixels = [], 0
        group.append(made)
        pixels += made.clip.change.size
    if nothing == len(names):
        raise ValueError(f"{root}: no clip has a labelled object with a map after it to score")
    if group:
        yield group


def _labelled(
    root: Path,
    name: str,
    images: Sequence[str],
    truth: Annotations,
    prompt: PromptKind,
    interval_s: float | None,
) -> _Labelled | None:
    """Read a clip; return None if no object is labelled on it."""
    wanted = set(images)
    here = Annotations(tuple(image for image in truth.images if image.name in wanted))
    if not here.objects:
        return None
    clip = read_clip(root / name, interval_s=interval_s)
    prefix = f"{name}/" if name else ""
    places = {f"{prefix}{image}": index for index, image in enumerate(clip.names)}
    unknown = [image for image in images if image not in places]
    if unknown:
        raise ValueError(f"labels are of {unknown[0]}, but {root / name} has no such image")
    ordered = sorted(images, key=places.__getitem__)
    at = np.array([places[image] for image in ordered])
    prompts, scored = [], []
    masks = here.masks(names=ordered, shape=clip.change.shape[1:])
    for number, (key, drawn) in enumerate(zip(here.objects, masks, strict=True), 1):
        shown = np.flatnonzero(drawn.any(axis=(1, 2)))
        if not shown.size:
            continue
        first = int(shown[0])
        chosen = np.arange(first + (prompt == "mask"), len(ordered))
        if not chosen.size:
            continue
        prompts.append(_prompt(prompt, int(at[first]), number, drawn[first]))
        scored.append((f"{key.category}/{key.group}", at[chosen], drawn[chosen]))
    return _Labelled(name or root.name, clip, prompts, scored) if prompts else None


def _prompt(kind: PromptKind, index: int, number: int, mask: NDArray[np.bool_]) -> Prompt:
    if kind == "mask":
        return Prompt(index, number, mask=mask)
    y, x = np.nonzero(mask)
    if kind == "box":
        return Prompt(index, number, box=(x.min(), y.min(), x.max() + 1, y.max() + 1))
    framed = np.pad(mask, 1)
    depth = distances(framed, ~framed)
    off = np.where(depth == depth.max(), np.hypot(x - x.mean(), y - y.mean()), np.inf)
    deepest = int(np.argmin(off))  # of several the one in the middle
    return Prompt(index, number, points=[(x[deepest], y[deepest])])


def _scored(one: _Labelled, found: Mapping[int, NDArray[np.bool_]]) -> list[Any]:
    """Return the scores of each object of a clip, map by map."""
    tables = []
    for told, (name, at, drawn) in zip(one.prompts, one.scored, strict=True):
        predicted = found[told.object_id][at]
        scores = evaluate({one.name: predicted}, {one.name: drawn}, resamples=1).maps
        scores["object"] = name
        scores["map"] = at
        scores["name"] = [one.clip.names[i] for i in at]
        tables.append(scores)
    return tables


def _notes(methods: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    notes = ["Speed is of whole calls on these clips, without loading of models and images."]
    for name, options in methods.items():
        if "model" in options and options["model"].manifest.checkpoint != OFFICIAL:
            notes.append(f"{name}: its weights are not the official ones.")
    return tuple(notes)


def text_of(row: Mapping[str, Any], name: str) -> str:
    """Return a score of a method with its interval, as text."""
    value, low, high = (float(row[key]) for key in (name, f"{name}_low", f"{name}_high"))
    if math.isnan(value):
        return "-"
    return f"{value:.3f}" if math.isnan(low) else f"{value:.3f} [{low:.3f}, {high:.3f}]"
