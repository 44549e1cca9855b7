"""What reconstruction is made of: transparency mask, encoders, scores, simulated movies."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reconstruct_reference import published_mask
from reconstruct_samples import SHAPE, Clips, recorded
from scipy import ndimage

from iosfast.reconstruct import (
    ClipEncoder,
    GaborPopulation,
    SmallEncoder,
    behaviour_traces,
    correlation_by_lag,
    natural_movies,
    noisy_responses,
    predict,
    score,
    train,
    transparency_mask,
)
from iosfast.reconstruct.blur import blurred

pytestmark = pytest.mark.usefixtures("one_torch_thread")


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


def test_a_cell_sees_only_what_was():
    session = recorded(200)
    movie = session.movie.copy()
    before = predict(session.encoder, movie, session.behaviour)
    movie[25:] = 255 - movie[25:]
    after = predict(session.encoder, movie, session.behaviour)
    np.testing.assert_allclose(after[:, :25], before[:, :25], rtol=1e-4)
    assert np.abs(after[:, 26:] - before[:, 26:]).max() > 1


@pytest.fixture(params=[True, False])
def tf32(request):
    """Whether a GPU may round factors to 10 bits, as it does for convolutions by default."""
    backends = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = request.param
    yield request.param
    for backend, was in zip(backends, before, strict=True):
        backend.allow_tf32 = was


def test_float32_is_not_rounded_on_the_way(tf32):
    backends = torch.backends.cudnn, torch.backends.cuda.matmul
    seen = {}

    class Watching(torch.nn.Module):
        def forward(self, clips):
            seen[precision] = [backend.allow_tf32 for backend in backends]
            return clips.mean((1, 3, 4))[:, None]

    encoder = ClipEncoder(Watching(), frames=None)
    for precision in ("auto", "float32"):
        predict(encoder, np.zeros((20, 8, 8), np.float32), precision=precision)
    assert seen == {"auto": [tf32, tf32], "float32": [False, False]}
    assert [backend.allow_tf32 for backend in backends] == [tf32, tf32]
