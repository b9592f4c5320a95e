"""More ways to make strokes, and to take them back: a part of the Correct panel."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QLabel, QWidget

from napari_wsol.gui.widgets.colours import BACKGROUND, FOREGROUND
from napari_wsol.gui.widgets.job_bar import grouped
from napari_wsol.gui.widgets.panel import fill_column, held, push_button, row, slider

if TYPE_CHECKING:
    from qtpy.QtCore import SignalInstance
    from qtpy.QtWidgets import QPushButton

UNDO_KEY = "Meta-Z" if sys.platform == "darwin" else "Control-Z"
REDO_KEY = "Meta-Shift-Z" if sys.platform == "darwin" else "Control-Shift-Z"
UNDO_SHOWN = "⌘Z" if sys.platform == "darwin" else "Ctrl+Z"
REDO_SHOWN = "⇧⌘Z" if sys.platform == "darwin" else "Ctrl+Shift+Z"

OUTLINE_KEY, WAND_KEY = "A", "W"

REACH = (5, 120)
"""Smallest and largest reach of the wand, in percent of the image's own variety."""

REACH_STEP = 5

COLOURS = {1: BACKGROUND, 2: FOREGROUND}


def swatch(colour: str) -> QIcon:
    """A small square of a colour."""
    pixmap = QPixmap(12, 12)
    pixmap.fill(QColor(colour))
    return QIcon(pixmap)


def tool_button(name: str, title: str, tip: str, wanted: SignalInstance) -> QPushButton:
    """A button that takes a tool into the hand; pressed again, it puts it away."""
    button = push_button(f" {title}", tip, checkable=True)
    button.clicked.connect(lambda checked: wanted.emit(name if checked else None))
    return button


class StrokeTools(QWidget):
    """Outline and wand, undo, clear, import."""

    tool_wanted = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.outline = tool_button(
            "outline",
            f"Area  {OUTLINE_KEY}",
            "Draw around an area and fill it with the colour of the last brush: drag, "
            "or click corner by corner and double-click at the end. Esc starts again. "
            f"Key: {OUTLINE_KEY}. Press again to pan and zoom.",
            self.tool_wanted,
        )
        self.wand = tool_button(
            "wand",
            f"Wand  {WAND_KEY}",
            "Click on a place: everything connected that looks alike to the model gets "
            "the colour of the last brush. Places that are painted already stay. "
            f"Shift and the mouse wheel: reach farther or less far. Key: {WAND_KEY}. "
            "Press again to put it away.",
            self.tool_wanted,
        )
        self.undo = push_button("")
        self.redo = push_button(
            "↷", f"Bring back what was taken back. Key: {REDO_SHOWN}."
        )
        self.clear = push_button(
            "Clear", "Wipe all strokes off. Undo brings them back."
        )
        self.load = push_button(
            "Import…",
            "Take annotations of QuPath (GeoJSON) as strokes. What you have painted "
            "stays as it is. One Undo takes all of them back.",
        )
        self.reach = slider(
            *REACH,
            50,
            "How unlike the place you clicked the rest may be. 100 % is as unlike as "
            "the image is on average. The last region follows.",
        )
        words = QLabel("50 %")
        self.reach.valueChanged.connect(lambda percent: words.setText(f"{percent} %"))
        self._reach_row = held(row("reach of the wand", self.reach, words, stretch=1))
        fill_column(
            self,
            row(self.outline, self.wand, self.load, stretch=(0, 1)),
            self._reach_row,
            row(self.undo, self.redo, self.clear, stretch=(0, 2)),
        )
        self.show_tool(None)
        self.show_label(2)
        self.show_steps(0, False, False)
        self.set_ready(False)

    def show_tool(self, tool: str | None) -> None:
        """Press the button of the tool in the hand."""
        self.outline.setChecked(tool == "outline")
        self.wand.setChecked(tool == "wand")
        self._reach_row.setVisible(tool == "wand")

    def show_label(self, label: int) -> None:
        """The colour that outline and wand fill with."""
        for button in (self.outline, self.wand):
            button.setIcon(swatch(COLOURS[label]))

    def show_steps(self, undo: int, redo: bool, shows: bool) -> None:
        """How many steps can be taken back.

        Args:
            undo: steps.
            redo: whether something can be brought again.
            shows: whether there is anything to clear.
        """
        count = f" {grouped(undo)}" if undo else ""
        self.undo.setText(f"↶ Undo{count}  {UNDO_SHOWN}")
        self.undo.setToolTip(
            f"Take the last step back, whatever made it; {grouped(undo)} can be. "
            f"Key: {UNDO_SHOWN}, while the strokes are the chosen layer."
        )
        self.undo.setEnabled(undo > 0)
        self.redo.setEnabled(redo)
        self.clear.setEnabled(shows)

    def step_reach(self, steps: int) -> None:
        """Reach farther, or less far."""
        self.reach.setValue(self.reach.value() + steps * REACH_STEP)

    def set_ready(self, ready: bool) -> None:
        """Whether there is an image to draw on."""
        for item in (self.outline, self.wand, self.load):
            item.setEnabled(ready)
