"""From an authors' checkpoint to a model of the list, in the background."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_wsol.config import WEIGHT_FILES
from napari_wsol.errors import ConfigError, Question, UnansweredError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_wsol.gui.context import Context
    from napari_wsol.gui.widgets.choosing import Chooser


CHECKPOINTS = f"Checkpoints ({WEIGHT_FILES})"

NAME = "name"
"""Key of the question how the model shall be called."""


class Importer(QObject):
    """Imports, asks for what the files do not say, and imports again."""

    imported = Signal(object)
    """The card of the new model. What goes wrong comes with the failed job."""

    def __init__(self, context: Context, chooser: Chooser) -> None:
        super().__init__(context.dock)
        self._context, self.chooser = context, chooser

    def start(
        self,
        path: Path,
        given: Mapping[str, str] | None = None,
        asked: tuple[Question, ...] = (),
    ) -> None:
        """Import a checkpoint or a folder, with what was answered so far."""
        answers = dict(given or {})
        name = answers.pop(NAME, None)

        def on_failed(error: BaseException) -> None:
            questions, wrong = asked, f"{error} "  # what was typed is still there
            if isinstance(error, UnansweredError):
                questions, wrong = error.questions, ""
            elif not (asked and isinstance(error, ConfigError)):
                return
            from napari_wsol.zoo import next_name, proposed_name  # after an import

            texts = {item.key: item.text for item in questions}
            words = texts.pop(NAME, "")
            called = "Name of the model: a folder among your own models"
            proposed = name or proposed_name(path)
            proposed = next_name(proposed) if words else proposed
            rest = (item for item in questions if item.key in texts)
            self.chooser.ask(
                "Import a model",
                f"{wrong}Before “{path.name}” can be imported:",
                (Question(NAME, words or called, proposed=proposed), *rest),
                lambda more: self.start(path, {**answers, **more}, questions),
                given=answers,
                verb="Import",
            )

        future = self._context.session.import_model(path, name, answers)
        self._context.tasks.follow(future, self.imported.emit, on_failed)
