"""More ways to make strokes, and to take them back: a part of the Correct panel."""

from __future__ import annotations

import sys

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from napari_wsol.gui.correct.panel import swatch
from napari_wsol.gui.widgets.colours import BACKGROUND, FOREGROUND
from napari_wsol.gui.widgets.job_bar import grouped

UNDO_KEY = "Meta-Z" if sys.platform == "darwin" else "Control-Z"
REDO_KEY = "Meta-Shift-Z" if sys.platform == "darwin" else "Control-Shift-Z"
UNDO_SHOWN = "⌘Z" if sys.platform == "darwin" else "Ctrl+Z"
REDO_SHOWN = "⇧⌘Z" if sys.platform == "darwin" else "Ctrl+Shift+Z"

OUTLINE_KEY, WAND_KEY = "A", "W"

REACH = (5, 120)
"""Smallest and largest reach of the wand, in percent of the image's own variety."""

REACH_STEP = 5

COLOURS = {1: BACKGROUND, 2: FOREGROUND}


class StrokeTools(QWidget):
    """Outline and wand, undo, clear, import."""

    tool_wanted = Signal(object)
    reach_changed = Signal(int)
    undo_wanted = Signal()
    redo_wanted = Signal()
    clear_wanted = Signal()
    import_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._has_image = False
        self._steps = (0, False)
        self.outline = self._tool(
            "outline",
            f" Area  {OUTLINE_KEY}",
            "Draw around an area and fill it with the colour of the last brush: drag, "
            "or click corner by corner and double-click at the end. Esc starts again. "
            f"Key: {OUTLINE_KEY}. Press again to pan and zoom.",
        )
        self.wand = self._tool(
            "wand",
            f" Wand  {WAND_KEY}",
            "Click on a place: everything connected that looks alike to the model gets "
            "the colour of the last brush. Places that are painted already stay. "
            f"Shift and the mouse wheel: reach farther or less far. Key: {WAND_KEY}. "
            "Press again to put it away.",
        )
        self.undo = QPushButton()
        self.undo.clicked.connect(self.undo_wanted)
        self.redo = QPushButton("↷")
        self.redo.setToolTip(f"Bring back what was taken back. Key: {REDO_SHOWN}.")
        self.redo.clicked.connect(self.redo_wanted)
        self.clear = QPushButton("Clear")
        self.clear.setToolTip("Wipe all strokes off. Undo brings them back.")
        self.clear.clicked.connect(self.clear_wanted)
        self.load = QPushButton("Import…")
        self.load.setToolTip(
            "Take annotations of QuPath (GeoJSON) as strokes. What you have painted "
            "stays as it is. One Undo takes all of them back."
        )
        self.load.clicked.connect(self.import_wanted)
        self._build_reach()
        self._lay_out()
        self.show_tool(None)
        self.show_label(2)
        self.show_steps(0, False, False)
        self.set_ready(False)

    @property
    def reach_value(self) -> int:
        """How far the wand reaches, in percent."""
        return self.reach.value()

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

    def _tool(self, name: str, title: str, tip: str) -> QPushButton:
        button = QPushButton(title)
        button.setCheckable(True)
        button.setToolTip(tip)
        button.clicked.connect(
            lambda checked: self.tool_wanted.emit(name if checked else None)
        )
        return button

    def _build_reach(self) -> None:
        self.reach = QSlider(Qt.Orientation.Horizontal)
        self.reach.setRange(*REACH)
        self.reach.setValue(50)
        self.reach.setToolTip(
            "How unlike the place you clicked the rest may be. 100 % is as unlike as "
            "the image is on average. The last region follows."
        )
        self._reach_words = QLabel("50 %")
        self.reach.valueChanged.connect(self._on_reach)
        self._reach_row = QWidget()
        row = QHBoxLayout(self._reach_row)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(QLabel("reach of the wand"))
        row.addWidget(self.reach, 1)
        row.addWidget(self._reach_words)

    def _lay_out(self) -> None:
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(4)
        for items in (
            ((self.outline, 1), (self.wand, 1), (self.load, 0)),
            ((self.undo, 1), (self.redo, 0), (self.clear, 1)),
        ):
            row = QHBoxLayout()
            for item, stretch in items:
                row.addWidget(item, stretch)
            rows.addLayout(row)
            if self._reach_row.parent() is None:
                rows.addWidget(self._reach_row)

    def _on_reach(self, percent: int) -> None:
        self._reach_words.setText(f"{percent} %")
        self.reach_changed.emit(percent)
