"""SPG's ResNet-50: the WSOL form of it, cut and named as SPG's branches need it.

Zhang et al. 2018, arXiv 1807.08902. The six blocks of the third stage are ``SPG_A1``
(one) and ``SPG_A2`` (five); the rest is as in ``wsol_resnet50``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn
from typing_extensions import override

from napari_wsol.encoders.base import Encoder
from napari_wsol.encoders.registry import register_encoder
from napari_wsol.encoders.resnet import Bottleneck, ResNet, block_steps

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from napari_wsol.encoders.base import Step

STAGES = {
    "layer1": 256,
    "layer2": 512,
    "SPG_A1": 1024,
    "SPG_A2": 1024,
    "layer4": 2048,
}
"""Channels of each stage, finest first."""


@register_encoder("wsol_spg_resnet50")
class SpgResNet(Encoder):
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
        super().__init__()
        whole = ResNet(
            Bottleneck,
            (3, 4, 6, 3),
            output_stride=output_stride or 8,
            in_channels=in_channels,
            dilate=False,
        )
        third = list(whole.get_submodule("layer3").children())
        self.conv1, self.bn1 = whole.conv1, whole.bn1
        self.relu, self.maxpool = whole.relu, whole.maxpool
        self.layer1 = whole.get_submodule("layer1")
        self.layer2 = whole.get_submodule("layer2")
        self.SPG_A1 = nn.Sequential(*third[:1])
        self.SPG_A2 = nn.Sequential(*third[1:])
        self.layer4 = whole.get_submodule("layer4")
        self.choose(taps, {"stem": 64, **STAGES})

    @override
    def stages(self) -> Iterator[tuple[str, nn.Module]]:
        yield "stem", nn.Sequential(self.conv1, self.bn1, self.relu)
        yield "maxpool", self.maxpool
        for name in STAGES:
            yield name, self.get_submodule(name)

    @override
    def path(self) -> Iterator[tuple[str, Step, int]]:
        yield "stem", (7, 2, 1), 3
        yield "maxpool", (3, 2, 1), 1
        for name in STAGES:
            yield from block_steps(name, self.get_submodule(name))
