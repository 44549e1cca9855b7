"""What runs a graph: ONNX Runtime, or OpenVINO in its place, seen in one way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import DeviceError, ReadError
from .extras import needed

CPU, CUDA, OPENVINO = "CPUExecutionProvider", "CUDAExecutionProvider", "OpenVINO"

#: What runtimes say when there is no memory.
_MEMORY = (
    "allocate memory",
    "out of memory",
    "bad_alloc",
    "bad allocation",
    "smaller than requested",
)


class Session(Protocol):
    """A graph that is ready to run."""

    @property
    def providers(self) -> tuple[str, ...]:
        """What it says that it runs on, the first choice first."""

    def run(
        self, inputs: Mapping[str, Any], outputs: Sequence[str], into: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Run it on arrays or OrtValues; see `Model.bound`."""


class OnnxRuntime:
    """A graph in ONNX Runtime.

    Parameters
    ----------
    runtime : module
    path : Path
    device : {"cpu", "cuda"}
    threads : int
        0 for one per core.
    """

    def __init__(self, runtime: Any, path: Path, *, device: str, threads: int) -> None:
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._device = device
        try:
            self._session = runtime.InferenceSession(
                str(path), options, providers=[CPU] if device == "cpu" else _gpu()
            )
        except Exception as error:  # the runtime has error classes of its own for everything
            raise ReadError(f"ONNX Runtime cannot load it: {error}", path) from error

    @property
    def providers(self) -> tuple[str, ...]:
        """See `Session`."""
        return tuple(self._session.get_providers())

    def run(
        self, inputs: Mapping[str, Any], outputs: Sequence[str], into: Mapping[str, Any]
    ) -> dict[str, Any]:
        """See `Session`."""
        binding = self._session.io_binding()
        for key, value in inputs.items():
            if isinstance(value, np.ndarray):
                binding.bind_cpu_input(key, np.ascontiguousarray(value))
            else:
                binding.bind_ortvalue_input(key, value)
        for key in outputs:
            if key in into:
                binding.bind_ortvalue_output(key, into[key])
            else:
                binding.bind_output(key, self._device, 0)
        with short_of_memory():
            binding.synchronize_inputs()
            self._session.run_with_iobinding(binding)
            binding.synchronize_outputs()
        return dict(zip(outputs, binding.get_outputs(), strict=True))


class OpenVino:
    """A graph on the CPU in OpenVINO, which gives arrays.

    Parameters
    ----------
    path : Path
    bfloat16 : bool
        Whether products of matrices are of bfloat16.
    threads : int
        0 for one per core.

    Raises
    ------
    DeviceError
        If the CPU cannot compute in bfloat16.
    """

    def __init__(self, path: Path, *, bfloat16: bool, threads: int) -> None:
        openvino = needed("openvino", "running SAM 2 with OpenVINO")
        core = openvino.Core()
        if bfloat16 and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            name = core.get_property("CPU", "FULL_DEVICE_NAME")
            raise DeviceError(
                f"device is 'openvino-bf16', but this CPU ({name}) does not compute in bfloat16; "
                "take device='openvino' or 'cpu'"
            )
        options = {
            "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        }
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        try:
            self._graph = core.compile_model(str(path), "CPU", options)
        except Exception as error:  # it raises RuntimeError and others for everything
            raise ReadError(f"OpenVINO cannot load it: {error}", path) from error
        self._version = openvino.__version__.partition("-")[0]
        self._request = self._graph.create_infer_request()

    @property
    def providers(self) -> tuple[str, ...]:
        """See `Session`."""
        (device,) = self._graph.get_property("EXECUTION_DEVICES")
        kind = self._graph.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        return (f"{OPENVINO} {self._version} on the {device} in {kind}",)

    def run(
        self, inputs: Mapping[str, Any], outputs: Sequence[str], into: Mapping[str, Any]
    ) -> dict[str, Any]:
        """See `Session`; nothing can be written into given values."""
        assert not into
        arrays = {key: host(value) for key, value in inputs.items()}
        with short_of_memory():
            self._request.infer(arrays, share_inputs=True)
        # the request writes the next results over these
        return {key: self._request.get_tensor(key).data.copy() for key in outputs}


def host(value: Any) -> NDArray[Any]:
    """Return an OrtValue as an array."""
    return value if isinstance(value, np.ndarray) else value.numpy()


def _gpu() -> list[Any]:
    # TF32 would round float32 products to 10 bits; by default arenas double when they grow
    options = {"use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"}
    return [(CUDA, options), CPU]


@contextmanager
def short_of_memory() -> Iterator[None]:
    """Turn the runtimes' errors about memory into MemoryError."""
    try:
        yield
    except Exception as error:  # the runtimes have error classes of their own for everything
        text = str(error).lower()
        if any(sign in text for sign in _MEMORY):
            raise MemoryError(" ".join(str(error).split())[:300]) from error
        raise
