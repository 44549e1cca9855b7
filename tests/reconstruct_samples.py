"""Small problems of reconstruction that its tests share."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from iosfast.reconstruct import (
    ClipEncoder,
    GaborPopulation,
    behaviour_traces,
    natural_movies,
    noisy_responses,
    predict,
    reconstruct,
)

SHAPE, FRAMES = (16, 16), 40


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


class Pixels(torch.nn.Module):
    """Neurons that are pixels."""

    def forward(self, clips):
        return clips[:, 0].flatten(2).transpose(1, 2) / 100
