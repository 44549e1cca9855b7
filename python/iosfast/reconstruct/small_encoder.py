"""A small dynamic encoding model, and how it is trained: to show the whole without data."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from .. import arguments
from ..progress import progress_for
from .checks import checked_behaviour, checked_movie, checked_responses
from .movies import CONTRAST, MEAN

#: Of the first convolution, in frames and pixels; it looks back only.
_FRAMES, _PIXELS = 9, 9
#: Pixels from one place to the next.
_STRIDE = 2
#: Share of its own smallest value that a response keeps, so that it always has a logarithm.
_LEAST = 0.01
#: How fast places are found: the factor of what is learnt of them.
_SHARPNESS = 30.0
#: Of the rectification.
_SOFTNESS = 4.0
#: Smaller shares of a place are none: numbers that are nearly 0 are very slow.
_FARTHEST = 1e-6


class SmallEncoder(nn.Module):
    """Convolutions over time and space, and for each neuron a place, features and a gain.

    Movies of any length go in at once: ``ClipEncoder(model, frames=None)``.

    Parameters
    ----------
    neurons : int
    shape : tuple of int
        (Y, X) of the movies.
    features : int
        Of the convolutions; each is used as it is, rectified both ways, and squared.
    behaviour : int
        Channels of behaviour.
    seed : int
        Of the weights to begin with.
    """

    def __init__(
        self,
        neurons: int,
        shape: tuple[int, int],
        *,
        features: int = 16,
        behaviour: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__()
        neurons = arguments.integer("neurons", neurons, 1)
        self.shape = arguments.image_shape("shape", shape)
        features = arguments.integer("features", features, 1)
        self.channels = arguments.integer("behaviour", behaviour, 0)
        draw = torch.Generator().manual_seed(arguments.integer("seed", seed, 0))

        def drawn(scale: float, *size: int) -> nn.Parameter:
            return nn.Parameter(scale * torch.randn(*size, generator=draw))

        even, odd = _gabor_bank(features)
        self.space = nn.Parameter(even + 0.02 * drawn(1, *even.shape).data)
        self.quadrature = nn.Parameter(odd + 0.02 * drawn(1, *odd.shape).data)
        self.time = nn.Parameter(_time_courses(features) + drawn(0.05, features, 2, _FRAMES).data)
        height, width = (-(-size // _STRIDE) for size in self.shape)
        self.place = drawn(0.01, neurons, height * width)
        self.weights = drawn(0.05, neurons, 3 * features)
        self.bias = nn.Parameter(torch.zeros(neurons))
        self.gain = nn.Parameter(torch.zeros(neurons, max(1, self.channels)))

    def forward(self, inputs: Tensor) -> Tensor:
        """Give the expected responses.

        Parameters
        ----------
        inputs : Tensor of float32, shape (N, 1 + behaviour, T, Y, X)

        Returns
        -------
        Tensor of float32, shape (N, neurons, T)
        """
        count, _, frames = inputs.shape[:3]
        movie = (inputs[:, :1] - MEAN) / CONTRAST
        features = len(self.space)
        patches = torch.cat([self.space, self.quadrature])
        seen = nn.functional.conv2d(
            movie.flatten(0, 2)[:, None], patches, stride=_STRIDE, padding=_PIXELS // 2
        )
        seen = seen.reshape(count, frames, 2, features, -1)
        past = torch.cat([seen[:, :1].expand(-1, _FRAMES - 1, -1, -1, -1), seen], dim=1)
        past = past.unfold(1, _FRAMES, 1)  # (N, T, 2, features, P, memory)
        driven = torch.einsum("ntpfxk,fpk->nftx", past, self.time)
        parts = torch.cat([_halved(driven), _halved(-driven), driven.pow(2) / 2], dim=1)
        # (N, 3 features, T, P) at each neuron's place
        where = torch.softmax(_SHARPNESS * self.place, dim=1)
        where = where * (where > _FARTHEST)
        local = parts @ where.T  # (N, 3 features, T, neurons)
        summed = torch.einsum("nctk,kc->nkt", local, self.weights) + self.bias[:, None]
        response = nn.functional.softplus(summed)
        if self.channels:
            traces = inputs[:, 1:, :, 0, 0] - 1
            response = response * torch.exp(self.gain @ traces)
        return response + _LEAST


def _halved(driven: Tensor) -> Tensor:
    """Rectify softly: 0 where nothing drives, and not flat there, so that grey is no dead end."""
    return nn.functional.softplus(driven, beta=_SOFTNESS) - math.log(2) / _SOFTNESS


def train(
    model: nn.Module,
    movies: ArrayLike,
    responses: ArrayLike,
    behaviour: ArrayLike | None = None,
    *,
    epochs: int = 20,
    learning_rate: float = 0.01,
    seed: int = 0,
    progress: bool | Callable[[int, int], None] = False,
) -> NDArray[np.float64]:
    """Train a model that takes whole movies, by the Poisson loss, in place.

    Parameters
    ----------
    model : torch.nn.Module
        Such as `SmallEncoder`.
    movies : array_like, shape (count, T, Y, X)
        From 0 to 255.
    responses : array_like, shape (count, neurons, T)
        NaN is left out.
    behaviour : array_like, shape (count, channels, T), optional
    epochs : int
        How often each movie is seen.
    learning_rate : float
        Of Adam, at its highest; it rises and falls in one cycle.
    seed : int
        Of the order of movies.
    progress : bool or callable
        Show a bar, or call with the movies done and their number.

    Returns
    -------
    ndarray of float64, shape (epochs,)
        Mean loss of each epoch.

    Raises
    ------
    TypeError, ValueError
        If something does not fit.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, not {type(model).__name__}")
    examples = _examples(movies, responses, behaviour)
    epochs = arguments.integer("epochs", epochs, 1)
    rate = arguments.number("learning_rate", learning_rate, 0, above=True)
    random = np.random.default_rng((arguments.integer("seed", seed, 0), 6))
    steps = epochs * len(examples)
    optimizer = torch.optim.Adam(model.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps + 1)
    was = model.training
    model.train()
    losses = np.zeros(epochs)
    try:
        with progress_for(progress, steps, None, "train") as update:
            for epoch in range(epochs):
                for n, example in enumerate(random.permutation(len(examples))):
                    inputs, targets = examples[example]
                    known = ~torch.isnan(targets)
                    given = model(inputs[None])[0]
                    if given.shape != targets.shape:
                        raise ValueError(
                            f"the model gives {tuple(given.shape)} (neurons, T), but responses "
                            f"has {tuple(targets.shape)}"
                        )
                    clean = torch.where(known, targets, 0)
                    terms = given - clean * torch.log(given + 1e-8)
                    loss = torch.where(known, terms, 0).sum() / known.sum().clamp_min(1)
                    optimizer.zero_grad()
                    torch.autograd.backward(loss)
                    optimizer.step()
                    schedule.step()
                    losses[epoch] += loss.item() / len(examples)
                    update(epoch * len(examples) + n + 1)
    finally:
        model.train(was)
    return losses


def _examples(
    movies: ArrayLike, responses: ArrayLike, behaviour: ArrayLike | None
) -> list[tuple[Tensor, Tensor]]:
    """Give what goes in, (1 + channels, T, Y, X), and what is to come out, of each movie."""
    shown, evoked = np.asarray(movies), np.asarray(responses)
    traces = None if behaviour is None else np.asarray(behaviour)
    for name, array, dimensions in (("movies", shown, 4), ("responses", evoked, 3)):
        if array.ndim != dimensions or not len(array):
            raise ValueError(
                f"{name} must have {dimensions} axes, the first of them the movies, not shape "
                f"{array.shape}"
            )
    for name, other in (("responses", evoked), ("behaviour", traces)):
        if other is not None and len(other) != len(shown):
            raise ValueError(f"{name} has {len(other)} movies, but movies has {len(shown)}")
    examples = []
    for n in range(len(shown)):
        movie = checked_movie(f"movies[{n}]", shown[n])
        known = checked_responses(evoked[n], frames=len(movie), counts=True)
        parts = [torch.from_numpy(movie)[None]]
        if traces is not None:
            trace = checked_behaviour(traces[n], len(movie))
            assert trace is not None
            size = (-1, -1, *movie.shape[1:])
            parts.append(torch.from_numpy(trace)[..., None, None].expand(*size))
        examples.append((torch.cat(parts), torch.from_numpy(known)))
    return examples


def _gabor_bank(features: int) -> tuple[Tensor, Tensor]:
    """Give Gabor patches to begin with, in quadrature, (features, 1, pixels, pixels) each."""
    number = torch.arange(features)
    angle = math.pi * (number % 4) / 4
    period = 5.0 * 1.7 ** (number // 4 % 3)
    at = torch.arange(_PIXELS) - _PIXELS // 2
    y, x = torch.meshgrid(at, at, indexing="ij")
    along = torch.cos(angle)[:, None, None] * x + torch.sin(angle)[:, None, None] * y
    hill = torch.exp(-(x**2 + y**2) / (2 * (0.3 * _PIXELS) ** 2))
    wave = 2 * math.pi * along / period[:, None, None]
    pair = []
    for patch in (hill * torch.cos(wave), hill * torch.sin(wave)):
        patch = patch - hill * patch.mean((1, 2), keepdim=True) / hill.mean()
        pair.append((patch / patch.flatten(1).norm(dim=1)[:, None, None])[:, None])
    return pair[0], pair[1]


def _time_courses(features: int) -> Tensor:
    """Give temporal filters of the two phases to begin with, (features, 2, frames), oldest first.

    A third of the features does not care for direction, the others prefer one of the two.
    """
    lag = torch.arange(_FRAMES).flip(0).float()
    early, late = lag**2 * torch.exp(-lag), lag**3 * torch.exp(-lag / 0.9)
    early, late = early / early.norm(), late / late.norm()
    turn = (torch.arange(features) % 3 - 1.0)[:, None]
    return torch.stack([early.expand(features, -1), turn * late], dim=1) * 0.7
