"""Sentences for the person: a line in the dock, and napari's notification."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt

from napari_wsol.gui.widgets.colours import readable_on
from napari_wsol.gui.widgets.panel import Words
from napari_wsol.jobs import JobKind

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget


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

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("", parent, lines=3)
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
