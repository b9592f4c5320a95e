"""How well each map agrees with the reference: all figures, curves, and over a list."""

from __future__ import annotations

from html import escape
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

from qtpy.QtCore import QPointF, Qt
from qtpy.QtGui import QPen, QPolygonF
from qtpy.QtWidgets import QDialog, QTextBrowser

from napari_wsol.gui.compat import needed
from napari_wsol.gui.widgets.charts import Curves
from napari_wsol.gui.widgets.job_bar import JobBar
from napari_wsol.gui.widgets.panel import fill_column, push_button
from napari_wsol.images.heatmap import cut_of
from napari_wsol.jobs import JobKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qtpy.QtCore import QRect, QSizeF
    from qtpy.QtGui import QPainter
    from qtpy.QtWidgets import QWidget

    from napari_wsol.evaluation.report import ModelReport
    from napari_wsol.evaluation.single import MapFigures

HEADS = {
    "pxap": "PxAP %",
    "image_dice": "Dice",
    "image_iou": "IoU",
    "best_image_dice": "Dice, best mIoU cut",
    "best_image_iou": "IoU, best mIoU cut",
    "pointing_game": "Pointing game",
    "iobb_0.1": "IoBB > 0.1",
    "iobb_0.25": "IoBB > 0.25",
    "iobb_0.5": "IoBB > 0.5",
    "max_box_acc_v2": "MaxBoxAccV2 %",
}
"""Figures that are shown, the first three in the dock, and their heads."""

BEST = (
    "Best mIoU cut: where the mean IoU of foreground and background is best, as "
    "evaluate reports; Dice and IoU alone may be higher at another one."
)

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


class RecallChart(Curves):
    """Precision over recall of each map, with a dot where it is cut."""

    def __init__(self) -> None:
        super().__init__("Precision (up) over recall", limits=(0.0, 1.0))
        self.rows: dict[str, Row] = {}
        self._chosen = ""
        self.setMinimumHeight(220)
        self.setToolTip(
            "Precision (up) over recall (right) at all thresholds, from 0 to 1. Dots: "
            "the threshold as it is set; strong: the chosen method."
        )

    def show_rows(self, rows: Sequence[Row], chosen: str) -> None:
        """Draw the methods among these, one of them strong."""
        self.rows = {row.title: row for row in rows if not row.is_prior}
        self._chosen = chosen
        self.start()
        self.add(dict.fromkeys(self.rows, 0.0))
        self.setVisible(any(x.figures and x.figures.curve for x in rows))

    def _latest(self, name: str) -> str:
        return name

    def _draw_curve(self, painter: QPainter, area: QRect, span: Any, name: str) -> None:  # noqa: ANN401 - as above it
        del span
        row, colour = self.rows[name], painter.pen().color()
        if row.figures is None or (curve := row.figures.curve) is None:
            return
        x = area.left() + area.width() * curve.recall
        y = area.bottom() - area.height() * curve.precision
        painter.setPen(QPen(colour, 3.0 if name == self._chosen else 1.0))
        line = zip(x[::STEP].tolist(), y[::STEP].tolist(), strict=True)
        painter.drawPolyline(QPolygonF([QPointF(*point) for point in line]))
        cut = curve.nearest(cut_of(row.cut, signed=row.figures.signed))
        painter.setBrush(colour)
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
        self.table.setToolTip(BEST)
        sized = needed(needed(self.table.document()).documentLayout())
        sized.documentSizeChanged.connect(self._fit_table)
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
            cut = row.figures and row.figures.best_threshold
            for k, name in enumerate(names):
                if name.startswith("best_") and cut is not None:
                    texts[k] += f" at {cut:.2f}"
            line = [f"{escape(row.title)} at {row.cut:.2f}", *texts]
            lines.append([f"<i>{x}</i>" if row.is_prior else x for x in line])
        body = "".join(f"<tr><td>{'</td><td>'.join(line)}</td></tr>" for line in lines)
        self.table.setHtml(f"<table cellpadding=4>{body}</table>" if names else EMPTY)
        self.chart.show_rows(rows, chosen)

    def _fit_table(self, size: QSizeF) -> None:
        """As high as its rows; the curve has the rest."""
        high = ceil(size.height()) + 2 * self.table.frameWidth()
        self.table.setFixedHeight(min(high, self.height() // 2))

    def show_report(self, report: ModelReport) -> None:
        """What was found over the list, with intervals."""
        self.report.setMarkdown(report.to_markdown())
        self.report.show()
