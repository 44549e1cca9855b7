"""Outlines of waves in every map, from prompts on some."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, get_args, overload

import numpy as np
from numpy.typing import NDArray

from . import arguments
from .clips import Clip, as_clip, opened
from .episodes import Episode, find_episodes
from .front import ASSUMED_FIELD_MM, MAX_SPEED_MM_MIN, Followed, propagate
from .maps import Maps
from .prompts import Prompt
from .sam2 import outline as sam2_outline

if TYPE_CHECKING:
    from .annotations import Annotations
    from .sam2.model import Device, Model

Method = Literal["front", "sam2"]
Direction = Literal["forward", "both"]
#: What can be segmented: maps, a clip, or the folder of either.
Source = Maps | Clip | str | PathLike[str]

#: Maps before and after an episode that are looked at, too.
BEFORE_MAPS, AFTER_MAPS = 6, 12
#: Maps whose confidence is below this should be looked at by a person.
LOOK_AT_BELOW = 0.6


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Outlined objects.

    Attributes
    ----------
    masks : ndarray of bool, shape (objects, T, Y, X)
    objects : tuple of int
        Their numbers, as the prompts name them.
    confidence : ndarray of float64, shape (objects, T)
        0 to 1. Of ``front``, how far each map by itself shows what is outlined: the overlap (Dice)
        of the outline with where the map alone passes half of its peak. Of ``sam2``, how probable
        the model finds the object, times the overlap (IoU) that it predicts for its mask. 0 where
        nothing is outlined.
    prompted : ndarray of bool, shape (objects, T)
        Maps with a prompt of the object.
    times_s : ndarray of float64, shape (T,)
    names : tuple of str
        Of the maps, without ending.
    pixel_size_mm : float or None
    method : str
    notes : tuple of str
        What was assumed, or not found.
    prompts : tuple of Prompt
        As they were given, or proposed.
    """

    masks: NDArray[np.bool_]
    objects: tuple[int, ...]
    confidence: NDArray[np.float64]
    prompted: NDArray[np.bool_]
    times_s: NDArray[np.float64]
    names: tuple[str, ...]
    pixel_size_mm: float | None = None
    method: str = "front"
    notes: tuple[str, ...] = ()
    prompts: tuple[Prompt, ...] = ()

    @cached_property
    def look_at(self) -> NDArray[np.bool_]:
        """Maps that a person should look at, bool (objects, T).

        Those with an outline that the map itself shows badly (confidence below 0.6), and those
        without an outline between two that have one; not those with a prompt.
        """
        drawn: NDArray[np.bool_] = np.any(self.masks, axis=(2, 3))
        before = np.maximum.accumulate(drawn, axis=1)
        after = np.maximum.accumulate(drawn[:, ::-1], axis=1)[:, ::-1]
        doubtful = np.where(drawn, self.confidence < LOOK_AT_BELOW, before & after)
        found: NDArray[np.bool_] = doubtful & ~self.prompted
        return found

    @property
    def empty(self) -> bool:
        """Whether nothing was found at all."""
        return not self.masks.any()

    def __len__(self) -> int:
        return len(self.times_s)

    def __repr__(self) -> str:
        _, count, height, width = self.masks.shape
        drawn = self.masks.any(axis=(2, 3)).sum(axis=1).tolist()
        each = ", ".join(
            f"object {name} in {n}" for name, n in zip(self.objects, drawn, strict=True)
        )
        return (
            f"<Segmentation of {count} maps of {height} x {width} pixels by {self.method}: {each}>"
        )

    def annotations(self, category: str = "signal", **options: Any) -> Annotations:
        """Return the outlines as labels, for ISAT, labelme, COCO and others.

        Parameters
        ----------
        category : str
            What the objects are called; each is a group of its own.
        **options
            Others of `Annotations.from_masks`.
        """
        from .annotations import Annotations

        return Annotations.from_masks(
            self.masks,
            names=self.names,
            objects=[(category, number) for number in self.objects],
            **options,
        )


@overload
def segment(
    maps_or_clip: Source,
    prompts: Sequence[Prompt] | Literal["auto"],
    method: Method = ...,
    *,
    pixel_size_mm: float | None = ...,
    max_speed_mm_min: float = ...,
    direction: Direction = ...,
    correct_backwards: bool = ...,
    model: str | PathLike[str] | Model | None = ...,
    device: Device = ...,
    batch_size: int | Literal["auto"] = ...,
    threads: int = ...,
    progress: Callable[[int, int], None] | None = ...,
) -> Segmentation: ...


@overload
def segment(
    maps_or_clip: list[Source],
    prompts: Sequence[Sequence[Prompt]] | Literal["auto"],
    method: Method = ...,
    *,
    pixel_size_mm: float | None = ...,
    max_speed_mm_min: float = ...,
    direction: Direction = ...,
    correct_backwards: bool = ...,
    model: str | PathLike[str] | Model | None = ...,
    device: Device = ...,
    batch_size: int | Literal["auto"] = ...,
    threads: int = ...,
    progress: Callable[[int, int], None] | None = ...,
) -> list[Segmentation]: ...


def segment(
    maps_or_clip: Any,
    prompts: Any,
    method: Method = "front",
    *,
    pixel_size_mm: float | None = None,
    max_speed_mm_min: float = MAX_SPEED_MM_MIN,
    direction: Direction = "forward",
    correct_backwards: bool = False,
    model: str | PathLike[str] | Model | None = None,
    device: Device = "auto",
    batch_size: int | Literal["auto"] = "auto",
    threads: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Any:
    """Outline objects in all maps of a clip, from prompts on some.

    An object begins in the first map that has a prompt of it. Later prompts of the same object are
    corrections: they hold from their map on. A polygon or mask is kept as it is drawn.

    Parameters
    ----------
    maps_or_clip : Maps, Clip, path, or a list of these
        A path is a folder of maps, or of the images of a clip.
    prompts : sequence of Prompt, or "auto"
        For a list of clips, a list for each. "auto" takes those of `propose_prompts`, an object
        for each wave, which is followed both ways in its episode and some maps around it.
    method : {"front", "sam2"}
        ``front`` needs no weights: see `iosfast.front.propagate`. ``sam2`` follows whatever is
        prompted, with a network, all clips at once: see `iosfast.sam2.outline.follow`.
    pixel_size_mm : float, optional
        Side of a pixel; default: that of the clip.
    max_speed_mm_min : float
        No front moves faster. Without a pixel size, a field of 10 mm is taken for this limit,
        with a warning.
    direction : {"forward", "both"}
        ``both`` also follows the objects back in time, from their first prompts.
    correct_backwards : bool
        Let corrections also hold for the maps before them.
    model : path or Model
        For ``sam2``: the folder of an exported model, or the model loaded from it.
    device : {"auto", "cpu", "cuda", "openvino", "openvino-bf16"}
        For ``sam2``: where to run, see `iosfast.sam2.Model`.
    batch_size : int or "auto"
        For ``sam2``: how many objects at a time, of all clips.
    threads : int
        0 is one per core. The result of ``front`` does not depend on it.
    progress : callable, optional
        Called with the clips that are done, and their number; by ``sam2``, map by map, with the
        maps of all clips that were looked at, and how many are to be.

    Returns
    -------
    Segmentation, or a list of them
        Empty masks, and a note, for an object of which the maps show no wave.

    Raises
    ------
    TypeError, ValueError
        If a prompt does not fit its clip, or an argument is out of its range.
    ReadError
        If a path holds neither maps nor images of a clip.

    Examples
    --------
    >>> import iosfast
    >>> clip = iosfast.read_clip("segment_0_20230922_221431_20230922_221556")
    >>> found = iosfast.segment(clip, [iosfast.Prompt(0, points=[(120, 301)])])
    >>> found.annotations().write("labels", format="isat")
    """
    arguments.choice("method", method, get_args(Method))
    arguments.choice("direction", direction, get_args(Direction))
    size_mm = arguments.positive("pixel_size_mm", pixel_size_mm)
    speed = arguments.number("max_speed_mm_min", max_speed_mm_min, 0, above=True)
    threads = arguments.threads(threads)
    if (model is not None) != (method == "sam2"):
        needs = "needs model=, the folder of an exported model" if model is None else "has no model"
        raise ValueError(f"method {method!r} {needs}")
    several = isinstance(maps_or_clip, list)
    sources = list(maps_or_clip) if several else [maps_or_clip]
    told = [prompts] * len(sources)
    if several and not isinstance(prompts, str):
        if not isinstance(prompts, Sequence):
            raise TypeError(f"prompts must be a list for each clip, or 'auto', not {prompts!r}")
        told = list(prompts)
    if len(told) != len(sources):
        raise ValueError(
            f"prompts must be a list for each of {len(sources)} clips, not {len(told)}"
        )
    plans: list[_Plan] = []
    results: list[Segmentation] = []
    for number, (source, given) in enumerate(zip(sources, told, strict=True)):
        try:
            plan = _planned(source, given, size_mm, speed, direction == "both")
            if method == "front":
                found = [
                    propagate(
                        part.clip,
                        part.prompts,
                        pixel_size_mm=plan.followed_size_mm,
                        max_speed_mm_min=speed,
                        both=plan.both,
                        correct_backwards=correct_backwards,
                        threads=threads,
                    )
                    for part in plan.parts
                ]
                results.append(plan.result(found, method))
            else:
                for part in plan.parts:
                    sam2_outline.check(part.prompts, part.clip)
                plans.append(plan)
        except ValueError as error:
            if several and not isinstance(error, OSError):
                raise type(error)(f"clip {number}: {error}") from error
            raise
        if progress is not None and method == "front":
            progress(number + 1, len(sources))
    if model is not None:
        followed = iter(
            sam2_outline.follow(
                [(part.clip, part.prompts, plan.both) for plan in plans for part in plan.parts],
                model,
                device=device,
                batch_size=batch_size,
                correct_backwards=correct_backwards,
                threads=threads,
                progress=progress,
            )
        )
        results = [plan.result([next(followed) for _ in plan.parts], method) for plan in plans]
    return results if several else results[0]


@dataclass(frozen=True, eq=False)
class _Part:
    """Maps that are followed together: of a clip all, or those of an episode."""

    first: int
    clip: Clip
    prompts: Sequence[Prompt]


@dataclass(frozen=True, eq=False)
class _Plan:
    """A clip, and what is to be followed in it."""

    clip: Clip
    parts: Sequence[_Part]
    prompts: Sequence[Prompt]
    both: bool
    size_mm: float | None
    followed_size_mm: float | None
    notes: tuple[str, ...] = ()

    def result(self, found: Sequence[Followed], method: str) -> Segmentation:
        """Return what was found in all parts."""
        objects = sorted({prompt.object_id for prompt in self.prompts})
        if len(self.parts) == 1 and len(self.parts[0].clip) == len(self.clip):
            masks, confidence = found[0].masks, found[0].confidence
        else:
            masks = np.zeros((len(objects), *self.clip.change.shape), bool)
            confidence = np.zeros((len(objects), len(self.clip)))
            for part, each in zip(self.parts, found, strict=True):
                here = [objects.index(name) for name in each.objects]
                last = part.first + len(part.clip)
                masks[here, part.first : last] = each.masks
                confidence[here, part.first : last] = each.confidence
        prompted = np.zeros(confidence.shape, bool)
        for prompt in self.prompts:
            prompted[objects.index(prompt.object_id), prompt.map_index] = True
        notes = [*self.notes, *(note for each in found for note in each.notes)]
        return Segmentation(
            masks=masks,
            objects=tuple(objects),
            confidence=confidence,
            prompted=prompted,
            times_s=self.clip.times_s,
            names=self.clip.names,
            pixel_size_mm=self.size_mm,
            method=method,
            notes=tuple(dict.fromkeys(notes)),
            prompts=tuple(self.prompts),
        )


def _planned(
    source: Source,
    prompts: Sequence[Prompt] | Literal["auto"],
    pixel_size_mm: float | None,
    max_speed_mm_min: float,
    both: bool,
) -> _Plan:
    maps = opened(source) if isinstance(source, str | PathLike) else source
    clip = as_clip(maps)
    size_mm = pixel_size_mm or clip.pixel_size_mm
    if not isinstance(prompts, str):
        checked = _checked(prompts, clip)
        return _Plan(clip, [_Part(0, clip, checked)], checked, both, size_mm, size_mm)
    if prompts == "auto":
        return _by_episode(clip, _proposed(maps, size_mm, max_speed_mm_min), size_mm)
    raise ValueError(f"prompts must be a list of Prompt, or 'auto', not {prompts!r}")


def _checked(prompts: Any, clip: Clip) -> list[Prompt]:
    if not isinstance(prompts, Sequence) or not all(isinstance(p, Prompt) for p in prompts):
        raise TypeError(f"prompts must be a list of Prompt, or 'auto', not {prompts!r:.200}")
    if not prompts:
        raise ValueError("prompts are empty: give at least one Prompt, or 'auto'")
    maps, height, width = clip.change.shape
    return [prompt.check(maps, (height, width)) for prompt in prompts]


def _by_episode(
    clip: Clip, episodes: Sequence[tuple[Episode, Sequence[Prompt]]], size_mm: float | None
) -> _Plan:
    """Follow the waves of each episode in its maps and some around it."""
    maps, height, width = clip.change.shape
    notes, followed_size_mm = [], size_mm
    if not episodes:
        notes.append("no wave was found: there is nothing to outline")
    if followed_size_mm is None:
        # as find_episodes, which warned of it
        followed_size_mm = ASSUMED_FIELD_MM / max(height, width)
        notes.append(
            f"the size of a pixel is not known; a field of {ASSUMED_FIELD_MM:g} mm was assumed "
            f"(pixel_size_mm={followed_size_mm:.4g})"
        )
    parts = []
    for episode, told in episodes:
        if not told:
            continue
        first = max(0, episode.start - BEFORE_MAPS)
        inside = [replace(prompt, map_index=prompt.map_index - first) for prompt in told]
        part = clip.part(first, min(maps, episode.end + 1 + AFTER_MAPS))
        parts.append(_Part(first, part, inside))
    prompts = [prompt for _, told in episodes for prompt in told]
    return _Plan(clip, parts, prompts, True, size_mm, followed_size_mm, tuple(notes))


def propose_prompts(
    maps: Maps | Clip,
    *,
    pixel_size_mm: float | None = None,
    max_speed_mm_min: float = MAX_SPEED_MM_MIN,
) -> list[Prompt]:
    """Return a prompt for each wave that `find_episodes` finds: its seed, see `EpisodeWave`.

    A wave may begin in an earlier map: follow it in both directions.

    Parameters
    ----------
    maps : Maps or Clip
    pixel_size_mm, max_speed_mm_min : float
        As for `segment`.
    """
    proposed = _proposed(maps, pixel_size_mm, max_speed_mm_min)
    return [prompt for _, prompts in proposed for prompt in prompts]


def _proposed(
    maps: Maps | Clip, pixel_size_mm: float | None, max_speed_mm_min: float
) -> list[tuple[Episode, list[Prompt]]]:
    """Return episodes, and a prompt for each of their waves; waves are numbered from 1."""
    episodes = find_episodes(maps, pixel_size_mm=pixel_size_mm, max_speed_mm_min=max_speed_mm_min)
    number = count(1)
    return [
        (
            episode,
            [
                Prompt(wave.seed[0], next(number), points=[wave.seed[1]])
                for wave in episode.waves
                if wave.seed is not None
            ],
        )
        for episode in episodes
    ]
