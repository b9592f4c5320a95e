"""Occlusion.

Zeiler, Fergus: Visualizing and Understanding Convolutional Networks, ECCV 2014,
arXiv 1311.2901 (section 4.2).

A square slides over the image X and hides a part of it; where the logit y_c falls, the
classifier looked at what is hidden there::

    M_c(i, j) = y_c(X) - y_c(X hidden around (i, j))

The square has the image's mean colour: grey would be a thing of its own on tissue. It
moves by a third of its side, so that the map has at most 256 cells and no image takes
more runs. Below 0 lies what speaks against the class. Reads no layer.
"""

from __future__ import annotations

from itertools import count
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

MOST_RUNS = 256
LEAST_STRIDE = 4
"""In pixels of the network's input."""


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
        shape, side = features.maps[index].shape[-2:], features.strides[index]
        for step in count(LEAST_STRIDE):
            rows, columns = (-int(-n * side // step) for n in shape)
            if rows * columns <= MOST_RUNS:
                return step, rows, columns
        raise AssertionError  # the loop has no end

    @override
    def map_again(
        self, model: Model, features: Features, target: int, image: NetworkInput
    ) -> Tensor:
        x, own = image.pixels(), own_taps(model, features)
        step, rows, columns = self._grid(model, features)
        down, across = (
            torch.arange(side, device=x.device) // step for side in x.shape[-2:]
        )
        with torch.no_grad():
            whole = class_logit(model, own, target).float()
        drops = whole[:, None].repeat(1, rows * columns)
        for index, part in self.batches(image, [rows * columns] * len(x)):
            cells = torch.arange(rows * columns, device=x.device)[part, None]
            hidden = (down - cells // columns).abs()[:, :, None] <= 1
            hidden = hidden & ((across - cells % columns).abs()[:, None] <= 1)
            mean = x[index].mean((-2, -1), keepdim=True)
            changed = torch.where(hidden[:, None], mean, x[index])
            found = run_again(model, changed, own, None)
            with torch.no_grad():
                drops[index, part] -= class_logit(model, found, target).float()
        return drops.reshape(len(x), rows, columns)
