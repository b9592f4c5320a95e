"""The classifier of torchvision's VGG (Simonyan and Zisserman, arXiv 1409.1556).

Maps of any size are averaged to 7 × 7 cells, which linear layers read all at once: no
cell has logits of its own. Grad-CAM and its like tell what the network looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from napari_wsol.methods.heads import Head, register_head

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from napari_wsol.encoders import Features

GRID = 7


@register_head("vgg")
class VggHead(Head):
    """Linear layers of the given widths, with ReLU and dropout between."""

    has_maps = False

    def __init__(
        self, channels: int, classes: int, *, widths: Iterable[int] = (4096, 4096)
    ) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(GRID)
        layers: list[nn.Module] = []
        inputs = channels * GRID**2
        for width in widths:
            layers += [nn.Linear(inputs, width), nn.ReLU(inplace=True), nn.Dropout()]
            inputs = width
        self.classifier = nn.Sequential(*layers, nn.Linear(inputs, classes))

    def forward(self, features: Features) -> Tensor:
        """(N, K) image logits."""
        return self.classifier(self.pool(features.last).flatten(1))
