"""Whole clips give what sam2's own video predictor gives, past the windows of its memory."""

from __future__ import annotations

import numpy as np
import pytest
import sam2_reference
from sam2_reference import SIZE

from iosfast import IosfastWarning
from iosfast.sam2 import Model
from iosfast.sam2.checkpoint import build_predictor
from iosfast.sam2.memory import Pool, Remembered
from iosfast.sam2.propagate import Said, Task, propagate

pytestmark = pytest.mark.sam2

MAPS = 20


@pytest.fixture(scope="module")
def model(sam2_folder):
    return Model(sam2_folder / "model", device="cpu", threads=1)


@pytest.fixture(scope="module")
def images():
    """A clip with a blob that moves."""
    return sam2_reference.moving(3, MAPS, (SIZE, SIZE))


@pytest.fixture(scope="module")
def predictor(sam2_folder):
    return build_predictor(sam2_folder / "checkpoint.pt", SIZE)


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

ONE_MAP = {1: {0: POINT}, 2: {0: BOX_AND_POINT}, 3: {0: MASK}, 4: {0: BOX}, 5: {0: POINTS}}
CASES = {
    "points, boxes and a mask": {"said": ONE_MAP},
    "a mask that points correct on the same map": {"said": {1: {0: MASK_AND_POINT}}},
    "late starts": {"said": {1: {0: POINT}, 2: {6: BOX}, 3: {MAPS - 1: MASK}}},
    "backwards, too": {"said": {1: {9: POINT}, 2: {2: MASK}, 3: {MAPS - 1: BOX}}, "both": True},
    "corrections": {
        "said": {
            1: {0: POINT, 5: BOX, 12: points((60, 70), labels=[0])},
            2: {2: BOX, 9: MASK, 18: POINTS},
            3: {0: MASK, 7: EMPTY, 11: MASK_AND_POINT, MAPS - 1: POINT},
        }
    },
    "corrections next to the start, and backwards": {
        "said": {1: {8: POINT, 9: MASK, 12: BOX}, 2: {3: MASK, 5: POINT}},
        "both": True,
    },
    "all prompts at once": {
        "said": {1: {4: POINT, 9: BOX, 15: MASK}, 2: {0: MASK, 3: EMPTY}},
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

    Corrections are made as a person would: one after the other, each after following to the end.
    """
    found = {}
    for name, said in case["said"].items():
        run = sam2_reference.Clip(predictor, images)
        first, *later = sorted(said)
        add(run, first, said[first])
        here = {}
        if case.get("at_once"):
            for index in later:
                add(run, index, said[index])
            later = []
        here.update((index, logits[0]) for index, logits in run.follow(first))
        for index in later:
            add(run, index, said[index])
            here.update((at, logits[0]) for at, logits in run.follow(index + 1))
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
        both, either = ((f(logits > 0, expected[key] > 0)).sum() for f in (np.logical_and, np.logical_or))
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


def test_objects_hide_and_appear_again(expected):
    hidden = {key: (logits == -1024).all() for key, logits in expected("points, boxes and a mask").items()}
    again = [
        name
        for name in CASES["points, boxes and a mask"]["said"]
        for at in range(1, MAPS - 1)
        if hidden[name, at] and not hidden[name, at + 1]
    ]
    assert again
