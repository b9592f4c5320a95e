"""Point and grow: the connected place around a point that looks alike to the network.

Every feature is brought to zero mean and unit spread over the image. How unlike the
point a cell is, is the Mahalanobis distance with the features taken as independent::

    d(x)² = mean over features c of ((f_c(x) - m_c) / s_c)²

with m the mean feature of the point's neighbourhood (3 × 3 cells of the finest map) and
s_c the spread of feature c. It is divided by its root mean square over the image, so
that 1 is as unlike as the image is on average, whatever the network. The region is the
connected part around the point where the distance is at most the tolerance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from napari_wsol.encoders import on_grid, sample_points
from napari_wsol.errors import ConfigError, ImageError
from napari_wsol.refinement.finetune import statistics
from napari_wsol.refinement.stroke_field import LEAST_STD

if TYPE_CHECKING:
    from torch import Tensor

    from napari_wsol.encoders import Features

TOLERANCE = 0.5
"""Half as unlike as the image is on average."""

Grown = tuple[npt.NDArray[np.bool_], tuple[int, int]]
"""(h, w) bool, and the canvas row and column of its first cell."""


def grow(
    features: Features,
    point: tuple[float, float],
    *,
    shape: tuple[int, int],
    scale: tuple[float, float],
    translate: tuple[float, float],
    tolerance: float = TOLERANCE,
) -> Grown:
    """The region around a point, as cells of a canvas.

    Args:
        features: of one image, maps (1, C, h, w).
        point: (y, x) in network input pixels.
        shape: rows and columns of the canvas.
        scale: network input pixels a canvas cell, (y, x).
        translate: network input pixel under the centre of canvas cell (0, 0), (y, x).
        tolerance: how unlike the point a place may be; 1 is the image's average.

    Returns:
        The region, always with the point's own cell, cut to what it covers.

    Raises:
        ImageError: the point is not on the canvas.
        ConfigError: the tolerance is not positive.
    """
    if not tolerance > 0:
        raise ConfigError(f"The tolerance must be above 0, not {tolerance:g}.")
    seed = _cell(point, scale, translate)
    if not (0 <= seed[0] < shape[0] and 0 <= seed[1] < shape[1]):
        raise ImageError("This point is not on the image; click on it.")
    stride = features.strides[0]
    unlike = unlikeness(features, point)
    # A cell of the map on the canvas, and the map's cell under canvas cell (0, 0).
    step = (scale[0] / stride, scale[1] / stride)
    start = tuple((at - (stride - 1) / 2) / stride for at in translate)
    begin, end = _reach(unlike, _clamped(point, stride, unlike.shape), tolerance)
    top, bottom = _span(begin[0], end[0], start[0], step[0], shape[0], seed[0])
    left, right = _span(begin[1], end[1], start[1], step[1], shape[1], seed[1])
    inside = _interpolated(
        unlike,
        np.arange(top, bottom, dtype=np.float64) * step[0] + start[0],
        np.arange(left, right, dtype=np.float64) * step[1] + start[1],
    )
    inside = inside <= tolerance
    inside[seed[0] - top, seed[1] - left] = True
    return _cut(_around(inside, (seed[0] - top, seed[1] - left)), (top, left))


def unlikeness(
    features: Features, point: tuple[float, float]
) -> npt.NDArray[np.float32]:
    """(h, w) how unlike a point every cell of the finest map is; 1 is the average.

    Args:
        features: of one image, maps (1, C, h, w).
        point: (y, x) in network input pixels.
    """
    stride = features.strides[0]
    shape = (int(features.maps[0].shape[-2]), int(features.maps[0].shape[-1]))
    near = torch.tensor(
        [
            (point[0] + down * stride, point[1] + across * stride)
            for down in (-1, 0, 1)
            for across in (-1, 0, 1)
        ]
    )
    with torch.inference_mode():
        _, spread = statistics(features)
        means = sample_points(features, near).mean(0)
        channels = [int(item.shape[1]) for item in features.maps]
        total = torch.zeros(shape)
        for item, own, mean, std, offset in zip(
            features.maps,
            features.strides,
            torch.split(means, channels),
            torch.split(spread, channels),
            features.offsets,
            strict=True,
        ):
            squares = _squares(item[0], mean, std)
            total += on_grid(squares, own, shape, stride, offset=offset)
        average = float(total.mean())
        unlike = (total / max(average, LEAST_STD)).sqrt()
    return unlike.numpy()


def _squares(values: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(C, h, w) → (h, w): summed squares, a band of channels at a time."""
    total = torch.zeros(values.shape[-2:])
    for first in range(0, len(values), 64):
        part = slice(first, first + 64)
        near = (values[part].float() - mean[part, None, None]) / std[part, None, None]
        total += near.square().sum(0)
    return total


def _cell(
    point: tuple[float, float],
    scale: tuple[float, float],
    translate: tuple[float, float],
) -> tuple[int, int]:
    """The canvas cell under a point."""
    row, column = (
        int(np.floor((at - begin) / step + 0.5))
        for at, begin, step in zip(point, translate, scale, strict=True)
    )
    return row, column


def _clamped(
    point: tuple[float, float], stride: float, shape: tuple[int, ...]
) -> tuple[int, int]:
    """The map's cell that is nearest to a point."""
    row, column = (
        min(max(round((at - (stride - 1) / 2) / stride), 0), size - 1)
        for at, size in zip(point, shape, strict=True)
    )
    return row, column


def _reach(
    unlike: npt.NDArray[np.float32], cell: tuple[int, int], tolerance: float
) -> tuple[tuple[int, int], tuple[int, int]]:
    """First and last row and column of the map that the region can touch."""
    close = unlike <= tolerance
    close[cell] = True
    # Between two cells interpolation can be closer than at both: one cell of margin.
    wide = cast("npt.NDArray[np.bool_]", ndimage.binary_dilation(close))
    rows, columns = np.nonzero(_around(wide, cell))
    return (
        (int(rows.min()) - 1, int(columns.min()) - 1),
        (int(rows.max()) + 1, int(columns.max()) + 1),
    )


def _around(
    inside: npt.NDArray[np.bool_], cell: tuple[int, int]
) -> npt.NDArray[np.bool_]:
    """Only the connected part that holds a cell."""
    labels, _ = cast("tuple[npt.NDArray[np.int32], int]", ndimage.label(inside))
    return labels == labels[cell]


def _span(  # noqa: PLR0917 - one axis of two grids
    first: int, last: int, start: float, step: float, size: int, seed: int
) -> tuple[int, int]:
    """Canvas cells along an axis that lie over map cells, the seed among them."""
    # Beyond the outermost cells of the map its border value goes on.
    begin = int(np.ceil((first - start) / step)) if first > 0 else 0
    end = int(np.floor((last - start) / step)) + 1
    return max(0, min(begin, seed)), min(size, max(end, seed + 1))


def _interpolated(
    values: npt.NDArray[np.float32],
    rows: npt.NDArray[np.floating],
    columns: npt.NDArray[np.floating],
) -> npt.NDArray[np.float32]:
    """Bilinear, first down and then across; the border value goes on beyond it."""
    for axis, at in ((0, rows), (1, columns)):
        last = values.shape[axis] - 1
        place = np.clip(at, 0, last)
        low = np.floor(place).astype(np.intp)
        high = np.minimum(low + 1, last)
        weight = (place - low).astype(np.float32)
        weight = weight[:, None] if axis == 0 else weight[None]
        below = np.take(values, low, axis)
        values = (below + (np.take(values, high, axis) - below) * weight).astype(
            np.float32, copy=False
        )
    return values


def _cut(inside: npt.NDArray[np.bool_], origin: tuple[int, int]) -> Grown:
    rows, columns = np.nonzero(inside.any(1))[0], np.nonzero(inside.any(0))[0]
    top, left = int(rows[0]), int(columns[0])
    part = inside[top : rows[-1] + 1, left : columns[-1] + 1]
    return part, (origin[0] + top, origin[1] + left)
