"""Feature maps, and how to read them at positions of the network's input.

A map of stride s is drawn as if each cell were the s × s input pixels it replaces, as
all the published code does: cell 0 is centred on input pixel (s - 1) / 2. The padding
of a network may put the middle of its receptive field elsewhere (0 or s - 1 instead),
but trained weights are found to look near the nominal centre: in an ImageNet
MobileNetV2, block 13 at stride 16, the gradient's centroid lies at 8 to 10.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Features:
    """What an encoder gives: one map a tap, finest first.

    Attributes:
        maps: each (N, C, h, w) float; ``h = ceil(H / stride)``.
        strides: input pixels a cell, per map.
    """

    maps: tuple[Tensor, ...]
    strides: tuple[int, ...]

    @property
    def last(self) -> Tensor:
        """(N, C, h, w): the deepest map, which image-level heads read."""
        return self.maps[-1]

    def to(self, device: torch.device) -> Features:
        """The same features on another device."""
        maps = tuple(item.to(device) for item in self.maps)
        return Features(maps, self.strides)


def nominal_offset(stride: float) -> float:
    """Centre of cell 0 when a cell is drawn as the ``stride`` pixels it replaces."""
    return (stride - 1) / 2


def interpolate_axis(values: Tensor, at: Tensor, dim: int) -> Tensor:
    """Linear interpolation of ``values`` along ``dim`` at fractional indices.

    Beyond the first and last cell the border value is kept.

    Args:
        values: any float tensor.
        at: (n,) fractional indices.
        dim: the axis to resample.

    Returns:
        ``values`` with ``dim`` of length n.
    """
    last = values.shape[dim] - 1
    at = at.clamp(0, last)
    low = at.floor().long()
    high = (low + 1).clamp(max=last)
    shape = [1] * values.ndim
    shape[dim] = -1
    weight = (at - low).to(values.dtype).view(shape)
    lower = values.index_select(dim, low)
    return lower + (values.index_select(dim, high) - lower) * weight


def on_grid(
    values: Tensor, stride: float, shape: tuple[int, int], grid_stride: float
) -> Tensor:
    """A map read on another grid over the same input.

    Args:
        values: (..., h, w).
        stride: input pixels a cell of ``values``.
        shape: rows and columns wanted.
        grid_stride: input pixels a cell of the wanted grid.

    Returns:
        (..., rows, columns), bilinear.
    """
    if stride == grid_stride and shape == tuple(values.shape[-2:]):
        return values
    for dim, size in ((values.ndim - 2, shape[0]), (values.ndim - 1, shape[1])):
        cells = torch.arange(size, device=values.device, dtype=torch.float32)
        centres = cells * grid_stride + nominal_offset(grid_stride)
        at = (centres - nominal_offset(stride)) / stride
        values = interpolate_axis(values, at, dim)
    return values


def sample_points(features: Features, points: Tensor) -> Tensor:
    """Features interpolated at single positions: what a loss at few pixels needs.

    Bilinear interpolation commutes with a 1×1 convolution, so a head applied to these
    vectors gives exactly its upsampled map at those pixels.

    Args:
        features: maps of one image, each (1, C, h, w).
        points: (n, 2) float positions (y, x) in network input pixels.

    Returns:
        (n, sum of C) float32, maps concatenated in order.
    """
    columns = [
        _sample_map(item[0], (points - nominal_offset(stride)) / stride)
        for item, stride in zip(features.maps, features.strides, strict=True)
    ]
    return torch.cat(columns, dim=1)


def _sample_map(values: Tensor, at: Tensor) -> Tensor:
    """(C, h, w) read at (n, 2) fractional cells → (n, C) float32."""
    height, width = values.shape[-2:]
    flat = values.flatten(1)
    y, x = at[:, 0].clamp(0, height - 1), at[:, 1].clamp(0, width - 1)
    top, left = y.floor().long(), x.floor().long()
    bottom, right = (top + 1).clamp(max=height - 1), (left + 1).clamp(max=width - 1)
    down, across = (y - top).float(), (x - left).float()
    corners = (
        (top, left, (1 - down) * (1 - across)),
        (top, right, (1 - down) * across),
        (bottom, left, down * (1 - across)),
        (bottom, right, down * across),
    )
    total = torch.zeros(len(at), flat.shape[0], device=values.device)
    for row, column, weight in corners:
        total += flat[:, row * width + column].T.float() * weight[:, None]
    return total
