"""Pools that have lost their stride: the map keeps its size, the numbers stay.

A network of output stride 32 is brought to 16 or 8 by taking the stride from its last
pools and dilating every layer behind ("à trous": Chen et al. 2018, DeepLab,
arXiv 1606.00915, section 3.1). A pool of stride s that reads cells i … then reads the
same cells at every i, and the finer map holds the coarse one's values at every s-th
cell, with the same weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor


class DensePool(nn.Module):
    """A 2×2 pool of stride 1 over cells ``dilation`` apart.

    The map keeps its size: beyond the last cell the last cell is read again.

    Args:
        dilation: distance of the cells, 1 for the first pool that loses its stride.
        average: mean of the four cells; else their maximum.
    """

    def __init__(self, dilation: int, *, average: bool) -> None:
        super().__init__()
        self.dilation = dilation
        self.average = average
        self.steps = [((2, 1, dilation), 0)]

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) → (N, C, h, w)."""
        for dim in (-2, -1):
            size = x.shape[dim]
            at = torch.arange(size, device=x.device) + self.dilation
            ahead = x.index_select(dim, at.clamp(max=size - 1))
            x = (x + ahead) / 2 if self.average else torch.maximum(x, ahead)
        return x


def average3(x: Tensor, dilation: int) -> Tensor:
    """The mean over 3×3 cells ``dilation`` apart, zeros beyond the border.

    Args:
        x: (N, C, h, w).
        dilation: distance of the cells.

    Returns:
        (N, C, h, w); with dilation 1 what ``avg_pool2d(x, 3, 1, 1)`` gives.
    """
    if dilation == 1:
        return nn.functional.avg_pool2d(x, 3, 1, 1)
    padded = nn.functional.pad(x, [dilation] * 4)
    for dim in (-2, -1):
        size = padded.shape[dim] - 2 * dilation
        parts = [padded.narrow(dim, step * dilation, size) for step in range(3)]
        padded = (parts[0] + parts[1] + parts[2]) / 3
    return padded
