"""Packages of the extra ``batch``, imported where they are used."""

from __future__ import annotations

import importlib
from typing import Any


def needed(module: str) -> Any:
    """Import a module of the extra, or raise ImportError that names the extra."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"batch needs {module}; install it with: pip install 'iosfast[batch]'"
        ) from error
