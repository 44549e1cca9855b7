"""What responses say about a movie: the loss of every window, and where it falls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .encoder import ClipEncoder, running
from .memory import Batches
from .windows import Windows

Loss = Literal["poisson", "mse"]

#: Keeps logarithms and quotients finite, as in the published code.
_LOG_FLOOR, _NORM_FLOOR = 1e-8, 1e-6


@dataclass(frozen=True)
class Evaluated:
    """The gradient at a movie, and how well it explains the responses.

    Parameters
    ----------
    gradient : Tensor of float32, shape (T, Y, X)
    loss, holdout_loss : float
        Mean over the responses that are fitted, and over those that are held out; NaN if none.
    """

    gradient: Tensor
    loss: float
    holdout_loss: float


class Objective:
    """The loss of a movie under an encoder.

    Parameters
    ----------
    encoder : ClipEncoder
        Ready on the device.
    responses : ndarray of float32, shape (neurons, T)
        NaN is left out.
    behaviour : ndarray of float32, shape (channels, T), optional
    fitted, held_out : ndarray of int
        Neurons; all others count nowhere.
    windows : Windows
    shape : tuple of int
        (Y, X).
    loss : {"poisson", "mse"}
    batches : Batches
        Windows that go through the encoder at a time.
    device : torch.device
    """

    def __init__(
        self,
        encoder: ClipEncoder,
        responses: NDArray[np.float32],
        behaviour: NDArray[np.float32] | None,
        fitted: NDArray[np.intp],
        held_out: NDArray[np.intp],
        windows: Windows,
        shape: tuple[int, int],
        loss: Loss,
        batches: Batches,
        device: torch.device,
    ) -> None:
        self.encoder, self.windows, self.shape = encoder, windows, shape
        self._neurons = len(responses)
        self._used = torch.from_numpy(np.concatenate([fitted, held_out])).to(device)
        self._fitted = len(fitted)
        targets = torch.from_numpy(responses).to(device)[self._used]
        self._known = ~torch.isnan(targets)
        self._targets = torch.where(self._known, targets, 0)
        self._behaviour = None if behaviour is None else torch.from_numpy(behaviour).to(device)
        self._poisson = loss == "poisson"
        self._batches = batches
        self._untried = True
        self._coverage = torch.from_numpy(windows.coverage).to(device)
        self._rows, self._columns = encoder.place(shape)

    @property
    def responses(self) -> int:
        """Number of responses that are fitted."""
        return int(self._known[: self._fitted].sum())

    def published(self, movie: Tensor) -> Evaluated:
        """Gradient as published: of each window, divided by its norm, then the mean of windows.

        The norm is over all channels and the pixels around the movie.
        """
        gradient = torch.zeros_like(movie)

        def add(start: int, times: int, of_window: Tensor) -> None:
            unit = of_window / (torch.linalg.vector_norm(of_window) + _NORM_FLOOR)
            frames = slice(start, start + self.windows.length)
            gradient[frames] += times * unit[0, :, self._rows, self._columns]

        fit, held = self._over_windows(movie, add, gradient)
        return Evaluated(gradient / self._coverage[:, None, None], fit, held)

    def summed(self, movie: Tensor) -> Evaluated:
        """Gradient of the loss summed over responses, each of them once."""
        gradient = torch.zeros_like(movie)

        def add(start: int, _times: int, of_window: Tensor) -> None:
            frames = slice(start, start + self.windows.length)
            gradient[frames] += of_window[0, :, self._rows, self._columns]

        fit, held = self._over_windows(movie, add, gradient, each_once=True)
        return Evaluated(gradient, fit, held)

    def _over_windows(
        self,
        movie: Tensor,
        add: Callable[[int, int, Tensor], None],
        gradient: Tensor,
        each_once: bool = False,
    ) -> tuple[float, float]:
        """Go through all windows in batches; return the loss of fitted and held-out neurons."""

        def work(size: int) -> tuple[float, float]:
            gradient.zero_()
            sums = np.zeros(4)
            for first in range(0, len(self.windows.starts), size):
                gradients, found = self._batch(movie, first, size, each_once)
                sums += found
                for number, of_window in enumerate(gradients, first):
                    add(self.windows.starts[number], self.windows.times[number], of_window)
            fit = float(sums[0] / sums[1])
            if not np.isfinite(fit):
                raise ValueError(
                    "the loss is not finite: the encoder gives responses that are not finite"
                    + (", or negative ones, for the Poisson loss" if self._poisson else "")
                )
            if self._untried and not gradient.any():
                raise ValueError(
                    "the encoder does not respond to small changes of a grey movie: the gradient "
                    "is 0 there (as of a rectification that is flat at 0), so nothing can be found"
                )
            self._untried = False
            return fit, float(sums[2] / sums[3]) if sums[3] else float("nan")

        return self._batches.run(work)

    def _batch(
        self, movie: Tensor, first: int, size: int, each_once: bool
    ) -> tuple[Tensor, NDArray[np.float64]]:
        """Give gradients of some windows, (N, channels, L, Y, X), and sums of losses and weights.

        Sums: of fitted and then of held-out neurons, the loss and the weights of its terms.
        """
        length = self.windows.length
        frames = [slice(s, s + length) for s in self.windows.starts[first : first + size]]
        behaviour = self._behaviour
        traces = None if behaviour is None else torch.stack([behaviour[:, f] for f in frames])
        shown = torch.stack([movie[f] for f in frames])
        inputs = self.encoder.inputs(shown, traces).requires_grad_(True)
        with torch.enable_grad():
            given = running(self.encoder, inputs).float()
            if given.shape[1] != self._neurons:
                raise ValueError(
                    f"the encoder gives {given.shape[1]} neurons, but responses has {self._neurons}"
                )
            losses = self._losses(
                given[:, self._used], torch.stack([self._targets[:, f] for f in frames])
            )
            known = torch.stack([self._known[:, f] for f in frames])
            times = self.windows.times[first : first + size]
            share = [n / self._coverage[f] for n, f in zip(times, frames, strict=True)]
            weights = known * torch.stack(share)[:, None]
            losses = torch.where(known, losses, 0)
            fit, rest = slice(None, self._fitted), slice(self._fitted, None)
            if each_once:
                total = (losses[:, fit] * weights[:, fit]).sum()
            else:
                entries = known[:, fit].sum((1, 2)).clamp_min(1)
                total = (losses[:, fit].sum((1, 2)) / entries).sum()
            if not total.requires_grad:
                raise ValueError("the encoder cannot be differentiated by the movie")
            (gradients,) = torch.autograd.grad(total, inputs)
        shared = losses.detach() * weights
        sums = [x.sum().item() for part in (fit, rest) for x in (shared[:, part], weights[:, part])]
        return gradients, np.array(sums)

    def _losses(self, given: Tensor, targets: Tensor) -> Tensor:
        if self._poisson:
            return given - targets * torch.log(given + _LOG_FLOOR)
        return (given - targets) ** 2
