"""Correct: brushes, refinement, and rounds to go back to."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSlider

from napari_wsol.gui.charts import LossCurve, RoundDots
from napari_wsol.gui.colours import BACKGROUND, FOREGROUND
from napari_wsol.gui.job_bar import JobBar, grouped
from napari_wsol.gui.panel import Panel, Words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtWidgets import QWidget

    from napari_wsol.rounds import Round

BRUSHES = (
    ("foreground", "Foreground  F", FOREGROUND, "Paint over what was missed."),
    ("background", "Background  B", BACKGROUND, "Paint over what is wrong."),
    ("erase", "Erase  E", None, "Take strokes away again."),
)


class CorrectPanel(Panel):
    """Teaching the model with strokes."""

    tool_wanted = Signal(object)
    brush_wanted = Signal(int)
    refine_wanted = Signal()
    revert_wanted = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Correct", "Show the model what it got wrong.", parent)
        self.tools: dict[str, QPushButton] = {}
        self._build_brushes()
        self.balance = Words()
        self.rows.addWidget(self.balance)
        self.refine_button = QPushButton("Refine  R")
        self.refine_button.setToolTip(
            "Fit the PixelCAM map to your strokes: one more round. You can go on "
            "painting meanwhile. Key: R."
        )
        self.refine_button.clicked.connect(self.refine_wanted)
        self.job_bar = JobBar(("Refining",), self.refine_button)
        self.rows.addWidget(self.job_bar)
        self._build_rounds()
        self.show_strokes(0, 0)
        self.show_rounds((), 0)

    def _build_brushes(self) -> None:
        row, last = QHBoxLayout(), QHBoxLayout()
        for name, title, colour, tip in BRUSHES:
            button = QPushButton(f" {title}")
            button.setCheckable(True)
            button.setToolTip(f"{tip} Key: {title[-1]}. Press again to pan and zoom.")
            if colour is not None:
                button.setIcon(swatch(colour))
            button.clicked.connect(self._on_tool)
            (last if colour is None else row).addWidget(button)
            self.tools[name] = button
        self.brush = QSlider(Qt.Orientation.Horizontal)
        self.brush.setRange(2, 80)
        self.brush.setValue(16)
        self.brush.setToolTip(
            "Width of the brush on the screen. Zoom in for finer strokes."
        )
        self.brush.valueChanged.connect(self.brush_wanted)
        self._brush_words = QLabel("16 px")
        self.brush.valueChanged.connect(self._on_brush)
        self.rows.addLayout(row)
        last.addWidget(QLabel("brush"))
        last.addWidget(self.brush, 1)
        last.addWidget(self._brush_words)
        self.rows.addLayout(last)

    def _build_rounds(self) -> None:
        self.dots = RoundDots()
        self.dots.chosen.connect(self.revert_wanted)
        self.round_words = QLabel()
        self.round_words.setToolTip("Click a dot to go back to the map of its round.")
        row = QHBoxLayout()
        row.addWidget(self.dots, 1)
        row.addWidget(self.round_words)
        self.rows.addLayout(row)
        self.curve = LossCurve()
        self.rows.addWidget(self.curve)

    def show_tool(self, tool: str | None) -> None:
        """Press the button of the brush in the hand."""
        for name, button in self.tools.items():
            button.setChecked(name == tool)

    def show_brush(self, pixels: int) -> None:
        """Follow a change made in napari's own controls."""
        blocker = QSignalBlocker(self.brush)
        self.brush.setValue(pixels)
        del blocker
        self._on_brush(pixels)

    def show_strokes(self, foreground: int, background: int) -> None:
        """Balance of the two kinds, in strokes, or an invitation to draw."""
        self.balance.setText(balance_words(foreground, background))

    def show_rounds(self, rounds: Sequence[Round], current: int) -> None:
        """The dots, the words beside them, and the loss of the current round."""
        several = len(rounds) > 1
        self.dots.setVisible(several)
        self.round_words.setVisible(several)
        self.curve.setVisible(several or bool(self.curve.values))
        if several:
            last = rounds[-1].index
            self.round_words.setText(f"round {current} of {last}")
            shown = next((item for item in rounds if item.index == current), None)
            if shown is not None:
                self.curve.show_values(shown.loss)
        elif not rounds:
            self.curve.start()
            self.curve.hide()
        self.dots.show_rounds(rounds, current)

    def set_ready(self, brushes: bool, refine: bool) -> None:
        """What can be pressed now."""
        for button in self.tools.values():
            button.setEnabled(brushes)
        self.brush.setEnabled(brushes)
        self.refine_button.setEnabled(refine)

    def _on_tool(self, checked: bool) -> None:
        sender = self.sender()
        for name, button in self.tools.items():
            if button is sender:
                self.tool_wanted.emit(name if checked else None)

    def _on_brush(self, pixels: int) -> None:
        self._brush_words.setText(f"{pixels} px")


def balance_words(foreground: int, background: int) -> str:
    """“6 strokes · 3 foreground, 3 background”, or what is missing."""
    total = foreground + background
    if not total:
        return (
            "Draw a few strokes: foreground where something was missed, background "
            "where the map is wrong. Then Refine."
        )
    words = f"{grouped(total)} stroke{'s' if total > 1 else ''} · "
    words += f"{grouped(foreground)} foreground, {grouped(background)} background"
    if not background:
        words += ". Add a background stroke, so that the model knows what it is not."
    if not foreground:
        words += ". Add a foreground stroke, so that the model knows what it is."
    return words


def swatch(colour: str) -> QIcon:
    """A small square of a colour."""
    pixmap = QPixmap(12, 12)
    pixmap.fill(QColor(colour))
    return QIcon(pixmap)
