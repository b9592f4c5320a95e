"""What strokes are read against, beside the features: it depends on the image alone.

Colour, the directions in which features vary, grey values and superpixels, all on the
finest grid that the pixel head reads. They are the same in every round.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from napari_wsol.refinement.colour import colour_map
from napari_wsol.refinement.stroke_field import beside, fit_space
from napari_wsol.refinement.superpixels import superpixels

if TYPE_CHECKING:
    from torch import Tensor

    from napari_wsol.encoders import Features
    from napari_wsol.refinement.superpixels import Superpixels


class Surroundings:
    """Of one image and one model.

    Args:
        image: (1, c, H, W) as the network sees it.
        read: what the pixel head's last layer reads, maps (1, C, h, w).
        mean: per channel, what was taken off the values in [0, 1].
        std: per channel, what they were divided by.

    Attributes:
        colour: (1, c, h, w), see :func:`~napari_wsol.refinement.colour.colour_map`.
        space: of :func:`~napari_wsol.refinement.stroke_field.fit_space`.
    """

    def __init__(
        self,
        image: Tensor,
        read: Features,
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ) -> None:
        first = read.maps[0]
        shape = (int(first.shape[-2]), int(first.shape[-1]))
        self._stride = read.strides[0]
        self.colour = colour_map(image, shape, mean=mean, std=std)
        self.space = fit_space(beside(read, self.colour), colour=True)
        shift = torch.tensor(mean).view(1, -1, 1, 1)
        scale = torch.tensor(std).view(1, -1, 1, 1)
        values = (image.cpu().float() * scale + shift).clamp(0, 1)
        self._cells = functional.adaptive_avg_pool2d(values, shape)[0]

    @property
    def guide(self) -> Tensor:
        """(h, w) grey values in [0, 1]."""
        return self._cells.mean(0)

    @cached_property
    def superpixels(self) -> Superpixels:
        """Of the image."""
        return superpixels(self._cells, self._stride)
