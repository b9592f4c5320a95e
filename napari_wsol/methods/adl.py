"""ADL: attention-based dropout, which leaves no trace but better weights.

Choe, Shim: Attention-Based Dropout Layer for Weakly Supervised Object Localization,
CVPR 2019, arXiv 1908.10028.

In training, layers without parameters behind some blocks of the encoder hide the most
attended cells or weight all by attention (section 3.2). At inference they do nothing:
the network is an ordinary one with global average pooling, and its map is a class
activation map. The authors' code takes the mean over the C channels, not the sum::

    M_c = 1/C · Σ_k W[c, k] · X_k

The dropout itself is not done here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

from napari_wsol.methods.base import HeadMethod, register
from napari_wsol.methods.cam import GapHead
from napari_wsol.methods.heads import register_head
from napari_wsol.methods.map_pooling import MeanPooling

if TYPE_CHECKING:
    from torch import Tensor

    from napari_wsol.encoders import Features
    from napari_wsol.methods.map_pooling import MapPooling


@register_head("adl")
class AdlHead(GapHead):
    """Global average pooling, then a linear layer (``fc``)."""

    @override
    def pooling(self) -> MapPooling:
        return MeanPooling(self.fc.bias[self.first_row :], self.fc.in_features)

    def class_maps(self, features: Features) -> Tensor:
        """(N, K, h, w) class activation maps over the number of channels."""
        return super().class_maps(features) / features.last.shape[1]


@register
class Adl(HeadMethod):
    """The class activation map of one class: unbounded evidence."""

    name: ClassVar[str] = "adl"
    title: ClassVar[str] = "ADL"
