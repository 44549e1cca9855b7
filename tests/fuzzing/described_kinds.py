"""Micro-Manager's files, and raw files that something describes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from micromanager_files import write_micromanager
from numpy.typing import NDArray

from .kind import Kind


def _micromanager(folder: Path, frames: NDArray[Any]) -> Path:
    times = [20.0 * i for i in range(len(frames))]
    paths: list[Path] = write_micromanager(folder, frames, 4, times_ms=times)
    return paths[0]


def _sidecar(folder: Path, frames: NDArray[Any]) -> Path:
    frames.tofile(folder / "a.raw")
    told = {"shape": list(frames.shape), "dtype": "<u2", "frame_rate_hz": 50}
    (folder / "a.json").write_text(json.dumps(told))
    return folder / "a.raw"


def _wfield(folder: Path, frames: NDArray[Any]) -> Path:
    _, height, width = frames.shape
    path = folder / f"frames_2_{height}_{width}_uint16.dat"
    frames.tofile(path)
    return path


KINDS: tuple[Kind, ...] = (
    Kind("Micro-Manager", "TIFF", _micromanager),
    Kind("raw with a sidecar", "raw", _sidecar),
    Kind("wfield", "raw", _wfield, counted=False),
)
