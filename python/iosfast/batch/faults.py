"""What went wrong: whether to try again, and how to tell it in a line."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

#: Errors of disks and networks that may pass; all others are of the data, the place or the program.
TRANSIENT = frozenset(
    number
    for name in (
        "EIO", "ESTALE", "ETIMEDOUT", "EAGAIN", "EBUSY", "ENETDOWN", "ENETUNREACH", "ENETRESET",
        "ECONNABORTED", "ECONNRESET", "ECONNREFUSED", "ENOTCONN", "EHOSTDOWN", "EHOSTUNREACH",
        "EREMOTEIO",
    )
    if (number := getattr(errno, name, None)) is not None
)  # fmt: skip


def is_transient(error: BaseException) -> bool:
    """Tell whether the same may go well a moment later.

    The system's error may stand behind another one, or, where the core read, in its text only.
    """
    for each in _chain(error):
        if isinstance(each, OSError) and each.errno in TRANSIENT:
            return True
        text = str(each)
        if isinstance(each, ValueError) and any(os.strerror(n) in text for n in TRANSIENT):
            return True
    return False


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__


def line_of(error: BaseException) -> str:
    """Return an error as one line."""
    if isinstance(error, OSError) and error.filename is not None:
        text = f"{os.fsdecode(error.filename)}: {error.strerror}"
    else:
        text = str(error)
    if isinstance(error, MemoryError):
        text = f"out of memory; fewer workers leave more for each ({text or 'no details'})"
    text = " ".join(text.split()) or "no details"
    expected = isinstance(error, OSError | ValueError | MemoryError)
    return text if expected else f"{type(error).__name__}: {text}"
