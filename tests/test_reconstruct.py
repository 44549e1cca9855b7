"""Movies from responses: the published steps, the most probable movie, and the laws of both."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reconstruct_reference import published_mask, published_movie
from scipy import ndimage

from iosfast import IosfastWarning
from iosfast.errors import DeviceError
from iosfast.reconstruct import (
    ClipEncoder,
    GaborPopulation,
    Prior,
    SmallEncoder,
    behaviour_traces,
    correlation_by_lag,
    natural_movies,
    noisy_responses,
    predict,
    reconstruct,
    score,
    train,
    transparency_mask,
)
from iosfast.reconstruct.blur import blurred
from iosfast.reconstruct.memory import Batches
from iosfast.reconstruct.objective import Objective
from iosfast.reconstruct.windows import windows_of

SHAPE, FRAMES = (16, 16), 40


pytestmark = pytest.mark.usefixtures("one_torch_thread")


@dataclasses.dataclass(frozen=True)
class Recorded:
    encoder: ClipEncoder
    movie: np.ndarray
    behaviour: np.ndarray
    expected: np.ndarray
    responses: np.ndarray

    def read(self, **options):
        """Reconstruct, briefly unless said otherwise."""
        encoder = options.pop("encoder", self.encoder)
        responses = options.pop("responses", self.responses)
        options = {"method": "map", "iterations": 40, "progress": False, **options}
        return reconstruct(encoder, responses, shape=SHAPE, behaviour=self.behaviour, **options)


def recorded(neurons, seed=0, frames=FRAMES):
    encoder = ClipEncoder(GaborPopulation(neurons, SHAPE, seed=3), frames=None)
    movie = natural_movies(1, frames, SHAPE, seed=seed)[0]
    behaviour = behaviour_traces(1, frames, seed=seed)[0]
    expected = predict(encoder, movie, behaviour)
    responses = noisy_responses(expected, seed=seed)
    return Recorded(encoder, movie, behaviour, expected, responses)


@pytest.fixture(scope="module")
def session(one_torch_thread):
    return recorded(200)


class Clips(torch.nn.Module):
    """A model of clips that mixes frames and pixels, with weights of its own."""

    def __init__(self, neurons=7, pixels=12 * 10, channels=3, seed=0):
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.space = torch.nn.Parameter(0.3 * torch.randn(neurons, pixels, generator=draw))
        self.side = torch.nn.Parameter(torch.randn(neurons, channels - 1, generator=draw))
        self.dropout = torch.nn.Dropout(0.5)

    def forward(self, clips):
        flat = self.dropout(clips[:, 0].flatten(2)) / 100
        driven = torch.einsum("ntp,kp->nkt", flat, self.space)
        driven = driven + 0.5 * torch.roll(driven, 1, dims=2)
        beside = torch.einsum("nct,kc->nkt", clips[:, 1:].mean((3, 4)), self.side)
        return torch.nn.functional.softplus(driven + 0.1 * beside)


def clip_problem(frames=44, neurons=7):
    random = np.random.default_rng(4)
    responses = random.poisson(1.0, (neurons, frames)).astype(np.float32)
    behaviour = random.random((2, frames), np.float32)
    mask = random.random((10, 8)) < 0.8
    encoder = ClipEncoder(Clips(neurons), frames=16, step=2, pad_to=(12, 10))
    return encoder, responses, behaviour, mask


@pytest.mark.parametrize("frames", [32, 44, 48])
def test_the_published_procedure_step_by_step(frames):
    encoder, responses, behaviour, mask = clip_problem(frames)
    found = reconstruct(
        encoder, responses, shape=(10, 8), behaviour=behaviour, mask=mask, holdout=0,
        iterations=14, blur_sigma=0, batch=3, progress=False,
    )  # fmt: skip
    encoder.model.eval()
    movie, losses = published_movie(
        encoder.model, responses, behaviour, (10, 8), (12, 10), mask, 14, clip=16, step=2
    )
    np.testing.assert_allclose(found.movie, movie, atol=0.02)
    assert np.ptp(movie) > 100
    assert (movie[:, ~mask] == 127.5).all()
    assert found.chosen[0] == 14
    if frames == 32:  # one window: the mean over responses is that of the window
        np.testing.assert_allclose(found.loss[0], np.mean(losses, axis=1), rtol=1e-4)
    assert np.isnan(found.holdout_loss).all()


def test_responses_of_clips_are_averaged_where_they_overlap():
    encoder, _, behaviour, _ = clip_problem()
    movie = natural_movies(1, 44, (10, 8))[0]
    encoder.model.eval()
    inputs = torch.zeros(1, 3, 44, 12, 10)
    inputs[0, 0, :, 1:11, 1:9] = torch.from_numpy(movie)
    inputs[0, 1:] = torch.from_numpy(behaviour)[..., None, None]
    total, count = np.zeros((7, 44)), np.zeros(44)
    with torch.no_grad():
        for first in range(44 - 30):
            at = np.arange(first, first + 31, 2)
            total[:, at] += encoder.model(inputs[:, :, at])[0].numpy()
            count[at] += 1
    found = predict(encoder, movie, behaviour, batch=5)
    np.testing.assert_allclose(found, total / count, rtol=1e-5)
    assert found.dtype == np.float32


def test_the_batch_does_not_matter():
    encoder, responses, behaviour, _ = clip_problem(frames=90)
    responses[2, 10:20] = np.nan
    movie = torch.from_numpy(natural_movies(1, 90, (10, 8))[0])
    windows = windows_of(90, 32, 8, published=True)
    encoder.model.eval()

    def evaluated(batch, kind):
        objective = Objective(
            encoder, responses, behaviour, np.arange(5), np.arange(5, 7), windows, (10, 8),
            "poisson", Batches(batch, "windows"), torch.device("cpu"),
        )  # fmt: skip
        return getattr(objective, kind)(movie)

    for kind in ("published", "summed"):
        one, many = evaluated(1, kind), evaluated(64, kind)
        scale = one.gradient.abs().max()
        assert scale > 0
        assert (one.gradient - many.gradient).abs().max() <= 1e-5 * scale
        assert one.loss == pytest.approx(many.loss, rel=1e-5)
        assert one.holdout_loss == pytest.approx(many.holdout_loss, rel=1e-5)


def test_the_loss_is_that_of_each_response_once():
    """Also where a window counts twice, as the last one of 48 frames does."""
    responses = np.random.default_rng(0).poisson(1.0, (16, 48)).astype(np.float32)
    responses[:, 20:] += 3
    responses[3, 5:9] = np.nan
    with pytest.warns(IosfastWarning, match="grey one"):  # which the first iteration begins with
        found = reconstruct(
            ClipEncoder(Pixels(), frames=None), responses, shape=(4, 4), window=32, holdout=0.5,
            iterations=1, progress=False,
        )  # fmt: skip
    terms = 1.275 - responses * np.log(1.275)
    assert found.loss[0, 0] == pytest.approx(np.nanmean(terms[found.fitted]), rel=1e-5)
    assert found.holdout_loss[0, 0] == pytest.approx(np.nanmean(terms[found.held_out]), rel=1e-5)


def test_windows():
    assert windows_of(300, 32, 8, published=True).starts == (*range(0, 265, 8), 268)
    twice = windows_of(48, 32, 8, published=True)
    assert (twice.starts, twice.times) == ((0, 8, 16), (1, 1, 2))
    assert windows_of(48, 32, 8, published=False).times == (1, 1, 1)
    assert windows_of(20, 32, 8, published=False).starts == (0,)


@given(st.integers(1, 80), st.integers(1, 40), st.data())
def test_windows_cover_every_frame(frames, length, data):
    stride = data.draw(st.integers(1, min(length, frames)))
    windows = windows_of(frames, length, stride, published=data.draw(st.booleans()))
    count = np.zeros(frames)
    for start, times in zip(windows.starts, windows.times, strict=True):
        assert 0 <= start <= frames - windows.length
        count[start : start + windows.length] += times
    assert count.min() >= 1
    np.testing.assert_array_equal(count, windows.coverage)


class Pixels(torch.nn.Module):
    """Neurons that are pixels."""

    def forward(self, clips):
        return clips[:, 0].flatten(2).transpose(1, 2) / 100


def test_a_long_movie_needs_no_more_memory_than_its_responses():
    """Weights of every clip at every frame would be 5 GB."""
    movie = np.random.default_rng(0).uniform(0, 255, (9000, 2, 3))
    found = predict(ClipEncoder(Pixels()), movie, batch=500)
    np.testing.assert_allclose(found, movie.reshape(9000, 6).T / 100, rtol=1e-5)


def test_the_most_probable_movie_of_a_linear_model_is_the_closed_form():
    frames, height, width = 6, 4, 4
    prior = Prior(exponent=1.2, contrast=30, mean=120, time=1.5, floor=0.05)
    responses = np.random.default_rng(0).random((16, frames)).astype(np.float32) * 2
    encoder = ClipEncoder(Pixels(), frames=None)
    found = reconstruct(
        encoder, responses, shape=(height, width), method="map", loss="mse", prior=prior,
        holdout=0, iterations=600, patience=None, progress=False,
    )  # fmt: skip
    padded = (frames + 8, height + 1, width + 1)
    ft, fy, fx = np.meshgrid(*map(np.fft.fftfreq, padded), indexing="ij")
    amplitude = (0.05**2 + fy**2 + fx**2 + (1.5 * ft) ** 2) ** -0.6
    amplitude /= np.sqrt((amplitude**2).mean())
    count = int(np.prod(padded))
    basis = np.fft.fftn(np.eye(count).reshape(-1, *padded), axes=(1, 2, 3))
    moves = 30 * np.fft.ifftn(amplitude * basis, axes=(1, 2, 3)).real
    seen = moves[:, :frames, :height, :width].reshape(count, -1).T / 100
    wanted = responses.T.reshape(-1) - 1.2
    z = np.linalg.solve(2 * seen.T @ seen + np.eye(count), 2 * seen.T @ wanted)
    closed = 120 + 100 * (seen @ z).reshape(frames, height, width)
    np.testing.assert_allclose(found.movie, closed, atol=0.2)
    assert np.ptp(closed) > 20


# The laws, small.


@pytest.mark.parametrize("method", ["map", "bauer2026"])
def test_more_neurons_tell_more(session, method):
    iterations = 40 if method == "map" else 120
    found = [
        session.read(method=method, neurons=np.arange(n), iterations=iterations) for n in (25, 200)
    ]
    few, many = (score(one.movie, session.movie, skip=8) for one in found)
    assert many > few + 0.1
    assert many > 0.5
    by_lag = correlation_by_lag(found[1].movie, session.movie, skip=8, max_lag=5)
    assert by_lag.argmax() == 5
    assert by_lag[5] == pytest.approx(many)


def test_noise_costs(session):
    noisy = score(session.read().movie, session.movie, skip=8)
    clean = score(session.read(responses=session.expected).movie, session.movie, skip=8)
    assert clean > noisy + 0.02


def test_shuffled_neurons_tell_nothing():
    """On average: movies this small have few independent values, and vary by 0.07 with chance."""
    scores = []
    for seed in range(8):
        of_seed = recorded(200, seed=seed)
        order = np.random.default_rng(seed).permutation(200)
        mixed = of_seed.read(responses=of_seed.responses[order], iterations=25, holdout=0)
        scores.append(score(mixed.movie, of_seed.movie, skip=8))
    assert np.ptp(scores) > 0
    assert abs(np.mean(scores)) < 0.05


def test_more_iterations_of_map_change_nothing(session):
    once, thrice = (session.read(iterations=n, patience=None) for n in (60, 180))
    a, b = (score(one.movie, session.movie, skip=8) for one in (once, thrice))
    assert a == pytest.approx(b, abs=0.01)


@pytest.mark.parametrize("method", ["map", "bauer2026"])
def test_left_out_neurons_count_nowhere(session, method):
    kept = np.arange(0, 200, 2)
    other = session.responses.copy()
    other[1::2] = 1e6
    unmeasured = session.responses.copy()
    unmeasured[1::2] = np.nan
    impossible = session.responses.copy()
    impossible[1::4], impossible[3::4] = -1, np.inf
    few = {"method": method, "iterations": 6}
    a = session.read(neurons=kept, **few)
    for found in (
        session.read(neurons=kept, responses=other, **few),
        session.read(neurons=kept, responses=impossible, **few),
        session.read(neurons=np.isin(np.arange(200), kept), **few),
        session.read(responses=unmeasured, **few),
    ):
        assert found.movie.tobytes() == a.movie.tobytes()
        np.testing.assert_array_equal(found.fitted, a.fitted)
    assert not np.isin(np.concatenate([a.fitted, a.held_out]), kept, invert=True).any()


def test_single_missing_responses_count_nowhere(session):
    missing = session.responses.copy()
    missing[:150, 20:] = np.nan
    found = session.read(responses=missing, iterations=20)
    r = score(found.movie, session.movie, skip=8)
    assert np.isfinite(found.movie).all()
    assert 0.3 < r < score(session.read(iterations=20).movie, session.movie, skip=8)


def test_the_same_seed_gives_the_same_bits(session):
    for method in ("map", "bauer2026"):
        one, same = (session.read(method=method, iterations=5, seed=2) for _ in range(2))
        assert one.movie.tobytes() == same.movie.tobytes()
        np.testing.assert_array_equal(one.held_out, same.held_out)
    other = session.read(iterations=5, seed=3)
    assert not np.array_equal(one.held_out, other.held_out)


def noisy_copies(session, count):
    """Encoders that are wrong in ways of their own, as trained ones are."""
    copies = []
    for n in range(count):
        model = GaborPopulation(200, SHAPE, seed=3)
        draw = torch.Generator().manual_seed(n)
        spread = model.patches.std()
        model.patches += 0.5 * spread * torch.randn(model.patches.shape, generator=draw)
        copies.append(ClipEncoder(model, frames=None))
    return copies


def test_an_ensemble_is_better_than_its_members(session):
    encoders = noisy_copies(session, 4)
    found = session.read(encoder=encoders)
    single = np.mean([score(one, session.movie, skip=8) for one in found.members])
    assert score(found.movie, session.movie, skip=8) > single + 0.02
    np.testing.assert_allclose(found.movie, found.members.mean(axis=0), atol=1e-3)
    assert found.loss.shape == (4, 40)
    assert found.chosen.shape == (4,)


@pytest.mark.parametrize("method", ["map", "bauer2026"])
def test_gradients_of_an_ensemble_are_averaged(session, method):
    few = {"method": method, "iterations": 8}
    encoders = noisy_copies(session, 2)
    mean = session.read(encoder=encoders, ensemble="gradients", **few)
    assert mean.members.shape == (1, FRAMES, *SHAPE)
    single = session.read(encoder=encoders[0], **few)
    twice = session.read(encoder=[encoders[0]] * 2, ensemble="gradients", **few)
    np.testing.assert_allclose(twice.movie, single.movie, atol=1e-3)
    assert np.abs(mean.movie - single.movie).max() > 1


def test_held_out_neurons_choose_the_movie(session):
    found = session.read(method="bauer2026", iterations=60, patience=5, holdout=0.2)
    held = found.holdout_loss[0]
    assert len(found.held_out) == 40
    assert found.chosen[0] == np.nanargmin(held)
    rest = session.read(
        method="bauer2026", iterations=int(found.chosen[0]) + 1, patience=None, holdout=0.2
    )
    assert rest.movie.tobytes() == found.movie.tobytes()


def test_early_stopping_leaves_the_rest_undone():
    """An encoder whose held-out neuron only gets worse."""

    class Against(torch.nn.Module):
        def forward(self, clips):
            level = torch.sigmoid((clips[:, 0].mean((2, 3)) - 127.5) / 20)
            out = level[:, None].repeat(1, 10, 1)
            out[:, held] = 1 - out[:, held]
            return out

    held = 0
    responses = np.full((10, 8), 1.0, np.float32)
    calls = []
    encoder = ClipEncoder(Against(), frames=None)

    def read():
        return reconstruct(
            encoder, responses, shape=(4, 4), iterations=50, patience=3,
            progress=lambda done, of: calls.append((done, of)),
        )  # fmt: skip

    held = read().held_out
    calls.clear()
    with pytest.warns(IosfastWarning, match="no movie explains the neurons that are held out"):
        found = read()
    assert (found.movie == 127.5).all()
    assert found.chosen[0] == 0
    assert np.isfinite(found.loss[0]).sum() == 4
    assert calls[-1] == (50, 50)


def test_the_bar_counts_iterations(session, capsys):
    session.read(encoder=[session.encoder] * 2, iterations=3, progress=True)
    shown = capsys.readouterr().err
    assert "6/6" in shown
    assert "bytes" not in shown


def test_the_mask_says_what_moves(session):
    mask = np.zeros(SHAPE, bool)
    mask[4:12, 3:9] = True
    for method in ("map", "bauer2026"):
        found = session.read(method=method, mask=mask, iterations=6, blur_sigma=0)
        assert (found.movie[:, ~mask] == 127.5).all()
        assert found.movie[:, mask].std() > 0.2
        alpha = session.read(
            method=method, mask=np.where(mask, 0.6, 0.4), iterations=6, blur_sigma=0
        )
        assert alpha.movie.tobytes() == found.movie.tobytes()


def test_the_model_is_given_back_as_it_was(session):
    model = Clips()
    model.train()
    model.side.requires_grad_(False)
    encoder, responses, behaviour, _ = clip_problem()
    encoder = ClipEncoder(model, pad_to=(12, 10))
    reconstruct(
        encoder,
        responses,
        shape=(10, 8),
        behaviour=behaviour,
        iterations=2,
        holdout=0,
        progress=False,
    )
    assert model.training
    assert model.dropout.training
    assert model.space.requires_grad
    assert not model.side.requires_grad
    assert model.space.grad is None


def test_memory_that_runs_out_means_smaller_batches():
    class Greedy(Clips):
        def forward(self, clips):
            if len(clips) > 4:  # two windows of two clips
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
            return super().forward(clips)

    _, responses, behaviour, _ = clip_problem(90)
    options = {"shape": (10, 8), "behaviour": behaviour, "iterations": 3, "holdout": 0}
    options["progress"] = False
    with pytest.warns(IosfastWarning, match=r"memory ran out; going on with (4|2) windows") as said:
        found = reconstruct(ClipEncoder(Greedy(), pad_to=(12, 10)), responses, **options)
    assert len(said) == 2
    plain = reconstruct(ClipEncoder(Clips(), pad_to=(12, 10)), responses, batch=2, **options)
    assert found.movie.tobytes() == plain.movie.tobytes()

    class Full(Clips):
        def forward(self, clips):
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9")

    with pytest.raises(MemoryError, match=r"not enough memory for one of the windows: .*can't"):
        reconstruct(ClipEncoder(Full(), pad_to=(12, 10)), responses, batch=1, **options)


def test_arithmetic_of_less_precision_and_compiled_models(session, monkeypatch):
    exact = session.read(iterations=10)
    rough = session.read(iterations=10, precision="bfloat16")
    assert rough.movie.tobytes() != exact.movie.tobytes()
    assert np.corrcoef(rough.movie.ravel(), exact.movie.ravel())[0, 1] > 0.95
    compiled = []

    def noted(function):
        compiled.append(function)
        return function

    monkeypatch.setattr(torch, "compile", noted)
    assert session.read(iterations=10, compile=True).movie.tobytes() == exact.movie.tobytes()
    assert compiled == [session.encoder.model]
    assert session.encoder.compiled is None


# The transparency mask, the trainable encoder, scores.


def test_the_published_mask_step_by_step():
    model = Clips()
    encoder = ClipEncoder(model.eval(), frames=None, pad_to=(12, 10))
    movies = list(natural_movies(3, 40, (8, 10), seed=2))
    behaviour = list(behaviour_traces(3, 40))
    responses = list(np.random.default_rng(1).poisson(1.0, (3, 7, 40)).astype(np.float32))
    found = transparency_mask(
        encoder, movies, responses, behaviour, iterations=12, skip=5, window=32, seed=6
    )
    draw = np.random.default_rng((6, 7))
    first = draw.random((12, 10), np.float32)
    pairs = [draw.integers(0, 3, 2) for _ in range(12)]
    wanted = published_mask(
        model, movies, responses, behaviour, (12, 10), slice(5, 37), first, pairs
    )
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert np.abs(wanted - 0.05 * first[2:10]).max() > 0.03


def test_the_mask_is_where_the_neurons_look():
    class LeftHalf(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.all = GaborPopulation(60, SHAPE, seed=1)
            self.all.patches[:, (torch.arange(2 * 256) % 16) >= 8] = 0

        def forward(self, clips):
            return self.all(clips)

    encoder = ClipEncoder(LeftHalf(), frames=None)
    movies = natural_movies(4, 24, SHAPE, seed=5)
    responses = [predict(encoder, movie) for movie in movies]
    responses[0][:3] = np.nan
    options = {"iterations": 60, "skip": 4, "window": 20, "seed": 1}
    mask = transparency_mask(encoder, movies, responses, **options)
    assert mask.shape == SHAPE
    assert mask.dtype == np.float32
    assert mask[4:12, :6].min() > mask[4:12, 12:].max() + 0.2
    again = transparency_mask(encoder, movies, responses, **options)
    assert mask.tobytes() == again.tobytes()
    options = {**options, "iterations": 3, "neurons": np.arange(0, 60, 2)}
    few = transparency_mask(encoder, movies, responses, **options)
    for trial in responses:
        trial[1::4], trial[3::4] = np.inf, 1e6
    same = transparency_mask(encoder, movies, responses, **options)
    assert few.tobytes() == same.tobytes()
    for trial in responses:
        trial[1::2] = np.nan
    del options["neurons"]
    assert transparency_mask(encoder, movies, responses, **options).tobytes() == few.tobytes()


def test_a_small_encoder_learns():
    population = ClipEncoder(GaborPopulation(12, SHAPE, seed=2), frames=None)
    movies, traces = natural_movies(12, 40, SHAPE), behaviour_traces(12, 40)
    expected = [predict(population, m, b) for m, b in zip(movies, traces, strict=True)]
    responses = noisy_responses(np.stack(expected))
    responses[0, 0] = np.nan
    model = SmallEncoder(12, SHAPE, features=8, seed=4)
    losses = train(
        model, movies[1:], responses[1:], traces[1:], epochs=20, learning_rate=0.03, seed=1
    )
    assert losses[-1] < losses[0] - 0.05
    given = predict(ClipEncoder(model, frames=None), movies[0], traces[0])
    r = [np.corrcoef(a, b)[0, 1] for a, b in zip(given, expected[0], strict=True)]
    assert np.median(r) > 0.3
    again = SmallEncoder(12, SHAPE, features=8, seed=4)
    train(again, movies[1:], responses[1:], traces[1:], epochs=1, learning_rate=0.03, seed=1)
    other = SmallEncoder(12, SHAPE, features=8, seed=4)
    train(other, movies[1:], responses[1:], traces[1:], epochs=1, learning_rate=0.03, seed=1)
    for a, b in zip(again.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_scores():
    random = np.random.default_rng(0)
    truth = random.uniform(0, 255, (50, 6, 5))
    movie = np.clip(truth + random.normal(0, 60, truth.shape), 0, 255)
    mask = random.random((6, 5)) < 0.5
    wanted = np.corrcoef(movie[30:, mask].ravel(), truth[30:, mask].ravel())[0, 1]
    assert score(movie, truth, mask) == pytest.approx(wanted, abs=1e-6)
    assert score(movie, truth, np.where(mask, 1.2, 0.99)) == score(movie, truth, mask)
    late = np.roll(movie, 3, axis=0)
    assert correlation_by_lag(late, truth, skip=5, max_lag=6).argmax() == 9


@given(st.floats(0.3, 4), st.integers(1, 30), st.sampled_from(["reflect", "mirror"]))
def test_the_blur_is_that_of_scipy(sigma, length, border):
    values = np.random.default_rng(0).random((length, 3))
    radius = int(4 * sigma + 0.5)
    found = blurred(torch.from_numpy(values), sigma, (0, 1), radius, border).numpy()
    wanted = ndimage.gaussian_filter(values, sigma, mode=border)
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


def test_simulated_movies_and_neurons():
    movies = natural_movies(3, 20, SHAPE, seed=1, exponent=1.0)
    assert movies.shape == (3, 20, *SHAPE)
    assert movies.min() >= 0
    assert movies.max() <= 255
    np.testing.assert_array_equal(natural_movies(1, 20, SHAPE, seed=1)[0], movies[0])
    assert np.corrcoef(movies[0].ravel(), movies[1].ravel())[0, 1] < 0.9
    still = natural_movies(1, 1, (64, 64), objects=0)[0, 0]
    spectrum = np.abs(np.fft.fft2(still - still.mean())) ** 2
    fy, fx = np.meshgrid(np.fft.fftfreq(64), np.fft.fftfreq(64), indexing="ij")
    f = np.hypot(fy, fx)
    low, high = (spectrum[(f > a) & (f < 2 * a)].mean() for a in (0.05, 0.2))
    assert 8 < low / high < 32  # power falls with f ** 2: 16 for 2 octaves
    few, many = GaborPopulation(5, SHAPE), GaborPopulation(9, SHAPE)
    np.testing.assert_allclose(few.gain, many.gain[:5], rtol=1e-5)
    given = predict(ClipEncoder(many, frames=None), movies[0])
    assert given.shape == (9, 20)
    assert given.min() > 0
    counts = noisy_responses(np.full((4, 5000), 0.7, np.float32))
    assert counts.mean() == pytest.approx(0.7, abs=0.02)
    assert counts.var() == pytest.approx(0.7, abs=0.04)


def test_a_cell_sees_only_what_was(session):
    movie = session.movie.copy()
    before = predict(session.encoder, movie, session.behaviour)
    movie[25:] = 255 - movie[25:]
    after = predict(session.encoder, movie, session.behaviour)
    np.testing.assert_allclose(after[:, :25], before[:, :25], rtol=1e-4)
    assert np.abs(after[:, 26:] - before[:, 26:]).max() > 1


# Wrong input.

GOOD = np.ones((7, 44), np.float32)


def wrong(**changes):
    """Reconstruct from responses of the clips' model, with changes."""
    encoder = changes.pop("encoder", None) or clip_problem()[0]
    responses = changes.pop("responses", GOOD)
    options = {
        "shape": (10, 8), "behaviour": np.zeros((2, 44)), "iterations": 1, "progress": False,
    }  # fmt: skip
    return reconstruct(encoder, responses, **{**options, **changes})


def flat(value):
    out = GOOD.copy()
    out[3, 5] = value
    return out


class Detached(Clips):
    def forward(self, clips):
        return super().forward(clips).detach()


class Dead(Clips):
    def forward(self, clips):
        return torch.relu(super().forward(clips) - 1e6) + 1


class Negative(Clips):
    def forward(self, clips):
        return -super().forward(clips) - 1


class Flat(Clips):
    def forward(self, clips):
        return super().forward(clips).flatten(1)


def clips(model, **options):
    return ClipEncoder(model, **{"pad_to": (12, 10), **options})


@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        ({"responses": GOOD[:, :43]}, ValueError, "behaviour has 44 frames, but expected were 43"),
        ({"responses": GOOD[:6]}, ValueError, "encoder gives 7 neurons, but responses has 6"),
        ({"responses": GOOD[0]}, ValueError, r"responses must have shape \(neurons, T\)"),
        ({"responses": GOOD.astype(str)}, TypeError, "responses must be numbers"),
        ({"responses": [[1, 2], [3]]}, ValueError, "responses must be one array of numbers"),
        ({"responses": GOOD.astype(float) * 1e300}, ValueError, "responses must be finite, or NaN"),
        ({"compile": "yes"}, TypeError, "compile must be True or False, not 'yes'"),
        ({"responses": flat(-1)}, ValueError, "not be negative .* neuron 3 has -1; .* loss='mse'"),
        ({"responses": flat(np.inf)}, ValueError, "responses must be finite, or NaN"),
        ({"responses": GOOD * np.nan}, ValueError, "responses of all neurons .* are NaN"),
        ({"neurons": []}, ValueError, "neurons leaves all neurons out"),
        ({"neurons": np.zeros(7, bool)}, ValueError, "neurons leaves all neurons out"),
        ({"neurons": np.zeros(6, bool)}, ValueError, r"neurons has shape \(6,\), .* 7 neurons"),
        ({"neurons": [7]}, ValueError, "neurons must be from 0 to 6, not 7"),
        ({"neurons": [0.5]}, TypeError, "neurons must be a mask or a list of whole numbers"),
        ({"neurons": [1], "holdout": 0.5}, ValueError, "holdout=0.5 leaves no neuron to fit"),
        ({"mask": np.zeros((10, 8))}, ValueError, "mask holds no pixel"),
        ({"mask": np.zeros((8, 10))}, ValueError, r"mask has shape \(8, 10\)"),
        ({"mask": np.full((10, 8), np.nan)}, ValueError, "mask must be finite"),
        ({"shape": (13, 8)}, ValueError, r"pad_to is \(12, 10\), but the movie is larger"),
        ({"shape": 3}, TypeError, r"shape must be \(Y, X\)"),
        ({"behaviour": np.full((2, 44), np.nan)}, ValueError, "behaviour must be finite"),
        ({"behaviour": None}, ValueError, "encoder cannot take windows of 32 frames with 1 chann"),
        ({"method": "best"}, ValueError, "method must be one of 'bauer2026', 'map'"),
        ({"ensemble": "no"}, ValueError, "ensemble must be one of"),
        ({"loss": "l1"}, ValueError, "loss must be one of"),
        ({"precision": "int8"}, ValueError, "precision must be one of"),
        ({"holdout": 1.5}, ValueError, "holdout must be at least 0 and at most 0.9"),
        ({"patience": 0}, ValueError, "patience must be at least 1"),
        ({"iterations": 0}, ValueError, "iterations must be at least 1"),
        (
            {"window": 31},
            ValueError,
            r"window is 31 frames, .* \(16 frames at step 2\) need 32",
        ),
        ({"stride": 33}, ValueError, "stride must be at least 1 and at most 32"),
        ({"batch": 0}, ValueError, "batch must be at least 1"),
        ({"device": "abacus"}, ValueError, "device must be 'auto' or one of torch, not 'abacus'"),
        ({"device": "cuda:99"}, DeviceError, "device is 'cuda:99', but it cannot be used: "),
        ({"prior": {"exponent": 1}}, TypeError, "prior must be a Prior, not dict"),
        ({"progress": "yes"}, TypeError, "progress must be True, False or a function"),
        ({"encoder": Clips()}, TypeError, "encoder must be a ClipEncoder"),
        ({"encoder": [clips(Detached())]}, ValueError, "encoder cannot be differentiated"),
        ({"encoder": clips(Dead())}, ValueError, "does not respond to small changes of a grey"),
        ({"encoder": clips(Negative())}, ValueError, "the loss is not finite"),
        (
            {"encoder": clips(Flat())},
            ValueError,
            r"\(clips, neurons, frames\) with 6 clips",
        ),
        ({"encoder": clips(Clips(), call=lambda m, x: 1)}, TypeError, "must give a tensor, not i"),
    ],
)
def test_wrong_arguments(changes, kind, text):
    with pytest.raises(kind, match=text):
        wrong(**changes)


def test_no_encoder_and_short_recordings():
    with pytest.raises(ValueError, match="not an empty list"):
        reconstruct([], GOOD, shape=(10, 8))
    with pytest.raises(ValueError, match=r"responses has 20 frames, but .* need 32"):
        wrong(responses=GOOD[:, :20], behaviour=None)
    with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module, not function"):
        ClipEncoder(lambda x: x)
    with pytest.raises(ValueError, match="frames must be at least 1"):
        ClipEncoder(Clips(), frames=0)
    with pytest.raises(ValueError, match="exponent must be at least 0"):
        Prior(exponent=-1)


@pytest.mark.parametrize(
    ("movie", "text"),
    [
        (np.full((44, 10, 8), np.nan), "movie must be finite, but frame 0 is not"),
        (np.full((44, 10, 8), 300.0), "movie must be on a scale of 0 to 255"),
        (np.zeros((44, 10)), r"movie must have shape \(T, Y, X\)"),
        (np.zeros((30, 10, 8)), "movie has 30 frames, but the clips of the encoder need 32"),
    ],
)
def test_wrong_movies(movie, text):
    with pytest.raises(ValueError, match=text):
        predict(clip_problem()[0], movie)


def test_movies_and_trials_that_do_not_fit():
    movie = natural_movies(1, 40, SHAPE)[0]
    for other, text in (
        (movie[1:], "truth has"),
        (movie * 0 + 3, "same everywhere"),
        (movie[:, 1:], "truth has"),
    ):
        with pytest.raises(ValueError, match=text):
            score(movie, other)
    with pytest.raises(ValueError, match="skip must be below the number of frames, 40, not 40"):
        score(movie, movie, skip=40)
    encoder = ClipEncoder(GaborPopulation(3, SHAPE), frames=None)
    responses = np.ones((3, 40))
    for changes, text in (
        ({"movies": [movie]}, "movies must be two or more, not 1"),
        ({"responses": [responses]}, "responses has 1 trials, but movies has 2"),
        ({"responses": [responses, responses[:, 1:]]}, "responses has 39 frames, but the movie"),
        ({"responses": [responses, responses[1:]]}, r"responses\[1\] has 2 neurons"),
        ({"responses": [responses[1:]] * 2}, "encoder gives 3 neurons, but responses has 2"),
        ({"movies": [movie, movie[:, 1:]]}, r"movies\[1\] is \(15, 16\)"),
        (
            {"responses": [responses * np.nan] * 2},
            r"responses in the frames that are used \(0 to 31\) are NaN",
        ),
        ({"skip": 20}, r"movies\[0\] has 40 frames, but skip and window need 52"),
    ):
        options = {"movies": [movie] * 2, "responses": [responses] * 2, "skip": 0, **changes}
        with pytest.raises(ValueError, match=text):
            transparency_mask(encoder, **options)
    for changes, text in (
        ({"responses": [responses] * 3}, "responses has 3 movies, but movies has 2"),
        ({"movies": movie}, "movies must have 4 axes"),
        ({"responses": [responses[1:]] * 2}, r"the model gives \(3, 40\)"),
    ):
        options = {"movies": [movie] * 2, "responses": [responses] * 2, **changes}
        with pytest.raises(ValueError, match=text):
            train(SmallEncoder(3, SHAPE, behaviour=0, features=2), **options)


def test_one_encoder_and_possible_expectations():
    encoder = ClipEncoder(Pixels(), frames=None)
    movie = np.zeros((5, 2, 2))
    with pytest.raises(TypeError, match="encoder must be one ClipEncoder, not list"):
        predict([encoder, encoder], movie)
    with pytest.raises(TypeError, match="encoder must be one ClipEncoder, not Pixels"):
        transparency_mask(Pixels(), [movie] * 2, [movie[:, 0].T] * 2)
    with pytest.raises(TypeError, match="movies must be a sequence with one array of each trial"):
        transparency_mask(encoder, 3, 4)
    for value in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="expected must be finite and not negative"):
            noisy_responses(np.array([0.5, value]))
    with pytest.raises(TypeError, match="expected must be numbers, not <U1"):
        noisy_responses("a")


def test_without_torch_the_extra_is_named_and_iosfast_works():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import iosfast, iosfast.cli\n"
        "try:\n    import iosfast.reconstruct\n"
        "except ImportError as error:\n    print(error)\n"
        "print(iosfast.cli.main(['reconstruct', 'demo']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'iosfast[reconstruct]'" in done.stdout
    assert done.stdout.splitlines()[-1] == "1"
    assert "iosfast[reconstruct]" in done.stderr


def test_iosfast_does_not_import_torch():
    code = "import sys, iosfast, iosfast.cli; iosfast.cli._parser(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
