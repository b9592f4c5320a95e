"""How good a training is on images that it does not learn from."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QPointF, Qt
from qtpy.QtGui import QPen, QPolygonF

from napari_wsol.gui.widgets.charts import Curves

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qtpy.QtCore import QRect
    from qtpy.QtGui import QPainter
    from qtpy.QtWidgets import QWidget

DOT, RING = 2.5, 6.0
"""Radii, in pixels, of an evaluation and of the mark around the best one."""


class EvaluationChart(Curves):
    """Curves with a dot for each evaluation; the best one is ringed.

    Args:
        title: what is drawn.
        names: what is drawn of an evaluation, and how it is called here.
        limits: lowest and highest value of the axis; those of the values if None.
        unit: behind the latest values.
        digits: of the latest values, after the point.
        colours: the first one to take of the series.
        parent: widget that holds it.
    """

    def __init__(
        self,
        title: str,
        names: Mapping[str, str],
        *,
        limits: tuple[float, float] | None = None,
        unit: str = "",
        digits: int = 1,
        colours: int = 0,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(title, limits=limits, colours=colours, parent=parent)
        self._names = dict(names)
        self._unit, self._digits = unit, digits
        self._after: list[int] = []
        self._ringed = ""
        self.best: int | None = None
        """After how many steps the best weights were found."""

    @property
    def after(self) -> tuple[int, ...]:
        """Steps done at each evaluation."""
        return tuple(self._after)

    def start(self, steps: int = 0) -> None:
        """Empty again, for so many steps."""
        self._after.clear()
        self.best = None
        super().start(steps)

    def add_evaluation(
        self, step: int, values: Mapping[str, float], *, best: str = ""
    ) -> None:
        """One evaluation further; what was seen of later steps is forgotten.

        Args:
            step: steps done.
            values: of the evaluation; those that have no name here are left out.
            best: which of these values is the best so far, to be ringed; none if empty.
        """
        known = sum(item < step for item in self._after)
        del self._after[known:]
        self.cut(known)
        shown = {
            self._names[x]: value for x, value in values.items() if x in self._names
        }
        if not shown:
            return
        self._after.append(step)
        if best in self._names:
            self.best, self._ringed = step, self._names[best]
        self.add(shown)

    def _latest(self, name: str) -> str:
        return f"{name} {self._values[name][-1]:.{self._digits}f}{self._unit}"

    def _draw_curve(
        self, painter: QPainter, area: QRect, span: tuple[float, float], name: str
    ) -> None:
        low, high = span
        steps = max(self._steps, *self._after, 1)
        across, up = area.width() / steps, area.height() / ((high - low) or 1.0)
        points = [
            QPointF(area.left() + across * step, area.bottom() - up * (value - low))
            for step, value in zip(self._after, self._values[name], strict=True)
        ]
        painter.drawPolyline(QPolygonF(points))
        colour = painter.pen().color()
        for step, point in zip(self._after, points, strict=True):
            if step == self.best and name == self._ringed:
                painter.setPen(QPen(self.palette().text().color(), 1.5))
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.drawEllipse(point, RING, RING)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(colour)
            painter.drawEllipse(point, DOT, DOT)
        painter.setBrush(Qt.BrushStyle.NoBrush)
