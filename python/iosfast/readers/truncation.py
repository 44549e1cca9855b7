"""What happens to a file that ends before its last frame does."""

from __future__ import annotations

from os import PathLike

from ..errors import ReadError, warn


def whole_frames(
    path: str | PathLike[str], whole: int, promised: int | None, allow_truncated: bool
) -> tuple[str, ...]:
    """Warn or raise about a file of which only `whole` frames are there; return the note.

    Parameters
    ----------
    promised : int or None
        Frames that the file says it has; None if it cannot be told any more.
    """
    if promised is None:
        lost = "an unknown number of frames is"
    else:
        verb = "is" if promised - whole == 1 else "are"
        lost = f"{promised - whole:,} of {promised:,} frames {verb}"
    if whole == 0:
        raise ReadError(f"is cut within its first frame; {lost} lost", path, 0)
    if not allow_truncated:
        raise ReadError(
            f"the file is cut; {lost} lost. allow_truncated=True uses the {whole:,} whole "
            "frames before",
            path,
            whole,
        )
    note = f"{path}: the file is cut; {lost} lost, the {whole:,} whole frames before are used"
    warn(note)
    return (note,)
