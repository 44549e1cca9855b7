"""The steps that a recording goes through, and the files that each makes."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..clips import Clip, map_names
from ..episode_tables import read_episodes, write_episodes
from ..episodes import Episode, find_episodes
from ..maps import Maps
from ..metrics import measure
from ..preprocess import preprocess
from ..prompts import Prompt
from ..segment import AFTER_MAPS, BEFORE_MAPS, segment
from ..segment_files import write_segmentation
from ..session_report.report import report
from ..staging import Staging, channel_folders
from ..storage import load
from ..tables import pandas, write_tables
from .settings import (
    EPISODE_OPTIONS,
    MEASURE_OPTIONS,
    PREPROCESS_OPTIONS,
    REPORT_OPTIONS,
    SEGMENT_OPTIONS,
    Settings,
)
from .sources import Source
from .splitting import Parts, preprocess_parts

#: Matplotlib draws in one thread at a time; the next recording may be read meanwhile.
_drawing = threading.Lock()

#: Tables of the step ``measure``.
TABLES = ("events", "frames", "published")


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a step is told.

    Attributes
    ----------
    folder : Path
        Of the recording's results.
    progress : callable
        Called with the bytes of the recording that are done, and in all.
    read : callable
        Called when nothing more of the recording is to be read.
    parts : Parts or None
        If the recording is split.
    """

    name: str
    folder: Path
    source: Source
    settings: Settings
    threads: int
    progress: Callable[[int, int], None]
    read: Callable[[], None] = lambda: None
    parts: Parts | None = None


@dataclass(frozen=True)
class Made:
    """What is to be told of a step that is done."""

    facts: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes
    ----------
    name : str
    folder : str
        Of its files, in that of the recording's results.
    needs : tuple of str
        Steps whose results it takes.
    options : tuple of str
        Names of the `Settings` that it goes by.
    run : callable (Work) -> Made
    reads_source : bool
        Whether it reads the recording itself, and not only results.
    edited : bool
        Whether people work on its files: what they changed is never replaced.
    """

    name: str
    folder: str
    needs: tuple[str, ...]
    options: tuple[str, ...]
    run: Callable[[Work], Made]
    reads_source: bool = False
    edited: bool = False


def _preprocess(work: Work) -> Made:
    size = sum(path.stat().st_size for path in work.source.files())
    out = work.folder / "maps"

    def progress(done: int, total: int) -> None:
        work.progress(size * done // max(1, total), size)
        if done >= total:
            work.read()

    found: Any
    if work.parts is not None:
        found = preprocess_parts(work.source, work.settings, work.parts, out, work.threads)
        shutil.rmtree(work.parts.folder, ignore_errors=True)
    else:
        found = preprocess(
            work.source.to_open,
            **work.settings.preprocessing(),
            out=out,
            overwrite=True,
            threads=work.threads,
            progress=progress,
        )
    every: dict[str, Maps] = found if isinstance(found, dict) else {"": found}
    if work.settings.picture:
        from ..figures import contact_sheet

        with _drawing:
            for maps in every.values():
                assert maps.path is not None
                contact_sheet(maps, maps.path / "contact_sheet.png")
    return preprocessed(every)


def preprocessed(every: dict[str, Maps]) -> Made:
    """What is to be told of maps."""
    first = next(iter(every.values()))
    facts = {
        "maps": sum(len(maps) for maps in every.values()),
        "frames": int(first.source["shape"][0]),
        "channels": [name for name in every if name],
    }
    return Made(facts, tuple(dict.fromkeys(note for maps in every.values() for note in maps.notes)))


def _maps(work: Work) -> Iterator[tuple[str, Maps]]:
    """Maps of all channels, one after the other; the name of a recording without channels is ""."""
    place = work.folder / "maps"
    for name in [""] if (place / "maps.json").is_file() else channel_folders(place) or [""]:
        yield name, load(place / name)


def _find_episodes(work: Work) -> Made:
    settings, count, waves = work.settings, 0, 0
    limits = _speed(settings)
    place = work.folder / "episodes"
    with Staging(place, True, check=_any) as staging:
        for channel, maps in _maps(work):
            found = find_episodes(maps, midline=settings.midline_x_px, **limits)
            write_episodes(staging.work / f"{channel or 'episodes'}.csv", found)
            if settings.picture:
                from ..figures import episodes_overview

                episodes_overview(maps, found, staging.work / f"{channel or 'episodes'}.png")
            count += len(found)
            waves += sum(len(episode.waves) for episode in found)
        staging.finish()
    return Made({"episodes": count, "waves": waves})


def _episodes(work: Work, channel: str, maps: Maps) -> list[Episode]:
    table = work.folder / "episodes" / f"{channel or 'episodes'}.csv"
    if len(table.read_text(encoding="utf-8").splitlines()) < 2:
        return []  # no wave, which a table of an operator could not tell
    return read_episodes(table, maps)


@dataclass(frozen=True)
class _Part:
    """The maps around an episode, and where they are."""

    episode: Episode
    clip: Clip
    first: int
    place: Path


def _parts(work: Work, channel: str, maps: Maps) -> Iterator[_Part]:
    """One episode after the other, so that only its maps are in memory."""
    names = map_names(maps.info)
    for episode in _episodes(work, channel, maps):
        first = max(0, episode.start - BEFORE_MAPS)
        clip = Clip.of(maps, first, min(len(maps), episode.end + 1 + AFTER_MAPS))
        name = f"segment_{episode.number - 1}_{names[episode.start]}_{names[episode.end]}"
        yield _Part(episode, clip, first, work.folder / "segmented" / channel / name)


def _segment(work: Work) -> Made:
    limits = _speed(work.settings)
    place = work.folder / "segmented"
    shutil.rmtree(place, ignore_errors=True)
    objects, outlined = 0, 0
    notes: list[str] = []
    for channel, maps in _maps(work):
        for part in _parts(work, channel, maps):
            prompts = [
                Prompt(wave.seed[0] - part.first, number, points=[wave.seed[1]])
                for number, wave in enumerate(part.episode.waves, 1)
                if wave.seed is not None
            ]
            if not prompts:
                continue
            found = segment(part.clip, prompts, direction="both", threads=work.threads, **limits)
            part.place.parent.mkdir(parents=True, exist_ok=True)
            write_segmentation(
                found, part.clip, part.place, picture=work.settings.picture, overwrite=True
            )
            objects += len(found.objects)
            outlined += int(found.masks.any(axis=(0, 2, 3)).sum())
            notes += found.notes
    return Made({"outlined_maps": outlined, "objects": objects}, tuple(dict.fromkeys(notes)))


def _measure(work: Work) -> Made:
    from ..annotations import Annotations

    collected: dict[str, list[Any]] = {name: [] for name in TABLES}
    for channel, maps in _maps(work):
        for part in _parts(work, channel, maps):
            labels = [p for p in (part.place / "masks.tif", part.place / "masks") if p.exists()]
            if not labels:
                continue
            if maps.pixel_size_mm is None:
                raise ValueError(
                    "pixel_size_mm is not known, without which nothing can be measured; give it"
                )
            drawn = Annotations.read(labels[0])
            if not drawn.objects:
                continue
            masks = drawn.masks(names=part.clip.names, shape=maps.info.shape, threads=work.threads)
            last = part.first + len(part.clip)
            waves = part.episode.waves
            measured = measure(
                masks,
                part.clip.times_s,
                maps.pixel_size_mm,
                np.asarray(maps.binned[maps.info.map_bins()[part.first : last]]),
                objects=[waves[key.group - 1].label for key in drawn.objects],
                midline_x_px=work.settings.midline_x_px,
                clip=part.place.name,
                threads=work.threads,
            )
            tables = (measured.events, measured.frames, measured.published())
            for name, table in zip(TABLES, tables, strict=True):
                if channel:
                    table.insert(0, "channel", channel)
                if name == "frames":
                    table.insert(0, "clip", part.place.name)
                collected[name].append(table)
    waves_measured = sum(map(len, collected["events"]))
    place = work.folder / "measures"
    with Staging(place, True, check=_any) as staging:
        if waves_measured:
            joined = {n: pandas().concat(t, ignore_index=True) for n, t in collected.items()}
            write_tables(staging.work, joined, parquet=True, overwrite=True)
        staging.finish()
    return Made({"measured_waves": waves_measured})


def _report(work: Work) -> Made:
    for channel, maps in _maps(work):
        place = work.folder / "report" / channel
        shutil.rmtree(place, ignore_errors=True)
        report(
            maps,
            place,
            episodes=_episodes(work, channel, maps),
            title=work.name + f" ({channel})" * bool(channel),
            overwrite=True,
            threads=work.threads,
            **_speed(work.settings),
        )
    return Made()


def _speed(settings: Settings) -> dict[str, Any]:
    speed = settings.max_speed_mm_min
    return {} if speed is None else {"max_speed_mm_min": speed}


def _any(_folder: Path, _overwrite: bool) -> None:
    """Folders of steps are the batch's own; what people changed is looked for before."""


#: All steps, each after those that it needs. Another one is added here, and nowhere else.
STEPS: tuple[Step, ...] = (
    Step("preprocess", "maps", (), PREPROCESS_OPTIONS, _preprocess, reads_source=True),
    Step("episodes", "episodes", ("preprocess",), EPISODE_OPTIONS, _find_episodes, edited=True),
    Step(
        "segment", "segmented", ("preprocess", "episodes"), SEGMENT_OPTIONS, _segment, edited=True
    ),
    Step("measure", "measures", ("preprocess", "episodes", "segment"), MEASURE_OPTIONS, _measure),
    Step("report", "report", ("preprocess", "episodes"), REPORT_OPTIONS, _report),
)

NAMES = tuple(step.name for step in STEPS)
BY_NAME = {step.name: step for step in STEPS}


def chosen_steps(names: Any) -> tuple[Step, ...]:
    """Return steps by name, in their order, with all that they need."""
    told = [names] if isinstance(names, str) else list(names)
    for name in told:
        if name not in BY_NAME:
            raise ValueError(f"steps must be of {', '.join(NAMES)}, not {name!r}")
    if not told:
        raise ValueError("steps is empty")
    wanted = {need for name in told for need in (name, *BY_NAME[name].needs)}
    return tuple(step for step in STEPS if step.name in wanted)
