"""Gaussian blur of tensors along some axes."""

from __future__ import annotations

import torch
from torch import Tensor


def blurred(values: Tensor, sigma: float, axes: tuple[int, ...], radius: int) -> Tensor:
    """Blur along axes with a Gaussian that is cut at a radius, and mirrored at borders.

    Parameters
    ----------
    values : Tensor
    sigma : float
        In samples.
    axes : tuple of int
    radius : int
        In samples; shorter where an axis is.

    Returns
    -------
    Tensor
    """
    at = torch.arange(-radius, radius + 1, device=values.device, dtype=values.dtype)
    kernel = torch.exp(-0.5 * (at / sigma) ** 2)
    kernel = kernel / kernel.sum()
    for axis in axes:
        length = values.shape[axis]
        # The edge's sample is repeated: 0 1 2 continues to the left as 0 1 2.
        index = torch.arange(-radius, length + radius, device=values.device) % (2 * length)
        index = torch.where(index < length, index, 2 * length - 1 - index)
        wide = values.index_select(axis, index)
        values = wide.unfold(axis, 2 * radius + 1, 1) @ kernel
    return values
