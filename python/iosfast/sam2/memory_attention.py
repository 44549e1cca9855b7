"""Memory attention of SAM 2, written for export: real numbers, and nothing computed twice.

It equals sam2's up to the order of sums. What differs:

- the rotation of queries and keys is real, on halves of the channels instead of pairs, which the
  weights are reordered for, and one operator;
- so is attention, but where rows are padded;
- values are not projected before they are summed but after it, together with the output's
  projection: sum_j a_j (W v_j + b) = W (sum_j a_j v_j) + b, because sum_j a_j = 1. Memories thus
  stay 64 wide where sam2 makes them 256 wide;
- the first self-attention sees only the map, so it is a part of the image encoder.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from .fused_operators import attention, rotated

#: Queries at a time where rows are padded: bounds the matrix of weights of all memories.
_QUERIES = 1024


def _place(encoding: Any, side: int) -> Tensor:
    """Return a positional encoding as (side side, channels)."""
    with torch.no_grad():
        place: Tensor = encoding(torch.zeros(1, 1, side, side))[0].flatten(1).T.contiguous()
    return place


def _side(predictor: Any) -> int:
    return int(predictor.image_size // predictor.backbone_stride)


class Rotation(nn.Module):
    """Rotary encoding of (N, h h, 256), of which the first half holds the real parts."""

    cos: Tensor
    sin: Tensor

    def __init__(self, channels: int, side: int, theta: float = 10000.0) -> None:
        super().__init__()
        speed = 1.0 / (theta ** (torch.arange(0, channels, 4)[: channels // 4].float() / channels))
        pixel = torch.arange(side * side)
        x, y = (pixel % side).float(), (pixel // side).float()
        angle = torch.cat([torch.outer(x, speed), torch.outer(y, speed)], dim=-1)
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())

    def forward(self, vectors: Tensor) -> Tensor:
        return rotated(vectors, self.cos, self.sin)


def _halved(linear: nn.Linear, scale: float = 1.0) -> nn.Linear:
    """Return a projection whose even outputs come first, times a power of two."""
    order = torch.cat([torch.arange(start, linear.out_features, 2) for start in (0, 1)])
    made = nn.Linear(linear.in_features, linear.out_features)
    made.weight = nn.Parameter(linear.weight.detach()[order] * scale, requires_grad=False)
    made.bias = nn.Parameter(linear.bias.detach()[order] * scale, requires_grad=False)
    return made


def _folded(first: nn.Linear, second: nn.Linear) -> nn.Linear:
    """Return one projection that does two."""
    weight, outer = first.weight.detach().double(), second.weight.detach().double()
    made = nn.Linear(first.in_features, second.out_features)
    made.weight = nn.Parameter((outer @ weight).float(), requires_grad=False)
    bias = outer @ first.bias.detach().double() + second.bias.detach().double()
    made.bias = nn.Parameter(bias.float(), requires_grad=False)
    return made


class Attention(nn.Module):
    """Projections of one attention: queries and keys to 256, the weighted sum of values to 256."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        scale = 1 / math.sqrt(layer.internal_dim)
        assert math.log2(scale).is_integer()  # scaling the weights is exact
        self.query = _halved(layer.q_proj, scale)
        self.key = _halved(layer.k_proj)
        self.out = _folded(layer.v_proj, layer.out_proj)

    def forward(
        self, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None = None
    ) -> Tensor:
        if bias is None:
            summed = attention(queries, keys, values)
        else:
            across, count = keys.transpose(1, 2), int(queries.shape[1])
            parts = []
            for start in range(0, count, _QUERIES):
                scores = queries[:, start : start + _QUERIES] @ across + bias
                parts.append(scores.softmax(-1) @ values)
            summed = torch.cat(parts, 1) if len(parts) > 1 else parts[0]
        found: Tensor = self.out(summed)
        return found


class SelfAttention(nn.Module):
    """A layer's attention of the map to itself."""

    def __init__(self, layer: Any, rotation: Rotation) -> None:
        super().__init__()
        self.norm, self.attention, self.rotation = layer.norm1, Attention(layer.self_attn), rotation

    def forward(self, pixels: Tensor) -> Tensor:
        values = self.norm(pixels)
        queries = self.rotation(self.attention.query(values))
        keys = self.rotation(self.attention.key(values))
        found: Tensor = pixels + self.attention(queries, keys, values)
        return found


class FirstSelfAttention(nn.Module):
    """What memory attention does before it looks at memories: (N, 256, h, h) to (N, h h, 256)."""

    place: Tensor

    def __init__(self, predictor: Any) -> None:
        super().__init__()
        attention, side = predictor.memory_attention, _side(predictor)
        self.attention = SelfAttention(attention.layers[0], Rotation(attention.d_model, side))
        place = 0.1 * _place(predictor.image_encoder.neck.position_encoding, side)
        self.register_buffer("place", place)

    def forward(self, features: Tensor) -> Tensor:
        found: Tensor = self.attention(features.flatten(2).transpose(1, 2) + self.place)
        return found


class MemoryAttention(nn.Module):
    """Pixels after the first self-attention (B, h h, 256) and memories to features (B, 256, h, h).

    Memories are (B, K, h h, 64), with the row of the temporal encoding for each (B, K): 6 for those
    of conditioning maps, else how many maps ago less 1. Object pointers are (B, T, 256), with times
    (B, T): how many maps ago, relative to the span of pointers.
    Two more inputs tell the memories (B, K) and pointers (B, T) that count, where rows are padded.
    """

    place: Tensor
    ages: Tensor
    wave: Tensor

    def __init__(self, predictor: Any) -> None:
        super().__init__()
        attention = predictor.memory_attention
        self.side = _side(predictor)
        rotation = Rotation(attention.d_model, self.side)
        self.layers: Any = attention.layers
        self.norm, self.rotation = attention.norm, rotation
        self.own = nn.ModuleList([SelfAttention(layer, rotation) for layer in attention.layers[1:]])
        self.cross = nn.ModuleList(
            [Attention(layer.cross_attn_image) for layer in attention.layers]
        )
        place = _place(predictor.memory_encoder.position_encoding, self.side)
        self.register_buffer("place", place)
        self.register_buffer("ages", predictor.maskmem_tpos_enc.detach().flatten(1).clone())
        self.to_time = predictor.obj_ptr_tpos_proj
        half = attention.d_model // 2
        wave = torch.arange(half, dtype=torch.float32)
        self.register_buffer("wave", 10000 ** (2 * (wave // 2) / half))

    def forward(
        self,
        pixels: Tensor,
        memories: Tensor,
        ages: Tensor,
        pointers: Tensor,
        times: Tensor,
        memory_counts: Tensor | None = None,
        pointer_counts: Tensor | None = None,
    ) -> Tensor:
        width = memories.shape[-1]
        pieces = pointers.shape[-1] // width
        rows = pixels.shape[0]
        placed = (memories + (self.place + self.ages[ages][:, :, None])).flatten(0, 1)
        angle = times[:, :, None] / self.wave
        time = self.to_time(torch.cat([angle.sin(), angle.cos()], dim=-1))
        split = pointers.reshape(pointers.shape[0], pointers.shape[1], pieces, width)
        timed = (split + time[:, :, None]).flatten(1, 2)
        values = torch.cat([memories.flatten(1, 2), split.flatten(1, 2)], dim=1)
        bias = None
        if memory_counts is not None and pointer_counts is not None:
            spread = memory_counts[:, :, None].expand(-1, -1, self.side**2).flatten(1)
            several = pointer_counts[:, :, None].expand(-1, -1, pieces).flatten(1)
            counts = torch.cat([spread, several], dim=1)
            bias = torch.where(counts, 0.0, -torch.inf)[:, None]
        cross: Any
        for i, (layer, cross) in enumerate(zip(self.layers, self.cross, strict=True)):
            if i:
                pixels = self.own[i - 1](pixels)
            queries = self.rotation(cross.query(layer.norm2(pixels)))
            spatial = self.rotation(cross.key(placed)).reshape(rows, -1, queries.shape[-1])
            keys = torch.cat([spatial, cross.key(timed)], dim=1)
            pixels = pixels + cross(queries, keys, values, bias)
            inner = torch.relu(layer.linear1(layer.norm3(pixels)))
            pixels = pixels + layer.linear2(inner)
        found: Tensor = self.norm(pixels).transpose(1, 2)
        return found.reshape(found.shape[0], found.shape[1], self.side, self.side)
