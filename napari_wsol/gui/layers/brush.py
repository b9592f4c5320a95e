"""The width of the brush: the same on the screen at any zoom."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_wsol.gui.compat import camera_of
from napari_wsol.gui.layers.placement import screen_a_pixel

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Labels

LINE_PIXELS = 3
"""Width on the screen of the line that shows the way of an outline."""


class BrushSize(QObject):
    """Fits napari's brush, which is measured in cells, to a width on the screen."""

    changed = Signal(int)
    """Width on the screen in pixels, as chosen in napari's own controls."""

    def __init__(self, viewer: napari.viewer.Viewer, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layer: Labels | None = None
        self._pixels = 16
        camera_of(viewer).events.zoom.connect(self.fit)

    @property
    def line_cells(self) -> float:
        """Width of the line that shows the way, in cells."""
        if self._layer is None:
            return 1.0
        return max(1.0, LINE_PIXELS / screen_a_pixel(self._viewer, self._layer))

    def hold(self, layer: Labels | None) -> None:
        """The layer whose brush it is."""
        if self._layer is not None:
            self._layer.events.brush_size.disconnect(self._on_brush)
        self._layer = layer
        if layer is not None:
            layer.events.brush_size.connect(self._on_brush)

    def close(self) -> None:
        """Stop listening."""
        self.hold(None)
        camera_of(self._viewer).events.zoom.disconnect(self.fit)

    def choose(self, pixels: int) -> None:
        """Another width on the screen."""
        self._pixels = pixels
        self.fit()

    def fit(self) -> None:
        """Give napari's brush the width at the present zoom."""
        if self._layer is not None:
            screen = screen_a_pixel(self._viewer, self._layer)
            size = max(1, round(self._pixels / screen))
            if size != self._layer.brush_size:
                self._layer.brush_size = size

    def _on_brush(self) -> None:
        """The size was changed in napari's own controls: ours follows."""
        if self._layer is None:
            return
        screen = screen_a_pixel(self._viewer, self._layer)
        pixels = round(self._layer.brush_size * screen)
        if abs(pixels - self._pixels) > screen:
            self._pixels = pixels
            self.changed.emit(pixels)
