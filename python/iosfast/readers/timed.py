"""Recordings whose time stamps are found only when they are asked for, as that takes long."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .recording import Recording

Times = NDArray[np.float64] | None


class TimedRecording(Recording):
    """Frames of which a file may tell the times."""

    _find_times: Callable[[], Times] | None = None
    _found: tuple[Times] | None = None

    @property
    def times_s(self) -> Times:
        """Time of every frame as the file's metadata has it; None unless it tells that of all."""
        if self._found is None:
            self._found = (None if self._find_times is None else self._find_times(),)
        return self._found[0]
