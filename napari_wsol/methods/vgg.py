"""The classifier of VGG: three layers on all cells of a grid of 7 × 7 at once.

Simonyan and Zisserman 2015, arXiv 1409.1556, in torchvision's form, which averages maps
of other sizes to that grid. Its cells have no logits of their own: what the network
looked at is told by read-outs of any classifier, such as Grad-CAM.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from napari_wsol.methods.heads import Head, register_head

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_wsol.encoders import Features

GRID = 7


@register_head("vgg")
class VggHead(Head):
    """Average to 7 × 7, then linear layers with ReLU and dropout between.

    Args:
        channels: of the last feature map.
        classes: how many.
        widths: of the hidden layers.
    """

    has_maps = False

    def __init__(
        self, channels: int, classes: int, *, widths: Sequence[int] = (4096, 4096)
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
