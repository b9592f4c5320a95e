"""From an authors' checkpoint to a model of the list, in the background."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_wsol.config import WEIGHT_FILES
from napari_wsol.errors import Question, UnansweredError
from napari_wsol.gui.widgets.choosing import ChoiceDialog

if TYPE_CHECKING:
    from pathlib import Path

    from napari_wsol.gui.context import Context


CHECKPOINTS = f"Checkpoints ({WEIGHT_FILES})"

NAME = "name"
"""Key of the question how the model shall be called."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What shall be imported, and what was answered so far."""

    path: Path
    name: str | None = None
    answers: dict[str, str] = field(default_factory=dict)


class Importer(QObject):
    """Imports, asks for what the files do not say, and imports again."""

    imported = Signal(object)
    """The card of the new model. What goes wrong comes with the failed job."""

    def __init__(self, context: Context) -> None:
        super().__init__(context.dock)
        self._context = context
        self.dialog: ChoiceDialog | None = None
        """The form, while it is open."""
        context.at_parting(self.close)

    def close(self) -> None:
        """Ask nothing any more; what is being imported goes on or not, as the job."""
        if self.dialog is not None:
            self.dialog.reject()

    def start(self, path: Path) -> None:
        """Import a checkpoint or a folder."""
        self._try(Wish(path))

    def _try(self, wish: Wish) -> None:
        session, tasks = self._context.session, self._context.tasks
        future = session.import_model(wish.path, wish.name, wish.answers)
        tasks.follow(future, self.imported.emit, partial(self._on_failed, wish))

    def _on_failed(self, wish: Wish, error: BaseException) -> None:
        if isinstance(error, UnansweredError):
            self._ask(wish, error)

    def _ask(self, wish: Wish, error: UnansweredError) -> None:
        """Open the form; it does not stop the window."""
        texts = {item.key: item.text for item in error.questions}
        from napari_wsol.zoo import next_name, proposed_name  # after an import

        name = wish.name or proposed_name(wish.path)
        words = texts.get(NAME, "Name of the model: a folder among your own models")
        proposed = next_name(name) if NAME in texts else name
        dialog = ChoiceDialog(
            "Import a model",
            f"Before “{wish.path.name}” can be imported:",
            (
                Question(NAME, words, proposed=proposed),
                *(item for item in error.questions if item.key != NAME),
            ),
            wish.answers,
            self._context.dock,
            verb="Import",
        )

        def go_on() -> None:
            answers = {**wish.answers, **dialog.answers}
            self._try(replace(wish, name=answers.pop(NAME), answers=answers))

        dialog.accepted.connect(go_on)
        dialog.finished.connect(self._forget_dialog)
        self.dialog = dialog
        dialog.open()

    def _forget_dialog(self) -> None:
        if self.dialog is not None:
            self.dialog.deleteLater()
            self.dialog = None
