"""The cells that are kept in a log, tile by tile: what slide results come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.images.tiling import Tile
from napari_wsol.slides.plan import covered
from napari_wsol.slides.readouts import unpack

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_wsol.slides.plan import Bools, SlidePlan
    from napari_wsol.slides.readouts import Array, Plane
    from napari_wsol.slides.tile_log import TileLog


@dataclass(frozen=True, slots=True)
class KeptCells:
    """The cells of one tile.

    Attributes:
        tile: which.
        values: (channels, rows, columns) of the plane.
        counts: (rows, columns) bool: the cells that show tissue.
    """

    tile: Tile
    values: Array
    counts: Bools

    @property
    def counted(self) -> Array:
        """(channels, n): the cells with tissue, row by row."""
        return self.values[:, self.counts]


def kept_cells(
    plan: SlidePlan,
    planes: Sequence[Plane],
    log: TileLog,
    name: str,
    image_shape: tuple[int, int],
) -> Iterator[KeptCells]:
    """The finished, wanted tiles in the order of their numbers, one at a time.

    The order in which they were finished does not matter: a run that was killed and
    went on gives the same. Damaged tiles, and those without a cell of tissue, are left
    out.

    Args:
        plan: the tiles.
        planes: what the log holds of each.
        log: the finished ones.
        name: of the plane.
        image_shape: (H, W) of level 0.
    """
    plane = next(item for item in planes if item.name == name)
    wanted = plan.wanted.reshape(-1)
    for number in log.done:
        index = int(number)
        if not wanted[index]:
            continue
        tile = plan.grid[index]
        found = unpack(log.read(index), planes, tile)
        if not found:
            continue
        counts = tissue_cells(plan, tile, plane.stride, image_shape)
        if counts.any():
            yield KeptCells(tile, found[name], counts)


def tissue_cells(
    plan: SlidePlan, tile: Tile, stride: int, image_shape: tuple[int, int]
) -> Bools:
    """Which cells of a tile's core lie on tissue, be it in part.

    Args:
        plan: holds the tissue mask; all cells do without one.
        tile: the tile.
        stride: network pixels a cell.
        image_shape: (H, W) of level 0.

    Returns:
        (rows, columns) bool.
    """
    return _on(plan.tissue, plan, tile, stride, image_shape)


def section_cells(
    plan: SlidePlan, tile: Tile, stride: int, image_shape: tuple[int, int]
) -> Bools:
    """Which cells of a tile's core are shown; as :func:`tissue_cells`."""
    return _on(plan.section, plan, tile, stride, image_shape)


def section_grid(plan: SlidePlan, step: int, image_shape: tuple[int, int]) -> Bools:
    """Which cells of the whole slide are shown; as :func:`section_cells`.

    Args:
        plan: the tiles.
        step: network pixels a cell.
        image_shape: (H, W) of level 0.
    """
    height, width = plan.seen.shape
    whole = Tile(0, 0, 0, height, width, 0, 0, height, width)
    return _on(plan.section, plan, whole, step, image_shape)


def _on(
    mask: Bools | None,
    plan: SlidePlan,
    tile: Tile,
    stride: int,
    image_shape: tuple[int, int],
) -> Bools:
    shape = (-(-tile.height // stride), -(-tile.width // stride))
    if mask is None:
        return np.ones(shape, np.bool_)
    rows, columns = (
        plan.seen.edges(axis, start, stride, shape[axis])
        * mask.shape[axis]
        / image_shape[axis]
        for axis, start in enumerate((tile.y, tile.x))
    )
    return covered(mask, rows, columns)
