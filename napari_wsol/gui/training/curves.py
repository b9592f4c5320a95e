"""How a training goes: losses, accuracy, and evaluations on other images."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_wsol.gui.training.evaluation_chart import EvaluationChart
from napari_wsol.gui.widgets.charts import Curves
from napari_wsol.gui.widgets.job_bar import grouped
from napari_wsol.gui.widgets.panel import Words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_wsol.gui.training.recipes import Outlook
    from napari_wsol.training.run import Evaluation
    from napari_wsol.training.trainer import TrainStep

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

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
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
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(8)
        rows.addWidget(self.losses, 3)
        rows.addWidget(self.other_loss, 2)
        rows.addWidget(self.accuracy, 2)
        rows.addWidget(self.scores, 3)
        rows.addWidget(self.choice)

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
            chart.set_steps(step.steps)
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
