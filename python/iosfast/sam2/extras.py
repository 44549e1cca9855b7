"""Libraries of extras, which are imported where they are used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_EXTRAS = {"onnxruntime": ("cpu", "gpu"), "huggingface_hub": ("export",), "openvino": ("openvino",)}


#: Not in an extra: PyPI has its source only, which would ask for torchvision and compile for CUDA.
_OFFICIAL = {
    "sam2": "SAM2_BUILD_CUDA=0 pip install --no-deps --no-build-isolation sam2==1.1.0, after pip "
    "install 'iosfast[export]'"
}


def needed(module: str, purpose: str) -> Any:
    """Import a library, or tell which extra it comes with."""
    try:
        return import_module(module)
    except ImportError as error:
        extras = [f"pip install 'iosfast[{name}]'" for name in _EXTRAS.get(module, ("export",))]
        way = _OFFICIAL.get(module.partition(".")[0], " or ".join(extras))
        raise ImportError(
            f"{purpose} needs {module}, which cannot be imported ({error}); install it with {way}"
        ) from error
