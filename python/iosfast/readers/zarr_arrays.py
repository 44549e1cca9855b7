"""Zarr arrays and groups, and images in OME-Zarr."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ReadError
from .chunks import ChunkedRecording, Chunks, FileOf, Grid, Place, Places, plain_runs
from .ome_zarr import Image, image_of
from .pixels import PixelRecording, check_pixels
from .reader import Options, Reader
from .recording import Recording
from .tiff_parsing import is_stream
from .zarr_chunks import Storage, find_chunks, find_in_shards, own_chunks, storage_of

_MARKS = ("zarr.json", ".zarray", ".zgroup")
_MAX_MEMBERS, _MAX_DEPTH, _MAX_LISTED = 5000, 6, 12
_MAX_METADATA_BYTES = 64 << 20
#: Opening asks for the path of each file twice.
_KNOWN_PATHS = 1 << 15
_MISSING = (
    "Zarr leaves out chunks that hold only this value, but if the copy is incomplete, they are lost"
)


@dataclass
class _Found:
    """An array of frames, and what is known of it."""

    array: Any
    axes: tuple[int, int, int, int]
    facts: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def recognises(path: Path, head: bytes) -> bool:
    """Tell a folder that is a Zarr array or group."""
    try:
        return not head and any((path / mark).is_file() for mark in _MARKS)
    except OSError:
        return False


def open_zarr(path: Path, options: Options) -> Recording:
    """Open the frames of a Zarr array or group; see `open_recording` for the options."""
    try:
        import zarr
    except ImportError as error:
        raise ImportError(
            f"{path}: a Zarr folder needs zarr; install it with: pip install 'iosfast[zarr]'"
        ) from error
    logging.getLogger("asyncio").addFilter(_is_told)  # a second time changes nothing
    with _damage(path):
        with warnings.catch_warnings():
            # zarr warns of what it may drop in future, which is not for readers of recordings.
            warnings.simplefilter("ignore")
            root = zarr.open(_store(path), mode="r")
            found = _find(path, root, options.dataset)
        return _recording(path, found, options.allow_truncated)


def _is_told(record: logging.LogRecord) -> bool:
    """Leave out what asyncio logs of members that zarr looked for, and left for another's error.

    It comes later, when they are garbage, and in whatever thread that is.
    """
    text = record.getMessage()
    return "never retrieved" not in text or "zarr" not in text


def _store(path: Path) -> Any:
    """Return zarr's view of a folder, in which metadata are files of a sane size."""
    from zarr.storage import LocalStore

    class Metadata(LocalStore):
        async def get(self, key: str, *args: Any, **options: Any) -> Any:
            file = path / key
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                about = file.stat()
                if is_stream(about.st_mode):
                    raise ReadError("is no file, but a pipe or device", file)
                if about.st_size > _MAX_METADATA_BYTES:
                    raise ReadError(f"is {about.st_size:,} bytes large, too large for JSON", file)
            return await super().get(key, *args, **options)

    return Metadata(path, read_only=True)


@contextlib.contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn whatever zarr says of damaged metadata into one ReadError."""
    try:
        yield
    except (ReadError, Warning):
        raise
    except Exception as error:  # any kind, by where the damage is
        text = " ".join(str(error).split())[:300] or type(error).__name__
        raise ReadError(f"its Zarr metadata is damaged, or of a new kind: {text}", path) from error


def _find(path: Path, root: Any, name: str | None) -> _Found:
    import zarr

    item, where = root, ""
    if name is not None:
        where = name.strip("/")
        if isinstance(root, zarr.Array) or where not in root:
            raise ReadError(
                f"has no dataset {name!r}; it has: {_listed(_arrays(path, root))}", path
            )
        item = root[where]
    if isinstance(item, zarr.Array):
        parent, _, last = where.rpartition("/")
        image = image_of(dict((root[parent] if parent else root).attrs)) if where else None
        return _described(path, item, image if image and image.path == last else None)
    images = _images(path, item)
    if len(images) == 1:
        return images[0]
    if len(images) > 1:
        raise ReadError(
            f"holds {len(images)} recordings; choose one by dataset=: "
            + _listed([found.array for found in images]),
            path,
        )
    raise ReadError(
        "holds no array with the axes (T, Y, X); it has: " + _listed(_arrays(path, item)), path
    )


def _listed(arrays: list[Any]) -> str:
    names = sorted(f"{a.path or '/'} {a.shape} {a.dtype}" for a in arrays)
    more = f", and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return (", ".join(names[:_MAX_LISTED]) or "no array") + more


def _groups(path: Path, root: Any) -> Iterator[tuple[Any, list[Any]]]:
    """Yield every group below this one, with its arrays, in order of their names."""
    import zarr

    waiting, looked = [(root, 0)], 0
    while waiting:
        group, depth = waiting.pop()
        if isinstance(group, zarr.Array):
            yield None, [group]
            continue
        members = sorted(group.members(), key=lambda m: str(m[0]))
        looked += 1 + len(members)
        if looked > _MAX_MEMBERS or depth > _MAX_DEPTH:
            raise ReadError("holds too many groups to search; give dataset=", path)
        yield group, [m for _, m in members if isinstance(m, zarr.Array)]
        below = [(m, depth + 1) for _, m in members if not isinstance(m, zarr.Array)]
        waiting += reversed(below)


def _arrays(path: Path, root: Any) -> list[Any]:
    return [array for _, arrays in _groups(path, root) for array in arrays]


def _images(path: Path, root: Any) -> list[_Found]:
    """Return the full-size images of OME groups, and other arrays that can be recordings."""
    found: list[_Found] = []
    inside: list[str] = []
    for group, arrays in _groups(path, root):
        if group is None:
            continue
        image = image_of(dict(group.attrs))
        if image is not None:
            found.append(_described(path, group[image.path], image))
            inside.append(f"{group.path}/" if group.path else "")
            continue
        for array in arrays:
            below = any(array.path.startswith(prefix) for prefix in inside)
            if not below and _guessed_axes(array) is not None:
                found.append(_described(path, array, None))
    return found


def _guessed_axes(array: Any) -> tuple[int, int, int, int] | None:
    """Return which axes are T, C, Y, X, by their names if they have any."""
    if array.dtype.kind not in "uif" or min(array.shape, default=0) < 1:
        return None
    names = getattr(array.metadata, "dimension_names", None)
    names = names or array.attrs.get("_ARRAY_DIMENSIONS")
    if names is not None and len(names) == array.ndim:
        return named_axes([str(n).lower() for n in names], array.shape) or _plain_axes(array)
    return _plain_axes(array)


def _plain_axes(array: Any) -> tuple[int, int, int, int] | None:
    return (0, -1, 1, 2) if array.ndim == 3 else None


def named_axes(names: list[str], shape: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    """Return the axes T, C, Y, X by name; Z stands for T where that has one frame or none."""
    letters = [{"time": "t", "frame": "t", "channel": "c"}.get(n, n) for n in names]
    if len(set(letters)) < len(letters) or "y" not in letters or "x" not in letters:
        return None
    at = {letter: i for i, letter in enumerate(letters)}
    time = at.get("t", -1)
    if "z" in at and (time < 0 or (shape[time] == 1 and shape[at["z"]] > 1)):
        time = at["z"]
    if time < 0:
        return None
    channel = at.get("c", -1)
    others = set(range(len(shape))) - {time, channel, at["y"], at["x"]}
    if any(shape[i] > 1 for i in others):
        return None
    return time, channel, at["y"], at["x"]


def _described(path: Path, array: Any, image: Image | None) -> _Found:
    """Return an array with its axes and what its metadata tell, or raise ReadError."""
    axes = _guessed_axes(array) if image is None else named_axes(list(image.axes), array.shape)
    where = array.path or "/"
    if axes is None:
        named = "" if image is None else f" along {', '.join(image.axes)}"
        raise ReadError(
            f"its array {where} has the shape {array.shape}{named} of {array.dtype}, not one "
            "sequence of frames (T, Y, X), or (T, C, Y, X) with names of axes",
            path,
        )
    facts: dict[str, Any] = {
        "metadata": {"format": f"Zarr {array.metadata.zarr_format}", "dataset": where}
    }
    notes: tuple[str, ...] = ()
    channels = array.shape[axes[1]] if axes[1] >= 0 else 1
    names = tuple(map(str, range(channels)))
    if image is not None:
        facts["metadata"]["format"] = f"OME-Zarr {image.version}".rstrip()
        facts["metadata"]["name"] = image.name
        facts["frame_rate_hz"] = image.frame_rate_hz(axes[0])
        facts["pixel_size_mm"] = image.pixel_size_mm(axes[2], axes[3])
        if len(image.channels) == channels == len(set(image.channels)):
            names = image.channels
        if image.axes[axes[0]] == "z":
            notes = (f"{path}: its frames lie along z, and are taken as times",)
    if channels > 1:
        facts["channels"] = names
        if facts.get("frame_rate_hz") is not None:
            facts["frame_rate_hz"] *= channels
    return _Found(array, axes, facts, notes)


def _recording(path: Path, found: _Found, allow_truncated: bool) -> Recording:
    array, metadata = found.array, found.array.metadata
    folder = path / array.path if array.path else path
    check_pixels(metadata.dtype.to_native_dtype(), lambda text: ReadError(text, folder))
    storage = storage_of(folder, metadata)
    stored = (array.shards or array.chunks) if storage is None else storage.shard or storage.chunks
    outer_chunks = tuple(stored)
    outer = Grid(tuple(array.shape), outer_chunks, found.axes)
    dtype = metadata.dtype.to_native_dtype() if storage is None else storage.dtype
    within, key_of = os.path.join(folder, ""), metadata.encode_chunk_key

    @lru_cache(_KNOWN_PATHS)
    def outer_file(key: tuple[int, ...]) -> str:
        return within + str(key_of(key))

    file_of: FileOf = outer_file
    if storage is None or storage.shard is None:
        grid = outer
        grid.check(folder, dtype.itemsize)
        places = find_chunks(folder, grid, file_of)
        cut = (places.offsets >= 0) & (places.nbytes == 0)
        if storage is not None and storage.is_plain:
            cut |= (places.offsets >= 0) & (places.nbytes < storage.nbytes)
            _refuse_longer(grid, places, storage, file_of)
    else:
        grid = Grid(tuple(array.shape), storage.chunks, found.axes)
        grid.check(folder, dtype.itemsize)
        places, cut = find_in_shards(folder, grid, outer, outer_file, storage)
        if storage.is_plain:
            _refuse_shorter(folder, grid, places, cut, storage)
        inner = tuple(s // c for s, c in zip(storage.shard, storage.chunks, strict=True))

        def file_of_inner(key: tuple[int, ...]) -> str:
            return outer_file(tuple(k // n for k, n in zip(key, inner, strict=True)))

        file_of = file_of_inner

    grid, notes = places.settle(folder, grid, cut, allow_truncated, _MISSING)
    facts = {**found.facts, "notes": found.notes + notes}
    if storage is not None and storage.is_plain:
        plain = plain_runs(grid, dtype.itemsize, places, file_of)
        if plain is not None:
            shape = grid.frame_shape
            together = grid.parts[0] * grid.channels
            return PixelRecording(
                plain[0],
                shape,
                dtype,
                path,
                row_bytes=plain[1],
                chunk_frames=together,
                **facts,
            )
    fill = metadata.fill_value if metadata.fill_value is not None else 0
    if storage is None or storage.decoders is None:
        chunks = _chunks_of_zarr(folder, array, grid)
    else:
        chunks = own_chunks(grid, places, storage, file_of)
    return ChunkedRecording(grid, dtype, chunks, path, fill=fill, **facts)


def _refuse_longer(grid: Grid, places: Places, storage: Storage, file_of: FileOf) -> None:
    longer = np.argwhere(places.nbytes > storage.nbytes)
    if len(longer):
        t, c, y, x = (int(n) for n in longer[0])
        raise ReadError(
            f"holds {int(places.nbytes[t, c, y, x]):,} bytes, but a chunk takes {storage.nbytes:,}",
            file_of(grid.key((t, c, y, x))),
            t * grid.parts[0] * grid.channels,
        )


def _refuse_shorter(
    folder: Path, grid: Grid, places: Places, cut: NDArray[np.bool_], storage: Storage
) -> None:
    wrong = np.argwhere((places.offsets >= 0) & ~cut & (places.nbytes != storage.nbytes))
    if len(wrong):
        raise ReadError(
            "is damaged: the index of its shard tells another size than a chunk has",
            folder,
            int(wrong[0][0]) * grid.parts[0] * grid.channels,
        )


def _chunks_of_zarr(folder: Path, array: Any, grid: Grid) -> Chunks:
    """Let zarr decode what only it knows."""

    def fetch(place: Place, frame: int) -> NDArray[Any]:
        part = tuple(
            slice(n * m, min((n + 1) * m, size))
            for n, m, size in zip(grid.key(place), grid.chunks, grid.shape, strict=True)
        )
        try:
            pixels = np.asarray(array[part])
        except Exception as error:  # codecs fail in any way on damaged bytes
            text = " ".join(str(error).split())[:300]
            raise ReadError(f"its chunk cannot be decoded: {text}", folder, frame) from error
        if pixels.size != math.prod(s.stop - s.start for s in part):
            raise ReadError("its chunk has another shape than it should", folder, frame)
        return pixels

    return Chunks(fetch, lambda: None)


READER = Reader("a Zarr folder", recognises, open_zarr, ("dataset",))
