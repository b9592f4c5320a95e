"""SPG's ResNet-50: the WSOL form of it, cut and named as SPG's branches need it.

Zhang et al. 2018, arXiv 1807.08902. The six blocks of the third stage are ``SPG_A1``
(one) and ``SPG_A2`` (five); the rest is as in ``wsol_resnet50``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from napari_wsol.encoders.registry import register_encoder
from napari_wsol.encoders.resnet import Bottleneck, ResNet

if TYPE_CHECKING:
    from collections.abc import Iterable


@register_encoder("wsol_spg_resnet50")
class SpgResNet(ResNet):
    """A ResNet-50 whose last stages lose their stride and are not dilated.

    Args:
        output_stride: 8, 16 or 32; 8 by default, as published.
        taps: any of "stem", "layer1", "layer2", "SPG_A1", "SPG_A2", "layer4"; the last
            by default.
        in_channels: of the image.
    """

    def __init__(
        self,
        *,
        output_stride: int | None = None,
        taps: Iterable[str] | None = None,
        in_channels: int = 3,
    ) -> None:
        super().__init__(
            Bottleneck,
            (3, 4, 6, 3),
            output_stride=output_stride,
            in_channels=in_channels,
            dilate=False,
        )
        first, *others = self.get_submodule("layer3").children()
        last = self.get_submodule("layer4")
        del self.layer3, self.layer4
        self.SPG_A1, self.SPG_A2 = nn.Sequential(first), nn.Sequential(*others)
        self.layer4 = last
        widths = {"layer1": 256, "layer2": 512, "SPG_A1": 1024, "SPG_A2": 1024}
        widths["layer4"] = 2048
        self.residual = tuple(widths)
        self.choose(taps, {"stem": 64, **widths})
