"""Checks of arguments: each error names the argument, what was expected and what came."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np


def number(
    name: str, value: Any, low: float = -math.inf, high: float = math.inf, *, above: bool = False
) -> float:
    """Return a finite real number in [low, high], or in (low, high] if `above`."""
    try:
        if isinstance(value, bool | np.bool_ | str | bytes):
            raise TypeError
        checked = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, not {value!r}") from None
    if not math.isfinite(checked):
        raise ValueError(f"{name} must be finite, not {value!r}")
    if checked < low or checked > high or (above and checked == low):
        most = "" if high == math.inf else f" and at most {high:g}"
        least = "above" if above else "at least"
        raise ValueError(f"{name} must be {least} {low:g}{most}, not {value!r}")
    return checked


def positive(name: str, value: Any) -> float | None:
    """Return a finite number above 0, or None as it is."""
    return None if value is None else number(name, value, 0, above=True)


def integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    """Return a whole number in [low, high]."""
    try:
        if isinstance(value, bool):
            raise TypeError
        checked = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, not {value!r}") from None
    if checked < low or (high is not None and checked > high):
        most = "" if high is None else f" and at most {high}"
        raise ValueError(f"{name} must be at least {low}{most}, not {value!r}")
    return checked


def choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Raise ValueError unless the value is one of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}")


def pair(name: str, value: Any) -> tuple[float, float]:
    """Return two finite numbers."""
    first, second = _two(name, value, "a pair of numbers")
    return number(name, first), number(name, second)


def image_shape(name: str, value: Any) -> tuple[int, int]:
    """Return (Y, X) as two whole numbers of at least 1."""
    height, width = _two(name, value, "(Y, X)")
    return integer(name, height, 1), integer(name, width, 1)


def _two(name: str, value: Any, what: str) -> tuple[Any, Any]:
    try:
        items = tuple(value)
    except TypeError:
        raise TypeError(f"{name} must be {what}, not {value!r}") from None
    if len(items) != 2:
        raise ValueError(f"{name} must be {what}, not {value!r}")
    return items


def threads(value: Any) -> int:
    """Return a number of threads, 0 for one per core."""
    return integer("threads", value, 0, 1024)
