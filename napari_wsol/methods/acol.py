"""ACoL: a second classifier looks where the first one did not.

Zhang, Wei, Feng, Yang, Huang: Adversarial Complementary Learning for Weakly Supervised
Object Localization, CVPR 2018, arXiv 1804.06962.

Two classifiers of three convolutions read the same features X. The first gives class
maps A_c and, by their mean, the logits. Where its map of class c, scaled to [0, 1],
reaches δ = 0.1, X is erased, and the second gives B_c on what is left (equation 1)::

    logit_c = mean of A_c      M_c = max( scaled A_c, scaled B_c )

In training the erased class is the image's own and both classifiers learn it
(algorithm 1); that is not done here. Every class erases for itself here, so that each
has its map.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn
from typing_extensions import override

from napari_wsol.methods.base import HeadMethod, register
from napari_wsol.methods.heads import Head, register_head, scaled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from napari_wsol.encoders import Features
    from napari_wsol.methods.model import Model

ERASE_FROM = 0.1
"""δ: scaled values of the first map from here on are erased for the second."""


def _classifier(
    channels: int, classes: int, width: int, names: Iterable[str]
) -> nn.Sequential:
    """Two 3×3 convolutions with ReLU and a 1×1 convolution to class maps."""
    layers: list[nn.Module] = []
    for inputs in (channels, width):
        layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(inplace=True)]
    layers.append(nn.Conv2d(width, classes, 1))
    return nn.Sequential(OrderedDict(zip(names, layers, strict=True)))


@register_head("acol")
class AcolHead(Head):
    """Both classifiers, ``classifier_A`` and ``classifier_B``.

    Args:
        channels: of the last feature map.
        classes: how many.
        mid_channels: of the layers between.
    """

    def __init__(
        self, channels: int, classes: int, *, mid_channels: int = 1024
    ) -> None:
        super().__init__()
        sizes = (channels, classes, mid_channels)
        named = ("conv1", "relu1", "conv2", "relu2", "conv3")
        self.classifier_A = _classifier(*sizes, named)
        self.classifier_B = _classifier(*sizes, "01234")  # the same, but published so

    def forward(self, features: Features) -> Tensor:
        """(N, K) image logits: those of the first classifier."""
        return self.classifier_A(features.last).mean((-2, -1))

    def class_map(self, features: Features, target: int) -> Tensor:
        """(N, h, w) both maps of one class, fused, in [0, 1]."""
        return self._fused(features.last, self.classifier_A(features.last), target)

    def class_maps(self, features: Features) -> Tensor:
        """(N, K, h, w) fused maps; the second classifier runs once a class."""
        first = self.classifier_A(features.last)
        maps = [
            self._fused(features.last, first, target)
            for target in range(first.shape[1])
        ]
        return torch.stack(maps, dim=1)

    def _fused(self, x: Tensor, first: Tensor, target: int) -> Tensor:
        found = scaled(first[:, target])
        left = x * (found < ERASE_FROM)[:, None]
        second: Tensor = self.classifier_B(left)
        return torch.maximum(found, scaled(second[:, target]))


@register
class Acol(HeadMethod):
    """The fused map of one class: relative evidence, scaled for each image."""

    name: ClassVar[str] = "acol"
    title: ClassVar[str] = "ACoL"

    @override
    def map(  # only one class's
        self,
        model: Model,
        features: Features,
        target: int,
    ) -> Tensor:
        head = model.head(AcolHead, self.name)
        return features.straight(head.class_map(features, target))
