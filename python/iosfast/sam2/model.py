"""Exported graphs, ready to run: one session of ONNX Runtime for each."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .. import arguments
from ..errors import ReadError, warn
from .extras import needed
from .manifest import CONSTANTS, GRAPHS, Manifest, read_manifest

Device = Literal["auto", "cpu", "cuda"]

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


class Model:
    """SAM 2, exported by `export`.

    Parameters
    ----------
    folder : path
        What `export` has made; all hashes are checked.
    device : {"auto", "cpu", "cuda"}
        Where to run. "auto" takes a GPU where ONNX Runtime can use one, and warns if it is made
        for GPUs but cannot.
    threads : int
        Of the CPU; 0 for one per core.

    Attributes
    ----------
    manifest : Manifest
    device : {"cpu", "cuda"}
        Where it really runs, by what the sessions say.
    constants : dict of ndarray of float32
        ``no_memory`` (256,): added to features where there are no memories; ``no_mask`` (256,):
        the prompt on pixels where there is none; ``no_points`` (1, 2, 256): tokens of no points.

    Raises
    ------
    ReadError
        If the folder is no model, or anything in it was changed.
    ImportError
        If ONNX Runtime is missing.
    RuntimeError
        If `device` is "cuda" and no GPU can be used.
    """

    def __init__(
        self, folder: str | PathLike[str], *, device: Device = "auto", threads: int = 0
    ) -> None:
        arguments.choice("device", device, get_args(Device))
        self._threads = arguments.threads(threads)
        self._runtime = needed("onnxruntime", "running SAM 2")
        self._folder = Path(folder)
        self.manifest: Manifest = read_manifest(folder)
        self.constants = self._read_constants()
        self._sessions: dict[str, Any] = {}
        self.device = self._choose(device)

    def run(self, name: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run a graph of `GRAPHS` on arrays; return its outputs by their names."""
        outputs = list(GRAPHS[name].outputs)
        found = self.session(name).run(outputs, dict(inputs))
        return dict(zip(outputs, found, strict=True))

    def session(self, name: str) -> Any:
        """Return the session of a graph, which is made when it is first wanted."""
        if name not in self._sessions:
            self._sessions[name] = self._open(name, [_CPU] if self.device == "cpu" else _gpu())
        return self._sessions[name]

    def _choose(self, device: Device) -> Literal["cpu", "cuda"]:
        offered = _CUDA in self._runtime.get_available_providers()
        if device == "cpu" or (device == "auto" and not offered):
            return "cpu"
        if not offered:
            raise RuntimeError(
                "device is 'cuda', but the installed ONNX Runtime has no CUDA; install the extra "
                "gpu instead of cpu: pip uninstall onnxruntime; pip install 'iosfast[gpu]'"
            )
        session = self._open("point_prompt", _gpu())  # it lists CUDA also where there is none
        if _CUDA in session.get_providers():
            self._sessions["point_prompt"] = session
            return "cuda"
        reason = (
            "ONNX Runtime cannot use a GPU here (is there one, with CUDA 13 and cuDNN 9?); its "
            "messages above tell more"
        )
        if device == "cuda":
            raise RuntimeError(f"device is 'cuda', but {reason}")
        warn(f"{reason}; the model runs on the CPU, which is many times slower")
        return "cpu"

    def _open(self, name: str, providers: list[Any]) -> Any:
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 3
        path = self._folder / f"{name}.onnx"
        try:
            return self._runtime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # the runtime has error classes of its own for everything
            raise ReadError(f"ONNX Runtime cannot load it: {error}", path) from error

    def _read_constants(self) -> dict[str, NDArray[np.float32]]:
        with np.load(self._folder / CONSTANTS, allow_pickle=False) as arrays:
            return dict(arrays)


def _gpu() -> list[Any]:
    # TF32 would round float32 products to 10 bits
    return [(_CUDA, {"use_tf32": "0"}), _CPU]
