"""A simulated population of the visual cortex: Gabor neurons as a model that torch can follow."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .. import arguments
from .movies import CONTRAST, MEAN, natural_movies

#: Frames that a neuron's response lasts.
MEMORY_FRAMES = 10
#: Responses that a neuron always has, per frame.
BASELINE = 0.02
#: Of the rectification: a cell that could not respond to a bit of contrast could not be inverted.
SOFTNESS = 4.0


class GaborPopulation(nn.Module):
    """Simple and complex cells with spatial and temporal preferences, and a gain by behaviour.

    Each cell sees the movie through two temporal filters (fast, and slower and biphasic), and
    Gabor patches in quadrature on each, so that some cells prefer a direction. Simple cells are
    softly rectified; complex cells are the energy of two simple ones. The mean response to movies
    like `natural_movies` is `rate`.

    Parameters
    ----------
    neurons : int
    shape : tuple of int
        (Y, X) of the movies.
    seed : int
        The first neurons of a seed are the same, however many are asked for.
    complex_fraction : float
        Of complex cells among the neurons.
    rate : float
        Mean response per frame.
    behaviour_gain : float
        By how much responses change with pupil and running.

    Raises
    ------
    TypeError, ValueError
        If something does not fit.
    """

    patches: Tensor
    kernels: Tensor
    gain: Tensor
    threshold: Tensor
    is_complex: Tensor
    by_behaviour: Tensor

    def __init__(
        self,
        neurons: int,
        shape: tuple[int, int],
        *,
        seed: int = 0,
        complex_fraction: float = 0.4,
        rate: float = 0.6,
        behaviour_gain: float = 0.3,
    ) -> None:
        super().__init__()
        neurons = arguments.integer("neurons", neurons, 1)
        self.shape = arguments.image_shape("shape", shape)
        seed = arguments.integer("seed", seed, 0)
        complex_fraction = arguments.number("complex_fraction", complex_fraction, 0, 1)
        rate = arguments.number("rate", rate, 0, above=True)
        behaviour_gain = arguments.number("behaviour_gain", behaviour_gain, 0)
        random = np.random.default_rng((seed, 2))
        drawn = random.uniform(size=(neurons, 11))
        even, odd = _gabors(drawn, self.shape)
        prefers = drawn[:, 5, None] * np.where(drawn[:, 6, None] < 0.5, -1, 1)
        # Two phases of each cell, on the fast and on the slow filter.
        patches = np.stack(
            [
                np.concatenate([even, prefers * odd], axis=1),
                np.concatenate([odd, -prefers * even], axis=1),
            ]
        )
        self._keep("patches", patches.reshape(2 * neurons, -1))
        self._keep("kernels", _temporal_kernels())
        self.register_buffer("is_complex", torch.from_numpy(drawn[:, 7] < complex_fraction))
        self._keep("by_behaviour", behaviour_gain * (2 * drawn[:, 8:10] - 0.5))
        self._keep("threshold", 0.3 * drawn[:, 4])
        self._keep("gain", np.ones(neurons))
        seen = natural_movies(4, 48, self.shape, seed=4_000_000_000)
        with torch.no_grad():
            driven = self._driven(torch.from_numpy(seen))  # (4, neurons, T)
            spread = driven.pow(2).mean((0, 2)).sqrt()
            self.patches /= spread.repeat(2)[:, None]
            mean = self._rectified(self._two_phases(torch.from_numpy(seen))).mean((0, 2))
            self.gain.copy_((rate - BASELINE) / mean.clamp_min(1e-3))

    def _keep(self, name: str, values: NDArray[np.float64]) -> None:
        self.register_buffer(name, torch.from_numpy(values.astype(np.float32)))

    def _two_phases(self, movie: Tensor) -> Tensor:
        """Give what drives each cell in two phases, (N, 2, neurons, T), of (N, T, Y, X)."""
        count, frames = movie.shape[:2]
        pixels = (movie.flatten(2) - MEAN) / CONTRAST  # (N, T, P)
        before = pixels[:, :1].expand(-1, MEMORY_FRAMES - 1, -1)
        pixels = torch.cat([before, pixels], dim=1)
        past = pixels.unfold(1, MEMORY_FRAMES, 1)  # (N, T, P, memory), oldest first
        filtered = (past @ self.kernels.T).transpose(2, 3).flatten(2)  # (N, T, 2 P)
        driven = filtered @ self.patches.T
        return driven.reshape(count, frames, 2, -1).permute(0, 2, 3, 1)

    def _driven(self, movie: Tensor) -> Tensor:
        return self._two_phases(movie)[:, 0]

    def _rectified(self, phases: Tensor) -> Tensor:
        simple = nn.functional.softplus(phases[:, 0] - self.threshold[:, None], beta=SOFTNESS)
        energy = (phases.pow(2).sum(1) + 1e-6).sqrt()
        return torch.where(self.is_complex[:, None], energy, simple)

    def forward(self, inputs: Tensor) -> Tensor:
        """Give the expected responses.

        Parameters
        ----------
        inputs : Tensor of float32, shape (N, 1 or 3, T, Y, X)
            The movie; pupil dilation and running speed, constant over space, or none.

        Returns
        -------
        Tensor of float32, shape (N, neurons, T)
        """
        response = self._rectified(self._two_phases(inputs[:, 0])) * self.gain[:, None]
        if inputs.shape[1] > 1:
            traces = inputs[:, 1:3, :, 0, 0] - 1
            response = response * torch.exp(self.by_behaviour @ traces)
        return response + BASELINE


def noisy_responses(expected: NDArray[np.float32], *, seed: int = 0) -> NDArray[np.float32]:
    """Responses of a single trial: Poisson counts with these expectations.

    Parameters
    ----------
    expected : ndarray of float32
        Any shape, not negative.
    seed : int

    Returns
    -------
    ndarray of float32, the same shape

    Raises
    ------
    TypeError, ValueError
        If something does not fit.
    """
    random = np.random.default_rng((arguments.integer("seed", seed, 0), 3))
    expected = np.asarray(expected)
    if expected.dtype.kind not in "iuf":
        raise TypeError(f"expected must be numbers, not {expected.dtype}")
    if not (np.isfinite(expected).all() and (expected >= 0).all()):
        raise ValueError("expected must be finite and not negative")
    return random.poisson(expected).astype(np.float32)


def _gabors(
    drawn: NDArray[np.float64], shape: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give patches of unit length in two phases, (neurons, pixels), from numbers in 0 to 1."""
    y, x = np.mgrid[: shape[0], : shape[1]].reshape(2, 1, -1)
    down = y - drawn[:, 0, None] * (shape[0] - 1)
    right = x - drawn[:, 1, None] * (shape[1] - 1)
    angle = math.pi * drawn[:, 2, None]
    period = 4 * 4 ** drawn[:, 3, None]  # 4 to 16 pixels
    wide = 0.4 * period
    along = np.cos(angle) * right + np.sin(angle) * down
    hill = np.exp(-(down**2 + right**2) / (2 * wide**2))
    wave = 2 * math.pi * (along / period + drawn[:, 10, None])
    pair = []
    for patch in (hill * np.cos(wave), hill * np.sin(wave)):
        patch -= hill * patch.sum(1, keepdims=True) / hill.sum(1, keepdims=True)
        pair.append(patch / np.linalg.norm(patch, axis=1, keepdims=True).clip(1e-6))
    return pair[0], pair[1]


def _temporal_kernels() -> NDArray[np.float64]:
    """Give the fast and the slow, biphasic filter, (2, memory), oldest first."""
    lag = np.arange(MEMORY_FRAMES)
    fast = lag**2 * np.exp(-lag / 0.8)
    slow = lag**3 * np.exp(-lag / 0.9) - 0.25 * lag**5 * np.exp(-lag / 0.9) / 20
    return np.stack([k / np.linalg.norm(k) for k in (fast, slow)])[:, ::-1]
