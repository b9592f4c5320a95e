"""Classifiers whose cells have no logit: of vision transformers and of VGG.

Dosovitskiy et al.: An Image is Worth 16x16 Words, ICLR 2021, arXiv 2010.11929: the
vector is the class token; or, as in timm's networks with ``global_pool="avg"``, the
mean of the patch tokens, normalised after it (``fc_norm``) instead of before. Without
that norm, the mean is the head "cam", whose cells have a logit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from napari_wsol.methods.heads import Head, register_head

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from torch import Tensor

    from napari_wsol.encoders import Encoder, Features

GRID = 7


@register_head("linear")
class LinearHead(Head):
    """One linear layer on the class token, or on the mean of the deepest map.

    Args:
        channels: of both.
        classes: how many.
        pool: "cls" or "mean", which is timm's ``global_pool="avg"``.
        norm: whether a LayerNorm comes between, timm's ``fc_norm``. Without it, the
            mean is the head "cam", whose cells have a logit.
    """

    has_maps = False

    def __init__(
        self, channels: int, classes: int, *, pool: str = "cls", norm: bool = False
    ) -> None:
        super().__init__()
        self.pool = pool
        self.norm = nn.LayerNorm(channels, eps=1e-6) if norm else nn.Identity()
        self.fc = nn.Linear(channels, classes)

    @classmethod
    def build(cls, encoder: Encoder, classes: int, **options: object) -> Self:
        """As its base does; the encoder then gives what is read.

        Raises:
            ConfigError: it has no such map, as a class token.
        """
        head = super().build(encoder, classes, **options)
        if head.pool not in ("mean", *encoder.taps):
            encoder.choose((head.pool, *encoder.taps), encoder.layers)
        return head

    def forward(self, features: Features) -> Tensor:
        """(N, K) image logits; of several windows, those of their mean."""
        at = -1 if self.pool == "mean" else features.names.index(self.pool)
        return self.fc(self.norm(features.maps[at].mean((-2, -1))))


@register_head("vgg")
class VggHead(Head):
    """The classifier of torchvision's VGG (Simonyan and Zisserman, arXiv 1409.1556).

    Maps are averaged to 7 × 7 cells, which linear layers of the given widths, with ReLU
    and dropout between, read all at once: what they looked at, Grad-CAM tells.
    """

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
