"""A word before Localize: whether the model was made for images like the open one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QWidget

from napari_wsol.gui.widgets.colours import WARNING, readable_on
from napari_wsol.gui.widgets.elided import Words
from napari_wsol.gui.widgets.panel import fill_column, push_button, row

if TYPE_CHECKING:
    from napari_wsol.gui.context import Context
    from napari_wsol.inference.appearance import Likeness
    from napari_wsol.methods.card import Card

UNKNOWN = "Whether the image fits this model is not checked."


class LikenessBox(QWidget):
    """Nothing, a calm line where nothing is known, or a warning with what to do."""

    def __init__(self) -> None:
        super().__init__()
        self.words = Words()
        self.import_button = push_button(
            "Import…", "Add a model that was made for such images."
        )
        self.train_button = push_button(
            "Train…", "Make a model out of labelled images of this kind."
        )
        self.go_on_button = push_button(
            "Go on all the same", "Say no more of it, for this image and this model."
        )
        self._colour = WARNING
        self._buttons = QWidget()
        fill_column(
            self._buttons,
            row(
                self.import_button,
                self.train_button,
                self.go_on_button,
                None,
                spacing=6,
            ),
        )
        fill_column(self, self.words, self._buttons)
        self._is_warning = False
        self.hide()

    def set_warning_colour(self, colour: str) -> None:
        """The theme's colour for warnings."""
        self._colour = colour
        self._paint()

    def _paint(self) -> None:
        colour = self._colour
        self.words.setStyleSheet(
            f"background: {colour}; color: {readable_on(colour)};"
            " padding: 5px; border-radius: 3px;"
            if self._is_warning
            else ""
        )

    def show_unknown(self, why: str) -> None:
        """The model does not know: a line, and why."""
        self._is_warning = False
        self._paint()
        self.words.setText(UNKNOWN)
        self.words.setToolTip(why)
        self._buttons.hide()
        self.show()

    def warn(self, sentence: str, tip: str) -> None:
        """The image looks like none that the model was made from."""
        self._is_warning = True
        self._paint()
        self.words.setText(sentence)
        self.words.setToolTip(tip)
        self._buttons.show()
        self.show()


class LikenessController(QObject):
    """Asks the session whenever another image or model is worked with."""

    def __init__(self, context: Context, box: LikenessBox) -> None:
        super().__init__(context.dock)
        self._context, self._box = context, box
        self._accepted: set[tuple[str, str]] = set()
        context.layers.image_changed.connect(self._look)
        context.events.model_changed.connect(self._look)
        context.events.mpp_changed.connect(self._look)
        context.events.image_replaced.connect(self._look)
        self._box.go_on_button.clicked.connect(self._go_on)

    def _look(self) -> None:
        session, tasks = self._context.session, self._context.tasks
        tasks.forget("likeness")
        self._box.hide()
        card = getattr(session.model, "card", None)
        if self._context.layers.image is None or session.slide is None or card is None:
            return
        if card.appearance is None:
            self._box.show_unknown(card.appearance_note)
        elif (session.drawn_on, card.name) not in self._accepted:
            answer = partial(self._on_answer, card)
            tasks.follow(session.compare(), answer, kind="likeness")

    def _on_answer(self, card: Card, found: Likeness | None) -> None:
        if found is not None and found.is_unlike:
            self._box.warn(found.words, found.note(card))

    def _go_on(self) -> None:
        session = self._context.session
        card = getattr(session.model, "card", None)
        if card is not None:
            self._accepted.add((session.drawn_on, card.name))
        self._box.hide()
