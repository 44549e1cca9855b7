"""HDF5 files: which data set holds the frames, and how they are read without the HDF5 library."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ReadError
from .hdf5_storage import open_dataset
from .reader import Options, Reader, starts_with
from .recording import Recording

if TYPE_CHECKING:
    import h5py

MAGIC = b"\x89HDF\r\n\x1a\n"
#: No file of recordings holds more objects than this, or nests them deeper.
_MAX_OBJECTS, _MAX_DEPTH = 20_000, 32
_MAX_LISTED = 12
_MAX_TEXT = 1000


@dataclass
class Found:
    """A data set of frames, and what is known of it.

    Attributes
    ----------
    turned : bool
        Its axes are (T, X, Y).
    times : h5py.Dataset or None
        Time stamps, in seconds.
    facts : dict
        As for `Recording`.
    """

    dataset: h5py.Dataset
    turned: bool = False
    times: h5py.Dataset | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def has_user_block(path: Path, _head: bytes) -> bool:
    """Tell an HDF5 file whose signature is behind a block of 512, 1024, ... bytes.

    It looks at many places of a file, which a disk that turns takes long for, and after which
    systems read that file more slowly: only for what no other reader knows.
    """
    try:
        with open(path, "rb") as file:
            size, at = os.fstat(file.fileno()).st_size, 512
            while at < size:
                file.seek(at)
                if file.read(len(MAGIC)) == MAGIC:
                    return True
                at *= 2
    except OSError:
        return False
    return False


def open_hdf5(path: Path, options: Options) -> Recording:
    """Open the frames of an HDF5 or NWB file; see `open_recording` for the options."""
    from . import nwb

    with opened(path, options.allow_truncated) as file:
        with damage(path):
            is_nwb = "nwb_version" in file.attrs
        found = nwb.find(path, file, options.dataset) if is_nwb else None
        if found is None:
            found = _find(path, file, options.dataset)
        with damage(path):
            return open_dataset(path, file, found, options.allow_truncated)


@contextlib.contextmanager
def damage(path: Path) -> Iterator[None]:
    """Turn whatever the HDF5 library says of a damaged file into one ReadError."""
    try:
        yield
    except (ReadError, Warning, ImportError):
        raise
    except Exception as error:  # any kind, by where the damage is
        text = " ".join(str(error).split())[:300]
        raise ReadError(f"is damaged, or no HDF5 that can be read: {text}", path) from error


@contextlib.contextmanager
def opened(path: Path, allow_truncated: bool) -> Iterator[h5py.File]:
    """Open a file for reading only, also a cut one if that is allowed."""
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            f"{path}: an HDF5 file needs h5py; install it with: pip install 'iosfast[hdf5]'"
        ) from error
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        said = re.search(r"truncated file: eof = (\d+).*stored_eof = (\d+)", str(error))
        if said is None:
            with damage(path):
                raise
        there, promised = int(said[1]), int(said[2])
        if not allow_truncated:
            raise ReadError(
                f"the file is cut after {there:,} of {promised:,} bytes. allow_truncated=True uses "
                "the whole frames before, if the description of the data is still there",
                path,
            ) from error
        with _Extended(path, promised) as extended, _opened_cut(path, extended) as file:
            yield file
        return
    with file:
        yield file


def _opened_cut(path: Path, extended: _Extended) -> h5py.File:
    import h5py

    try:
        return h5py.File(extended, "r")
    except Exception as error:  # what the library meets in place of the lost bytes
        raise ReadError(
            "is cut, and the description of its data is lost with the end; nothing of it can be "
            "saved",
            path,
            0,
        ) from error


class _Extended(io.RawIOBase):
    """A cut file with zeros in place of what is lost, as the HDF5 library opens no shorter one."""

    def __init__(self, path: Path, size: int) -> None:
        super().__init__()
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 (open as long as this is)
        self._size, self._at = size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = begin + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        self._file.seek(self._at)
        got = self._file.readinto(view) or 0
        view[got:] = bytes(len(view) - got)
        self._at += len(view)
        return len(view)

    def close(self) -> None:
        self._file.close()
        super().close()


def _find(path: Path, file: h5py.File, name: str | None) -> Found:
    """Choose the data set by its name, or the only one that can be a recording."""
    if name is not None:
        return described(named_dataset(path, file, name))
    with damage(path):
        candidates = [d for d in datasets(path, file) if is_frames(d)]
        if len(candidates) == 1:
            return described(candidates[0])
        if not candidates:
            raise ReadError(
                "holds no data set of numbers with the axes (T, Y, X); give dataset= if it is one "
                "behind a link",
                path,
            )
        raise several(path, [(d.name, d) for d in candidates])


def several(path: Path, found: list[tuple[str, h5py.Dataset]]) -> ReadError:
    """Return the error that lists the recordings of a file."""
    listed = [f"{name} {d.shape} {d.dtype}" for name, d in sorted(found, key=lambda f: f[0])]
    more = f", and {len(listed) - _MAX_LISTED} more" if len(listed) > _MAX_LISTED else ""
    return ReadError(
        f"holds {len(listed)} recordings; choose one by dataset=: "
        + ", ".join(listed[:_MAX_LISTED])
        + more,
        path,
    )


def named_dataset(path: Path, file: h5py.File, name: str) -> h5py.Dataset:
    """Return the data set of this name, or raise ReadError."""
    import h5py

    with damage(path):
        there = file.get(name) if name in file else None
        if isinstance(there, h5py.Dataset):
            if not is_frames(there):
                raise ReadError(
                    f"its data set {name!r} has the shape {there.shape} of {there.dtype}, "
                    "not (T, Y, X) of numbers",
                    path,
                )
            return there
        names = [f"{d.name} {d.shape}" for d in datasets(path, file) if is_frames(d)]
    listed = ", ".join(names[:_MAX_LISTED]) or "none"
    raise ReadError(f"has no data set {name!r}; those of frames are: {listed}", path)


def is_frames(dataset: h5py.Dataset) -> bool:
    """Tell whether a data set can be frames (T, Y, X)."""
    shape = dataset.shape
    return shape is not None and len(shape) == 3 and min(shape) > 0 and dataset.dtype.kind in "uif"


def datasets(path: Path, file: h5py.File) -> list[h5py.Dataset]:
    """Return all data sets of a file, each once, by name; links are not followed."""
    import h5py

    found: list[h5py.Dataset] = []
    seen: set[Any] = set()
    waiting: list[tuple[h5py.Group, int]] = [(file["/"], 0)]
    while waiting:
        group, depth = waiting.pop()
        if depth > _MAX_DEPTH or len(seen) > _MAX_OBJECTS:
            raise ReadError("holds too many groups to search; give dataset=", path)
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                continue
            item = group[name]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen or len(seen) > _MAX_OBJECTS:
                continue
            seen.add(address)
            if isinstance(item, h5py.Dataset):
                found.append(item)
            elif isinstance(item, h5py.Group):
                waiting.append((item, depth + 1))
    return sorted(found, key=lambda d: d.name or "")


def described(dataset: h5py.Dataset) -> Found:
    """Return a data set with what its own attributes tell.

    MATLAB stores arrays in column order: what it calls (Y, X, T) has the shape (T, X, Y) here.
    """
    attributes = plain_attributes(dataset)
    facts: dict[str, Any] = {
        "metadata": {"format": "HDF5", "dataset": dataset.name, "attributes": attributes}
    }
    # The convention of Fiji and ilastik: sides of a pixel in the order of the axes.
    sides = attributes.get("element_size_um")
    if isinstance(sides, list) and len(sides) == 3 and sides[1] == sides[2] > 0:
        facts["pixel_size_mm"] = sides[1] / 1000
    if "MATLAB_class" in attributes:
        facts["metadata"]["format"] = "MATLAB 7.3"
        return Found(
            dataset,
            turned=True,
            facts=facts,
            notes=(
                f"{dataset.file.filename}: a MATLAB array of size (Y, X, T) is read as (T, Y, X)",
            ),
        )
    return Found(dataset, facts=facts)


def plain_attributes(item: h5py.Dataset | h5py.Group) -> dict[str, Any]:
    """Return those attributes that are numbers, short texts or short lists of numbers."""
    plain: dict[str, Any] = {}
    for name in sorted(item.attrs)[:100]:
        if item.attrs.get_id(name).get_storage_size() > _MAX_TEXT:
            continue
        value = plain_value(item.attrs[name])
        if value is not None:
            plain[name] = value
    return plain


def plain_value(value: Any) -> Any:
    """Return a value as JSON can hold it; None for any other."""
    if isinstance(value, np.ndarray) and value.size <= 16 and value.dtype.kind in "uifb":
        return value.tolist() if np.isfinite(value).all() else None
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if isinstance(value, bool | int) else _text(value)


def _text(value: Any) -> str | None:
    return value[:_MAX_TEXT] if isinstance(value, str) else None


READER = Reader("an HDF5 or NWB file", starts_with(MAGIC), open_hdf5, ("dataset",))
BLOCK_READER = Reader("HDF5 behind a user block", has_user_block, open_hdf5, ("dataset",))
