"""How a training goes: losses, accuracy, and evaluations on other images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QPointF, Qt
from qtpy.QtGui import QPen, QPolygonF
from qtpy.QtWidgets import QWidget

from napari_wsol.gui.widgets.charts import Curves
from napari_wsol.gui.widgets.elided import Words
from napari_wsol.gui.widgets.job_bar import grouped
from napari_wsol.gui.widgets.panel import fill_column

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qtpy.QtCore import QRect
    from qtpy.QtGui import QPainter

    from napari_wsol.gui.training.recipes import Outlook
    from napari_wsol.training.run import Evaluation
    from napari_wsol.training.trainer import TrainStep

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
    ) -> None:
        super().__init__(title, limits=limits, colours=colours)
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
        steps = max(self.steps, *self._after, 1)
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


NAMES = {"localization": "right place", "classification": "right class"}
"""How evaluations are called here; a pathologist knows no PxAP."""

SCORES_TIP = (
    "Right place: how well the map covers what is outlined on a few images (PxAP; 100 "
    "is perfect, but a map that is the same everywhere gets more than 0).\n"
    "Right class: share of the images that are classified right (of several findings "
    "an image: the mean area under their ROC curves; 50 is guessing)."
)
LOSS_TIP = "Rising while the losses above fall: it learns its images by heart."


class TrainCurves(QWidget):
    """Charts one above the other, and a line that says which weights are taken."""

    def __init__(self) -> None:
        super().__init__()
        self.losses = Curves("Loss: how wrong it is on each batch; down is better")
        self.accuracy = Curves(
            "Accuracy: share of each batch that it classifies right",
            limits=(0.0, 1.0),
            colours=3,
        )
        self.scores = EvaluationChart(
            "On images that it does not learn from; up is better",
            NAMES,
            limits=(0.0, 100.0),
            unit=" %",
            colours=4,
        )
        self.scores.setToolTip(SCORES_TIP)
        self.other_loss = EvaluationChart(
            "Loss on images that it does not learn from; down is better",
            {"loss": "loss"},
            digits=3,
            colours=5,
        )
        self.other_loss.setToolTip(LOSS_TIP)
        self.choice = Words()
        self._select, self._by_loss, self._evaluates = "last", False, False
        rows = fill_column(self, *self.charts, self.choice, spacing=8)
        for place, share in enumerate((3, 2, 2, 3)):
            rows.setStretch(place, share)

    @property
    def charts(self) -> tuple[Curves, ...]:
        """All of them, from the top."""
        return self.losses, self.other_loss, self.accuracy, self.scores

    @property
    def is_empty(self) -> bool:
        """Whether nothing is drawn."""
        return not self.losses.values

    def start(self, outlook: Outlook) -> None:
        """What an earlier training left, or nothing."""
        self._select, self._by_loss = outlook.select, outlook.by_loss
        self._evaluates = outlook.evaluates
        for chart in self.charts:
            chart.start(outlook.steps)
        for losses, accuracy in outlook.history:
            self._add(losses, accuracy)
        for step, values, best in outlook.evaluations:
            self._add_evaluation(step, values, best=best)
        self._show()

    def add_step(self, step: TrainStep) -> None:
        """One step further."""
        for chart in self.charts:
            chart.steps = step.steps
        for chart in (self.losses, self.accuracy):
            chart.cut(step.step - 1)
        self._add(step.losses, step.accuracy)

    def add_evaluation(self, evaluation: Evaluation) -> None:
        """One evaluation further."""
        self._add_evaluation(evaluation.step, evaluation.values, best=evaluation.best)
        self._show()

    def _add(self, losses: Mapping[str, float], accuracy: float | None) -> None:
        self.losses.add(losses)
        if accuracy is not None:  # a model without an image classifier has none
            self.accuracy.add({"accuracy": accuracy})
        self._align()

    def _align(self) -> None:
        """The same step stands above the same step."""
        widest = max(chart.legend_needed for chart in self.charts)
        for chart in self.charts:
            if chart.legend < widest:
                chart.legend = widest
                chart.update()

    def _add_evaluation(
        self, step: int, values: Mapping[str, float], *, best: bool
    ) -> None:
        marked = self._select if best else ""
        self.scores.add_evaluation(step, values, best=marked)
        self.other_loss.add_evaluation(step, values, best=marked)
        self._align()

    def _show(self) -> None:
        """Only what this training evaluates."""
        self.scores.setVisible(self._evaluates)
        self.other_loss.setVisible(self._evaluates and self._by_loss)
        self.choice.setVisible(self._evaluates)
        self.choice.setText(self._words())

    def _words(self) -> str:
        if self._select == "last":
            return "The last weights become the model, whatever these curves say."
        best = self.scores.best or self.other_loss.best
        by = NAMES.get(self._select, self._select)
        if best is None:
            return f"The weights that are best by “{by}” become the model."
        return (
            f"Best by “{by}” so far: after step {grouped(best)} (ringed). These "
            "weights become the model, unless better ones come."
        )
