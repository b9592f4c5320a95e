"""The layer that strokes are painted on, and the brushes.

One uint8 Labels layer a image, on the session's canvas: its size is bounded whatever
the size of the slide, so that a stroke is drawn in one frame.
"""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from qtpy.QtCore import QObject, QTimer, Signal
from scipy import ndimage

from napari_wsol.gui.colours import BACKGROUND, FOREGROUND
from napari_wsol.gui.compat import camera_of
from napari_wsol.gui.layers import MARK, STROKES, our_layers
from napari_wsol.gui.placement import move_onto, placed_on, world_a_pixel

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Image

    from napari_wsol.rounds import Canvas

NONE_LABEL, BACKGROUND_LABEL, FOREGROUND_LABEL = 0, 1, 2

TOOLS = {"foreground": FOREGROUND_LABEL, "background": BACKGROUND_LABEL, "erase": None}
"""Tool → the label that it paints; None erases."""

COUNTED_CELLS = 1_000_000

DEBOUNCE_MS = 120
"""A stroke gives many refreshes; the session hears of it once."""


class StrokeLayer(QObject):
    """Owns the strokes of the current image and tells when they change."""

    changed = Signal(object)
    """(h, w) uint8: a copy of the canvas after a stroke, an undo or an erasure."""

    tool_changed = Signal(object)
    """Name of the brush in the hand, or None."""

    brush_changed = Signal(int)
    """Width of the brush on the screen, in pixels."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._layer: Labels | None = None
        self._image: Image | None = None
        self._canvas: Canvas | None = None
        self._mark: dict = {}
        self._sent: np.ndarray | None = None
        self._brush_pixels = 16
        self._timer = QTimer(self, singleShot=True, interval=DEBOUNCE_MS)
        self._timer.timeout.connect(self.flush)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.layers.selection.events.active.connect(self._on_tool)
        camera_of(viewer).events.zoom.connect(self._on_zoom)

    @property
    def layer(self) -> Labels | None:
        """The layer, once a brush was taken or strokes were found."""
        return self._layer

    @property
    def tool(self) -> str | None:
        """The brush in the hand: our layer is active and in a painting mode."""
        layer = self._layer
        if layer is None or self._viewer.layers.selection.active != layer:
            return None
        if str(layer.mode) == "erase":
            return "erase"
        if str(layer.mode) != "paint":
            return None
        names = {label: name for name, label in TOOLS.items()}
        return names.get(layer.selected_label)

    def close(self) -> None:
        """Stop listening; the strokes stay in the viewer."""
        self.release()
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._viewer.layers.selection.events.active.disconnect(self._on_tool)
        camera_of(self._viewer).events.zoom.disconnect(self._on_zoom)

    def place_on(self, image: Image, canvas: Canvas, fingerprint: str) -> None:
        """Work on an image: strokes that were painted on it before are found again."""
        self.release()
        self._image, self._canvas = image, canvas
        self._mark = {"role": STROKES, "fingerprint": fingerprint}
        self._sent = np.zeros(canvas.shape, np.uint8)
        for layer in our_layers(self._viewer, **self._mark):
            if isinstance(layer, Labels) and layer.data.shape == tuple(canvas.shape):
                self._hold(layer)
                self.flush()
                return

    def release(self) -> None:
        """Let go of the image; its strokes stay where they are."""
        self._timer.stop()
        if self._layer is not None:
            self._listen(self._layer, connect=False)
        self._layer = self._image = self._canvas = self._sent = None

    def choose(self, tool: str | None) -> None:
        """Take a brush, or put it away (None) to pan and zoom again."""
        if tool is None:
            if self._layer is not None:
                self._layer.mode = "pan_zoom"
            return
        layer = self._layer or self._add()
        if layer is None:
            return
        layer.visible = True
        if self._viewer.layers.selection.active != layer:
            self._viewer.layers.selection.active = layer
        label = TOOLS[tool]
        if label is not None:
            layer.selected_label = label
        layer.mode = "erase" if label is None else "paint"
        self._fit_brush()

    def set_brush(self, pixels: int) -> None:
        """Width of the brush on the screen."""
        self._brush_pixels = pixels
        self._fit_brush()

    def move(self) -> None:
        """Lie on the image again after its transform was changed."""
        if self._layer is not None and self._image is not None:
            canvas = self._canvas
            move_onto(self._layer, self._image, canvas.scale, canvas.translate)

    def counted(self) -> tuple[int, int]:
        """Number of foreground and background strokes (connected pieces)."""
        if self._layer is None:
            return 0, 0
        # Thinned for the count's sake: it must not cost a frame on a large canvas.
        step = max(1, round((self._layer.data.size / COUNTED_CELLS) ** 0.5))
        data = np.asarray(self._layer.data)[::step, ::step]
        if not data.any():
            return 0, 0
        eight = np.ones((3, 3), bool)
        foreground = ndimage.label(data == FOREGROUND_LABEL, eight)[1]
        background = ndimage.label(data == BACKGROUND_LABEL, eight)[1]
        return int(foreground), int(background)

    def flush(self) -> None:
        """Tell of what was painted now rather than in a moment."""
        self._timer.stop()
        if self._layer is None:
            return
        data = np.asarray(self._layer.data)
        if self._sent is None or not np.array_equal(data, self._sent):
            self._sent = np.array(data, np.uint8)
            self.changed.emit(self._sent.copy())

    def _add(self) -> Labels | None:
        if self._image is None or self._canvas is None:
            return None
        canvas = self._canvas
        layer = Labels(
            np.zeros(canvas.shape, np.uint8),
            name="Strokes",
            opacity=0.85,
            colormap=stroke_colours(),
            metadata={MARK: dict(self._mark)},
            **placed_on(self._image, canvas.scale, canvas.translate),
        )
        self._viewer.add_layer(layer)
        self._hold(layer)
        return layer

    def _hold(self, layer: Labels) -> None:
        self._layer = layer
        self.move()
        self._listen(layer, connect=True)

    def _listen(self, layer: Labels, *, connect: bool) -> None:
        # Undo emits no paint event, only set_data; both are heard.
        pairs = (
            (layer.events.paint, self._on_painted),
            (layer.events.set_data, self._on_painted),
            (layer.events.data, self._on_painted),
            (layer.events.mode, self._on_tool),
            (layer.events.selected_label, self._on_tool),
            (layer.events.brush_size, self._on_brush),
        )
        for emitter, slot in pairs:
            (emitter.connect if connect else emitter.disconnect)(slot)

    def _on_painted(self, event: object = None) -> None:
        del event
        self._timer.start()

    def _on_tool(self, event: object = None) -> None:
        del event
        self.tool_changed.emit(self.tool)

    def _on_zoom(self, event: object = None) -> None:
        del event
        self._fit_brush()

    def _on_brush(self, event: object = None) -> None:
        """The size was changed in napari's own controls: ours follows."""
        del event
        pixels = round(self._layer.brush_size * self._screen_a_cell())
        if abs(pixels - self._brush_pixels) > self._screen_a_cell():
            self._brush_pixels = pixels
            self.brush_changed.emit(pixels)

    def _fit_brush(self) -> None:
        """Keep the brush the same width on the screen at any zoom."""
        if self._layer is not None:
            size = max(1, round(self._brush_pixels / self._screen_a_cell()))
            if size != self._layer.brush_size:
                self._layer.brush_size = size

    def _screen_a_cell(self) -> float:
        zoom = camera_of(self._viewer).zoom
        return max(zoom * world_a_pixel(self._layer), 1e-9)

    def _on_removed(self, event: object) -> None:
        """The user deleted the strokes: the session hears that there are none."""
        if self._layer is not None and event.value == self._layer:
            self._listen(self._layer, connect=False)
            self._layer = None
            self._timer.stop()
            self._sent = np.zeros(self._canvas.shape, np.uint8)
            self.changed.emit(self._sent.copy())
            self.tool_changed.emit(None)


def stroke_colours() -> DirectLabelColormap:
    """Orange foreground, blue background, nothing elsewhere."""
    colours = {
        None: "transparent",
        NONE_LABEL: "transparent",
        BACKGROUND_LABEL: BACKGROUND,
        FOREGROUND_LABEL: FOREGROUND,
    }
    return DirectLabelColormap(color_dict=colours)
