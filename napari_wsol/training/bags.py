"""Bags: the tiles of whole images, for models that classify them together.

A bag is all of an image, so its tiles differ in number from image to image, and bags
are encoded one after another. What a tile's network computed is not kept for the
backward pass, but computed again (gradient checkpointing, Chen et al. 2016, arXiv
1604.06174), a few tiles at a time: the memory does not grow with the image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch.utils import checkpoint as recomputing

from napari_wsol.encoders.tiles import TILES_A_BATCH
from napari_wsol.training.crops import (
    ALONE,
    at_least,
    below,
    draw_order,
    planes_of,
    recolour,
    turned,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_wsol.encoders import Features, TileEncoder
    from napari_wsol.training.crops import Share, TrainImage


def draw_bags(
    images: Sequence[TrainImage],
    *,
    size: int,
    side: int,
    jitter: float,
    generator: torch.Generator,
    share: Share = ALONE,
    order: Tensor | None = None,
    turns: bool = True,
    shift: bool = False,
) -> tuple[list[Tensor], Tensor]:
    """Whole images, turned and recoloured, cut to whole tiles.

    Args:
        images: to draw from.
        size: bags in the batch.
        side: of a tile.
        jitter: strength of the colour changes.
        generator: of every random choice.
        share: which part of the batch to make.
        order: (size,) which images; drawn by default.
        turns: whether they are turned and recoloured, or as they are.
        shift: whether the grid of tiles begins at a random place, up to a tile down
            and right, instead of lying about the middle.

    Returns:
        Each (C, H, W) float in [0, 1], or (n, D) vectors of a bag; and which images
        the whole batch shows.
    """
    if order is None:
        order = draw_order(len(images), size, generator)
    first = below(2**31, generator)
    mine = share.of(size)
    bags: list[Tensor] = []
    for place, index in enumerate(map(int, order[mine]), mine.start):
        own = torch.Generator().manual_seed(first + place)
        image = images[index]
        if image.draw is not None:
            planes = image.draw(own)
        else:
            planes = at_least(planes_of(image)[0], side)
            planes = shifted(planes, side, own) if shift else whole_tiles(planes, side)
        if turns and planes.ndim > 2:
            planes = recolour(turned(planes, own)[None], jitter, own)[0]
        bags.append(planes)
    return bags, order


def whole_tiles(planes: Tensor, side: int) -> Tensor:
    """(C, H, W) without the rim that fills no tile, on both sides, as at inference."""
    rows, columns = (length // side * side for length in planes.shape[1:])
    top = round((planes.shape[1] - rows) / 2)
    left = round((planes.shape[2] - columns) / 2)
    return planes[:, top : top + rows, left : left + columns]


def shifted(planes: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """(C, H, W) cut to the whole tiles of a grid that begins at a random place.

    So a network sees tissue at other places of its tiles at every step. What lies
    before the grid is left out; at least one tile stays.
    """
    top, left = (
        below(min(side, length - side + 1), generator) for length in planes.shape[1:]
    )
    rows, columns = (
        (length - first) // side * side
        for length, first in zip(planes.shape[1:], (top, left), strict=True)
    )
    return planes[:, top : top + rows, left : left + columns]


def encode_bag(encoder: TileEncoder, bag: Tensor) -> Features:
    """The features of one bag with gradients, in memory of a few tiles.

    Args:
        encoder: cuts the bag into tiles.
        bag: (C, H, W) normalised, whole tiles.
    """

    def read(tiles: Tensor) -> Tensor:
        parts = [
            cast(
                "Tensor",
                recomputing.checkpoint(encoder.vectors, few, use_reentrant=False),
            )
            for few in torch.split(tiles, TILES_A_BATCH)
        ]
        return torch.cat(parts)

    return encoder(bag[None], read)
