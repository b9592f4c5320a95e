"""The features of single pixels of a slide, read from the tiles that hold them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_wsol.encoders import sample_points
from napari_wsol.errors import UnreadableImageError
from napari_wsol.refinement.finetune import LEAST_STD
from napari_wsol.refinement.stroke_field import beside
from napari_wsol.slides.run import around

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from torch import Tensor

    from napari_wsol.encoders import Features
    from napari_wsol.images.tiling import Tile
    from napari_wsol.methods.pixelcam import PixelHead
    from napari_wsol.refinement.on_slides.tile_colour import TileColour
    from napari_wsol.slides.plan import SlidePlan
    from napari_wsol.slides.run import Store


class Gatherer:
    """A store that reads the features that pass through it, and holds none itself.

    Args:
        head: whose last layer's input is wanted.
        plan: how the slide is cut.
        points: (n, 2) float32 positions (y, x) in network input pixels.
        store: where features come from and go to.
        spread_of: numbers of tiles whose mean and standard deviation are wanted too;
            where the list is empty, of those under the points.
        colour: of the slide, where it is wanted too.

    Attributes:
        wanted: (rows, columns) bool: the tiles to send past it.
        vectors: (n, C) float32 what the last layer reads at the points, then the
            colour.
        found: (n,) bool: the points whose tile has passed.
    """

    def __init__(
        self,
        head: PixelHead,
        plan: SlidePlan,
        points: Tensor,
        store: Store,
        *,
        spread_of: Sequence[int] | None = None,
        colour: TileColour | None = None,
    ) -> None:
        self._head, self._plan, self._store = head, plan, store
        self._points, self._colour = points, colour
        self._tiles = tiles_under(points.numpy(), plan)
        under = np.unique(self._tiles)
        chosen: list[int] = []
        if spread_of is not None:
            chosen = [*spread_of] or [int(item) for item in under]
        self._spread_of = {*chosen}
        self.wanted = np.zeros((plan.grid.rows, plan.grid.columns), np.bool_)
        self.wanted.reshape(-1)[under] = True
        self.wanted.reshape(-1)[chosen] = True
        width = head.affine()[0].shape[1] + (colour.channels if colour else 0)
        self.vectors = torch.zeros(len(points), width)
        self.found = torch.zeros(len(points), dtype=torch.bool)
        self._sums: list[tuple[int, Tensor, Tensor]] = []

    def __contains__(self, index: int) -> bool:
        return index in self._store

    def get(self, index: int) -> Features | None:
        """The features of a tile, which are read on the way."""
        features = self._store.get(index)
        if features is not None:
            self._read(index, features)
        return features

    def put(self, index: int, features: Features) -> None:
        """Reads features and passes them on."""
        self._read(index, features)
        self._store.put(index, features)

    def spread(self) -> tuple[Tensor, Tensor]:
        """(C,) mean and standard deviation over the cells of the tiles chosen."""
        means = [total / count for count, total, _ in self._sums]
        stds = [
            ((squares - total * total / count) / max(1, count - 1)).clamp_min(0).sqrt()
            for count, total, squares in self._sums
        ]
        return (
            torch.cat(means).float(),
            torch.cat(stds).float().clamp_min(LEAST_STD),
        )

    @torch.no_grad()
    def _read(self, index: int, features: Features) -> None:
        tile = self._plan.grid[index]
        read = self._head.hidden(features.to(torch.device("cpu")))
        top, left, _, _ = around(tile, self._plan)
        origin = (tile.window_y + top, tile.window_x + left)
        rows = np.flatnonzero(self._tiles == index)
        if len(rows):
            points = self._points[rows] - torch.tensor(origin)
            try:
                colour = self._colour.around(tile) if self._colour else None
            except UnreadableImageError:
                return  # as a tile that was damaged when it was to be encoded
            self.vectors[rows] = sample_points(beside(read, colour), points)
            self.found[rows] = True
        if index in self._spread_of:
            self._add(read, tile, origin)

    def _add(self, read: Features, tile: Tile, origin: tuple[int, int]) -> None:
        """Counts the cells of a tile's core, each once."""
        found: list[tuple[int, Tensor, Tensor]] = []
        for values, stride in zip(read.maps, map(int, read.strides), strict=True):
            top, left = (tile.y - origin[0]) // stride, (tile.x - origin[1]) // stride
            bottom = top - (-tile.height // stride)
            right = left - (-tile.width // stride)
            cells = values[0, :, top:bottom, left:right].flatten(1).double()
            count, squares = cells.shape[1], (cells * cells).sum(1)
            found.append((count, cells.sum(1), squares))
        before = self._sums or [(0, 0 * total, 0 * total) for _, total, _ in found]
        self._sums = [
            (old[0] + new[0], old[1] + new[1], old[2] + new[2])
            for old, new in zip(before, found, strict=True)
        ]


def tiles_under(
    points: npt.NDArray[np.float32], plan: SlidePlan
) -> npt.NDArray[np.intp]:
    """(n,) number of the tile that each point lies in, or next to beyond the rim."""
    cells = np.floor((points + 0.5) / plan.grid.core).astype(np.intp)
    last = np.array([plan.grid.rows - 1, plan.grid.columns - 1])
    rows, columns = np.clip(cells, 0, last).T
    return rows * plan.grid.columns + columns
