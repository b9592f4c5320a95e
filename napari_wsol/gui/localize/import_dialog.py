"""What to import, and what its files do not say: asked in one small form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QDialog, QDialogButtonBox, QLabel, QVBoxLayout

from napari_wsol.config import WEIGHT_FILES, Option, Setting
from napari_wsol.gui.compat import needed
from napari_wsol.gui.widgets.forms import Fields, choose_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from qtpy.QtWidgets import QWidget

    from napari_wsol.errors import Question

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
        about = QLabel(message)
        about.setWordWrap(True)
        rows.addWidget(about)
        rows.addWidget(form)
        rows.addWidget(self._buttons())
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

    def _buttons(self) -> QDialogButtonBox:
        kind = QDialogButtonBox.StandardButton
        buttons = QDialogButtonBox(kind.Ok | kind.Cancel, parent=self)
        self.import_button = needed(buttons.button(kind.Ok))
        self.import_button.setText("Import")
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        return buttons

    def _update(self) -> None:
        """Import can be pressed once all is answered."""
        missing = [key for key in self.fields if not self.answer(key)]
        self.import_button.setEnabled(not missing)
        self.import_button.setToolTip(
            "Answer all questions first." if missing else "Import with these answers."
        )


def choose_file(parent: QWidget) -> Path | None:
    """Ask for a checkpoint file."""
    return choose_path(parent, "Import a checkpoint", files=CHECKPOINTS)


def choose_folder(parent: QWidget) -> Path | None:
    """Ask for a folder with a checkpoint."""
    return choose_path(parent, "Import a folder")


def _name(text: str) -> Setting:
    return Setting(str, Option(text), "It becomes a folder among your own models.")


def _setting(item: Question) -> Setting:
    """A question as a form asks it.

    Nothing is proposed: a wrong guess would give wrong maps without a word.
    """
    choices = {choice: choice for choice in item.choices}
    return Setting(str, Option(item.text, choices=choices), item.text)
