"""Exported graphs, ready to run: one session of ONNX Runtime for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from .. import arguments
from ..errors import ReadError, warn
from .extras import needed
from .manifest import CONSTANTS, GRAPHS, MOVES, Manifest, read_manifest

Device = Literal["auto", "cpu", "cuda"]

#: What the runtime says when there is no memory.
_MEMORY = (
    "allocate memory",
    "out of memory",
    "bad_alloc",
    "bad allocation",
    "smaller than requested",
)

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
        the prompt on pixels where there is none; ``no_points`` (1, 2, 256): tokens of no points;
        ``no_pointer`` (256,): the pointer to an object that is not in a map.

    Raises
    ------
    ReadError
        If the folder is no model, or anything in it was changed.
    ImportError
        If ONNX Runtime is missing.
    RuntimeError
        If `device` is "cuda" and no GPU can be used.
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
        self._sessions: dict[str, Any] = {}
        self.device = self._choose(device)

    @property
    def providers(self) -> tuple[str, ...]:
        """What all sessions so far say that they run on, the first choice first."""
        found = (name for session in self._sessions.values() for name in session.get_providers())
        return tuple(dict.fromkeys(found))

    @property
    def runtime_version(self) -> str:
        """Version of ONNX Runtime."""
        return str(self._runtime.__version__)

    def run(self, name: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run a graph of `GRAPHS` on arrays; return its outputs by their names."""
        return {key: value.numpy() for key, value in self.bound(name, inputs).items()}

    def place(self, array: NDArray[Any]) -> Any:
        """Return an array as an OrtValue on the device; on the CPU the two share their memory."""
        with _short_of_memory():
            return self._runtime.OrtValue.ortvalue_from_numpy(array, self.device, 0)

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
        dict of OrtValue
        """
        session = self.session(name)
        binding = session.io_binding()
        for key, value in inputs.items():
            if isinstance(value, np.ndarray):
                binding.bind_cpu_input(key, np.ascontiguousarray(value))
            else:
                binding.bind_ortvalue_input(key, value)
        outputs = list(GRAPHS[name].outputs) if name in GRAPHS else [MOVES[name]]
        for key in outputs:
            if into and key in into:
                binding.bind_ortvalue_output(key, into[key])
            else:
                binding.bind_output(key, self.device, 0)
        with _short_of_memory():
            binding.synchronize_inputs()
            session.run_with_iobinding(binding)
            binding.synchronize_outputs()
        return dict(zip(outputs, binding.get_outputs(), strict=True))

    def session(self, name: str) -> Any:
        """Return the session of a graph, which is made when it is first wanted."""
        if name not in self._sessions:
            session = self._open(name, [_CPU] if self.device == "cpu" else _gpu())
            if self.device == "cuda" and _CUDA not in session.get_providers():
                raise RuntimeError(
                    f"ONNX Runtime ran other graphs on the GPU, but not {name}: it offers only "
                    f"{', '.join(session.get_providers())}; take device='cpu'"
                )
            self._sessions[name] = session
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
        if name == "image_encoder" and self.manifest.image_size > 512:
            # its arena would keep 0.7 GiB at 1024 pixels, beside those of the other graphs
            options.enable_cpu_mem_arena = False
        path = self._folder / f"{name}.onnx"
        try:
            return self._runtime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # the runtime has error classes of its own for everything
            raise ReadError(f"ONNX Runtime cannot load it: {error}", path) from error

    def _read_constants(self) -> dict[str, NDArray[np.float32]]:
        with np.load(self._folder / CONSTANTS, allow_pickle=False) as arrays:
            return dict(arrays)


def _gpu() -> list[Any]:
    # TF32 would round float32 products to 10 bits; by default arenas double when they grow
    options = {"use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"}
    return [(_CUDA, options), _CPU]


@contextmanager
def _short_of_memory() -> Iterator[None]:
    """Turn the runtime's errors about memory into MemoryError."""
    try:
        yield
    except Exception as error:  # the runtime has error classes of its own for everything
        text = str(error).lower()
        if any(sign in text for sign in _MEMORY):
            raise MemoryError(" ".join(str(error).split())[:300]) from error
        raise
