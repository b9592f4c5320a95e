"""The colour of an image on the grid of its features.

The deeper maps of an encoder hardly know colour, and none is as sharp as the pixels.
Strokes say much about both. By the law of Lambert and Beer stains add up in optical
density, so that is what is averaged over each cell::

    od = -log((255 v + 1) / 256),  v in [0, 1]
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor


def colour_map(
    image: Tensor,
    shape: tuple[int, int],
    *,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Tensor:
    """Mean optical density of each cell and a little of its neighbours.

    Args:
        image: (1, c, H, W) as the network sees it.
        shape: rows and columns of the grid that covers it.
        mean: per channel, what was taken off the values in [0, 1].
        std: per channel, what they were divided by.

    Returns:
        (1, c, rows, columns) float32 on the nominal grid.
    """
    shift = torch.tensor(mean).view(1, -1, 1, 1)
    scale = torch.tensor(std).view(1, -1, 1, 1)
    values = (image.cpu().float() * scale + shift).clamp(0, 1)
    density = -((255 * values + 1) / 256).log()
    cells = functional.adaptive_avg_pool2d(density, shape)
    return _blurred(cells)


def colour_of_pixels(pixels: npt.NDArray[np.uint8], stride: int) -> Tensor:
    """The same from what the network sees before it is standardised: much quicker.

    Args:
        pixels: (1, H, W, c) from :func:`napari_wsol.inference.encode.network_pixels`.
        stride: pixels a cell; divides H and W.

    Returns:
        (1, c, H / stride, W / stride) float32 on the nominal grid.
    """
    values = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    cells = functional.avg_pool2d(values.add_(1).log_(), stride)
    return _blurred(math.log(256) - cells)


def _blurred(cells: Tensor) -> Tensor:
    # σ of half a cell: a stroke of one cell is not its noise.
    kernel = torch.tensor([1.0, 6.0, 1.0]) / 8
    count = cells.shape[1]
    down = kernel.view(1, 1, 3, 1).expand(count, 1, 3, 1)
    cells = functional.pad(cells, (1, 1, 1, 1), mode="replicate")
    cells = functional.conv2d(cells, down, groups=count)
    return functional.conv2d(cells, down.transpose(2, 3), groups=count)
