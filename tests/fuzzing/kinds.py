"""Small valid recordings of every kind, and where in their files the pixels of each frame lie."""

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
import tifffile
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


def tiff_pieces(folder: Path, frames: NDArray[Any]) -> list[Piece]:
    """Strips and tiles of all TIFF files, whose directories follow the order of the frames."""
    pieces: list[Piece] = []
    frame = 0
    for path in sorted(folder.rglob("*.tif*")):
        with tifffile.TiffFile(path) as tif:
            for page in tif.pages:
                page = page.aspage()
                pieces += [
                    Piece(frame, path.relative_to(folder).as_posix(), at, at + size)
                    for at, size in zip(page.dataoffsets, page.databytecounts, strict=True)
                ]
                frame += 1
    return pieces


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


# TIFF


def _one(write: Callable[[Path, NDArray[Any]], Any], name: str = "a.tif") -> Callable[..., Path]:
    def written(folder: Path, frames: NDArray[Any]) -> Path:
        write(folder / name, frames)
        return folder / name

    return written


def _each(name: str = "f{}.tif", listed: bool = False, **options: Any) -> Callable[..., Any]:
    def written(folder: Path, frames: NDArray[Any]) -> Any:
        paths = [folder / name.format(i) for i in range(len(frames))]
        for path, frame in zip(paths, frames, strict=True):
            tifffile.imwrite(path, frame, metadata=None, **options)
        return paths if listed else folder

    return written


def _stacks(listed: bool = False, **options: Any) -> Callable[..., Any]:
    def written(folder: Path, frames: NDArray[Any]) -> Any:
        paths = [folder / f"part{i}.tif" for i in range(3)]
        for i, path in enumerate(paths):
            tifffile.imwrite(path, frames[2 * i : 2 * i + 2], **options)
        return paths if listed else folder

    return written


_OME = """<?xml version="1.0" encoding="UTF-8"?>
<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{own}">
<Image ID="Image:0" Name="a"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16"
SizeX="{x}" SizeY="{y}" SizeC="1" SizeZ="1" SizeT="{t}" TimeIncrement="0.02"
PhysicalSizeX="20" PhysicalSizeY="20"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>
{planes}</Pixels></Image></OME>"""


def _ome_set(folder: Path, frames: NDArray[Any]) -> Path:
    t, y, x = frames.shape
    planes = "\n".join(
        f'<TiffData IFD="{i % 3}" FirstT="{i}" PlaneCount="1">'
        f'<UUID FileName="set{i // 3}.ome.tif">urn:uuid:{i // 3}</UUID></TiffData>'
        for i in range(t)
    )
    for part in range(2):
        text = _OME.format(own=part, t=t, y=y, x=x, planes=planes)
        with tifffile.TiffWriter(folder / f"set{part}.ome.tif", ome=False) as tif:
            for i in range(3):
                description = text if i == 0 else None
                tif.write(frames[3 * part + i], description=description, metadata=None)
    return folder / "set0.ome.tif"


def _dated(path: Path, frames: NDArray[Any]) -> None:
    with tifffile.TiffWriter(path) as tif:
        for i, frame in enumerate(frames):
            tif.write(frame, datetime=f"2023:09:22 22:14:{31 + i}", metadata=None)


# NumPy and raw


def _npy(folder: Path, frames: NDArray[Any]) -> Path:
    np.save(folder / "a.npy", frames)
    return folder / "a.npy"


def _npy_fortran(folder: Path, frames: NDArray[Any]) -> Path:
    np.save(folder / "a.npy", np.asfortranarray(frames))
    return folder / "a.npy"


def _raw(folder: Path, frames: NDArray[Any]) -> Path:
    (folder / "a.raw").write_bytes(frames.tobytes())
    return folder / "a.raw"


def _raw_behind_a_header(folder: Path, frames: NDArray[Any]) -> Path:
    (folder / "a.raw").write_bytes(bytes(13) + frames.astype(">u2").tobytes())
    return folder / "a.raw"


#: Every kind; another one is one more entry.
KINDS: tuple[Kind, ...] = (
    *(
        Kind(f"TIFF, {name}", "TIFF", _one(write))
        for name, write in (recordings.BLOCKS | recordings.PAGES).items()
    ),
    *(
        Kind(f"TIFF, {name}", "TIFF, packed", _one(write), pieces=tiff_pieces)
        for name, write in recordings.PACKED.items()
    ),
    Kind("TIFF, uint8", "TIFF", _one(recordings.stack()), "uint8"),
    Kind("TIFF, dates", "TIFF", _one(_dated)),
    Kind("OME-TIFF set", "TIFF", _ome_set),
    Kind("folder of frames", "folder", _each(), separate=True),
    Kind("folder of BigTIFF frames", "folder", _each(bigtiff=True), separate=True),
    Kind(
        "folder of dated names",
        "folder",
        _each("20230922_22143{}.tiff", byteorder=">", datetime=True),
        separate=True,
    ),
    Kind(
        "folder of compressed frames",
        "folder",
        _each(compression="zlib"),
        pieces=tiff_pieces,
        separate=True,
    ),
    Kind("list of frames", "folder", _each(listed=True), separate=True),
    Kind("folder of stacks", "joined", _stacks(), separate=True),
    Kind("list of stacks", "joined", _stacks(True), separate=True),
    Kind(
        "list of compressed stacks",
        "joined",
        _stacks(True, compression="lzw"),
        pieces=tiff_pieces,
        separate=True,
    ),
    Kind("npy", ".npy", _npy),
    Kind("npy, big-endian", ".npy", lambda d, f: _npy(d, f.astype(">u2"))),
    Kind("npy, uint8", ".npy", _npy, "uint8"),
    Kind(
        "npy, Fortran order",
        ".npy",
        _npy_fortran,
        pieces=lambda d, f: [],
    ),
    Kind("raw", "raw", _raw, options={"shape": SHAPE[1:]}, counted=False),
    Kind("raw, counted", "raw", _raw, options={"shape": SHAPE}),
    Kind(
        "raw, behind a header",
        "raw",
        _raw_behind_a_header,
        options={"shape": SHAPE, "dtype": ">u2", "offset": 13},
    ),
)
