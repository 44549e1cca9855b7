"""Attention and rotation as one operator of ONNX Runtime each, instead of many of ONNX's own.

Its attention never holds the matrix of all weights: on the CPU it goes over blocks of queries and
keys that fit into the cache (Dao et al. 2022, FlashAttention). OpenVINO knows both, too.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

#: Where these operators are, and their version.
DOMAIN, DOMAIN_VERSION = "com.microsoft", 1


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(_context: Any, queries: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
        split = [
            x.reshape(*x.shape[:2], heads, -1).transpose(1, 2) for x in (queries, keys, values)
        ]
        scores = split[0] @ split[1].transpose(-1, -2)
        found: Tensor = (scores.softmax(-1) @ split[2]).transpose(1, 2).flatten(2)
        return found

    @staticmethod
    def symbolic(graph: Any, queries: Any, keys: Any, values: Any, heads: int) -> Any:
        name = f"{DOMAIN}::MultiHeadAttention"
        found = graph.op(name, queries, keys, values, num_heads_i=heads, scale_f=1.0)
        return _of_three_axes(found, queries)


class _Rotation(torch.autograd.Function):
    @staticmethod
    def forward(
        _context: Any, vectors: Tensor, positions: Tensor, cos: Tensor, sin: Tensor
    ) -> Tensor:
        real, imaginary = vectors.chunk(2, dim=-1)
        cos, sin = cos[positions], sin[positions]
        return torch.cat([real * cos - imaginary * sin, real * sin + imaginary * cos], dim=-1)

    @staticmethod
    def symbolic(graph: Any, vectors: Any, positions: Any, cos: Any, sin: Any) -> Any:
        name = f"{DOMAIN}::RotaryEmbedding"
        found = graph.op(name, vectors, positions, cos, sin, interleaved_i=0)
        return _of_three_axes(found, vectors)


def _of_three_axes(found: Any, like: Any) -> Any:
    """Tell the type of what an operator gives, which torch cannot know and would warn of."""
    found.setType(like.type().with_sizes([None, None, None]))
    return found


def attention(queries: Tensor, keys: Tensor, values: Tensor, heads: int = 1) -> Tensor:
    """Return values, summed by the softmax of the products of queries and keys.

    Parameters
    ----------
    queries : Tensor, shape (N, Q, heads C)
        Scaled before.
    keys : Tensor, shape (N, K, heads C)
    values : Tensor, shape (N, K, heads V)
    heads : int

    Returns
    -------
    Tensor, shape (N, Q, heads V)
    """
    apply: Any = _Attention.apply
    found: Tensor = apply(queries, keys, values, heads)
    return found


def rotated(vectors: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return complex numbers, turned by the angles of their places.

    Parameters
    ----------
    vectors : Tensor, shape (N, P, 2 C)
        The first half of the last axis holds the real parts.
    cos, sin : Tensor, shape (P, C)

    Returns
    -------
    Tensor, shape (N, P, 2 C)
    """
    # one position for all is allowed to ONNX Runtime, but OpenVINO takes it for another
    positions = torch.arange(cos.shape[0]).expand(vectors.shape[0], -1)
    apply: Any = _Rotation.apply
    found: Tensor = apply(vectors, positions, cos, sin)
    return found
