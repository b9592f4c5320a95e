"""Sentences for the person: a line in the dock, and napari's notification.

``messages.say("The area has grown.", Action("Undo", undo))`` puts a button beside the
sentence; pressed, it takes the sentence away and calls ``undo``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari.utils.notifications import show_warning
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame

from napari_wsol.errors import WsolError
from napari_wsol.gui.widgets.colours import WARNING, readable_on
from napari_wsol.gui.widgets.elided import Words
from napari_wsol.gui.widgets.panel import push_button, row
from napari_wsol.jobs import JobKind

if TYPE_CHECKING:
    from collections.abc import Callable

LINES = 3
"""Of words that a message has room for."""

PADDING = 4

STOPPED = {
    JobKind.LOCALIZE: (
        "Stopped. Finished tiles are kept; Localize continues from there."
    ),
    JobKind.REFINE: "Stopped. The map and the rounds are as they were.",
    JobKind.FOLLOW: "Stopped. The map is as it was; it follows your next stroke.",
    JobKind.GROW: "Stopped. No region was painted.",
    JobKind.IMPORT_ANNOTATIONS: "Stopped. No stroke was added.",
    JobKind.EXPORT: "Stopped. No file was written.",
    JobKind.ESTIMATE: "Stopped. Finished tiles are kept.",
    JobKind.IMPORT_MODEL: "Stopped. No model was added.",
    JobKind.TRAIN: "Stopped. Train… resumes it where it is.",
}
"""What is said when the person stopped a job, by its kind."""


@dataclass(frozen=True, slots=True)
class Action:
    """What a message offers to do.

    Attributes:
        words: on its button.
        call: called when it is pressed; the message is gone by then.
        tip: what the button does for the person.
    """

    words: str
    call: Callable[[], object]
    tip: str = ""


class MessageLine(QFrame):
    """The latest sentence; warnings stand out, everything else is calm.

    Its room is always there, so that nothing moves when a sentence comes or goes; what
    does not fit is in the tooltip.
    """

    def __init__(self) -> None:
        super().__init__()
        self.is_warning = False
        self._warning_colour = WARNING
        self._action: Action | None = None
        self._words = Words(lines=LINES, keeps=True)
        self._words.setTextFormat(Qt.TextFormat.PlainText)
        self.button = push_button("")
        self.button.clicked.connect(self._on_button)
        self.button.hide()
        line = row(self._words, self.button, stretch=0, spacing=6)
        line.setContentsMargins(PADDING, PADDING, PADDING, PADDING)
        self.setLayout(line)
        self.set_lines(LINES)

    def set_lines(self, lines: int) -> None:
        """How many lines of words have room."""
        self._words.set_lines(lines)
        self.button.setMaximumHeight(self._words.height_of(lines))

    def text(self) -> str:
        """All of the sentence, whether it fits or not."""
        return self._words.text()

    def set_warning_colour(self, colour: str) -> None:
        """The theme's colour for warnings."""
        self._warning_colour = colour
        self._paint()

    def say(self, sentence: str, action: Action | None = None) -> None:
        """Something went well, or is good to know."""
        self._show(sentence, action, warning=False)

    def warn(self, sentence: str, action: Action | None = None) -> None:
        """Something did not work, and this is what to do."""
        self._show(sentence, action, warning=True)

    def _show(self, sentence: str, action: Action | None, *, warning: bool) -> None:
        self.is_warning = warning and bool(sentence)
        self._action = action
        if action is not None:
            self.button.setText(action.words)
            self.button.setToolTip(action.tip or sentence)
        self.button.setVisible(action is not None)
        self._paint()
        self._words.setText(sentence)

    def _on_button(self) -> None:
        action = self._action
        self.say("")
        if action is not None:
            action.call()

    def _paint(self) -> None:
        colour = self._warning_colour
        sheet = (
            f"MessageLine {{ background: {colour}; border-radius: 3px; }}"
            f" QLabel {{ background: transparent; color: {readable_on(colour)}; }}"
            if self.is_warning
            else ""
        )
        if sheet != self.styleSheet():
            self.setStyleSheet(sheet)


class Messages:
    """What is told to the person; all parts of the window tell it here."""

    def __init__(self, line: MessageLine) -> None:
        self._line = line

    def say(self, sentence: str, action: Action | None = None) -> None:
        """Something went well, or is good to know; nothing any more when empty."""
        self._line.say(sentence, action)

    def warn(self, sentence: str | BaseException, action: Action | None = None) -> None:
        """What went wrong and what to do, in the dock and as a notification."""
        self._line.warn(str(sentence), action)
        show_warning(str(sentence))

    def excuse(self, error: BaseException) -> None:
        """Why a question has no answer; a fault of ours is in the log alone."""
        if isinstance(error, WsolError):
            self.warn(error)

    def take_back(self, sentence: str) -> None:
        """Say a sentence no longer, if it is still the latest."""
        if self._line.text() == sentence:
            self._line.say("")
