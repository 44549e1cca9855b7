"""Images in figures whose pixels are shown as they are, and drawn fast."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from numpy.typing import NDArray


class PixelImage(AxesImage):
    """Colours of bytes, each pixel of the figure in that of the nearest one of the image.

    As `Axes.imshow` with interpolation "nearest" draws them, which takes ten times as long: it
    turns colours into numbers from 0 to 1, and them back. Axes must be linear.

    Parameters
    ----------
    axis : Axes
        Gets the image, with its pixels at whole numbers, and y downwards.
    colors : ndarray of uint8, shape (Y, X, 3) or (Y, X, 4)
    aspect : float
        Height of a pixel by its width.
    """

    def __init__(self, axis: Axes, colors: NDArray[np.uint8], aspect: float) -> None:
        super().__init__(axis, interpolation="nearest", origin="upper")
        height, width, channels = colors.shape
        rgba = np.full((height, width, 4), 255, np.uint8)
        rgba[..., :channels] = colors
        self._words = rgba.view(np.uint32)[..., 0]
        self.set_data(colors)
        self.set_extent((-0.5, width - 0.5, height - 0.5, -0.5))
        axis.set_aspect(aspect)
        axis.add_image(self)
        self.set_clip_path(axis.patch)

    def make_image(self, renderer: Any, magnification: float = 1.0, unsampled: bool = False) -> Any:
        """Return the part that is seen, from its lowest row on, and its lower left corner."""
        height, width = self._words.shape
        left, right, bottom, top = self.get_extent()
        corners = self.get_transform().transform([(left, bottom), (right, top)])
        (left, bottom), (right, top) = (corners * magnification).tolist()
        (x0, y0), (x1, y1) = (self.axes.bbox.get_points() * magnification).tolist()
        across = np.arange(_rounded(max(left, x0)), _rounded(min(right, x1)))
        down = np.arange(_rounded(max(bottom, y0)), _rounded(min(top, y1)))
        if not across.size or not down.size:
            return None, 0.0, 0.0, None
        columns = ((across + 0.5 - left) * (width / (right - left))).astype(np.intp)
        rows = ((top - down - 0.5) * (height / (top - bottom))).astype(np.intp)
        seen = self._words.take(rows.clip(0, height - 1), axis=0)
        seen = seen.take(columns.clip(0, width - 1), axis=1)
        place = float(across[0]) / magnification, float(down[0]) / magnification
        return seen.view(np.uint8).reshape(*seen.shape, 4), *place, None


def _rounded(value: float) -> int:
    return int(np.floor(value + 0.5))
