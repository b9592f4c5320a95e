"""The layer that strokes are painted on, and the tools.

One uint8 Labels layer an image, on the session's canvas: its size is bounded whatever
the size of the slide, so that a stroke is drawn in one frame. The session owns the
strokes. What is painted on the layer is told to it, and what it holds is shown here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from itertools import takewhile
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from qtpy.QtCore import QObject, Signal

from napari_wsol.gui.compat import end_drag, fill
from napari_wsol.gui.layers.brush import BrushSize
from napari_wsol.gui.layers.marks import MARK, STROKES, add_quietly, our_layers
from napari_wsol.gui.layers.pen import Painted, Pen
from napari_wsol.gui.layers.placement import move_onto, placed_on
from napari_wsol.gui.tasks import once
from napari_wsol.gui.widgets.colours import BACKGROUND, FOREGROUND
from napari_wsol.strokes.raster import Drawing
from napari_wsol.strokes.stroke import BACKGROUND as BACKGROUND_LABEL
from napari_wsol.strokes.stroke import FOREGROUND as FOREGROUND_LABEL
from napari_wsol.strokes.stroke import UNLABELLED as NONE_LABEL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import napari.viewer
    from napari.layers import Image
    from napari.utils.events import Event, EventEmitter

    from napari_wsol.gui.layers.pen import Box, Drag
    from napari_wsol.strokes.canvas import Canvas
    from napari_wsol.strokes.stroke import Stroke

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


def stroke_colours() -> DirectLabelColormap:
    """Orange foreground, blue background, nothing elsewhere."""
    colours = {
        None: "transparent",
        NONE_LABEL: "transparent",
        BACKGROUND_LABEL: BACKGROUND,
        FOREGROUND_LABEL: FOREGROUND,
    }
    return DirectLabelColormap(color_dict=colours)


ROWS_AT_ONCE = 256


def united(first: Box | None, second: Box | None) -> Box | None:
    """The smallest box around two."""
    if first is None or second is None:
        return second if first is None else first
    return (
        min(first[0], second[0]),
        min(first[1], second[1]),
        max(first[2], second[2]),
        max(first[3], second[3]),
    )


def differing(data: np.ndarray, shown: np.ndarray) -> Box | None:
    """The box around all cells that differ."""
    box = None
    for top in range(0, len(data), ROWS_AT_ONCE):
        # In bands that fit the processor's cache: most are equal.
        new, old = data[top : top + ROWS_AT_ONCE], shown[top : top + ROWS_AT_ONCE]
        if np.array_equal(new, old):
            continue
        different = new != old
        rows = np.flatnonzero(different.any(axis=1))
        columns = np.flatnonzero(different.any(axis=0))
        band = (
            top + int(rows[0]),
            int(columns[0]),
            top + int(rows[-1]) + 1,
            int(columns[-1]) + 1,
        )
        box = united(box, band)
    return box


def changed_box(before: Sequence[Stroke], after: Sequence[Stroke]) -> Box | None:
    """Where the canvases of two lists of strokes can differ: top, left, bottom, right.

    None where they do not differ.
    """
    pairs = zip(before, after, strict=False)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] is pair[1], pairs))
    boxes = (stroke.box for stroke in (*before[same:], *after[same:]))
    return reduce(united, boxes, None)


NAME, NAME_AWAY = "Strokes", "Strokes (on the image as it was)"
NAME_ELSEWHERE = "Strokes (on another plane)"

DEBOUNCE_MS = 120
"""A change without a drag gives many refreshes; the session hears of it once."""


@dataclass(slots=True)
class Sheet:
    """What strokes are painted on while an image is worked on.

    Attributes:
        image: the layer of the image.
        canvas: the session's.
        mark: what our layer is known by.
        shown: (h, w) uint8, the session's strokes as they were shown last.
        strokes: those that give it.
        touched: cells under a line that only shows the way.
        pen: with the layer, once a brush was taken or there are strokes.
    """

    image: Image
    canvas: Canvas
    mark: dict[str, str]
    shown: np.ndarray
    strokes: tuple[Stroke, ...] = ()
    touched: Box | None = None
    pen: Pen | None = None


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
        self._sheet: Sheet | None = None
        self._corners: Drag | None = None  # of an outline that was just closed
        self._quiet = False
        self._has_wand = False
        self.label = FOREGROUND_LABEL
        """The label in the hand: 1 background, 2 foreground."""
        self.brush = BrushSize(viewer, self)
        self._timer = once(self, DEBOUNCE_MS, self.flush)
        # Whether only the layer was deleted is known when all deleting is done.
        self._gone = once(self, 0, self._tell_removed)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.layers.selection.events.active.connect(self._on_active)

    @property
    def layer(self) -> Labels | None:
        """The layer, once a brush was taken or there are strokes."""
        return None if self._pen is None else self._pen.layer

    @property
    def fingerprint(self) -> str:
        """Of the image that is worked on."""
        return "" if self._sheet is None else self._sheet.mark["fingerprint"]

    @property
    def tool(self) -> str | None:
        """The tool in the hand: our layer is active and in the tool's mode."""
        layer = self.layer
        if layer is None or self._viewer.layers.selection.active != layer:
            return None
        mode = str(layer.mode)
        if mode == "pan_zoom":
            return "wand" if self._has_wand else None
        if mode == "paint":
            names = {label: name for name, label in BRUSHES.items()}
            return names.get(layer.selected_label)
        return {"erase": "erase", "polygon": "outline"}.get(mode)

    @property
    def _pen(self) -> Pen | None:
        return None if self._sheet is None else self._sheet.pen

    @property
    def _is_drawing(self) -> bool:
        return self._pen is not None and self._pen.is_down

    def close(self) -> None:
        """Stop listening; the strokes stay in the viewer."""
        self.release()
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._viewer.layers.selection.events.active.disconnect(self._on_active)
        self.brush.close()

    def place_on(self, image: Image, canvas: Canvas, fingerprint: str) -> None:
        """Work on an image; strokes that were painted on it before are found."""
        self.release()
        mark = {"role": STROKES, "fingerprint": fingerprint}
        sheet = Sheet(image, canvas, mark, np.zeros(canvas.shape, np.uint8))
        self._sheet = sheet
        for layer in our_layers(self._viewer, **mark):
            if isinstance(layer, Labels) and _cells(layer).shape == tuple(canvas.shape):
                if layer.name.startswith((NAME_AWAY, NAME_ELSEWHERE)):  # seen again
                    layer.name, layer.visible = NAME, True
                self._hold(layer, sheet)
                return

    def put_away(self, name: str = NAME_AWAY) -> None:
        """The layer shows other pixels now: what was drawn before lies on none of them.

        The strokes stay, hidden; they are in the journal of the image as it was.

        Args:
            name: that says where they belong.
        """
        layer = self.layer
        self.release()
        if layer is not None:
            layer.name, layer.visible = name, False

    def release(self) -> None:
        """Let go of the image; its strokes stay where they are."""
        self.flush()
        self._gone.stop()
        self._let_go()
        self._sheet = None

    def show(self, canvas: np.ndarray | None, strokes: Sequence[Stroke]) -> None:
        """Bring the layer up to date with the session's canvas.

        Args:
            canvas: (h, w) uint8, or None where nothing was drawn; kept, not copied.
            strokes: those that give it.
        """
        sheet = self._sheet
        if sheet is None or self._is_drawing:
            return  # at the end of the drag it is shown
        wanted = np.zeros(sheet.canvas.shape, np.uint8) if canvas is None else canvas
        if sheet.pen is None:
            if wanted.any():
                self._add(sheet, wanted)
        else:
            box = united(changed_box(sheet.strokes, strokes), sheet.touched)
            if box is not None:
                self._write(sheet.pen.layer, wanted, box)
        sheet.shown, sheet.strokes, sheet.touched = wanted, tuple(strokes), None

    def adopt(self, canvas: np.ndarray | None, strokes: Sequence[Stroke]) -> None:
        """Take the layer for what counts: where the canvas differs is told."""
        if self._sheet is not None:
            empty = np.zeros(self._sheet.canvas.shape, np.uint8)
            self._sheet.shown = empty if canvas is None else canvas
            self._sheet.strokes = tuple(strokes)
            self.flush()

    def restore(self) -> None:
        """Show the session's canvas again, whatever the layer shows."""
        sheet, layer = self._sheet, self.layer
        if sheet is None or layer is None:
            return
        sheet.touched = None
        self._timer.stop()
        if _cells(layer).shape == tuple(sheet.canvas.shape):
            self._write(layer, sheet.shown, (0, 0, *sheet.canvas.shape))
            return
        self._quiet = True
        fill(layer, sheet.shown.copy())
        self._quiet = False
        self._timer.stop()

    def choose(self, tool: str | None) -> None:
        """Take a tool, or put it away (None) to pan and zoom again."""
        layer = self.layer
        if tool is None:
            if layer is not None:
                self._has_wand = False
                layer.mode = "pan_zoom"
                layer.cursor = "standard"
                self._on_tool()
            return
        if layer is None and self._sheet is not None:
            layer = self._add(self._sheet, None)
        if layer is None:
            return
        layer.visible = True
        if self._viewer.layers.selection.active != layer:
            self._viewer.layers.selection.active = layer
        self.label = BRUSHES.get(tool, self.label)
        if tool != "erase":
            layer.selected_label = self.label
        self._has_wand = tool == "wand"
        layer.mode = MODES[tool]
        if self._has_wand:
            layer.cursor = "cross"
        self.brush.fit()
        self._on_tool()

    def _on_active(self) -> None:
        layer, active = self.layer, self._viewer.layers.selection.active
        if layer is not None and layer != active and self._is_drawing:
            end_drag(layer)
        self._on_tool()

    def flush(self) -> None:
        """Tell of what was painted now rather than in a moment."""
        self._timer.stop()
        sheet, layer = self._sheet, self.layer
        if sheet is None or layer is None:
            return
        if self._is_drawing or sheet.touched is not None:
            return
        data = _cells(layer)
        if data.shape != sheet.shown.shape:
            self.restore()
            return
        box = differing(data, sheet.shown)
        drag, self._corners = self._corners, None
        if box is None:
            return
        label, drawing = int(layer.selected_label), Drawing()
        if drag is not None and label <= FOREGROUND_LABEL:
            drawing = Drawing(label, "polygon", drag.path, seconds=drag.seconds)
        self._tell(layer, sheet, box, drawing)

    def _tell(self, layer: Labels, sheet: Sheet, box: Box, drawing: Drawing) -> None:
        """Tell what changed in a box, if something did."""
        top, left, bottom, right = box
        place = (slice(top, bottom), slice(left, right))
        after = np.array(_cells(layer)[place])
        part = after != sheet.shown[place]
        if not part.any():
            return
        if drawing.tool == "edit":
            label = int(np.bincount(after[part], minlength=3).argmax())
            drawing = Drawing(label)
        self.painted.emit(Painted(part, (top, left), after, drawing, self.fingerprint))

    def _write(self, layer: Labels, canvas: np.ndarray, box: Box) -> None:
        """Put a part of a canvas onto the layer, if it is not there yet."""
        top, left, bottom, right = box
        place = (slice(top, bottom), slice(left, right))
        data = _cells(layer)
        if not np.array_equal(data[place], canvas[place]):
            data[place] = canvas[place]
            self._refresh(layer)

    def _refresh(self, layer: Labels, *, thumbnail: bool = True) -> None:
        self._quiet = True
        try:
            layer.refresh(thumbnail=thumbnail, highlight=False, extent=False)
        finally:
            self._quiet = False

    def _add(self, sheet: Sheet, canvas: np.ndarray | None) -> Labels:
        """A new layer: chosen when it is for painting, else the choice stays."""
        grid = sheet.canvas
        data = np.zeros(grid.shape, np.uint8) if canvas is None else canvas.copy()
        layer = Labels(
            data,
            name=NAME,
            opacity=0.85,
            colormap=stroke_colours(),
            metadata={MARK: dict(sheet.mark)},
            **placed_on(sheet.image, grid.scale, grid.translate),
        )
        if canvas is None:
            self._viewer.add_layer(layer)
        else:
            add_quietly(self._viewer, [layer])
        self._hold(layer, sheet)
        return layer

    def _hold(self, layer: Labels, sheet: Sheet) -> None:
        move_onto(layer, sheet.image, sheet.canvas.scale, sheet.canvas.translate)
        if layer.selected_label not in BRUSHES.values():
            layer.selected_label = self.label
        self.label = layer.selected_label
        for emitter, slot in self._listened(layer):
            emitter.connect(slot)
        self.brush.hold(layer)
        pen = sheet.pen = Pen(layer, sheet.image, sheet.canvas, self.brush)
        pen.painted.connect(self._on_drag_end)
        pen.lined.connect(self._on_line)
        pen.outlined.connect(self._on_outline)
        pen.pointed.connect(self.pointed)
        pen.turned.connect(self._on_wheel)

    def _let_go(self) -> None:
        """Follow the layer no longer."""
        if self._sheet is not None and self._sheet.pen is not None:
            pen, self._sheet.pen = self._sheet.pen, None
            for emitter, slot in self._listened(pen.layer):
                emitter.disconnect(slot)
            self.brush.hold(None)
            pen.close()

    def _listened(
        self, layer: Labels
    ) -> tuple[tuple[EventEmitter, Callable[..., None]], ...]:
        # Undo emits no paint event, only set_data; both are heard.
        return (
            (layer.events.paint, self._on_painted),
            (layer.events.set_data, self._on_changed),
            (layer.events.data, self._on_changed),
            (layer.events.mode, self._on_mode),
            (layer.events.selected_label, self._on_tool),
        )

    # ---------------------------------------------------------------------- the pen

    def _on_drag_end(self, drag: Drag) -> None:
        """A brush was lifted."""
        layer, sheet = self.layer, self._sheet
        if layer is None or sheet is None:
            return  # it was deleted meanwhile
        label = NONE_LABEL if drag.erases else int(layer.selected_label)
        tool = "erase" if label == NONE_LABEL else "brush"
        drawing = Drawing(label, tool, drag.path, drag.width, drag.seconds)
        if label <= FOREGROUND_LABEL:
            self._tell(layer, sheet, drag.box, drawing)
        self.lifted.emit()
        self._timer.start()  # whatever else was painted is found

    def _on_line(self, part: np.ndarray, origin: tuple[int, int]) -> None:
        """The way of a free outline is shown while it is drawn."""
        layer, sheet = self.layer, self._sheet
        if layer is None or sheet is None:
            return
        data, (top, left) = _cells(layer), origin
        box = (top, left, top + part.shape[0], left + part.shape[1])
        sheet.touched = united(sheet.touched, box)
        data[top : box[2], left : box[3]][part] = self.label
        self._refresh(layer, thumbnail=False)

    def _on_outline(self, drag: Drag) -> None:
        self.outlined.emit(drag)
        if self._sheet is not None and self._sheet.touched is not None:
            self.restore()  # nobody has shown what became of it

    def _on_wheel(self, steps: int) -> None:
        if self.tool == "wand":
            self.reach_wanted.emit(steps)

    # ------------------------------------------------------------------ napari's events

    def _on_painted(self) -> None:
        """What comes into napari's history; of an outline the corners are kept."""
        pen = self._pen
        if pen is None or self._quiet or pen.is_down:
            return
        if str(pen.layer.mode) == "polygon":
            # They are gone in a moment; the cells are not painted yet.
            self._corners = pen.corners()
        self._timer.start()

    def _on_changed(self) -> None:
        if not self._quiet:
            self._timer.start()

    def _on_mode(self) -> None:
        if self._pen is not None:
            self._pen.stay_last()
            if str(self._pen.layer.mode) != "pan_zoom":
                self._has_wand = False
        self._on_tool()

    def _on_tool(self) -> None:
        tool, pen = self.tool, self._pen
        if pen is not None:
            if pen.layer.selected_label in BRUSHES.values():
                self.label = int(pen.layer.selected_label)
            pen.points = tool == "wand"
        self.tool_changed.emit(tool)

    def _on_removed(self, event: Event) -> None:
        if self.layer is not None and event.value == self.layer:
            self.flush()
            self._let_go()
            self._gone.start()
            self.tool_changed.emit(None)

    def _tell_removed(self) -> None:
        # Where the image went as well, or all layers, the strokes were not meant.
        if self._sheet is not None and self._sheet.image in self._viewer.layers:
            self.removed.emit()


def _cells(layer: Labels) -> np.ndarray:
    """What is painted on a layer, itself."""
    return np.asarray(layer.data)
