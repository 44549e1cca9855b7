"""A file that several threads read from."""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path
from typing import BinaryIO

from ..errors import ReadError


class Scratch(threading.local):
    """Memory that each thread fills again and again: new memory takes as long as to decode it."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def view(self, length: int) -> memoryview:
        """Return so many bytes, with whatever is in them."""
        if len(self._bytes) < length:
            self._bytes = bytearray(length)
        return memoryview(self._bytes)[:length]


class SharedFile:
    """Reads bytes anywhere in a file; safe between threads, which do not wait for each other.

    Parameters
    ----------
    path : Path
    frame : int, optional
        For messages, where the file is that of one frame.
    """

    def __init__(self, path: Path, frame: int | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            self._file: BinaryIO | None = open(path, "rb", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise ReadError(f"cannot be read: {error.strerror or error}", path, frame) from error
        weakref.finalize(self, self._file.close)

    @property
    def stat(self) -> os.stat_result:
        """Size and times of the file as it is now."""
        return os.fstat(self._open().fileno())

    @property
    def closed(self) -> bool:
        """Whether it cannot be read any more."""
        return self._file is None

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset` on, fewer only where the file ends."""
        parts: list[bytes] = []
        while length > 0:
            part = self._read_some(offset, min(length, 1 << 30))
            if not part:
                break
            parts.append(part)
            offset, length = offset + len(part), length - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_whole(self, offset: int, length: int, frame: int) -> bytes:
        """Return exactly `length` bytes, or raise ReadError for the frame that needs them."""
        found = self.read(offset, length)
        if len(found) < length:
            raise ReadError("ends before this frame does", self._path, frame)
        return found

    def read_into(self, scratch: Scratch, offset: int, length: int, frame: int) -> memoryview:
        """Do as `read_whole`; the bytes are good until this thread reads into `scratch` again."""
        into = scratch.view(length)
        done = 0
        while done < length:
            got = self._read_some_into(into[done : done + (1 << 30)], offset + done)
            if not got:
                raise ReadError("ends before this frame does", self._path, frame)
            done += got
        return into

    def _read_some_into(self, into: memoryview, offset: int) -> int:
        file = self._open()
        try:
            if hasattr(os, "preadv"):
                return os.preadv(file.fileno(), [into], offset)
            with self._lock:  # Windows has no read that leaves the position alone
                file.seek(offset)
                return file.readinto(into) or 0  # type: ignore[attr-defined]
        except OSError as error:
            raise ReadError(f"cannot be read: {error.strerror or error}", self._path) from error

    def _read_some(self, offset: int, length: int) -> bytes:
        file = self._open()
        try:
            if hasattr(os, "pread"):
                return os.pread(file.fileno(), length, offset)
            with self._lock:  # Windows has no read that leaves the position alone
                file.seek(offset)
                return file.read(length)
        except OSError as error:
            raise ReadError(f"cannot be read: {error.strerror or error}", self._path) from error

    def _open(self) -> BinaryIO:
        if self._file is None:
            raise ReadError("was closed", self._path)
        return self._file

    def close(self) -> None:
        """Close the file, which cannot be read afterwards."""
        if self._file is not None:
            self._file.close()
            self._file = None
