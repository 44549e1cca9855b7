"""Movies from responses: the gradient of one iteration against a loop of batch 1, and the laws.

On a GPU, if there is one, with random weights of the published size; on a CPU with a smaller core.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from reconstruction_laws import SMALL, Size, laws, methods

from iosfast.reconstruct import Architecture, ClipEncoder, PublishedModel, reconstruct
from iosfast.reconstruct.encoder import ready
from iosfast.reconstruct.memory import Batches
from iosfast.reconstruct.objective import Objective
from iosfast.reconstruct.windows import windows_of

SECTION = "Movies from responses"
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
PRECISIONS = ["float32", "bfloat16"] if DEVICE.type == "cuda" else ["float32"]
CORE = Architecture(
    core_features=(16, 16, 32), spatial_strides=(2, 2, 2), expansion_ratio=4, se_reduce_ratio=8,
    cortex_features=(128, 256),
)  # fmt: skip


@pytest.fixture(scope="module")
def problem(timed):
    """A model with random weights, responses and behaviour; more of all on a GPU."""
    torch.manual_seed(0)
    large = DEVICE.type == "cuda" and timed
    neurons, frames = (8000, 300) if large else (500 if timed else 20, 64 if timed else 40)
    model = PublishedModel(neurons, None if large else CORE)
    with torch.no_grad():
        model.core.stem[0].weight *= 0.02
    model.eval().to(DEVICE)
    random = np.random.default_rng(0)
    responses = random.poisson(1, (neurons, frames)).astype(np.float32)
    behaviour = random.random((4, frames), np.float32)
    movie = torch.from_numpy(random.uniform(0, 255, (frames, 36, 64)).astype(np.float32))
    return model, responses, behaviour, movie.to(DEVICE)


def by_one(model, responses, behaviour, movie):
    """Gradient of the published loop: one clip at a time, of parameters that are not frozen."""
    frames = len(movie)
    total = torch.zeros_like(movie)
    count = torch.zeros(frames, device=DEVICE)
    targets = torch.from_numpy(responses).to(DEVICE)
    traces = torch.from_numpy(behaviour).to(DEVICE)
    for n in range(2 + (frames - 32) // 8):
        start = min(8 * n, frames - 32)
        inputs = torch.zeros(1, 5, 32, 64, 64, device=DEVICE)
        inputs[0, 0, :, 14:50] = movie[start : start + 32]
        inputs[0, 1:] = traces[:, start : start + 32, None, None]
        inputs.requires_grad_(True)
        predicted = torch.zeros(len(responses), 32, device=DEVICE)
        for first in (0, 1):
            at = slice(first, first + 31, 2)
            predicted[:, at] = predicted[:, at] + model(inputs[:, :, at])[0]
        loss = torch.nn.functional.poisson_nll_loss(
            predicted, targets[:, start : start + 32], log_input=False
        )
        loss.backward()
        total[start : start + 32] += (inputs.grad / (inputs.grad.norm() + 1e-6))[0, 0, :, 14:50]
        count[start : start + 32] += 1
    model.zero_grad()
    return total / count[:, None, None]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_one_iteration(problem, race, section, precision):
    model, responses, behaviour, movie = problem
    encoder = ClipEncoder(model, pad_to=(64, 64))
    neurons = np.arange(len(responses))
    windows = windows_of(len(movie), 32, 8, published=True)
    size = 16 if DEVICE.type == "cuda" else 4

    def batched(precision="float32"):
        with ready(encoder, DEVICE, precision):
            objective = Objective(
                encoder, responses, behaviour, neurons, neurons[:0], windows, (36, 64), "poisson",
                Batches(size, "windows"), DEVICE,
            )  # fmt: skip
            gradient = objective.published(movie).gradient
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
        return gradient

    def one_by_one():
        gradient = by_one(model, responses, behaviour, movie)
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
        return gradient

    # Exact products on a GPU too, for the comparison.
    exact = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    wanted = one_by_one()
    difference = (batched() - wanted).abs().max() / wanted.abs().max()
    torch.backends.cudnn.allow_tf32 = exact
    assert wanted.abs().max() > 0
    assert difference <= 1e-5
    where = f"{torch.cuda.get_device_name()}" if DEVICE.type == "cuda" else "CPU"
    what = f"gradient of {len(movie)} frames by {len(neurons)} neurons, {where}"
    peer = {"batch 1, float32, parameters not frozen": (one_by_one, "0.333 on a GPU")}
    ours = functools.partial(batched, precision)
    race(f"{what}, {precision}", ours, peer, rounds=5, section=SECTION)
    section(SECTION).append(f"Gradients differ by {float(difference):.1e} of the largest.")


def test_the_laws(timed, section):
    laws(Size() if timed else SMALL, section("Movies from responses: laws"))


def test_the_methods(timed, section):
    methods(Size() if timed else SMALL, section("Movies from responses: methods"))


def test_batches_of_any_size_are_one_movie(problem):
    model, responses, behaviour, movie = problem
    frames = min(40, len(movie))
    found = [
        reconstruct(
            ClipEncoder(model, pad_to=(64, 64)), responses[:, :frames], shape=(36, 64),
            behaviour=behaviour[:, :frames], holdout=0, iterations=3, batch=batch,
            device=DEVICE, precision="float32", progress=False,
        ).movie
        for batch in (1, 8)
    ]  # fmt: skip
    np.testing.assert_allclose(found[0], found[1], atol=0.05)
