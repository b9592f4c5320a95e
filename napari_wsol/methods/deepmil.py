"""DeepMIL: each cell is an instance, and attention says which ones count.

Ilse, Tomczak, Welling: Attention-based Deep Multiple Instance Learning, ICML 2018,
arXiv 1802.04712 (equations 7 to 9), with one attention a class.

With x_k the features of cell k, a 1×1 convolution being a matrix V, U or W::

    plain   e = W tanh(V x)               gated   e = W ( tanh(V x) ⊙ σ(U x) )
    a_c = softmax over cells of e_c       z_c = Σ_k a_ck x_k
    logit_c = v_c · z_c + b_c

The map is a_c: it says where the network looked for class c, not whether it is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn

from napari_wsol.methods.base import HeadMethod, register
from napari_wsol.methods.heads import Head, register_head

if TYPE_CHECKING:
    from torch import Tensor

    from napari_wsol.encoders import Features


class ClassAttention(nn.Module):
    """Attention over the cells, one a class.

    Args:
        channels: of the features.
        classes: how many.
        middle: hidden units.
        gated: whether a sigmoid branch (``non_lin_2``) gates the tanh branch.
    """

    def __init__(
        self, channels: int, classes: int, middle: int, *, gated: bool
    ) -> None:
        super().__init__()
        self.non_lin_1 = nn.Sequential(nn.Conv2d(channels, middle, 1), nn.Tanh())
        self.non_lin_2 = (
            nn.Sequential(nn.Conv2d(channels, middle, 1), nn.Sigmoid())
            if gated
            else None
        )
        self.to_score = nn.Conv2d(middle, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) features to (N, K, h, w) attention, summing to 1 a map."""
        hidden = self.non_lin_1(x)
        if self.non_lin_2 is not None:
            hidden = hidden * self.non_lin_2(x)
        scores: Tensor = self.to_score(hidden)
        return scores.flatten(2).softmax(-1).view_as(scores)


@register_head("deepmil")
class DeepMilHead(Head):
    """Attention, then one linear layer a class (``classification``).

    Args:
        channels: of the last feature map.
        classes: how many.
        mid_channels: hidden units of the attention.
        gated: whether a sigmoid branch gates the tanh branch.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        mid_channels: int = 128,
        gated: bool = False,
    ) -> None:
        super().__init__()
        self.attention = ClassAttention(channels, classes, mid_channels, gated=gated)
        self.classification = nn.ModuleList(
            nn.Linear(channels, 1) for _ in range(classes)
        )

    def class_maps(self, features: Features) -> Tensor:
        """(N, K, h, w) attention, which sums to 1 over each map."""
        return self.attention(features.last)

    def forward(self, features: Features) -> Tensor:
        """(N, K) image logits: each class reads its own mean of the features."""
        weights = self.class_maps(features)
        pooled = torch.einsum("nkhw,nchw->nkc", weights, features.last)
        logits = [
            layer(pooled[:, index]) for index, layer in enumerate(self.classification)
        ]
        return torch.cat(logits, dim=1)


@register
class DeepMil(HeadMethod):
    """The attention of one class over the cells; its sum is 1."""

    name: ClassVar[str] = "deepmil"
    title: ClassVar[str] = "DeepMIL"
