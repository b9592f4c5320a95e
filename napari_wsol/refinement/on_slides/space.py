"""How the features of a slide are reduced, from cells that are spread over it.

As on an image in one piece (:func:`~napari_wsol.refinement.stroke_field.fit_space`):
the same cells, where all tiles are kept and there are few enough of them. A slide is
too large to be read at every stroke, and its cells do not change with the strokes, so
what was read of them stays until the slide is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_wsol.encoders import nominal_offset
from napari_wsol.refinement.on_slides.tile_colour import KeptColour
from napari_wsol.refinement.stroke_field import sample_step, space_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from torch import Tensor

    from napari_wsol.images.tiling import Tile
    from napari_wsol.slides.plan import SlidePlan

SAMPLE_TILES = 32
"""Tiles at most in which the cells lie: reading them takes a second or two, once."""


class SlideSpace:
    """The sampled cells of one slide, for one model; empty at first.

    Attributes:
        tiles: numbers of the tiles in which the cells lie.
        colour: of tiles that were read, likewise kept.
    """

    def __init__(self) -> None:
        self.tiles: tuple[int, ...] = ()
        self.colour = KeptColour()
        self._step = 0
        self._vectors: dict[int, Tensor] = {}
        self._space: tuple[Tensor, Tensor] | None = None

    def wants(
        self, tiles: Sequence[int], plan: SlidePlan, stride: int
    ) -> dict[int, Tensor]:
        """Chooses the tiles; the cells whose features are not known yet.

        Args:
            tiles: their numbers.
            plan: how the slide is cut.
            stride: network pixels a cell.

        Returns:
            By number of the tile, (n, 2) positions (y, x) in network input pixels.
        """
        height, width = plan.seen.shape
        shape = (-(-height // stride), -(-width // stride))
        chosen = [plan.grid[index] for index in tiles]
        area = sum(tile.height * tile.width for tile in chosen)
        step = sample_step(shape, area / (height * width))
        if (step, (*tiles,)) != (self._step, self.tiles):
            kept = self._vectors if step == self._step else {}
            self._vectors = {at: found for at, found in kept.items() if at in tiles}
            self._step, self.tiles, self._space = step, (*tiles,), None
        return {
            tile.index: _cells(tile, stride, step)
            for tile in chosen
            if tile.index not in self._vectors
        }

    def add(self, index: int, vectors: Tensor) -> None:
        """Keeps what was read of a tile's cells, (n, C) with the colour."""
        self._vectors[index], self._space = vectors, None

    @property
    def is_empty(self) -> bool:
        """Whether nothing was read yet."""
        return not self._vectors

    @property
    def vectors(self) -> Tensor:
        """(n, C) of all cells, tile by tile."""
        return torch.cat([self._vectors[index] for index in sorted(self._vectors)])

    def reduction(self, sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
        """(C,) mean and (C, d) projection.

        Args:
            sizes: channels of each map, the colour last.
        """
        if self._space is None:
            self._space = space_of(self.vectors, sizes, colour=True)
        return self._space


def spread_evenly(numbers: npt.NDArray[np.intp], most: int) -> list[int]:
    """At most so many of some numbers, spread evenly."""
    at = np.linspace(0, len(numbers) - 1, min(most, len(numbers)))
    return [int(item) for item in numbers[at.round().astype(np.intp)]]


def _cells(tile: Tile, stride: int, step: int) -> Tensor:
    """Centres of every ``step``-th cell of the whole slide that lie in a core."""
    axes: list[Tensor] = []
    for start, length in ((tile.y, tile.height), (tile.x, tile.width)):
        first, stop = start // stride, -(-(start + length) // stride)
        first += (step // 2 - first) % step
        cells = torch.arange(first, stop, step) if first < stop else torch.zeros(0)
        axes.append(cells.float() * stride + nominal_offset(stride))
    return torch.cartesian_prod(*axes).view(-1, 2)
