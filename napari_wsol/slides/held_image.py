"""An image that is held whole, and is read as a slide is: what is looked at first.

The tiles are those in which :func:`~napari_wsol.inference.encode.encode` reads it, in
another order, and their features go where it keeps them. So the result that is read
from them at the end is, bit for bit, the one that reading row by row gives; only until
then is anything shown as for a slide. No tile is left out: those without tissue come
last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.config import SlideConfig
from napari_wsol.images.tissue import coarse_tissue
from napari_wsol.inference.encode import held, tile_grid
from napari_wsol.slides.localize import SlideWork
from napari_wsol.slides.plan import SlidePlan, cells_on, margin_of
from napari_wsol.slides.run import around

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from napari_wsol.encoders import Features
    from napari_wsol.images.tiling import Tile
    from napari_wsol.inference.cache import EncodedImage
    from napari_wsol.inference.view import ModelView
    from napari_wsol.slides.plan import Bools


def plan_held(view: ModelView, tissue: Bools | None = None) -> SlidePlan:
    """The tiles of an image that is held whole; all of them are wanted.

    Args:
        view: the image as the model sees it.
        tissue: (h, w) bool over the whole image, which is read first; found without.

    Raises:
        UnreadableImageError: the file is damaged.
    """
    seen, encoder = view.geometry(), view.model.encoder
    grid = tile_grid(seen, view.model, view.config)
    mask = coarse_tissue(view.slide) if tissue is None else tissue
    return SlidePlan(
        seen=seen,
        grid=grid,
        wanted=np.ones((grid.rows, grid.columns), np.bool_),
        margin=margin_of(encoder),
        last=~cells_on(mask, seen, grid.core, view.slide.shape),
        notes=(seen.note,) if seen.note else (),
    )


class HeldFeatures:
    """The features of an image that is held whole, a tile at a time.

    A :class:`~napari_wsol.slides.run.Store`.

    Args:
        image: where they are.
        plan: its tiles.
    """

    notes: Sequence[str] = ()

    def __init__(self, image: EncodedImage, plan: SlidePlan) -> None:
        self._image, self._plan = image, plan

    def __contains__(self, index: int) -> bool:
        return index in self._image.done

    @property
    def missing(self) -> list[Tile]:
        """The tiles whose features are not there yet."""
        return [tile for tile in self._plan.grid if tile.index not in self]

    def get(self, index: int) -> Features:
        """The features of a tile's core with its margin, (1, C, h, w)."""
        tile = self._plan.grid[index]
        top, left, height, width = around(tile, self._plan)
        return self._image.part(
            tile.window_y + top, tile.window_x + left, height, width
        )

    def put(self, index: int, features: Features) -> None:
        """Keeps those of the core; the margin is another tile's."""
        tile = self._plan.grid[index]
        top, left, _, _ = around(tile, self._plan)
        down = tile.y - tile.window_y - top
        across = tile.x - tile.window_x - left
        core = features.part(down, across, tile.height, tile.width)
        self._image.store(tile, [item[0].cpu() for item in core.maps])


def held_features(
    view: ModelView, plan: SlidePlan, layers: Sequence[str] = ()
) -> HeldFeatures:
    """The features of an image, as far as the cache of the view has them.

    Args:
        view: the image as the model sees it.
        plan: from :func:`plan_held`.
        layers: of the encoder, whose maps are wanted beside the model's taps.
    """
    image, _ = held(
        view.slide,
        view.model,
        plan.seen,
        view.config,
        layers=layers,
        cache=view.cache,
    )
    return HeldFeatures(image, plan)


def held_work(
    view: ModelView,
    plan: SlidePlan,
    features: HeldFeatures,
    methods: Sequence[str] | None,
    target: str | None,
    *,
    layers: Sequence[str] = (),
    folder: Path,
    check: Callable[[], None],
) -> SlideWork:
    """What shows the maps as the tiles come in.

    Args:
        view: the image as the model sees it.
        plan: from :func:`plan_held`.
        features: where those of the tiles go.
        methods: names, of those that can be made tile by tile; those that the model
            was made for by default.
        target: class; the most probable by default.
        layers: as for ``features``.
        folder: for the maps of finished tiles; nobody needs them afterwards.
        check: called often; raises to stop.
    """
    return SlideWork(
        view.slide,
        view.model,
        methods,
        target,
        mpp=view.mpp,
        plan=plan,
        config=SlideConfig(batch=1),
        folder=folder,
        keep=lambda _plan: features,
        layers=layers,
        check=check,
    )
