"""Global average pooling of class maps.

Lin, Chen, Yan: Network In Network, ICLR 2014, arXiv 1312.4400 (section 3.2).

With s_c = w_c·X + b_c the logit of class c at each cell (a 1×1 convolution)::

    logit_c = mean over cells of s_c

The map is s_c. It is that of CAM plus the bias: pooling and classifying commute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from napari_wsol.methods.base import HeadMethod, register
from napari_wsol.methods.heads import ConvHead, register_head
from napari_wsol.methods.map_pooling import MeanPooling

if TYPE_CHECKING:
    from torch import Tensor

    from napari_wsol.methods.map_pooling import MapPooling


@register_head("gap")
class MeanHead(ConvHead):
    """The mean of each class map."""

    @override
    def pooling(self) -> MapPooling:
        return MeanPooling()

    @override
    def pool(self, maps: Tensor) -> Tensor:
        return maps.mean((-2, -1))


@register
class Gap(HeadMethod):
    """The logit of one class at each cell: unbounded evidence."""

    name: ClassVar[str] = "gap"
    title: ClassVar[str] = "GAP"
