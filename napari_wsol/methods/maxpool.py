"""Global max pooling of class maps.

Oquab, Bottou, Laptev, Sivic: Is Object Localization for Free? Weakly-Supervised
Learning With Convolutional Neural Networks, CVPR 2015 (section 3).

With s_c = w_c·X + b_c the logit of class c at each cell (a 1×1 convolution)::

    logit_c = max over cells of s_c

The map is s_c. PYLON's baseline is this head on a ResNet-50.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from napari_wsol.methods.base import HeadMethod, register
from napari_wsol.methods.heads import ConvHead, register_head
from napari_wsol.methods.map_pooling import MaximumPooling

if TYPE_CHECKING:
    from torch import Tensor

    from napari_wsol.methods.map_pooling import MapPooling


@register_head("maxpool")
class MaxHead(ConvHead):
    """The maximum of each class map."""

    @override
    def pooling(self) -> MapPooling:
        return MaximumPooling()

    @override
    def pool(self, maps: Tensor) -> Tensor:
        return maps.amax((-2, -1))


@register
class MaxPool(HeadMethod):
    """The logit of one class at each cell: unbounded evidence."""

    name: ClassVar[str] = "maxpool"
    title: ClassVar[str] = "MaxPool"
