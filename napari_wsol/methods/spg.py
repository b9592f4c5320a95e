"""SPG: attention of deep layers guides shallower ones while they learn.

Zhang, Wei, Kang, Yang, Huang: Self-produced Guidance for Weakly-Supervised Object
Localization, ECCV 2018, arXiv 1807.08902.

Confident foreground and background of the class map become pixel labels for branches
B and C of shallower layers (section 3.2). Those branches teach the encoder and are not
read at inference, so they are not built here. What remains (section 3.1)::

    s_c = w_c·X + b_c      logit_c = mean of s_c      M_c = s_c
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import nn
from typing_extensions import override

from napari_wsol.methods.base import HeadMethod, register
from napari_wsol.methods.heads import PoolingHead, register_head

if TYPE_CHECKING:
    from torch import Tensor

    from napari_wsol.encoders import Features


@register_head("spg")
class SpgHead(PoolingHead):
    """A 1×1 convolution (``SPG_A4``) to class maps, and their mean.

    Args:
        channels: of the last feature map.
        classes: how many.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.SPG_A4 = nn.Conv2d(channels, classes, 1)

    def class_maps(self, features: Features) -> Tensor:
        """(N, K, h, w) logits of each cell."""
        return self.SPG_A4(features.last)

    @override
    def pool(self, maps: Tensor) -> Tensor:
        return maps.mean((-2, -1))


@register
class Spg(HeadMethod):
    """The logit of one class at each cell: unbounded evidence."""

    name: ClassVar[str] = "spg"
    title: ClassVar[str] = "SPG"
