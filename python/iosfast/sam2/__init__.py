"""SAM 2 on ONNX Runtime: exported once from the official checkpoint, then without torch."""

from .export import export
from .fetch import fetch
from .manifest import Manifest
from .model import Model

__all__ = ["Manifest", "Model", "export", "fetch"]
