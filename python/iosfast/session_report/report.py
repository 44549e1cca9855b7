"""From maps to a report: episodes, outlines, measures, pictures, page."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

from .. import arguments
from ..episode_tables import read_episodes
from ..episodes import Episode, find_episodes
from ..errors import WriteError
from ..front import ASSUMED_FIELD_MM, MAX_SPEED_MM_MIN
from ..maps import Maps
from ..progress import progress_for
from ..prompts import Prompt, read_prompts
from ..staging import Staging, check_place, write_error
from ..storage import load
from ..tables import write_tables
from ..video import write_video
from . import page, pictures
from .quality import quality_of
from .wave_values import Tables, session_tables
from .waves import EpisodeResult, Told, measured, told_by_prompts, told_by_seeds

Videos = Literal["auto", "inline", "beside", "none"]

#: Videos of more bytes than these are beside the page, and not in it, if nothing else is said.
MOST_INLINE_BYTES = 64_000_000
#: Width of the videos.
VIDEO_PX = 512

_PAGE, _VIDEOS = "report.html", "videos"
_TABLES = ("events", "frames", "published")
_OWN_NAMES = {_PAGE, _VIDEOS, *(f"{n}{end}" for n in _TABLES for end in (".csv", ".parquet"))}

_MEANING = (
    (
        "Speed of the front",
        "The inverse slope of the times at which outlines arrive, by planes fitted around each "
        "place; the median and quartiles count each place once. Where a plane does not fit "
        "(fronts that collide, sources, the first outline) there is no speed.",
    ),
    (
        "Speed of the centroid",
        "The way of the middle of the outline from map to map, by the duration: the measure of "
        "the published data set. A ring that grows evenly has a resting centroid.",
    ),
    (
        "Coverage",
        "The area that any outline of the wave covers. The published coverage is what the points "
        "of all outlines enclose, and is larger where the wave leaves gaps.",
    ),
    (
        "Amplitude",
        "How strong the change of a wave is: of each map, the change that 5 % of the outline "
        "exceed, as maps show it; the median over the wave's maps. Below 0, the wave darkens the "
        "image. The published table has another amplitude: how bright the mean images are on the "
        "way.",
    ),
    (
        "≥",
        "The wave touches the border of the image and may go on outside: a lower bound.",
    ),
    (
        "\N{EN DASH}",
        "Cannot be told: for example the speed of a wave that is seen in one map alone.",
    ),
    (
        "Confidence and maps to look at",
        "How far each map by itself shows what is outlined, 0 to 1 (Dice). Maps below 0.6, and "
        "maps without an outline between two that have one, should be looked at by a person.",
    ),
    (
        "Noise of maps",
        "Standard deviation over the cortex within a map, by the median distance from the median; "
        "the median of maps without an episode.",
    ),
    (
        "Strongest change, movement, brightness",
        "The change that 5 % of the cortex exceed in each map; how far the mean image lies from "
        "the first one; its mean brightness against the first one.",
    ),
)


def report(
    maps: Maps | str | PathLike[str],
    out: str | PathLike[str] | None = None,
    *,
    episodes: str | PathLike[str] | Sequence[Episode] | None = None,
    prompts: str | PathLike[str] | Sequence[Prompt] | Literal["auto"] = "auto",
    pixel_size_mm: float | None = None,
    max_speed_mm_min: float = MAX_SPEED_MM_MIN,
    title: str | None = None,
    videos: Videos = "auto",
    parquet: bool = True,
    overwrite: bool = False,
    threads: int = 0,
    progress: bool | Callable[[int, int], None] = False,
) -> Path:
    """Write the report of a session: a page that holds everything, and tables.

    The page needs no network. It tells what was recorded, how good it is, where the episodes are,
    and of each wave its pictures, measures and video. Beside it stand ``events`` (a row for each
    wave), ``frames`` (a row for each wave and map) and ``published`` (the published data set's
    columns) as CSV and Parquet; see `measure`. Maps are numbered over the session there, and
    ``events`` has the amplitude of the change, too: ``amplitude_percent``, or
    ``amplitude_counts`` if maps are differences.

    Parameters
    ----------
    maps : Maps or path
        Maps, or the folder that `preprocess` wrote.
    out : path, optional
        The folder to make; default: that of the maps with ``-report`` behind its name.
    episodes : path or sequence of Episode, optional
        An operator's table (see `read_episodes`), or episodes. Its waves are outlined in their
        maps and nowhere else. None: ``episodes.csv`` or ``episodes.xlsx`` in the folder of the
        maps, or that name behind the folder's and a hyphen, beside it; without any of these,
        what `find_episodes` finds.
    prompts : path, sequence of Prompt, or "auto"
        Where the waves are (see `read_prompts`); maps are those of the session, an object is a
        wave. "auto": a point on each wave that is found.
    pixel_size_mm : float, optional
        Edge of a pixel; default: that of the maps. If neither tells, everything is in pixels.
    max_speed_mm_min : float
        No front moves faster.
    title : str, optional
        Default: the name of the recording.
    videos : {"auto", "inline", "beside", "none"}
        Where the videos are: in the page, in a folder ``videos`` beside it, or nowhere. "auto": in
        the page up to 64 MB; the page says where they are.
    parquet : bool
        Write tables as Parquet, too.
    overwrite : bool
        Replace an earlier report, but nothing else.
    threads : int
        0 for one per core. The result does not depend on it.
    progress : bool or callable
        Show a bar, or call with the episodes done and their number.

    Returns
    -------
    Path
        The page, ``report.html`` in `out`.

    Raises
    ------
    TypeError, ValueError
        If something does not fit.
    ReadError
        If maps, episodes or prompts cannot be read.
    WriteError
        If the report cannot be written; nothing is left.
    ImportError
        Without Jinja, pandas, PyAV or pyarrow (extra ``report``).
    """
    arguments.choice("videos", videos, get_args(Videos))
    size_mm = arguments.positive("pixel_size_mm", pixel_size_mm)
    speed = arguments.number("max_speed_mm_min", max_speed_mm_min, 0, above=True)
    threads = arguments.threads(threads)
    if title is not None and not isinstance(title, str):
        raise TypeError(f"title must be a text, not {title!r}")
    _check_extras(videos != "none", parquet)
    if not isinstance(maps, Maps):
        maps = load(maps)
    size_mm = size_mm or maps.pixel_size_mm
    place = _place(maps, out)
    with Staging(place, overwrite, check=_check_replaceable) as staging:
        told, found_by, as_told = _told(maps, episodes, prompts, size_mm, speed)
        quality = quality_of(maps, [each.episode for each in told])
        shown: list[page.EpisodeOnPage] = []
        tables: list[Tables] = []
        moving = staging.work / _VIDEOS
        clips: dict[int, Path] = {}
        nbytes = maps.change[0].nbytes * sum(len(each.episode) for each in told)

        def measured_of(each: Told) -> EpisodeResult:
            return measured(
                maps,
                each,
                pixel_size_mm=size_mm,
                max_speed_mm_min=speed,
                as_told=as_told,
                threads=threads,
            )

        with (
            # Measures and videos run mostly without Python's lock: the next episode is measured,
            # and the video of this one written, while its pictures are drawn.
            ThreadPoolExecutor(2) as beside,
            progress_for(progress, max(1, len(told)), nbytes, "report") as update,
        ):
            try:
                following = [beside.submit(measured_of, each) for each in told[:1]]
                for number, each in enumerate(told):
                    result = following.pop().result()
                    following = [
                        beside.submit(measured_of, e) for e in told[number + 1 : number + 2]
                    ]
                    video, poster = None, None
                    if result.waves and videos != "none":
                        moving.mkdir(exist_ok=True)
                        path = moving / f"episode-{each.episode.number}.mp4"
                        clips[each.episode.number] = path
                        frames = pictures.frames_of(maps, result, VIDEO_PX)
                        poster = pictures.poster(frames, result)
                        video = beside.submit(write_video, path, frames)
                    shown.append(page.episode_on_page(maps, result, poster))
                    tables.append(Tables.of(result))
                    if video is not None:
                        video.result()
                    update(number + 1)
            except OSError as error:
                raise write_error(place, error) from error
        files = write_tables(staging.work, session_tables(tables), parquet=parquet, overwrite=False)
        where = _videos_at(videos, clips)
        sources = {
            n: pictures.data_uri(path.read_bytes(), "video/mp4")
            if where == "inline"
            else f"{_VIDEOS}/{path.name}"
            for n, path in clips.items()
        }
        if where == "inline" and clips:
            shutil.rmtree(moving)
        content = _content(maps, shown, quality, size_mm, found_by, title)
        content |= {"videos": where, "clips": sources, "tables": [path.name for path in files]}
        try:
            with (staging.work / _PAGE).open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(page.rendered(**content))
        except OSError as error:
            raise write_error(place, error) from error
        staging.finish()
    return place / _PAGE


def report_place(maps: str | PathLike[str]) -> Path:
    """Return the folder of the report of maps, if no other is named."""
    folder = Path(maps).absolute()
    return folder.with_name(f"{folder.name}-report")


def _place(maps: Maps, out: str | PathLike[str] | None) -> Path:
    if out is not None:
        return Path(out).absolute()
    if maps.path is None:
        raise ValueError("out must be given: these maps have no folder")
    return report_place(maps.path)


def check_report_place(out: str | PathLike[str], overwrite: bool) -> None:
    """Raise WriteError unless a report may be written here."""
    check_place(Path(out).absolute(), overwrite, _check_replaceable)


def _check_replaceable(out: Path, overwrite: bool) -> None:
    inside = {path.name for path in out.iterdir()}
    if inside - _OWN_NAMES or _PAGE not in inside:
        raise WriteError(f"{out}: exists and holds other files than a report; choose another out")
    if not overwrite:
        raise WriteError(f"{out}: holds a report already; choose another out, or overwrite=True")


def missing_modules(*, videos: bool = True, parquet: bool = True) -> list[str]:
    """Return the modules of the extra ``report`` that are not installed."""
    from importlib.util import find_spec

    needed = ["jinja2", "pandas", *["av"] * videos, *["pyarrow"] * parquet]
    return [name for name in needed if find_spec(name) is None]


def _check_extras(videos: bool, parquet: bool) -> None:
    """Raise ImportError before the work, and not after it."""
    missing = missing_modules(videos=videos, parquet=parquet)
    if missing:
        raise ImportError(
            f"reports need {' and '.join(missing)}; install with: pip install 'iosfast[report]'"
        )


def _told(
    maps: Maps,
    episodes: str | PathLike[str] | Sequence[Episode] | None,
    prompts: str | PathLike[str] | Sequence[Prompt] | Literal["auto"],
    pixel_size_mm: float | None,
    max_speed_mm_min: float,
) -> tuple[list[Told], str, bool]:
    """Return episodes with their prompts, where they come from, and if they are somebody's."""
    # Without a pixel size, as find_episodes assumes, which would warn of it; the page says so.
    size = pixel_size_mm or ASSUMED_FIELD_MM / max(maps.info.shape)

    def found() -> list[Episode]:
        return find_episodes(maps, pixel_size_mm=size, max_speed_mm_min=max_speed_mm_min)

    table = _table(maps) if episodes is None else episodes
    if table is None:
        told, where = found(), "Episodes as the program found them."
    elif isinstance(table, str | PathLike):
        told = read_episodes(table, maps)
        where = f"Episodes as the table {Path(table).name} has them."
    else:
        told, where = list(table), "Episodes as they were given."
        if not all(isinstance(episode, Episode) for episode in told):
            raise TypeError("episodes must be a table or a sequence of Episode")
        for episode in told:
            if episode.end >= len(maps):
                raise ValueError(
                    f"episode {episode.number} ends with map {episode.end}, but there are "
                    f"{len(maps)}"
                )
    if isinstance(prompts, str) and prompts == "auto":
        seeded = all(wave.seed is not None for episode in told for wave in episode.waves)
        return told_by_seeds(told, [] if seeded else found()), where, table is not None
    given = read_prompts(prompts) if isinstance(prompts, str | PathLike) else list(prompts)
    if not all(isinstance(prompt, Prompt) for prompt in given):
        raise TypeError("prompts must be a file, a sequence of Prompt, or 'auto'")
    checked = [prompt.check(len(maps), maps.info.shape) for prompt in given]
    return told_by_prompts(told, checked), f"{where} Waves as prompted.", table is not None


def _table(maps: Maps) -> Path | None:
    """Return the table of episodes in the folder of maps or beside it."""
    if maps.path is None:
        return None
    folder = Path(maps.path).absolute()
    for ending in (".csv", ".xlsx"):
        for path in (
            folder / f"episodes{ending}",
            folder.with_name(f"{folder.name}-episodes{ending}"),
        ):
            if path.is_file():
                return path
    return None


def _videos_at(videos: Videos, clips: dict[int, Path]) -> str:
    if videos != "auto":
        return videos
    nbytes = sum(path.stat().st_size for path in clips.values())
    return "inline" if nbytes <= MOST_INLINE_BYTES else "beside"


def _content(
    maps: Maps,
    shown: list[page.EpisodeOnPage],
    quality: Any,
    pixel_size_mm: float | None,
    found_by: str,
    title: str | None,
) -> dict[str, Any]:
    unit = "px" if pixel_size_mm is None else "mm"
    waves = [wave for episode in shown for wave in episode.waves]
    alerts = []
    if not shown:
        alerts.append("No episode: no map shows a wave.")
    elif not waves:
        alerts.append("No wave could be outlined in any episode.")
    if pixel_size_mm is None:
        alerts.append(
            "No calibration: the size of a pixel is not known, so lengths are in pixels and "
            "nothing is in mm. Waves were sought and followed as in a field of "
            f"{ASSUMED_FIELD_MM:g} mm."
        )
    bound = [wave.label for wave in waves if wave.at_least]
    if bound:
        alerts.append(f"Lower bounds: waves touch the border of the image ({', '.join(bound)}).")
    look = [wave.label for wave in waves if wave.look_at]
    if look:
        alerts.append(f"Maps to look at: some show their wave badly ({', '.join(look)}).")
    dropped = maps.info.dropped_frames
    if dropped:
        alerts.append(f"{dropped:,} frames were dropped.")
    name = Path(str(maps.source.get("path", ""))).name or "session"
    return {
        "title": name if title is None else title,
        "head": page.header_facts(maps, shown, unit),
        "alerts": alerts,
        "found_by": found_by,
        "lines": page.lines(maps, quality, pixel_size_mm),
        "marks": page.marks(maps),
        "episodes": shown,
        "waves": waves,
        "sides": any(wave.hemisphere for wave in waves),
        "unit": unit,
        "cortex": pictures.cortex(maps),
        "cards": [
            ("What was recorded", page.recording_facts(maps, pixel_size_mm)),
            ("Quality", page.quality_facts(maps, quality, pixel_size_mm)),
            ("Recipe", page.recipe_facts(maps.recipe)),
        ],
        "notes": maps.notes,
        "meaning": _MEANING,
    }
