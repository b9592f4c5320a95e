"""Feature maps, and where each of their cells lies on the network's input.

Published code draws a map of stride s as if each cell were the s × s input pixels that
it replaces: cell 0 centred on input pixel (s - 1) / 2. Where a cell looks depends on
the padding, though: at stride 32 a torchvision ResNet centres cell 0 on pixel 0, a
MobileNetV2 padded the TensorFlow way on pixel 31; and trained weights may lean to one
side (an ImageNet MobileNetV2 at stride 16: 9 to 10 where the padding says 15). Each map
therefore carries its ``offset``, and whoever reads it at a position of the image goes
through :func:`sample_points`, :func:`on_grid` or :meth:`Features.straight`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Features:
    """What an encoder gives: one map a tap, finest first.

    Attributes:
        maps: each (N, C, h, w) float.
        strides: input pixels a cell, per map; not whole where a fixed input is not a
            multiple of its map.
        offsets: input pixel under the centre of cell 0, per map; integers are the
            centres of pixels.
        names: of the layers that gave them.
    """

    maps: tuple[Tensor, ...]
    strides: tuple[float, ...]
    offsets: tuple[float, ...]
    names: tuple[str, ...] = ()

    @property
    def last(self) -> Tensor:
        """(N, C, h, w): the deepest map, which image-level heads read."""
        return self.maps[-1]

    def to(self, device: torch.device) -> Features:
        """The same features on another device."""
        return replace(self, maps=tuple(item.to(device) for item in self.maps))

    def select(self, names: Iterable[str]) -> Features:
        """Only the maps of these layers, in their own order here."""
        wanted = set(names)
        return self._at(
            [index for index, name in enumerate(self.names) if name in wanted]
        )

    def deepest(self, count: int) -> Features:
        """Only the last ``count`` maps."""
        return self._at(list(range(len(self.maps)))[-count:])

    def part(self, top: int, left: int, height: int, width: int) -> Features:
        """The maps under a rectangle of the input.

        Args:
            top: of the input's rows, a multiple of each stride; ``left`` likewise.
            left: first column.
            height: rows of the input.
            width: its columns.
        """
        maps: list[Tensor] = []
        for values, stride in zip(self.maps, self.strides, strict=True):
            first, last = int(top // stride), -int(-(top + height) // stride)
            start, end = int(left // stride), -int(-(left + width) // stride)
            maps.append(values[..., first:last, start:end])
        return replace(self, maps=tuple(maps))

    def _at(self, indices: list[int]) -> Features:
        return Features(
            tuple(self.maps[index] for index in indices),
            tuple(self.strides[index] for index in indices),
            tuple(self.offsets[index] for index in indices),
            tuple(self.names[index] for index in indices if self.names),
        )

    def straight(self, values: Tensor, index: int = -1) -> Tensor:
        """A map made from map ``index`` cell by cell, moved onto the nominal grid.

        Args:
            values: (..., h, w) on the grid of that map.
            index: of the map.

        Returns:
            The same shape; cell 0 is now centred on input pixel (stride - 1) / 2.
        """
        stride = self.strides[index]
        shape = (int(values.shape[-2]), int(values.shape[-1]))
        return on_grid(values, stride, shape, stride, offset=self.offsets[index])


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
    values: Tensor,
    stride: float,
    shape: tuple[int, int],
    grid_stride: float,
    *,
    offset: float | None = None,
) -> Tensor:
    """A map read on another, nominal grid over the same input.

    Args:
        values: (..., h, w).
        stride: input pixels a cell of ``values``.
        shape: rows and columns wanted.
        grid_stride: input pixels a cell of the wanted grid.
        offset: input pixel under the centre of cell 0 of ``values``; the nominal one
            by default.

    Returns:
        (..., rows, columns), bilinear.
    """
    start = nominal_offset(stride) if offset is None else offset
    same = stride == grid_stride and start == nominal_offset(stride)
    if same and shape == tuple(values.shape[-2:]):
        return values
    for dim, size in ((values.ndim - 2, shape[0]), (values.ndim - 1, shape[1])):
        cells = torch.arange(size, device=values.device, dtype=torch.float32)
        centres = cells * grid_stride + nominal_offset(grid_stride)
        values = interpolate_axis(values, (centres - start) / stride, dim)
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
        _sample_map(item[0], (points - offset) / stride)
        for item, stride, offset in zip(
            features.maps, features.strides, features.offsets, strict=True
        )
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
