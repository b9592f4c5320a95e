"""Which tiles of a slide are finished, as a layer below the maps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from napari.layers import Image
from napari.utils import Colormap
from typing_extensions import override

from napari_wsol.gui.compat import fill
from napari_wsol.gui.layers.marks import TILES
from napari_wsol.gui.layers.overlay import Overlay
from napari_wsol.gui.widgets.colours import WAITING
from napari_wsol.images.heatmap import covering

if TYPE_CHECKING:
    import napari.viewer

    from napari_wsol.gui.layers.overlay import Place
    from napari_wsol.images.slide import Slide
    from napari_wsol.session.slide_job import SlideProgress

PARTS, MOST_CELLS = 32, 1_000_000
"""Cells along a tile, and in all, where tiles reach beyond the image."""

NAME = "Tiles · grey: not computed yet"


class TileLayer(Overlay[Image]):
    """A cell a tile: what waits lies under a grey veil, which lifts as tiles come."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer, TILES)
        self._unwanted = False
        self.deleted.connect(self._on_deleted)

    @override
    def place_on(self, image: Image | None, slide: Slide | None) -> None:
        super().place_on(image, slide)
        self._unwanted = False

    def show(self, progress: SlideProgress) -> None:
        """Bring it up to date; it goes when all tiles are finished.

        One that the person deleted does not come back.
        """
        if progress.done >= progress.total:
            self.take_away()
            return
        if self._unwanted or self._image is None:
            return
        state, place = _within(self._image, progress)
        layer = self.hold(
            state.shape,
            place,
            lambda how: Image(
                state,
                name=NAME,
                contrast_limits=(0, 2),
                interpolation2d="nearest",
                blending="translucent_no_depth",
                colormap=cast("Any", _colours()),  # napari takes more than it says
                **how,
            ),
        )
        if layer is not None and layer.data is not state:
            fill(layer, state)

    def _on_deleted(self) -> None:
        self._unwanted = True


def _within(image: Image, progress: SlideProgress) -> tuple[np.ndarray, Place]:
    """The state on cells that end exactly where the image ends.

    The last tiles reach beyond it: then cells are parts of tiles, each of the tile in
    which its centre lies.
    """
    state, scale = progress.state, progress.scale
    height, width = image.level_shapes[0][:2]
    sides = (int(height), int(width))
    low = [t - s / 2 + 0.5 for t, s in zip(progress.translate, scale, strict=True)]
    parts = max(1, min(PARTS, int((MOST_CELLS / state.size) ** 0.5)))
    if low == [0, 0] and all(n % s == 0 for n, s in zip(sides, scale, strict=True)):
        parts = 1
    rows, columns = (
        max(1, math.ceil(parts * n / s)) for n, s in zip(sides, scale, strict=True)
    )
    place = covering(sides, (rows, columns))
    at = [
        np.clip(((np.arange(n) + 0.5) * step - first) / s, 0, most - 1).astype(int)
        for n, step, first, s, most in zip(
            (rows, columns), place[0], low, scale, state.shape, strict=True
        )
    ]
    return state[np.ix_(*at)], place


def _colours() -> Colormap:
    """For the states 0 left out, 1 waiting, 2 finished."""
    clear = (0.0, 0.0, 0.0, 0.0)
    return Colormap(
        np.array([clear, WAITING, clear]),
        controls=np.array([0.0, 0.25, 0.75, 1.0]),
        interpolation="zero",
        name="napari-wsol tiles",
        display_name="tiles",
    )
