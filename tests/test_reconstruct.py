"""Movies from responses: the published steps, the most probable movie, and the laws of both."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reconstruct_reference import published_movie
from reconstruct_samples import FRAMES, SHAPE, Clips, Pixels, clip_problem, recorded

from iosfast import IosfastWarning
from iosfast.reconstruct import (
    ClipEncoder,
    GaborPopulation,
    Prior,
    correlation_by_lag,
    natural_movies,
    predict,
    reconstruct,
    score,
)
from iosfast.reconstruct.memory import Batches
from iosfast.reconstruct.objective import Objective
from iosfast.reconstruct.windows import windows_of

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(scope="module")
def session(one_torch_thread):
    return recorded(200)


@pytest.mark.parametrize("frames", [32, 44, 48])
def test_the_published_procedure_step_by_step(frames):
    encoder, responses, behaviour, mask = clip_problem(frames)
    found = reconstruct(
        encoder, responses, shape=(10, 8), behaviour=behaviour, mask=mask, method="bauer2026",
        holdout=0, iterations=14, blur_sigma=0, batch=3, progress=False,
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
