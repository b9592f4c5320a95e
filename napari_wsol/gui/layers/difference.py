"""What a round has changed, or where maps are in doubt, as a layer over the maps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from napari.layers import Image
from napari.utils import Colormap

from napari_wsol.gui.compat import fill
from napari_wsol.gui.layers.fine_map import SHOWN_CELLS
from napari_wsol.gui.layers.marks import raise_in_order
from napari_wsol.gui.layers.overlay import Overlay
from napari_wsol.images.heatmap import covering

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Layer

    from napari_wsol.gui.layers.overlay import Place
    from napari_wsol.refinement.rounds import Round


class ValuesLayer(Overlay[Image]):
    """Values over the image, in (256, 4) RGBA from the lower limit to the upper one."""

    def __init__(
        self,
        viewer: napari.viewer.Viewer,
        role: str,
        colours: np.ndarray,
        limits: tuple[float, float],
    ) -> None:
        super().__init__(viewer, role)
        # napari keeps every new colormap in its list: one for ever.
        name = f"napari-wsol {role}"
        self._colours = Colormap(colours, name=name, display_name=role)
        self._limits = limits

    def show(
        self, values: np.ndarray, place: Place, name: str, *above: Layer | None
    ) -> None:
        """Bring it up to date.

        Args:
            values: (h, w) float32.
            place: where they lie on the image.
            name: of the layer.
            above: where it is a new one, it comes over the maps, and these over it.
        """
        before = self.find()
        layer = self.hold(
            values.shape,
            place,
            lambda how: Image(
                values,
                contrast_limits=self._limits,
                interpolation2d="linear",
                blending="translucent_no_depth",
                colormap=cast("Any", self._colours),  # napari takes more than it says
                **how,
            ),
        )
        if layer is None:
            return
        if layer.data is not values:
            fill(layer, values)
            layer.contrast_limits = self._limits
        layer.name = name
        if layer is not before:
            raise_in_order(self._viewer, [layer, *(x for x in above if x is not None)])


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
