"""Finds the reader for a path, a folder, a list of paths, or an array."""

from __future__ import annotations

import os
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..errors import ReadError
from . import folder, raw, tiff
from .joined import JoinedRecording
from .memory import ArrayRecording
from .recording import Recording
from .tiff_parsing import MAGIC as _TIFF_MAGIC

Source = str | PathLike[str] | Sequence[str | PathLike[str]] | NDArray[Any] | Recording

_NPY_MAGIC = b"\x93NUMPY"


def open_recording(
    source: Source,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: DTypeLike | None = None,
    offset: int = 0,
    allow_truncated: bool = False,
) -> Recording:
    """Open a recording, whatever wrote it.

    Parameters
    ----------
    source : path, list of paths, ndarray, or Recording
        A TIFF file of any kind, a ``.npy`` file, a raw file (with `shape`), a folder of TIFF
        files (in natural order: f2 before f10), several of these as a list (in the order given),
        or an array of shape (T, Y, X).
    shape : tuple of int, optional
        For raw files: (T, Y, X), or (Y, X) to take as many frames as there are.
    dtype : numpy dtype, optional
        For raw files; default little-endian uint16.
    offset : int
        For raw files: bytes before the first frame.
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
    raw_options = (shape, dtype, offset) != (None, None, 0)
    if shape is None and raw_options:
        raise ValueError("dtype and offset are for raw files, which need shape, too")
    if isinstance(source, Recording | np.ndarray):
        if raw_options:
            raise ValueError("shape, dtype and offset are for raw files")
        return source if isinstance(source, Recording) else ArrayRecording(source)
    if isinstance(source, str | PathLike):
        return _open_path(Path(source), shape, dtype, offset, allow_truncated)
    if isinstance(source, Sequence) and all(isinstance(p, str | PathLike) for p in source):
        paths = [Path(p) for p in source]
        if not paths:
            raise ValueError("source is an empty list")
        if not raw_options and len(paths) > 1 and all(_looks_like_tiff(p) for p in paths):
            return _open_tiffs(paths, None, allow_truncated, ())
        return _joined([_open_path(p, shape, dtype, offset, allow_truncated) for p in paths])
    raise TypeError(
        "source must be a path, a list of paths, an array (T, Y, X) or a Recording, "
        f"not {type(source).__name__}"
    )


def _open_path(
    path: Path,
    shape: tuple[int, ...] | None,
    dtype: DTypeLike | None,
    offset: int,
    allow_truncated: bool,
) -> Recording:
    if path.is_dir():
        if shape is not None:
            raise ValueError(f"shape, dtype and offset are for raw files; {path} is a folder")
        return _open_folder(path, allow_truncated)
    magic = _magic(path)
    if shape is not None:
        if offset == 0 and magic.startswith((*_TIFF_MAGIC, _NPY_MAGIC)):
            raise ReadError(
                "is no raw file; leave out shape, or give offset to read it as one", path
            )
        return raw.open_raw(path, shape, dtype, offset, allow_truncated)
    if magic.startswith(_TIFF_MAGIC):
        return tiff.open_tiff(path, allow_truncated)
    if magic == _NPY_MAGIC:
        return raw.open_npy(path, allow_truncated)
    if not magic:
        raise ReadError("is empty", path)
    raise ReadError(
        "is no TIFF or .npy file, nor another that iosfast knows; for a raw file give "
        "shape=(Y, X) and dtype",
        path,
    )


def _open_folder(path: Path, allow_truncated: bool) -> Recording:
    if (path / "maps.json").is_file():
        raise ReadError("holds maps, not a recording; open it with iosfast.load", path)
    paths, notes = folder.list_frames(path)
    return _open_tiffs(paths, path, allow_truncated, notes)


def _open_tiffs(
    paths: list[Path], where: Path | None, allow_truncated: bool, notes: tuple[str, ...]
) -> Recording:
    for number, path in enumerate(paths):
        magic = _magic(path)
        if magic and not any(m.startswith(magic[:4]) for m in _TIFF_MAGIC):
            raise ReadError("is no TIFF file, though its name says so", path, number)
        single = tiff.is_single_frame(path)
        if single is not None:
            break
    else:
        raise ReadError("is cut before its first frame, as all files are", paths[0], 0)
    if single and len(paths) > 1:
        return folder.open_frames(paths, where, allow_truncated, notes)
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
    return not path.is_dir() and path.suffix.lower() in folder.TIFF_SUFFIXES


def _magic(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(len(_NPY_MAGIC))
    except OSError as error:
        reason = "does not exist" if not os.path.lexists(path) else error.strerror
        raise ReadError(f"{reason}", path) from None
