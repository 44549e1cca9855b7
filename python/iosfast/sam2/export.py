"""The export of SAM 2: a checkpoint to a folder of ONNX graphs that need neither torch nor sam2."""

from __future__ import annotations

import logging
import platform
import warnings
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from os import PathLike
from pathlib import Path
from typing import Any, get_args

import numpy as np

from .. import __version__, arguments
from ..errors import WriteError, warn
from ..staging import Staging, write_error
from .checkpoint import build_predictor
from .extras import needed
from .fetch import OFFICIAL
from .manifest import CONSTANTS, GRAPHS, MANIFEST, MOVES, FileRecord, Manifest, Precision
from .model import Model

#: Version of ONNX's operators: the first with LayerNormalization.
_OPSET = 17
#: Graphs with operators that are not ONNX's own.
_FUSED = ("image_encoder", "memory_attention", "memory_attention_padded")
_LIBRARIES = ("torch", "onnx", "onnxruntime", "onnxruntime-gpu", "numpy")
#: Graphs whose products with weights are 8 bits wide in int8: where the time goes.
_QUANTIZED = ("image_encoder", "memory_attention", "memory_attention_padded")


def export(
    checkpoint: str | PathLike[str],
    out: str | PathLike[str],
    *,
    image_size: int = 1024,
    precision: Precision = "fp32",
    threads: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Manifest:
    """Export SAM 2.1 tiny for video to ONNX, and compare each graph with sam2 before it is done.

    Parameters
    ----------
    checkpoint : path
        ``sam2.1_hiera_tiny.pt``; see `fetch`.
    out : path
        The folder to make; it appears when it is complete.
    image_size : int
        Side of the image that the model sees, in its pixels: 1024, for which it was trained, or
        512, which takes a quarter to a tenth of the time. Any multiple of 64 from 128 to 2048
        works.
    precision : {"fp32", "fp16", "int8"}
        Of the weights: float32; float16, for GPUs; 8-bit integers in the image encoder and memory
        attention, for CPUs.
    threads : int
        Of the CPU, for the comparison; 0 for one per core.
    progress : callable, optional
        Called with a line of text at each step.

    Returns
    -------
    Manifest

    Raises
    ------
    ReadError
        If the file is not that checkpoint.
    WriteError
        If the folder exists or cannot be written.
    ArithmeticError
        If a graph does not give what sam2 gives; nothing is left in `out` then.
    ImportError
        If the libraries of the extra ``export``, and ``cpu`` or ``gpu``, are missing.
    """
    size = arguments.integer("image_size", image_size, 128, 2048)
    if size % 64:
        raise ValueError(f"image_size must be a multiple of 64, such as 1024 or 512, not {size}")
    arguments.choice("precision", precision, get_args(Precision))
    arguments.threads(threads)
    place = Path(out)
    if (place / MANIFEST).exists():
        raise WriteError(f"{place}: holds an exported model already; choose another folder")
    purpose = "the export of SAM 2"
    for module in ("torch", "onnx", "onnxruntime"):
        needed(module, purpose)
    say = progress or (lambda line: None)
    say(f"reading {checkpoint}")
    predictor = build_predictor(checkpoint, size)
    source = FileRecord.of(Path(checkpoint))
    if source != OFFICIAL:
        warn(f"{checkpoint} is not the official checkpoint, but weights of the same model")
    with Staging(place, overwrite=False) as staging:
        try:
            say("writing graphs")
            _write_graphs(predictor, staging.work, precision)
            names = sorted(path.name for path in staging.work.iterdir())
            say("hashing")
            manifest = Manifest(
                image_size=size,
                precision=precision,
                checkpoint=source,
                files={name: FileRecord.of(staging.work / name) for name in names},
                differences={},
                versions=_versions(),
            )
            manifest.write(staging.work)
            model = Model(staging.work, device="cpu", threads=threads)
            manifest = replace(manifest, differences=_verified(predictor, model, say))
            manifest.write(staging.work)
        except OSError as error:
            raise write_error(staging.out, error) from error
        staging.finish()
    say(f"done: {place}")
    return manifest


def _verified(predictor: Any, model: Model, say: Callable[[str], None]) -> dict[str, float]:
    from .verify import cases, compare, refusal

    say("comparing with sam2")
    differences = compare(cases(predictor), model)
    for name, difference in differences.items():
        say(f"  {name}: {difference:.1e}")
    problem = refusal(differences, model.manifest.precision)
    if problem:
        raise ArithmeticError(f"{problem}; nothing was left in the place of the model")
    return differences


def _write_graphs(predictor: Any, folder: Path, precision: Precision) -> None:
    import torch

    from . import graphs
    from .fused_operators import DOMAIN, DOMAIN_VERSION
    from .memory_attention import MemoryAttention

    attention = MemoryAttention(predictor)
    modules = {
        "image_encoder": graphs.ImageEncoder(predictor),
        "memory_attention": attention,
        "memory_attention_padded": attention,
        "point_prompt": graphs.PointPrompt(predictor),
        "logit_prompt": graphs.LogitPrompt(predictor),
        "mask_prompt": graphs.MaskPrompt(predictor),
        "mask_decoder": graphs.MaskDecoder(predictor),
        "memory_encoder": graphs.MemoryEncoder(predictor),
    }
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer, on shapes that are meant to be constant
        for name, graph in GRAPHS.items():
            torch.onnx.export(
                modules[name].eval(),
                tuple(torch.from_numpy(value) for value in example(name, predictor).values()),
                str(folder / f"{name}.onnx"),
                input_names=list(graph.inputs),
                output_names=list(graph.outputs),
                dynamic_axes=graph.dynamic_axes(),
                opset_version=_OPSET,
                custom_opsets={DOMAIN: DOMAIN_VERSION} if name in _FUSED else None,
                dynamo=False,
            )
            _narrow(folder / f"{name}.onnx", name, precision)
        tokens = predictor.sam_prompt_encoder._embed_points(
            torch.zeros(1, 1, 2), -torch.ones(1, 1), pad=True
        )
    _write_moves(folder)
    np.savez(
        folder / CONSTANTS,
        no_memory=predictor.no_mem_embed.numpy().reshape(-1),
        no_mask=predictor.sam_prompt_encoder.no_mask_embed.weight.numpy().reshape(-1),
        no_points=tokens.numpy(),
        no_pointer=predictor.no_obj_ptr.numpy().reshape(-1),
    )


def _write_moves(folder: Path) -> None:
    """Write `MOVES`, which take values of any shape."""
    import onnx
    from onnx import TensorProto, helper

    nodes = {
        "take": helper.make_node("Gather", ["values", "rows"], [MOVES["take"]], axis=0),
        "put": helper.make_node("ScatterND", ["pool", "rows", "values"], [MOVES["put"]]),
    }
    for name, node in nodes.items():
        kinds = dict.fromkeys((*node.input, *node.output), TensorProto.FLOAT)
        kinds["rows"] = TensorProto.INT64
        graph = helper.make_graph(
            [node],
            name,
            [helper.make_tensor_value_info(key, kinds[key], None) for key in node.input],
            [helper.make_tensor_value_info(key, kinds[key], None) for key in node.output],
        )
        opset = helper.make_opsetid("", _OPSET)
        onnx.save(
            helper.make_model(graph, opset_imports=[opset], ir_version=8), folder / f"{name}.onnx"
        )


def example(name: str, predictor: Any) -> dict[str, Any]:
    """Return inputs of a graph, of two rows and sizes that differ from each other."""
    side = predictor.image_size // 16
    sizes = {"N": 2, "B": 2, "K": 3, "T": 4, "P": 5, "D": 2, "E": side, "F": side}
    sizes |= {"s": 16 * side, "h": side, "hh": side**2, "2h": 2 * side, "4h": 4 * side}
    random = np.random.default_rng(0)
    made: dict[str, Any] = {}
    for key, axes in GRAPHS[name].inputs.items():
        shape = [sizes[axis] if axis in sizes else int(axis) for axis in axes.split()]
        if key == "images":
            made[key] = random.integers(0, 256, shape, np.uint8)
        elif key == "ages":
            made[key] = random.integers(0, 7, shape, np.int64)
        elif key in ("several", "prompted", "memory_counts", "pointer_counts"):
            made[key] = np.ones(shape, bool)
        else:
            made[key] = random.standard_normal(shape, np.float32)
    return made


def _narrow(path: Path, name: str, precision: Precision) -> None:
    """Make the weights of a graph narrower, in its place."""
    if precision == "fp16":
        import onnx
        from onnxruntime.transformers.float16 import convert_float_to_float16

        graph = convert_float_to_float16(onnx.load(path), keep_io_types=True)
        onnx.save(graph, path)
    elif precision == "int8" and name in _QUANTIZED:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        wide = path.rename(path.with_suffix(".wide"))
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)  # it advises to shrink graphs first, which are small
        try:
            quantize_dynamic(
                wide,
                path,
                op_types_to_quantize=["MatMul"],
                weight_type=QuantType.QInt8,
                per_channel=True,
            )
        finally:
            logging.disable(before)
        wide.unlink()


def _versions() -> dict[str, str]:
    found = {"iosfast": __version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
