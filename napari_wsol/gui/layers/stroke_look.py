"""How the layer of strokes looks, and what its tools are to napari."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap

from napari_wsol.gui.layers.marks import MARK
from napari_wsol.gui.layers.placement import placed_on
from napari_wsol.gui.widgets.colours import BACKGROUND, FOREGROUND
from napari_wsol.strokes.stroke import BACKGROUND as BACKGROUND_LABEL
from napari_wsol.strokes.stroke import FOREGROUND as FOREGROUND_LABEL
from napari_wsol.strokes.stroke import UNLABELLED as NONE_LABEL

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from napari.layers import Image

    from napari_wsol.strokes.canvas import Canvas

BRUSHES = {"foreground": FOREGROUND_LABEL, "background": BACKGROUND_LABEL}
"""Brush → the label that it paints."""

MODES = {
    "foreground": "paint",
    "background": "paint",
    "erase": "erase",
    "outline": "polygon",
    "wand": "pan_zoom",
}
"""Tool → napari's mode of the layer. A drag with the wand pans; a click grows."""


def new_layer(
    data: np.ndarray, image: Image, grid: Canvas, mark: Mapping[str, object]
) -> Labels:
    """A layer of strokes on an image.

    Args:
        data: (h, w) uint8 on the grid; painted on in place.
        image: what it lies on.
        grid: the session's canvas.
        mark: what our layers are known by.
    """
    return Labels(
        data,
        name="Strokes",
        opacity=0.85,
        colormap=stroke_colours(),
        metadata={MARK: dict(mark)},
        **placed_on(image, grid.scale, grid.translate),
    )


def stroke_colours() -> DirectLabelColormap:
    """Orange foreground, blue background, nothing elsewhere."""
    colours = {
        None: "transparent",
        NONE_LABEL: "transparent",
        BACKGROUND_LABEL: BACKGROUND,
        FOREGROUND_LABEL: FOREGROUND,
    }
    return DirectLabelColormap(color_dict=colours)
