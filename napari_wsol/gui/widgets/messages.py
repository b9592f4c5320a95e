"""Sentences for the person: a line in the dock, and napari's notification."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt

from napari_wsol.gui.widgets.colours import readable_on
from napari_wsol.gui.widgets.panel import Words

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget


STOPPED = {
    "Localizing": "Stopped. Finished tiles are kept; Localize continues from there.",
    "Refining": "Stopped. The map and the rounds are as they were.",
    "Following": "Stopped. The map is as it was; it follows your next stroke.",
    "Growing": "Stopped. No region was painted.",
    "Importing annotations": "Stopped. No stroke was added.",
    "Exporting": "Stopped. No file was written.",
    "Estimating": "Stopped. Finished tiles are kept.",
    "Importing": "Stopped. No model was added.",
    "Training": "Stopped. Train… resumes it where it is.",
}
"""What is said when the person stopped a job, by its name."""


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
