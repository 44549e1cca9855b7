"""Tables of episodes: CSV and Excel, with the published columns ``SFN`` and ``EFN``."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from .clips import IMAGE_ENDINGS, map_names
from .episodes import Episode, EpisodeWave, episodes_of
from .errors import ReadError
from .maps import Maps
from .staging import file_beside
from .wave_search import Found, Hemisphere

#: Names of the first and the last map; whatever else is in a published table is left alone.
FIRST, LAST = "SFN", "EFN"
COLUMNS = (
    "label",
    FIRST,
    LAST,
    "start_s",
    "end_s",
    "hemisphere",
    "confidence",
    "seed_map",
    "seed_x_px",
    "seed_y_px",
)
_SIDES = ("left", "right")


def read_episodes(path: str | PathLike[str], maps: Maps) -> list[Episode]:
    """Read the episodes that an operator noted; they hold as they are.

    Parameters
    ----------
    path : path
        CSV (comma, semicolon or tab) or Excel (``.xlsx``, extra ``excel``) with the columns
        ``SFN`` and ``EFN``: names of the first and the last map, as the published layout has
        them. One row for each wave; those that overlap in time make one episode. The other
        columns that `write_episodes` writes may be there, and any others.
    maps : Maps
        In which the episodes are.

    Returns
    -------
    list of Episode
        By time. The confidence is 1 where the table does not tell.

    Raises
    ------
    ReadError
        If the table cannot be read, has no rows or not these columns, or if a row names maps
        that there are not, or an end before its start. Tells the row.
    """
    if not isinstance(maps, Maps):
        raise TypeError(f"maps must be Maps, as preprocess and load return them, not {maps!r}")
    path = Path(path)
    rows = _excel_rows(path) if path.suffix.lower() == ".xlsx" else _csv_rows(path)
    names = map_names(maps.info)
    numbers = {name: number for number, name in enumerate(names)}
    columns: dict[str, int] | None = None
    waves: list[Found] = []
    for number, row in rows:
        texts = [_text(cell) for cell in row]
        if not any(texts):
            continue
        if columns is None:
            columns = _columns(texts, path)
            continue
        cells = {n: texts[at] for n, at in columns.items() if at < len(texts)}
        waves.append(_row(cells, numbers, names, f"row {number}", path))
    if columns is None:
        raise ReadError("is empty", path)
    if not waves:
        raise ReadError("holds no episode: there is no row below the names of the columns", path)
    labels = [wave.label for wave in waves]
    if not all(labels):
        waves = [replace(wave, label="") for wave in waves]
    elif len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise ReadError(f"has two rows with the label {twice}", path)
    return episodes_of(maps, waves)


def write_episodes(
    path: str | PathLike[str], episodes: Sequence[Episode], *, overwrite: bool = False
) -> Path:
    """Write a table of episodes, a row for each wave, which `read_episodes` reads again.

    Parameters
    ----------
    path : path
        ``.csv``, or ``.xlsx`` (extra ``excel``).
    episodes : sequence of Episode
    overwrite : bool
        Replace a file that is there.

    Returns
    -------
    Path

    Raises
    ------
    WriteError
        If the file is there already or cannot be written.
    ValueError
        If the ending is another one.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".xlsx"):
        raise ValueError(f"path must end with .csv or .xlsx, not {path.name!r}")
    if not all(isinstance(episode, Episode) for episode in episodes):
        raise TypeError("episodes must be a sequence of Episode")
    rows = [COLUMNS, *(_cells(wave) for episode in episodes for wave in episode.waves)]
    data = _excel_bytes(rows) if suffix == ".xlsx" else _csv_bytes(rows)
    with file_beside(path, overwrite=overwrite) as work:
        work.write_bytes(data)
    return path


def _cells(wave: EpisodeWave) -> tuple[Any, ...]:
    """Return a row of the table."""
    seed = ("", "", "") if wave.seed is None else (wave.seed[0], *wave.seed[1])
    side = wave.hemisphere or ""
    times_s = (wave.start_s, wave.end_s)
    return (wave.label, *wave.names, *times_s, side, wave.confidence, *seed)


def _csv_bytes(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _excel_bytes(rows: Sequence[Sequence[Any]]) -> bytes:
    book = _openpyxl().Workbook()
    sheet = book.active
    sheet.title = "episodes"
    for row in rows:
        sheet.append(list(row))
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def _csv_rows(path: Path) -> Iterator[tuple[int, Sequence[Any]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ReadError("is no text in UTF-8; save the table as CSV or .xlsx", path) from error
    except OSError as error:
        raise ReadError(f"cannot be read: {error.strerror or error}", path) from error
    head = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise ReadError(f"row {reader.line_num}: {error}", path) from error


def _excel_rows(path: Path) -> Iterator[tuple[int, Sequence[Any]]]:
    openpyxl = _openpyxl()
    try:
        book = openpyxl.load_workbook(io.BytesIO(path.read_bytes()), data_only=True)
        rows = list(book.worksheets[0].iter_rows(values_only=True))
    except OSError as error:
        raise ReadError(f"cannot be read: {error.strerror or error}", path) from error
    except Exception as error:  # what a library raises on a damaged file is open-ended
        raise ReadError(f"is damaged or no Excel file: {error}", path) from error
    yield from enumerate(rows, 1)


def _openpyxl() -> ModuleType:
    try:
        import openpyxl
    except ImportError as error:
        raise ImportError(
            "Excel tables need openpyxl; install it with: pip install 'iosfast[excel]', or save "
            "the table as CSV"
        ) from error
    return cast(ModuleType, openpyxl)


def _text(cell: Any) -> str:
    return "" if cell is None else str(cell).strip()


def _columns(texts: list[str], path: Path) -> dict[str, int]:
    """Return where the columns are."""
    known = {name.lower(): name for name in COLUMNS}
    columns: dict[str, int] = {}
    for at, text in enumerate(texts):
        name = known.get(text.lower())
        if name is not None and name in columns:
            raise ReadError(f"has two columns {name}", path)
        if name is not None:
            columns[name] = at
    missing = [name for name in (FIRST, LAST) if name not in columns]
    if missing:
        there = ", ".join(filter(None, texts))
        raise ReadError(f"has no column {' and no '.join(missing)}, but {there}", path)
    return columns


def _row(
    cells: dict[str, str],
    numbers: dict[str, int],
    names: tuple[str, ...],
    where: str,
    path: Path,
) -> Found:
    found = []
    for column in (FIRST, LAST):
        text = cells.get(column, "")
        if not text:
            raise ReadError(f"{where}: {column} is empty", path)
        stem = text
        for ending in IMAGE_ENDINGS:
            stem = stem[: -len(ending)] if stem.lower().endswith(ending) else stem
        if stem not in numbers:
            raise ReadError(
                f"{where}: {column} {text!r} is no map of these, which are {names[0]} to "
                f"{names[-1]}",
                path,
            )
        found.append(numbers[stem])
    start, end = found
    if end < start:
        raise ReadError(f"{where}: ends ({names[end]}) before it starts ({names[start]})", path)
    side = cells.get("hemisphere", "").lower() or None
    if side not in (*_SIDES, None):
        raise ReadError(f"{where}: hemisphere must be left, right or empty, not {side!r}", path)
    confidence = _number(cells, "confidence", where, path)
    if confidence is not None and not 0 <= confidence <= 1:
        raise ReadError(f"{where}: confidence must be 0 to 1, not {confidence:g}", path)
    parts = [_number(cells, name, where, path) for name in COLUMNS[-3:]]
    seed = None
    if None not in parts:
        at, x, y = cast(list[float], parts)
        if at != int(at) or not start <= at <= end:
            raise ReadError(f"{where}: seed_map must be a map of its own, not {at:g}", path)
        seed = (int(at), (x, y))
    return Found(
        start,
        end,
        hemisphere=cast("Hemisphere | None", side),
        confidence=1.0 if confidence is None else confidence,
        seed=seed,
        label=cells.get("label", ""),
    )


def _number(cells: dict[str, str], name: str, where: str, path: Path) -> float | None:
    text = cells.get(name, "")
    try:
        number = float(text) if text else None
        if number is not None and not abs(number) < float("inf"):
            raise ValueError
    except ValueError:
        raise ReadError(f"{where}: {name} must be a number, not {text!r}", path) from None
    return number
