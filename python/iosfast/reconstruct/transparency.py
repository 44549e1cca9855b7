"""Which pixels the neurons speak of: a transparency mask, learnt from recorded responses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from .. import arguments
from ..progress import progress_for
from .blur import blurred
from .checks import checked_behaviour, checked_movie, checked_responses
from .encoder import ClipEncoder, Precision, device_of, only_encoder, ready, running

ITERATIONS = 1000
LEARNING_RATE = 10.0
#: The mask begins with random numbers up to this.
FIRST_ALPHA = 0.05
CLIP = 1.0
BLUR_SIGMA, BLUR_RADIUS = 5.0, 7
#: Frames at the beginning of a movie that are not used, and that are used then.
SKIP, WINDOW = 50, 32
_NORM_FLOOR = 1e-6


def transparency_mask(
    encoder: ClipEncoder,
    movies: Sequence[ArrayLike],
    responses: Sequence[ArrayLike],
    behaviour: Sequence[ArrayLike] | None = None,
    *,
    neurons: ArrayLike | None = None,
    iterations: int = ITERATIONS,
    window: int | None = None,
    skip: int = SKIP,
    device: Any = "auto",
    precision: Precision = "auto",
    seed: int = 0,
    progress: bool | Callable[[int, int], None] = False,
) -> NDArray[np.float32]:
    """Find the pixels that matter for the responses of a population.

    In each iteration, a movie shows through the mask and another one around it; where the
    responses to the mixture come closer to the recorded ones, the mask becomes less transparent.

    Parameters
    ----------
    encoder : ClipEncoder
    movies : sequence of array_like, shape (T, Y, X)
        Two or more, from 0 to 255.
    responses : sequence of array_like, shape (neurons, T)
        That each movie evoked; NaN is left out.
    behaviour : sequence of array_like, shape (channels, T), optional
    neurons : array_like, optional
        Those to use, as a mask or as indices.
    iterations : int
    window : int, optional
        Frames that are used of a movie; default 32, or what the encoder needs.
    skip : int
        Frames before them.
    device, precision
        As for `predict`.
    seed : int
        Of the first mask, and of the choice of movies.
    progress : bool or callable
        Show a bar, or call with the iterations done and their number.

    Returns
    -------
    ndarray of float32, shape (Y, X)
        The alpha of each pixel, which may pass 0 and 1. `reconstruct` uses pixels from 0.5 on,
        and `score` those from 1 on.

    Raises
    ------
    TypeError, ValueError
        If something does not fit.
    DeviceError
        If the device cannot be used.

    Notes
    -----
    Bauer, Margrie, Clopath, eLife, doi 10.7554/eLife.105081. The mask is one image, where their
    code keeps one for each frame, all of which take the same steps.
    """
    encoder = only_encoder(encoder)
    arguments.choice("precision", precision, get_args(Precision))
    length = max(WINDOW, encoder.shortest) if window is None else window
    length = arguments.integer("window", length, encoder.shortest)
    skip = arguments.integer("skip", skip, 0)
    iterations = arguments.integer("iterations", iterations, 1)
    random = np.random.default_rng((arguments.integer("seed", seed, 0), 7))
    trials = _trials(movies, responses, behaviour, neurons, slice(skip, skip + length))
    shape = trials[0][0].shape[1:]
    place = device_of(device)
    rows, columns = encoder.place((shape[0], shape[1]))
    field = encoder.pad_to or (shape[0], shape[1])
    mask = FIRST_ALPHA * torch.from_numpy(random.random(field, np.float32)).to(place)
    with (
        ready(encoder, place, precision),
        progress_for(progress, iterations, None, "mask") as update,
    ):
        for i in range(iterations):
            shown, around = random.integers(0, len(trials), 2)
            movie, targets, traces = (None if x is None else x.to(place) for x in trials[shown])
            assert movie is not None
            assert targets is not None
            alpha = mask.expand(length, -1, -1).clone().requires_grad_(True)
            inputs = encoder.inputs(movie[None], None if traces is None else traces[None])
            other = encoder.inputs(trials[around][0].to(place)[None], None)
            # All of the input takes part in the norm, as published.
            picture = inputs[:, :1].clone().requires_grad_(True)
            beside = inputs[:, 1:].clone().requires_grad_(traces is not None)
            mixed = _mixed(picture, other, alpha)
            given = running(encoder, torch.cat([mixed, beside], dim=1)).float()[0]
            if len(given) != len(targets):
                raise ValueError(
                    f"the encoder gives {len(given)} neurons, but responses has {len(targets)}"
                )
            known = ~torch.isnan(targets)
            difference = given[known] - targets[known]
            loss = difference.pow(2).sum() / known.sum().clamp_min(1)
            wanted = [alpha, picture, *([beside] if traces is not None else [])]
            by_alpha, *others = torch.autograd.grad(loss, wanted)
            norm = torch.cat([g.flatten() for g in (by_alpha, *others)]).norm()
            step = (by_alpha / (norm + _NORM_FLOOR)).clamp(-CLIP, CLIP).mean(0)
            mask = mask - LEARNING_RATE * blurred(step, BLUR_SIGMA, (0, 1), BLUR_RADIUS, "mirror")
            update(i + 1)
    out: NDArray[np.float32] = mask[rows, columns].cpu().numpy()
    return out


def _mixed(movie: Tensor, other: Tensor, alpha: Tensor) -> Tensor:
    """Show a movie where alpha is 1, and the other where it is 0."""
    opaque = alpha.clamp(0, 1)
    return movie * opaque + other * (1 - opaque)


def _trials(
    movies: Sequence[ArrayLike],
    responses: Sequence[ArrayLike],
    behaviour: Sequence[ArrayLike] | None,
    neurons: ArrayLike | None,
    frames: slice,
) -> list[tuple[Tensor, Tensor, Tensor | None]]:
    for name, several in (("movies", movies), ("responses", responses), ("behaviour", behaviour)):
        if several is not None and not isinstance(several, Sequence | np.ndarray):
            raise TypeError(
                f"{name} must be a sequence with one array of each trial, not "
                f"{type(several).__name__}"
            )
    if len(movies) < 2:
        raise ValueError(f"movies must be two or more, not {len(movies)}")
    for name, several in (("responses", responses), ("behaviour", behaviour)):
        if several is not None and len(several) != len(movies):
            raise ValueError(f"{name} has {len(several)} trials, but movies has {len(movies)}")
    trials: list[tuple[Tensor, Tensor, Tensor | None]] = []
    for n in range(len(movies)):
        movie = checked_movie(f"movies[{n}]", movies[n])
        known = checked_responses(responses[n], neurons=neurons, frames=len(movie), counts=False)
        traces = None if behaviour is None else checked_behaviour(behaviour[n], len(movie))
        if len(movie) < frames.stop:
            raise ValueError(
                f"movies[{n}] has {len(movie)} frames, but skip and window need {frames.stop}"
            )
        if trials and movie.shape[1:] != trials[0][0].shape[1:]:
            raise ValueError(
                f"movies[{n}] is {movie.shape[1:]} (Y, X), but the first is "
                f"{tuple(trials[0][0].shape[1:])}"
            )
        if trials and len(known) != len(trials[0][1]):
            raise ValueError(
                f"responses[{n}] has {len(known)} neurons, but the first has {len(trials[0][1])}"
            )
        part = None if traces is None else torch.from_numpy(traces[:, frames])
        trials.append((torch.from_numpy(movie[frames]), torch.from_numpy(known[:, frames]), part))
    if all(torch.isnan(known).all() for _, known, _ in trials):
        raise ValueError(
            f"responses in the frames that are used ({frames.start} to {frames.stop - 1}) are NaN "
            "for all neurons that are used"
        )
    return trials
