"""Tables as files: CSV and Parquet, made beside their place and renamed when all are complete."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from .errors import WriteError
from .staging import surely, write_error

if TYPE_CHECKING:
    import pandas as pd


def pandas() -> Any:
    """Return pandas, which is slow to import.

    Raises
    ------
    ImportError
        Naming the extra, if it is missing.
    """
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "tables need pandas; install it with: pip install 'iosfast[tables]'"
        ) from error
    return pandas


def write_tables(
    folder: Path, tables: Mapping[str, pd.DataFrame], *, parquet: bool, overwrite: bool
) -> list[Path]:
    """Write tables as ``<name>.csv``, and ``<name>.parquet`` if asked.

    Numbers in CSV are the shortest that read back the same; what cannot be told is empty.

    Raises
    ------
    WriteError
        If one cannot be written; what was written until then is removed.
    ImportError
        Without pyarrow, if Parquet is asked for.
    """
    if parquet:
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise ImportError(
                "Parquet needs pyarrow; install it with: pip install 'iosfast[parquet]'"
            ) from error
    endings = (".csv", ".parquet") if parquet else (".csv",)
    places = [folder / f"{name}{ending}" for name in tables for ending in endings]
    for place in places:
        if place.is_dir() or (os.path.lexists(place) and not overwrite):
            raise WriteError(f"{place}: exists already; choose another folder, or overwrite=True")
    tag = uuid4().hex[:8]
    partial = [place.with_name(f".{place.name}.partial-{tag}") for place in places]
    made = not folder.exists()
    try:
        folder.mkdir(exist_ok=True, parents=True)
        for place, work in zip(places, partial, strict=True):
            table = tables[place.stem]
            if place.suffix == ".csv":
                table.to_csv(work, index=False, lineterminator="\n", encoding="utf-8")
            else:
                table.to_parquet(work, index=False)
        for place, work in zip(places, partial, strict=True):
            work.replace(place)
    except BaseException as error:
        for work in partial:
            surely(lambda work=work: work.unlink(missing_ok=True))  # type: ignore[misc]
        if made:
            surely(folder.rmdir)
        if isinstance(error, OSError):
            raise write_error(folder, error) from error
        raise
    return places
