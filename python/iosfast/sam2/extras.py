"""Libraries of extras, which are imported where they are used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_EXTRAS = {"onnxruntime": ("cpu", "gpu"), "huggingface_hub": ("export",)}


def needed(module: str, purpose: str) -> Any:
    """Import a library, or tell which extra it comes with."""
    try:
        return import_module(module)
    except ImportError as error:
        extras = [f"pip install 'iosfast[{name}]'" for name in _EXTRAS.get(module, ("export",))]
        raise ImportError(
            f"{purpose} needs {module}, which cannot be imported ({error}); "
            f"install it with {' or '.join(extras)}"
        ) from error
