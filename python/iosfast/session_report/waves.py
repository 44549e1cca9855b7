"""The waves of a session: each episode outlined and measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..clips import Clip
from ..episodes import Episode, EpisodeWave
from ..front import ASSUMED_FIELD_MM
from ..maps import Maps
from ..metrics import Measurement, measure
from ..prompts import Prompt
from ..segment import AFTER_MAPS, BEFORE_MAPS, Segmentation, propose_prompts, segment


@dataclass(frozen=True, eq=False)
class WaveResult:
    """One wave that was outlined.

    Attributes
    ----------
    label : str
    measurement : Measurement
        Of this wave alone.
    masks : ndarray of bool, shape (T, Y, X)
        In the maps of its clip.
    confidence : float
        Median over its outlined maps, 0 to 1.
    look_at : tuple of int
        Maps of the session that a person should look at.
    amplitude : float
        Median over its outlined maps of the change that 5 % of the outline exceed; %, or counts
        of differences. Below 0 if the wave is darker.
    amplitude_unit : {"%", "counts"}
    """

    label: str
    measurement: Measurement
    masks: NDArray[np.bool_]
    confidence: float
    look_at: tuple[int, ...]
    amplitude: float
    amplitude_unit: str


@dataclass(frozen=True, eq=False)
class EpisodeResult:
    """An episode, and the waves that were outlined in it.

    Attributes
    ----------
    episode : Episode
    first : int
        Number of the first map of the clip that was looked at.
    measurement : Measurement or None
        Of all its waves; None if none was outlined.
    masks : ndarray of bool, shape (objects, T, Y, X)
    waves : tuple of WaveResult
    notes : tuple of str
        What was assumed, or not found.
    """

    episode: Episode
    first: int
    measurement: Measurement | None
    masks: NDArray[np.bool_]
    waves: tuple[WaveResult, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Told:
    """The prompts of an episode, and what their objects are called.

    Attributes
    ----------
    episode : Episode
    prompts : tuple of Prompt
        Map numbers are those of the session.
    labels : dict of int to str
        Labels of the objects.
    """

    episode: Episode
    prompts: tuple[Prompt, ...]
    labels: dict[int, str]


def told_by_seeds(episodes: Sequence[Episode], found: Sequence[Episode]) -> list[Told]:
    """Return a point on each wave: its own seed, or that of a wave found at the same time.

    Parameters
    ----------
    episodes : sequence of Episode
        Such as an operator's, which have no seeds.
    found : sequence of Episode
        With seeds, in the same maps.
    """
    seeds = [wave for episode in found for wave in episode.waves if wave.seed is not None]
    numbers = count(1)
    told = []
    for episode in episodes:
        prompts, labels = [], {}
        for wave in episode.waves:
            other = wave if wave.seed is not None else _nearest(wave, seeds)
            if other is not wave and other is not None:
                seeds.remove(other)
            if other is not None and other.seed is not None:
                number = next(numbers)
                prompts.append(Prompt(other.seed[0], number, points=[other.seed[1]]))
                labels[number] = wave.label
        told.append(Told(episode, tuple(prompts), labels))
    return told


def _nearest(wave: EpisodeWave, found: Sequence[EpisodeWave]) -> EpisodeWave | None:
    """Return the wave that has most maps in common with this one, if any has."""
    return max(
        (f for f in found if f.start <= wave.end and f.end >= wave.start),
        key=lambda f: min(f.end, wave.end) - max(f.start, wave.start),
        default=None,
    )


def told_by_prompts(episodes: Sequence[Episode], prompts: Sequence[Prompt]) -> list[Told]:
    """Return which prompts belong to which episode, by their maps.

    Raises
    ------
    ValueError
        If a prompt is in no episode, or an object in several.
    """
    places: dict[int, int] = {}
    for prompt in prompts:
        at = [n for n, e in enumerate(episodes) if e.start <= prompt.map_index <= e.end]
        if not at:
            raise ValueError(
                f"the prompt of object {prompt.object_id} is on map {prompt.map_index}, which is "
                "in no episode; give a table of episodes that holds it"
            )
        if places.setdefault(prompt.object_id, at[0]) != at[0]:
            raise ValueError(
                f"object {prompt.object_id} has prompts in episodes "
                f"{episodes[places[prompt.object_id]].number} and {episodes[at[0]].number}; "
                "each wave is an object of its own"
            )
    told = []
    for n, episode in enumerate(episodes):
        own = tuple(prompt for prompt in prompts if places[prompt.object_id] == n)
        told.append(Told(episode, own, {p.object_id: str(p.object_id) for p in own}))
    return told


def measured(
    maps: Maps,
    told: Told,
    *,
    pixel_size_mm: float | None,
    max_speed_mm_min: float,
    as_told: bool,
    threads: int,
) -> EpisodeResult:
    """Outline and measure the waves of an episode.

    Parameters
    ----------
    maps : Maps
    told : Told
    pixel_size_mm : float or None
        None: the measurement is in pixels.
    max_speed_mm_min : float
    as_told : bool
        Take the first and last map of each wave as the episode has them, and no maps around.
    threads : int
    """
    episode = told.episode
    pointed = [prompt.map_index for prompt in told.prompts]
    first = max(0, min([episode.start - BEFORE_MAPS, *pointed]))
    last = min(len(maps), max([episode.end + AFTER_MAPS, *pointed]) + 1)
    clip = Clip.of(maps, first, last)
    # Fronts are followed as in `segment` where the size of a pixel is not known.
    size = pixel_size_mm or ASSUMED_FIELD_MM / max(maps.info.shape)
    prompts, labels = list(told.prompts), dict(told.labels)
    if not prompts and as_told:
        prompts = [
            replace(prompt, map_index=prompt.map_index + first)
            for prompt in propose_prompts(clip, pixel_size_mm=size)
            if episode.start <= prompt.map_index + first <= episode.end
        ][: len(episode.waves)]
        labels = {p.object_id: w.label for p, w in zip(prompts, episode.waves, strict=False)}
    if not prompts:
        return _nothing(episode, first, "no wave was found in these maps: give prompts to outline")
    found = segment(
        clip,
        [replace(prompt, map_index=prompt.map_index - first) for prompt in prompts],
        pixel_size_mm=size,
        max_speed_mm_min=max_speed_mm_min,
        direction="both",
        threads=threads,
    )
    masks = found.masks
    names = [labels[number] for number in found.objects]
    ends = {wave.label: (wave.start, wave.end) for wave in episode.waves}
    if as_told:
        masks = masks.copy()
        for mask, name in zip(masks, names, strict=True):
            begin, end = ends.get(name, (episode.start, episode.end))
            mask[: begin - first] = False
            mask[end + 1 - first :] = False
    missing = [wave.label for wave in episode.waves if wave.label not in names]
    notes = [*found.notes]
    if missing and set(names) & set(ends):
        notes.append(f"nothing was outlined of {', '.join(missing)}: give prompts")
    kept = np.flatnonzero(masks.any(axis=(1, 2, 3)))
    if not kept.size:
        return replace(_nothing(episode, first, ""), notes=tuple(notes or ["nothing outlined"]))
    return _result(
        maps, clip, told, found, masks, names, kept, first, pixel_size_mm, threads, notes
    )


def _result(
    maps: Maps,
    clip: Clip,
    told: Told,
    found: Segmentation,
    masks: NDArray[np.bool_],
    names: list[str],
    kept: NDArray[np.intp],
    first: int,
    pixel_size_mm: float | None,
    threads: int,
    notes: list[str],
) -> EpisodeResult:
    last = first + masks.shape[1]
    images = images_of(maps, first, last)
    sides = {w.label: w.hemisphere for w in told.episode.waves if w.hemisphere is not None}
    labels = [names[n] for n in kept.tolist()]
    measurement = measure(
        masks[kept],
        found.times_s,
        1.0 if pixel_size_mm is None else pixel_size_mm,
        images,
        objects=labels,
        hemisphere={name: side for name, side in sides.items() if name in labels} or None,
        clip=f"episode {told.episode.number}",
        threads=threads,
    )
    if pixel_size_mm is None:
        measurement = replace(measurement, length_unit="px")
    factor, unit = (1.0, "counts") if maps.recipe.change == "difference" else (100.0, "%")
    no_change = 1.0 if maps.recipe.change == "ratio" else 0.0
    waves = []
    for at, n in enumerate(kept.tolist()):
        drawn = masks[n].any(axis=(1, 2))
        look = found.look_at[n] & (np.arange(len(drawn)) >= drawn.argmax())
        look &= np.arange(len(drawn)) < len(drawn) - drawn[::-1].argmax()
        waves.append(
            WaveResult(
                label=names[n],
                measurement=measurement.of_object(at),
                masks=masks[n],
                confidence=float(np.median(found.confidence[n, drawn])),
                look_at=tuple((first + np.flatnonzero(look)).tolist()),
                amplitude=factor * _amplitude(clip.change, masks[n], no_change),
                amplitude_unit=unit,
            )
        )
    return EpisodeResult(told.episode, first, measurement, masks[kept], tuple(waves), tuple(notes))


def images_of(maps: Maps, first: int, last: int) -> NDArray[Any]:
    """Return the mean images of maps, from a number on and up to another one."""
    bins = maps.info.map_bins()[first:last]
    if (np.diff(bins) == 1).all():  # a part of a file is not read before it is needed
        return np.asarray(maps.binned[bins[0] : bins[-1] + 1])
    return np.asarray(maps.binned[bins])


def _amplitude(change: NDArray[np.float32], masks: NDArray[np.bool_], no_change: float) -> float:
    """Median over maps of the change that 5 % of the outline exceed, to the side of the wave."""
    ends = []
    for image, mask in zip(change, masks, strict=True):
        inside = image[mask]
        if inside.size:
            ends.append(np.quantile(inside, (0.05, 0.5, 0.95)).astype(np.float64) - no_change)
    low, middle, high = np.median(ends, axis=0).tolist()
    return float(high if middle >= 0 else low)


def _nothing(episode: Episode, first: int, note: str) -> EpisodeResult:
    return EpisodeResult(episode, first, None, np.zeros((0, 0, 0, 0), bool), (), (note,))
