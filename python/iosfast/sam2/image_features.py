"""The image encoder of SAM 2, written for export: what does not depend on the image is a constant.

It equals sam2's up to the order of sums. What differs:

- the positional encoding is computed once, at the export, and not for every image;
- keys have no bias, which adds the same to all scores of a query, and values have theirs after the
  output's projection, because the weights of their sum add up to 1;
- windows that reach beyond the image are filled with zeros after the projections instead of before,
  which is the same without the biases;
- attention is one operator, which cuts queries, keys and values into heads;
- two convolutions of 1 x 1 that follow each other are one.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .fused_operators import attention


class Linear(nn.Module):
    """A projection of the last axis, as one product of two matrices."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.clone(), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.clone(), requires_grad=False)

    @classmethod
    def of(cls, linear: Any) -> Linear:
        """Return that of torch."""
        return cls(linear.weight.detach(), linear.bias.detach())

    def forward(self, values: Tensor) -> Tensor:
        flat = values.reshape(-1, self.weight.shape[1])
        found: Tensor = functional.linear(flat, self.weight, self.bias)
        return found.reshape(-1, *values.shape[1:-1], self.weight.shape[0])


def joined(first: Any, second: Any) -> nn.Conv2d:
    """Return one convolution of 1 x 1 that does two."""
    outer = second.weight.detach().double()[:, :, 0, 0]
    made = nn.Conv2d(first.in_channels, second.out_channels, 1)
    weight = outer @ first.weight.detach().double()[:, :, 0, 0]
    bias = outer @ first.bias.detach().double() + second.bias.detach().double()
    made.weight = nn.Parameter(weight.float()[:, :, None, None], requires_grad=False)
    made.bias = nn.Parameter(bias.float(), requires_grad=False)
    return made


def _pooled(values: Tensor) -> Tensor:
    """Return the maxima of 2 x 2 pixels of (N, y, x, C)."""
    y, x, channels = (int(size) for size in values.shape[1:])
    rows = values.reshape(-1, 2, x * channels).amax(1)
    return rows.reshape(-1, 2, channels).amax(1).reshape(-1, y // 2, x // 2, channels)


class WindowAttention(nn.Module):
    """A block's attention within windows, or of the whole image, (N, y, x, C) to (N, y, x, C')."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        whole = block.attn
        self.heads, self.window = whole.num_heads, block.window_size
        self.pools = bool(block.q_stride)
        scale = 1 / math.sqrt(whole.dim_out // whole.num_heads)
        queries, keys, values = whole.qkv.weight.detach().chunk(3)
        bias, _, after = whole.qkv.bias.detach().chunk(3)
        outer = whole.proj.weight.detach()
        after = outer.double() @ after.double() + whole.proj.bias.detach().double()
        self.query = Linear(queries * scale, bias * scale)
        self.key, self.value = Linear(keys), Linear(values)
        self.out = Linear(outer, after.float())

    def forward(self, pixels: Tensor) -> Tensor:
        y, x = (int(size) >> self.pools for size in pixels.shape[1:3])
        queries = self.query(pixels)
        window = self.window >> self.pools
        queries = self._cut(_pooled(queries) if self.pools else queries, window)
        keys, values = (self._cut(to(pixels), self.window) for to in (self.key, self.value))
        found = attention(queries, keys, values, self.heads)
        joined: Tensor = self.out(self._joined(found, window, y, x))
        return joined

    @staticmethod
    def _cut(values: Tensor, window: int) -> Tensor:
        """Return queries, keys or values as (N windows, pixels, C)."""
        y, x, channels = (int(size) for size in values.shape[1:])
        if not window:
            return values.reshape(-1, y * x, channels)
        below, right = -y % window, -x % window
        if below or right:
            values = functional.pad(values, (0, 0, 0, right, 0, below))
        split = values.reshape(-1, window, (x + right) // window, window * channels)
        return split.transpose(1, 2).reshape(-1, window * window, channels)

    @staticmethod
    def _joined(found: Tensor, window: int, y: int, x: int) -> Tensor:
        channels = int(found.shape[-1])
        if not window:
            return found.reshape(-1, y, x, channels)
        high, wide = -(-y // window), -(-x // window)
        turned = found.reshape(-1, wide, window, window * channels).transpose(1, 2)
        whole = turned.reshape(-1, high * window, wide * window, channels)
        return whole[:, :y, :x] if (high * window, wide * window) != (y, x) else whole


class Block(nn.Module):
    """A block of the trunk, (N, y, x, C) to the same, or half the size and twice the channels."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.norm1, self.norm2 = block.norm1, block.norm2
        self.attention = WindowAttention(block)
        self.project = Linear.of(block.proj) if block.dim != block.dim_out else None
        self.pools = bool(block.q_stride)
        wide, narrow = block.mlp.layers
        # ONNX Runtime adds the bias of this one together with the activation
        self.wide, self.narrow = wide, Linear.of(narrow)

    def forward(self, pixels: Tensor) -> Tensor:
        values = self.norm1(pixels)
        if self.project is not None:
            pixels = self.project(values)
            pixels = _pooled(pixels) if self.pools else pixels
        pixels = pixels + self.attention(values)
        inner = functional.gelu(self.wide(self.norm2(pixels)))
        found: Tensor = pixels + self.narrow(inner)
        return found


class Features(nn.Module):
    """Normalised images (N, 3, S, S) to features of three sizes, as sam2's `forward_image`.

    Returns (N, 256, h, h), (N, 64, 2h, 2h) and (N, 32, 4h, 4h).
    """

    place: Tensor

    def __init__(self, predictor: Any) -> None:
        super().__init__()
        encoder, decoder = predictor.image_encoder, predictor.sam_mask_decoder
        trunk, neck = encoder.trunk, encoder.neck
        self.patches = trunk.patch_embed.proj
        self.blocks = nn.ModuleList([Block(block) for block in trunk.blocks])
        self.ends: list[int] = list(trunk.stage_ends)
        coarsest, coarse, middle, fine = neck.convs
        self.coarsest, self.coarse = coarsest.conv, coarse.conv
        self.finer = joined(middle.conv, decoder.conv_s1)
        self.finest = joined(fine.conv, decoder.conv_s0)
        side = predictor.image_size // 4
        with torch.no_grad():
            place = trunk._get_pos_embed((side, side)).contiguous()
        self.register_buffer("place", place)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pixels = self.patches(images).permute(0, 2, 3, 1) + self.place
        maps = []
        for number, block in enumerate(self.blocks):
            pixels = block(pixels)
            if number in self.ends:
                maps.append(pixels.permute(0, 3, 1, 2))
        above = functional.interpolate(self.coarsest(maps[3]), scale_factor=2.0, mode="nearest")
        return self.coarse(maps[2]) + above, self.finer(maps[1]), self.finest(maps[0])
