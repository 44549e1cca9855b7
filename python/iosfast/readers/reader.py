"""What a reader is: how it tells its files, and how it opens them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from numpy.typing import DTypeLike

from .recording import Recording

#: Bytes from the begin of a file by which readers tell whether it is theirs.
HEAD_BYTES = 512


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `open_recording` was told beside the path; see there."""

    shape: tuple[int, ...] | None = None
    dtype: DTypeLike | None = None
    offset: int = 0
    dataset: str | None = None
    allow_truncated: bool = False

    def given(self) -> list[str]:
        """Return the names of all options that are not as by default, but `allow_truncated`."""
        names = (f.name for f in fields(self) if f.name != "allow_truncated")
        return [n for n in names if getattr(self, n) != getattr(_DEFAULT, n)]


_DEFAULT = Options()


@dataclass(frozen=True)
class Reader:
    """Opens one kind of recording.

    A package of yours adds a reader by an entry point of the group ``iosfast.readers`` that names
    a `Reader`; it is asked before those that come with iosfast.

    Parameters
    ----------
    name : str
        Of the format, for messages.
    recognises : callable (Path, bytes) -> bool
        Tells by the path and the first 512 bytes (none of a folder) whether a file or folder is
        of this format. It must be quick and raise nothing.
    open : callable (Path, Options) -> Recording
        Opens it, or raises ReadError.
    options : tuple of str
        Names of the `Options` that it has a use for, beside `allow_truncated`; whoever gives
        others gets an error.
    """

    name: str
    recognises: Callable[[Path, bytes], bool]
    open: Callable[[Path, Options], Recording]
    options: tuple[str, ...] = ()

    def checked_open(self, path: Path, options: Options) -> Recording:
        """Open a recording, or raise ValueError for an option that has no meaning here."""
        useless = [name for name in options.given() if name not in self.options]
        if useless:
            raise ValueError(
                f"{', '.join(useless)} has no meaning for {path}, which is {self.name}"
            )
        return self.open(path, options)


def starts_with(*magic: bytes) -> Callable[[Path, bytes], bool]:
    """Recognise files by their first bytes."""

    def recognises(path: Path, head: bytes) -> bool:
        return head.startswith(magic)

    return recognises


def check_is_recording(reader: Reader, found: Any) -> Recording:
    """Return what a reader gave, or raise TypeError if it is no recording."""
    if not isinstance(found, Recording):
        raise TypeError(f"the reader {reader.name!r} gave no Recording, but {type(found).__name__}")
    return found
