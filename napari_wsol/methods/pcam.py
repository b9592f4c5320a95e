"""Probabilistic class activation maps.

Ye, Yao, Xue, Li: Weakly Supervised Lesion Localization With Probabilistic-CAM Pooling,
2020, arXiv 2005.14480.

With X (C, h, w) the last feature map, s = w·X + b the logit at each cell (a 1×1
convolution) and σ the sigmoid (equations 3 to 5)::

    p = σ(s)      a = p / Σ p      x = Σ a · X      logit = w·x + b = Σ a · s

The map is p itself, a probability, at the resolution of the features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

import torch
from torch import nn

from napari_wsol.methods.base import HeadMethod, register
from napari_wsol.methods.heads import Head, register_head

if TYPE_CHECKING:
    from torch import Tensor

    from napari_wsol.encoders import Features


@register_head("pcam")
class PcamHead(Head):
    """One 1×1 convolution a class (``fc_0``, ``fc_1``, …), pooled by its own map.

    Args:
        channels: of the last feature map.
        classes: how many.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.classes = classes
        for index in range(classes):
            conv = nn.Conv2d(channels, 1, 1)
            # The authors start at N(0, 0.01) so that the first maps are flat.
            nn.init.normal_(conv.weight, std=0.01)
            nn.init.constant_(cast("Tensor", conv.bias), 0.0)
            self.add_module(f"fc_{index}", conv)

    def logit_map(self, features: Features, target: int) -> Tensor:
        """(N, h, w) logits of one class."""
        conv = self.get_submodule(f"fc_{target}")
        return conv(features.last)[:, 0]

    def class_maps(self, features: Features) -> Tensor:
        """(N, K, h, w) logits."""
        maps = [self.logit_map(features, index) for index in range(self.classes)]
        return torch.stack(maps, dim=1)

    def forward(self, features: Features) -> Tensor:
        """(N, K) image logits by PCAM pooling."""
        maps = self.class_maps(features).flatten(2)
        weights = torch.sigmoid(maps)
        weights = weights / weights.sum(-1, keepdim=True)
        # The classifier is linear, so pooling its logits is classifying the pooled X.
        return (weights * maps).sum(-1)


@register
class Pcam(HeadMethod):
    """The probability map of one class, in [0, 1]."""

    name: ClassVar[str] = "pcam"
    title: ClassVar[str] = "PCAM"
    head: ClassVar[str] = "pcam"
    is_probability: ClassVar[bool] = True
