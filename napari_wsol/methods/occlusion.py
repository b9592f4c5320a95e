"""Occlusion.

Zeiler, Fergus: Visualizing and Understanding Convolutional Networks, ECCV 2014,
arXiv 1311.2901 (section 4.2).

A square slides over the image X, and the logit y_c falls where it hides evidence::

    M_c(i, j) = y_c(X) - y_c(X hidden around (i, j))

In the image's mean colour (grey stands out on tissue), moved by a third of its side, as
far as 256 runs take it. Below 0 lies what speaks against the class.
"""

from __future__ import annotations

from itertools import count
from math import ceil
from typing import TYPE_CHECKING, ClassVar

import torch
from typing_extensions import override

from napari_wsol.methods.base import register
from napari_wsol.methods.gradients import RerunMethod, class_logit, own_taps, run_again

if TYPE_CHECKING:
    from torch import Tensor

    from napari_wsol.encoders import Features
    from napari_wsol.methods.base import NetworkInput
    from napari_wsol.methods.model import Model

MOST_RUNS, LEAST_STRIDE = 256, 4


@register
class Occlusion(RerunMethod):
    """What the class's logit loses where a part of the image is hidden."""

    name: ClassVar[str] = "occlusion"
    title: ClassVar[str] = "Occlusion"
    reads_layers: ClassVar[bool] = False

    @override
    def stride(self, model: Model, features: Features) -> float:
        return self._grid(model, features)[0]

    def _grid(self, model: Model, features: Features) -> tuple[int, int, int]:
        """Pixels of the input a cell, rows and columns."""
        index = self.index(model, features)
        side = features.strides[index]
        height, width = (n * side for n in features.maps[index].shape[-2:])
        grids = ((n, ceil(height / n), ceil(width / n)) for n in count(LEAST_STRIDE))
        return next(grid for grid in grids if grid[1] * grid[2] <= MOST_RUNS)

    @override
    def map_again(
        self, model: Model, features: Features, target: int, image: NetworkInput
    ) -> Tensor:
        x, own = image.pixels(), own_taps(model, features)
        step, rows, columns = self._grid(model, features)
        down, across = (torch.arange(n, device=x.device) // step for n in x.shape[-2:])
        every = torch.arange(rows * columns, device=x.device)
        mean = x.mean((-2, -1), keepdim=True)
        with torch.no_grad():
            drops = (
                class_logit(model, own, target)[:, None].float().repeat(1, len(every))
            )
            for index, part in self.batches(image, [len(every)] * len(x)):
                cells = every[part, None]
                hidden = (down - cells // columns).abs()[:, :, None] <= 1
                hidden = hidden & ((across - cells % columns).abs()[:, None] <= 1)
                changed = torch.where(hidden[:, None], mean[index], x[index])
                found = run_again(model, changed, own, None)
                drops[index, part] -= class_logit(model, found, target).float()
        return drops.reshape(len(x), rows, columns)
