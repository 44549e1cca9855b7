"""Wrong input of reconstruction: one clear error each."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from reconstruct_samples import SHAPE, Clips, Pixels, clip_problem

from iosfast.errors import DeviceError
from iosfast.reconstruct import (
    ClipEncoder,
    GaborPopulation,
    Prior,
    SmallEncoder,
    natural_movies,
    noisy_responses,
    predict,
    reconstruct,
    score,
    train,
    transparency_mask,
)

pytestmark = pytest.mark.usefixtures("one_torch_thread")


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
        ({"method": "best"}, ValueError, "method must be one of 'map', 'bauer2026'"),
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
