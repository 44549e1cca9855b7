"""Exported graphs against sam2's own model, on seeded inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .manifest import MEMORIES, NO_OBJECT, POINTERS, STRIDE, Precision
from .model import Model

Arrays = dict[str, NDArray[Any]]
#: A graph's name, its inputs, and what sam2 gives.
Case = tuple[str, Arrays, Arrays]

#: The largest difference that is taken, see `Manifest.differences`.
BOUNDS: dict[Precision, float] = {"fp32": 5e-5, "fp16": 2e-2, "int8": 2e-1}


def compare(cases: Iterable[Case], model: Model) -> dict[str, float]:
    """Run graphs on what sam2 was run on; return the largest difference of each graph."""
    exact = model.manifest.precision == "fp32"
    largest: dict[str, float] = {}
    for name, inputs, expected in cases:
        found = model.run(name, inputs)
        for output, array in expected.items():
            difference = _difference(output, found[output], array, exact)
            if not difference <= largest.setdefault(name, difference):  # as for NaN
                largest[name] = difference
    return largest


def refusal(differences: dict[str, float], precision: Precision) -> str:
    """Tell which graph differs too much from sam2; an empty text if none does."""
    bound = BOUNDS[precision]
    # NaN is no number below the bound
    worst = [name for name, value in differences.items() if not value <= bound]
    if not worst:
        return ""
    name = max(worst, key=lambda name: differences[name])
    return f"the exported {name} differs by {differences[name]:.2g} from sam2 (bound {bound:g})"


def _difference(output: str, found: NDArray[Any], array: NDArray[Any], exact: bool) -> float:
    if found.shape != array.shape:
        return float("inf")
    apart = np.abs(found.astype(np.float64) - array)
    shown = array[array != NO_OBJECT].astype(np.float64)
    if output == "memory":  # what it was before it was rounded to bfloat16, half a step at most
        apart = np.maximum(apart - np.exp2(np.floor(np.log2(np.abs(array) + 1e-30)) - 8), 0)
    if exact:
        return float(apart.max() / max(1.0, np.abs(shown).max(initial=0)))
    return float(np.sqrt((apart**2).mean() / max(1.0, (shown**2).sum() / array.size)))


@torch.inference_mode()
def cases(predictor: Any) -> Iterator[Case]:
    """Yield inputs of all graphs and what sam2 gives, in batches of 1 and 3."""
    for rows in (1, 3):
        random = np.random.default_rng(rows)
        images = _smooth(random, (rows, predictor.image_size, predictor.image_size, 3))
        found = predictor.forward_image(_normalised(images))
        finest, finer, features = found["backbone_fpn"]
        flat, place = (
            x.flatten(2).permute(2, 0, 1) for x in (features, found["vision_pos_enc"][-1])
        )
        first = predictor.memory_attention.layers[0]
        pixels = first._forward_sa((flat + 0.1 * place).transpose(0, 1), None).numpy()
        arrays = {"features": features.numpy(), "finer": finer.numpy(), "finest": finest.numpy()}
        yield "image_encoder", {"images": images}, {**arrays, "pixels": pixels}
        yield from chain(
            _attention(predictor, flat, place, pixels, random),
            _decoding(predictor, arrays, random),
            _encoding(predictor, features, random),
        )


def _normalised(images: NDArray[np.uint8]) -> torch.Tensor:
    mean = np.array((0.485, 0.456, 0.406), np.float32)
    deviation = np.array((0.229, 0.224, 0.225), np.float32)
    scaled = ((images / 255.0).astype(np.float32) - mean) / deviation
    return torch.from_numpy(scaled.transpose(0, 3, 1, 2).copy())


def _smooth(random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    n, height, width, channels = shape
    small = random.integers(0, 256, (n, height // 16, width // 16, channels), np.uint8)
    return small.repeat(16, 1).repeat(16, 2)


def _attention(
    predictor: Any,
    flat: torch.Tensor,
    place: torch.Tensor,
    pixels: NDArray[np.float32],
    random: np.random.Generator,
) -> Iterator[Case]:
    """Yield memory attention with one memory, some, and full banks."""
    rows, side = flat.shape[1], predictor.image_size // STRIDE
    for at in (1, 3, POINTERS + 4) if rows == 1 else (3,):
        bank, inputs = _bank(predictor, at, rows, side, random)
        expected = predictor._prepare_memory_conditioned_features(
            at, False, [flat], [place], [(side, side)], bank, POINTERS + 8
        )
        inputs = {"pixels": pixels, **inputs}
        yield "memory_attention", inputs, {"conditioned": expected.numpy()}
        yield "memory_attention_padded", _padded(inputs, random), {"conditioned": expected.numpy()}


def _bank(
    predictor: Any, at: int, rows: int, side: int, random: np.random.Generator
) -> tuple[Any, Arrays]:
    """Return what is remembered at a map, as sam2 keeps it and as the graph takes it.

    The first map has the prompt.
    """
    memories = _rounded(random.standard_normal((at, rows, side**2, 64), np.float32))
    pointers = random.standard_normal((at, rows, 256), np.float32)
    place = predictor.memory_encoder.position_encoding(torch.zeros(rows, 1, side, side))
    outputs = [
        {
            "maskmem_features": torch.from_numpy(memories[i])
            .transpose(1, 2)
            .reshape(rows, 64, side, side),
            "maskmem_pos_enc": [place],
            "obj_ptr": torch.from_numpy(pointers[i]),
        }
        for i in range(at)
    ]
    bank = {
        "cond_frame_outputs": {0: outputs[0]},
        "non_cond_frame_outputs": dict(enumerate(outputs)),
    }
    del bank["non_cond_frame_outputs"][0]
    near = [at - ago for ago in range(1, MEMORIES) if at - ago > 0]
    far = [at - ago for ago in range(1, POINTERS) if at - ago > 0]
    ages = np.array([MEMORIES - 1, *(at - i - 1 for i in near)])
    times = np.array([at, *(at - i for i in far)], np.float32) / np.float32(POINTERS - 1)
    return bank, {
        "memories": memories[[0, *near]].swapaxes(0, 1),
        "ages": np.tile(ages, (rows, 1)),
        "pointers": pointers[[0, *far]].swapaxes(0, 1),
        "times": np.tile(times, (rows, 1)),
    }


def _padded(inputs: Arrays, random: np.random.Generator) -> Arrays:
    """Return the inputs with full banks, in which what is added does not count."""
    padded = dict(inputs)
    for kind, full, names in (
        ("memory", MEMORIES, ("memories", "ages")),
        ("pointer", POINTERS, ("pointers", "times")),
    ):
        rows, length = inputs[names[0]].shape[:2]
        for name in names:
            array = inputs[name]
            shape = (rows, full - length, *array.shape[2:])
            more = random.integers(0, MEMORIES, shape).astype(array.dtype)
            padded[name] = np.concatenate([array, more], axis=1)
        padded[f"{kind}_counts"] = np.tile(np.arange(full) < length, (rows, 1))
    return padded


def _rounded(array: NDArray[np.float32]) -> NDArray[np.float32]:
    rounded: NDArray[np.float32] = torch.from_numpy(array).to(torch.bfloat16).float().numpy()
    return rounded


def _decoding(predictor: Any, arrays: Arrays, random: np.random.Generator) -> Iterator[Case]:
    """Yield prompts, and the decoder for none, one and three points, without and with logits."""
    rows, _, side, _ = arrays["features"].shape
    size = predictor.image_size
    conditioned = torch.from_numpy(arrays["features"]) + predictor.no_mem_embed.reshape(1, -1, 1, 1)
    finer = [torch.from_numpy(arrays[name]) for name in ("finest", "finer")]
    logits = 10 * random.standard_normal((rows, 1, 4 * side, 4 * side), np.float32)
    dense = predictor.sam_prompt_encoder._embed_masks(torch.from_numpy(logits))
    yield "logit_prompt", {"logits": logits}, {"dense": dense.numpy()}
    mask = _smooth(random, (rows, size, size, 1)).transpose(0, 3, 1, 2) > 127
    mask = mask.astype(np.float32)
    given = torch.from_numpy(mask)
    shrunk = predictor._use_mask_as_output(conditioned, finer, given)[0].numpy()
    shown = {"prompt": predictor.mask_downsample(given).numpy(), "logits": shrunk}
    yield "mask_prompt", {"mask": mask}, shown
    no_mask = predictor.sam_prompt_encoder.no_mask_embed.weight[:, :, None, None]
    for count, previous in ((0, False), (1, False), (1, True), (3, False)):
        points = random.uniform(0, size, (rows, max(count, 1), 2)).astype(np.float32)
        labels = random.integers(0, 4, (rows, count)) if count else np.full((rows, 1), -1)
        labels = labels.astype(np.float32)
        coordinates, kinds = torch.from_numpy(points), torch.from_numpy(labels)
        tokens, _ = predictor.sam_prompt_encoder((coordinates, kinds), None, None)
        yield "point_prompt", {"points": points, "labels": labels}, {"tokens": tokens.numpy()}
        several = count <= 1
        out = predictor._forward_sam_heads(
            conditioned,
            {"point_coords": coordinates, "point_labels": kinds},
            torch.from_numpy(logits) if previous else None,
            finer,
            several,
        )
        inputs = {
            "conditioned": conditioned.numpy(),
            "finer": arrays["finer"],
            "finest": arrays["finest"],
            "tokens": tokens.numpy(),
            "dense": (dense if previous else no_mask).numpy(),
            "several": np.full(rows, several),
        }
        expected = {
            "logits": out[3].numpy(),
            "pointer": out[5].numpy(),
            "score": out[6].numpy(),
            "quality": out[2].amax(1, keepdim=True).numpy(),
        }
        yield "mask_decoder", inputs, expected


def _encoding(
    predictor: Any, features: torch.Tensor, random: np.random.Generator
) -> Iterator[Case]:
    """Yield the memory encoder on rows with and without an object, tracked and prompted."""
    rows, _, side, _ = features.shape
    logits = 5 * random.standard_normal((rows, 1, 4 * side, 4 * side), np.float32)
    large = torch.nn.functional.interpolate(
        torch.from_numpy(logits), (predictor.image_size,) * 2, mode="bilinear", align_corners=False
    )
    flat = features.flatten(2).permute(2, 0, 1)
    for prompted in (False, True):
        score = np.linspace(-1, 1, rows + 1, dtype=np.float32)[:rows, None] + prompted
        expected, _ = predictor._encode_new_memory(
            [flat], [(side, side)], large, torch.from_numpy(score), prompted
        )
        inputs = {
            "features": features.numpy(),
            "logits": logits,
            "score": score,
            "prompted": np.full(rows, prompted),
        }
        yield "memory_encoder", inputs, {"memory": expected.flatten(2).transpose(1, 2).numpy()}
