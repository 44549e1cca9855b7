"""Gaussian blur of tensors along some axes."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor


def blurred(
    values: Tensor,
    sigma: float,
    axes: tuple[int, ...],
    radius: int,
    border: Literal["reflect", "mirror"] = "reflect",
) -> Tensor:
    """Blur along axes with a Gaussian that is cut at a radius.

    Parameters
    ----------
    values : Tensor
    sigma : float
        In samples.
    axes : tuple of int
    radius : int
        In samples.
    border : {"reflect", "mirror"}
        As in SciPy: 0 1 2 continues to the left as 0 1 2, or as 1 2.

    Returns
    -------
    Tensor
    """
    at = torch.arange(-radius, radius + 1, device=values.device, dtype=values.dtype)
    kernel = torch.exp(-0.5 * (at / sigma) ** 2)
    kernel = kernel / kernel.sum()
    for axis in axes:
        length = values.shape[axis]
        once = 0 if border == "reflect" else 1  # the sample at the edge
        period = max(1, 2 * (length - once))
        index = torch.arange(-radius, length + radius, device=values.device) % period
        index = torch.where(index < length, index, period - 1 + once - index)
        wide = values.index_select(axis, index)
        values = wide.unfold(axis, 2 * radius + 1, 1) @ kernel
    return values
