"""Small valid recordings of every kind; another kind is one more entry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import recordings
import tifffile
from numpy.typing import NDArray

from . import andor_kinds, array_kinds, described_kinds
from .kind import SHAPE, Kind, Piece


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
    *andor_kinds.KINDS,
    *described_kinds.KINDS,
    *array_kinds.KINDS,
)
