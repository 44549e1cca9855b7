"""Checks of movies, responses, behaviour, masks and neurons."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Middle of the scale of pixels, 0 to 255.
GREY = 127.5
#: A pixel is updated where a transparency mask is at least this, and scored where it is 1.
UPDATE_ALPHA, SCORE_ALPHA = 0.5, 1.0


def _numbers(name: str, value: Any) -> NDArray[Any]:
    try:
        array = np.asarray(value)
    except ValueError as error:  # rows of different lengths
        raise ValueError(f"{name} must be one array of numbers: {error}") from error
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be numbers, not {array.dtype}")
    return array


def _shaped(name: str, value: Any, dimensions: int, axes: str) -> NDArray[np.float32]:
    """Return a new array of float32 that nobody else holds."""
    array = _numbers(name, value)
    if array.ndim != dimensions or not array.size:
        raise ValueError(f"{name} must have shape {axes}, none of them 0, not {array.shape}")
    with np.errstate(over="ignore"):  # what is too large is told as not finite
        return np.array(array, np.float32, order="C")


def checked_movie(name: str, value: ArrayLike) -> NDArray[np.float32]:
    """Return a movie as float32, (T, Y, X), of finite numbers from 0 to 255."""
    movie = _shaped(name, value, 3, "(T, Y, X)")
    if not np.isfinite(movie).all():
        frame = int(np.argmax(~np.isfinite(movie).all(axis=(1, 2))))
        raise ValueError(f"{name} must be finite, but frame {frame} is not")
    if movie.min() < 0 or movie.max() > 255:
        raise ValueError(
            f"{name} must be on a scale of 0 to 255, but goes from {movie.min():g} to "
            f"{movie.max():g}"
        )
    return movie


def checked_behaviour(value: ArrayLike | None, frames: int) -> NDArray[np.float32] | None:
    """Return behaviour as float32, (channels, T), or None."""
    if value is None:
        return None
    behaviour = _shaped("behaviour", value, 2, "(channels, T)")
    if behaviour.shape[1] != frames:
        raise ValueError(f"behaviour has {behaviour.shape[1]} frames, but expected were {frames}")
    if not np.isfinite(behaviour).all():
        raise ValueError("behaviour must be finite")
    return behaviour


def checked_responses(
    value: ArrayLike,
    *,
    neurons: ArrayLike | None = None,
    frames: int | None = None,
    counts: bool,
) -> NDArray[np.float32]:
    """Return responses as float32, (neurons, T); NaN is what was not measured, or is left out."""
    responses = _shaped("responses", value, 2, "(neurons, T)")
    left_out = np.ones(len(responses), bool)
    left_out[checked_neurons(neurons, len(responses))] = False
    responses[left_out] = np.nan
    if frames is not None and responses.shape[1] != frames:
        raise ValueError(f"responses has {responses.shape[1]} frames, but the movie has {frames}")
    if np.isinf(responses).any():
        raise ValueError("responses must be finite, or NaN where nothing was measured")
    if counts and (responses < 0).any():
        neuron = int(np.argmax((responses < 0).any(axis=1)))
        raise ValueError(
            f"responses must not be negative for the Poisson loss, but neuron {neuron} has "
            f"{np.nanmin(responses[neuron]):g}; clip them, or use loss='mse'"
        )
    return responses


def checked_neurons(value: ArrayLike | None, count: int) -> NDArray[np.intp]:
    """Return the indices of neurons to use, in order: of all, of indices, or of a mask."""
    if value is None:
        return np.arange(count)
    given = np.asarray(value)
    if given.dtype == bool:
        if given.shape != (count,):
            raise ValueError(f"neurons has shape {given.shape}, but there are {count} neurons")
        chosen = np.flatnonzero(given)
    elif given.ndim == 1 and (given.dtype.kind in "iu" or not given.size):
        chosen = np.unique(given).astype(np.intp)
        if chosen.size and (chosen[0] < 0 or chosen[-1] >= count):
            wrong = chosen[0] if chosen[0] < 0 else chosen[-1]
            raise ValueError(f"neurons must be from 0 to {count - 1}, not {wrong}")
    else:
        raise TypeError(
            f"neurons must be a mask or a list of whole numbers, not {given.dtype} of shape "
            f"{given.shape}"
        )
    if not chosen.size:
        raise ValueError("neurons leaves all neurons out; at least one must be used")
    return chosen


def checked_mask(
    value: ArrayLike | None, shape: tuple[int, int], alpha: float
) -> NDArray[np.bool_]:
    """Return a mask of pixels: where it is True, or at least `alpha`; all without one."""
    if value is None:
        return np.ones(shape, bool)
    mask = _numbers("mask", value)
    if mask.shape != shape:
        raise ValueError(f"mask has shape {mask.shape}, but the frames are {shape} (Y, X)")
    if mask.dtype.kind == "f" and not np.isfinite(mask).all():
        raise ValueError("mask must be finite")
    inside: NDArray[np.bool_] = mask >= alpha
    if not inside.any():
        raise ValueError(
            f"mask holds no pixel: it is below {alpha:g} everywhere (at most {mask.max():g})"
        )
    return inside
