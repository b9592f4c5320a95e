"""What a round has changed, as a layer over the maps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from napari.layers import Image
from napari.utils import Colormap

from napari_wsol.gui.compat import fill
from napari_wsol.gui.layers.fine_map import SHOWN_CELLS
from napari_wsol.gui.layers.marks import DIFFERENCE, raise_in_order
from napari_wsol.gui.layers.overlay import Overlay
from napari_wsol.gui.widgets.colours import change_colours
from napari_wsol.images.heatmap import covering

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Layer

    from napari_wsol.gui.layers.overlay import Place
    from napari_wsol.refinement.rounds import Round

COLOURS, NAME = "napari-wsol difference", "What changed"


class DifferenceLayer(Overlay[Image]):
    """A round's map minus that of an earlier one, in [-1, 1]; clear where equal."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer, DIFFERENCE)
        # napari keeps every new colormap in its list: one for ever.
        self._colours = Colormap(
            change_colours(), name=COLOURS, display_name="difference"
        )

    def show(self, shown: Round, earlier: Round) -> bool:
        """Bring it up to date.

        Args:
            shown: the newer round.
            earlier: what it is compared with, on the same grid.

        Returns:
            Whether the layer is a new one, right above the image.
        """
        values, place = change(shown, earlier)
        before = self.find()
        layer = self.hold(
            values.shape,
            place,
            lambda how: Image(
                values,
                name=NAME,
                contrast_limits=(-1.0, 1.0),
                interpolation2d="linear",
                blending="translucent_no_depth",
                colormap=cast("Any", self._colours),  # napari takes more than it says
                **how,
            ),
        )
        if layer is None:
            return False
        if layer.data is not values:
            fill(layer, values)
            layer.contrast_limits = (-1.0, 1.0)
        layer.name = f"{NAME} · round {shown.index} after {earlier.index}"
        return layer is not before

    def lift(self, strokes: Layer | None) -> None:
        """Put it over the maps, and the strokes over it."""
        above = [layer for layer in (self.layer, strokes) if layer is not None]
        raise_in_order(self._viewer, above)


def change(shown: Round, earlier: Round) -> tuple[np.ndarray, Place]:
    """How one map differs from another on the same grid.

    Returns:
        (h, w) float32 in [-1, 1] with its place, on cells that end where the image
        ends; of maps that are too large to be drawn at once, means over blocks of them.
    """
    times = math.ceil(math.sqrt(shown.heatmap.values.size / SHOWN_CELLS))
    if times <= 1:
        new, old = (x.heatmap.within_image(SHOWN_CELLS) for x in (shown, earlier))
        values = np.subtract(new.values, old.values, dtype=np.float32)
        return values, (new.scale, new.translate)
    height, width = (-(-side // times) for side in shown.heatmap.cells_inside())
    new, old = (
        x.heatmap.resized((height * times, width * times)) for x in (shown, earlier)
    )
    blocks = (new - old).reshape(height, times, width, times)
    place = covering(shown.heatmap.image_shape, (height, width))
    return blocks.mean(axis=(1, 3), dtype=np.float32), place
