"""The pen: what the mouse does on the layer of strokes, as paths on the image.

napari's own brush paints; beside it the path is written down. The pen's callback stays
the last of the layer's, so that at the end of a drag napari has finished painting.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_wsol.gui.compat import polygon_of
from napari_wsol.gui.layers.placement import to_pixels
from napari_wsol.strokes.raster import brushed

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from napari.layers import Image, Labels
    from napari.utils.events import Event

    from napari_wsol.gui.layers.brush import BrushSize
    from napari_wsol.strokes.canvas import Canvas
    from napari_wsol.strokes.raster import Drawing

Box = tuple[int, int, int, int]
"""Top, left, bottom, right in canvas cells; the latter two exclusive."""

STEP_PIXELS = 1.5
"""Points of a free outline closer than this on the screen say nothing new."""

CLICK_PIXELS = 5
"""A press that moves less far on the screen is a click."""


@dataclass(frozen=True, slots=True)
class Drag:
    """A drag, or an outline by corners.

    Attributes:
        path: points (y, x) in level-0 pixels.
        box: cells of the canvas that it can have touched.
        width: of the brush in level-0 pixels.
        seconds: from the press to the release.
        erases: whether with the eraser.
    """

    path: tuple[tuple[float, float], ...]
    box: Box
    width: float = 0.0
    seconds: float = 0.0
    erases: bool = False


@dataclass(frozen=True, slots=True)
class Painted:
    """What was changed on the layer.

    Attributes:
        part: (h, w) bool, the cells that changed.
        origin: canvas row and column of the first.
        labels: (h, w) uint8, what they became.
        drawing: what they were made with.
        image: fingerprint of the image.
    """

    part: np.ndarray
    origin: tuple[int, int]
    labels: np.ndarray
    drawing: Drawing
    image: str


class Pen(QObject):
    """Follows the mouse on one layer, from when it is made until it is closed.

    Args:
        layer: what is painted on.
        image: what it lies on.
        canvas: the cells of the layer.
        brush: whose width is that of lines.
    """

    painted = Signal(object)
    """A :class:`Drag` with brush or eraser has ended."""

    lined = Signal(object, object)
    """A piece of a free outline: (h, w) bool cells, and the place of the first."""

    outlined = Signal(object)
    """A :class:`Drag` around an area has ended."""

    pointed = Signal(float, float)
    """A click that does not paint, in level-0 pixels (y, x)."""

    turned = Signal(int)
    """Steps of the mouse wheel with Shift held."""

    def __init__(
        self, layer: Labels, image: Image, canvas: Canvas, brush: BrushSize
    ) -> None:
        super().__init__()
        self.layer = layer
        self._width = brush
        self._image, self._canvas = image, canvas
        self._started = 0.0
        self.is_down = False
        """Whether something is being drawn right now."""
        self.points = False
        """Whether a click in pan and zoom mode means something."""
        layer.mouse_drag_callbacks.append(self._on_press)
        layer.mouse_wheel_callbacks.append(self._on_wheel)

    def close(self) -> None:
        """Follow the mouse no longer."""
        for callbacks, own in (
            (self.layer.mouse_drag_callbacks, self._on_press),
            (self.layer.mouse_wheel_callbacks, self._on_wheel),
        ):
            if own in callbacks:
                callbacks.remove(own)

    def stay_last(self) -> None:
        """Go behind a callback that napari has put at the end."""
        callbacks = self.layer.mouse_drag_callbacks
        if self._on_press in callbacks:
            callbacks.remove(self._on_press)
            callbacks.append(self._on_press)

    def corners(self) -> Drag | None:
        """The outline that was just closed corner by corner."""
        overlay = polygon_of(self.layer)
        points = np.asarray(overlay.points if overlay is not None else [], float)
        if len(points) < 3:
            return None
        # napari's corners lie half a cell further than the centres of cells.
        cells = points[:, -2:] - 0.5
        path = cells * self._canvas.scale + self._canvas.translate
        seconds = time.perf_counter() - self._started
        return Drag(_tuples(path), self._box(path, 2.0), seconds=seconds)

    def _on_press(self, layer: Labels, event: Event) -> Iterator[None]:
        if event.button != 1:
            return
        mode = str(layer.mode)
        if mode in {"paint", "erase"}:
            yield from self._brush(layer, event, erases=mode == "erase")
        elif mode == "polygon":
            yield from self._outline(layer, event)
        elif mode == "pan_zoom" and self.points:
            yield from self._click(event)

    def _brush(self, layer: Labels, event: Event, *, erases: bool) -> Iterator[None]:
        started, path = time.perf_counter(), [self._pixel(event)]
        self.is_down = True
        try:
            with _quiet_thumbnail(layer):
                yield
                while event.type == "mouse_move":
                    path.append(self._pixel(event))
                    yield
        finally:
            self.is_down = False
        size = float(layer.brush_size)
        self.painted.emit(
            Drag(
                tuple(path),
                self._box(np.array(path), size / 2 * _stretch(layer) + 2),
                width=size * float(np.mean(self._canvas.scale)),
                seconds=time.perf_counter() - started,
                erases=erases,
            )
        )

    def _outline(self, layer: Labels, event: Event) -> Iterator[None]:
        """A drag draws freely; a click is a corner, and napari's affair."""
        overlay, begun = polygon_of(layer), np.array(event.pos, float)
        if overlay is None or len(overlay.points) <= 2:
            self._started = time.perf_counter()
        if overlay is not None and len(overlay.points) > 2:
            return  # corners have been set before
        started, path, last = time.perf_counter(), [self._pixel(event)], begun
        try:
            yield
            while event.type == "mouse_move":
                here = np.array(event.pos, float)
                if not self.is_down and np.hypot(*(here - begun)) > CLICK_PIXELS:
                    self.is_down = True
                    if overlay is not None:
                        overlay.points = []
                if self.is_down and np.hypot(*(here - last)) > STEP_PIXELS:
                    path.append(self._pixel(event))
                    last = here
                    width = self._width.line_cells * float(np.mean(self._canvas.scale))
                    part, origin = brushed(path[-2:], width, self._canvas)
                    if part.any():
                        self.lined.emit(part, origin)
                yield
        finally:
            drawn, self.is_down = self.is_down, False
        if drawn:
            seconds = time.perf_counter() - started
            box = self._box(np.array(path), 2.0)
            self.outlined.emit(Drag(tuple(path), box, seconds=seconds))

    def _click(self, event: Event) -> Iterator[None]:
        begun, moved, place = np.array(event.pos, float), 0.0, self._pixel(event)
        yield
        while event.type == "mouse_move":
            moved = max(moved, float(np.hypot(*(np.array(event.pos) - begun))))
            yield
        if moved <= CLICK_PIXELS:
            self.pointed.emit(*place)

    def _on_wheel(self, layer: Labels, event: Event) -> None:
        del layer
        if "Shift" in event.modifiers:
            # Some systems turn a wheel with Shift into a sideways one.
            steps = max(event.delta, key=abs)
            self.turned.emit(1 if steps > 0 else -1)

    def _pixel(self, event: Event) -> tuple[float, float]:
        return to_pixels(self._image, event.position)

    def _box(self, path: np.ndarray, margin: float) -> Box:
        """Cells around a path, cut to the canvas."""
        cells = (path - self._canvas.translate) / self._canvas.scale
        low = np.floor(cells.min(0) - margin).astype(int)
        high = np.ceil(cells.max(0) + margin).astype(int) + 1
        rows, columns = self._canvas.shape
        top, left = int(np.clip(low[0], 0, rows)), int(np.clip(low[1], 0, columns))
        bottom = int(np.clip(high[0], top, rows))
        return top, left, bottom, int(np.clip(high[1], left, columns))


@contextmanager
def _quiet_thumbnail(layer: Labels) -> Generator[None]:
    """The thumbnail is shown anew once a stroke, not at each of its points.

    For every one napari draws the whole list of layers again.
    """
    with layer.events.thumbnail.blocker():
        yield
    layer.events.thumbnail()


def _stretch(layer: Labels) -> float:
    """How many cells more a brush of napari covers where they are thin."""
    steps = np.abs(np.asarray(layer.scale[-2:], float))
    return float(steps.max() / max(steps.min(), 1e-12))


def _tuples(path: np.ndarray) -> tuple[tuple[float, float], ...]:
    return tuple((float(y), float(x)) for y, x in path)
