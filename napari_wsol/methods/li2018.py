"""Multiple-instance pooling over a fixed grid.

Li, Wang, Han, Xue, Wei, Li, Fei-Fei: Thoracic Disease Identification and Localization
with Limited Supervision, CVPR 2018, arXiv 1711.06373.

The last feature map X is resized to 20 × 20 cells (bilinear, corners on corners) and
two convolutions give each cell j a probability p_jc of class c. The image shows the
class if any cell does (equation 2), each factor squeezed into [0.98, 1] so that the
product of 400 of them does not vanish (section 3.2)::

    p_c = 1 - Π_j (0.98 + 0.02 · (1 - p_jc))        p_jc = σ(s_jc)

The map is p_jc; its cells do not lie on those of X, but spread evenly from the centre
of its first cell to that of its last.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn
from torch.nn import functional

from napari_wsol.encoders.features import interpolate_axis, nominal_offset
from napari_wsol.methods.base import HeadMethod, register
from napari_wsol.methods.heads import PoolingHead, register_head

if TYPE_CHECKING:
    from torch import Tensor

    from napari_wsol.encoders import Features
    from napari_wsol.methods.model import Model

GRID = 20
"""Cells along each side, as published."""

FLOOR = 0.98
"""Least factor of a cell."""


@register_head("li2018")
class Li2018Head(PoolingHead):
    """Resize, 3×3 convolution with batch norm and ReLU, 1×1 convolution (``out``).

    Args:
        channels: of the last feature map.
        classes: how many.
        mid_channels: of the layer between.
    """

    def __init__(self, channels: int, classes: int, *, mid_channels: int = 512) -> None:
        super().__init__()
        self.out = nn.Sequential(
            nn.Upsample((GRID, GRID), mode="bilinear", align_corners=True),
            nn.Conv2d(channels, mid_channels, 3, padding=1),
            nn.BatchNorm2d(mid_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(mid_channels, classes, 1),
        )

    def class_maps(self, features: Features) -> Tensor:
        """(N, K, 20, 20) logits, on a grid of their own."""
        return self.out(features.last)

    def pool(self, maps: Tensor) -> Tensor:
        """The logit of "at least one cell shows it", (N, K)."""
        absent = functional.logsigmoid(-maps.float()).exp().flatten(2)
        kept = torch.log(FLOOR + (1 - FLOOR) * absent).sum(-1)  # log(1 - p)
        return torch.log(-torch.expm1(kept)) - kept


@register
class Li2018(HeadMethod):
    """The probability of one class at each cell of the 20 × 20 grid."""

    name: ClassVar[str] = "li2018"
    title: ClassVar[str] = "Li et al. 2018"
    is_probability: ClassVar[bool] = True

    def map(
        self,
        model: Model,
        features: Features,
        target: int,
    ) -> Tensor:
        """(N, h, w) in [0, 1], read where the nominal grid's cells are centred."""
        head = model.head(Li2018Head, self.name)
        values = head.class_maps(features)[:, target].sigmoid()
        finer = _finer(features)
        stride, offset = features.strides[-1], features.offsets[-1]
        for dim, cells in ((1, features.last.shape[-2]), (2, features.last.shape[-1])):
            wanted = torch.arange(cells * finer, device=values.device)
            centres = wanted * stride / finer + nominal_offset(stride / finer)
            at = (centres - offset) / stride * (GRID - 1) / max(cells - 1, 1)
            values = interpolate_axis(values, at, dim)
        return values

    def stride(self, model: Model, features: Features) -> float:
        """That of the features, or a part of it where 20 cells are more than they."""
        del model
        return features.strides[-1] / _finer(features)


def _finer(features: Features) -> int:
    """How many times finer than the features the map is drawn: nothing is lost."""
    return max(1, math.ceil(GRID / min(features.last.shape[-2:])))
