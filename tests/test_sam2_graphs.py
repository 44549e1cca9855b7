"""Exported graphs of SAM 2 give what sam2's own modules give, whatever the batch."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from iosfast.sam2 import Model
from iosfast.sam2.checkpoint import build_predictor
from iosfast.sam2.manifest import GRAPHS
from iosfast.sam2.verify import cases, compare, refusal

pytestmark = pytest.mark.sam2


@pytest.fixture(scope="module")
def model(sam2_folder):
    return Model(sam2_folder / "model", device="cpu", threads=1)


@pytest.fixture(scope="module")
def sam2_cases(sam2_folder):
    """What sam2's own modules give."""
    return list(cases(build_predictor(sam2_folder / "checkpoint.pt", 128)))


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_ask_for_no_operators_that_they_do_not_have(sam2_folder, name):
    graph = onnx.load(sam2_folder / "model" / f"{name}.onnx")
    assert {one.domain for one in graph.opset_import} == {
        node.domain for node in graph.graph.node
    } | {""}


def differences(sam2_cases, altered):
    return compare((case for case in sam2_cases if case[0] == altered.name), altered)


class Altered:
    """A model, the inputs or outputs of one graph of which are changed."""

    def __init__(self, model, name, change):
        self.manifest, self._model, self.name, self._change = model.manifest, model, name, change

    def run(self, name, inputs):
        inputs = dict(inputs)
        changed = self._change(inputs) if name == self.name else None
        return {**self._model.run(name, inputs), **(changed or {})}


def test_every_graph_equals_sam2(model):
    assert model.manifest.differences.keys() == GRAPHS.keys()
    assert all(0 < value <= 1e-5 for value in model.manifest.differences.values())


def set_to(**values):
    """Replace inputs by functions of them."""

    def change(inputs):
        inputs.update({name: change(inputs[name]) for name, change in values.items()})

    return change


def first(count):
    return lambda array: np.ascontiguousarray(array[:, :count])


def nudged(array):
    return array + np.float32(1e-3)


ERRORS = {
    "the time of pointers over 16 and not over 15": (
        "memory_attention",
        set_to(times=lambda times: times * np.float32(15 / 16)),
    ),
    "a sign of the time of pointers": (
        "memory_attention",
        set_to(times=lambda times: -times),
    ),
    "one pointer": ("memory_attention", set_to(pointers=first(1), times=first(1))),
    "pointers in another order than their times": (
        "memory_attention",
        set_to(pointers=lambda array: array[:, ::-1].copy()),
    ),
    "one memory": ("memory_attention", set_to(memories=first(1), ages=first(1))),
    "no temporal encoding": ("memory_attention", set_to(ages=np.zeros_like)),
    "conditioning maps as the latest ones": (
        "memory_attention",
        set_to(ages=lambda ages: np.where(ages == 6, 0, ages)),
    ),
    "padded memories count": ("memory_attention_padded", set_to(memory_counts=np.ones_like)),
    "padded pointers count": ("memory_attention_padded", set_to(pointer_counts=np.ones_like)),
    "features without the first self-attention": (
        "memory_attention",
        set_to(pixels=np.zeros_like),
    ),
    "points half a pixel off": (
        "point_prompt",
        set_to(points=lambda points: points + np.float32(0.5)),
    ),
    "labels of the wrong kind": (
        "point_prompt",
        set_to(labels=lambda labels: np.where(labels == 1, 0, labels).astype(np.float32)),
    ),
    "one mask instead of the best of three": ("mask_decoder", set_to(several=np.logical_not)),
    "no prompt on pixels": ("mask_decoder", set_to(dense=np.zeros_like)),
    "finer features not added": ("mask_decoder", set_to(finest=np.zeros_like)),
    "an object score that is always the same": ("memory_encoder", set_to(score=np.ones_like)),
    "masks of prompts not made 0 and 1": ("memory_encoder", set_to(prompted=np.logical_not)),
    "features with the no-memory embedding": ("memory_encoder", set_to(features=nudged)),
    "an image in the other order of colours": (
        "image_encoder",
        set_to(images=lambda images: images[..., ::-1].copy()),
    ),
    "a mask that is not shrunk smoothly": (
        "mask_prompt",
        lambda inputs: {"logits": inputs["mask"][..., ::4, ::4] * np.float32(20) - 10},
    ),
}


@pytest.mark.parametrize("error", ERRORS)
def test_a_deliberate_error_is_found(sam2_cases, model, error):
    name, change = ERRORS[error]
    found = differences(sam2_cases, Altered(model, name, change))
    assert found[name] > 1e-5


def test_an_output_that_is_not_a_number_or_of_another_shape_is_found(sam2_cases, model):
    for change in (lambda a: a * np.nan, lambda a: a[:, :1]):
        altered = Altered(
            model, "memory_encoder", lambda inputs, change=change: {"memory": change(zeros(inputs))}
        )
        problem = refusal(differences(sam2_cases, altered), "fp32")
        assert problem.startswith("the exported memory_encoder differs")


def zeros(inputs):
    rows, _, side, _ = inputs["features"].shape
    return np.zeros((rows, side * side, 64), np.float32)


def random_inputs(name, rows):
    """Inputs of a graph, as wide as its axes say."""
    random = np.random.default_rng(7)
    sizes = {"N": rows, "B": rows, "D": rows, "K": 4, "T": 5, "P": 3, "E": 8, "F": 8}
    sizes |= {"s": 128, "h": 8, "hh": 64, "2h": 16, "4h": 32}
    made = {}
    for key, axes in GRAPHS[name].inputs.items():
        shape = [sizes[axis] if axis in sizes else int(axis) for axis in axes.split()]
        if key in ("several", "prompted"):
            made[key] = np.arange(rows) % 2 == 0
        elif key.endswith("counts"):
            made[key] = np.arange(rows)[:, None] >= np.arange(shape[1])
        elif key == "images":
            made[key] = random.integers(0, 256, shape, np.uint8)
        elif key == "ages":
            made[key] = random.integers(0, 7, shape)
        else:
            made[key] = random.standard_normal(shape, np.float32)
    return made


@pytest.mark.parametrize("name", GRAPHS)
def test_rows_do_not_depend_on_each_other_or_their_order(model, name):
    inputs = random_inputs(name, 5)
    together = model.run(name, inputs)
    order = [3, 0, 4, 1, 2]
    shuffled = model.run(name, {key: array[order] for key, array in inputs.items()})
    for row in range(5):
        alone = model.run(name, {key: array[[row]] for key, array in inputs.items()})
        for key, array in together.items():
            scale = max(1, np.abs(array[array != -1024]).max())
            # a step of bfloat16 where a value lies between two
            step = 2**-7 if key == "memory" else 1e-5
            np.testing.assert_allclose(alone[key][0], array[row], rtol=0, atol=step * scale)
            np.testing.assert_allclose(
                shuffled[key][order.index(row)], array[row], rtol=0, atol=step * scale
            )


def test_memories_are_rounded_to_bfloat16(model):
    memory = model.run("memory_encoder", random_inputs("memory_encoder", 3))["memory"]
    assert memory.dtype == np.float32
    assert not (memory.view(np.uint32) & 0xFFFF).any()


def test_a_row_without_an_object_says_so(model):
    inputs = random_inputs("mask_decoder", 32)
    found = model.run("mask_decoder", inputs)
    absent = found["score"][:, 0] <= 0
    assert absent.any()
    assert not absent.all()
    assert (found["logits"][absent] == -1024).all()
    assert (found["logits"][~absent] > -1024).all()
    assert len(np.unique(found["pointer"][absent], axis=0)) == 1


def test_constants_are_those_of_no_prompt(model):
    none = {"points": np.zeros((1, 1, 2), np.float32), "labels": np.full((1, 1), -1, np.float32)}
    tokens = model.run("point_prompt", none)["tokens"]
    np.testing.assert_allclose(model.constants["no_points"], tokens, rtol=0, atol=1e-6)
    assert {name: array.shape for name, array in model.constants.items()} == {
        "no_memory": (256,),
        "no_mask": (256,),
        "no_points": (1, 2, 256),
        "no_pointer": (256,),
    }
