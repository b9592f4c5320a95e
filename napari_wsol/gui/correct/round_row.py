"""Rounds in a row, to go back to: dots while they fit, else a slider."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QPointF, QSignalBlocker, QSize, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPen
from qtpy.QtWidgets import (
    QAbstractButton,
    QHBoxLayout,
    QSizePolicy,
    QSlider,
    QWidget,
)

from napari_wsol.gui.correct.round_words import round_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtGui import QPaintEvent, QResizeEvent

    from napari_wsol.refinement.rounds import Round

DOT_WIDTH, HEIGHT = 18, 26
"""Of a dot with its piece of the line, in pixels."""

MOVE = "Move to go back to the map of another round."


class Dot(QAbstractButton):
    """One round on the line: hollow, full where it is shown, marked where it warns."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setFixedSize(DOT_WIDTH, HEIGHT)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        # The canvas keeps the keys: whoever goes back goes on painting.
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.index = 0
        self.is_current = self.is_first = self.is_last = self.warns = False
        self.warning_colour = QColor("#e3b617")

    def show_round(self, item: Round, current: int, rounds: Sequence[Round]) -> None:
        """Stand for a round."""
        self.index = item.index
        self.is_current = item.index == current
        self.is_first, self.is_last = item is rounds[0], item is rounds[-1]
        self.warns = bool(item.warning)
        self.setAccessibleName(f"Round {item.index}")
        tip = round_words(item)
        self.setToolTip(tip if self.is_current else f"{tip}\nClick to go back to it.")
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the piece of the line and the dot."""
        del event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text = self.palette().text().color()
        faint = QColor(text)
        faint.setAlpha(90)
        middle = QPointF(self.width() / 2, self.height() / 2)
        radius = 6.0 if self.is_current else 4.0
        painter.setPen(QPen(faint, 1.5))
        if not self.is_first:
            painter.drawLine(QPointF(0, middle.y()), middle - QPointF(radius, 0))
        if not self.is_last:
            end = QPointF(self.width(), middle.y())
            painter.drawLine(middle + QPointF(radius, 0), end)
        colour = self.warning_colour if self.warns else text
        if not (self.is_current or self.warns or self.underMouse()):
            colour = QColor(text)
            colour.setAlpha(170)
        painter.setPen(QPen(colour, 1.5))
        painter.setBrush(colour if self.is_current else Qt.BrushStyle.NoBrush)
        painter.drawEllipse(middle, radius - 0.5, radius - 0.5)
        if self.hasFocus():
            painter.setPen(QPen(text, 1, Qt.PenStyle.DotLine))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(self.rect().adjusted(0, 2, -1, -3))

    def enterEvent(self, event: object) -> None:
        """Stand out under the mouse."""
        super().enterEvent(event)
        self.update()

    def leaveEvent(self, event: object) -> None:
        """Step back again."""
        super().leaveEvent(event)
        self.update()


class RoundRow(QWidget):
    """All rounds; a click on a dot, or a move of the slider, shows one again."""

    chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rounds: tuple[Round, ...] = ()
        self._current = 0
        self._warning_colour = QColor("#e3b617")
        self.setFixedHeight(HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(0)
        self.buttons: list[Dot] = []
        """The dots; none while the slider stands for them."""
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setPageStep(5)
        self.slider.setToolTip(MOVE)
        self.slider.valueChanged.connect(self._on_slider)
        self._row.addWidget(self.slider, 1)
        self._row.addStretch(0)
        self.slider.hide()

    def sizeHint(self) -> QSize:
        """Whatever room there is."""
        return QSize(DOT_WIDTH * 4, HEIGHT)

    def show_rounds(self, rounds: Sequence[Round], current: int) -> None:
        """Draw the rounds; the current one is marked."""
        self._rounds, self._current = tuple(rounds), current
        self._fill()

    def set_warning_colour(self, colour: str) -> None:
        """The theme's colour for warnings."""
        self._warning_colour = QColor(colour)
        self._fill()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """More or fewer dots fit now."""
        super().resizeEvent(event)
        self._fill()

    def _fill(self) -> None:
        fits = len(self._rounds) * DOT_WIDTH <= self.width()
        self._fill_dots(self._rounds if fits else ())
        self.slider.setVisible(not fits)
        if not fits:
            self._fill_slider()

    def _fill_dots(self, rounds: Sequence[Round]) -> None:
        while len(self.buttons) > len(rounds):
            button = self.buttons.pop()
            self._row.removeWidget(button)
            button.deleteLater()
        while len(self.buttons) < len(rounds):
            button = Dot(self)
            button.clicked.connect(self._on_dot)
            self._row.insertWidget(len(self.buttons), button)
            self.buttons.append(button)
        for button, item in zip(self.buttons, rounds, strict=True):
            button.warning_colour = self._warning_colour
            button.show_round(item, self._current, rounds)

    def _fill_slider(self) -> None:
        indices = [item.index for item in self._rounds]
        blocker = QSignalBlocker(self.slider)
        self.slider.setRange(0, len(indices) - 1)
        if self._current in indices and not self.slider.isSliderDown():
            # Under the hand it stays where it is; the map follows it, not it the map.
            self.slider.setValue(indices.index(self._current))
        del blocker
        shown = [item for item in self._rounds if item.index == self._current]
        words = "".join(f"{round_words(item)}\n" for item in shown)
        self.slider.setToolTip(f"{words}{MOVE}")

    def _on_dot(self) -> None:
        sender = self.sender()
        if isinstance(sender, Dot):
            self.chosen.emit(sender.index)

    def _on_slider(self, place: int) -> None:
        if place < len(self._rounds):
            self.chosen.emit(self._rounds[place].index)
