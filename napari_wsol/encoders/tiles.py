"""Tiles read one by one: what attention MIL pools over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from napari_wsol.encoders.base import Encoder
from napari_wsol.encoders.registry import register_family
from napari_wsol.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from napari_wsol.encoders.base import Step
    from napari_wsol.encoders.features import Features

TILES_A_BATCH = 64

NEEDS_BAG = (
    "This model reads vectors of tiles that another network made, not pixels: give the "
    "slide's bag (an h5 file with “features” and “coords”)."
)


class BagEncoder(Encoder):
    """Gives one vector a tile: what multiple instance learning pools over.

    Attributes:
        side: of a tile, in pixels of the network's input.
    """

    side: int

    def of_vectors(self, vectors: Tensor) -> Features:
        """The features of one bag: a map of n rows and one column.

        Args:
            vectors: (n, D) with n ≥ 1 tiles.
        """
        return self.gather({"tile": vectors.T[None, :, :, None]})

    def stages(self) -> Iterator[tuple[str, nn.Module]]:
        """The only map is that of the vectors; nothing runs behind it."""
        raise NotImplementedError

    def path(self) -> Iterator[tuple[str, Step, int]]:
        """A tile is one kernel that moves on by its own side."""
        yield "tile", (self.side, self.side, 1), 0


@register_family("vectors")
class VectorEncoder(BagEncoder):
    """Takes the vectors that another program made of the tiles, as they are.

    Its input is the file of a slide's bag (:mod:`napari_wsol.images.bags`), no pixels.

    Args:
        width: D, as text: "vectors:1024".
        side: of a tile, in pixels at the model's µm a pixel.
        of_image: what builders are told of images; there is none.

    Raises:
        ConfigError: the width is no number.
    """

    def __init__(self, width: str, side: int = 256, **of_image: object) -> None:
        super().__init__()
        del of_image
        if not width.isdecimal() or not int(width):
            raise ConfigError(
                f"Vectors have a number of values, as in “vectors:1024”, not “{width}”."
            )
        self.side = side
        # An empty one: models know by their weights on which device they are.
        self.nothing = nn.Identity()
        self.choose(None, {"tile": int(width)})

    def stages(self) -> Iterator[tuple[str, nn.Module]]:
        """Nothing is computed."""
        yield "tile", self.nothing

    def forward(self, x: Tensor) -> Features:
        """Refuses an image.

        Raises:
            ConfigError: always; says what to do.
        """
        del x
        raise ConfigError(NEEDS_BAG)


class TileEncoder(BagEncoder):
    """Gives one vector a tile: a backbone on each, averaged over its cells.

    The vectors lie on a grid like any other map, with the side of a tile as stride, so
    that a bag of tiles is an image of few cells. A tile sees nothing beyond itself.

    Args:
        backbone: run on every tile.
        side: of a tile, in pixels; need not be a multiple of the backbone's stride.

    Raises:
        ConfigError: the backbone cannot read tiles of that size.
    """

    def __init__(self, backbone: Encoder, side: int) -> None:
        super().__init__()
        if side < 1 or min(backbone.cells(side)) < 1:
            raise ConfigError(
                f"Tiles of {side} pixels are too small for this encoder: "
                "choose a larger tile."
            )
        backbone.check_size(side, side)
        self.backbone = backbone
        self.side = side
        self.mean, self.std = backbone.mean, backbone.std  # type: ignore[misc]
        self.choose(None, {"tile": backbone.pooled_channels})

    def stages(self) -> Iterator[tuple[str, nn.Module]]:
        """The only map is that of the vectors; nothing runs behind it."""
        yield "tile", self.backbone

    def cells(self, length: int) -> tuple[int, ...]:
        """Whole tiles."""
        return (length // self.side,)

    def vectors(self, tiles: Tensor) -> Tensor:
        """(n, C, S, S) tiles → (n, D), in batches."""
        found = [
            self.backbone.pooled(batch) for batch in torch.split(tiles, TILES_A_BATCH)
        ]
        return torch.cat(found)

    def forward(
        self, x: Tensor, read: Callable[[Tensor], Tensor] | None = None
    ) -> Features:
        """Cuts images into tiles, row by row; a rest that fills no tile is left out.

        Args:
            x: (N, C, H, W), at least one tile high and wide.
            read: instead of ``vectors``, another way to the same numbers.

        Raises:
            ConfigError: the images are smaller than a tile.
        """
        count, channels = x.shape[:2]
        side = self.side
        rows, columns = x.shape[-2] // side, x.shape[-1] // side
        if not rows or not columns:
            raise ConfigError(
                f"An input of {x.shape[-2]}×{x.shape[-1]} pixels holds no tile of "
                f"{side}: pad it to {side} pixels at least."
            )
        x = x[..., : rows * side, : columns * side]
        grid = x.reshape(count, channels, rows, side, columns, side)
        tiles = grid.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, side, side)
        vectors = (read or self.vectors)(tiles).reshape(count, rows, columns, -1)
        return self.gather({"tile": vectors.permute(0, 3, 1, 2)})

    def bag(self, bag: Tensor) -> Features:
        """The features of one bag: a map of n rows and one column.

        Args:
            bag: (1, n, C, S, S) with n ≥ 1 tiles.

        Raises:
            ConfigError: several bags at once, or an empty one.
        """
        if bag.shape[0] != 1 or not bag.shape[1]:
            raise ConfigError(
                "Give one bag with at least one tile, (1, n, C, S, S), at a time: "
                f"this has the shape {tuple(bag.shape)}."
            )
        return self.of_vectors(self.vectors(bag[0]))
