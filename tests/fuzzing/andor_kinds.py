"""Files of Andor Solis: .sif files and spool folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from andor_files import sif_bytes, write_spool
from numpy.typing import NDArray

from .kind import Kind


def _sif(**options: Any) -> Callable[..., Path]:
    def written(folder: Path, frames: NDArray[Any]) -> Path:
        (folder / "a.sif").write_bytes(sif_bytes(frames, **options))
        return folder / "a.sif"

    return written


def _sif_series(folder: Path, frames: NDArray[Any]) -> Path:
    for number, first in enumerate(range(0, len(frames), 2)):
        name = f"a{f'_X{number + 1}' if number else ''}.sif"
        (folder / name).write_bytes(sif_bytes(frames[first : first + 2]))
    return folder


def _spool(encoding: str, **options: Any) -> Callable[..., Path]:
    def written(folder: Path, frames: NDArray[Any]) -> Path:
        write_spool(folder / "spool", frames, encoding, **options)
        return folder / "spool"

    return written


_STAMPS = np.arange(6) * 20_000
_SIF = {"dtype": "float32"}

KINDS: tuple[Kind, ...] = (
    Kind(".sif", "Andor .sif", _sif(), **_SIF),
    Kind(".sif with stamps", "Andor .sif", _sif(stamps_us=_STAMPS), **_SIF),
    Kind("folder of .sif", "Andor .sif", _sif_series, separate=True, **_SIF),
    Kind("spool, Mono16", "Andor spool", _spool("Mono16"), separate=True),
    Kind("spool, padded rows", "Andor spool", _spool("Mono16", row_padding=6), separate=True),
    Kind("spool, Mono32", "Andor spool", _spool("Mono32"), "uint32", separate=True),
    Kind(
        "spool, two per file",
        "Andor spool",
        _spool("Mono16", per_file=2, ticks=np.arange(6) * 800_000),
        separate=True,
    ),
    Kind("spool, no .sifx", "Andor spool", _spool("Mono16", sifx=False), counted=False,
         separate=True),
)  # fmt: skip
