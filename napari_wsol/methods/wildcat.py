"""WILDCAT: several maps a class, pooled over their highest and lowest cells.

Durand, Mordan, Thome, Cord: WILDCAT: Weakly Supervised Learning of Deep ConvNets for
Image Classification, Pointwise Localization and Segmentation, CVPR 2017.

A 1×1 convolution gives M maps a class ("modalities"), whose mean is the map of the
class (equation 1): s_c = mean over m of (w_cm·X + b_cm). Then (equation 2)::

    logit_c = mean of the k⁺ highest cells of s_c
              + alpha · mean of the k⁻ lowest cells of s_c

PixelCAM's code computes the second term and loses it: its logits, and what it trained,
are those of alpha = 0.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from torch import nn
from typing_extensions import override

from napari_wsol.errors import ConfigError
from napari_wsol.methods.base import HeadMethod, register
from napari_wsol.methods.heads import PoolingHead, register_head
from napari_wsol.methods.map_pooling import RankedPooling

if TYPE_CHECKING:
    from torch import Tensor

    from napari_wsol.encoders import Features
    from napari_wsol.methods.map_pooling import MapPooling


@register_head("wildcat")
class WildcatHead(PoolingHead):
    """Modalities (``to_modalities``), then the highest and lowest cells.

    Args:
        channels: of the last feature map.
        classes: how many.
        background: adds a row 0 for background that is no class.
        modalities: maps a class.
        kmax: highest cells, as a share of the map up to 1 (exclusive) or a number.
        kmin: lowest cells, as a share or a number like ``kmax``; 0 for none.
        alpha: weight of the lowest cells.

    Raises:
        ConfigError: no cells to pool.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        background: bool = False,
        modalities: int = 5,
        kmax: float = 0.5,
        kmin: float = 0.1,
        alpha: float = 0.6,
    ) -> None:
        super().__init__()
        if kmax <= 0 or kmin < 0:
            raise ConfigError(
                f"WILDCAT needs kmax > 0 and kmin ≥ 0, not {kmax} and {kmin}."
            )
        self.first_row = int(background)
        self.modalities = modalities
        self.kmax, self.kmin, self.alpha = kmax, kmin, alpha
        rows = (classes + self.first_row) * modalities
        self.to_modalities = nn.Conv2d(channels, rows, 1)

    reads_cells = True

    @override
    def pooling(self) -> MapPooling:
        return RankedPooling(
            partial(_cells, self.kmax), partial(_cells, self.kmin), self.alpha
        )

    def class_maps(self, features: Features) -> Tensor:
        """(N, K, h, w) the mean of each class's modalities."""
        rows: Tensor = self.to_modalities(features.last)
        count, _, height, width = rows.shape
        maps = rows.reshape(count, -1, self.modalities, height, width).mean(2)
        return maps[:, self.first_row :]

    @override
    def pool(self, maps: Tensor) -> Tensor:
        cells = maps.flatten(2).sort(-1, descending=True).values
        count = cells.shape[-1]
        logits = cells[..., : _cells(self.kmax, count)].mean(-1)
        lowest = _cells(self.kmin, count)
        if lowest:
            logits = logits + self.alpha * cells[..., -lowest:].mean(-1)
        return logits


def _cells(k: float, count: int) -> int:
    """How many cells of ``count`` a share or a number is; at least one if any."""
    if k <= 0:
        return 0
    return max(1, min(count, round(k * count) if k < 1 else int(k)))


@register
class Wildcat(HeadMethod):
    """The mean of the modalities of one class: unbounded evidence."""

    name: ClassVar[str] = "wildcat"
    title: ClassVar[str] = "WILDCAT"
