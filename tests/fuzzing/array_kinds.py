"""HDF5, NWB and Zarr recordings; their libraries tell where each chunk lies."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from .kind import Kind, Piece


def _hdf5(**options: Any) -> Callable[..., Path]:
    def written(folder: Path, frames: NDArray[Any]) -> Path:
        import h5py

        with h5py.File(folder / "a.h5", "w") as file:
            file.create_dataset("movie", data=frames, track_times=False, **options)
        return folder / "a.h5"

    return written


def _hdf5_latest(folder: Path, frames: NDArray[Any]) -> Path:
    """Write headers of the newest version, which have checksums."""
    import h5py

    with h5py.File(folder / "a.h5", "w", libver="latest") as file:
        chunks = (2, *frames.shape[1:])
        file.create_dataset("a/movie", data=frames, chunks=chunks, compression="gzip")
    return folder / "a.h5"


def _hdf5_pieces(folder: Path, frames: NDArray[Any]) -> list[Piece]:
    import h5py

    with h5py.File(folder / "a.h5") as file:
        data = file["movie"] if "movie" in file else file["a/movie"]
        found = [data.id.get_chunk_info(i) for i in range(data.id.get_num_chunks())]
        return [
            Piece(frame, "a.h5", chunk.byte_offset, chunk.byte_offset + chunk.size)
            for chunk in found
            for frame in range(
                chunk.chunk_offset[0], min(len(frames), chunk.chunk_offset[0] + data.chunks[0])
            )
        ]


def _nwb(**options: Any) -> Callable[..., Path]:
    def written(folder: Path, frames: NDArray[Any]) -> Path:
        from hdmf.backends.hdf5 import H5DataIO
        from test_nwb import NWBHDF5IO, Lab

        lab = Lab().add(data=H5DataIO(frames.swapaxes(1, 2).copy(), **options))
        with NWBHDF5IO(folder / "a.nwb", "w") as io:
            io.write(lab.file)
        return folder / "a.nwb"

    return written


def _zarr(**options: Any) -> Callable[..., Path]:
    def written(folder: Path, frames: NDArray[Any]) -> Path:
        import zarr

        path = folder / "a.zarr"
        chunks = options.get("chunks", (2, *frames.shape[1:]))
        made = {**options, "chunks": chunks}
        array = zarr.create_array(path, shape=frames.shape, dtype=frames.dtype, **made)
        array[:] = frames
        return path

    return written


def _zarr_pieces(folder: Path, frames: NDArray[Any]) -> list[Piece]:
    """Chunk files are named by where their frames are."""
    pieces: list[Piece] = []
    root = folder / "a.zarr"
    for meta in root.rglob("*"):
        if meta.name not in (".zarray", "zarr.json"):
            continue
        said = json.loads(meta.read_text())
        if "shape" not in said:
            continue
        grid = said.get("chunk_grid", {}).get("configuration", {})
        depth = said["chunks"][0] if "chunks" in said else grid["chunk_shape"][0]
        for path in meta.parent.rglob("*"):
            if path.is_file() and not path.name.startswith((".z", "zarr.json")):
                name = path.relative_to(meta.parent).as_posix().removeprefix("c/")
                first = int(name.replace(".", "/").split("/")[0]) * depth
                pieces += [
                    Piece(frame, path.relative_to(folder).as_posix(), 0, path.stat().st_size)
                    for frame in range(first, min(len(frames), first + depth))
                ]
    return pieces


def _ome_zarr(version: str) -> Callable[..., Path]:
    def written(folder: Path, frames: NDArray[Any]) -> Path:
        import zarr

        path = folder / "a.ome.zarr"
        root = zarr.open_group(path, mode="w", zarr_format=3 if version == "0.5" else 2)
        shape = (len(frames), 1, *frames.shape[1:])
        root.create_array("0", data=frames.reshape(shape), chunks=(1, 1, *frames.shape[1:]))
        axes = [
            {"name": "t", "type": "time", "unit": "millisecond"},
            {"name": "c", "type": "channel"},
            {"name": "y", "type": "space", "unit": "micrometer"},
            {"name": "x", "type": "space", "unit": "micrometer"},
        ]
        scale = [{"type": "scale", "scale": [20.0, 1.0, 19.5, 19.5]}]
        image = {
            "axes": axes,
            "datasets": [{"path": "0", "coordinateTransformations": scale}],
        }
        if version == "0.5":
            root.attrs["ome"] = {"version": version, "multiscales": [image]}
        else:
            root.attrs["multiscales"] = [{**image, "version": version}]
        return path

    return written


_H5 = {"needs": ("h5py",)}
_ZARR = {"needs": ("zarr",), "separate": True}
_WHOLE = (2, 33, 67)


def _codecs() -> dict[str, dict[str, Any]]:
    return {
        "Zarr 2": {"zarr_format": 2},
        "Zarr 2, tiles": {"zarr_format": 2, "chunks": (4, 20, 30)},
        "Zarr 3": {"zarr_format": 3},
        "Zarr 3, tiles": {"zarr_format": 3, "chunks": (4, 20, 30)},
    }


KINDS: tuple[Kind, ...] = (
    Kind("HDF5", "HDF5", _hdf5(), **_H5),
    Kind("HDF5, float", "HDF5", _hdf5(), "float32", **_H5),
    Kind("HDF5, int32", "HDF5", _hdf5(), "int32", **_H5),
    Kind("HDF5, chunks", "HDF5", _hdf5(chunks=_WHOLE), **_H5),
    Kind("HDF5, gzip", "HDF5", _hdf5(chunks=_WHOLE, compression="gzip"),
         pieces=_hdf5_pieces, **_H5),
    Kind("HDF5, gzip in tiles", "HDF5",
         _hdf5(chunks=(4, 17, 20), compression="gzip", shuffle=True), pieces=_hdf5_pieces, **_H5),
    Kind("HDF5, lzf", "HDF5", _hdf5(chunks=_WHOLE, compression="lzf"),
         pieces=_hdf5_pieces, **_H5),
    Kind("HDF5, checksum", "HDF5",
         _hdf5(chunks=_WHOLE, compression="gzip", fletcher32=True), pieces=_hdf5_pieces, **_H5),
    Kind("HDF5, latest", "HDF5", _hdf5_latest, pieces=_hdf5_pieces, **_H5),
    Kind("NWB", "HDF5", _nwb(), needs=("h5py", "pynwb"), pieces=lambda d, f: []),
    Kind("NWB, gzip", "HDF5", _nwb(chunks=(2, 67, 33), compression="gzip"),
         needs=("h5py", "pynwb"), pieces=lambda d, f: []),
    *(
        Kind(name, "Zarr", _zarr(**options), pieces=_zarr_pieces, **_ZARR)
        for name, options in _codecs().items()
    ),
    Kind("Zarr 2, plain", "Zarr", _zarr(zarr_format=2, compressors=None), **_ZARR),
    Kind("Zarr 3, plain", "Zarr", _zarr(zarr_format=3, compressors=None), **_ZARR),
    Kind("Zarr 3, float", "Zarr", _zarr(zarr_format=3, compressors=None), "float64", **_ZARR),
    Kind("Zarr 3, shards", "Zarr", _zarr(zarr_format=3, shards=(4, 33, 67)),
         pieces=lambda d, f: [], **_ZARR),
    Kind("Zarr 3, plain shards", "Zarr",
         _zarr(zarr_format=3, shards=(4, 33, 67), compressors=None), **_ZARR),
    Kind("OME-Zarr 0.4", "Zarr", _ome_zarr("0.4"), pieces=lambda d, f: [], **_ZARR),
    Kind("OME-Zarr 0.5", "Zarr", _ome_zarr("0.5"), pieces=lambda d, f: [], **_ZARR),
)  # fmt: skip
