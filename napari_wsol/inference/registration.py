"""The map of a view, brought back to where it belongs on the image.

It is exact. What is mirrored is the network's input, after it was filled up to whole
cells: where every layer pads, the cells of a mirrored map fall on those of the plain
one, whatever the size of the image. Everywhere else (other sizes, networks that do not
pad) the place of a cell's centre is computed and the map is read between cells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_wsol.encoders.features import interpolate_axis

if TYPE_CHECKING:
    from torch import Tensor

    from napari_wsol.inference.encode import Geometry


def registered(
    values: Tensor,
    stride: float,
    seen: Geometry,
    *,
    onto: Geometry,
    onto_stride: float,
    shape: tuple[int, int],
) -> Tensor:
    """The map of a view, on the grid of the map of the image as it is.

    Args:
        values: (h, w) on the nominal grid of the view: cell 0 is centred on pixel
            (stride - 1) / 2 of its input, mirrored or not.
        stride: pixels of the view's input a cell.
        seen: how the network saw the view.
        onto: how it sees the image as it is.
        onto_stride: pixels of that input a cell.
        shape: rows and columns wanted.

    Returns:
        (rows, columns).
    """
    for axis in (0, 1):
        count, shift = int(values.shape[axis]), 0.0
        if seen.mirrored[axis]:
            # The mirrored input ends with its last pixel, not with the last cell.
            shift = seen.padded[axis] - count * stride
            values = values.flip(axis)
        step, first = _line(seen, stride, axis)
        onto_step, onto_first = _line(onto, onto_stride, axis)
        first += shift * seen.downsample[axis]
        if (step, first, count) == (onto_step, onto_first, shape[axis]):
            continue  # cell by cell
        centres = torch.arange(shape[axis], dtype=torch.float64) * onto_step
        at = (centres + (onto_first - first)) / step
        values = interpolate_axis(values, at.float().to(values.device), axis)
    return values


def _line(seen: Geometry, stride: float, axis: int) -> tuple[float, float]:
    """Level-0 pixels a cell, and where the centre of cell 0 is."""
    scale, translate = seen.place((stride, stride))
    return scale[axis], translate[axis]
