"""Encoding models of any kind: what they take, what they give, and what a movie would evoke."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from .. import arguments
from ..errors import DeviceError
from .checks import checked_behaviour, checked_movie
from .memory import Batches, means_no_memory

#: Arithmetic of the encoder: "auto" is bfloat16 on a GPU that has it, else float32.
Precision = Literal["auto", "float32", "bfloat16"]


class ClipEncoder:
    """A model that maps clips of a movie, and behaviour, to responses.

    The model takes a tensor (clips, 1 + channels, frames, Y, X) of float32: the movie on a scale
    of 0 to 255, and behaviour, constant over space. It gives (clips, neurons, frames).

    Parameters
    ----------
    model : torch.nn.Module
        It is used in `eval` mode, and given back as it was.
    frames : int, optional
        Frames of a clip; None: the model takes movies of any length at once.
    step : int
        Every how many frames of the movie a clip takes one.
    pad_to : tuple of int, optional
        (Y, X) that the model expects; movies lie in its middle.
    pad_value : float
        Around them.
    call : callable, optional
        ``call(model, clips)`` runs the model, if ``model(clips)`` does not.

    Notes
    -----
    With 16 frames at step 2, a clip spans 31 frames. Where clips overlap, responses are averaged.
    """

    def __init__(
        self,
        model: nn.Module,
        frames: int | None = 16,
        step: int = 2,
        pad_to: tuple[int, int] | None = None,
        *,
        pad_value: float = 0.0,
        call: Callable[[nn.Module, Tensor], Tensor] | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, not {type(model).__name__}")
        if call is not None and not callable(call):
            raise TypeError(f"call must be a function, not {call!r}")
        self.model = model
        self.frames = None if frames is None else arguments.integer("frames", frames, 1)
        self.step = arguments.integer("step", step, 1)
        self.pad_to = None if pad_to is None else arguments.image_shape("pad_to", pad_to)
        self.pad_value = arguments.number("pad_value", pad_value)
        self._call = call
        self.compiled: Callable[[Tensor], Tensor] | None = None

    @property
    def shortest(self) -> int:
        """Frames that a window needs so that some clip holds each of them."""
        return 1 if self.frames is None else self.frames * self.step

    def place(self, shape: tuple[int, int]) -> tuple[slice, slice]:
        """Rows and columns of the model's input where the movie lies.

        Raises
        ------
        ValueError
            If it does not fit in.
        """
        if self.pad_to is None:
            return slice(0, shape[0]), slice(0, shape[1])
        if shape[0] > self.pad_to[0] or shape[1] > self.pad_to[1]:
            raise ValueError(f"pad_to is {self.pad_to}, but the movie is larger: {shape} (Y, X)")
        top, left = ((p - s) // 2 for p, s in zip(self.pad_to, shape, strict=True))
        return slice(top, top + shape[0]), slice(left, left + shape[1])

    def inputs(self, movie: Tensor, behaviour: Tensor | None) -> Tensor:
        """Lay movies and behaviour out for the model.

        Parameters
        ----------
        movie : Tensor, shape (N, L, Y, X)
        behaviour : Tensor, shape (N, channels, L), optional

        Returns
        -------
        Tensor, shape (N, 1 + channels, L, Y', X')
        """
        rows, columns = self.place((movie.shape[2], movie.shape[3]))
        height, width = self.pad_to or movie.shape[2:]
        channels = 0 if behaviour is None else behaviour.shape[1]
        out = movie.new_full((len(movie), 1 + channels, movie.shape[1], height, width), 0.0)
        out[:, 0] = self.pad_value
        out[:, 0, :, rows, columns] = movie
        if behaviour is not None:
            out[:, 1:] = behaviour[..., None, None]
        return out

    def responses(self, inputs: Tensor, batch: int | None = None) -> Tensor:
        """Give the responses to windows, averaged over their clips.

        Parameters
        ----------
        inputs : Tensor, shape (N, channels, L, Y, X)
        batch : int, optional
            Clips of each window that go through the model at a time; default: all.

        Returns
        -------
        Tensor, shape (N, neurons, L)
        """
        if self.frames is None:
            return self._run(inputs)
        span = (self.frames - 1) * self.step + 1
        clips = inputs.unfold(2, span, 1)[..., :: self.step]  # (N, C, clips, Y, X, frames)
        clips = clips.permute(0, 2, 1, 5, 3, 4)
        windows, number = clips.shape[:2]
        size = batch or number
        times = inputs.new_zeros(inputs.shape[2])
        summed: Tensor | None = None
        for first in range(0, number, size):
            some = clips[:, first : first + size]
            given = self._run(some.flatten(0, 1))
            given = given.reshape(windows, -1, *given.shape[1:])
            if summed is None:
                summed = inputs.new_zeros(windows, given.shape[2], inputs.shape[2])
            for frame in range(self.frames):
                begin = first + frame * self.step
                at = slice(begin, begin + some.shape[1])
                summed[..., at] += given[..., frame].transpose(1, 2)
                times[at] += 1
        assert summed is not None
        return summed / times.clamp_min(1)

    def _run(self, clips: Tensor) -> Tensor:
        if self.compiled is not None:
            out = self.compiled(clips)
        else:
            out = self.model(clips) if self._call is None else self._call(self.model, clips)
        if not isinstance(out, Tensor):
            raise TypeError(f"the encoder must give a tensor, not {type(out).__name__}")
        if out.ndim != 3 or (out.shape[0], out.shape[2]) != (clips.shape[0], clips.shape[2]):
            raise ValueError(
                f"the encoder must give (clips, neurons, frames) with {clips.shape[0]} clips of "
                f"{clips.shape[2]} frames, not {tuple(out.shape)}"
            )
        return out


def encoders_of(encoder: ClipEncoder | Sequence[ClipEncoder]) -> list[ClipEncoder]:
    """Return a list of encoders, of one or several.

    Raises
    ------
    TypeError, ValueError
        If there is none, or something else.
    """
    several = [encoder] if isinstance(encoder, ClipEncoder) else encoder
    if not isinstance(several, list | tuple) or not all(
        isinstance(one, ClipEncoder) for one in several
    ):
        raise TypeError(f"encoder must be a ClipEncoder, or a list of them, not {encoder!r}")
    if not several:
        raise ValueError("encoder must be a ClipEncoder, or a list of them, not an empty list")
    return list(several)


def only_encoder(encoder: ClipEncoder) -> ClipEncoder:
    """Return the encoder, of one; raise TypeError if it is something else."""
    if not isinstance(encoder, ClipEncoder):
        raise TypeError(f"encoder must be one ClipEncoder, not {type(encoder).__name__}")
    return encoder


def device_of(device: Any) -> torch.device:
    """Return the device that is asked for; "auto" is a GPU if there is one.

    Raises
    ------
    ValueError
        If torch has no such device.
    DeviceError
        If it cannot be used here.
    """
    if isinstance(device, str) and device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device must be 'auto' or one of torch, not {device!r}") from error
    try:
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise DeviceError(f"device is {device!r}, but it cannot be used: {reason}") from error
    return found


@contextmanager
def _whole_float32() -> Iterator[None]:
    """Let no GPU round the factors of float32 products (TF32), anywhere in this process."""
    backends: tuple[Any, ...] = (torch.backends.cudnn, torch.backends.cuda.matmul)
    allowed = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = False
        yield
    finally:
        for backend, was in zip(backends, allowed, strict=True):
            backend.allow_tf32 = was


@contextmanager
def ready(
    encoder: ClipEncoder, device: torch.device, precision: str, compiled: bool = False
) -> Iterator[None]:
    """Have a model on the device, in `eval` mode and frozen; it is given back as it was."""
    model = encoder.model
    tensors = [*model.parameters(), *model.buffers()]
    home = tensors[0].device if tensors else device
    training = [(part, part.training) for part in model.modules()]
    learning = [(weight, weight.requires_grad) for weight in model.parameters()]
    low = precision == "bfloat16" or (
        precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported()
    )
    try:
        model.to(device).eval().requires_grad_(False)
        if compiled:
            run = encoder._call
            encoder.compiled = torch.compile(model if run is None else lambda x: run(model, x))
        exact = _whole_float32() if precision == "float32" else nullcontext()
        with exact, torch.autocast(device.type, torch.bfloat16, enabled=low):
            yield
    finally:
        encoder.compiled = None
        model.to(home)
        for part, was in training:
            part.training = was
        for weight, learns in learning:
            weight.requires_grad_(learns)


def predict(
    encoder: ClipEncoder,
    movie: ArrayLike,
    behaviour: ArrayLike | None = None,
    *,
    batch: int = 8,
    device: Any = "auto",
    precision: Precision = "auto",
) -> NDArray[np.float32]:
    """Responses that a movie would evoke.

    Parameters
    ----------
    encoder : ClipEncoder
    movie : array_like, shape (T, Y, X)
        From 0 to 255.
    behaviour : array_like, shape (channels, T), optional
        As the model knows it.
    batch : int
        Clips that go through the model at a time.
    device : str or torch.device
        "auto": a GPU if there is one.
    precision : {"auto", "float32", "bfloat16"}

    Returns
    -------
    ndarray of float32, shape (neurons, T)

    Raises
    ------
    TypeError, ValueError
        If something does not fit.
    DeviceError
        If the device cannot be used.
    MemoryError
        If not even one clip fits in memory.
    """
    encoder = only_encoder(encoder)
    shown = torch.from_numpy(checked_movie("movie", movie))
    traces = checked_behaviour(behaviour, len(shown))
    arguments.choice("precision", precision, get_args(Precision))
    batches = Batches(arguments.integer("batch", batch, 1), "clips")
    place = device_of(device)
    encoder.place((shown.shape[1], shown.shape[2]))
    if len(shown) < encoder.shortest:
        raise ValueError(
            f"movie has {len(shown)} frames, but the clips of the encoder need {encoder.shortest}"
        )
    with ready(encoder, place, precision), torch.no_grad():
        known = None if traces is None else torch.from_numpy(traces).to(place)[None]
        inputs = encoder.inputs(shown.to(place)[None], known)
        given = batches.run(lambda size: running(encoder, inputs, size))
    out: NDArray[np.float32] = given[0].float().cpu().numpy()
    return out


def running(encoder: ClipEncoder, inputs: Tensor, batch: int | None = None) -> Tensor:
    """Run an encoder; what a model says of inputs that it cannot take becomes a ValueError."""
    try:
        return encoder.responses(inputs, batch)
    except RuntimeError as error:
        if means_no_memory(error):
            raise
        raise ValueError(
            f"the encoder cannot take windows of {inputs.shape[2]} frames with "
            f"{inputs.shape[1]} channels (movie and behaviour) of {inputs.shape[3]} x "
            f"{inputs.shape[4]} pixels: {str(error).splitlines()[0]}"
        ) from error
