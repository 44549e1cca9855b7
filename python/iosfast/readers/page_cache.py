"""What the system holds of files in its memory."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable


def forget_unless_held(path: str | os.PathLike[str], places: Iterable[int]) -> None:
    """Have the system forget a file, unless it holds one of some places.

    For what opening has brought from the disk: where small pieces of a file are in memory already,
    as the index between chunks of a frame each, systems read ahead worse, and the whole file takes
    a quarter longer. Does nothing where the system cannot tell.

    Parameters
    ----------
    path : path
    places : iterable of int
        Offsets in bytes, of what opening does not look at.
    """
    if sys.platform == "linux":
        with open(path, "rb", buffering=0) as file:
            if not any(_is_held(file.fileno(), place) for place in places):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if sys.platform == "linux":

    def _is_held(file: int, place: int) -> bool:
        try:
            return os.preadv(file, [bytearray(1)], place, os.RWF_NOWAIT) > 0
        except BlockingIOError:
            return False
        except OSError:  # a file system that cannot tell
            return True
