"""Sentences for the person: a line in the dock, and napari's notification."""

from __future__ import annotations

from napari.utils.notifications import show_warning
from qtpy.QtCore import Qt

from napari_wsol.gui.widgets.colours import readable_on
from napari_wsol.gui.widgets.elided import Words
from napari_wsol.jobs import JobKind

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


class MessageLine(Words):
    """The latest sentence; warnings stand out, everything else is calm."""

    def __init__(self) -> None:
        super().__init__(lines=3)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.is_warning = False
        self._warning_colour = "#e3b617"
        self.hide()

    def set_warning_colour(self, colour: str) -> None:
        """The theme's colour for warnings."""
        self._warning_colour = colour
        self._paint()

    def say(self, sentence: str) -> None:
        """Something went well, or is good to know."""
        self._show(sentence, warning=False)

    def warn(self, sentence: str) -> None:
        """Something did not work, and this is what to do."""
        self._show(sentence, warning=True)

    def _show(self, sentence: str, *, warning: bool) -> None:
        self.is_warning = warning and bool(sentence)
        self._paint()
        self.setText(sentence)
        self.setVisible(bool(sentence))

    def _paint(self) -> None:
        if self.is_warning:
            colour = self._warning_colour
            self.setStyleSheet(
                f"background: {colour}; color: {readable_on(colour)};"
                " padding: 5px; border-radius: 3px;"
            )
        else:
            self.setStyleSheet("")


class Messages:
    """What is told to the person; all parts of the window tell it here."""

    def __init__(self, line: MessageLine) -> None:
        self._line = line

    def say(self, sentence: str) -> None:
        """Something went well, or is good to know; nothing any more when empty."""
        self._line.say(sentence)

    def warn(self, sentence: str | BaseException) -> None:
        """What went wrong and what to do, in the dock and as a notification."""
        self._line.warn(str(sentence))
        show_warning(str(sentence))

    def take_back(self, sentence: str) -> None:
        """Say a sentence no longer, if it is still the latest."""
        if self._line.text() == sentence:
            self._line.say("")
