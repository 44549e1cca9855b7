"""The page of a report: what stands where, filled into a template."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..binning import FrameClock
from ..figures.episodes_overview import strongest
from ..figures.parts import clock
from ..maps import Maps
from ..recipe import Recipe
from .pictures import Picture, course_line, of_wave
from .quality import Quality
from .wave_values import UNTOLD, Value, groups_of, number
from .waves import EpisodeResult, WaveResult

#: Points of a line over time, at most.
_POINTS = 1200
#: Marks on the axis of time, at most, and how far they may be apart.
_MARKS = 8
_STEPS_S = (5, 10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
#: The options of a recipe in words.
_OPTIONS = {
    "bin_seconds": "length of a bin (s)",
    "bin_frames": "frames of a bin",
    "partial_bin": "incomplete last bin",
    "interval_bins": "bins back to F0",
    "change": "change",
    "baseline_bins": "bins of the baseline",
    "smoothing_px": "smoothing (px)",
    "smoothing_first_px": "of the first F0 (px)",
    "smoothing_border": "smoothing at the border",
    "smoothing_rounded": "rounded when smoothed",
    "scale": "range of colours",
    "scale_percent": "ends of the range (%)",
    "scale_range": "low and high end",
    "colormap": "colours",
}
#: Movement that is pointed out.
_MUCH_MOVED_PX = 2.0


@dataclass(frozen=True, eq=False)
class WaveOnPage:
    """A wave as the page shows it."""

    anchor: str
    label: str
    groups: list[tuple[str, list[Value]]]
    pictures: list[Picture]
    begin: str
    duration: str
    speed: str
    area: str
    coverage: str
    at_least: bool
    confidence: str
    hemisphere: str
    look_at: list[str]


@dataclass(frozen=True, eq=False)
class EpisodeOnPage:
    """An episode as the page shows it."""

    number: int
    begin: str
    end: str
    maps: str
    left: float
    width: float
    waves: list[WaveOnPage]
    notes: tuple[str, ...]
    poster: Picture | None
    speeds: tuple[float, ...]


def episode_on_page(maps: Maps, result: EpisodeResult, poster: Picture | None) -> EpisodeOnPage:
    """Draw an episode; `poster` stands for its video, if there is one."""
    episode = result.episode
    left, right = (_part(maps, t) for t in (episode.start_s, episode.end_s))
    speeds = [w.measurement.events["front_speed_median_mm_min"].iloc[0] for w in result.waves]
    return EpisodeOnPage(
        number=episode.number,
        begin=clock(episode.start_s),
        end=clock(episode.end_s),
        maps=_maps_of(maps, result),
        left=100 * left,
        width=100 * (right - left),
        waves=[_wave_on_page(maps, result, wave) for wave in result.waves],
        notes=result.notes,
        poster=poster,
        speeds=tuple(float(speed) for speed in speeds if math.isfinite(speed)),
    )


def _maps_of(maps: Maps, result: EpisodeResult) -> str:
    episode = result.episode
    text = f"maps {episode.start} to {episode.end}"
    # Without a time of day, names count from 1970, which tells nobody anything.
    return text if maps.start_s is None else f"{text}, {' to '.join(episode.names)}"


def _wave_on_page(maps: Maps, result: EpisodeResult, wave: WaveResult) -> WaveOnPage:
    event = wave.measurement.events.iloc[0]
    side = event["hemisphere"]
    digits = 0 if wave.measurement.length_unit == "px" else 2
    return WaveOnPage(
        anchor=f"wave-{wave.label}".replace(" ", "-"),
        label=wave.label,
        groups=groups_of(wave),
        pictures=of_wave(maps, result, wave),
        begin=clock(event["start_time_s"]),
        duration=number(event["duration_s"], 0),
        speed=number(event["front_speed_median_mm_min"], 2),
        area=number(event["max_area_mm2"], digits),
        coverage=number(event["coverage_union_mm2"], digits),
        at_least=bool(event["touches_border"]),
        confidence=f"{wave.confidence:.2f}",
        hemisphere=side if isinstance(side, str) else "",
        look_at=[clock(float(maps.times_s[t])) for t in wave.look_at],
    )


def _part(maps: Maps, time_s: float) -> float:
    """Place of a time on the time line, 0 to 1."""
    begin, end = _span(maps)
    return min(max((time_s - begin) / (end - begin), 0.0), 1.0)


def _span(maps: Maps) -> tuple[float, float]:
    begin, end = float(maps.bin_times_s[0]), float(maps.bin_times_s[-1])
    return begin, max(end, begin + 1e-9)


@dataclass(frozen=True)
class Line:
    """A line over the time of the session."""

    name: str
    path: str
    top: str
    low: str
    alt: str


@dataclass(frozen=True)
class Fact:
    """A name, what there is to say, whether it needs a look, and a hint at the name."""

    name: str
    text: str
    warn: bool = False
    hint: str = ""


def lines(maps: Maps, quality: Quality, pixel_size_mm: float | None) -> list[Line]:
    """Return change, movement and brightness over the session."""
    unit = "counts" if maps.recipe.change == "difference" else "%"
    found = [_line(maps, maps.times_s, strongest(maps), f"strongest change ({unit})", 0.0)]
    factor, of = (1.0, "px") if pixel_size_mm is None else (pixel_size_mm * 1000, "µm")
    moved = quality.moved_px * factor
    # What is too small to matter must not look large.
    found.append(_line(maps, quality.times_s, moved, f"movement ({of})", 0.0, factor))
    brightness = quality.brightness_percent
    found.append(_line(maps, quality.times_s, brightness, "brightness (%)", None, 2.0))
    return found


def _line(
    maps: Maps, times_s: Any, values: Any, name: str, low: float | None, least: float = 1e-9
) -> Line:
    """Draw a line; from `low` on, or from its least value; over a range of at least `least`."""
    every = -(-len(values) // _POINTS)
    # The highest of each group, so that no peak gets lost.
    groups = [slice(n, n + every) for n in range(0, len(values), every)]
    told = [values[g][np.isfinite(values[g])] for g in groups]
    points = [float(v[np.argmax(np.abs(v))]) if v.size else math.nan for v in told]
    at = [_part(maps, float(times_s[g][0])) for g in groups]
    finite = [p for p in points if math.isfinite(p)]
    high = max(finite, default=0.0)
    lowest = min(finite, default=0.0) if low is None else low
    more = max(0.0, least - (high - lowest))
    below = more / 2 if low is None else 0.0
    high, lowest = high + more - below, lowest - below
    ends = [f"{v:.3g}".replace("-", "\N{MINUS SIGN}") for v in (high, lowest)]
    alt = f"{name} over the session, {ends[1]} to {ends[0]}" if finite else f"{name}: not told"
    return Line(name, course_line(at, points, high, lowest), ends[0], ends[1], alt)


def marks(maps: Maps) -> list[tuple[float, str]]:
    """Return the marks of the axis of time: place in percent, and text."""
    begin, end = _span(maps)
    step = next((s for s in _STEPS_S if (end - begin) / s <= _MARKS), _STEPS_S[-1])
    times = np.arange(math.ceil(begin / step), math.floor(end / step) + 1) * step
    return [(100 * _part(maps, float(t)), clock(float(t))) for t in times]


def recording_facts(maps: Maps, pixel_size_mm: float | None) -> list[Fact]:
    """Return what was recorded."""
    source, info = maps.source, maps.info
    height, width = info.shape
    shape = source.get("shape") or (int(info.bin_frames.sum()), *info.shape)
    facts = [
        Fact("source", str(source.get("path", UNTOLD))),
        Fact("format", str(source.get("format", UNTOLD))),
        Fact("frames", f"{shape[0]:,} of {shape[1]} x {shape[2]} pixels, {_dtype(source, info)}"),
    ]
    rate = info.frame_rate_hz
    facts.append(Fact("frame rate", f"{rate:g} Hz" if rate else "not known", not rate))
    if info.start_s is not None:
        begin = datetime.fromtimestamp(info.start_s, UTC)
        facts.append(Fact("begin", f"{begin:%Y-%m-%d %H:%M:%S}, local time"))
    if pixel_size_mm is None:
        calibration = "not known: lengths are in pixels, speeds in pixels per minute"
    else:
        field = f"{width * pixel_size_mm:.3g} x {height * pixel_size_mm:.3g} mm"
        calibration = f"{1000 * pixel_size_mm:.4g} µm, field {field}"
    facts.append(Fact("pixel", calibration, pixel_size_mm is None))
    if maps.mask is not None:
        part = f"{100 * float(maps.mask.mean()):.0f} % of the image"
        facts.append(Fact("cortex mask", part))
    step = float(np.median(np.diff(maps.times_s))) if len(maps) > 1 else math.nan
    every = f", one every {step:g} s" if math.isfinite(step) else ""
    facts.append(Fact("maps", f"{len(maps):,}{every}, of {info.bin_times_s.size:,} mean images"))
    return facts


def _dtype(source: dict[str, Any], info: Any) -> str:
    return str(source.get("dtype", info.bin_dtype))


def quality_facts(maps: Maps, quality: Quality, pixel_size_mm: float | None) -> list[Fact]:
    """Return what tells of the quality."""
    info = maps.info
    facts = []
    for name, frames in (("dropped", info.dropped_frames), ("doubled", info.doubled_frames)):
        text = "not known: the recording has no time stamps" if frames is None else f"{frames:,}"
        facts.append(Fact(f"{name} frames", text, bool(frames)))
    unit, factor = ("counts", 1) if maps.recipe.change == "difference" else ("%", 100)
    noise = "not known: there is an episode in every map"
    if math.isfinite(quality.noise):
        noise = f"{factor * quality.noise:.2g} {unit}, by {quality.quiet_maps} without an episode"
    facts.append(Fact("noise of maps", noise))
    moved = quality.moved_px[np.isfinite(quality.moved_px)]
    if moved.size:
        far, usual = float(moved.max()), float(np.quantile(moved, 0.95))
        text = f"95 % within {usual:.2f} px, at most {far:.2f} px"
        if pixel_size_mm is not None:
            microns = (f"{1000 * pixel_size_mm * px:.0f} µm" for px in (usual, far))
            text = f"{text} ({', '.join(microns)})"
        facts.append(Fact("movement", f"{text}, against the first image", far > _MUCH_MOVED_PX))
    untold = quality.times_s.size - moved.size
    if untold:
        text = f"not told of {untold} of {quality.times_s.size} images, which are not alike"
        facts.append(Fact("movement", text, True))
    level = quality.brightness_percent
    if np.isfinite(level).any():
        low, high = (number(float(v), 1) for v in (np.nanmin(level), np.nanmax(level)))
        facts.append(Fact("brightness", f"{low} to {high} % of the first image"))
    return facts


def recipe_facts(recipe: Recipe) -> list[Fact]:
    """Return every option, and the name of the recipe if it has one."""
    name = "default" if recipe == Recipe() else "own"
    if recipe == Recipe.published():
        name = "published"
    facts = [Fact("recipe", name), Fact("in words", _in_words(recipe))]
    default = Recipe()
    for field in fields(recipe):
        value = getattr(recipe, field.name)
        if value is not None or getattr(default, field.name) is not None:
            text = UNTOLD if value is None else str(value)
            if isinstance(value, bool):
                text = "yes" if value else "no"
            facts.append(Fact(_OPTIONS[field.name], text, hint=field.name))
    return facts


def _in_words(recipe: Recipe) -> str:
    length = f"{recipe.bin_frames} frames"
    if recipe.bin_seconds is not None:
        length = f"{recipe.bin_seconds:g} s"
    since = f"{recipe.interval_bins} bins before"
    if recipe.baseline_bins is not None:
        since = f"the mean of the first {recipe.baseline_bins} bins"
    elif recipe.bin_seconds is not None:
        since = f"that {recipe.interval_bins * recipe.bin_seconds:g} s before"
    change = {"dff": "(F - F0) / F0", "ratio": "F / F0", "difference": "F - F0"}[recipe.change]
    low_high = "from the least to the greatest value of each map"
    if recipe.color_range is not None:
        factor, unit = (100, " %") if recipe.change == "dff" else (1, "")
        low, high = (factor * end for end in recipe.color_range)
        low_high = f"from {low:g} to {high:g}{unit}"
    size = recipe.smoothing_px
    text = (
        f"means of {length}, smoothed over {size} x {size} pixels; {change} with F0 {since}; "
        f"colours {low_high}"
    )
    return text.replace("-", "\N{MINUS SIGN}")


def header_facts(maps: Maps, episodes: Sequence[EpisodeOnPage], unit: str) -> list[tuple[str, str]]:
    """Return the figures at the head of the page: value and what it is."""
    begin, end = _span(maps)
    recipe, rate = maps.info.recipe, maps.info.frame_rate_hz
    # Times are those at which bins begin.
    end += FrameClock.of(recipe, rate, by_time=recipe.bin_frames is None).bin_seconds
    waves = [wave for episode in episodes for wave in episode.waves]
    speeds = [speed for episode in episodes for speed in episode.speeds]
    speed = f"{np.median(speeds):.2f} {unit}/min" if speeds else UNTOLD
    return [
        (clock(round(end - begin)), "minutes recorded"),
        (f"{len(maps):,}", "maps"),
        (f"{len(episodes)}", "episode" if len(episodes) == 1 else "episodes"),
        (f"{len(waves)}", "wave" if len(waves) == 1 else "waves"),
        (speed, "front speed, median" + (" of waves" if len(speeds) > 1 else "")),
    ]


def rendered(**content: Any) -> Iterator[str]:
    """Fill the template, piece by piece.

    Raises
    ------
    ImportError
        Without Jinja (extra ``report``).
    """
    try:
        import jinja2
    except ImportError as error:
        raise ImportError(
            "reports need Jinja; install it with: pip install 'iosfast[report]'"
        ) from error
    here = Path(__file__).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(here),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    content["style"] = _own(here / "page.css")
    content["script"] = _own(here / "page.js")
    content["version"] = __version__
    return environment.get_template("page.html").generate(**content)


def _own(path: Path) -> Any:
    """Return a text of the package's own as it is: there is nothing to escape."""
    from markupsafe import Markup

    return Markup(path.read_text(encoding="utf-8"))
