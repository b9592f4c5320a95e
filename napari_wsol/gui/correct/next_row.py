"""The line of the Correct panel that says where the next stroke would teach most."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_wsol.gui.widgets.panel import Words

if TYPE_CHECKING:
    from napari_wsol.guidance.proposals import Proposal

GO_KEY, DISMISS_KEY = "G", "Shift+G"

FIRST = "Where next? Localize first; then the dock shows where a stroke helps most."


class NextRow(QWidget):
    """“next: upper left – methods disagree  [Go there G] [Not here]”."""

    go_wanted = Signal()
    dismiss_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.words = Words()
        self.go_button = QPushButton(f"Go there  {GO_KEY}")
        self.go_button.setToolTip(
            "Fly to the place where the next stroke would teach the model most. Again: "
            f"to the next best. Key: {GO_KEY}."
        )
        self.go_button.clicked.connect(self.go_wanted)
        self.dismiss_button = QPushButton("Not here  ⇧G")
        self.dismiss_button.setToolTip(
            "Do not propose this place again, on this image. Key: Shift+G."
        )
        self.dismiss_button.clicked.connect(self.dismiss_wanted)
        rows, buttons = QVBoxLayout(self), QHBoxLayout()
        rows.setContentsMargins(0, 2, 0, 0)
        rows.setSpacing(4)
        rows.addWidget(self.words)
        buttons.addWidget(self.go_button, 1)
        buttons.addWidget(self.dismiss_button, 1)
        rows.addLayout(buttons)
        self.say(FIRST)

    def show_place(self, place: Proposal, *, here: bool) -> None:
        """The place to go to, or the one that is being looked at."""
        self.words.setText(
            f"{'here' if here else 'next'}: {place.place} – {place.short}"
        )
        self.words.setToolTip(place.reason)
        self.go_button.setText(f"{'Next place' if here else 'Go there'}  {GO_KEY}")
        self._enable(True)

    def say(self, sentence: str) -> None:
        """There is no place to go to, and this is why."""
        self.words.setText(sentence)
        self.words.setToolTip("")
        self.go_button.setText(f"Go there  {GO_KEY}")
        self._enable(False)

    def _enable(self, on: bool) -> None:
        self.go_button.setEnabled(on)
        self.dismiss_button.setEnabled(on)
