"""Bags: the tiles of whole images, for models that classify them together.

A bag is all of an image, so its tiles differ in number from image to image, and bags
are encoded one after another. What a tile's network computed is not kept for the
backward pass, but computed again (gradient checkpointing, Chen et al. 2016, arXiv
1604.06174), a few tiles at a time: the memory does not grow with the image.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, cast

import torch
from torch.utils import checkpoint as recomputing

from napari_wsol.encoders.tiles import TILES_A_BATCH, TileEncoder
from napari_wsol.errors import one_of_many
from napari_wsol.images.bags import is_bag
from napari_wsol.images.readers import open_slide
from napari_wsol.slides.large import is_large
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
    from collections.abc import Generator, Sequence

    from torch import Tensor

    from napari_wsol.data.datasets import Sample
    from napari_wsol.encoders import BagEncoder, Features
    from napari_wsol.errors import Failed
    from napari_wsol.jobs import Progress
    from napari_wsol.methods import Model
    from napari_wsol.training.crops import Share, TrainImage
    from napari_wsol.training.recipe import Recipe


@contextmanager
def as_bags(  # noqa: PLR0917 - as those who call it pass them on
    samples: Sequence[Sample],
    model: Model,
    recipe: Recipe,
    data: Path,
    say: Progress,
    failed: Failed,
) -> Generator[list[Sample]]:
    """The samples with the bags of slides in place of them, where tiles are pooled.

    Those of a frozen encoder are made once and stay in the folder of features. Those
    of one that has learnt, of slides too large to be held whole, go again.
    """
    from napari_wsol.slides.bag_maker import make_bag

    kept, mpp = recipe.data.bags_in(data), recipe.data.mpp
    kept = kept if recipe.train.freeze_encoder else None
    plain = model.with_encoder(model.encoder)
    plain.card = None  # one encoder's bags, whatever the model is called
    found: list[Sample] = []
    with TemporaryDirectory(prefix="napari-wsol-", ignore_cleanup_errors=True) as own:
        for at, item in enumerate(samples):
            tell = partial(say, at, len(samples), f"encoding {item.id}")
            with one_of_many(partial(failed, item.id)):
                path = item.path
                if isinstance(model.encoder, TileEncoder) and not is_bag(path):
                    with closing(open_slide(path)) as slide:
                        is_made = kept or is_large(slide, model, mpp)
                    if is_made:
                        out = kept or Path(own)
                        path = make_bag(path, plain, out, mpp=mpp, check=tell)
                found.append(replace(item, path=path))
        yield found


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


def encode_bag(encoder: BagEncoder, bag: Tensor) -> Features:
    """The features of one bag with gradients, in memory of a few tiles.

    Args:
        encoder: cuts the bag into tiles.
        bag: (C, H, W) normalised, whole tiles; or its vectors, (n, D).
    """
    if bag.ndim == 2 or not isinstance(encoder, TileEncoder):
        return encoder.of_vectors(bag)

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
