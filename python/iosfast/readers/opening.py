"""Finds the reader for a path, a folder, a list of paths, or an array."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from functools import cache
from importlib.metadata import entry_points
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..errors import ReadError
from . import andor_sif, andor_spool, folder, hdf5, raw, sidecar, tiff, wfield, zarr_arrays
from .andor_header import MAGIC as _ANDOR_MAGIC
from .joined import JoinedRecording
from .memory import ArrayRecording
from .reader import HEAD_BYTES, Options, Reader, check_is_recording, starts_with
from .recording import Recording
from .tiff_parsing import MAGIC as _TIFF_MAGIC
from .tiff_parsing import is_stream

Source = str | PathLike[str] | Sequence[str | PathLike[str]] | NDArray[Any] | Recording

#: The group of entry points by which other packages add readers.
ENTRY_POINTS = "iosfast.readers"


def open_recording(
    source: Source,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
    offset: int = 0,
    dataset: str | None = None,
    allow_truncated: bool = False,
) -> Recording:
    """Open a recording, whatever wrote it.

    The kind of a file is told by its content; packages can add readers (see
    `iosfast.readers.Reader`).

    Parameters
    ----------
    source : path, list of paths, ndarray, or Recording
        A file or folder of any kind that README lists (TIFF of all kinds, folders of TIFF files,
        ``.npy``, raw with `shape` or a sidecar, wfield, Andor ``.sif`` and spool folders, HDF5,
        NWB, Zarr, OME-Zarr); several of these as a list, in the order given; or an array of shape
        (T, Y, X). Frames in a folder are in natural order: f2 before f10.
    shape : tuple of int, optional
        For raw files: (T, Y, X), or (Y, X) to take as many frames as there are.
    dtype : numpy dtype, optional
        For raw files; default little-endian uint16.
    offset : int
        For raw files: bytes before the first frame.
    dataset : str, optional
        For HDF5, NWB and Zarr, which may hold several recordings: the name of the one to open.
    allow_truncated : bool
        If a file is cut, use its whole frames, and warn with a count of what is lost, instead of
        raising an error.

    Returns
    -------
    Recording

    Raises
    ------
    ReadError
        If there is no such file, it is no recording, or it is cut.
    TypeError, ValueError
        If an argument does not fit.
    """
    options = Options(
        shape=shape, dtype=dtype, offset=offset, dataset=dataset, allow_truncated=allow_truncated
    )
    if shape is None and (dtype, offset) != (None, 0):
        raise ValueError("dtype and offset are for raw files, which need shape, too")
    if isinstance(source, Recording | np.ndarray):
        if given := options.given():
            raise ValueError(f"{', '.join(given)} has no meaning for frames that are open already")
        return source if isinstance(source, Recording) else ArrayRecording(source)
    if isinstance(source, str | PathLike):
        return _open_path(Path(source), options)
    if isinstance(source, Sequence) and all(isinstance(p, str | PathLike) for p in source):
        paths = [Path(p) for p in source]
        if not paths:
            raise ValueError("source is an empty list")
        if not options.given() and len(paths) > 1 and all(_looks_like_tiff(p) for p in paths):
            return _open_tiffs(paths, None, allow_truncated, ())
        if not options.given() and len(paths) > 1 and all(map(andor_sif.is_sif_name, paths)):
            return andor_sif.open_series(paths, None, allow_truncated)
        return _joined([_open_path(p, options) for p in paths])
    raise TypeError(
        "source must be a path, a list of paths, an array (T, Y, X) or a Recording, "
        f"not {type(source).__name__}"
    )


def _open_path(path: Path, options: Options) -> Recording:
    is_folder = path.is_dir()
    head = b"" if is_folder else _head(path)
    if not is_folder and options.shape is not None:
        if options.offset == 0 and head.startswith((*_TIFF_MAGIC, raw.NPY_MAGIC)):
            raise ReadError(
                "is no raw file; leave out shape, or give offset to read it as one", path
            )
        return _RAW.checked_open(path, options)
    if not is_folder and not head:
        raise ReadError("is empty", path)
    for reader in (*registered_readers(), *READERS):
        if reader.recognises(path, head):
            return check_is_recording(reader, reader.checked_open(path, options))
    known = ", ".join(reader.name for reader in READERS)
    raise ReadError(
        f"is nothing that iosfast knows ({known}); for a raw file give shape=(Y, X) and dtype",
        path,
    )


@cache
def registered_readers() -> tuple[Reader, ...]:
    """Return the readers that other packages registered, by the names of their entry points.

    Raises
    ------
    ImportError, TypeError
        If one of them cannot be loaded; names it.
    """
    readers = []
    for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda e: e.name):
        try:
            reader = entry.load()
        except Exception as error:
            raise ImportError(
                f"the reader {entry.name!r} ({entry.value}) cannot be loaded: {error}"
            ) from error
        if not isinstance(reader, Reader):
            raise TypeError(f"the entry point {entry.name!r} ({entry.value}) names no Reader")
        readers.append(reader)
    return tuple(readers)


def _is_folder(path: Path, _head: bytes) -> bool:
    return path.is_dir()


def _open_folder(path: Path, options: Options) -> Recording:
    if (path / "maps.json").is_file():
        raise ReadError("holds maps, not a recording; open it with iosfast.load", path)
    paths, notes = folder.list_frames(path)
    return _open_tiffs(paths, path, options.allow_truncated, notes)


def _open_tiff(path: Path, options: Options) -> Recording:
    return tiff.open_tiff(path, options.allow_truncated)


_RAW = Reader("a raw file", lambda path, head: True, raw.open_raw, ("shape", "dtype", "offset"))

#: Asked one after the other; a folder of any other kind is taken as one of TIFF files.
READERS = (
    Reader("a TIFF file", starts_with(*_TIFF_MAGIC), _open_tiff),
    Reader("a .npy file", starts_with(raw.NPY_MAGIC), raw.open_npy),
    Reader("an Andor .sif file", starts_with(_ANDOR_MAGIC), andor_sif.open_sif),
    Reader("an Andor spool folder", andor_spool.is_spool_folder, andor_spool.open_spool),
    Reader("a folder of .sif files", andor_sif.is_sif_folder, andor_sif.open_sif_folder),
    hdf5.READER,
    zarr_arrays.READER,
    Reader("a raw file with a sidecar", sidecar.has_sidecar, raw.open_raw),
    Reader("a wfield file", wfield.is_wfield, wfield.open_wfield),
    hdf5.BLOCK_READER,
    Reader("a folder of TIFF files", _is_folder, _open_folder),
)


def _open_tiffs(
    paths: Sequence[Path], where: Path | None, allow_truncated: bool, notes: tuple[str, ...]
) -> Recording:
    for number, path in enumerate(paths):
        magic = _head(path)
        if magic and not any(m.startswith(magic[:4]) for m in _TIFF_MAGIC):
            raise ReadError("is no TIFF file, though its name says so", path, number)
        single = tiff.is_single_frame(path)
        if single is not None:
            break
    else:
        raise ReadError("is cut before its first frame, as all files are", paths[0], 0)
    if single and len(paths) > 1:
        return folder.open_frames(paths, where, allow_truncated, notes)
    if where is not None and len(paths) > 1 and (whole := tiff.open_set(paths, allow_truncated)):
        return _joined([whole], where, notes)
    several = len(paths) > 1
    parts = [tiff.open_tiff(p, allow_truncated, own_pages=several) for p in paths]
    return _joined(parts, where, notes)


def _joined(
    parts: list[Recording], where: Path | None = None, notes: tuple[str, ...] = ()
) -> Recording:
    if len(parts) == 1:
        parts[0].notes = notes + parts[0].notes
        return parts[0]
    return JoinedRecording(parts, where, notes)


def _looks_like_tiff(path: Path) -> bool:
    if path.suffix.lower() not in folder.TIFF_SUFFIXES:
        return False
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True  # which will be told of it as a frame


def _head(path: Path) -> bytes:
    try:
        if is_stream(os.stat(path).st_mode):
            raise ReadError("is no file, but a pipe or device", path)
        with open(path, "rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        reason = "does not exist" if not os.path.lexists(path) else error.strerror
        raise ReadError(f"{reason}", path) from None
