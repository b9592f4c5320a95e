"""The cells of methods side by side: one picture of the image, and the maps over it.

napari's grid keeps a copy of the image for every cell, and arranges all layers anew
whenever one of them changes: with twelve methods that took it many seconds. Here the
pixels are read once for all cells, and drawn by Qt with the map of each over them.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from qtpy.QtCore import QEvent, QLineF, QPointF, QRect, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QImage, QPainter, QPen, QTransform
from qtpy.QtWidgets import QWidget
from typing_extensions import override

from napari_wsol.gui.compat import camera_of, cell_size, centre_on
from napari_wsol.gui.layers.contours import LINE_PIXELS
from napari_wsol.gui.layers.marks import levels_of
from napari_wsol.gui.layers.placement import TRANSFORMS, seen_pixels, to_world
from napari_wsol.gui.tasks import once
from napari_wsol.gui.widgets.colours import readable_on, theme_colour

if TYPE_CHECKING:
    from collections.abc import Sequence

    import napari.viewer
    import numpy.typing as npt
    from napari.layers import Image
    from qtpy.QtCore import QObject

    from napari_wsol.gui.tasks import Tasks
    from napari_wsol.images.heatmap import Heatmap

Box = tuple[float, float, float, float]
"""Top, left, bottom, right in level-0 pixels, where pixel 0 covers [0, 1]."""

GAP = 4
"""Between cells, in pixels of the screen."""

WHOLE = 0.95
"""Of the image, at least, that is seen where it counts as seen whole."""

MARGIN = 0.96
"""Of a cell, that the image fills where all of it is seen."""

FRAME_SECONDS = 0.03
"""Of drawing, after which the window may go on; the rest follows."""

OVERSAMPLED = 2
"""Pixels of the image a pixel of the screen, at least, where it is made smaller."""

PIN = 18
"""Pixels of the screen along the number of a pin."""

STEP = 1.1
"""Zoom a notch of the wheel, as of napari."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What is drawn over the image in one cell.

    Attributes:
        heatmap: the map.
        cut: value of its contour.
        colours: (256, 4) float RGBA of values from 0 to 1.
        opacity: of the map.
        line: colour of the contour; None for no contour.
        is_added: whether light is added, as over dark images.
        caption: stands in the corner, line by line.
        group: cells of one stand together, in rows of their own.
    """

    heatmap: Heatmap
    cut: float
    colours: npt.NDArray[np.floating]
    opacity: float
    line: str | None
    is_added: bool
    caption: str
    group: str = ""


class Part(NamedTuple):
    """Pixels of the image, and where they lie on it."""

    pixels: npt.NDArray[np.uint8]
    box: Box


class Wall(QWidget):
    """Cells over napari's canvas, which show what its camera looks at.

    Args:
        viewer: whose camera all cells share.
        canvas: what is covered.
        image: the layer of the image.
        tasks: which read its pixels.
    """

    pointed = Signal(float, float)
    """Level-0 pixel (y, x) under the mouse."""

    reordered = Signal(object)
    """Keys of the maps: a caption was dragged onto another cell."""

    def __init__(
        self, viewer: napari.viewer.Viewer, canvas: QWidget, image: Image, tasks: Tasks
    ) -> None:
        super().__init__(canvas.parentWidget())
        self._viewer, self._canvas, self._image = viewer, canvas, image
        self._tasks = tasks
        self._cells: list[Cell] = []
        self._dirty: list[int] = []
        self._part: Part | None = None
        self._backdrop: QImage | None = None  # the image as every cell shows it
        self._marks: QImage | None = None  # what lies over the map in every cell
        self._sheet = QImage()
        self._factor = 1.0
        self._columns = self._rows = 1
        self._places: list[tuple[int, int]] = []  # row and column of each cell
        self._crops: dict[str, tuple[Heatmap, object, npt.NDArray[np.float32]]] = {}
        self._pins: Sequence[tuple[float, float]] = ()
        self._dashes: Sequence[list[QLineF]] = ()
        self._held = -1  # the cell whose caption is dragged
        self._side = 0.0
        """The shorter side of a cell."""
        self._whole: object = None
        """Centre and zoom of the camera at which all of the image is seen."""
        self._grip: QPointF | None = None
        self.cross: tuple[float, float] | None = None
        """World position of the mouse, or of what is flown to: marked in every cell."""
        self._next = once(self, 0, self._draw_next)
        self._reading = once(self, 30, self._read)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # keys are the canvas's
        self.setMouseTracking(True)
        self.setCursor(Qt.CursorShape.CrossCursor)
        self.setGeometry(canvas.geometry())
        self._listen(connect=True)
        canvas.installEventFilter(self)
        canvas.setUpdatesEnabled(False)  # nobody sees what it would draw

    def close_wall(self) -> None:
        """Uncover the canvas, and go."""
        self._listen(connect=False)
        self._next.stop()
        self._reading.stop()
        self._canvas.removeEventFilter(self)
        self._canvas.setUpdatesEnabled(True)
        self.hide()
        self.deleteLater()

    @property
    def is_settled(self) -> bool:
        """Whether all cells show what they shall."""
        busy = bool(self._dirty) or self._reading.isActive()
        return not busy and self._part is not None

    @property
    def captions(self) -> list[str]:
        """What stands in the cells, in their order."""
        return [cell.caption for cell in self._cells]

    def show_cells(self, cells: Sequence[Cell]) -> None:
        """Show these cells; those that stay as they are are not drawn again."""
        counts, before = self._counts(), self._cells
        self._cells = list(cells)
        if counts != self._counts():
            self._arrange()
            if self.isVisible():  # no cell is empty meanwhile
                self._draw_next(math.inf)
            return
        both = enumerate(zip(self._cells, before, strict=True))
        changed = [k for k, (new, old) in both if not _same(new, old)]
        self._dirty += [k for k in changed if k not in self._dirty]
        self._next.start()

    def fit(self) -> None:
        """Show what the canvas shows; all of the image as large as a cell allows."""
        seen, view = seen_pixels(self._viewer, self._image), cell_size(self._viewer)
        edges = np.zeros(4) if seen is None else np.array(seen) + 0.5
        sides = np.diff(np.clip(edges.reshape(2, 2), 0, self._shape), axis=0)
        if seen is None or view is None or sides.prod() >= WHOLE * np.prod(self._shape):
            self._show_all()
            return
        size = self._size()
        self._factor = min(size[0] / view[0], size[1] / view[1])
        self._move()

    def _show_all(self) -> None:
        """All of the image, as large as a cell allows."""
        extent, camera = self._image.extent, camera_of(self._viewer)
        low, high = extent.world[:, -2:]  # of the centres of pixels
        sizes = np.array(self._size()) / (high - low + extent.step[-2:])
        centre_on(self._viewer, (low + high) / 2)
        self._factor = MARGIN * float(sizes.min()) / camera.zoom
        self._whole = (tuple(camera.center), camera.zoom)
        self._move()

    def show_marks(
        self,
        pins: Sequence[tuple[float, float]],
        dashes: Sequence[npt.NDArray[np.float32]],
    ) -> None:
        """Lay marks over the maps of all cells.

        Args:
            pins: level-0 pixels (y, x), numbered from 1.
            dashes: white and black ones: (N, 2, 2) starts and steps in level-0 pixels.
        """
        self._pins, self._marks = pins, None
        ends = (np.cumsum(lines, axis=1)[..., ::-1] + 0.5 for lines in dashes)
        self._dashes = [
            [QLineF(*start, *end) for start, end in lines.tolist()] for lines in ends
        ]
        self._dirty = list(range(len(self._cells)))
        self._next.start()

    def cell_at(self, place: QPointF) -> int:
        """The cell under a point of the wall; -1 between them."""
        rects = enumerate(map(self.rect_of, range(len(self._cells))))
        return next((k for k, rect in rects if rect.contains(place.toPoint())), -1)

    def rect_of(self, index: int) -> QRect:
        """Where a cell lies on the wall."""
        row, column = self._places[index]
        height, width = self._size()
        return QRect(
            round(column * (width + GAP)),
            round(row * (height + GAP)),
            int(width),
            int(height),
        )

    # ------------------------------------------------------------------------- layout

    @property
    def _shape(self) -> tuple[int, int]:
        height, width = self._image.level_shapes[0][:2]
        return int(height), int(width)

    def _counts(self) -> list[int]:
        """How many cells each group has."""
        return list(Counter(cell.group for cell in self._cells).values())

    def _arrange(self) -> None:
        """Rows and columns in which the image is seen largest."""
        height, width = self._shape
        groups = self._counts()

        def size(columns: int) -> float:
            rows = sum(-(-count // columns) for count in groups)
            self._columns, self._rows = columns, max(1, rows)
            return min(np.array(self._size()) / (height, width))

        size(max(range(1, max(groups, default=1) + 1), key=size))
        self._places, above = [], 0
        for count in groups:
            at = (divmod(k, self._columns) for k in range(count))
            self._places += [(above + row, column) for row, column in at]
            above = self._places[-1][0] + 1
        before, self._side = self._side, min(self._size())
        kind = QImage.Format.Format_RGB32
        self._sheet = self._blank(self.size(), kind, self._paper)
        camera = camera_of(self._viewer)
        if self._whole == (tuple(camera.center), camera.zoom):
            self._show_all()
        elif before:
            self._factor *= self._side / before
        self._move()

    def _size(self) -> tuple[float, float]:
        """Height and width of a cell."""
        return (
            max(8.0, (self.height() - GAP * (self._rows - 1)) / self._rows),
            max(8.0, (self.width() - GAP * (self._columns - 1)) / self._columns),
        )

    @property
    def _cell_size(self) -> QSize:
        height, width = self._size()
        return QSize(math.ceil(width), math.ceil(height))

    @property
    def _paper(self) -> QColor:
        return QColor(theme_colour(self._viewer.theme, "canvas"))

    @property
    def _zoom(self) -> float:
        return camera_of(self._viewer).zoom * self._factor

    def _to_cell(self) -> QTransform:
        """From level-0 pixels (x, y), where pixel 0 covers [0, 1], into a cell."""
        corner = np.array(to_world(self._image, -0.5, -0.5))
        down = np.array(to_world(self._image, 0.5, -0.5)) - corner
        right = np.array(to_world(self._image, -0.5, 0.5)) - corner
        centre = np.array(camera_of(self._viewer).center[-2:], float)
        zoom, middle = self._zoom, np.array(self._size()) / 2
        start = (corner - centre) * zoom + middle
        return QTransform(
            right[1] * zoom,
            right[0] * zoom,
            down[1] * zoom,
            down[0] * zoom,
            start[1],
            start[0],
        )

    def _seen(self) -> Box | None:
        """The part of the image that a cell shows."""
        back, possible = self._to_cell().inverted()
        if not possible:
            return None
        height, width = self._size()
        shown = back.mapRect(QRectF(0, 0, width, height))
        rows, columns = self._shape
        top, left = max(0.0, shown.top()), max(0.0, shown.left())
        bottom, right = min(rows, shown.bottom()), min(columns, shown.right())
        return (top, left, bottom, right) if bottom > top and right > left else None

    def _dots_a_pixel(self) -> tuple[float, float]:
        """Dots of the screen along a level-0 pixel, downwards and to the right."""
        into, dots = self._to_cell(), self.devicePixelRatioF()
        down = math.hypot(into.m21(), into.m22()) * dots
        return down, math.hypot(into.m11(), into.m12()) * dots

    # ------------------------------------------------------------------------ drawing

    def _move(self) -> None:
        """Something else is looked at: everything is drawn again."""
        self._backdrop = self._marks = None
        count = len(self._cells)
        first = self._dirty[0] if self._dirty else 0
        self._dirty = [(first + k) % count for k in range(count)]
        self._reading.start()
        self._next.start()

    def _draw_next(self, seconds: float = FRAME_SECONDS) -> None:
        """As many cells as there is time for."""
        ended = time.perf_counter() + seconds
        while self._dirty:
            self._draw(self._dirty.pop(0))
            if time.perf_counter() > ended:
                break
        if self._dirty:
            self._next.start()
        self.update()

    def _draw(self, index: int) -> None:
        if index >= len(self._cells):
            return
        cell, rect = self._cells[index], self.rect_of(index)
        pen = QPainter(self._sheet)
        pen.setClipRect(rect)
        pen.translate(rect.topLeft())
        if self._backdrop is None or self._marks is None:
            self._backdrop, self._marks = self._picture(), self._marked()
        pen.drawImage(0, 0, self._backdrop)
        box = self._seen()
        if box is not None:
            drawn, line = self._map(cell, box)
            pen.save()
            pen.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            pen.setTransform(self._to_cell() * pen.transform())
            target = QRectF(box[1], box[0], box[3] - box[1], box[2] - box[0])
            if cell.is_added:
                pen.setCompositionMode(QPainter.CompositionMode.CompositionMode_Plus)
            pen.drawImage(target, drawn)
            pen.setCompositionMode(QPainter.CompositionMode.CompositionMode_SourceOver)
            if line is not None:
                pen.drawImage(target, line)
            pen.restore()
        pen.drawImage(0, 0, self._marks)
        self._write(pen, cell.caption)
        pen.end()

    def _blank(self, size: QSize, kind: QImage.Format, colour: QColor) -> QImage:
        """A picture in one colour, of a size on the screen."""
        dots = self.devicePixelRatioF()
        picture = QImage(size * dots, kind)
        picture.setDevicePixelRatio(dots)
        picture.fill(colour)
        return picture

    def _marked(self) -> QImage:
        """The outline of the reference, and pins."""
        kind = QImage.Format.Format_ARGB32_Premultiplied
        picture = self._blank(self._cell_size, kind, QColor(0, 0, 0, 0))
        pen, into = QPainter(picture), self._to_cell()
        pen.setRenderHint(QPainter.RenderHint.Antialiasing)
        pen.setTransform(into)
        for colour, lines in zip(("#ffffff", "#99000000"), self._dashes, strict=False):
            line = QPen(QColor(colour), LINE_PIXELS)
            line.setCosmetic(True)  # as thick at any zoom
            pen.setPen(line)
            if lines:
                pen.drawLines(*lines)
        pen.resetTransform()
        pen.setRenderHint(QPainter.RenderHint.Antialiasing, on=False)
        pen.setPen(QColor("#ffffff"))
        for number, (y, x) in enumerate(self._pins, 1):
            at = into.map(QPointF(x + 0.5, y + 0.5)).toPoint()
            badge = QRect(at.x() - PIN // 2, at.y() - PIN // 2, PIN, PIN)
            pen.fillRect(badge, QColor("#000000"))
            pen.drawRect(badge)
            pen.drawText(badge, int(Qt.AlignmentFlag.AlignCenter), str(number))
        pen.end()
        return picture

    def _picture(self) -> QImage:
        """The image, without a map."""
        dots = self.devicePixelRatioF()
        kind = QImage.Format.Format_RGB32
        picture = self._blank(self._cell_size, kind, self._paper)
        if self._part is None:
            return picture
        top, left, bottom, right = self._part.box
        pixels = self._part.pixels
        image = picture_of(pixels)
        pen = QPainter(picture)
        into = self._to_cell()
        if into.m12() == into.m21() == 0 and into.m11() > 0 and into.m22() > 0:
            # Qt's painter takes the nearest pixels where it makes a picture smaller.
            shown = into.mapRect(QRectF(left, top, right - left, bottom - top))
            side = (shown.size() * dots).toSize()
            if side.width() < image.width() and not side.isEmpty():
                image = image.scaled(
                    side,
                    Qt.AspectRatioMode.IgnoreAspectRatio,
                    Qt.TransformationMode.SmoothTransformation,
                )
        pen.setRenderHint(
            QPainter.RenderHint.SmoothPixmapTransform, min(self._dots_a_pixel()) < 1
        )
        pen.setTransform(into)
        pen.drawImage(QRectF(left, top, right - left, bottom - top), image)
        pen.end()
        return picture

    def _map(self, cell: Cell, box: Box) -> tuple[QImage, QImage | None]:
        """A map, and its contour, at the resolution of the screen."""
        top, left, bottom, right = box
        dots = self._dots_a_pixel()
        shape = (
            max(1, round((bottom - top) * dots[0])),
            max(1, round((right - left) * dots[1])),
        )
        values = self._values(cell.heatmap, box, shape)
        shown = np.clip(cell.colours, 0, 1) * (1, 1, 1, cell.opacity)
        table = np.round(255 * shown).astype(np.uint8)
        first = math.ceil(255 * cell.cut)
        signed, inside = cell.heatmap.signed, values >= cell.cut
        if signed:
            inside |= values <= 1 - cell.cut
        hidden = not cell.colours[first - 1, 3]  # nothing is shown below the cut
        if hidden and not signed:
            table[:first] = table[first]
        colours = table.view(np.uint32)[:, 0][np.round(255 * values).astype(np.uint8)]
        if hidden:
            colours *= inside
        drawn = picture_of(colours.view(np.uint8).reshape(*shape, 4))
        if cell.line is None:
            return drawn, None
        outline = _outline(inside, max(1, round(2 * self.devicePixelRatioF())))
        ink = np.array(QColor(cell.line).getRgb(), np.uint8).view(np.uint32)
        return drawn, picture_of((outline * ink).view(np.uint8).reshape(*shape, 4))

    def _values(
        self, heatmap: Heatmap, box: Box, shape: tuple[int, int]
    ) -> npt.NDArray[np.float32]:
        """A map on the screen's pixels: read once, whatever it is cut at."""
        known = self._crops.get(heatmap.key)
        if known is None or known[0] is not heatmap or known[1] != (box, shape):
            top, left, bottom, right = box
            values = heatmap.crop((top, left), (bottom - top, right - left), shape)
            known = self._crops[heatmap.key] = (heatmap, (box, shape), values)
        return known[2]

    def _write(self, pen: QPainter, caption: str) -> None:
        """The caption, in strips along the top."""
        metrics, width = self.fontMetrics(), int(self._size()[1])
        paper, high = self._paper, metrics.height() + 4
        paper.setAlpha(210)
        pen.setPen(QColor(readable_on(paper.name())))
        for number, line in enumerate(caption.splitlines()):
            words = metrics.elidedText(line, Qt.TextElideMode.ElideMiddle, width - 12)
            wide = metrics.horizontalAdvance(words) + 12
            strip = QRect(0, number * high, wide, high)
            pen.fillRect(strip, paper)
            pen.drawText(strip, int(Qt.AlignmentFlag.AlignCenter), words)

    # ------------------------------------------------------------------------- pixels

    def _read(self) -> None:
        """Read what is seen, in a thread; the newest question counts."""
        box, image = self._seen(), self._image
        if box is None or not self.isVisible():
            return
        dots = max(self._dots_a_pixel())
        levels = levels_of(image)
        steps = [1.0] * len(levels)
        if image.multiscale:
            steps = [float(x[-2:].max()) for x in np.asarray(image.downsample_factors)]
        look = (
            None if image.rgb else (image.contrast_limits, image.gamma, image.colormap)
        )
        height, width = self._shape

        def question() -> Part:
            return read_part(
                levels, steps, (height, width), box=box, dots=dots, look=look
            )

        self._tasks.ask(question, self._on_part, kind="side by side")

    def _on_part(self, part: Part) -> None:
        self._part, self._backdrop = part, None
        self._dirty = list(range(len(self._cells)))
        self._next.start()

    # ------------------------------------------------------------------------- events

    def _listen(self, *, connect: bool) -> None:
        camera, image = camera_of(self._viewer), self._image
        emitters = [camera.events.center, camera.events.zoom]
        looks = ("contrast_limits", "gamma", "colormap", "data", *TRANSFORMS)
        for emitter in (*emitters, *(getattr(image.events, name) for name in looks)):
            (emitter.connect if connect else emitter.disconnect)(self._move)

    @override
    def eventFilter(self, watched: QObject | None, event: Any) -> bool:
        if watched == self._canvas and event.type() in (
            QEvent.Type.Resize,
            QEvent.Type.Move,
        ):
            self.setGeometry(self._canvas.geometry())
        return super().eventFilter(watched, event)

    @override
    def resizeEvent(self, event: Any) -> None:
        del event
        self._arrange()

    @override
    def paintEvent(self, event: Any) -> None:
        del event
        pen = QPainter(self)
        pen.fillRect(self.rect(), self._paper)
        pen.drawImage(0, 0, self._sheet)
        if self.cross is not None:
            self._paint_cross(pen, self.cross)
        pen.end()

    def _paint_cross(self, pen: QPainter, world: tuple[float, float]) -> None:
        """The same place in all cells: white with a dark edge, seen on everything."""
        y, x = self._image.world_to_data(world)[-2:]
        place = self._to_cell().map(QPointF(x + 0.5, y + 0.5))
        for index in range(len(self._cells)):
            rect = self.rect_of(index)
            pen.setClipRect(rect)
            at = QPointF(rect.topLeft()) + place
            for colour, thick in (("#000000", 3), ("#ffffff", 1)):
                pen.setPen(QPen(QColor(colour), thick))
                for dy, dx in ((0, 10), (10, 0)):
                    step = QPointF(dx, dy)
                    pen.drawLine(at - step, at - step * 0.3)
                    pen.drawLine(at + step * 0.3, at + step)

    def _world(self, place: QPointF) -> tuple[float, float] | None:
        index = self.cell_at(place)
        if index < 0:
            return None
        rect = self.rect_of(index)
        centre = camera_of(self._viewer).center[-2:]
        height, width = self._size()
        return (
            float(centre[0] + (place.y() - rect.top() - height / 2) / self._zoom),
            float(centre[1] + (place.x() - rect.left() - width / 2) / self._zoom),
        )

    @override
    def mousePressEvent(self, event: Any) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._grip, index = _place(event), self.cell_at(_place(event))
            strip = self.fontMetrics().height() + 4
            if index >= 0 and self._grip.y() < self.rect_of(index).top() + strip:
                self._grip, self._held = None, index  # by its caption
                self.setCursor(Qt.CursorShape.ClosedHandCursor)

    @override
    def mouseReleaseEvent(self, event: Any) -> None:
        keys, target = [x.heatmap.key for x in self._cells], self.cell_at(_place(event))
        held, self._held, self._grip = self._held, -1, None
        self.setCursor(Qt.CursorShape.CrossCursor)
        if -1 not in (held, target) and held != target:
            keys.insert(target, keys.pop(held))
            self.reordered.emit(keys)

    @override
    def mouseMoveEvent(self, event: Any) -> None:
        place = _place(event)
        if self._grip is not None:
            by, self._grip = (place - self._grip) / self._zoom, place
            y, x = camera_of(self._viewer).center[-2:]
            centre_on(self._viewer, (y - by.y(), x - by.x()))
        self.cross = self._world(place)
        if self.cross is not None:
            y, x = self._image.world_to_data(self.cross)[-2:]
            self.pointed.emit(float(y), float(x))
        self.update()

    @override
    def leaveEvent(self, event: Any) -> None:
        del event
        self.cross = None
        self.update()

    @override
    def wheelEvent(self, event: Any) -> None:
        place = event.position() if hasattr(event, "position") else event.posF()
        at = self._world(place)
        turned = event.angleDelta().y() / 120
        if at is None or not turned:
            return
        camera = camera_of(self._viewer)
        centre = np.array(camera.center[-2:], float)
        times = STEP**turned
        centre_on(self._viewer, at + (centre - at) / times)
        camera.zoom *= times
        event.accept()


def read_part(
    levels: Sequence[Any],
    steps: Sequence[float],
    shape: tuple[int, int],
    *,
    box: Box,
    dots: float,
    look: tuple[Any, float, Any] | None,
) -> Part:
    """Pixels of a part of an image, about as fine as the screen shows them.

    Args:
        levels: arrays, (H, W) or (H, W, 3 or 4), largest first.
        steps: level-0 pixels a pixel of each.
        shape: (H, W) of the largest.
        box: what is wanted.
        dots: of the screen, along a level-0 pixel.
        look: contrast limits, gamma and colormap of a grey image.
    """
    wanted = 1 / max(dots * OVERSAMPLED, 1e-12)  # level-0 pixels a pixel that is read
    level = max(
        (k for k, step in enumerate(steps) if step <= max(wanted, 1.0)),
        key=lambda k: steps[k],
        default=0,
    )
    data = levels[level]
    ratios = [shape[k] / data.shape[k] for k in (0, 1)]
    stride = max(1, int(wanted / max(ratios)))
    low = [max(0, math.floor(box[k] / ratios[k])) for k in (0, 1)]
    high = [min(data.shape[k], math.ceil(box[k + 2] / ratios[k])) for k in (0, 1)]
    part = np.asarray(data[low[0] : high[0] : stride, low[1] : high[1] : stride])
    rows, columns = part.shape[:2]
    covered = (
        low[0] * ratios[0],
        low[1] * ratios[1],
        (low[0] + rows * stride) * ratios[0],
        (low[1] + columns * stride) * ratios[1],
    )
    return Part(np.ascontiguousarray(_rgb(part, look)), covered)


def _rgb(
    pixels: npt.NDArray[Any], look: tuple[Any, float, Any] | None
) -> npt.NDArray[np.uint8]:
    """(h, w, 3) uint8 as napari shows them."""
    if look is not None:
        (low, high), gamma, colours = look
        share = (pixels.astype(np.float32) - low) / max(high - low, 1e-12)
        share = np.clip(share, 0, 1) ** gamma
        table = np.asarray(colours.map(np.linspace(0, 1, 256)))[:, :3]
        return np.round(255 * table).astype(np.uint8)[(255 * share).astype(np.uint8)]
    pixels = pixels[..., :3]
    if pixels.dtype == np.uint8:
        return pixels
    most = 1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max)
    return (255 * np.clip(pixels.astype(np.float32) / most, 0, 1)).astype(np.uint8)


def _outline(inside: npt.NDArray[np.bool_], width: int) -> npt.NDArray[np.bool_]:
    """The border of an area, within it; also where it touches the image's."""
    core = np.pad(inside, 1)
    for _ in range(width):
        shrunk = core.copy()
        shrunk[1:] &= core[:-1]
        shrunk[:-1] &= core[1:]
        shrunk[:, 1:] &= core[:, :-1]
        shrunk[:, :-1] &= core[:, 1:]
        core = shrunk
    return inside & ~core[1:-1, 1:-1]


def picture_of(pixels: npt.NDArray[np.uint8]) -> QImage:
    """(h, w, 3 or 4) uint8 RGB or RGBA as a picture of its own, ready to be drawn."""
    height, width, channels = pixels.shape
    kinds = {3: QImage.Format.Format_RGB888, 4: QImage.Format.Format_RGBA8888}
    wanted = {
        3: QImage.Format.Format_RGB32,
        4: QImage.Format.Format_ARGB32_Premultiplied,
    }
    raw: Any = np.ascontiguousarray(pixels).data
    image = QImage(raw, width, height, channels * width, kinds[channels])
    # Qt does not keep the array alive; what is converted is a copy.
    return image.convertToFormat(wanted[channels])


def _place(event: Any) -> QPointF:  # noqa: ANN401 - a mouse event of Qt 5 or 6
    return event.position() if hasattr(event, "position") else QPointF(event.pos())


def _same(one: Cell, other: Cell) -> bool:
    """Whether two cells look the same."""
    return (
        one.heatmap is other.heatmap
        and np.array_equal(one.colours, other.colours)
        and (one.cut, one.opacity, one.line, one.is_added, one.caption)
        == (other.cut, other.opacity, other.line, other.is_added, other.caption)
    )
