"""From a recipe and images to a model of the list, in the background."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_wsol.errors import JobCancelledError, WsolError
from napari_wsol.gui.tasks import once
from napari_wsol.gui.training.dialog import TrainDialog
from napari_wsol.gui.training.recipes import discard, look_ahead
from napari_wsol.jobs import JobKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future

    from napari_wsol.gui.context import Context
    from napari_wsol.gui.training.recipes import Outlook
    from napari_wsol.jobs import JobStatus
    from napari_wsol.methods.card import Card
    from napari_wsol.training.run import Evaluation
    from napari_wsol.training.trainer import TrainStep

TYPING_MS = 200
"""A pause in typing after which what was typed is looked up."""


class TrainingController(QObject):
    """Opens the dialog, starts and stops what it asks for, and tells how it goes."""

    trained = Signal(object)
    """Card of a new model of the list."""

    use_wanted = Signal(str)
    """Name of a model to load."""

    def __init__(self, context: Context) -> None:
        super().__init__(context.dock)
        self._context, self._session = context, context.session
        self._future: Future[Card] | None = None
        self._state = ""
        self._stop = threading.Event()
        self._cards: tuple[Card, ...] = ()
        self.dialog: TrainDialog | None = None
        """The dialog, once it was opened."""
        self._timer = once(self, TYPING_MS, self._look_up)
        context.at_parting(self.close)
        events = context.events
        events.job_changed.connect(self._on_job)
        events.train_step.connect(self._on_step)
        events.train_evaluated.connect(self._on_evaluated)

    @property
    def is_running(self) -> bool:
        """Whether a training runs or waits."""
        return self._future is not None

    @property
    def holds_others_up(self) -> bool:
        """Whether it runs, so that other jobs wait for it."""
        return self.is_running and self._state == "running"

    def close(self) -> None:
        """The dock is gone; what trained has left a checkpoint."""
        self._timer.stop()
        if self.dialog is not None:
            self.dialog.close()

    def open(self) -> None:
        """Show the dialog; it does not stop the window."""
        if self.dialog is None:
            self.dialog = self._make_dialog()
        self.dialog.form.show_recipes(self._cards)
        self.dialog.show()
        self.dialog.raise_()
        self.dialog.activateWindow()

    def show_models(self, cards: Iterable[Card]) -> None:
        """The installed models, whose recipes are offered."""
        self._cards = tuple(cards)
        if self.dialog is not None:
            self.dialog.form.show_recipes(self._cards)
            self.dialog.show_models([card.name for card in self._cards])

    def _make_dialog(self) -> TrainDialog:
        dialog = TrainDialog(self._context.dock)
        dialog.form.edited.connect(self._on_changed)
        dialog.returned.connect(self._look_up)
        dialog.train_wanted.connect(self._train)
        dialog.discard_wanted.connect(self._discard)
        dialog.cancel_wanted.connect(self._cancel)
        dialog.use_wanted.connect(self.use_wanted)
        return dialog

    # ----------------------------------------------------------------- before it starts

    def _on_changed(self) -> None:
        if self.dialog is not None and not self.is_running:
            self.dialog.wait_for_outlook()
            self._timer.start()

    def _look_up(self) -> None:
        if self.dialog is not None:
            wish = self.dialog.form.wish
            self._ask(lambda: look_ahead(wish))

    def _ask(self, question: Callable[[], Outlook]) -> None:
        self._context.tasks.ask(
            question, self._on_outlook, self._on_no_outlook, kind="outlook"
        )

    def _on_outlook(self, outlook: Outlook) -> None:
        dialog = self.dialog
        if dialog is None or self.is_running:
            return
        if outlook.wish == dialog.form.wish:  # else more was filled in meanwhile
            dialog.show_outlook(outlook)

    def _on_no_outlook(self, error: BaseException) -> None:
        if self.dialog is not None and not self.is_running:
            self.dialog.show_stopped(f"That cannot be read: {error}", warning=True)

    def _discard(self) -> None:
        """Begin anew where an unfinished training is."""
        if self.dialog is not None and self.dialog.outlook is not None:
            old, wish = self.dialog.outlook, self.dialog.form.wish
            self.dialog.wait_for_outlook()
            self._ask(lambda: discard(old, wish))

    # ------------------------------------------------------------------------- the job

    def _train(self, resume: bool) -> None:
        dialog = self.dialog
        if dialog is None or dialog.outlook is None or self.is_running:
            return
        wish = dialog.outlook.wish
        if wish.recipe is None or wish.data is None:
            return
        self._stop = threading.Event()
        dialog.show_started()
        self._future = self._session.train(
            wish.recipe,
            wish.data,
            wish.out,
            init=wish.init,
            resume=resume,
            seed=wish.seed,
            name=dialog.outlook.name,
            stop=self._stop,
        )
        follow = self._context.tasks.follow
        follow(self._future, self._on_trained, self._on_stopped)

    def _cancel(self) -> None:
        """Stop this training; other jobs are not touched."""
        self._stop.set()
        if self._future is not None and self._future.cancel():
            self._on_stopped(JobCancelledError("Stopped before it began."))

    def _on_stopped(self, error: BaseException) -> None:
        dialog = self.dialog
        if dialog is None or not self.is_running:
            return
        self._future = None
        is_known = isinstance(error, WsolError)
        words = str(error) if is_known else f"{type(error).__name__}: {error}"
        dialog.show_stopped(words, warning=not isinstance(error, JobCancelledError))
        self._look_up()  # whether there is a checkpoint to resume from

    def _on_trained(self, card: Card) -> None:
        dialog = self.dialog
        if dialog is None or not self.is_running:
            return
        self._future = None
        listed = dialog.outlook is not None and dialog.outlook.wish.out is None
        dialog.show_finished(card, listed=listed)
        if listed:
            self.trained.emit(card)

    def _on_job(self, status: JobStatus) -> None:
        if status.kind is JobKind.TRAIN and self.dialog is not None:
            self._state = status.state
            self.dialog.show_status(status)

    def _on_step(self, step: TrainStep) -> None:
        if self.dialog is not None and self.is_running:
            self.dialog.add_step(step)

    def _on_evaluated(self, evaluation: Evaluation) -> None:
        if self.dialog is not None and self.is_running:
            self.dialog.add_evaluation(evaluation)
