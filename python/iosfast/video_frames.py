"""The pictures of a tracking video, drawn by NumPy and Pillow."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import arguments
from .figures.color_scale import ColorScale
from .figures.parts import bar_length_mm, checked_images, clock, object_color
from .mask_stacks import checked_stacks

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

    from .metrics import Measurement

_Picture = NDArray[np.uint8]
_Box = tuple[int, int, int, int]
_Color = tuple[int, int, int]
#: Place, what is covered (0 to 255), and colour of something drawn on every picture.
_Mark = tuple[tuple[int, int], "Image.Image", _Color]

#: Objects whose figures are written below the picture; all are drawn.
MOST_ROWS = 4
_WHITE, _GREY, _DARK = (255, 255, 255), (170, 170, 170), (16, 16, 16)
_NONE, _MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
_ARROW = (80, 255, 120)
_COLUMNS = ("wave", "area", "front", "centroid", "heading")
#: Right ends of the columns, as parts of the width.
_ENDS = (0.22, 0.40, 0.60, 0.80, 0.97)


class TrackingFrames:
    """The pictures of a tracking video.

    Parameters
    ----------
    images, masks, measurement, change, scale, size_px
        See `tracking_video`.

    Attributes
    ----------
    shape : tuple of int
        (Y, X) of a picture; even numbers.
    """

    def __init__(
        self,
        images: NDArray[Any],
        masks: NDArray[Any],
        measurement: Measurement,
        change: NDArray[Any] | None,
        scale: ColorScale | None,
        size_px: int,
    ) -> None:
        stacks = checked_stacks("masks", masks)
        count = len(measurement.objects), len(measurement.times_s)
        expected = (*count, *measurement.arrival_time_s.shape[1:])
        if stacks.shape != expected:
            raise ValueError(f"masks have shape {stacks.shape}, but measured were {expected}")
        self._masks = stacks.view(np.bool_) if masks.dtype == bool else stacks != 0
        self._images = checked_images("images", images, stacks.shape[1:])
        self._ground = None
        if self._images.ndim == 3:
            self._ground = ColorScale.of_images(self._images)
        self._change = None if change is None else self._colored(change, scale, stacks.shape[1:])
        self._scale = scale
        self._measurement = measurement
        size_px = arguments.integer("size_px", size_px, 160, 4096)
        height, width = stacks.shape[2:]
        high, wide = measurement.pixel_size_mm
        self._width = size_px + size_px % 2
        # Twice rounded: the band below is even, too.
        self._height = 2 * max(1, round(self._width * height * high / (width * wide) / 2))
        if self._height > 4 * self._width:
            raise ValueError(f"masks of {height} x {width} pixels are too narrow for a video")
        self._rows = np.arange(self._height) * height // self._height
        self._across = np.arange(self._width) * width // self._width
        self._text_px = max(9, round(self._width * 0.0275))
        self._line_px = max(2, round(self._width / 400))
        self._listed = min(len(measurement.objects), MOST_ROWS)
        lines = 3.6 + self._listed
        self._band_px = 2 * math.ceil(1.35 * self._text_px * lines / 2)
        self.shape = self._height + self._band_px, self._width
        self._columns = self._figures()

    def __len__(self) -> int:
        return len(self._measurement.times_s)

    def draw(self, number: int) -> _Picture:
        """Return the picture of a map, uint8 (Y, X, 4): red, green, blue, and 255."""
        from PIL import Image, ImageDraw

        # Pillow draws on pixels of four bytes; less would be converted on the way.
        image = Image.new("RGBA", (self._width, self.shape[0]))
        image.paste(self._ground_of(number).convert("RGBA"))
        image.paste(self._band, (0, self._height))
        draw = ImageDraw.Draw(image)
        self._color(image, draw, number)
        for wave in range(len(self._masks)):
            self._draw_way(draw, wave, number)
        for place, shape, fill in self._marks:
            draw.bitmap(place, shape, fill)
        self._write(draw, number)
        return np.asarray(image)

    def _ground_of(self, number: int) -> Image.Image:
        image = self._images[number]
        if self._ground is not None:
            image = self._ground.indices(image)
        return self._scaled(image, (0, 0, self._width, self._height))

    def _scaled(self, colors: _Picture, box: _Box) -> Image.Image:
        """Scale an image to the size of the picture, and return a part of that."""
        from PIL import Image

        left, top, right, bottom = box
        if colors.shape[:2] == (self._height, self._width):
            return Image.fromarray(np.ascontiguousarray(colors[top:bottom, left:right]))
        down, across = colors.shape[0] / self._height, colors.shape[1] / self._width
        return Image.fromarray(np.ascontiguousarray(colors)).resize(
            (right - left, bottom - top),
            Image.Resampling.BILINEAR,
            box=(left * across, top * down, right * across, bottom * down),
        )

    @staticmethod
    def _colored(
        change: NDArray[Any], scale: ColorScale | None, shape: tuple[int, ...]
    ) -> NDArray[Any]:
        change = checked_images("change", change, shape)
        if change.ndim == 3 and scale is None:
            raise TypeError("scale must be given: it says what colours the numbers of change have")
        return change

    def _color(self, image: Image.Image, draw: ImageDraw.ImageDraw, number: int) -> None:
        """Put the change inside of the masks, and their edges."""
        masks = self._masks[:, number]
        if not masks.any():
            return
        colors = None if self._change is None else self._change[number]
        if colors is not None and colors.ndim == 2:
            assert self._scale is not None
            colors = self._scale.rgb(colors)
        edge_px = self._line_px + (self._width >= 512)
        for wave, mask in enumerate(masks):
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            if not rows.size:
                continue
            # The part of the picture in which the mask is; an edge's width more on all sides.
            top, bottom = np.searchsorted(self._rows, (rows[0], rows[-1] + 1)).tolist()
            left, right = np.searchsorted(self._across, (columns[0], columns[-1] + 1)).tolist()
            inside = mask[top:bottom, left:right]
            if mask.shape != (self._height, self._width):
                inside = mask[np.ix_(self._rows[top:bottom], self._across[left:right])]
            if not inside.size:
                continue
            if colors is not None:
                box = (left, top, right, bottom)
                image.paste(self._scaled(colors, box), box, _shape_of(inside))
            draw.bitmap((left, top), _shape_of(_rim(inside, edge_px)), self._rgb(wave))

    def _draw_way(self, draw: ImageDraw.ImageDraw, wave: int, number: int) -> None:
        points = self._points[wave][: number + 1]
        points = points[np.isfinite(points[:, 0])]
        if not len(points):
            return
        width = self._line_px
        way = [(float(x), float(y)) for x, y in points]
        head = self._arrow_head(way[0], way[-1])
        for more, color in ((2, _DARK), (0, _ARROW)):
            if head:
                draw.line((way[0], way[-1]), fill=color, width=width + more)
        for more, color in ((2, _DARK), (0, self._rgb(wave))):
            if len(way) > 1:
                draw.line(way, fill=color, width=width + more, joint="curve")
        if head:
            draw.polygon(head, fill=_ARROW, outline=_DARK)
        x, y = way[0]
        radius = 1.6 * width + 1
        draw.ellipse(
            (x - radius, y - radius, x + radius, y + radius), fill=self._rgb(wave), outline=_DARK
        )

    def _arrow_head(
        self, start: tuple[float, float], end: tuple[float, float]
    ) -> list[tuple[float, float]]:
        """Corners of the head of an arrow; none if it is longer than the arrow."""
        length, head = math.dist(start, end), 0.9 * self._text_px
        if length < head:
            return []
        along = (end[0] - start[0]) / length, (end[1] - start[1]) / length
        base = end[0] - head * along[0], end[1] - head * along[1]
        side = 0.45 * head
        return [
            end,
            (base[0] - side * along[1], base[1] + side * along[0]),
            (base[0] + side * along[1], base[1] - side * along[0]),
        ]

    @cached_property
    def _marks(self) -> list[_Mark]:
        """The bar of scale and the name of the clip, as shapes: place, coverage, colour."""
        text, line = self._text_px, self._line_px
        name = _shortened(self._measurement.clip, 40)
        found = self._lettered((0.03 * self._width, 0.9 * text), name, "lm")
        field_mm = self._masks.shape[3] * self._measurement.pixel_size_mm[1]
        length_mm = bar_length_mm(field_mm)
        if not length_mm or self._measurement.length_unit != "mm":
            return found
        x, y = round(0.04 * self._width), self._height - round(0.8 * text)
        end = x + round(length_mm / field_mm * self._width)
        dark, white = (x - 1, y - line - 2, end + 1, y + 1), (x, y - line - 1, end, y)
        found += self._covered(_DARK, lambda draw: draw.rectangle(dark, fill=255))
        found += self._covered(_WHITE, lambda draw: draw.rectangle(white, fill=255))
        return found + self._lettered((x, y - 0.7 * text), f"{length_mm:g} mm", "ls")

    def _write(self, draw: ImageDraw.ImageDraw, number: int) -> None:
        """Write the time, and the figures of each wave."""
        line = 1.35 * self._text_px
        y = self._height + line
        time = clock(float(self._measurement.times_s[number]))
        left = 0.03 * self._width
        self._text(draw, (left, y), f"{time}   map {number + 1} of {len(self)}", "ls")
        y += 2.1 * line
        for wave in range(self._listed):
            y += line
            for text, end in zip(self._columns[wave][number], _ENDS[1:], strict=True):
                self._text(draw, (end * self._width, y), text, "rs")

    def _figures(self) -> list[list[tuple[str, ...]]]:
        """Text of each wave and map: area, speeds, and where it heads."""
        frames = self._measurement.frames
        found: list[list[tuple[str, ...]]] = []
        for wave in range(self._listed):
            rows = frames[frames["object"] == self._measurement.objects[wave]]
            points = self._centroids(wave)
            there = np.flatnonzero(np.isfinite(points[:, 0]))
            start = points[there[0]] if there.size else np.full(2, math.nan)
            high, wide = self._measurement.pixel_size_mm
            along = (points - start) * (wide, high)
            heading = np.degrees(np.arctan2(along[:, 1], along[:, 0]))
            heading[np.hypot(*along.T) == 0] = math.nan
            found.append(
                [
                    (_value(a, ".2f"), _value(f, ".2f"), _value(c, ".2f"), _value(h, ".0f", "°"))
                    for a, f, c, h in zip(
                        rows["area_mm2"],
                        rows["front_speed_mm_min"],
                        rows["instantaneous_speed_mm_min"],
                        heading,
                        strict=True,
                    )
                ]
            )
        return found

    def _centroids(self, wave: int) -> NDArray[np.float64]:
        frames = self._measurement.frames
        rows = frames[frames["object"] == self._measurement.objects[wave]]
        points: NDArray[np.float64] = rows[["centroid_x_px", "centroid_y_px"]].to_numpy(np.float64)
        return points

    @cached_property
    def _points(self) -> list[NDArray[np.float64]]:
        """Centroids in pixels of the picture, (T, 2)."""
        height, width = self._masks.shape[2:]
        scale = self._width / width, self._height / height
        return [(self._centroids(n) + 0.5) * scale - 0.5 for n in range(len(self._masks))]

    @cached_property
    def _band(self) -> Image.Image:
        """What stands below all pictures: names of columns, waves, scale of colours."""
        from PIL import Image, ImageDraw

        image = Image.new("RGBA", (self._width, self._band_px), (*_DARK, 255))
        draw = ImageDraw.Draw(image)
        line = 1.35 * self._text_px
        unit = self._measurement.length_unit
        units = ("", f"{unit}²", f"{unit}/min", f"{unit}/min", "")
        for words, y in ((_COLUMNS, 2.2 * line), (units, 3.1 * line)):
            self._text(draw, (0.03 * self._width, y), words[0], "ls", _GREY)
            for word, end in zip(words[1:], _ENDS[1:], strict=True):
                self._text(draw, (end * self._width, y), word, "rs", _GREY)
        for wave in range(self._listed):
            at = (0.03 * self._width, (4.1 + wave) * line)
            name = str(self._measurement.objects[wave])
            self._text(draw, at, _shortened(name, 12), "ls", self._rgb(wave))
        self._draw_scale(image, draw)
        return image

    def _draw_scale(self, image: Image.Image, draw: ImageDraw.ImageDraw) -> None:
        from PIL import Image

        scale = self._scale
        if scale is None or self._change is None:
            return
        width, height = round(0.2 * self._width), round(0.7 * self._text_px)
        values = np.linspace(scale.low, scale.high, width)[np.newaxis]
        colors = np.repeat(scale.rgb(values), height, axis=0)
        low, high = (
            f"{value * scale.factor:g}".replace("-", _MINUS) for value in (scale.low, scale.high)
        )
        baseline = 1.35 * self._text_px
        gap = 0.4 * self._text_px
        unit = scale.label[scale.label.find("(") + 1 :].rstrip(")") if "(" in scale.label else ""
        name = scale.label.partition(" (")[0]
        x = 0.97 * self._width
        for text, is_bar in ((f"{high} {unit}".strip(), False), ("", True), (f"{name}  {low}", 0)):
            if is_bar:
                x -= width
                image.paste(Image.fromarray(colors), (round(x), round(baseline - height)))
            else:
                self._text(draw, (x, baseline), text, "rs")
                x -= draw.textlength(text, font=self._font)
            x -= gap

    def _lettered(self, at: tuple[float, float], text: str, anchor: str) -> list[_Mark]:
        """Return a text as shapes: white, with a dark edge."""
        edge = max(1, self._line_px // 2)
        return [
            *self._covered(_DARK, lambda draw: self._text(draw, at, text, anchor, 255, edge)),
            *self._covered(_WHITE, lambda draw: self._text(draw, at, text, anchor, 255)),
        ]

    def _covered(self, color: _Color, paint: Callable[[ImageDraw.ImageDraw], None]) -> list[_Mark]:
        """Return what is painted as a shape, with its place and colour; none if it is nothing."""
        from PIL import Image, ImageDraw

        layer = Image.new("L", (self._width, self._height))
        paint(ImageDraw.Draw(layer))
        box = layer.getbbox()
        return [] if box is None else [(box[:2], layer.crop(box), color)]

    def _text(
        self,
        draw: ImageDraw.ImageDraw,
        at: tuple[float, float],
        text: str,
        anchor: str,
        color: _Color | int = _WHITE,
        stroke: int = 0,
    ) -> None:
        place = round(at[0]), round(at[1])
        draw.text(place, text, color, self._font, anchor, stroke_width=stroke)

    @cached_property
    def _font(self) -> ImageFont.FreeTypeFont:
        import matplotlib
        from PIL import ImageFont

        # matplotlib brings this font along: the same letters on every machine.
        path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
        # Pillow's own layout: whether another library for it is there does not matter.
        return ImageFont.truetype(path, self._text_px, layout_engine=ImageFont.Layout.BASIC)

    @staticmethod
    def _rgb(wave: int) -> _Color:
        color = object_color(wave)
        red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
        return red, green, blue


def _shape_of(inside: NDArray[np.bool_]) -> Image.Image:
    """Return what is covered, as Pillow takes it: 0 or 255."""
    from PIL import Image

    return Image.fromarray(inside * np.uint8(255))


def _rim(inside: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Pixels of a mask that are at most so far from its outside in a row or column."""
    around = np.pad(inside, width)
    height, across = inside.shape
    core = inside.copy()
    for by in range(1, width + 1):
        core &= around[width - by : width - by + height, width : width + across]
        core &= around[width + by : width + by + height, width : width + across]
        core &= around[width : width + height, width - by : width - by + across]
        core &= around[width : width + height, width + by : width + by + across]
    return inside & ~core


def _value(number: float, form: str, unit: str = "") -> str:
    return _NONE if math.isnan(number) else f"{number:{form}}{unit}".replace("-", _MINUS)


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
