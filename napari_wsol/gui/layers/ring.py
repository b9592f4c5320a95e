"""A thin dashed ring around a proposed place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Vectors

from napari_wsol.gui.compat import draws_lines, fill
from napari_wsol.gui.layers.marks import GUIDE, raise_in_order
from napari_wsol.gui.layers.overlay import ZoomedOverlay
from napari_wsol.gui.layers.placement import fit_width
from napari_wsol.gui.widgets.colours import GUIDE_BLUE

if TYPE_CHECKING:
    import napari.viewer
    import numpy.typing as npt

LINE_PIXELS = 3.0
"""Thickness on the screen."""

DASHES, PIECES = 24, 3
"""Dashes of the ring, and straight pieces of a dash."""

NAME = "Where next?"


class Ring(ZoomedOverlay[Vectors]):
    """One ring at a time, above all other layers; never painted on."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer, GUIDE, 60)
        viewer.dims.events.ndisplay.connect(self._on_display)

    def close(self) -> None:
        """Let go of the viewer; the layer stays in it."""
        super().close()
        self._viewer.dims.events.ndisplay.disconnect(self._on_display)

    def show(self, y: float, x: float, radius: float) -> None:
        """Draw it around a place, in level-0 pixels; the one before goes."""
        dashes = ring(y, x, radius)
        layer = self.hold(
            dashes.shape,
            ((1.0, 1.0), (0.0, 0.0)),
            lambda how: Vectors(
                dashes,
                name=NAME,
                ndim=2,
                edge_color=GUIDE_BLUE,
                vector_style="line",
                blending="translucent_no_depth",
                **how,
            ),
        )
        if layer is None:
            return
        fill(layer, dashes)
        layer.visible = draws_lines(self._viewer)
        self._fit()
        raise_in_order(self._viewer, [layer])

    def _on_display(self) -> None:
        if self.layer is not None and not draws_lines(self._viewer):
            self.layer.visible = False

    def _fit(self) -> None:
        if self.layer is not None:
            fit_width(self._viewer, self.layer, LINE_PIXELS)


def ring(y: float, x: float, radius: float) -> npt.NDArray[np.float32]:
    """Dashes of a circle: (N, 2, 2) float32 start points and directions."""
    steps = 2 * DASHES * PIECES
    angles = 2 * np.pi * np.arange(steps + 1) / steps
    points = np.stack([y + radius * np.sin(angles), x + radius * np.cos(angles)], 1)
    segments = np.stack([points[:-1], np.diff(points, axis=0)], axis=1)
    is_drawn = (np.arange(steps) // PIECES) % 2 == 0
    return segments[is_drawn].astype(np.float32)
