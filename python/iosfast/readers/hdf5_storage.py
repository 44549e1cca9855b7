"""How HDF5 stores the frames of a data set, and the quickest way to read them."""

from __future__ import annotations

import contextlib
import math
import os
import threading
from array import array
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ReadError, warn
from .chunks import (
    ChunkedRecording,
    Chunks,
    Grid,
    Place,
    Places,
    plain_runs,
    too_sparse,
)
from .hdf5_filters import Filter, decoder
from .page_cache import forget_unless_held
from .pixels import PixelRecording, Run, check_pixels
from .recording import Recording
from .shared_file import SharedFile
from .truncation import whole_frames
from .turned import TurnedRecording

if TYPE_CHECKING:
    import h5py

    from .hdf5 import Found

#: Numbers of the axes T, C, Y, X; there are no channels.
AXES = (0, -1, 1, 2)
#: Bytes of a piece in which the HDF5 library reads frames.
_PIECE_BYTES = 4 << 20
_MISSING = "if the file was not written to its end, they are lost"


def open_dataset(path: Path, file: h5py.File, found: Found, allow_truncated: bool) -> Recording:
    """Return the frames of a data set; those that need the file open it again."""
    if found.turned:
        stored = replace(found, turned=False)
        return TurnedRecording(open_dataset(path, file, stored, allow_truncated))
    dataset = found.dataset
    dtype = dataset.dtype
    if dataset.file.filename != file.filename:  # a link leads to another file
        path = Path(dataset.file.filename)
    check_pixels(dtype, lambda text: ReadError(f"its data set {dataset.name}: {text}", path))
    create = dataset.id.get_create_plist()
    own_layout = create.get_external_count() == 0 and not dataset.is_virtual
    offset = dataset.id.get_offset()
    if own_layout and _is_stored_as_read(dataset):
        if dataset.chunks is not None:
            return _chunked(path, file, found, create, allow_truncated)
        if offset is not None:
            return _contiguous(path, found, offset, allow_truncated)
    _refuse_cut(path, file)
    return _by_library(path, found)


def _refuse_cut(path: Path, file: h5py.File) -> None:
    """Raise ReadError for a cut file, which the library itself cannot open."""
    if file.driver == "fileobj":
        raise ReadError("is cut, and stored in a way of which nothing can be saved", path, 0)


def _is_stored_as_read(dataset: h5py.Dataset) -> bool:
    """Tell whether numbers are stored as NumPy has them; HDF5 also knows 12 bits in 16."""
    import h5py

    stored = dataset.id.get_type()
    return bool(stored.equal(h5py.h5t.py_create(dataset.dtype)))


def _facts(path: Path, found: Found, frames: int, notes: tuple[str, ...]) -> dict[str, Any]:
    """Return what the file tells, with the time stamps of the frames that are there."""
    facts = dict(found.facts)
    notes = found.notes + notes
    times: NDArray[np.float64] | None = None
    if found.times is not None:
        stamps = found.times
        if stamps.shape != (found.dataset.shape[0],) or stamps.dtype.kind not in "fui":
            note = f"{path}: its time stamps do not fit its frames and are left out"
        else:
            times = np.asarray(stamps[:frames], np.float64)
            note = ""
            if not np.isfinite(times).all() or (np.diff(times) < 0).any():
                times, note = None, f"{path}: its time stamps go wrong and are left out"
        if note:
            warn(note)
            notes = (*notes, note)
    if times is not None:
        if facts.get("frame_rate_hz") is None:
            facts["frame_rate_hz"] = _regular_rate(times)
        if facts.get("start_s") is not None:
            facts["start_s"] += float(times[0])
    return {**facts, "notes": notes, "times_s": times}


def _regular_rate(times: NDArray[np.float64]) -> float | None:
    """Return the frame rate of time stamps among which none is missing."""
    if times.size < 2 or times[-1] <= times[0]:
        return None
    step = (times[-1] - times[0]) / (times.size - 1)
    if np.abs(np.diff(times) - step).max() > step / 2:
        return None
    return float(f"{1 / step:.9g}")


def _contiguous(path: Path, found: Found, offset: int, allow_truncated: bool) -> Recording:
    dataset, dtype = found.dataset, found.dataset.dtype
    frames, rows, columns = dataset.shape
    grid = Grid(dataset.shape, (1, rows, columns), AXES)
    frame_bytes = rows * columns * dtype.itemsize
    _check_place(path, dataset, offset)
    whole = min(frames, max(0, os.path.getsize(path) - offset) // frame_bytes)
    notes: tuple[str, ...] = ()
    if whole < frames:
        notes = whole_frames(path, whole, frames, allow_truncated)
        grid = grid.cut(whole)
    facts = _facts(path, found, whole, notes)
    run = Run(str(path), offset, frame_bytes, whole)
    return PixelRecording([run], grid.frame_shape, dtype, path, **facts)


def _check_place(path: Path, dataset: h5py.Dataset, offset: int) -> None:
    """Compare the first row as the library reads it with what lies at the place it tells."""
    row = np.ascontiguousarray(dataset[0, 0])
    with open(path, "rb") as file:
        file.seek(offset)
        there = file.read(row.nbytes)
    if len(there) == row.nbytes and there != row.tobytes():
        raise ReadError("lies elsewhere than the HDF5 library tells; update h5py", path)


def _chunked(
    path: Path, file: h5py.File, found: Found, create: h5py.h5p.PropDCID, allow_truncated: bool
) -> Recording:
    dataset, dtype = found.dataset, found.dataset.dtype
    grid = Grid(dataset.shape, dataset.chunks, AXES)
    grid.check(path, dtype.itemsize)
    places, masks = _places(path, dataset, grid)
    filters = _filters(create)
    nbytes = math.prod(grid.chunks) * dtype.itemsize
    if not filters and (places.nbytes[places.offsets >= 0] != nbytes).any():
        raise ReadError("is damaged: chunks of it have another size than they should", path)
    cut = places.offsets + places.nbytes > os.path.getsize(path)
    grid, notes = places.settle(path, grid, cut, allow_truncated, _MISSING)
    facts = _facts(path, found, grid.frame_shape[0], notes)
    fill = dataset.fillvalue
    if not filters:
        name = str(path)
        plain = plain_runs(grid, dtype.itemsize, places, lambda _: name)
        if plain is not None:
            runs, row_bytes = plain
            held = (runs[len(runs) * part // 4] for part in (1, 2, 3))
            forget_unless_held(path, (run.offset + run.stride // 2 for run in held))
            return PixelRecording(
                runs,
                grid.frame_shape,
                dtype,
                path,
                row_bytes=row_bytes,
                chunk_frames=grid.parts[0],
                **facts,
            )
    decode = decoder(filters, nbytes)
    if decode is None:
        _refuse_cut(path, file)
        _check_filters(path, filters)
        chunks = _library_chunks(path, dataset.name, grid)
    else:
        chunks = _own_chunks(path, grid, dtype, places, masks, decode)
    return ChunkedRecording(grid, dtype, chunks, path, fill=fill, **facts)


def _places(path: Path, dataset: h5py.Dataset, grid: Grid) -> tuple[Places, dict[Any, int]]:
    """Return where the chunks are, and the masks of those to which not all filters apply."""
    rows = array("q")
    masked: dict[Any, int] = {}
    t, _, y, x = grid.axes
    parts = grid.parts

    def note(info: Any) -> None:
        begin = info.chunk_offset
        place = (begin[t] // parts[0], 0, begin[y] // parts[2], begin[x] // parts[3])
        rows.extend((place[0], place[2], place[3], info.byte_offset, info.size))
        if info.filter_mask:
            masked[place] = info.filter_mask

    dataset.id.chunk_iter(note)
    table = np.frombuffer(rows, np.int64).reshape(-1, 5)
    if too_sparse(math.prod(grid.counts), len(table)):
        raise ReadError(
            f"has the shape {dataset.shape}, but holds only {len(table):,} of "
            f"{math.prod(grid.counts):,} chunks",
            path,
        )
    places = Places.empty(grid)
    where = (table[:, 0], 0, table[:, 1], table[:, 2])
    places.offsets[where] = table[:, 3]
    places.nbytes[where] = table[:, 4]
    return places, masked


def _filters(create: h5py.h5p.PropDCID) -> list[Filter]:
    found = []
    for i in range(create.get_nfilters()):
        code, _flags, values, _name = create.get_filter(i)
        found.append(Filter(code, tuple(values)))
    return found


def _own_chunks(
    path: Path,
    grid: Grid,
    dtype: np.dtype[Any],
    places: Places,
    masks: dict[Any, int],
    decode: Callable[[bytes, int], Any],
) -> Chunks:
    """Decode chunks here, in as many threads as call."""
    file = SharedFile(path)

    def fetch(place: Place, frame: int) -> NDArray[Any] | None:
        offset = int(places.offsets[place])
        if offset < 0:
            return None
        raw = file.read_whole(offset, int(places.nbytes[place]), frame)
        try:
            pixels = decode(raw, masks.get(place, 0))
        except Exception as error:  # decoders fail in any way on damaged bytes
            raise ReadError(f"cannot be decoded: {error}", path, frame) from error
        return np.frombuffer(pixels, dtype).reshape(grid.chunks)

    return Chunks(fetch, file.close)


def _check_filters(path: Path, filters: list[Filter]) -> None:
    """Raise ReadError if the HDF5 library has no plugin for a filter."""
    import h5py

    if all(h5py.h5z.filter_avail(step.code) for step in filters):
        return
    with contextlib.suppress(ImportError):  # the library may find plugins of its own
        import hdf5plugin  # noqa: F401 (registers filters)
    missing = [step.code for step in filters if not h5py.h5z.filter_avail(step.code)]
    if missing:
        raise ReadError(
            f"is compressed with the HDF5 filter {missing[0]}, which is not there; install it "
            "with: pip install hdf5plugin",
            path,
        )


def _library_chunks(path: Path, name: str, grid: Grid) -> Chunks:
    """Let the HDF5 library read, one thread at a time."""
    import h5py

    lock = threading.Lock()
    file = h5py.File(path, "r", locking=False)

    def fetch(place: Place, frame: int) -> NDArray[Any]:
        key = grid.key(place)
        part = tuple(
            slice(n * m, min((n + 1) * m, size))
            for n, m, size in zip(key, grid.chunks, grid.shape, strict=True)
        )
        with lock:
            try:
                return np.asarray(file[name][part])
            except Exception as error:  # of many kinds, by where the damage is
                text = " ".join(str(error).split())[:300]
                raise ReadError(f"cannot be read: {text}", path, frame) from error

    return Chunks(fetch, file.close)


def _by_library(path: Path, found: Found) -> Recording:
    """Read what is stored in an unusual way, such as in other files."""
    dataset = found.dataset
    frames = dataset.shape[0]
    frame_bytes = math.prod(dataset.shape[1:]) * dataset.dtype.itemsize
    if dataset.is_virtual:
        _check_sources(path, dataset)
    elif dataset.id.get_storage_size() == 0:
        raise ReadError("holds no pixels; its data set was never written", path)
    if frame_bytes > _PIECE_BYTES * 64:
        raise ReadError(f"has frames of {frame_bytes:,} bytes", path)
    part = max(1, min(frames, _PIECE_BYTES // frame_bytes))
    grid = Grid(dataset.shape, (part, *dataset.shape[1:]), AXES)
    facts = _facts(path, found, frames, ())
    chunks = _library_chunks(path, dataset.name, grid)
    return ChunkedRecording(grid, dataset.dtype, chunks, path, **facts)


def _check_sources(path: Path, dataset: h5py.Dataset) -> None:
    """A virtual data set reads as the fill value where its files are missing: refuse that."""
    for source in dataset.virtual_sources():
        name = source.file_name
        if name != "." and not (path.parent / name).exists():
            raise ReadError(f"takes its frames from {name}, which is not there", path)
