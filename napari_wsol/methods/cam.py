"""Class activation maps.

Zhou, Khosla, Lapedriza, Oliva, Torralba: Learning Deep Features for Discriminative
Localization, CVPR 2016, arXiv 1512.04150.

With X (C, h, w) the last feature map, global average pooling and a linear classifier
give the logit of class c (equation 1), and the same weights give its map (equation 2)::

    S_c = Σ_k W[c, k] · mean(X_k) + b_c        M_c = Σ_k W[c, k] · X_k

No rectification; the bias, equal everywhere, is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn

from napari_wsol.methods.base import HeadMethod, register
from napari_wsol.methods.heads import Head, register_head
from napari_wsol.methods.map_pooling import MeanPooling

if TYPE_CHECKING:
    from torch import Tensor

    from napari_wsol.encoders import Features
    from napari_wsol.methods.map_pooling import MapPooling


@register_head("cam")
class GapHead(Head):
    """Global average pooling, then a linear layer.

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
        self.fc = nn.Linear(channels, classes + self.first_row)

    def forward(self, features: Features) -> Tensor:
        """(N, K) image logits."""
        logits: Tensor = self.fc(features.last.mean((-2, -1)))
        return logits[:, self.first_row :]

    def pooling(self) -> MapPooling:
        """The average commutes with the linear layer."""
        return MeanPooling(self.fc.bias[self.first_row :])

    def class_maps(self, features: Features) -> Tensor:
        """(N, K, h, w) class activation maps, without bias."""
        rows = self.fc.weight[self.first_row :]
        return torch.einsum("kc,nchw->nkhw", rows, features.last)


@register
class Cam(HeadMethod):
    """The class activation map of one class: unbounded evidence."""

    name: ClassVar[str] = "cam"
    title: ClassVar[str] = "CAM"
