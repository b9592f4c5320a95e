"""The classifier of a vision transformer: one linear layer on one vector.

Dosovitskiy et al.: An Image is Worth 16x16 Words, ICLR 2021, arXiv 2010.11929: the
vector is the class token; or, as in timm's networks with ``global_pool="avg"``, the
mean of the patch tokens, normalised after it (``fc_norm``) instead of before. Without
that norm, the mean is the head "cam", whose cells have a logit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from torch import nn

from napari_wsol.encoders.tokens import CLS
from napari_wsol.errors import ConfigError
from napari_wsol.methods.heads import Head, register_head

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from torch import Tensor

    from napari_wsol.encoders import Encoder, Features

Pool = Literal["cls", "mean"]
GRID = 7


@register_head("linear")
class LinearHead(Head):
    """A linear layer on the class token or on the mean of the deepest map.

    Args:
        channels: of both.
        classes: how many.
        pool: which.
        norm: whether a LayerNorm comes between, timm's ``fc_norm``.

    Raises:
        ConfigError: another pooling.
    """

    has_maps = False

    def __init__(
        self, channels: int, classes: int, *, pool: Pool = "cls", norm: bool = False
    ) -> None:
        super().__init__()
        if pool not in ("cls", "mean"):
            raise ConfigError(f"The linear head pools by cls or mean, not {pool}.")
        self.pool = pool
        self.norm = nn.LayerNorm(channels, eps=1e-6) if norm else nn.Identity()
        self.fc = nn.Linear(channels, classes)

    @classmethod
    def build(cls, encoder: Encoder, classes: int, **options: object) -> Self:
        """As its base does; the encoder gives its class token from now on.

        Raises:
            ConfigError: it has none.
        """
        head = super().build(encoder, classes, **options)
        if head.pool == "cls" and CLS not in encoder.taps:
            if CLS not in encoder.layers:
                raise ConfigError(
                    "The linear head reads a transformer's class token, and this "
                    'encoder gives none: set its option pool to "mean".'
                )
            encoder.choose((CLS, *encoder.taps), encoder.layers)
        return head

    def forward(self, features: Features) -> Tensor:
        """(N, K) image logits; of several windows, those of their mean."""
        at = features.names.index(CLS) if self.pool == "cls" else -1
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
