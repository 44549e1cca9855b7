"""The published kind of encoding model: depthwise 3-D convolutions, and a readout per mouse.

The architecture of the winner of Sensorium 2023 (Baikulov's DwiseNeuro), written anew, with the
same names of weights, so that files of weights can be loaded. None come with iosfast.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath

import torch
from torch import Tensor, nn

from .. import arguments
from ..errors import ReadError
from .encoder import ClipEncoder


@dataclass(frozen=True)
class Architecture:
    """Sizes of the model; the defaults are those that were published with the reconstruction.

    Parameters
    ----------
    channels : int
        Of the input: the movie, and behaviour.
    core_features, spatial_strides : tuple of int
        Of each block of the core.
    spatial_kernel, temporal_kernel : int
    expansion_ratio, se_reduce_ratio : int
        Within a block: widening, and narrowing of its gate.
    cortex_features : tuple of int
    groups : int
        Of the cortex and the readout.
    softplus_beta : float
        Of the readout's rectification.
    """

    channels: int = 5
    core_features: tuple[int, ...] = (64, 64, 64, 64, 128, 128, 128, 256, 256)
    spatial_strides: tuple[int, ...] = (2, 1, 1, 1, 2, 1, 1, 2, 1)
    spatial_kernel: int = 3
    temporal_kernel: int = 5
    expansion_ratio: int = 7
    se_reduce_ratio: int = 32
    cortex_features: tuple[int, ...] = (1024, 2048, 4096)
    groups: int = 2
    softplus_beta: float = 0.07

    def __post_init__(self) -> None:
        if len(self.core_features) != len(self.spatial_strides) or not self.core_features:
            raise ValueError(
                f"core_features and spatial_strides must be of equal length, not "
                f"{len(self.core_features)} and {len(self.spatial_strides)}"
            )


class PublishedModel(nn.Module):
    """The model with the readout of one mouse.

    Parameters
    ----------
    neurons : int
        Of the mouse.
    architecture : Architecture
    mouse : int
        Number of the readout, which its weights are named by.
    """

    def __init__(
        self, neurons: int, architecture: Architecture | None = None, *, mouse: int = 0
    ) -> None:
        super().__init__()
        sizes = Architecture() if architecture is None else architecture
        self.mouse = arguments.integer("mouse", mouse, 0)
        self.core = _Core(sizes)
        layers, width = [], sizes.core_features[-1]
        for features in sizes.cortex_features:
            layers.append(_Shuffled(width, features, sizes.groups))
            width = features
        self.cortex = nn.ModuleDict({"layers": nn.Sequential(*layers)})
        neurons = arguments.integer("neurons", neurons, 1)
        self.readouts = nn.ModuleDict({str(self.mouse): _Readout(width, neurons, sizes)})

    def forward(self, clips: Tensor) -> Tensor:
        """Give the responses, (N, neurons, T), to clips (N, channels, T, Y, X)."""
        features: Tensor = self.cortex["layers"](self.core(clips).mean((3, 4)))
        responses: Tensor = self.readouts[str(self.mouse)](features)
        return responses


def published_encoder(
    weights: str | PathLike[str],
    mouse: int,
    architecture: Architecture | None = None,
    *,
    neurons: int | None = None,
) -> ClipEncoder:
    """Load a file of weights of the published kind for one mouse.

    Only the core, the cortex and this mouse's readout are taken into memory.

    Parameters
    ----------
    weights : path
        That torch has saved: the model's `state_dict`, or a dict that holds it as
        ``nn_state_dict`` (as the training code writes).
    mouse : int
        Number of its readout.
    architecture : Architecture, optional
        If its sizes differ.
    neurons : int, optional
        Of the mouse. Files hold a multiple of the groups, so that an odd number is rounded up.

    Returns
    -------
    ClipEncoder
        Of 16 frames at step 2, on 64 x 64 pixels.

    Raises
    ------
    ReadError
        If the file cannot be read, has no such mouse, or does not fit the architecture.
    """
    mouse = arguments.integer("mouse", mouse, 0)
    path = fspath(weights)
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except OSError as error:
        raise ReadError(error.strerror or str(error), path) from error
    except Exception as error:  # what torch raises on other files is open-ended
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ReadError(f"holds no weights that torch can load safely: {first}", path) from error
    state = loaded.get("nn_state_dict", loaded) if isinstance(loaded, dict) else None
    if not isinstance(state, dict) or not all(isinstance(x, Tensor) for x in state.values()):
        raise ReadError("holds no state_dict of a model", path)
    known = sorted({int(k.split(".")[1]) for k in state if k.startswith("readouts.")})
    if mouse not in known:
        raise ReadError(f"has no readout {mouse}, but {_listed(known)}", path)
    own = f"readouts.{mouse}."
    state = {k: v for k, v in state.items() if not k.startswith("readouts.") or k.startswith(own)}
    sizes = Architecture() if architecture is None else architecture
    bias = state.get(f"{own}layer.1.bias")
    if bias is None:
        raise ReadError(f"has no {own}layer.1.bias", path)
    with torch.device("meta"):
        model = PublishedModel(_or_all(neurons, len(bias), sizes.groups), sizes, mouse=mouse)
    _fill(model, state, path)
    return ClipEncoder(model.eval(), frames=16, step=2, pad_to=(64, 64))


def _or_all(neurons: int | None, held: int, groups: int) -> int:
    """Return the number of neurons, which a file rounds up."""
    if neurons is None:
        return held
    return arguments.integer("neurons", neurons, max(1, held - groups + 1), held)


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers)) if numbers else "none"


def _fill(model: nn.Module, state: Mapping[str, Tensor], path: str) -> None:
    """Put weights into a model that was made without memory."""
    expected = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    missing = [k for k in expected if k not in state]
    if missing:
        raise ReadError(f"lacks {missing[0]} and {len(missing) - 1} more weights", path)
    for name, shape in expected.items():
        if tuple(state[name].shape) != shape:
            raise ReadError(
                f"{name} has shape {tuple(state[name].shape)}, but the architecture has {shape}",
                path,
            )
    copies = {name: state[name].clone() for name in expected}
    model.load_state_dict(copies, assign=True)


class _Normed(nn.Module):
    """Batch normalisation, and SiLU if asked."""

    def __init__(self, features: int, *, axes: int = 3, act: bool = False) -> None:
        super().__init__()
        self.bn: nn.Module = nn.BatchNorm3d(features) if axes == 3 else nn.BatchNorm1d(features)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.bn(x)
        return nn.functional.silu(out) if self.act else out


class _Gate(nn.Module):
    """Squeeze and excitation: channels weighed by their mean over the clip."""

    def __init__(self, features: int, ratio: int) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv3d(features, features // ratio, 1)
        self.conv_expand = nn.Conv3d(features // ratio, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        few = nn.functional.silu(self.conv_reduce(x.mean((2, 3, 4), keepdim=True)))
        return x * torch.sigmoid(self.conv_expand(few))


class _Block(nn.Module):
    """An inverted residual: wide, depthwise over space and then time, gated, narrow."""

    def __init__(self, features: int, out: int, stride: int, sizes: Architecture) -> None:
        super().__init__()
        self.stride, self.out = stride, out
        wide = features * sizes.expansion_ratio
        space, time = sizes.spatial_kernel, sizes.temporal_kernel
        self.conv_pw = nn.Sequential(
            nn.Conv3d(features, wide, 1, bias=False), _Normed(wide, act=True)
        )
        self.spat_covn_dw = nn.Sequential(
            nn.Conv3d(
                wide, wide, (1, space, space), (1, stride, stride),
                (0, space // 2, space // 2), groups=wide, bias=False,
            ),
            _Normed(wide, act=True),
        )  # fmt: skip
        self.temp_covn_dw = nn.Sequential(
            nn.Conv3d(wide, wide, (time, 1, 1), padding=(time // 2, 0, 0), groups=wide, bias=False),
            _Normed(wide, act=True),
        )
        self.se = _Gate(wide, sizes.se_reduce_ratio)
        self.conv_pwl = nn.Sequential(nn.Conv3d(wide, out, 1, bias=False), _Normed(out))
        self.bn_sc = _Normed(out)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.se(self.temp_covn_dw(self.spat_covn_dw(self.conv_pw(x))))
        beside = x
        if self.stride > 1:
            size = [x.shape[2], *(math.ceil(n / self.stride) for n in x.shape[3:])]
            beside = nn.functional.interpolate(beside, size=size, mode="nearest")
        out: Tensor = self.conv_pwl(inner) + self.bn_sc(_tiled(beside, self.out))
        return out


def _tiled(x: Tensor, features: int) -> Tensor:
    """Repeat channels until there are as many as wanted."""
    times = math.ceil(features / x.shape[1])
    return torch.cat([x] * times, dim=1)[:, :features] if x.shape[1] != features else x


class _Position(nn.Module):
    """Adds sines of the place in time, height and width."""

    inv_freq: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features
        self.per_axis = 2 * math.ceil(features / 6)
        at = torch.arange(0, self.per_axis, 2).float() / self.per_axis
        self.register_buffer("inv_freq", 1.0 / 10000**at)

    def forward(self, x: Tensor) -> Tensor:
        parts = []
        for axis in range(3):
            at = torch.arange(x.shape[2 + axis], device=x.device, dtype=self.inv_freq.dtype)
            angle = self.inv_freq[:, None] * at
            shape = [self.per_axis, 1, 1, 1]
            shape[1 + axis] = len(at)
            waves = torch.cat([angle.sin(), angle.cos()]).reshape(shape)
            parts.append(waves.expand(-1, *x.shape[2:]))
        return x + torch.cat(parts)[: self.features].to(x.dtype)


class _Core(nn.Module):
    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        features = sizes.core_features
        self.stem = nn.Sequential(
            nn.Conv3d(sizes.channels, features[0], 1, bias=False), _Normed(features[0])
        )
        blocks: list[nn.Module] = []
        for n, (width, stride) in enumerate(zip(features, sizes.spatial_strides, strict=True)):
            following = features[min(n + 1, len(features) - 1)]
            blocks += [_Position(width), _Block(width, following, stride, sizes)]
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.blocks(self.stem(x))
        return out


class _Shuffled(nn.Module):
    """A grouped layer over channels, whose groups are interleaved."""

    def __init__(self, features: int, out: int, groups: int) -> None:
        super().__init__()
        self.groups, self.out = groups, out
        self.conv = nn.Conv1d(features, out, 1, groups=groups, bias=False)
        self.bn = _Normed(out, axes=1, act=True)
        self.bn_sc = _Normed(out, axes=1)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn(self.conv(x))
        inner = inner.unflatten(1, (self.groups, -1)).transpose(1, 2).flatten(1, 2)
        out: Tensor = inner + self.bn_sc(_tiled(x, self.out))
        return out


class _Readout(nn.Module):
    def __init__(self, features: int, neurons: int, sizes: Architecture) -> None:
        super().__init__()
        self.neurons, self.beta = neurons, sizes.softplus_beta
        rounded = math.ceil(neurons / sizes.groups) * sizes.groups
        self.layer = nn.Sequential(
            nn.Identity(), nn.Conv1d(features, rounded, 1, groups=sizes.groups)
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)
        return nn.functional.softplus(out[:, : self.neurons], beta=self.beta)
