"""What strokes are made with, and taken back: always in reach, below all panels."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QFrame, QLabel, QSizePolicy, QStackedWidget
from superqt.utils import signals_blocked

from napari_wsol.gui.widgets.colours import BACKGROUND, FOREGROUND
from napari_wsol.gui.widgets.job_bar import grouped
from napari_wsol.gui.widgets.panel import (
    fill_column,
    held,
    push_button,
    row,
    slider,
    small,
)

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

HIGH = 27
"""Least height of a tool's button."""

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


BRUSHES = (
    ("foreground", "Foreground  F", FOREGROUND, "Paint over what was missed."),
    ("background", "Background  B", BACKGROUND, "Paint over what is wrong."),
    ("erase", "Erase  E", None, "Take strokes away again."),
)


class StrokeTools(QFrame):
    """What strokes are made with, and taken back.

    The dock keeps the buttons in reach wherever it is scrolled. What is seldom wanted
    (:attr:`clear`, :attr:`load`, :attr:`widths`) is laid out by the panel.
    """

    tool_wanted = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.brushes = {
            name: self._brush(name, title, colour, tip)
            for name, title, colour, tip in BRUSHES
        }
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
        self.clear = push_button(
            "Clear", "Wipe all strokes off. Undo brings them back."
        )
        self.load = push_button(
            "Import…",
            "Take annotations of QuPath (GeoJSON) or ASAP (XML) as strokes. What you "
            "have painted stays as it is. One Undo takes all of them back.",
        )
        self.widths = Widths()
        self.reach = self.widths.reach
        self.undo = push_button("")
        self.redo = small("↷", f"Bring back what was taken back. Key: {REDO_SHOWN}.")
        # Neither a count nor what can be pressed makes a button smaller or larger.
        policy = QSizePolicy.Policy
        self.undo.setSizePolicy(policy.Ignored, policy.Fixed)
        every = (*self.brushes.values(), self.outline, self.wand, self.undo, self.redo)
        for button in every:
            button.setMinimumHeight(HIGH)
        fill_column(
            self,
            row(*self.brushes.values(), stretch=(0, 1), spacing=4),
            row(self.outline, self.wand, self.undo, self.redo, stretch=2, spacing=4),
            margins=(6, 4, 6, 2),
        )
        self.show_tool(None)
        self.show_label(2)
        self.show_steps(0, False, False)
        self.set_ready(False)

    def _brush(
        self, name: str, title: str, colour: str | None, tip: str
    ) -> QPushButton:
        more = f"Key: {title[-1]}. Press again to pan and zoom."
        button = tool_button(name, title, f"{tip} {more}", self.tool_wanted)
        if colour is not None:
            button.setIcon(swatch(colour))
        return button

    def show_tool(self, tool: str | None) -> None:
        """Press the button of the tool in the hand."""
        every = {**self.brushes, "outline": self.outline, "wand": self.wand}
        for name, button in every.items():
            button.setChecked(name == tool)
        self.widths.show_tool(tool)

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
        self.undo.setText(f"↶ Undo{count}")
        self.undo.setToolTip(
            f"Take the last step back, whatever made it; {grouped(undo)} can be. "
            f"Key: {UNDO_SHOWN}, while the strokes are the chosen layer or in the dock."
        )
        self.undo.setEnabled(undo > 0)
        self.redo.setEnabled(redo)
        self.clear.setEnabled(shows)

    def step_reach(self, steps: int) -> None:
        """Reach farther, or less far."""
        self.reach.setValue(self.reach.value() + steps * REACH_STEP)

    def set_ready(self, ready: bool) -> None:
        """Whether there is an image to draw on."""
        parts = (self.outline, self.wand, self.load, self.widths)
        for item in (*self.brushes.values(), *parts):
            item.setEnabled(ready)


class Widths(QStackedWidget):
    """How wide the brush is or, while the wand is in the hand, how far it reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.brush = slider(
            2, 80, 16, "Width of the brush on the screen. Zoom in for finer strokes."
        )
        self.reach = slider(
            *REACH,
            50,
            "How unlike the place you clicked the rest may be. 100 % is as unlike as "
            "the image is on average. The last region follows.",
        )
        self._words = QLabel(), QLabel()
        names = "brush", "reach of the wand"
        for name, part, words in zip(
            names, (self.brush, self.reach), self._words, strict=True
        ):
            words.setMinimumWidth(words.fontMetrics().horizontalAdvance("100 px"))
            part.valueChanged.connect(self._say)
            self.addWidget(held(row(name, part, words, stretch=1, spacing=6)))
        policy = QSizePolicy.Policy
        self.setSizePolicy(policy.Preferred, policy.Fixed)
        self._say()

    def show_tool(self, tool: str | None) -> None:
        """Which of the two counts."""
        self.setCurrentIndex(int(tool == "wand"))

    def show_brush(self, pixels: int) -> None:
        """Follow a change made in napari's own controls."""
        with signals_blocked(self.brush):
            self.brush.setValue(pixels)
        self._say()

    def _say(self) -> None:
        brush, reach = self._words
        brush.setText(f"{self.brush.value()} px")
        reach.setText(f"{self.reach.value()} %")
