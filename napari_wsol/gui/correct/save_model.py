"""Save model…: what was learnt joins the list of models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_wsol.errors import Question
from napari_wsol.gui.widgets.panel import push_button

if TYPE_CHECKING:
    from napari_wsol.gui.context import Context
    from napari_wsol.gui.widgets.choosing import Chooser
    from napari_wsol.methods.card import Card

WORDS = (
    "The whole model is saved with the pixel head of the round that is shown: it joins "
    "your list of models and can be used on any image. Its card says how many strokes "
    "taught it, on how many images, and how it scored.\n\n"
    "What was learnt for single places of this image alone stays with this image: it "
    "would mean nothing on another one. So the saved model's map of this image may "
    "differ a little from the one that you see."
)
NAME = "Name (letters, digits, “.”, “_”, “-”): a folder among your own models"
TITLE = "Title, in the list of models"


class SaveModelController(QObject):
    """The button, its dialog, and the job."""

    saved = Signal(object)
    """The card of the new model."""

    def __init__(self, context: Context, chooser: Chooser) -> None:
        super().__init__(context.dock)
        self._context, self._session = context, context.session
        self.chooser = chooser
        self.button = push_button("Save model…")
        self.button.clicked.connect(self.ask)
        context.events.rounds_changed.connect(self._update)
        self._update()

    def ask(self) -> None:
        """Open the form; it does not stop the window."""
        from napari_wsol.zoo import list_models, next_name  # a model is loaded already

        card = getattr(self._session.model, "card", None)
        base = "model" if card is None else card.name
        names = {base, *(item.name for item in list_models())}
        name = f"{base}-refined" if not base.endswith("-refined") else next_name(base)
        while name in names:
            name = next_name(name)
        title = name if card is None else f"{card.title}, refined"
        questions = (
            Question("name", NAME, (), name),
            Question("title", TITLE, (), title),
        )
        self.chooser.ask(
            "Save model", WORDS, questions, self._save, given={}, verb="Save"
        )

    def _save(self, given: dict[str, str]) -> None:
        self._context.tasks.follow(self._session.save_model(**given), self._on_saved)

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
