"""A thin dashed ring around a proposed place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.gui.layers.marks import GUIDE
from napari_wsol.gui.layers.overlay import Lines
from napari_wsol.gui.widgets.colours import GUIDE_BLUE

if TYPE_CHECKING:
    import napari.viewer
    import numpy.typing as npt

LINE_PIXELS = 3.0
"""Thickness on the screen."""

DASHES, PIECES = 24, 3
"""Dashes of the ring, and straight pieces of a dash."""

NAME = "Where next?"


class Ring(Lines):
    """One ring at a time; never painted on."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer, GUIDE, LINE_PIXELS)

    def show(self, y: float, x: float, radius: float) -> None:
        """Draw it around a place, in level-0 pixels; the one before goes."""
        self.draw(ring(y, x, radius), NAME, GUIDE_BLUE)


def ring(y: float, x: float, radius: float) -> npt.NDArray[np.float32]:
    """Dashes of a circle: (N, 2, 2) float32 start points and directions."""
    steps = 2 * DASHES * PIECES
    angles = 2 * np.pi * np.arange(steps + 1) / steps
    points = np.stack([y + radius * np.sin(angles), x + radius * np.cos(angles)], 1)
    segments = np.stack([points[:-1], np.diff(points, axis=0)], axis=1)
    is_drawn = (np.arange(steps) // PIECES) % 2 == 0
    return segments[is_drawn].astype(np.float32)
