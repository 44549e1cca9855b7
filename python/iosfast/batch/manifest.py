"""A manifest: recordings, and what holds for them, written by a person in YAML or TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Self

from ..errors import ReadError
from .settings import Settings

#: What tells of a recording itself, and not of how it is treated.
_ABOUT = ("path", "paths", "match", "name", "animal", "condition")


@dataclass(frozen=True)
class Entry:
    """One entry: which recordings it is for, and what it tells of them.

    Attributes
    ----------
    paths : tuple of Path
        A recording, or several files that are one; empty if `match` tells.
    match : str
        Pattern (``*``, ``?``) of the names of recordings that are found.
    """

    paths: tuple[Path, ...] = ()
    match: str = ""
    name: str = ""
    animal: str = ""
    condition: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    def is_for(self, name: str, paths: tuple[str, ...]) -> bool:
        """Tell whether it is for a recording."""
        if self.match:
            below = name.partition("/")[2]
            return any(fnmatch(text, self.match) for text in (name, below, paths[0]))
        return any(str(path) in paths for path in self.paths)


@dataclass(frozen=True)
class Manifest:
    """Entries in the order of the file; of several for one recording, later ones hold."""

    entries: tuple[Entry, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a manifest.

        It has ``recordings``, a list, and ``defaults``, options for all. Each recording has
        ``path``, or ``paths`` of files that are one recording (relative to the manifest), or
        ``match``, a pattern of names; ``name``, ``animal``, ``condition``; and options by the
        names that `Settings` has, of which ``recipe`` is a name or a mapping.

        Raises
        ------
        ReadError
            If it cannot be read, or tells what cannot be.
        """
        told = _load(path)
        if not isinstance(told, Mapping):
            raise ReadError("holds no mapping with the key recordings", path)
        if unknown := sorted(map(str, told.keys() - {"recordings", "defaults"})):
            raise ReadError(f"tells of {unknown[0]!r}; known are recordings and defaults", path)
        recordings = told.get("recordings") or []
        defaults = told.get("defaults") or {}
        if not isinstance(recordings, list) or not isinstance(defaults, Mapping):
            raise ReadError("recordings must be a list, and defaults a mapping", path)
        base = path.absolute().parent
        _check_options(defaults, base, "defaults", path)
        entries = tuple(
            _entry(each, base, f"recording {number}", path)
            for number, each in enumerate(recordings, 1)
        )
        return cls(entries, _placed(defaults, base))


def read_mapping(path: Path) -> Mapping[str, Any]:
    """Read a file that holds one mapping, such as the options of a recipe."""
    told = _load(path)
    if not isinstance(told, Mapping):
        raise ReadError("holds no mapping", path)
    return told


def _load(path: Path) -> Any:
    suffix = path.suffix.lower()
    if suffix not in (".toml", ".yaml", ".yml"):
        raise ReadError("must be a file in .toml, .yaml or .yml", path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is no text in UTF-8"
        raise ReadError(f"cannot be read: {reason}", path) from error
    import yaml

    try:
        return tomllib.loads(text) if suffix == ".toml" else yaml.safe_load(text)
    except (tomllib.TOMLDecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise ReadError(f"is damaged: {error}", path) from error


def _entry(told: Any, base: Path, where: str, path: Path) -> Entry:
    if not isinstance(told, Mapping):
        raise ReadError(f"{where} must be a mapping, not {told!r}", path)
    ways = [key for key in ("path", "paths", "match") if key in told]
    if len(ways) != 1:
        raise ReadError(f"{where} must have one of path, paths and match", path)
    given = told[ways[0]]
    given = given if isinstance(given, list) else [given]
    if not given or not all(isinstance(each, str) and each for each in given):
        raise ReadError(f"{where}: {ways[0]} must be a text, not {told[ways[0]]!r}", path)
    if ways[0] != "paths" and len(given) > 1:
        raise ReadError(f"{where}: {ways[0]} must be one text; paths joins several files", path)
    options = {str(k): v for k, v in told.items() if k not in _ABOUT}
    _check_options(options, base, where, path)
    name, animal, condition = (
        _text(told.get(key), f"{where}: {key}", path) for key in ("name", "animal", "condition")
    )
    if name and ways[0] == "match":
        raise ReadError(f"{where}: a name is for one recording, not for a pattern", path)
    options = _placed(options, base)
    if ways[0] == "match":
        return Entry((), given[0], name, animal, condition, options)
    paths = tuple(_absolute(base, each) for each in given)
    return Entry(paths, "", name, animal, condition, options)


def _absolute(base: Path, text: str) -> Path:
    import os

    return Path(os.path.abspath(base / Path(text).expanduser()))


def _text(value: Any, what: str, path: Path) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ReadError(f"{what} must be a text, not {value!r}", path)
    return str(value)


def _placed(options: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """Return options in which the mask is found from anywhere, and fractions are numbers."""
    placed = dict(options)
    if isinstance(placed.get("mask"), str):
        placed["mask"] = str(_absolute(base, placed["mask"]))
    size = placed.get("pixel_size_mm")
    if isinstance(size, str):
        top, _, bottom = size.partition("/")
        placed["pixel_size_mm"] = float(top) / float(bottom or 1)
    if placed.get("start_time") is not None:
        placed["start_time"] = str(placed["start_time"])  # YAML and TOML have times of their own
    return placed


def _check_options(options: Mapping[str, Any], base: Path, where: str, path: Path) -> None:
    try:
        Settings().changed(_placed(options, base))
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise ReadError(f"{where}: {error}", path) from error
