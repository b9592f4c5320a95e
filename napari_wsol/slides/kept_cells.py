"""The tiles that are kept in a log, one by one: what slide results come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_wsol.slides.plan import cells_on
from napari_wsol.slides.readouts import unpack

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_wsol.images.tiling import Tile
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


@dataclass(frozen=True, slots=True)
class KeptTiles:
    """The finished tiles of a slide.

    Attributes:
        plan: the tiles, and the tissue mask that says which cells count.
        planes: what the log holds of each tile.
        log: the finished ones.
        image_shape: (H, W) of level 0.
    """

    plan: SlidePlan
    planes: Sequence[Plane]
    log: TileLog
    image_shape: tuple[int, int]

    @property
    def named(self) -> dict[str, Plane]:
        """The planes by name."""
        return {item.name: item for item in self.planes}

    def read(self, index: int) -> dict[str, Array]:
        """A finished tile by plane; empty where the slide was damaged there."""
        return unpack(self.log.read(index), self.planes, self.plan.grid[index])

    def cells(self, name: str) -> Iterator[KeptCells]:
        """A plane of the wanted tiles in the order of their numbers, one at a time.

        The order in which they were finished does not matter: a run that was killed and
        went on gives the same. Damaged tiles, and those without a cell of tissue, are
        left out.
        """
        plan, stride = self.plan, self.named[name].stride
        wanted = plan.wanted.reshape(-1)
        for index in map(int, self.log.done):
            found = self.read(index) if wanted[index] else {}
            if found:
                tile = plan.grid[index]
                counts = cells_on(
                    plan.tissue, plan.seen, stride, self.image_shape, tile
                )
                if counts.any():
                    yield KeptCells(tile, found[name], counts)

    def within(
        self, plane: Plane, y: int, x: int, height: int, width: int
    ) -> Iterator[tuple[Tile, Array]]:
        """The tiles that are there of a rectangle, which is in cells of the plane."""
        grid, side = self.plan.grid, self.plan.grid.core // plane.stride
        for row in range(y // side, min(-(-(y + height) // side), grid.rows)):
            for column in range(x // side, min(-(-(x + width) // side), grid.columns)):
                index = row * grid.columns + column
                found = self.read(index) if index in self.log else {}
                if found:  # else it is damaged in the file
                    yield grid[index], found[plane.name]
