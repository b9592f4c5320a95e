"""Curves: how a training goes, and one in a line of the dock."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from qtpy.QtCore import QPointF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_wsol.gui.widgets.colours import SERIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qtpy.QtCore import QRect
    from qtpy.QtGui import QPaintEvent

SMOOTHING = 0.2
"""Weight of the newest value in the running mean that is drawn."""


MIDDLE_LEFT = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft


class Curves(QWidget):
    """Named curves over the steps of a training, each with its latest value.

    A batch's values jump; the thick line is their running mean.

    Args:
        title: what is drawn.
        limits: lowest and highest value of the axis; those of the values if None.
        colours: the first one to take of the series.
    """

    def __init__(
        self,
        title: str,
        *,
        limits: tuple[float, float] | None = None,
        colours: int = 0,
    ) -> None:
        super().__init__()
        self._title = title
        self._limits = limits
        self._colours = SERIES[colours:] + SERIES[:colours]
        self._values: dict[str, list[float]] = {}
        self._means: dict[str, list[float]] = {}
        self.steps = 0
        """How long the axis is."""
        self.legend = 0
        """Least width of the legend: charts above each other get the same one."""
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    @property
    def values(self) -> dict[str, tuple[float, ...]]:
        """What is drawn, by name."""
        return {name: tuple(values) for name, values in self._values.items()}

    @property
    def legend_needed(self) -> int:
        """Width of the longest line of the legend."""
        width = self.fontMetrics().horizontalAdvance
        return max((width(x) for x in self._words().values()), default=0)

    def _words(self) -> dict[str, str]:
        """The lines of the legend, by curve."""
        return {name: self._latest(name) for name, seen in self._means.items() if seen}

    def sizeHint(self) -> QSize:
        """Wide and flat."""
        return QSize(240, max(84, self.minimumSizeHint().height()))

    def minimumSizeHint(self) -> QSize:
        """A line of words for each curve."""
        high = self.fontMetrics().height()
        return QSize(200, 12 + high * (1 + max(3, len(self._values))))

    def start(self, steps: int = 0) -> None:
        """Empty again, for so many steps."""
        self._values.clear()
        self._means.clear()
        self.steps = steps
        self.update()

    def cut(self, count: int) -> None:
        """Keep so many steps: a training went on from before the last that was seen."""
        for values in (*self._values.values(), *self._means.values()):
            del values[count:]

    def add(self, values: Mapping[str, float]) -> None:
        """One step further."""
        known = len(self._values)
        for name, value in values.items():
            means = self._means.setdefault(name, [])
            self._values.setdefault(name, []).append(value)
            last = means[-1] if means else value
            fits = math.isfinite(value)
            means.append(last + SMOOTHING * (value - last) if fits else last)
        if len(self._values) != known:
            self.updateGeometry()
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw axes, curves and their names with the latest values."""
        del event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text, metrics = self.palette().text().color(), painter.fontMetrics()
        high = metrics.height()
        painter.setPen(QPen(text, 1))
        painter.drawText(0, 0, self.width(), high, MIDDLE_LEFT, self._title)
        words = self._words()
        wide = max(self.legend, self.legend_needed)
        margin = metrics.horizontalAdvance("0.0000")
        span = self._limits or self._span()
        area = self.rect().adjusted(margin, high + 4, -wide - 30, -4)
        self._draw_axes(painter, area, span)
        for place, name in enumerate(words):
            colour = QColor(self._colours[place % len(self._colours)])
            row = area.top() + place * high
            painter.setPen(QPen(text, 1))
            painter.drawText(
                area.right() + 26, row, wide, high, MIDDLE_LEFT, words[name]
            )
            painter.setPen(QPen(colour, 2))
            key = QPointF(area.right() + 8, row + high / 2)
            painter.drawLine(key, key + QPointF(12, 0))
            self._draw_curve(painter, area, span, name)

    def _latest(self, name: str) -> str:
        """A curve's name with its latest value."""
        return f"{name} {self._means[name][-1]:.2f}"

    def _draw_curve(
        self, painter: QPainter, area: QRect, span: tuple[float, float], name: str
    ) -> None:
        """One curve, with the pen that it has in the legend."""
        means, colour = self._means[name], painter.pen().color()
        steps = max(self.steps, len(means))
        painter.drawPolyline(polygon(means, area, span, steps))
        colour.setAlpha(90)
        painter.setPen(QPen(colour, 1))
        painter.drawPolyline(polygon(self._values[name], area, span, steps))

    def _draw_axes(
        self, painter: QPainter, area: QRect, span: tuple[float, float]
    ) -> None:
        faint = QColor(self.palette().text().color())
        faint.setAlpha(150)
        painter.setPen(QPen(faint, 1))
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        painter.drawLine(area.bottomLeft(), area.topLeft())
        high = painter.fontMetrics().height()
        right = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight
        for value, y in (
            (span[1], area.top() - 3),
            (span[0], area.bottom() - high + 3),
        ):
            painter.drawText(0, y, area.left() - 5, high, right, short(value))

    def _span(self) -> tuple[float, float]:
        every = [x for values in self._values.values() for x in values]
        known = [x for x in every if math.isfinite(x)]
        return (min(known), max(known)) if known else (0.0, 1.0)


def short(value: float) -> str:
    """A number beside an axis, in few signs."""
    return f"{value:.2g}" if abs(value) < 100 else f"{value:.0f}"


def polygon(
    values: Sequence[float], area: QRect, span: tuple[float, float], steps: int
) -> QPolygonF:
    """A curve inside an area, from the left; no more points than can be seen.

    Args:
        values: of each step; what is no number is left out.
        area: where it is drawn.
        span: values at the bottom and the top.
        steps: at the right edge.
    """
    low, high = span
    jump = max(1, len(values) // max(1, 2 * area.width()))
    across, up = max(1, steps - 1), (high - low) or 1.0
    places = range(0, len(values), jump)
    return QPolygonF(
        [
            QPointF(
                area.left() + area.width() * place / across,
                area.bottom() - area.height() * (values[place] - low) / up,
            )
            for place in places
            if math.isfinite(values[place])
        ]
    )


HEIGHT = 34


class Sparkline(QWidget):
    """One value after another.

    Args:
        tip: what is drawn.
        colour: of the curve.
        empty: what stands there while there are fewer than two values.
        chance: where a dotted line is drawn, for values whose best is 1; those without
            are drawn from their smallest to their largest.
    """

    def __init__(
        self,
        tip: str,
        colour: str,
        *,
        empty: str = "",
        chance: float | None = None,
    ) -> None:
        super().__init__()
        self._colour, self._empty, self._chance = colour, empty, chance
        self.values: list[float] = []
        """What is drawn."""
        self.setFixedHeight(HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip(tip)

    def sizeHint(self) -> QSize:
        """Wide and flat."""
        return QSize(120, HEIGHT)

    def add(self, value: float) -> None:
        """One step further."""
        self.values.append(value)
        self.update()

    def show_values(self, values: Sequence[float]) -> None:
        """Draw these, and no others."""
        self.values = list(values)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the ground, the curve and its latest value."""
        del event
        painter, values = QPainter(self), self.values
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
