"""TS-CAM: class maps of patch tokens, weighed by what the class token attends to.

Gao, Wan, Pan, Peng, Tian, Han, Zhou, Ye: TS-CAM: Token Semantic Coupled Attention Map
for Weakly Supervised Object Localization, ICCV 2021, arXiv 2103.14862.

A 3×3 convolution on the patch tokens gives a semantic map S_c for each class, and its
average over the patches is the logit. With A_l (h, w) what the class token takes from
each patch in block l, mean of the heads, the map is the product of both::

    M_c = Σ_l A_l ⊙ S_c

The copy of this method in PixelCAM's repository replaces the tokens by their mean over
the patches before the convolution, which leaves nothing of S_c but its borders. Ours
follows the paper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import nn
from typing_extensions import override

from napari_wsol.methods.base import HeadMethod, register
from napari_wsol.methods.heads import Head, register_head

if TYPE_CHECKING:
    from torch import Tensor

    from napari_wsol.encoders import Features
    from napari_wsol.methods.model import Model

ATTENTION = "attention"
"""The encoder's map of what the class token attends to, a channel a block."""


@register_head("tscam")
class PatchHead(Head):
    """A 3×3 convolution on the patch tokens, averaged to the logits.

    Args:
        channels: of the patch tokens.
        classes: how many.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(channels, classes, 3, padding=1)

    def forward(self, features: Features) -> Tensor:
        """(N, K) image logits."""
        return self.class_maps(features).mean((-2, -1))

    def class_maps(self, features: Features) -> Tensor:
        """(N, K, h, w) semantic maps: they average to the logits."""
        return self.head(features.last)


@register
class TsCam(HeadMethod):
    """Semantic map times attention: unbounded evidence."""

    name: ClassVar[str] = "tscam"
    title: ClassVar[str] = "TS-CAM"

    @override
    def taps(self, model: Model) -> tuple[str, ...]:
        del model
        return (ATTENTION,)

    @override
    def map(
        self,
        model: Model,
        features: Features,
        target: int,
    ) -> Tensor:
        head = model.head(PatchHead, self.name)
        attention = features.maps[features.names.index(ATTENTION)].float().sum(1)
        return features.straight(attention * head.class_maps(features)[:, target])

    @override
    def unavailable(self, model: Model) -> str | None:
        if ATTENTION in model.encoder.layers:
            return super().unavailable(model)
        return (
            "TS-CAM reads the attention of a transformer's class token, and this "
            "model's encoder has none. Choose a model with a DeiT."
        )
