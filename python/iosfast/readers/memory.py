"""A recording that is an array."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _core
from .pixels import check_pixels
from .recording import Recording


class ArrayRecording(Recording):
    """Frames of an array (T, Y, X), of any strides and byte order; it is not copied whole."""

    def __init__(self, frames: NDArray[Any]) -> None:
        if isinstance(frames, np.ma.MaskedArray):
            raise TypeError("an array must not be a masked one; fill it, and give mask= instead")
        if frames.ndim != 3 or 0 in frames.shape:
            raise ValueError(f"an array must be (T, Y, X) and not empty, not {frames.shape}")
        check_pixels(frames.dtype, TypeError)
        super().__init__(source="array", shape=frames.shape, dtype=frames.dtype)
        self._frames = frames
        usable = frames.dtype.isnative and frames.flags.c_contiguous and frames.flags.aligned
        self._core_source = _core.FrameSource.from_array(frames) if usable else None

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        return np.require(self._frames[start:stop], self.dtype, ["C", "A"])
