"""How well each map agrees with the reference: all figures, curves, and over a list."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, NamedTuple

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QDialog, QTextBrowser, QWidget

from napari_wsol.gui.widgets.charts import SERIES
from napari_wsol.gui.widgets.job_bar import JobBar
from napari_wsol.gui.widgets.panel import fill_column, push_button
from napari_wsol.jobs import JobKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qtpy.QtGui import QPaintEvent

    from napari_wsol.evaluation.report import ModelReport
    from napari_wsol.evaluation.single import MapFigures

HEADS = {
    "pxap": "PxAP %",
    "image_dice": "Dice",
    "image_iou": "IoU",
    "best_image_dice": "Dice, best cut",
    "best_image_iou": "IoU, best cut",
    "pointing_game": "Pointing game",
    "iobb_0.1": "IoBB > 0.1",
    "iobb_0.25": "IoBB > 0.25",
    "iobb_0.5": "IoBB > 0.5",
    "max_box_acc_v2": "MaxBoxAccV2 %",
}
"""Figures that are shown, the first three in the dock, and their heads."""

STEP = 5
"""Every so many thresholds are drawn: more than the screen tells apart."""

EMPTY = "Localize, and choose a reference in Compare; then its scores stand here."


class Row(NamedTuple):
    """A map beside the reference; a prior is one that no network made."""

    title: str
    figures: MapFigures | None
    cut: float
    is_prior: bool

    @property
    def values(self) -> Mapping[str, float]:
        """Figures by name, at the cut; none while they are not known."""
        known = self.figures
        return {} if known is None else {**known.fixed, **known.at(self.cut)}


def shown(rows: Sequence[Row], name: str) -> list[tuple[str, bool]]:
    """A column: its texts, and whether each is the best of the methods."""
    values = [row.values.get(name) for row in rows]
    own = [x for x, row in zip(values, rows, strict=True) if not row.is_prior]
    best = max((x for x in own if x is not None), default=-1.0)
    digits = 1 if HEADS[name].endswith("%") else 2
    return [
        ("–" if x is None else f"{x:.{digits}f}", x == best and not row.is_prior)
        for x, row in zip(values, rows, strict=True)
    ]


class RecallChart(QWidget):
    """Precision over recall of each map, with a dot where it is cut."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: Sequence[Row] = ()
        self.chosen = ""
        self.setMinimumHeight(220)
        self.setToolTip(
            "Precision (up) over recall (right) at all thresholds, from 0 to 1. Dots: "
            "the threshold as it is set; strong: the chosen method."
        )

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the axes, the curves with their dots, and the legend."""
        del event
        painter, high = QPainter(self), self.fontMetrics().height()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text = self.palette().text().color()
        area = QRectF(self.rect()).adjusted(high, 8, -0.35 * self.width(), -high)
        painter.setPen(text)
        painter.drawRect(area)
        painter.drawText(area.bottomLeft() + QPointF(0, high - 2), "recall, 0 to 1")
        painter.drawText(area.topLeft() + QPointF(4, high), "precision, 0 to 1")
        for place, row in enumerate(row for row in self.rows if not row.is_prior):
            curve = None if row.figures is None else row.figures.curve
            colour = QColor(SERIES[place % len(SERIES)])
            strong = row.title == self.chosen
            painter.setPen(QPen(colour, 3.0 if strong else 1.0))
            at = QPointF(area.right() + 10, area.top() + (place + 1) * high)
            painter.drawText(at, row.title)
            if curve is None:
                continue
            x = area.left() + area.width() * curve.recall
            y = area.bottom() - area.height() * curve.precision
            line = zip(x[::STEP].tolist(), y[::STEP].tolist(), strict=True)
            painter.drawPolyline(QPolygonF([QPointF(*point) for point in line]))
            painter.setBrush(colour)
            cut = curve.nearest(row.cut)
            painter.drawEllipse(QPointF(x[cut], y[cut]), 4.0, 4.0)
            painter.setBrush(Qt.BrushStyle.NoBrush)


class ScoresWindow(QDialog):
    """All figures of the open image's maps; and over the list, on request.

    Args:
        parent: in front of which it stays; it stops nothing.
    """

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Scores")
        self.resize(720, 640)
        self.table, self.chart = QTextBrowser(), RecallChart()
        self.report = QTextBrowser()
        self.report.hide()
        self.score_button = push_button(
            "Score the list…",
            "Measure the model on all images of the list that have a reference of "
            "their own, as napari-wsol evaluate does.",
        )
        self.job_bar = JobBar((JobKind.SCORE,), self.score_button)
        parts = (self.table, self.chart, self.job_bar, self.report)
        fill_column(self, *parts, margins=(8, 8, 8, 8))
        self.show_rows((), "")

    def show_rows(self, rows: Sequence[Row], chosen: str) -> None:
        """These maps, the best of each column bold, what they should beat in grey."""
        names = [x for x in HEADS if any(x in row.values for row in rows)]
        lines = [["", *(f"<b>{escape(HEADS[x])}</b>" for x in names)]]
        columns = [shown(rows, name) for name in names]
        for place, row in enumerate(rows):
            cells = [column[place] for column in columns]
            texts = [f"<b>{x}</b>" if best else x for x, best in cells]
            line = [f"{escape(row.title)} at {row.cut:.2f}", *texts]
            lines.append([f"<i>{x}</i>" if row.is_prior else x for x in line])
        body = "".join(f"<tr><td>{'</td><td>'.join(line)}</td></tr>" for line in lines)
        self.table.setHtml(f"<table cellpadding=4>{body}</table>" if names else EMPTY)
        self.chart.rows, self.chart.chosen = rows, chosen
        self.chart.setVisible(any(x.figures and x.figures.curve for x in rows))
        self.chart.update()

    def show_report(self, report: ModelReport) -> None:
        """What was found over the list, with intervals."""
        self.report.setMarkdown(report.to_markdown())
        self.report.show()
