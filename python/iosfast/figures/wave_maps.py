"""One wave on its image: outlines and path, isochrones, speed of the front."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import arguments
from ..mask_stacks import checked_stacks
from .color_scale import ColorScale
from .parts import axes_at, checked_images, edged, outlines, scale_bar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..metrics import Measurement

_Doubles = NDArray[np.float64]

#: Times between lines of equal arrival.
STEPS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
#: At most so many lines are drawn.
MOST_LINES = 12
#: Least part of the field that a picture of one wave shows.
LEAST_VIEW = 0.3
#: Arrows of the front's direction along the longer side of the wave.
ARROWS = 9
#: Room right of a map for its scale of colours, below and above it; and beside a histogram, inches.
_BAR_IN, _BELOW_IN, _ABOVE_IN = 0.74, 0.06, 0.24
#: The scale of colours: its distance from the map and width, ticks, and place of the label, inches.
_BESIDE_IN, _WIDE_IN, _TICK_IN, _LABEL_IN = 0.07, 0.13, 0.05, 0.13
_NUMBERS_PT = 7.0
_COUNTS_IN, _SPEEDS_IN, _QUARTILES_IN = 0.52, 0.44, 0.4
#: Width of the map beside a histogram, as a part of all.
_MAP_PART = 0.46


def overlay(
    measurement: Measurement,
    masks: NDArray[Any],
    image: NDArray[Any] | None = None,
    *,
    outlines_shown: int = 10,
    title: str = "",
    width_in: float = 4.6,
) -> Figure:
    """Draw the outlines of waves on an image, with the way of the centroid and its direction.

    Outlines and points of the way have the colour of their time. An arrow leads from the first to
    the last centroid.

    Parameters
    ----------
    measurement : Measurement
    masks : ndarray of bool or uint8, shape (T, Y, X) or (objects, T, Y, X)
        Those that were measured.
    image : ndarray, shape (Y, X) or (Y, X, 3), optional
        Such as the mean image.
    outlines_shown : int
        Outlines of each wave at most, evenly in time.
    title : str
    width_in : float
        Width of the figure in inches.

    Returns
    -------
    matplotlib.figure.Figure
    """
    stacks = checked_stacks("masks", masks) != 0
    expected = (len(measurement.objects), len(measurement.times_s), *_shape(measurement))
    if stacks.shape != expected:
        raise ValueError(f"masks have shape {stacks.shape}, but measured were {expected}")
    outlines_shown = arguments.integer("outlines_shown", outlines_shown, 1)
    figure, axis = _figure(measurement, image, title, width_in)
    events, frames = measurement.events, measurement.frames
    begin, end = events["start_time_s"].min(), events["end_time_s"].max()
    if not np.isfinite(begin):
        axis.set_title("no wave in any map", fontsize=8)
        return figure
    since = ColorScale(0.0, max(float(end - begin), 1e-9), "time since onset (s)", "viridis")
    for number, name in enumerate(measurement.objects):
        rows = frames[frames["object"] == name]
        present = np.flatnonzero(rows["area_px"].to_numpy())
        if not present.size:
            continue
        some = np.linspace(0, present.size - 1, min(outlines_shown, present.size)).round()
        for t in present[np.unique(some).astype(int)].tolist():
            color = since.rgb(np.array([measurement.times_s[t] - begin]))[0] / 255
            for line in outlines(stacks[number, t]):
                axis.plot(*line.T, color=color, linewidth=1.2)
        x = rows["centroid_x_px"].to_numpy()[present]
        y = rows["centroid_y_px"].to_numpy()[present]
        _path(axis, x, y, since.rgb(measurement.times_s[present] - begin) / 255)
        if len(measurement.objects) > 1:
            _label(axis, f"wave {name}", (x[0], y[0]), below_pt=11)
    _bar(figure, axis, since)
    return figure


def isochrones(
    measurement: Measurement,
    image: NDArray[Any] | None = None,
    *,
    step_s: float | None = None,
    arrows: bool = True,
    title: str = "",
    width_in: float = 4.6,
) -> Figure:
    """Draw when the front arrives: in colours, with lines at equal times, and its direction.

    Parameters
    ----------
    measurement : Measurement
        Each wave has a picture of its own.
    image : ndarray, shape (Y, X) or (Y, X, 3), optional
        Such as the mean image.
    step_s : float, optional
        Time between the lines. None: a round one that makes at most 12 lines.
    arrows : bool
        Draw where the front heads.
    title : str
    width_in : float
        Width of the figure in inches, for each wave.

    Returns
    -------
    matplotlib.figure.Figure
    """
    step_s = arguments.positive("step_s", step_s)
    count = len(measurement.objects)
    figure, axes = _figures(measurement, image, title, width_in)
    for number, axis in enumerate(axes):
        arrival = measurement.arrival_time_s[number]
        told = np.isfinite(arrival)
        if not told.any():
            axis.set_title(_named(measurement, number, "no arrival can be told"), fontsize=8)
            continue
        begin = float(measurement.events["start_time_s"].iloc[number])
        since = arrival - begin
        longest = float(since[told].max())
        step = step_s or next((s for s in STEPS_S if longest / s <= MOST_LINES), longest / 10)
        scale = ColorScale(0.0, max(longest, 1e-9), "arrival since onset (s)", "viridis")
        _lay(axis, scale, since, told, 0.75)
        labels: list[_Doubles] = []
        levels = np.arange(np.floor(since[told].min() / step) + 1, longest / step) * step
        for level, lines in measurement.isochrones(number, begin + levels):
            for line in lines:
                axis.plot(*line.T, color="white", linewidth=0.9, path_effects=edged(1.7))
            longest_line = max(lines, key=len)
            labels.append(longest_line[len(longest_line) // 2])
            _label(axis, f"{level - begin:g}", labels[-1], 6)
        if arrows:
            _arrows(axis, arrival, measurement.pixel_size_mm, labels)
        _bar(figure, axis, scale)
        every = f"a line every {step:g} s"
        axis.set_title(_named(measurement, number, every) if count > 1 else every, fontsize=8)
    return figure


def speed_map(
    measurement: Measurement,
    image: NDArray[Any] | None = None,
    *,
    limits_mm_min: tuple[float, float] | None = None,
    title: str = "",
    width_in: float = 6.6,
) -> Figure:
    """Draw how fast the front is at each place, and how often each speed is.

    Parameters
    ----------
    measurement : Measurement
        Each wave has a row of its own.
    image : ndarray, shape (Y, X) or (Y, X, 3), optional
        Such as the mean image.
    limits_mm_min : pair of float, optional
        Speeds of the first and the last colour. None: from 0 to 1.5 times the 90th percentile of
        the fastest wave.
    title : str
    width_in : float
        Width of the figure in inches.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    shape = _shape(measurement)
    count = len(measurement.objects)
    map_in = _MAP_PART * width_in
    high_in = map_in * shape[0] * _aspect(measurement) / shape[1]
    row_in = _QUARTILES_IN + max(high_in, 1.2) + _SPEEDS_IN
    figure = Figure(figsize=(width_in, count * row_in + 0.3 * bool(title)))
    scale = _speed_scale(measurement, limits_mm_min)
    unit = f"{measurement.length_unit}/min"
    left_in = _BELOW_IN + map_in + _BAR_IN + _COUNTS_IN
    for number in range(count):
        bottom_in = (count - 1 - number) * row_in + _SPEEDS_IN
        axis = axes_at(figure, _BELOW_IN, bottom_in, map_in, high_in)
        beside_in = width_in - left_in - 0.12, row_in - _QUARTILES_IN - _SPEEDS_IN
        beside = axes_at(figure, left_in, bottom_in, *beside_in)
        _ground(axis, measurement, image, np.isfinite(measurement.activation_time_s[number]))
        speed = measurement.front_speed_mm_min[number]
        told = np.isfinite(speed)
        if not told.any():
            axis.set_title(_named(measurement, number, "no speed can be told"), fontsize=8)
            beside.set_axis_off()
            continue
        _lay(axis, scale, speed, told, 0.9)
        _bar(figure, axis, scale)
        if count > 1:
            axis.set_title(f"wave {measurement.objects[number]}", fontsize=8)
        _histogram(beside, speed[told], scale, unit)
    if title:
        figure.suptitle(title, fontsize=9)
    return figure


def _speed_scale(measurement: Measurement, limits_mm_min: tuple[float, float] | None) -> ColorScale:
    """One scale for all waves."""
    if limits_mm_min is not None:
        low, high = arguments.pair("limits_mm_min", limits_mm_min)
    else:
        speeds = [of[np.isfinite(of)] for of in measurement.front_speed_mm_min]
        highest = [float(np.quantile(of, 0.9)) for of in speeds if of.size]
        low, high = 0.0, 1.5 * max(highest, default=1.0)
    label = f"speed of the front ({measurement.length_unit}/min)"
    return ColorScale(low, high, label, "plasma")


def _histogram(axis: Axes, speeds: _Doubles, scale: ColorScale, unit: str) -> None:
    q25, median, q75 = np.quantile(speeds, (0.25, 0.5, 0.75)).tolist()
    edges = np.linspace(scale.low, scale.high, 41)
    inside = np.clip(speeds, scale.low, scale.high)
    counts, _ = np.histogram(inside, edges)
    some = counts > 0
    middle = ((edges[1:] + edges[:-1]) / 2)[some]
    percent = 100 * counts[some] / speeds.size
    axis.bar(middle, percent, width=np.diff(edges)[some], color=scale.rgb(middle) / 255)
    axis.axvspan(q25, q75, color="black", alpha=0.12, linewidth=0)
    axis.axvline(median, color="black", linewidth=1.2)
    axis.set_title(f"median {median:.2f} {unit}\nquartiles {q25:.2f} to {q75:.2f}", fontsize=8)
    axis.set_xlim(scale.low, scale.high)
    axis.set_xlabel(scale.label, fontsize=8)
    axis.set_ylabel("pixels (%)", fontsize=8)
    axis.tick_params(labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)


def _path(axis: Axes, x: _Doubles, y: _Doubles, colors: NDArray[Any]) -> None:
    axis.plot(x, y, color="white", linewidth=1.2, path_effects=edged(2.4), zorder=4)
    axis.scatter(x, y, c=colors, s=12, edgecolors="black", linewidths=0.5, zorder=5)
    axis.plot(x[0], y[0], "o", color="white", markeredgecolor="black", markersize=7, zorder=6)
    if np.hypot(x[-1] - x[0], y[-1] - y[0]) > 1:
        axis.annotate(
            "",
            (x[-1], y[-1]),
            (x[0], y[0]),
            arrowprops={
                "arrowstyle": "-|>,head_width=0.3,head_length=0.6",
                "color": "#d55e00",
                "linewidth": 1.3,
                "shrinkA": 4,
                "shrinkB": 0,
                "path_effects": edged(2.1),
            },
            zorder=7,
        )


def _arrows(
    axis: Axes, arrival: _Doubles, pixel_size_mm: tuple[float, float], labels: list[_Doubles]
) -> None:
    """Arrows along the gradient of the arrival, at places of a grid that are not near labels."""
    y, x = np.nonzero(np.isfinite(arrival))
    step = max(1, round(float(max(np.ptp(y), np.ptp(x))) / ARROWS))
    if min(arrival.shape) < 3 or step < 4:
        return
    along_y = np.asarray(np.gradient(arrival, pixel_size_mm[0], axis=0))
    along_x = np.asarray(np.gradient(arrival, pixel_size_mm[1], axis=1))
    grid = np.zeros(arrival.shape, bool)
    grid[y.min() + step // 2 :: step, x.min() + step // 2 :: step] = True
    length = np.hypot(along_x, along_y)
    y, x = np.nonzero(grid & np.isfinite(length) & (length > 0))
    for label in labels:
        apart = np.hypot(x - label[0], y - label[1]) > 0.55 * step
        y, x = y[apart], x[apart]
    axis.quiver(
        x,
        y,
        along_x[y, x] / length[y, x],
        along_y[y, x] / length[y, x],
        angles="xy",
        scale_units="xy",
        scale=1 / (0.6 * step),
        pivot="middle",
        width=0.006,
        color="white",
        edgecolor="black",
        linewidth=0.5,
        zorder=4,
    )


def _label(axis: Axes, text: str, at: Any, size: float = 7, below_pt: float = 0) -> None:
    axis.annotate(
        text,
        at,
        (0, -below_pt),
        textcoords="offset points",
        color="white",
        fontsize=size,
        ha="center",
        va="center",
        path_effects=edged(1.6),
        annotation_clip=True,
        zorder=8,
    )


def _lay(
    axis: Axes, scale: ColorScale, values: _Doubles, told: NDArray[np.bool_], opacity: float
) -> None:
    from .pixel_image import PixelImage

    rgba = np.zeros((*values.shape, 4), np.uint8)
    rgba[..., :3] = scale.rgb(values)
    rgba[told, 3] = round(255 * opacity)
    view = axis.get_xlim(), axis.get_ylim()
    PixelImage(axis, rgba, float(axis.get_aspect()))
    axis.set_xlim(view[0])
    axis.set_ylim(view[1])


def _bar(figure: Figure, axis: Axes, scale: ColorScale) -> None:
    """Draw the scale of colours right of a map."""
    width, height = figure.get_size_inches()
    place = axis.get_position(original=True)
    at = place.x1 * width + _BESIDE_IN, (place.y0 + 0.05 * place.height) * height
    high_in = 0.9 * place.height * height
    beside = axes_at(figure, *at, _WIDE_IN, high_in)
    beside.set_label("<colorbar>")  # as those that find their place by themselves
    _draw_bar(beside, scale, high_in)


def _draw_bar(axis: Axes, scale: ColorScale, high_in: float) -> None:
    """Draw colours and numbers beside them: an axis of Matplotlib takes four times as long."""
    from matplotlib.ticker import MaxNLocator

    low, high = scale.low * scale.factor, scale.high * scale.factor
    colors = np.asarray(scale.colors)[::-1, np.newaxis]
    axis.set_axis_off()
    axis.imshow(colors, aspect="auto", interpolation="nearest", extent=(0, 1, low, high))
    axis.plot([0, 1, 1, 0, 0], [low, low, high, high, low], "k", linewidth=0.8, clip_on=False)
    most = int(np.clip(high_in * 72 / (2 * _NUMBERS_PT), 2, 9))
    locator = MaxNLocator(most, steps=[1, 2, 2.5, 5, 10])
    ticks = np.asarray(locator.tick_values(low, high))
    ticks = ticks[(ticks >= low) & (ticks <= high)]
    # Lengths across are in widths of the bar.
    end = np.tile([1, 1 + _TICK_IN / _WIDE_IN, np.nan], ticks.size)
    axis.plot(end, np.repeat(ticks, 3), "k", linewidth=0.8, clip_on=False)
    digits = max((len(f"{tick:.6g}".partition(".")[2]) for tick in ticks), default=0)
    numbers = [f"{tick:.{digits}f}".replace("-", "\N{MINUS SIGN}") for tick in ticks.tolist()]
    for tick, text in zip(ticks, numbers, strict=True):
        axis.text(1 + 2 * _TICK_IN / _WIDE_IN, tick, text, fontsize=_NUMBERS_PT, va="center")
    # Digits are 0.64 of the size of the letters wide.
    numbers_in = 0.64 * _NUMBERS_PT / 72 * max(map(len, numbers), default=0)
    at = 1 + (2 * _TICK_IN + numbers_in + _LABEL_IN) / _WIDE_IN, (low + high) / 2
    axis.text(*at, scale.label, fontsize=8, rotation="vertical", ha="center", va="center")
    axis.set_xlim(0, 1)
    axis.set_ylim(low, high)


def _shape(measurement: Measurement) -> tuple[int, int]:
    height, width = measurement.arrival_time_s.shape[1:]
    return height, width


def _aspect(measurement: Measurement) -> float:
    high, wide = measurement.pixel_size_mm
    return high / wide


def _named(measurement: Measurement, number: int, text: str) -> str:
    alone = len(measurement.objects) == 1
    return text if alone else f"wave {measurement.objects[number]}: {text}"


def _ground(
    axis: Axes,
    measurement: Measurement,
    image: NDArray[Any] | None,
    wave: NDArray[np.bool_] | None = None,
) -> None:
    """Draw the image with a bar of scale, or the part of it in which a wave is."""
    from .pixel_image import PixelImage

    shape = _shape(measurement)
    axis.set_axis_off()
    if image is None:
        ground = np.full((*shape, 3), 60, np.uint8)
    else:
        ground = checked_images("image", image, shape)
        if ground.ndim == 2:
            ground = ColorScale.of_images(ground).rgb(ground)
    PixelImage(axis, ground, _aspect(measurement))
    zoom, x, y = 1.0, shape[1] / 2, shape[0] / 2
    if wave is not None and wave.any():
        rows, columns = np.nonzero(wave)
        x, y = (float(columns.min() + columns.max()) / 2, float(rows.min() + rows.max()) / 2)
        part = max(np.ptp(columns) / shape[1], np.ptp(rows) / shape[0])
        zoom = float(np.clip(1.25 * part, LEAST_VIEW, 1))
    height, width = zoom * shape[0], zoom * shape[1]
    left = float(np.clip(x - width / 2, 0, shape[1] - width)) - 0.5
    top = float(np.clip(y - height / 2, 0, shape[0] - height)) - 0.5
    axis.set_xlim(left, left + width)
    axis.set_ylim(top + height, top)
    size_mm = measurement.pixel_size_mm[1] if measurement.length_unit == "mm" else None
    scale_bar(axis, (height, width), size_mm, corner=(left, top))


def _figure(
    measurement: Measurement, image: NDArray[Any] | None, title: str, width_in: float
) -> tuple[Figure, Axes]:
    figure, (axis,) = _figures(measurement, image, title, width_in, 1)
    return figure, axis


def _figures(
    measurement: Measurement,
    image: NDArray[Any] | None,
    title: str,
    width_in: float,
    count: int | None = None,
) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    number = len(measurement.objects) if count is None else count
    height, width = _shape(measurement)
    map_in = width_in - _BAR_IN - _BELOW_IN
    high_in = map_in * height * _aspect(measurement) / width
    height_in = _BELOW_IN + high_in + _ABOVE_IN + 0.2 * bool(title)
    figure = Figure(figsize=(number * width_in, height_in))
    axes = [
        axes_at(figure, n * width_in + _BELOW_IN, _BELOW_IN, map_in, high_in) for n in range(number)
    ]
    waves = measurement.activation_time_s if count is None else np.full((1, 1, 1), np.nan)
    for axis, wave in zip(axes, waves, strict=True):
        _ground(axis, measurement, image, np.isfinite(wave))
    if title:
        figure.suptitle(title, fontsize=9)
    return figure, axes
