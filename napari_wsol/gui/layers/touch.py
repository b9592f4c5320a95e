"""Pen and finger paint like the mouse.

Neither napari nor vispy listens to the events of tablets and touch screens; they see
the mouse events that Qt makes of them, where the platform and the settings of the
application let it. With one of our tools in the hand the events are turned into mouse
events here, always in the same way. The other end of a pen erases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication, QMainWindow, QWidget

if TYPE_CHECKING:
    from napari_wsol.gui.layers.stroke_layer import StrokeLayer

_PEN = {
    QEvent.Type.TabletPress: QEvent.Type.MouseButtonPress,
    QEvent.Type.TabletMove: QEvent.Type.MouseMove,
    QEvent.Type.TabletRelease: QEvent.Type.MouseButtonRelease,
}
_FINGER = {
    QEvent.Type.TouchBegin: QEvent.Type.MouseButtonPress,
    QEvent.Type.TouchUpdate: QEvent.Type.MouseMove,
    QEvent.Type.TouchEnd: QEvent.Type.MouseButtonRelease,
    QEvent.Type.TouchCancel: QEvent.Type.MouseButtonRelease,
}


class TouchPen(QObject):
    """Turns what pen and finger do on napari's canvas into what the mouse does."""

    def __init__(self, strokes: StrokeLayer, parent: QObject) -> None:
        super().__init__(parent)
        self._strokes = strokes
        self._canvas: QWidget | None = None
        self._is_down = False
        self._tool: str | None = None
        self._last = QPointF()

    def listen(self, dock: QWidget) -> None:
        """Listen on the canvas of the window that a dock belongs to."""
        if self._canvas is None:
            self._canvas = canvas_beside(dock)
            if self._canvas is not None:
                attribute = Qt.WidgetAttribute.WA_AcceptTouchEvents
                self._canvas.setAttribute(attribute, True)
                self._canvas.installEventFilter(self)

    def close(self) -> None:
        """Leave everything to Qt again."""
        canvas, self._canvas = self._canvas, None
        if canvas is not None:
            canvas.removeEventFilter(self)
            canvas.setAttribute(Qt.WidgetAttribute.WA_AcceptTouchEvents, False)

    def eventFilter(self, watched: QObject, event: Any) -> bool:  # noqa: ANN401 - of Qt 5 or 6
        """Whether an event was taken care of; with no tool in the hand none is."""
        kind, canvas = event.type(), self._canvas
        if canvas is None or watched is not canvas:
            return False
        if kind not in _PEN and kind not in _FINGER:
            return False
        if not self._is_down and self._strokes.tool is None:
            return False
        if kind in _PEN:
            where = _place(event)
            if kind == QEvent.Type.TabletPress and _is_eraser(event):
                self._tool = self._strokes.tool
                self._strokes.choose("erase")
            self._send(canvas, _PEN[kind], where, event.modifiers())
        else:
            where = _finger(event)
            # Whatever is not told of a lifted finger is where it was last.
            self._send(
                canvas,
                _FINGER[kind],
                self._last if where is None else where,
                event.modifiers(),
            )
        if not self._is_down and self._tool is not None:
            self._strokes.choose(self._tool)
            self._tool = None
        event.accept()
        return True

    def _send(
        self,
        canvas: QWidget,
        kind: QEvent.Type,
        where: QPointF,
        modifiers: Qt.KeyboardModifier,
    ) -> None:
        left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
        if kind != QEvent.Type.MouseMove:
            self._is_down = kind == QEvent.Type.MouseButtonPress
        self._last = where
        here = QPointF(canvas.mapFromGlobal(where.toPoint()))
        here += where - QPointF(where.toPoint())  # pens know parts of a pixel
        QApplication.sendEvent(
            canvas,
            QMouseEvent(
                kind,
                here,
                where,
                none if kind == QEvent.Type.MouseMove else left,
                left if self._is_down else none,
                modifiers,
            ),
        )


def canvas_beside(dock: QWidget) -> QWidget | None:
    """The widget that napari draws on, in the window that a dock belongs to."""
    from vispy.app.backends._qt import QtBaseCanvasBackend

    window = dock
    while window is not None and not isinstance(window, QMainWindow):
        window = window.parentWidget()
    middle = window.centralWidget() if window is not None else None
    if middle is None:
        return None
    found = [
        child
        for child in middle.findChildren(QWidget)
        if isinstance(child, QtBaseCanvasBackend)
    ]
    return found[0] if found else None


def _place(event: Any) -> QPointF:  # noqa: ANN401 - of Qt 5 or 6
    """Where a pen is on the screen."""
    if hasattr(event, "globalPosition"):
        return QPointF(event.globalPosition())
    return QPointF(event.globalPosF())  # Qt 5


def _finger(event: Any) -> QPointF | None:  # noqa: ANN401 - of Qt 5 or 6
    """Where the first finger is on the screen; others do not paint."""
    if hasattr(event, "points"):
        points = event.points()
        return QPointF(points[0].globalPosition()) if points else None
    points = event.touchPoints()  # Qt 5
    return QPointF(points[0].screenPos()) if points else None


def _is_eraser(event: Any) -> bool:  # noqa: ANN401 - of Qt 5 or 6
    kind = event.pointerType()
    return getattr(kind, "name", None) == "Eraser" or kind == 3  # a number in PyQt5
