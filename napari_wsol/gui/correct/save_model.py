"""Save model…: what was learnt joins the list of models."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QLabel, QLineEdit, QVBoxLayout

from napari_wsol.gui.compat import needed
from napari_wsol.gui.widgets.panel import add_buttons, push_button, wrapped

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from napari_wsol.gui.context import Context
    from napari_wsol.methods.card import Card

WHAT = (
    "The whole model is saved with the pixel head of the round that is shown: it joins "
    "your list of models and can be used on any image. Its card says how many strokes "
    "taught it, on how many images, and how it scored."
)
NOT = (
    "What was learnt for single places of this image alone stays with this image: it "
    "would mean nothing on another one. So the saved model's map of this image may "
    "differ a little from the one that you see."
)


class SaveModelDialog(QDialog):
    """Asks what the new model is called."""

    def __init__(self, name: str, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Save model")
        self.setMinimumWidth(420)
        rows = QVBoxLayout(self)
        rows.setSpacing(8)
        for words in (WHAT, NOT):
            rows.addWidget(wrapped(words))
        self.name_line = QLineEdit(name)
        self.name_line.setToolTip("It becomes a folder among your own models.")
        self.title_line = QLineEdit(title)
        self.title_line.setToolTip("What the list of models shows.")
        for words, line in (
            ("Name (letters, digits, “.”, “_”, “-”)", self.name_line),
            ("Title", self.title_line),
        ):
            label = QLabel(words)
            label.setBuddy(line)
            rows.addWidget(label)
            rows.addWidget(line)
            line.textChanged.connect(self._update)
        kind = QDialogButtonBox.StandardButton
        buttons = add_buttons(self, kind.Save | kind.Cancel)
        self.save_button = needed(buttons.button(kind.Save))
        self._update()

    @property
    def name(self) -> str:
        """The chosen name."""
        return self.name_line.text().strip()

    @property
    def title(self) -> str:
        """The chosen title; empty for the one proposed by the model."""
        return self.title_line.text().strip()

    def _update(self, *_: object) -> None:
        good = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name) is not None
        self.save_button.setEnabled(good)
        self.save_button.setToolTip("" if good else "Give a name of plain letters.")


class SaveModelController(QObject):
    """The button, its dialog, and the job."""

    saved = Signal(object)
    """The card of the new model."""

    def __init__(self, context: Context) -> None:
        super().__init__(context.dock)
        self._context, self._session = context, context.session
        self.dialog: SaveModelDialog | None = None
        """The form, while it is open."""
        self.button = push_button("Save model…")
        self.button.clicked.connect(self.ask)
        context.events.rounds_changed.connect(self._update)
        context.at_parting(self.close)
        self._update()

    def close(self) -> None:
        """Ask nothing any more."""
        if self.dialog is not None:
            self.dialog.reject()

    def ask(self) -> None:
        """Open the form; it does not stop the window."""
        from napari_wsol.zoo import list_models, next_name  # a model is loaded already

        card = getattr(self._session.model, "card", None)
        base = "model" if card is None else card.name
        names = {base, *(item.name for item in list_models())}
        name = f"{base}-refined" if not base.endswith("-refined") else next_name(base)
        while name in names:
            name = next_name(name)
        title = "" if card is None else f"{card.title}, refined"
        self.dialog = SaveModelDialog(name, title, self._context.dock)
        self.dialog.accepted.connect(self._save)
        self.dialog.finished.connect(self._forget)
        self.dialog.open()

    def _save(self) -> None:
        if self.dialog is None:
            return
        future = self._session.save_model(self.dialog.name, self.dialog.title)
        self._context.tasks.follow(future, self._on_saved)

    def _forget(self) -> None:
        if self.dialog is not None:
            self.dialog.deleteLater()
            self.dialog = None

    def _on_saved(self, card: Card) -> None:
        say = self._context.messages.say
        say(f"“{card.title}” is saved, and in the list of models.")
        self.saved.emit(card)

    def _update(self) -> None:
        """It can be pressed once something was learnt."""
        session = self._session
        ready = any(
            item.index == session.round_index and item.head is not None
            for item in session.rounds
        )
        self.button.setEnabled(ready)
        self.button.setToolTip(
            "Keep what was learnt as a model of your own, with a card."
            if ready
            else "Draw strokes and refine first: then there is something to save."
        )
