"""MaxMin: foreground is where the classifier is sure, background where it is not.

Belharbi, Rony, Dolz, Ben Ayed, McCaffrey, Granger: Deep Interpretable Classification
and Weakly-Supervised Segmentation of Histology Images via Max-Min Uncertainty, IEEE
Transactions on Medical Imaging 41 (2022), arXiv 2011.07221.

A first WILDCAT head gives class maps s_c and probabilities p_c. Their mean, scaled to
[0, 1] over the image, becomes a soft mask (section III-A)::

    m = σ( 8 · (scaled(Σ_c p_c · s_c) - 0.15) )

In training a second head classifies the image masked with m and with 1 - m: sure of
the one, unsure of the other. It runs the encoder on masked images, is not needed for
the map, and is kept only so that its weights are not lost.

The mask is drawn at the resolution of the features, whereas the authors' code enlarges
the scaled mean before σ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch

from napari_wsol.methods.base import HeadMethod, register
from napari_wsol.methods.heads import Head, register_head, scaled
from napari_wsol.methods.wildcat import WildcatHead

if TYPE_CHECKING:
    from torch import Tensor

    from napari_wsol.encoders import Features
    from napari_wsol.methods.model import Model

SHARPNESS, THRESHOLD = 8.0, 0.15
"""Of the mask, as published."""


@register_head("maxmin")
class MaxMinHead(Head):
    """Both WILDCAT heads, ``classification_head1`` and ``classification_head2``.

    Args:
        channels: of the last feature map.
        classes: how many.
        kmin: lowest cells that are pooled; none by default, since the authors' code
            drops them and what it trained does not know them.
        options: others of :class:`~napari_wsol.methods.wildcat.WildcatHead`.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        kmin: float = 0.0,
        **options: Any,  # noqa: ANN401 - WILDCAT's, checked there
    ) -> None:
        super().__init__()
        self.classification_head1, self.classification_head2 = (
            WildcatHead(channels, classes, kmin=kmin, **options) for _ in range(2)
        )

    def forward(self, features: Features) -> Tensor:
        """(N, K) image logits: those of the first head, on the image as it is."""
        return self.classification_head1(features)

    def class_maps(self, features: Features) -> Tensor:
        """(N, K, h, w) logits of each cell by the first head."""
        return self.classification_head1.class_maps(features)

    def scaled_mean(self, features: Features) -> Tensor:
        """(N, h, w) the class maps' mean by probability, scaled to [0, 1]."""
        maps = self.class_maps(features)
        share = self.classification_head1.pool(maps).softmax(1)
        mean = (share[..., None, None] * maps).sum(1)
        return scaled(mean)


def mask(scaled_mean: Tensor) -> Tensor:
    """The soft mask, in [0, 1], of a scaled mean at any resolution."""
    return torch.sigmoid(SHARPNESS * (scaled_mean - THRESHOLD))


@register
class MaxMin(HeadMethod):
    """The foreground mask, whatever the class."""

    name: ClassVar[str] = "maxmin"
    title: ClassVar[str] = "MaxMin"
    is_probability: ClassVar[bool] = True

    def map(
        self,
        model: Model,
        features: Features,
        target: int,
    ) -> Tensor:
        """(N, h, w) in [0, 1]; the same for every class."""
        del target
        scaled = model.head(MaxMinHead, self.name).scaled_mean(features)
        return mask(features.straight(scaled))
