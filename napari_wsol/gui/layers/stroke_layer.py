"""The layer that strokes are painted on, and the tools.

One uint8 Labels layer an image, on the session's canvas: its size is bounded whatever
the size of the slide, so that a stroke is drawn in one frame. The session owns the
strokes. What is painted on the layer is told to it, and what it holds is shown here.
"""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QObject, QTimer, Signal

from napari_wsol.gui.layers.boxes import changed_box, differing, united
from napari_wsol.gui.layers.brush import BrushSize
from napari_wsol.gui.layers.marks import STROKES, add_quietly, our_layers
from napari_wsol.gui.layers.pen import Painted, Pen
from napari_wsol.gui.layers.placement import move_onto
from napari_wsol.gui.layers.stroke_look import (
    BRUSHES,
    FOREGROUND_LABEL,
    MODES,
    NONE_LABEL,
    new_layer,
)
from napari_wsol.strokes.raster import Drawing

if TYPE_CHECKING:
    from collections.abc import Sequence

    import napari.viewer
    from napari.layers import Image

    from napari_wsol.gui.layers.boxes import Box
    from napari_wsol.gui.layers.pen import Drag
    from napari_wsol.strokes.canvas import Canvas
    from napari_wsol.strokes.stroke import Stroke

DEBOUNCE_MS = 120
"""A change without a drag gives many refreshes; the session hears of it once."""


class StrokeLayer(QObject):
    """Shows the strokes of the current image and tells what is painted on them."""

    painted = Signal(object)
    """A :class:`Painted`: at the end of a drag, and soon after any other change."""

    lifted = Signal()
    """A drag has ended: what the session did meanwhile can be shown."""

    outlined = Signal(object)
    """A :class:`Drag` whose path is to be filled with the label in the hand."""

    pointed = Signal(float, float)
    """Level-0 pixel (y, x) of a click with the wand."""

    reach_wanted = Signal(int)
    """Steps by which the wand is to reach farther."""

    removed = Signal()
    """The person deleted the layer and kept the image."""

    tool_changed = Signal(object)
    """Name of the tool in the hand, or None."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._layer: Labels | None = None
        self._image: Image | None = None
        self._canvas: Canvas | None = None
        self._mark: dict = {}
        self._shown: np.ndarray | None = None
        self._strokes: tuple[Stroke, ...] = ()
        self._touched: Box | None = None  # by a line that only shows the way
        self._corners: Drag | None = None  # of an outline that was just closed
        self._quiet = False
        self._has_wand = False
        self._label = FOREGROUND_LABEL
        self.brush = BrushSize(viewer, self)
        self.pen = Pen(self.brush, self)
        self.pen.painted.connect(self._on_drag_end)
        self.pen.lined.connect(self._on_line)
        self.pen.outlined.connect(self._on_outline)
        self.pen.pointed.connect(self.pointed)
        self.pen.turned.connect(self._on_wheel)
        self._timer = QTimer(self, singleShot=True, interval=DEBOUNCE_MS)
        self._timer.timeout.connect(self.flush)
        # Whether only the layer was deleted is known when all deleting is done.
        self._gone = QTimer(self, singleShot=True, interval=0)
        self._gone.timeout.connect(self._tell_removed)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.layers.selection.events.active.connect(self._on_tool)

    @property
    def layer(self) -> Labels | None:
        """The layer, once a brush was taken or there are strokes."""
        return self._layer

    @property
    def fingerprint(self) -> str:
        """Of the image that is worked on."""
        return str(self._mark.get("fingerprint", ""))

    @property
    def label(self) -> int:
        """The label in the hand: 1 background, 2 foreground."""
        return self._label

    @property
    def tool(self) -> str | None:
        """The tool in the hand: our layer is active and in the tool's mode."""
        layer = self._layer
        if layer is None or self._viewer.layers.selection.active != layer:
            return None
        mode = str(layer.mode)
        if mode == "pan_zoom":
            return "wand" if self._has_wand else None
        if mode == "paint":
            names = {label: name for name, label in BRUSHES.items()}
            return names.get(layer.selected_label)
        return {"erase": "erase", "polygon": "outline"}.get(mode)

    def close(self) -> None:
        """Stop listening; the strokes stay in the viewer."""
        self.release()
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._viewer.layers.selection.events.active.disconnect(self._on_tool)
        self.brush.close()

    def place_on(self, image: Image, canvas: Canvas, fingerprint: str) -> bool:
        """Work on an image.

        Returns:
            Whether strokes that were painted on it before are in the viewer.
        """
        self.release()
        self._image, self._canvas = image, canvas
        self._mark = {"role": STROKES, "fingerprint": fingerprint}
        self._shown = np.zeros(canvas.shape, np.uint8)
        for layer in our_layers(self._viewer, **self._mark):
            if isinstance(layer, Labels) and layer.data.shape == tuple(canvas.shape):
                self._hold(layer)
                return bool(np.asarray(layer.data).any())
        return False

    def release(self) -> None:
        """Let go of the image; its strokes stay where they are."""
        self.flush()
        self._gone.stop()
        if self._layer is not None:
            self._listen(self._layer, connect=False)
        self._layer = self._image = self._canvas = self._shown = None
        self._strokes, self._touched, self._mark = (), None, {}

    def show(self, canvas: np.ndarray | None, strokes: Sequence[Stroke]) -> None:
        """Bring the layer up to date with the session's canvas.

        Args:
            canvas: (h, w) uint8, or None where nothing was drawn; kept, not copied.
            strokes: those that give it.
        """
        if self._canvas is None or self.pen.is_down:
            return  # at the end of the drag it is shown
        wanted = np.zeros(self._canvas.shape, np.uint8) if canvas is None else canvas
        if self._layer is None:
            if wanted.any():
                self._add(wanted)
        else:
            box = united(changed_box(self._strokes, strokes), self._touched)
            if box is not None:
                self._write(wanted, box)
        self._shown, self._strokes, self._touched = wanted, tuple(strokes), None

    def adopt(self, canvas: np.ndarray | None, strokes: Sequence[Stroke]) -> None:
        """Take the layer for what counts: where the canvas differs is told."""
        if self._canvas is not None:
            empty = np.zeros(self._canvas.shape, np.uint8)
            self._shown = empty if canvas is None else canvas
            self._strokes = tuple(strokes)
            self.flush()

    def restore(self) -> None:
        """Show the session's canvas again, whatever the layer shows."""
        layer, canvas, self._touched = self._layer, self._canvas, None
        if layer is None or self._shown is None:
            return
        self._timer.stop()
        if np.asarray(layer.data).shape == tuple(canvas.shape):
            self._write(self._shown, (0, 0, *canvas.shape))
            return
        self._quiet = True
        layer.data = self._shown.copy()
        self._quiet = False
        self._timer.stop()

    def choose(self, tool: str | None) -> None:
        """Take a tool, or put it away (None) to pan and zoom again."""
        if tool is None:
            if self._layer is not None:
                self._has_wand = False
                self._layer.mode = "pan_zoom"
                self._layer.cursor = "standard"
                self._on_tool()
            return
        layer = self._layer or self._add(None)
        if layer is None:
            return
        layer.visible = True
        if self._viewer.layers.selection.active != layer:
            self._viewer.layers.selection.active = layer
        self._label = BRUSHES.get(tool, self._label)
        if tool != "erase":
            layer.selected_label = self._label
        self._has_wand = tool == "wand"
        layer.mode = MODES[tool]
        if self._has_wand:
            layer.cursor = "cross"
        self.brush.fit()
        self._on_tool()

    def move(self) -> None:
        """Lie on the image again after its transform was changed."""
        if self._layer is not None and self._image is not None:
            canvas = self._canvas
            move_onto(self._layer, self._image, canvas.scale, canvas.translate)

    def flush(self) -> None:
        """Tell of what was painted now rather than in a moment."""
        self._timer.stop()
        is_drawing = self.pen.is_down or self._touched is not None
        if self._layer is None or self._shown is None or is_drawing:
            return
        data = np.asarray(self._layer.data)
        if data.shape != self._shown.shape:
            self.restore()
            return
        box = differing(data, self._shown)
        drag, self._corners = self._corners, None
        if box is None:
            return
        label, drawing = int(self._layer.selected_label), Drawing()
        if drag is not None and label <= FOREGROUND_LABEL:
            drawing = Drawing(label, "polygon", drag.path, seconds=drag.seconds)
        self._tell(box, drawing)

    def _tell(self, box: Box, drawing: Drawing) -> bool:
        """Tell what changed in a box; whether something did."""
        top, left, bottom, right = box
        place = (slice(top, bottom), slice(left, right))
        after = np.array(np.asarray(self._layer.data)[place])
        part = after != self._shown[place]
        if not part.any():
            return False
        if drawing.tool == "edit":
            label = int(np.bincount(after[part], minlength=3).argmax())
            drawing = Drawing(label)
        self.painted.emit(Painted(part, (top, left), after, drawing, self.fingerprint))
        return True

    def _write(self, canvas: np.ndarray, box: Box) -> None:
        """Put a part of a canvas onto the layer, if it is not there yet."""
        top, left, bottom, right = box
        place = (slice(top, bottom), slice(left, right))
        data = np.asarray(self._layer.data)
        if np.array_equal(data[place], canvas[place]):
            return
        data[place] = canvas[place]
        self._refresh()

    def _refresh(self, *, thumbnail: bool = True) -> None:
        self._quiet = True
        try:
            self._layer.refresh(thumbnail=thumbnail, highlight=False, extent=False)
        finally:
            self._quiet = False

    def _add(self, canvas: np.ndarray | None) -> Labels | None:
        """A new layer: chosen when it is for painting, else the choice stays."""
        if self._image is None or self._canvas is None:
            return None
        grid = self._canvas
        data = np.zeros(grid.shape, np.uint8) if canvas is None else canvas.copy()
        layer = new_layer(data, self._image, grid, self._mark)
        if canvas is None:
            self._viewer.add_layer(layer)
        else:
            add_quietly(self._viewer, [layer])
        self._hold(layer)
        return layer

    def _hold(self, layer: Labels) -> None:
        self._layer = layer
        self.move()
        if layer.selected_label not in BRUSHES.values():
            layer.selected_label = self._label
        self._label = layer.selected_label
        self._listen(layer, connect=True)

    def _listen(self, layer: Labels, *, connect: bool) -> None:
        # Undo emits no paint event, only set_data; both are heard.
        pairs = (
            (layer.events.paint, self._on_painted),
            (layer.events.set_data, self._on_changed),
            (layer.events.data, self._on_changed),
            (layer.events.mode, self._on_mode),
            (layer.events.selected_label, self._on_tool),
        )
        for emitter, slot in pairs:
            (emitter.connect if connect else emitter.disconnect)(slot)
        if connect:
            self.brush.hold(layer)
            self.pen.hold(layer, self._image, self._canvas)
        else:
            self.brush.hold(None)
            self.pen.let_go()

    # ---------------------------------------------------------------------- the pen

    def _on_drag_end(self, drag: Drag) -> None:
        """A brush was lifted."""
        label = NONE_LABEL if drag.erases else int(self._layer.selected_label)
        tool = "erase" if label == NONE_LABEL else "brush"
        drawing = Drawing(label, tool, drag.path, drag.width, drag.seconds)
        if label <= FOREGROUND_LABEL:
            self._tell(drag.box, drawing)
        self.lifted.emit()
        self._timer.start()  # whatever else was painted is found

    def _on_line(self, part: np.ndarray, origin: tuple[int, int]) -> None:
        """The way of a free outline is shown while it is drawn."""
        data, (top, left) = np.asarray(self._layer.data), origin
        box = (top, left, top + part.shape[0], left + part.shape[1])
        self._touched = united(self._touched, box)
        data[top : box[2], left : box[3]][part] = self._label
        self._refresh(thumbnail=False)

    def _on_outline(self, drag: Drag) -> None:
        self.outlined.emit(drag)
        if self._touched is not None:  # nobody has shown what became of it
            self.restore()

    def _on_wheel(self, steps: int) -> None:
        if self.tool == "wand":
            self.reach_wanted.emit(steps)

    # ------------------------------------------------------------------ napari's events

    def _on_painted(self, event: object = None) -> None:
        """What comes into napari's history; of an outline the corners are kept."""
        del event
        if self._quiet or self.pen.is_down:
            return
        if str(self._layer.mode) == "polygon":
            # They are gone in a moment; the cells are not painted yet.
            self._corners = self.pen.corners()
        self._timer.start()

    def _on_changed(self, event: object = None) -> None:
        del event
        if not self._quiet:
            self._timer.start()

    def _on_mode(self, event: object = None) -> None:
        del event
        self.pen.stay_last()
        if str(self._layer.mode) != "pan_zoom":
            self._has_wand = False
        self._on_tool()

    def _on_tool(self, event: object = None) -> None:
        del event
        layer = self._layer
        if layer is not None and layer.selected_label in BRUSHES.values():
            self._label = int(layer.selected_label)
        tool = self.tool
        self.pen.points = tool == "wand"
        self.tool_changed.emit(tool)

    def _on_removed(self, event: object) -> None:
        if self._layer is not None and event.value == self._layer:
            self.flush()
            self._listen(self._layer, connect=False)
            self._layer = None
            self._gone.start()
            self.tool_changed.emit(None)

    def _tell_removed(self) -> None:
        # Where the image went as well, or all layers, the strokes were not meant.
        if self._image is not None and self._image in self._viewer.layers:
            self.removed.emit()
