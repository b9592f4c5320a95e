"""A curve in a line of the dock, with its latest value beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QPointF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_wsol.gui.widgets.charts import MIDDLE_LEFT, polygon

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtGui import QPaintEvent

HEIGHT = 34


class Sparkline(QWidget):
    """One value after another.

    Args:
        tip: what is drawn.
        colour: of the curve.
        empty: what stands there while there are fewer than two values.
        chance: where a dotted line is drawn, for values whose best is 1; those without
            are drawn from their smallest to their largest.
        parent: widget that holds it.
    """

    def __init__(
        self,
        tip: str,
        colour: str,
        *,
        empty: str = "",
        chance: float | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._colour, self._empty, self._chance = colour, empty, chance
        self._values: list[float] = []
        self.setFixedHeight(HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip(tip)

    @property
    def values(self) -> tuple[float, ...]:
        """What is drawn."""
        return tuple(self._values)

    def sizeHint(self) -> QSize:
        """Wide and flat."""
        return QSize(120, HEIGHT)

    def add(self, value: float) -> None:
        """One step further."""
        self._values.append(value)
        self.update()

    def show_values(self, values: Sequence[float]) -> None:
        """Draw these, and no others."""
        self._values = list(values)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the ground, the curve and its latest value."""
        del event
        painter, values = QPainter(self), self._values
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text = self.palette().text().color()
        faint = QColor(text)
        faint.setAlpha(110)
        area = self.rect().adjusted(2, 5, -44, -4)
        low, high = min(values, default=0.0), max(values, default=1.0)
        ground, dots = float(area.bottom()), Qt.PenStyle.SolidLine
        if self._chance is not None:
            low, high = min(low, self._chance), 1.0
            ground -= area.height() * (self._chance - low) / ((high - low) or 1.0)
            dots = Qt.PenStyle.DotLine
        painter.setPen(QPen(faint, 1, dots))
        painter.drawLine(QPointF(area.left(), ground), QPointF(area.right(), ground))
        if len(values) < 2:
            painter.drawText(area, MIDDLE_LEFT, self._empty)
            return
        painter.setPen(QPen(QColor(self._colour), 2))
        points = polygon(values, area, (low, high), len(values))
        painter.drawPolyline(points)
        painter.setBrush(QColor(self._colour))
        painter.drawEllipse(points.last(), 2.0, 2.0)
        painter.setPen(QPen(text, 1))
        beside = self.rect().adjusted(area.right() + 6, 0, 0, 0)
        painter.drawText(beside, MIDDLE_LEFT, f"{values[-1]:.2f}")
