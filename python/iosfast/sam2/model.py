"""Exported graphs, ready to run: one session for each."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .. import arguments
from ..errors import DeviceError, warn
from .extras import needed
from .manifest import CONSTANTS, GRAPHS, MOVES, Manifest, read_manifest
from .sessions import CUDA, OnnxRuntime, OpenVino, Session, host, short_of_memory

Device = Literal["auto", "cpu", "cuda", "openvino", "openvino-bf16"]

#: Graphs that OpenVINO runs if it is asked for: nearly all of the time goes into them.
_HEAVY = ("image_encoder", "memory_attention", "memory_attention_padded")


class Model:
    """SAM 2, exported by `export`.

    Parameters
    ----------
    folder : path
        What `export` has made; all hashes are checked.
    device : {"auto", "cpu", "cuda", "openvino", "openvino-bf16"}
        Where to run. "auto" takes a GPU where ONNX Runtime can use one, and warns if it is made
        for GPUs but cannot; else the CPU. "openvino" runs the two graphs that take the time on
        the CPU with OpenVINO, "openvino-bf16" does so in bfloat16: several times faster where the
        CPU has instructions for it, with 8 bits of precision.
    threads : int
        Of the CPU; 0 for one per core.

    Attributes
    ----------
    manifest : Manifest
    device : {"cpu", "cuda", "openvino", "openvino-bf16"}
        Where it really runs, by what the sessions say.
    memory : {"cpu", "cuda"}
        Where values are.
    constants : dict of ndarray of float32
        ``no_memory`` (256,): added to features where there are no memories; ``no_mask`` (256,):
        the prompt on pixels where there is none; ``no_points`` (1, 2, 256): tokens of no points;
        ``no_pointer`` (256,): the pointer to an object that is not in a map.

    Raises
    ------
    ReadError
        If the folder is no model, or anything in it was changed.
    ImportError
        If ONNX Runtime is missing, or OpenVINO where it is asked for.
    DeviceError
        If `device` is "cuda" and no GPU can be used, or "openvino-bf16" and the CPU does not
        compute in bfloat16.
    MemoryError
        By `run` and `bound`, if the memory of the device does not suffice.
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
        self._sessions: dict[str, Session] = {}
        self.device = self._choose(device)
        self.memory: Literal["cpu", "cuda"] = "cuda" if self.device == "cuda" else "cpu"

    @property
    def providers(self) -> tuple[str, ...]:
        """What all sessions so far say that they run on, the first choice first."""
        found = (name for session in self._sessions.values() for name in session.providers)
        return tuple(dict.fromkeys(found))

    @property
    def runtime_version(self) -> str:
        """Version of ONNX Runtime."""
        return str(self._runtime.__version__)

    def run(self, name: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run a graph of `GRAPHS` on arrays; return its outputs by their names."""
        return {key: host(value) for key, value in self.bound(name, inputs).items()}

    def place(self, array: NDArray[Any]) -> Any:
        """Return an array as an OrtValue on the device; on the CPU the two share their memory."""
        with short_of_memory():
            return self._runtime.OrtValue.ortvalue_from_numpy(array, self.memory, 0)

    def bound(
        self, name: str, inputs: Mapping[str, Any], into: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Run a graph of `GRAPHS` or `MOVES` and leave what it gives on the device.

        Parameters
        ----------
        name : str
        inputs : dict of ndarray or OrtValue
        into : dict of OrtValue
            Where to write outputs, by their names; others are made. May be an input of `MOVES`.

        Returns
        -------
        dict of OrtValue or ndarray
        """
        outputs = list(GRAPHS[name].outputs) if name in GRAPHS else [MOVES[name]]
        return self.session(name).run(inputs, outputs, into or {})

    def session(self, name: str) -> Session:
        """Return the session of a graph, which is made when it is first wanted."""
        if name not in self._sessions:
            if self.device.startswith("openvino") and name in _HEAVY:
                self._sessions[name] = self._openvino(name, self.device)
                return self._sessions[name]
            session = self._open(name, self.memory)
            if self.memory == "cuda" and CUDA not in session.providers:
                raise DeviceError(
                    f"ONNX Runtime ran other graphs on the GPU, but not {name}: it offers only "
                    f"{', '.join(session.providers)}; take device='cpu'"
                )
            self._sessions[name] = session
        return self._sessions[name]

    def _choose(self, device: Device) -> Literal["cpu", "cuda", "openvino", "openvino-bf16"]:
        if device == "openvino" or device == "openvino-bf16":
            self._sessions["memory_attention"] = self._openvino("memory_attention", device)
            return device
        offered = CUDA in self._runtime.get_available_providers()
        if device == "cpu" or (device == "auto" and not offered):
            return "cpu"
        if not offered:
            raise DeviceError(
                "device is 'cuda', but the installed ONNX Runtime has no CUDA; install the extra "
                "gpu instead of cpu: pip uninstall onnxruntime; pip install 'iosfast[gpu]'"
            )
        session = self._open("point_prompt", "cuda")  # it lists CUDA also where there is none
        if CUDA in session.providers:
            self._sessions["point_prompt"] = session
            return "cuda"
        reason = (
            "ONNX Runtime cannot use a GPU here (is there one, with CUDA 13 and cuDNN 9?); its "
            "messages above tell more"
        )
        if device == "cuda":
            raise DeviceError(f"device is 'cuda', but {reason}")
        warn(f"{reason}; the model runs on the CPU, which is many times slower")
        return "cpu"

    def _open(self, name: str, memory: str) -> OnnxRuntime:
        path = self._folder / f"{name}.onnx"
        return OnnxRuntime(self._runtime, path, device=memory, threads=self._threads)

    def _openvino(self, name: str, device: str) -> OpenVino:
        bfloat16 = device == "openvino-bf16"
        path = self._folder / f"{name}.onnx"
        return OpenVino(path, bfloat16=bfloat16, threads=self._threads)

    def _read_constants(self) -> dict[str, NDArray[np.float32]]:
        with np.load(self._folder / CONSTANTS, allow_pickle=False) as arrays:
            return dict(arrays)
