"""Movies from responses: the call, its checks and its result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from .. import arguments
from ..errors import warn
from ..progress import progress_for
from . import bauer2026
from . import prior as maximum
from .blur import blurred
from .checks import (
    UPDATE_ALPHA,
    checked_behaviour,
    checked_mask,
    checked_responses,
)
from .course import Course
from .encoder import ClipEncoder, Precision, device_of, encoders_of, ready
from .memory import Batches
from .objective import Loss, Objective
from .prior import Prior
from .windows import Windows, windows_of

Method = Literal["map", "bauer2026"]
Ensemble = Literal["movies", "gradients"]


@dataclass(frozen=True)
class Reconstruction:
    """A movie that was read from responses.

    Parameters
    ----------
    movie : ndarray of float32, shape (T, Y, X)
        The mean of the members, blurred; from 0 to 255. Outside of the mask it is grey.
    members : ndarray of float32, shape (members, T, Y, X)
        What each encoder gave; one, where their gradients were averaged.
    loss, holdout_loss : ndarray of float64, shape (members, iterations)
        At the beginning of each iteration, over fitted and over held-out neurons; NaN where none
        were held out, and after it was stopped.
    chosen : ndarray of int, shape (members,)
        After how many iterations the movie was taken: with neurons held out, where their loss is
        the lowest; else after all of them.
    fitted, held_out : ndarray of int
        Neurons. All others counted nowhere.
    mask : ndarray of bool, shape (Y, X)
        Pixels that were reconstructed.
    method : str
    """

    movie: NDArray[np.float32]
    members: NDArray[np.float32]
    loss: NDArray[np.float64]
    holdout_loss: NDArray[np.float64]
    chosen: NDArray[np.intp]
    fitted: NDArray[np.intp]
    held_out: NDArray[np.intp]
    mask: NDArray[np.bool_]
    method: Method


def reconstruct(
    encoder: ClipEncoder | Sequence[ClipEncoder],
    responses: ArrayLike,
    *,
    shape: tuple[int, int],
    behaviour: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    neurons: ArrayLike | None = None,
    method: Method = "map",
    ensemble: Ensemble = "movies",
    holdout: float = 0.1,
    patience: int | None = 50,
    iterations: int | None = None,
    window: int | None = None,
    stride: int | None = None,
    blur_sigma: float | None = None,
    loss: Loss = "poisson",
    prior: Prior | None = None,
    batch: int = 8,
    device: Any = "auto",
    precision: Precision = "auto",
    compile: bool = False,
    seed: int = 0,
    progress: bool | Callable[[int, int], None] = True,
) -> Reconstruction:
    """Reconstruct the movie that evoked responses.

    Parameters
    ----------
    encoder : ClipEncoder, or a list of them
        Models of the same neurons; several are an ensemble.
    responses : array_like, shape (neurons, T)
        Of a single trial, one per frame. NaN is what was not measured, and counts nowhere.
    shape : tuple of int
        (Y, X) of the movie.
    behaviour : array_like, shape (channels, T), optional
        As the models know it.
    mask : array_like, shape (Y, X), optional
        Pixels to reconstruct: those that are True, or where a transparency mask is at least 0.5.
    neurons : array_like, optional
        Those to use, as a mask or as indices. What the others did changes nothing.
    method : {"map", "bauer2026"}
        The most probable movie, given a prior; or the published procedure.
    ensemble : {"movies", "gradients"}
        Average the movies of several encoders, or their gradients in each iteration.
    holdout : float
        Fraction of neurons that are not fitted, but say after which iteration the movie is the
        best. As published: 0, which takes the last one.
    patience : int, optional
        Iterations without a better movie after which to stop; None: do them all.
    iterations : int, optional
        At most; default 1000 for "bauer2026", 100 for "map".
    window, stride : int, optional
        Frames that are explained at a time, and between their beginnings; default: 32 and 8, but
        whole movies if the encoder takes any length.
    blur_sigma : float, optional
        Of a Gaussian over the result in time and space; default 0.5 for "bauer2026", 0 for "map".
    loss : {"poisson", "mse"}
        How responses differ from what an encoder expects.
    prior : Prior, optional
        For "map".
    batch : int
        Windows that go through an encoder at a time. If memory runs out it is halved, and a
        warning says so.
    device : str or torch.device
        "auto": a GPU if there is one.
    precision : {"auto", "float32", "bfloat16"}
        Arithmetic of the encoder; "auto" is bfloat16 on a GPU that has it. "float32" also keeps
        the GPU from rounding factors to TF32 for this time, in the whole process.
    compile : bool
        Compile the encoder first, which pays for long runs on a GPU.
    seed : int
        Of the choice of neurons that are held out.
    progress : bool or callable
        Show a bar, or call with the iterations done and their largest number.

    Returns
    -------
    Reconstruction
        The same input gives the same bits on a CPU.

    Raises
    ------
    TypeError, ValueError
        If something does not fit; the message names it.
    DeviceError
        If the device cannot be used.
    MemoryError
        If not even one window fits in memory.

    Notes
    -----
    "bauer2026" is that of Bauer, Margrie, Clopath, eLife, doi 10.7554/eLife.105081.
    """
    encoders = encoders_of(encoder)
    arguments.choice("method", method, get_args(Method))
    arguments.choice("ensemble", ensemble, get_args(Ensemble))
    arguments.choice("loss", loss, get_args(Loss))
    arguments.choice("precision", precision, get_args(Precision))
    shape = arguments.image_shape("shape", shape)
    known = checked_responses(responses, neurons=neurons, counts=loss == "poisson")
    frames = known.shape[1]
    traces = checked_behaviour(behaviour, frames)
    inside = checked_mask(mask, shape, UPDATE_ALPHA)
    fitted, held_out = _split(known, holdout, seed)
    published = method == "bauer2026"
    most = arguments.integer(
        "iterations", _or(iterations, bauer2026.ITERATIONS if published else maximum.ITERATIONS), 1
    )
    if not isinstance(compile, bool):
        raise TypeError(f"compile must be True or False, not {compile!r}")
    if patience is not None:
        patience = arguments.integer("patience", patience, 1)
    sigma = arguments.number(
        "blur_sigma", _or(blur_sigma, bauer2026.BLUR_SIGMA if published else 0.0), 0
    )
    believed = Prior() if prior is None else prior
    if not isinstance(believed, Prior):
        raise TypeError(f"prior must be a Prior, not {type(prior).__name__}")
    windows = [_windows(one, frames, window, stride, published) for one in encoders]
    for one in encoders:
        one.place(shape)
    batch = arguments.integer("batch", batch, 1)
    place = device_of(device)
    groups = [[n] for n in range(len(encoders))]
    if ensemble == "gradients":
        groups = [list(range(len(encoders)))]
    courses: list[Course] = []
    with progress_for(progress, most * len(groups), None, "reconstruct") as update:
        for number, group in enumerate(groups):
            done = iter(range(number * most + 1, (number + 1) * most + 1))
            course = Course(patience, lambda done=done: update(next(done)))  # type: ignore[misc]
            courses.append(course)
            batches = Batches(batch, "windows")
            with ExitStack() as held:
                for n in group:
                    held.enter_context(ready(encoders[n], place, precision, compile))
                objectives = [
                    Objective(
                        encoders[n], known, traces, fitted, held_out, windows[n], shape, loss,
                        batches, place,
                    )
                    for n in group
                ]  # fmt: skip
                pixels = torch.from_numpy(inside).to(place)
                if published:
                    bauer2026.descend(objectives, pixels, frames, most, course)
                else:
                    maximum.most_probable(objectives, pixels, frames, most, course, believed)
            update((number + 1) * most)
    if held_out.size and not all(course.chosen for course in courses):
        warn(
            "no movie explains the neurons that are held out better than a grey one, which is the "
            "result; give more neurons, or an encoder that predicts them better, or holdout=0"
        )
    return _result(courses, most, sigma, fitted, held_out, inside, method)


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _split(
    responses: NDArray[np.float32], holdout: float, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Choose the neurons that are held out of those that have been measured at all."""
    holdout = arguments.number("holdout", holdout, 0, 0.9)
    seed = arguments.integer("seed", seed, 0)
    measured = np.flatnonzero(~np.isnan(responses).all(axis=1))
    if not measured.size:
        raise ValueError("responses of all neurons that are to be used are NaN")
    count = max(1, round(holdout * measured.size)) if holdout else 0
    if count >= measured.size:
        raise ValueError(
            f"holdout={holdout:g} leaves no neuron to fit, of {measured.size}; use holdout=0"
        )
    order = np.random.default_rng((seed, 5)).permutation(measured.size)
    return np.sort(measured[order[count:]]), np.sort(measured[order[:count]])


def _windows(
    encoder: ClipEncoder, frames: int, window: int | None, stride: int | None, published: bool
) -> Windows:
    whole = encoder.frames is None and window is None
    default = frames if whole else max(bauer2026.WINDOW, encoder.shortest)
    length = arguments.integer("window", _or(window, default), 1)
    stride = arguments.integer("stride", _or(stride, min(bauer2026.STRIDE, length)), 1, length)
    needed = f"the clips of the encoder ({encoder.frames} frames at step {encoder.step}) need"
    if length < encoder.shortest:
        raise ValueError(f"window is {length} frames, but {needed} {encoder.shortest}")
    if frames < encoder.shortest:
        raise ValueError(f"responses has {frames} frames, but {needed} {encoder.shortest}")
    return windows_of(frames, length, stride, published=published)


def _result(
    courses: list[Course],
    iterations: int,
    sigma: float,
    fitted: NDArray[np.intp],
    held_out: NDArray[np.intp],
    mask: NDArray[np.bool_],
    method: Method,
) -> Reconstruction:
    movies = [course.movie for course in courses]
    members = np.stack([movie.cpu().numpy() for movie in movies if movie is not None])
    mean = torch.from_numpy(members).mean(0)
    if sigma:
        mean = blurred(mean.double(), sigma, (0, 1, 2), int(4 * sigma + 0.5)).float()
    losses = np.full((2, len(courses), iterations), np.nan)
    for number, course in enumerate(courses):
        losses[0, number, : len(course.loss)] = course.loss
        losses[1, number, : len(course.loss)] = course.holdout_loss
    return Reconstruction(
        movie=mean.numpy(),
        members=members,
        loss=losses[0],
        holdout_loss=losses[1],
        chosen=np.array([course.chosen for course in courses]),
        fitted=fitted,
        held_out=held_out,
        mask=mask,
        method=method,
    )
