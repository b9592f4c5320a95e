"""From an authors' checkpoint to a model of the list, in the background."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QVBoxLayout

from napari_wsol.config import WEIGHT_FILES, Option, Setting
from napari_wsol.errors import ConfigError, UnansweredError
from napari_wsol.gui.compat import needed
from napari_wsol.gui.widgets.forms import Fields
from napari_wsol.gui.widgets.panel import add_buttons, put, wrapped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from qtpy.QtWidgets import QWidget

    from napari_wsol.errors import Question
    from napari_wsol.gui.context import Context


CHECKPOINTS = f"Checkpoints ({WEIGHT_FILES})"

NAME = "name"
"""Key of the question how the model shall be called."""


class ImportDialog(QDialog):
    """Asks for the name of a model, and for what its checkpoint does not say.

    Args:
        message: what the questions are about.
        questions: each gets its text and below it a list or a line.
        name: proposed for the model.
        given: earlier answers, by key.
        parent: widget in front of which it opens.
    """

    def __init__(
        self,
        message: str,
        questions: Sequence[Question],
        name: str,
        given: Mapping[str, str],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Import a model")
        self.setMinimumWidth(420)
        texts = {item.key: item.text for item in questions}
        settings = {NAME: _name(texts.get(NAME, "Name of the model in your list"))}
        settings |= {item.key: _setting(item) for item in questions if item.key != NAME}
        form = Fields(above=True)
        for key, setting in settings.items():
            form.add(key, setting)
            value = {**given, NAME: name}.get(key)
            if value and setting.allows(value):
                form.show_values(**{key: value})
        form.edited.connect(self._update)
        self.fields = form.fields
        rows = QVBoxLayout(self)
        rows.setSpacing(10)
        put(rows, wrapped(message), form)
        kind = QDialogButtonBox.StandardButton
        buttons = add_buttons(self, kind.Ok | kind.Cancel)
        self.import_button = needed(buttons.button(kind.Ok))
        self.import_button.setText("Import")
        self._update()

    @property
    def name(self) -> str:
        """The chosen name."""
        return self.answer(NAME)

    @property
    def answers(self) -> dict[str, str]:
        """What was answered, by key; without the name."""
        return {key: self.answer(key) for key in self.fields if key != NAME}

    def answer(self, key: str) -> str:
        """What is answered to a question by now; empty for nothing."""
        return str(self.fields[key].value or "").strip()

    def _update(self) -> None:
        """Import can be pressed once all is answered."""
        missing = [key for key in self.fields if not self.answer(key)]
        self.import_button.setEnabled(not missing)
        self.import_button.setToolTip(
            "Answer all questions first." if missing else "Import with these answers."
        )


def _name(text: str) -> Setting:
    return Setting(str, Option(text), "It becomes a folder among your own models.")


def _setting(item: Question) -> Setting:
    """A question as a form asks it.

    Nothing is proposed: a wrong guess would give wrong maps without a word.
    """
    choices = {choice: choice for choice in item.choices}
    return Setting(str, Option(item.text, choices=choices), item.text)


@dataclass(frozen=True, slots=True)
class Wish:
    """What shall be imported, and what was answered so far."""

    path: Path
    name: str | None = None
    answers: dict[str, str] = field(default_factory=dict)
    asked: tuple[Question, ...] = ()


class Importer(QObject):
    """Imports, asks for what the files do not say, and imports again."""

    imported = Signal(object)
    """The card of the new model. What goes wrong comes with the failed job."""

    def __init__(self, context: Context) -> None:
        super().__init__(context.dock)
        self._context = context
        self.dialog: ImportDialog | None = None
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
            self._ask(wish, error.questions)
        elif isinstance(error, ConfigError) and wish.asked:
            self._ask(wish, wish.asked, f"{error} ")  # what was typed is still there

    def _ask(self, wish: Wish, asked: tuple[Question, ...], why: str = "") -> None:
        """Open the form; it does not stop the window."""
        is_taken = any(item.key == NAME for item in asked)
        from napari_wsol.zoo import next_name, proposed_name  # after an import

        name = wish.name or proposed_name(wish.path)
        dialog = ImportDialog(
            f"{why}Before “{wish.path.name}” can be imported:",
            asked,
            next_name(name) if is_taken else name,
            wish.answers,
            self._context.dock,
        )

        def go_on() -> None:
            answers = {**wish.answers, **dialog.answers}
            name = dialog.name
            self._try(replace(wish, name=name, answers=answers, asked=asked))

        dialog.accepted.connect(go_on)
        dialog.finished.connect(self._forget_dialog)
        self.dialog = dialog
        dialog.open()

    def _forget_dialog(self) -> None:
        if self.dialog is not None:
            self.dialog.deleteLater()
            self.dialog = None
