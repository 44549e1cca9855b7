"""What tells a recording from every other, without reading all of it; and checksums of files."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from ..errors import ReadError
from .extras import needed

#: Blocks that are sampled of a recording, over all its files, and bytes of each.
SAMPLES, SAMPLE_BYTES = 8, 4096

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Identity:
    """A recording as it lies on disk at one moment.

    Where it lies does not matter: an archive that is moved with its times stays the same.

    Attributes
    ----------
    files, nbytes : int
    newest_ns : int
        Latest modification time, ns since 1970-01-01 UTC.
    times : str
        Digest of the names, sizes and modification times of all files.
    content : str
        Digest of `SAMPLES` blocks.
    """

    files: int
    nbytes: int
    newest_ns: int
    times: str
    content: str

    @classmethod
    def of(cls, files: Iterable[Path]) -> Self:
        """Look at files, and read a few blocks of them.

        Raises
        ------
        ReadError
            If one is not there or cannot be read.
        """
        hasher = needed("xxhash").xxh3_128()
        paths: list[Path] = []
        sizes: list[int] = []
        newest = 0
        for path in files:
            try:
                about = os.stat(path)
            except OSError as error:
                raise _unreadable(path, error) from error
            if not stat.S_ISREG(about.st_mode):
                raise ReadError("is no file, but a pipe, device or folder", path)
            hasher.update(
                f"{path.name}\0{about.st_size}\0{about.st_mtime_ns}\n".encode(
                    "utf-8", "surrogateescape"
                )
            )
            paths.append(path)
            sizes.append(about.st_size)
            newest = max(newest, about.st_mtime_ns)
        content = _sampled(paths, sizes)
        return cls(len(paths), sum(sizes), newest, str(hasher.hexdigest()), content)

    def difference(self, now: Identity) -> str | None:
        """Tell what is different now; None if nothing is."""
        if now.files != self.files:
            return f"has {now.files:,} files, not {self.files:,}"
        if now.nbytes != self.nbytes:
            return f"has {now.nbytes:,} bytes, not {self.nbytes:,}"
        if now.content != self.content:
            return "has other content"
        if now.newest_ns != self.newest_ns:
            return f"was modified at {_clock(now.newest_ns)}, not at {_clock(self.newest_ns)}"
        if now.times != self.times:
            return "has files of other names or times"
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-serialisable values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> Self:
        """Return what `to_dict` described; raises TypeError, ValueError or KeyError."""
        values = {f.name: told[f.name] for f in fields(cls)}
        for name, value in values.items():
            if not isinstance(value, str if name in ("times", "content") else int):
                raise TypeError(f"{name} is {value!r}")
        return cls(**values)


def _clock(ns: int) -> str:
    try:
        return datetime.fromtimestamp(ns / 1e9).isoformat(" ", "microseconds")
    except (OverflowError, OSError, ValueError):
        return f"{ns} ns"


def _sampled(paths: Sequence[Path], sizes: Sequence[int]) -> str:
    """Digest of blocks at equal distances over all files as one, the first and last included."""
    hasher = needed("xxhash").xxh3_128()
    total = sum(sizes)
    places = [i * max(0, total - SAMPLE_BYTES) // (SAMPLES - 1) for i in range(SAMPLES)]
    number, begin = 0, 0
    for place in places:
        while number < len(paths) - 1 and place >= begin + sizes[number]:
            begin += sizes[number]
            number += 1
        if not paths:
            break
        try:
            with open(paths[number], "rb", buffering=0) as file:
                file.seek(place - begin)
                hasher.update(file.read(SAMPLE_BYTES))
        except OSError as error:
            raise _unreadable(paths[number], error) from error
    return str(hasher.hexdigest())


def _unreadable(path: Path, error: OSError) -> ReadError:
    missing = isinstance(error, FileNotFoundError)
    return ReadError("does not exist" if missing else f"{error.strerror or error}", path)


def checksum(path: Path, *, keep: bool = False) -> str:
    """Return the checksum of all bytes of a file (XXH3, 128 bit).

    Parameters
    ----------
    path : Path
    keep : bool
        Also make sure that the file is on the disk, and not only in memory.
    """
    hasher = needed("xxhash").xxh3_128()
    buffer = memoryview(bytearray(_BLOCK_BYTES))
    with open(path, "rb", buffering=0) as file:
        if keep:
            os.fsync(file.fileno())
        while count := file.readinto(buffer):
            hasher.update(buffer[:count])
    return str(hasher.hexdigest())


def digest(value: Any) -> str:
    """Return a short digest of JSON-serialisable values."""
    text = json.dumps(value, sort_keys=True, allow_nan=True)
    return str(needed("xxhash").xxh3_128(text.encode()).hexdigest())
