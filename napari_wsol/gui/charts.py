"""The loss of a refinement as a small curve, and its rounds as dots to go back to."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QPointF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QHBoxLayout, QScrollArea, QSizePolicy, QToolButton, QWidget

from napari_wsol.gui.colours import FOREGROUND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtGui import QPaintEvent

    from napari_wsol.rounds import Round


class LossCurve(QWidget):
    """How well the model fits the strokes, step by step: down is better."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._loss: list[float] = []
        self.setMinimumHeight(44)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip(
            "How far the map is from your strokes while it learns: down is better."
        )

    @property
    def values(self) -> tuple[float, ...]:
        """The losses that are drawn."""
        return tuple(self._loss)

    def sizeHint(self) -> QSize:
        """Wide and flat."""
        return QSize(120, 44)

    def start(self) -> None:
        """A new round begins."""
        self._loss.clear()
        self.update()

    def add(self, loss: float) -> None:
        """One step further."""
        self._loss.append(loss)
        self.update()

    def show_values(self, losses: Sequence[float]) -> None:
        """The curve of a finished round."""
        self._loss = list(losses)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the curve with its first and last value."""
        del event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text = self.palette().text().color()
        faint = QColor(text)
        faint.setAlpha(110)
        area = self.rect().adjusted(2, 4, -44, -4)
        painter.setPen(QPen(faint, 1))
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        middle = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
        if len(self._loss) < 2:
            painter.drawText(area, middle, "The loss is drawn here while it refines.")
            return
        low, high = min(self._loss), max(self._loss)
        span = (high - low) or 1.0
        points = [
            QPointF(
                area.left() + area.width() * k / (len(self._loss) - 1),
                area.bottom() - area.height() * (loss - low) / span,
            )
            for k, loss in enumerate(self._loss)
        ]
        painter.setPen(QPen(QColor(FOREGROUND), 2))
        painter.drawPolyline(QPolygonF(points))
        painter.setPen(QPen(text, 1))
        beside = self.rect().adjusted(area.right() + 6, 0, 0, 0)
        painter.drawText(beside, middle, f"{self._loss[-1]:.2f}")


class RoundDots(QScrollArea):
    """Rounds in a row: ● ● ◉; a click goes back to one."""

    chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFrameShape(QScrollArea.Shape.NoFrame)
        self.setWidgetResizable(True)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFixedHeight(32)
        self._row = QWidget(self)
        self._layout = QHBoxLayout(self._row)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(2)
        self._layout.addStretch(1)
        self.setWidget(self._row)
        self.buttons: list[QToolButton] = []

    def show_rounds(self, rounds: Sequence[Round], current: int) -> None:
        """Draw the rounds anew; the current one is marked."""
        for button in self.buttons:
            self._layout.removeWidget(button)
            button.deleteLater()
        self.buttons = [self._dot(item, current) for item in rounds]
        for place, button in enumerate(self.buttons):
            self._layout.insertWidget(place, button)

    def set_enabled(self, enabled: bool) -> None:
        """No going back while a job runs."""
        for button in self.buttons:
            button.setEnabled(enabled)

    def _dot(self, item: Round, current: int) -> QToolButton:
        button = QToolButton(self._row)
        here = item.index == current
        button.setText(f"◉ {item.index}" if here else f"● {item.index}")
        button.setToolTip(round_words(item) + ("" if here else "\nClick to go back."))
        button.setAutoRaise(True)
        index = item.index
        button.clicked.connect(lambda: self.chosen.emit(index))
        return button


def round_words(item: Round) -> str:
    """What a dot says when the mouse rests on it."""
    if item.index == 0:
        return "Round 0: the model as it was loaded, before any stroke."
    words = f"Round {item.index}: {item.strokes} strokes, {item.seconds:.1f} s"
    if item.loss:
        words += f", loss {item.loss[0]:.2f} → {item.loss[-1]:.2f}"
    return words + "."
