"""Whole clips give what sam2's own video predictor gives, past the windows of its memory."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
import sam2_reference
import torch
from sam2_reference import SIZE

from iosfast import IosfastWarning
from iosfast.sam2 import Model, export
from iosfast.sam2.checkpoint import build_predictor
from iosfast.sam2.manifest import FileRecord, read_manifest
from iosfast.sam2.memory import Remembered
from iosfast.sam2.propagate import Said, Task, propagate

pytestmark = pytest.mark.sam2

MAPS = 18


@pytest.fixture(scope="module")
def model(sam2_folder):
    return Model(sam2_folder / "model", device="cpu", threads=1)


@pytest.fixture(scope="module")
def images():
    """A clip with a blob that moves."""
    return sam2_reference.moving(3, MAPS, (SIZE, SIZE))


@pytest.fixture(scope="module")
def predictor(sam2_folder):
    return sam2_reference.remembering(build_predictor(sam2_folder / "checkpoint.pt", SIZE))


def points(*places, labels=None):
    labels = [1] * len(places) if labels is None else labels
    return Said(np.array(places, np.float32), np.array(labels, np.float32))


def square(y, x, side=45):
    mask = np.zeros((SIZE, SIZE), bool)
    mask[y : y + side, x : x + side] = True
    return mask


POINT = points((30, 62))
POINTS = points((30, 62), (33, 70), (90, 20), labels=[1, 1, 0])
BOX = points((10, 40), (50, 90), labels=[2, 3])
BOX_AND_POINT = points((10, 40), (50, 90), (30, 60), labels=[2, 3, 0])
MASK = Said(mask=square(30, 12))
EMPTY = Said(mask=np.zeros((SIZE, SIZE), bool))
MASK_AND_POINT = Said(POINT.points, np.zeros(1, np.float32), square(40, 20))

CASES = {
    "points, boxes and a mask": {"said": {1: {0: POINTS}, 2: {0: BOX_AND_POINT}, 3: {0: MASK}}},
    "a mask that points correct on the same map": {"said": {1: {0: MASK_AND_POINT}}},
    "late starts": {"said": {1: {0: POINT}, 2: {6: BOX}, 3: {MAPS - 1: MASK}}},
    "backwards, too": {"said": {1: {9: POINT}, 2: {2: MASK}}, "both": True},
    "corrections": {
        "said": {
            1: {0: POINT, 5: BOX, 12: points((60, 70), labels=[0]), MAPS - 1: POINTS},
            2: {2: BOX, 7: EMPTY, 11: MASK_AND_POINT, MAPS - 1: MASK},
        }
    },
    "corrections next to the start, and backwards": {
        "said": {1: {8: POINT, 9: MASK, 12: BOX}},
        "both": True,
    },
    "all prompts at once, and backwards": {
        "said": {1: {4: POINT, 9: BOX, 15: MASK, 16: EMPTY}},
        "at_once": True,
        "both": True,
    },
}


def found_of(model, tasks, rows=8, **options):
    """Return logits by task, object and map."""
    found = {}
    for one in propagate(model, tasks, rows=rows, **options):
        key = one.task, one.name, one.index
        assert key not in found
        found[key] = one.logits.copy()
    return found


def task_of(images, case):
    return Task(images.__getitem__, len(images), **case)


def add(run, index, said):
    if said.mask is not None:
        run.add_mask(1, index, said.mask)
    if len(said.points):
        run.add_points(1, index, said.points, said.labels)


def of_sam2(predictor, images, case):
    """What sam2 gives, each object alone: it fails on objects of different starts.

    Corrections are made as a person would, one after the other, after following beyond their map.
    """
    found = {}
    for name, said in case["said"].items():
        run = sam2_reference.Clip(predictor, images)
        first, *later = sorted(said)
        here = {}
        if case.get("at_once"):
            for index in later:
                add(run, index, said[index])
            later = []
        for index, correction in zip([first, *later], [*later, len(images)], strict=True):
            add(run, index, said[index])
            for at, logits in run.follow(index + (index != first)):
                here[at] = logits[0]
                if at > correction:
                    break
            here[index] = run.at(index)
        if case.get("both"):
            back = run.follow(first, reverse=True)
            here.update((at, logits[0]) for at, logits in back if at != first)
        found |= {(name, index): logits for index, logits in here.items()}
    return found


def compare(found, expected):
    assert found.keys() == expected.keys()
    overlaps = []
    for key, logits in found.items():
        both, either = (
            (f(logits > 0, expected[key] > 0)).sum() for f in (np.logical_and, np.logical_or)
        )
        overlaps.append(both / either if either else 1.0)
    assert min(overlaps) >= 0.9999
    return max(float(np.abs(logits - expected[key]).max()) for key, logits in found.items())


@pytest.fixture(scope="module")
def expected(predictor, images):
    """What sam2 gives, computed once for each case."""
    known = {}

    def give(name):
        if name not in known:
            known[name] = of_sam2(predictor, images, CASES[name])
        return known[name]

    return give


@pytest.mark.parametrize("name", CASES)
def test_it_equals_sam2(model, images, expected, name):
    found = found_of(model, [task_of(images, CASES[name])], ahead=3)
    difference = compare({key[1:]: logits for key, logits in found.items()}, expected(name))
    print(name, difference)
    assert difference <= 1e-5


@pytest.fixture(scope="module")
def shy(sam2_folder, tmp_path_factory):
    """The model, and sam2, with a score of objects that is below 0 on some maps of `flickering`."""
    shift = 0.2
    folder = tmp_path_factory.mktemp("shy")
    for path in (sam2_folder / "model").iterdir():
        shutil.copy(path, folder)
    graph = onnx.load(folder / "mask_decoder.onnx")
    (bias,) = (
        one
        for one in graph.graph.initializer
        if one.name == "decoder.pred_obj_score_head.layers.2.bias"
    )
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) - shift, bias.name))
    onnx.save(graph, folder / "mask_decoder.onnx")
    manifest = read_manifest(sam2_folder / "model")
    record = FileRecord.of(folder / "mask_decoder.onnx")
    replace(manifest, files={**manifest.files, "mask_decoder.onnx": record}).write(folder)
    predictor = build_predictor(sam2_folder / "checkpoint.pt", SIZE)
    with torch.no_grad():
        predictor.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.sub_(shift)
    return Model(folder, device="cpu", threads=1), predictor


def test_objects_that_hide_and_appear_again(shy, images):
    flickering = images.copy()
    flickering[4:9] = flickering[14:] = 255
    flickering[9] = 0
    case = {"said": {1: {0: POINT}}}
    found = found_of(shy[0], [task_of(flickering, case)])
    found = {key[1:]: logits for key, logits in found.items()}
    for name in case["said"]:
        there = np.array([found[name, at].max() > -1024 for at in range(MAPS)])
        changes = np.diff(there.astype(int))
        print(there.astype(int))
        assert (changes == 1).any()
        assert (changes == -1).any()
    assert compare(found, of_sam2(shy[1], flickering, case)) <= 1e-5


def test_it_equals_sam2_at_1024(sam2_folder, tmp_path, monkeypatch):
    verify = sys.modules["iosfast.sam2.verify"]
    monkeypatch.setattr(verify, "cases", lambda predictor: [])  # whole maps are compared here
    checkpoint = sam2_folder / "checkpoint.pt"
    with pytest.warns(IosfastWarning, match="is not the official checkpoint"):
        export(checkpoint, tmp_path / "model", image_size=1024)
    large = sam2_reference.moving(3, 2, (1024, 1024))
    case = {"said": {1: {0: points((300, 500), (700, 200), labels=[1, 0])}}}
    found = found_of(Model(tmp_path / "model", device="cpu"), [task_of(large, case)])
    found = {key[1:]: logits for key, logits in found.items()}
    assert len(found) == 2
    assert compare(found, of_sam2(build_predictor(checkpoint, 1024), large, case)) <= 1e-5


class Wrong:
    """A model that does one thing wrong."""

    def __init__(self, model, change):
        self.constants, self.manifest, self.device = model.constants, model.manifest, model.device
        self._model, self._change = model, change
        self.place = model.place

    def bound(self, name, inputs, into=None):
        if name.startswith("memory_attention"):
            inputs = {
                key: value if isinstance(value, np.ndarray) else value.numpy().copy()
                for key, value in inputs.items()
            }
            self._change(inputs)
        return self._model.bound(name, inputs, into)


def not_rounded(inputs):
    """Give memories what they could have been before they were rounded to bfloat16."""
    random = np.random.default_rng(0)
    rest = random.uniform(-0.5, 0.5, inputs["memories"].shape).astype(np.float32)
    inputs["memories"] = inputs["memories"] * (1 + rest / 128)


def without_a_memory(inputs):
    for name in ("memories", "ages"):
        inputs[name] = np.ascontiguousarray(inputs[name][:, : max(1, inputs[name].shape[1] - 1)])


ERRORS = {
    "memories not rounded": not_rounded,
    "the time of pointers over 16": lambda inputs: inputs.update(
        times=inputs["times"] * np.float32(15 / 16)
    ),
    "no pointers": lambda inputs: inputs.update(pointers=np.zeros_like(inputs["pointers"])),
    "one memory fewer": without_a_memory,
    "no temporal encoding": lambda inputs: inputs.update(ages=np.zeros_like(inputs["ages"])),
}


@pytest.mark.parametrize("error", ERRORS)
def test_a_deliberate_error_is_found(model, images, expected, error):
    name = "a mask that points correct on the same map"
    found = found_of(Wrong(model, ERRORS[error]), [task_of(images, CASES[name])])
    right = expected(name)
    assert max(np.abs(found[(0, *key)] - right[key]).max() for key in right) > 1e-5


# Batches.


@pytest.fixture(scope="module")
def clips():
    """Clips of different lengths, with prompts of all kinds on different maps."""
    other = [
        sam2_reference.moving(seed, count, (SIZE, SIZE))
        for seed, count in ((1, 7), (2, 10), (5, 1))
    ]
    return [
        task_of(other[0], {"said": {1: {0: POINT, 3: MASK}, 7: {2: BOX}}, "both": True}),
        task_of(other[1], {"said": {2: {1: MASK, 6: EMPTY}}, "at_once": True}),
        task_of(other[2], {"said": {1: {0: POINT}}}),
        task_of(other[0], {"said": {1: {4: POINTS}}, "both": True}),
    ]


@pytest.fixture(scope="module")
def alone(model, clips):
    return {
        (number, *key[1:]): logits
        for number, task in enumerate(clips)
        for key, logits in found_of(model, [task], rows=1).items()
    }


def largest(found, expected):
    assert found.keys() == expected.keys()
    return max(float(np.abs(found[key] - expected[key]).max()) for key in found)


@pytest.mark.parametrize(("rows", "ahead"), [(1, 1), (3, 2), (16, 16)])
def test_clips_in_one_batch_are_as_one_by_one(model, clips, alone, rows, ahead):
    found = found_of(model, clips, rows=rows, ahead=ahead)
    difference = largest(found, alone)
    print(rows, ahead, difference)
    assert difference <= (0 if rows == 1 else 1e-5)


def test_the_order_of_clips_does_not_matter(model, clips, alone):
    order = [2, 0, 3, 1]
    found = found_of(model, [clips[number] for number in order], rows=16, ahead=16)
    found = {(order[key[0]], *key[1:]): logits for key, logits in found.items()}
    difference = largest(found, alone)
    print("shuffled", difference)
    assert difference <= 1e-5


class Small(Wrong):
    """A model on a device whose memory suffices for a few rows only."""

    def __init__(self, model, most):
        super().__init__(model, lambda inputs: None)
        self._most = most

    def bound(self, name, inputs, into=None):
        for key in ("images", "several"):
            if key in inputs and len(inputs[key]) > self._most:
                raise MemoryError("of the device")
        return super().bound(name, inputs, into)


def test_a_batch_that_does_not_fit_is_made_smaller(model, clips, alone):
    with pytest.warns(IosfastWarning) as said:
        found = found_of(Small(model, 1), clips, rows=4, ahead=4)
    texts = [str(one.message) for one in said]
    assert any(text.startswith("no memory for 3 maps at a time (of the device)") for text in texts)
    assert any(text.startswith("no memory for 2 objects at a time") for text in texts)
    assert largest(found, alone) <= 1e-5
    with pytest.raises(MemoryError, match="of the device"):
        found_of(Small(model, 0), clips, rows=1)


class Counting(Wrong):
    """A model that tells how much it holds."""

    def __init__(self, model):
        super().__init__(model, lambda inputs: None)
        self.placed, self.maps = [], []
        self.place = self._place

    def _place(self, array):
        self.placed.append(array.shape)
        return self._model.place(array)

    def bound(self, name, inputs, into=None):
        if name == "image_encoder":
            self.maps.append(len(inputs["images"]))
        return super().bound(name, inputs, into)


def test_memory_does_not_grow_with_the_clip(model):
    counting = Counting(model)
    long = sam2_reference.moving(1, 20, (SIZE, SIZE))
    found_of(
        counting, [task_of(long, {"said": {1: {0: POINT}, 2: {2: BOX}}, "both": True})], ahead=4
    )
    side = SIZE // 16
    assert counting.placed == [(2 * (1 + 6 + 6), side**2, 64)]
    assert max(counting.maps) == 4
    assert sum(counting.maps) == 20 + 2  # those before the later start are looked at twice
    counting = Counting(model)
    tasks = [task_of(long[:3], {"said": {1: {0: POINT}}})] * 5
    found_of(counting, tasks, rows=2, ahead=2)
    assert counting.placed == [(2 * 7, side**2, 64)]


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("count", [2, 5, 60])
def test_what_is_remembered_is_all_that_sam2_would_look_at(backwards, count):
    """Against all maps kept for ever, as sam2 does."""
    start = count // 3
    known = Remembered(start, backwards)
    known.free = tuple([*range(need)] for need in known.needs)
    held = {}
    steps = [(index, 1) for index in range(start, count)]
    steps += [(index, -1) for index in range(start - 1, -1, -1)] if backwards else []
    for index, direction in steps:
        if index != start:
            bank = known.bank(index, count, direction)
            span = min(count, 16) - 1
            near = [
                i
                for i in range(1, 7)
                if index - direction * i in held and index - direction * i != start
            ]
            far = [
                i
                for i in range(1, span + 1)
                if index - direction * i in held and index - direction * i != start
            ]
            memory, pointer = held[start]
            assert {(memory, 6)} | {(held[index - direction * i][0], i - 1) for i in near} == set(
                zip(bank.memories, bank.ages, strict=True)
            )
            ago = (index - start) * direction / span
            assert {(pointer, ago)} | {
                (held[index - direction * i][1], i / span) for i in far
            } == set(zip(bank.pointers, bank.times, strict=True))
        memory, pointer = known.place(index, direction, first=index == start)
        held[index] = memory, pointer
