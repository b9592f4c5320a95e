"""What to import, and what its files do not say: asked in one small form."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QLabel,
    QLineEdit,
    QVBoxLayout,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qtpy.QtWidgets import QWidget

    from napari_wsol.errors import Question

CHECKPOINTS = "*.pt *.pth *.ckpt *.pkl *.bin *.safetensors"
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
        self._rows = QVBoxLayout(self)
        self._rows.setSpacing(6)
        self.fields: dict[str, QComboBox | QLineEdit] = {}
        self._add_text(message)
        texts = {item.key: item.text for item in questions}
        self._add_name(texts.get(NAME, "Name of the model in your list"), name)
        for item in questions:
            if item.key != NAME:
                self._add_question(item, given.get(item.key, ""))
        self._add_buttons()
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
        field = self.fields[key]
        if isinstance(field, QComboBox):
            return field.currentText() if field.currentIndex() >= 0 else ""
        return field.text().strip()

    def _add_text(self, text: str) -> QLabel:
        label = QLabel(text)
        label.setWordWrap(True)
        self._rows.addWidget(label)
        return label

    def _add_name(self, text: str, name: str) -> None:
        self._rows.addSpacing(6)
        label = self._add_text(text)
        line = QLineEdit(name)
        line.setToolTip("It becomes a folder among your own models.")
        self._add_field(NAME, line, label)

    def _add_question(self, item: Question, given: str) -> None:
        self._rows.addSpacing(6)
        label = self._add_text(item.text)
        if not item.choices:
            self._add_field(item.key, QLineEdit(given), label)
            return
        # Nothing is proposed: a wrong guess would give wrong maps without a word.
        box = QComboBox()
        box.addItems(item.choices)
        box.setPlaceholderText("choose…")
        box.setCurrentIndex(box.findText(given) if given else -1)
        self._add_field(item.key, box, label)

    def _add_field(self, key: str, field: QComboBox | QLineEdit, label: QLabel) -> None:
        label.setBuddy(field)
        if not field.toolTip():
            field.setToolTip(label.text())
        self._rows.addWidget(field)
        self.fields[key] = field
        changed = (
            field.currentIndexChanged
            if isinstance(field, QComboBox)
            else field.textChanged
        )
        changed.connect(self._update)

    def _add_buttons(self) -> None:
        kind = QDialogButtonBox.StandardButton
        buttons = QDialogButtonBox(kind.Ok | kind.Cancel, parent=self)
        self.import_button = buttons.button(kind.Ok)
        self.import_button.setText("Import")
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        self._rows.addSpacing(6)
        self._rows.addWidget(buttons)

    def _update(self, *_: object) -> None:
        """Import can be pressed once all is answered."""
        missing = [key for key in self.fields if not self.answer(key)]
        self.import_button.setEnabled(not missing)
        self.import_button.setToolTip(
            "Answer all questions first." if missing else "Import with these answers."
        )


def next_name(taken: str) -> str:
    """Another name than one that is taken: “xray” → “xray-2” → “xray-3”."""
    stem, dash, number = taken.rpartition("-")
    if dash and number.isdecimal():
        return f"{stem}-{int(number) + 1}"
    return f"{taken}-2"


def choose_file(parent: QWidget) -> Path | None:
    """Ask for a checkpoint file."""
    kinds = f"Checkpoints ({CHECKPOINTS});;All files (*)"
    found, _ = QFileDialog.getOpenFileName(parent, "Import a checkpoint", "", kinds)
    return Path(found) if found else None


def choose_folder(parent: QWidget) -> Path | None:
    """Ask for a folder with a checkpoint."""
    found = QFileDialog.getExistingDirectory(parent, "Import a folder")
    return Path(found) if found else None
