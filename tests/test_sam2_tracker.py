"""Whole clips give what sam2's own video predictor gives, past the windows of its memory."""

from __future__ import annotations

import numpy as np
import pytest
import sam2_reference
from PIL import Image

from iosfast.sam2 import Model
from iosfast.sam2.checkpoint import build_predictor
from iosfast.sam2.tracker import Tracker, padded

MAPS = 20


@pytest.fixture(scope="module")
def model(sam2_folder):
    return Model(sam2_folder / "model", device="cpu", threads=1)


@pytest.fixture(scope="module")
def images():
    """A clip of smooth images with a blob that moves."""
    random = np.random.default_rng(3)
    size = sam2_reference.SIZE
    small = random.integers(0, 256, (size // 16, size // 16, 3), np.uint8)
    back = np.asarray(Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC))
    y, x = np.mgrid[:size, :size]
    clip = []
    for i in range(MAPS):
        blob = np.exp(-((x - 20 - 4 * i) ** 2 + (y - 60 - i) ** 2) / 200)[..., None]
        clip.append((back * (1 - blob) + blob * [250, 40, 10]).round().astype(np.uint8))
    return np.stack(clip)


@pytest.fixture(scope="module")
def sam2_start(sam2_folder, images):
    """Return a function that starts sam2's own predictor on the clip."""
    predictor = build_predictor(sam2_folder / "checkpoint.pt", sam2_reference.SIZE)
    return lambda: sam2_reference.Clip(predictor, images)


def started(model, images):
    return Tracker(model, images.__getitem__, len(images))


POINT = (np.array([[30, 62]], np.float32), np.ones(1, np.float32))
BOX = (
    np.array([[10, 40], [50, 90], [30, 60]], np.float32),
    np.array([2, 3, 0], np.float32),
)
MASK = np.zeros((sam2_reference.SIZE,) * 2, bool)
MASK[30:77, 12:63] = True


def difference(found, expected):
    """Return the largest difference of logits."""
    assert [index for index, _ in found] == [index for index, _ in expected]
    return max(float(np.abs(a - b).max()) for (_, a), (_, b) in zip(found, expected, strict=True))


def prompted(run):
    run.add_points(1, 0, *POINT)
    run.add_points(2, 0, *BOX)
    run.add_mask(3, 0, MASK)
    return run


@pytest.fixture(scope="module")
def expected(sam2_start):
    """What sam2 finds: three objects, each with another kind of prompt."""
    return list(prompted(sam2_start()).follow(0))


def test_points_a_box_and_a_mask(model, images, expected):
    found = list(prompted(started(model, images)).follow(0))
    assert difference(found, expected) <= 1e-5
    hidden = np.array([logits.max((1, 2)) for _, logits in found]) == -1024
    assert hidden.any()  # occlusion
    assert not hidden.all()


class Wrong:
    """A model that does one thing wrong."""

    def __init__(self, model, change):
        self.constants, self.manifest = model.constants, model.manifest
        self._model, self._change = model, change

    def run(self, name, inputs):
        inputs = dict(inputs)
        if name == "memory_attention":
            self._change(inputs)
        return self._model.run(name, inputs)


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
    found = list(prompted(started(Wrong(model, ERRORS[error]), images)).follow(0))
    assert difference(found, expected) > 1e-5


def test_reverse_after_forward(model, images, sam2_start):
    found, right = [], []
    for run, to in ((started(model, images), found), (sam2_start(), right)):
        run.add_points(1, 9, *POINT)
        to += [*run.follow(9), *run.follow(9, reverse=True)]
    assert difference(found, right) <= 1e-5
    assert [index for index, _ in found] == [*range(9, MAPS), *range(9, -1, -1)]


def test_a_correction_on_a_followed_map_and_a_second_prompt(model, images, sam2_start):
    found, right = [], []
    for run, to in ((started(model, images), found), (sam2_start(), right)):
        run.add_points(1, 0, *POINT)
        ahead = run.follow(0)
        to += [next(ahead) for _ in range(8)]
        run.add_points(1, 5, *BOX)  # followed already
        run.add_mask(1, 12, MASK)  # not yet
        to += run.follow(5)
    assert difference(found, right) <= 1e-5


def test_an_object_that_starts_later_does_not_change_others(model, images, sam2_start):
    """sam2 itself fails on objects of different starts, so each is compared alone."""
    tracker = started(model, images)
    tracker.add_points(1, 0, *POINT)
    tracker.add_points(2, 6, *BOX)
    together = [*tracker.follow(0)]
    for row, (index, prompt) in enumerate(((0, POINT), (6, BOX))):
        alone = sam2_start()
        alone.add_points(1, index, *prompt)
        for at, logits in alone.follow(index):
            assert np.abs(together[at][1][row] - logits[0]).max() <= 1e-5
    assert (together[5][1][1] == -1024).all()


def test_padding_keeps_what_counts():
    random = np.random.default_rng(0)
    banks = [
        {
            "memories": random.random((k, 4, 2), np.float32),
            "ages": np.arange(k),
            "pointers": random.random((t, 3), np.float32),
            "times": np.arange(t, dtype=np.float32),
        }
        for k, t in ((1, 3), (7, 2))
    ]
    made = padded(banks)
    assert made["memories"].shape == (2, 7, 4, 2)
    assert made["pointers"].shape == (2, 3, 3)
    for row, bank in enumerate(banks):
        for key, counts in (
            ("memories", "memory_counts"),
            ("ages", "memory_counts"),
            ("pointers", "pointer_counts"),
            ("times", "pointer_counts"),
        ):
            np.testing.assert_array_equal(made[key][row][made[counts][row]], bank[key])
