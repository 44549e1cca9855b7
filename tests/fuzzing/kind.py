"""What a kind of recording is, and where in its files the pixels of each frame lie."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import recordings
from numpy.typing import NDArray

import iosfast

#: Odd and not square; a frame is larger than a page of memory, so that maps can break within it.
SHAPE = (6, 33, 67)


class Piece(NamedTuple):
    """Bytes of a file that hold pixels of one frame and of nothing else."""

    frame: int
    file: str
    begin: int
    end: int
    row: int | None = None  # which row these bytes are, if they are one, uncompressed


@dataclass(frozen=True)
class Kind:
    """One way to store a recording.

    Parameters
    ----------
    name, reader : str
        The reader is what the table of results counts by.
    write : callable (folder, frames) -> path or list of paths
        Writes into an empty folder and returns what to open.
    dtype : str
        Of the frames.
    options : mapping
        For `open_recording`.
    counted : bool
        The files tell how many frames there are.
    separate : bool
        Frames are in files of their own: those that are cut may be left out.
    pieces : callable (folder, frames) -> list of Piece
        For compressed pixels; uncompressed ones are searched for.
    needs : tuple of str
        Modules without which it can be neither written nor read.
    open : callable
        Opens it.
    """

    name: str
    reader: str
    write: Callable[[Path, NDArray[Any]], Any]
    dtype: str = "uint16"
    options: Mapping[str, Any] = field(default_factory=dict)
    counted: bool = True
    separate: bool = False
    pieces: Callable[[Path, NDArray[Any]], list[Piece]] | None = None
    needs: tuple[str, ...] = ()
    open: Callable[..., iosfast.Recording] = iosfast.open_recording

    @property
    def missing(self) -> list[str]:
        return [name for name in self.needs if find_spec(name) is None]

    @cached_property
    def seed(self) -> Seed:
        frames = recordings.some_frames(SHAPE, "uint16")
        if self.dtype != "uint16":
            frames = frames.astype(self.dtype)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name).resolve()
            source = self.write(folder, frames)
            many = isinstance(source, list)
            told = [p.relative_to(folder).as_posix() for p in (source if many else [source])]
            files = {
                path.relative_to(folder).as_posix(): path.read_bytes()
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            }
            pieces = self.pieces(folder, frames) if self.pieces else rows_of(files, frames)
        return Seed(files, told, many, frames, pieces)


@dataclass(frozen=True)
class Seed:
    """The bytes of a valid recording.

    Attributes
    ----------
    files : dict of str to bytes
        By path within the folder.
    source : list of str
        What to open; "." is the folder.
    many : bool
        Open them as a list.
    frames : ndarray, shape (T, Y, X)
    pieces : list of Piece
        Where the pixels are; empty if nobody knows.
    """

    files: dict[str, bytes]
    source: list[str]
    many: bool
    frames: NDArray[Any]
    pieces: list[Piece]

    @cached_property
    def pixels(self) -> dict[str, NDArray[np.bool_]]:
        """Which bytes of each file hold pixels and nothing else."""
        masks = {name: np.zeros(len(data), bool) for name, data in self.files.items()}
        for piece in self.pieces:
            masks[piece.file][piece.begin : piece.end] = True
        return masks

    @cached_property
    def others(self) -> dict[str, NDArray[np.int64]]:
        """Offsets of all other bytes of each file."""
        return {name: np.flatnonzero(~mask) for name, mask in self.pixels.items()}


def rows_of(files: Mapping[str, bytes], frames: NDArray[Any]) -> list[Piece]:
    """Find every row of every frame in the files, in either byte order; empty if some are not."""
    for order in "<>":
        stored = frames.astype(frames.dtype.newbyteorder(order))
        pieces: list[Piece] = []
        for frame, row in np.ndindex(*frames.shape[:2]):
            raw = stored[frame, row].tobytes()
            places = [(name, at) for name, data in files.items() if (at := data.find(raw)) >= 0]
            if len(places) != 1:
                break
            name, at = places[0]
            pieces.append(Piece(frame, name, at, at + len(raw), row))
        else:
            return pieces
    return []
