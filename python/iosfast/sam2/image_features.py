"""The image encoder of SAM 2, written for export: what does not depend on the image is a constant.

It equals sam2's up to the order of sums. What differs:

- the positional encoding is computed once, at the export, and not for every image;
- keys have no bias, which adds the same to all scores of a query, and values have theirs after the
  output's projection, because the weights of their sum add up to 1;
- windows that reach beyond the image are filled with zeros after the projections instead of before,
  which is the same without the biases;
- queries, keys and values are cut into windows and heads in one step;
- two convolutions of 1 x 1 that follow each other are one.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


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
    rows = values.reshape(-1, 2, x * channels)
    rows = torch.maximum(rows[:, 0], rows[:, 1])
    pairs = rows.reshape(-1, 2, channels)
    return torch.maximum(pairs[:, 0], pairs[:, 1]).reshape(-1, y // 2, x // 2, channels)


class WindowAttention(nn.Module):
    """A block's attention within windows, or of the whole image, (N, y, x, C) to (N, y, x, C')."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        attention = block.attn
        self.heads, self.window = attention.num_heads, block.window_size
        self.pools = bool(block.q_stride)
        scale = 1 / math.sqrt(attention.dim_out // attention.num_heads)
        queries, keys, values = attention.qkv.weight.detach().chunk(3)
        bias, _, after = attention.qkv.bias.detach().chunk(3)
        outer = attention.proj.weight.detach()
        after = outer.double() @ after.double() + attention.proj.bias.detach().double()
        self.query = Linear(queries * scale, bias * scale)
        self.key, self.value = Linear(keys), Linear(values)
        self.out = Linear(outer, after.float())

    def forward(self, pixels: Tensor) -> Tensor:
        y, x = (int(size) >> self.pools for size in pixels.shape[1:3])
        queries = self.query(pixels)
        window = self.window >> self.pools
        queries = self._cut(_pooled(queries) if self.pools else queries, window)
        keys, values = (self._cut(to(pixels), self.window) for to in (self.key, self.value))
        found = (queries @ keys.transpose(-1, -2)).softmax(-1) @ values
        joined: Tensor = self.out(self._joined(found, window, y, x))
        return joined

    def _cut(self, values: Tensor, window: int) -> Tensor:
        """Return queries, keys or values as (N windows, heads, pixels, C / heads)."""
        y, x, channels = (int(size) for size in values.shape[1:])
        width = channels // self.heads
        if not window:
            return values.reshape(-1, y * x, self.heads, width).transpose(1, 2)
        below, right = -y % window, -x % window
        if below or right:
            values = functional.pad(values, (0, 0, 0, right, 0, below))
        high, wide = (y + below) // window, (x + right) // window
        split = values.reshape(-1, high, window, wide, window, self.heads, width)
        turned = split.permute(0, 1, 3, 5, 2, 4, 6)
        return turned.reshape(-1, self.heads, window * window, width)

    def _joined(self, found: Tensor, window: int, y: int, x: int) -> Tensor:
        width = int(found.shape[-1])
        if not window:
            return found.transpose(1, 2).reshape(-1, y, x, self.heads * width)
        high, wide = -(-y // window), -(-x // window)
        split = found.reshape(-1, high, wide, self.heads, window, window, width)
        turned = split.permute(0, 1, 4, 2, 5, 3, 6)
        whole = turned.reshape(-1, high * window, wide * window, self.heads * width)
        return whole[:, :y, :x] if (high * window, wide * window) != (y, x) else whole


class Block(nn.Module):
    """A block of the trunk, (N, y, x, C) to the same, or half the size and twice the channels."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.norm1, self.norm2 = block.norm1, block.norm2
        self.attention = WindowAttention(block)
        self.project = Linear.of(block.proj) if block.dim != block.dim_out else None
        self.pools = bool(block.q_stride)
        self.wide, self.narrow = map(Linear.of, block.mlp.layers)

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
