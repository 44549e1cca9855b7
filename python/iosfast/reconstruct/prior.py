"""The most probable movie: what the responses say, and that spectra of movies fall with 1/f."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import arguments
from .course import Course
from .objective import Objective

ITERATIONS = 100
LEARNING_RATE = 0.1
BETAS = (0.9, 0.999)


@dataclass(frozen=True)
class Prior:
    """What movies are like before any response is seen: Gaussian, with a falling spectrum.

    The amplitude at spatial frequency (fy, fx) and temporal frequency ft, in cycles per pixel and
    frame, is ``(floor**2 + fy**2 + fx**2 + (time * ft)**2) ** (-exponent / 2)``.

    Parameters
    ----------
    exponent : float
        Of the fall.
    contrast : float
        Standard deviation of pixels, on the scale of 0 to 255.
    mean : float
        Level of pixels.
    time : float
        Pixels that pass by in a frame at a typical speed, inverted: larger is slower.
    floor : float
        Below this frequency, in cycles per pixel, the spectrum is flat.
    """

    exponent: float = 1.5
    contrast: float = 50.0
    mean: float = 127.5
    time: float = 2.0
    floor: float = 0.02

    def __post_init__(self) -> None:
        for name, low in (("exponent", 0.0), ("mean", 0.0), ("time", 0.0)):
            arguments.number(name, getattr(self, name), low)
        for name in ("contrast", "floor"):
            arguments.number(name, getattr(self, name), 0, above=True)

    def amplitude(self, shape: tuple[int, int, int], device: torch.device) -> Tensor:
        """Amplitude by frequency, for a movie of this shape (T, Y, X) and unit variance."""
        t, y, x = shape
        ft = torch.fft.fftfreq(t, device=device)[:, None, None]
        fy = torch.fft.fftfreq(y, device=device)[None, :, None]
        fx = torch.fft.fftfreq(x, device=device)[None, None]
        square: Tensor = self.floor**2 + fy**2 + fx**2 + (self.time * ft) ** 2
        full = square ** (-self.exponent / 2)
        full /= full.pow(2).mean().sqrt()
        half: Tensor = full[..., : x // 2 + 1]
        return half


def most_probable(
    objectives: Sequence[Objective],
    mask: Tensor,
    frames: int,
    iterations: int,
    course: Course,
    prior: Prior,
) -> None:
    """Find the movie with the largest probability, given responses and prior, by Adam.

    The movie is the prior's spectrum times the Fourier transform of z, which is white; the
    penalty of z is half of its square. Several encoders are averaged.

    Parameters
    ----------
    objectives : sequence of Objective
    mask : Tensor of bool, shape (Y, X)
        The other pixels stay at the prior's mean.
    frames, iterations : int
    course : Course
        Takes the movie of each iteration.
    prior : Prior
    """
    shape = (frames, mask.shape[0], mask.shape[1])
    # Longer than the movie, so that its end does not touch its beginning.
    padded = (frames + max(8, frames // 4), shape[1] + shape[1] // 4, shape[2] + shape[2] // 4)
    amplitude = prior.amplitude(padded, mask.device)

    def movie_of(z: Tensor) -> Tensor:
        whole = torch.fft.irfftn(amplitude * torch.fft.rfftn(z), s=padded)
        inside = whole[: shape[0], : shape[1], : shape[2]]
        movie: Tensor = prior.mean + prior.contrast * inside * mask
        return movie

    z = torch.zeros(padded, device=mask.device, requires_grad=True)
    optimizer = torch.optim.Adam([z], LEARNING_RATE, BETAS)
    for _ in range(iterations):
        with torch.enable_grad():
            movie = movie_of(z)
        now = movie.detach()
        found = [objective.summed(now) for objective in objectives]
        count = len(found)
        loss = sum(one.loss for one in found) / count
        held = sum(one.holdout_loss for one in found) / count
        if not course.goes_on(now.clamp(0, 255), loss, held):
            return
        gradient = torch.stack([one.gradient for one in found]).mean(0)
        (likelihood,) = torch.autograd.grad(movie, z, gradient)
        z.grad = likelihood + z.detach()
        optimizer.step()
    with torch.no_grad():
        course.end(movie_of(z).clamp(0, 255))
