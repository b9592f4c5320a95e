"""Tiles read one by one: what attention MIL pools over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_wsol.encoders.base import Encoder
from napari_wsol.encoders.features import Features, nominal_offset

if TYPE_CHECKING:
    from torch import Tensor

TILES_A_BATCH = 64


class TileEncoder(Encoder):
    """Gives one vector a tile: a backbone on each, averaged over its cells.

    The vectors lie on a grid like any other map, with the side of a tile as stride, so
    that a bag of tiles is an image of few cells. A tile sees nothing beyond itself.

    Args:
        backbone: run on every tile.
        side: of a tile, in pixels.
    """

    def __init__(self, backbone: Encoder, side: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.side = side
        self.mean, self.std = backbone.mean, backbone.std  # type: ignore[misc]
        self.taps = ("tile",)
        self.channels = (backbone.channels[-1],)
        self.strides = (side,)
        self.offsets = (nominal_offset(side),)
        self.halo = 0
        self.layers = {"tile": self.channels[0]}
        self._geometry = {"tile": (side, self.offsets[0], 0)}

    def cells(self, length: int) -> tuple[int, ...]:
        """Whole tiles."""
        return (length // self.side,)

    def vectors(self, tiles: Tensor) -> Tensor:
        """(n, C, S, S) tiles → (n, D), in batches."""
        found = [
            self.backbone(batch).last.mean((-2, -1))
            for batch in torch.split(tiles, TILES_A_BATCH)
        ]
        return torch.cat(found)

    def forward(self, x: Tensor) -> Features:
        """Cuts images into tiles, row by row; a rest that fills no tile is left out.

        Args:
            x: (N, C, H, W), at least one tile high and wide.
        """
        count, channels = x.shape[:2]
        side = self.side
        rows, columns = x.shape[-2] // side, x.shape[-1] // side
        x = x[..., : rows * side, : columns * side]
        grid = x.reshape(count, channels, rows, side, columns, side)
        tiles = grid.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, side, side)
        vectors = self.vectors(tiles).reshape(count, rows, columns, -1)
        return self.gather({"tile": vectors.permute(0, 3, 1, 2)})

    def bag(self, bag: Tensor) -> Features:
        """The features of one bag (1, n, C, S, S): a map of n rows and one column."""
        vectors = self.vectors(bag[0])
        return self.gather({"tile": vectors.T[None, :, :, None]})
