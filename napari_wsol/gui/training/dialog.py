"""Train a model: what it shall be, how it goes, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QDialog, QProgressBar, QVBoxLayout

from napari_wsol.gui.messages import MessageLine
from napari_wsol.gui.training.curves import TrainCurves
from napari_wsol.gui.training.form import TrainForm
from napari_wsol.gui.widgets.elided import Words
from napari_wsol.gui.widgets.job_bar import grouped, show_progress
from napari_wsol.gui.widgets.panel import push_button, put, row, wrapped
from napari_wsol.jobs import duration

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from qtpy.QtCore import QEvent
    from qtpy.QtGui import QShowEvent
    from qtpy.QtWidgets import QWidget

    from napari_wsol.gui.training.recipes import Outlook
    from napari_wsol.jobs import JobStatus
    from napari_wsol.methods.card import Card
    from napari_wsol.training.run import Evaluation
    from napari_wsol.training.trainer import TrainStep

INVITATION = (
    "Choose a recipe: that of an installed model, to train it again or on images of "
    "your own, a file, or what a paper used."
)
WAITS = (
    "While it trains, other jobs wait: opening, localizing and refining begin when it "
    "is finished or stopped. You may close this window; it goes on."
)


class TrainDialog(QDialog):
    """Shows a training; who opened it does what it asks for."""

    train_wanted = Signal(bool)
    """Whether to go on from the checkpoint."""

    discard_wanted = Signal()
    """The checkpoint of an unfinished training is not wanted any more."""

    cancel_wanted = Signal()
    use_wanted = Signal(str)
    """Name of the new model."""

    returned = Signal()
    """Somebody comes back to it, perhaps from editing the recipe."""

    def __init__(self, parent: QWidget | None = None) -> None:
        self.outlook: Outlook | None = None  # Qt sends events before the end of this
        super().__init__(parent)
        self.setWindowTitle("Train a model")
        self.setModal(False)
        self.setMinimumWidth(460)
        self.is_running = False
        self._card: Card | None = None
        self._is_listed = self._asks = False
        self._end = ("", False)
        self.form = TrainForm()
        self.form.copied.connect(self._on_copied)
        self.form.failed.connect(self._on_failed)
        self.summary = wrapped(INVITATION)
        self.message = MessageLine()
        self.bar = QProgressBar()
        self.bar.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.curves = TrainCurves()
        self.waits = Words(WAITS)
        self._make_buttons()
        self._lay_out()
        self._update()

    def _make_buttons(self) -> None:
        self.train_button = push_button(
            "Train", "Learn in the background. It can be stopped and resumed."
        )
        self.train_button.clicked.connect(self._on_train)
        self.discard_button = push_button(
            "Start over…", "Throw the unfinished training away and begin a new one."
        )
        self.discard_button.clicked.connect(self._on_discard)
        self.keep_button = push_button("Keep it", "The unfinished training stays.")
        self.keep_button.clicked.connect(self._on_keep)
        self.cancel_button = push_button(
            "Cancel", "Stop, and keep a checkpoint from which Resume goes on."
        )
        self.cancel_button.clicked.connect(self._on_cancel)
        self.use_button = push_button("Use it", "Choose the new model in the dock.")
        self.use_button.clicked.connect(self._on_use)
        self.close_button = push_button("Close", "A training that runs goes on.")
        self.close_button.clicked.connect(self.hide)

    def _lay_out(self) -> None:
        rows = QVBoxLayout(self)
        rows.setSpacing(8)
        put(rows, self.form, self.summary, self.message, self.bar)
        rows.addWidget(self.curves, 1)
        rows.addWidget(self.waits)
        rows.addStretch(1)
        buttons = (
            self.keep_button,
            self.discard_button,
            self.use_button,
            self.train_button,
            self.cancel_button,
        )
        put(rows, row(self.close_button, None, *buttons))
        for button in (self.close_button, *buttons):
            button.setAutoDefault(False)

    # ------------------------------------------------------------------- what is known

    def wait_for_outlook(self) -> None:
        """Something was filled in; what comes of it is being looked up."""
        self.outlook, self._card = None, None
        self._end, self._asks = ("", False), False
        self._update()

    def show_models(self, names: Collection[str]) -> None:
        """Which models are in the list by now."""
        self.use_button.setEnabled(self._card is not None and self._card.name in names)

    def show_outlook(self, outlook: Outlook) -> None:
        """What would come of what is filled in."""
        self.outlook, self._asks = outlook, False
        self.form.show_outlook(outlook)
        self.summary.setText(outlook.summary or INVITATION)
        ending, is_failure = self._end
        words = [ending, outlook.trouble if outlook.wish.recipe is not None else ""]
        if outlook.unfinished and not outlook.trouble:
            words.append(
                f"An unfinished training of “{outlook.name}” is here, stopped after "
                f"{grouped(len(outlook.history))} steps. Resume goes on with it."
            )
        # What is still to be filled in is no mistake.
        is_wrong = outlook.trouble and not (outlook.summary and not outlook.wish.data)
        self._say(" ".join(filter(None, words)), warning=is_failure or bool(is_wrong))
        if not ending:
            self.curves.start(outlook)
        self._update()

    def show_status(self, status: JobStatus) -> None:
        """How far it is."""
        if not status.is_active or not self.is_running:
            return
        words = [status.message or "starting"]
        if status.state == "queued":
            words = ["waits until the job before it is finished…"]
        elif status.total:
            unit = " steps" if status.message == "training" else ""
            words.append(f"{grouped(status.done)}/{grouped(status.total)}{unit}")
        if status.seconds_left is not None:
            words.append(f"{duration(status.seconds_left)} left")
        show_progress(self.bar, status, " · ".join(words))

    def add_step(self, step: TrainStep) -> None:
        """One step further."""
        self.curves.add_step(step)

    def add_evaluation(self, evaluation: Evaluation) -> None:
        """What it is worth on other images."""
        self.curves.add_evaluation(evaluation)
        self._grow()

    def show_started(self) -> None:
        """It runs, or waits for its turn."""
        self.is_running, self._card = True, None
        self._end = ("", False)
        self.message.say("")
        self.cancel_button.setEnabled(True)
        self.bar.setRange(0, 1)
        self.bar.setValue(0)
        self.bar.setFormat("starting")
        if self.outlook is not None:
            self.curves.start(self.outlook)
        self._update()

    def show_stopped(self, sentence: str, *, warning: bool) -> None:
        """It ended without a model."""
        self.is_running, self.outlook = False, None  # there may be a checkpoint now
        self._end = (sentence, warning)
        self._say(sentence, warning=warning)
        self._update()

    def show_finished(self, card: Card, *, listed: bool) -> None:
        """There is a new model."""
        from napari_wsol.training.run import LEFT_OUT

        self.is_running = False
        self._card, self._is_listed = card, listed
        self.use_button.setEnabled(False)  # until the list was read anew
        where = (
            "It is in the list of models now."
            if listed
            else f"It is in {card.folder}, which is not in the list of models."
        )
        told = f"“{card.title}” is finished. {where}{_figures(card)}"
        left_out = [limit for limit in card.limits if limit.startswith(LEFT_OUT)]
        self._say(" ".join([told, *left_out]), warning=bool(left_out))
        self._update()

    # ------------------------------------------------------------------------- helpers

    def _say(self, sentence: str, *, warning: bool) -> None:
        (self.message.warn if warning else self.message.say)(sentence)

    def _update(self) -> None:
        """Show what can be pressed, and no more."""
        running, outlook = self.is_running, self.outlook
        unfinished = outlook is not None and outlook.unfinished
        finished = self._card is not None
        ready = outlook is not None and not outlook.trouble
        self.form.setVisible(not running)
        name = f": {outlook.name}" if running and outlook is not None else ""
        self.setWindowTitle(f"Train a model{name}")
        self.bar.setVisible(running)
        self.waits.setVisible(running)
        self.curves.setVisible(running or not self.curves.is_empty)
        self.cancel_button.setVisible(running)
        self.use_button.setVisible(finished and self._is_listed)
        idle = not running and not finished
        self.train_button.setVisible(idle and not self._asks)
        self.train_button.setEnabled(ready)
        self.train_button.setText("Resume" if unfinished else "Train")
        self.discard_button.setVisible(idle and unfinished)
        self.discard_button.setText("Throw away" if self._asks else "Start over…")
        self.keep_button.setVisible(idle and unfinished and self._asks)
        self._grow()

    def _grow(self) -> None:
        """Make room for what is shown now; Qt would squeeze it into the old height."""
        rows = self.layout()
        if rows is None:
            return
        rows.activate()
        needed = max(rows.totalHeightForWidth(self.width()), rows.sizeHint().height())
        if self.height() < needed:
            self.resize(self.width(), needed)

    def showEvent(self, event: QShowEvent) -> None:
        """Only now the style, and with it all heights, are known."""
        super().showEvent(event)
        self._grow()

    def changeEvent(self, event: QEvent) -> None:
        """What was edited in another window is read again."""
        super().changeEvent(event)
        is_open = self.outlook is not None and not self.is_running
        comes = event.type() == event.Type.ActivationChange and self.isActiveWindow()
        if comes and is_open and self._card is None and not self._asks:
            self.returned.emit()

    def _on_copied(self, path: Path) -> None:
        """A paper's recipe is the person's own file now."""
        self._end = (
            f"Your copy is {path}. Open it in a text editor, change what is marked "
            "with EDIT (folders and classes), save it, and come back: it is read anew.",
            False,
        )

    def _on_failed(self, sentence: str) -> None:
        self._say(sentence, warning=True)
        self._update()

    def _on_train(self) -> None:
        self.train_wanted.emit(self.outlook is not None and self.outlook.unfinished)

    def _on_discard(self) -> None:
        """Asked for twice, as hours of work may be in it."""
        self._asks = not self._asks
        if self._asks:
            done = len(self.outlook.history) if self.outlook is not None else 0
            self.message.warn(
                f"Throw the {grouped(done)} steps of the unfinished training away?"
            )
        else:
            self.discard_wanted.emit()
        self._update()

    def _on_keep(self) -> None:
        self._asks = False
        if self.outlook is not None:
            self.show_outlook(self.outlook)

    def _on_cancel(self) -> None:
        self.cancel_button.setEnabled(False)
        self.bar.setFormat("stopping after this step…")
        self.cancel_wanted.emit()

    def _on_use(self) -> None:
        if self._card is not None:
            self.use_wanted.emit(self._card.name)


def _figures(card: Card) -> str:
    """The main figures that were measured, as a sentence."""
    on, right = card.metrics.get("measured_on"), card.metrics.get("accuracy_percent")
    pxap = card.metrics.get("pxap_percent")
    words = [] if right is None else [f"{right} % classified right"]
    if isinstance(pxap, dict) and card.primary in pxap:
        words.append(f"PxAP {pxap[card.primary]}")
    return f" On {on}: {', '.join(words)}." if on and words else ""
