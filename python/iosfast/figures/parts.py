"""What several figures have in common: bars of scale, outlines, times, files."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from ..errors import WriteError
from ..staging import write_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Lengths that a bar of scale may have.
LENGTHS_MM = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20)
#: Colours of objects that colour-blind people tell apart (Okabe and Ito).
OBJECT_COLORS = ("#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#f0e442", "#0072b2", "#d55e00")


def object_color(number: int) -> str:
    """Colour of the object of this number, from 0."""
    return OBJECT_COLORS[number % len(OBJECT_COLORS)]


def clock(seconds: float) -> str:
    """Minutes and seconds, with a tenth if there is one."""
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}:{rest:04.1f}" if rest % 1 else f"{int(minutes)}:{int(rest):02d}"


def bar_length_mm(width_mm: float) -> float:
    """Length of a bar of scale for a field: the longest round one up to a third of it, or 0."""
    return max((length for length in LENGTHS_MM if length <= width_mm / 3), default=0)


def scale_bar(
    axis: Axes,
    shape: tuple[float, float],
    pixel_size_mm: float | None,
    size: float = 7,
    corner: tuple[float, float] = (0.0, 0.0),
) -> None:
    """Draw a bar with its length at the lower left of (Y, X) pixels, from a corner (x, y) on."""
    if pixel_size_mm is None:
        return
    height, width = shape
    length_mm = bar_length_mm(width * pixel_size_mm)
    if not length_mm:
        return
    begin, y = corner[0] + 0.06 * width, corner[1] + 0.92 * height
    end = begin + length_mm / pixel_size_mm
    axis.plot([begin, end], [y, y], color="white", linewidth=2, path_effects=edged(3.6))
    axis.text(
        begin, y - 0.03 * height, f"{length_mm:g} mm", color="white", fontsize=size,
        path_effects=edged(),
    )  # fmt: skip


def axes_at(
    figure: Figure, left_in: float, bottom_in: float, width_in: float, height_in: float
) -> Axes:
    """Add axes at a place in inches: a layout that is sought takes longer than the drawing."""
    width, height = figure.get_size_inches()
    place = (left_in / width, bottom_in / height, width_in / width, height_in / height)
    return figure.add_axes(place)


def edged(width: float = 2.0) -> Any:
    """Effect that sets lines and text off from any ground by a black edge."""
    from matplotlib import patheffects

    return [patheffects.withStroke(linewidth=width, foreground="black")]


def outlines(mask: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Lines around a mask, (N, 2) as (x, y), closed also along the border of the image."""
    from contourpy import contour_generator

    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return []
    top, left = int(rows[0]), int(columns[0])
    box = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    lines = contour_generator(z=np.pad(box, 1).astype(np.float64)).lines(0.5)
    corner = np.array([left - 1, top - 1])
    return [np.asarray(line) + corner for line in lines]


def checked_images(name: str, images: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return images of this shape: numbers, or colours as uint8 with a last axis of 3."""
    if not isinstance(images, np.ndarray):
        raise TypeError(f"{name} must be an array, not {type(images).__name__}")
    if images.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be numbers, not {images.dtype}")
    colored = images.shape == (*shape, 3)
    if colored and images.dtype != np.uint8:
        raise TypeError(f"{name} must be uint8 where they are colours, not {images.dtype}")
    if not colored and images.shape != shape:
        raise ValueError(f"{name} has shape {images.shape}, but expected was {shape}, or that x 3")
    return images


def save(figure: Figure, path: str | PathLike[str], dpi: float = 200) -> Path:
    """Write a figure as PNG, PDF or SVG by the path's ending; it replaces a file there.

    Raises
    ------
    WriteError
        If it cannot be written; nothing is left then.
    """
    place = Path(path)
    kinds = figure.canvas.get_supported_filetypes()
    if place.suffix[1:].lower() not in kinds:
        raise WriteError(f"{place}: the ending must be one of {', '.join(sorted(kinds))}")
    work = place.with_name(f".{place.stem}.partial-{uuid4().hex[:8]}{place.suffix}")
    # Dates and random names would make each file another one.
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(place.suffix[1:].lower())
    from matplotlib import rc_context

    try:
        with rc_context({"svg.hashsalt": "iosfast", "svg.fonttype": "none"}):
            figure.savefig(work, dpi=dpi, metadata=metadata)
        os.replace(work, place)
    except OSError as error:
        raise write_error(place, error) from error
    finally:
        work.unlink(missing_ok=True)
    return place
