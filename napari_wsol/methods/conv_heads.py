"""What heads have in common that make class maps first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from napari_wsol.methods.heads import Head

if TYPE_CHECKING:
    from torch import Tensor

    from napari_wsol.encoders import Features


class PoolingHead(Head):
    """Class maps first, then one number a map.

    Subclasses give ``class_maps`` and ``pool``.
    """

    def pool(self, maps: Tensor) -> Tensor:
        """(N, K, h, w) class maps to (N, K) image logits."""
        raise NotImplementedError

    def forward(self, features: Features) -> Tensor:
        """(N, K) image logits: the class maps, pooled."""
        return self.pool(self.class_maps(features))


class ConvHead(PoolingHead):
    """A 1×1 convolution (``conv``) to class maps, which are then pooled.

    Args:
        channels: of the last feature map.
        classes: how many.
        background: adds a row 0 for background that is no class (PixelCAM's code).
    """

    reads_cells = True

    def __init__(
        self, channels: int, classes: int, *, background: bool = False
    ) -> None:
        super().__init__()
        self.first_row = int(background)
        self.conv = nn.Conv2d(channels, classes + self.first_row, 1)

    def class_maps(self, features: Features) -> Tensor:
        """(N, K, h, w) logits of each cell."""
        rows: Tensor = self.conv(features.last)
        return rows[:, self.first_row :]


def scaled(maps: Tensor) -> Tensor:
    """(..., h, w) maps, each brought to [0, 1]; 0 where one is the same everywhere."""
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    return (maps - low) / (high - low).clamp_min(torch.finfo(maps.dtype).tiny)
