"""Log-sum-exp pooling of class maps: between their mean and their maximum.

Pinheiro, Collobert: From Image-Level to Pixel-Level Labeling With Convolutional
Networks, CVPR 2015, arXiv 1411.6228 (equation 4). Sun, Paluri, Collobert, Nevatia,
Bourdev: ProNet, CVPR 2016, arXiv 1511.03776, use it to localise.

With s_c = w_c·X + b_c the logit of class c at each cell (a 1×1 convolution)::

    logit_c = 1/r · log( mean over cells of exp(r · s_c) )

The map is s_c. We take the maximum out of the exponential, without which float32
overflows where s_c > 88 / r.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import torch
from typing_extensions import override

from napari_wsol.errors import ConfigError
from napari_wsol.methods.base import HeadMethod, register
from napari_wsol.methods.heads import ConvHead, register_head
from napari_wsol.methods.map_pooling import LogMeanExpPooling

if TYPE_CHECKING:
    from torch import Tensor

    from napari_wsol.methods.map_pooling import MapPooling


@register_head("lse")
class LseHead(ConvHead):
    """Log-mean-exp of each class map.

    Args:
        channels: of the last feature map.
        classes: how many.
        background: adds a row 0 for background that is no class.
        r: sharpness; towards 0 the mean, towards infinity the maximum.

    Raises:
        ConfigError: ``r`` is not positive.
    """

    def __init__(
        self, channels: int, classes: int, *, background: bool = False, r: float = 10.0
    ) -> None:
        super().__init__(channels, classes, background=background)
        if r <= 0:
            raise ConfigError(f"The sharpness r of LSE is positive, not {r}.")
        self.r = r

    @override
    def pooling(self) -> MapPooling:
        return LogMeanExpPooling(self.r)

    @override
    def pool(self, maps: Tensor) -> Tensor:
        cells = maps.flatten(2)
        # In float32, since half precision keeps r · s to three digits only.
        summed = torch.logsumexp(self.r * cells.float(), -1)
        return ((summed - math.log(cells.shape[-1])) / self.r).to(maps.dtype)


@register
class Lse(HeadMethod):
    """The logit of one class at each cell: unbounded evidence."""

    name: ClassVar[str] = "lse"
    title: ClassVar[str] = "LSE"
