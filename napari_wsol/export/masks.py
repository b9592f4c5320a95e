"""The mask that is cut out of a heatmap, on the image grid or on a coarser one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_wsol.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_wsol.config import ExportConfig
    from napari_wsol.images.heatmap import FloatMap, Heatmap

BoolMap = npt.NDArray[np.bool_]
FloatLine = npt.NDArray[np.float64]

MAX_PIXELS = 64 * 2**20
"""Masks up to 64 Mpx have the image's own resolution; larger images a coarser one."""

_BAND_PIXELS = 2**21


@dataclass(frozen=True, slots=True)
class Grid:
    """The pixels of a mask and where they lie on the image.

    Pixel (i, j) covers level-0 rows ``[i * downsample, (i + 1) * downsample)`` and
    columns ``[j * downsample, (j + 1) * downsample)``; those of the last row and column
    end where the image ends.

    Attributes:
        image_shape: (H, W) of level 0.
        downsample: level-0 pixels a mask pixel, a power of two; 1 is full resolution.
    """

    image_shape: tuple[int, int]
    downsample: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the mask."""
        height, width = self.image_shape
        return -(-height // self.downsample), -(-width // self.downsample)

    @property
    def translate(self) -> tuple[float, float]:
        """Level-0 position of the centre of pixel (0, 0), integers being centres."""
        return (self.downsample - 1) / 2, (self.downsample - 1) / 2

    def edges(self, axis: int) -> FloatLine:
        """(n + 1,) borders of rows (0) or columns (1); level-0 pixel 0 is [0, 1]."""
        at = np.arange(self.shape[axis] + 1, dtype=np.float64) * self.downsample
        return np.minimum(at, self.image_shape[axis])

    def bands(self, first: int, last: int, width: int) -> Iterator[tuple[int, int]]:
        """Row ranges of at most a few Mpx: bounds memory and the time to a cancel."""
        rows = max(1, _BAND_PIXELS // max(width, 1))
        for start in range(first, last, rows):
            yield start, min(start + rows, last)

    def values(self, heatmap: Heatmap, rows: slice, columns: slice) -> FloatMap:
        """The heatmap at the centres of some of the grid's pixels.

        Over the whole grid at downsample 1 it is ``heatmap.resized(image_shape)``, bit
        for bit: all steps are integers, so no rounding depends on the cut.
        """
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        d = self.downsample
        return heatmap.crop(
            (rows.start * d, columns.start * d), (shape[0] * d, shape[1] * d), shape
        )


def grid_for(
    image_shape: tuple[int, int], max_pixels: int = MAX_PIXELS, cell: float = 1.0
) -> Grid:
    """The finest grid of at most ``max_pixels``: full size or halved.

    Args:
        image_shape: (H, W) of level 0.
        max_pixels: of the grid.
        cell: level-0 pixels: an image that is too large for full size gets pixels that
            are about as large as that, from half of it on.
    """
    grid = Grid(image_shape)
    most = max(max_pixels, 1)
    if math.prod(grid.shape) <= most:
        return grid
    while math.prod(grid.shape) > most or grid.downsample * 2 <= cell:
        grid = Grid(image_shape, grid.downsample * 2)
    return grid


def cut_mask(
    heatmap: Heatmap,
    grid: Grid,
    config: ExportConfig,
    *,
    against: bool = False,
    tick: Callable[[], None] = lambda: None,
) -> BoolMap:
    """Foreground: what the threshold marks, holes filled, small regions dropped.

    Args:
        heatmap: what is cut.
        grid: where the mask's pixels lie.
        config: threshold and the two areas, which are in level-0 pixels.
        against: of a signed map, what speaks against its class instead.
        tick: called every few Mpx; may raise to stop.

    Returns:
        bool, of ``grid.shape``.

    Raises:
        ExportError: when the heatmap is not of this image or holds no numbers.
    """
    _check(heatmap, grid)
    height, width = grid.shape
    mask, cut = np.empty(grid.shape, np.bool_), heatmap.cut(config.threshold)
    for start, stop in grid.bands(0, height, width):
        tick()
        values = grid.values(heatmap, slice(start, stop), slice(0, width))
        mask[start:stop] = values <= 1 - cut if against else values >= cut
    cell = grid.downsample**2
    if config.fill_holes > 0:
        tick()
        _fill_small_holes(mask, config.fill_holes / cell)
    if config.min_area > 0:
        tick()
        _drop_small_regions(mask, config.min_area / cell)
    return mask


def _check(heatmap: Heatmap, grid: Grid) -> None:
    if tuple(heatmap.image_shape) != tuple(grid.image_shape):
        raise ExportError(
            f"The heatmap belongs to an image of {_by(heatmap.image_shape)} pixels, "
            f"but this image has {_by(grid.image_shape)}. Localize this image first."
        )
    if heatmap.values.size == 0 or not np.isfinite(heatmap.values).all():
        raise ExportError(
            f"The {heatmap.key} heatmap is empty or holds values that are not "
            "numbers, so no mask can be cut out of it. Localize the image again."
        )


def _by(shape: tuple[int, int]) -> str:
    return f"{shape[0]} by {shape[1]}"


def connected(mask: BoolMap, *, corners: bool = False) -> npt.NDArray[np.int32]:
    """Numbers the pieces of a mask from 1; with ``corners`` these join pixels too."""
    structure = np.ones((3, 3), np.bool_) if corners else None
    labels = np.empty(mask.shape, np.int32)
    # scipy's is twice as fast as scikit-image's, and gives the same numbers.
    ndimage.label(mask, structure, output=labels)
    return labels


def boxes_of(labels: npt.NDArray[np.int32]) -> list[tuple[slice, slice]]:
    """The bounding box of piece 1, 2, and so on."""
    return cast("list[tuple[slice, slice]]", ndimage.find_objects(labels))


def _small(labels: npt.NDArray[np.int32], area: float) -> BoolMap:
    """Whether each piece, by its number, has fewer than ``area`` pixels."""
    is_small = np.bincount(labels.ravel()) < area
    is_small[0] = False
    return is_small


def _drop_small_regions(mask: BoolMap, area: float) -> None:
    """Clear the 4-connected regions that are smaller than ``area`` pixels."""
    labels = connected(mask)
    mask &= ~_small(labels, area)[labels]


def _fill_small_holes(mask: BoolMap, area: float) -> None:
    """Set enclosed background of fewer than ``area`` pixels.

    Background is 8-connected, the counterpart of 4-connected foreground; what touches
    the image's border is not enclosed, however small it is.
    """
    labels = connected(~mask, corners=True)
    is_hole = _small(labels, area)
    for border in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        is_hole[border] = False
    mask |= is_hole[labels]
