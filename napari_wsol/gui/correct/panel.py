"""Correct: brushes, refinement, and rounds to go back to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QPushButton, QSlider
from superqt.utils import signals_blocked

from napari_wsol.gui.correct.advanced import Advanced
from napari_wsol.gui.correct.proposals import NextRow
from napari_wsol.gui.correct.rounds import RoundBox
from napari_wsol.gui.widgets.colours import BACKGROUND, FOREGROUND
from napari_wsol.gui.widgets.elided import Words
from napari_wsol.gui.widgets.job_bar import JobBar, grouped
from napari_wsol.gui.widgets.panel import Panel
from napari_wsol.jobs import JobKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtWidgets import QWidget

    from napari_wsol.gui.correct.rounds import RoundRow
    from napari_wsol.gui.widgets.sparkline import Sparkline
    from napari_wsol.refinement.rounds import Round

BRUSHES = (
    ("foreground", "Foreground  F", FOREGROUND, "Paint over what was missed."),
    ("background", "Background  B", BACKGROUND, "Paint over what is wrong."),
    ("erase", "Erase  E", None, "Take strokes away again."),
)

BY_THEMSELVES = (JobKind.FOLLOW, JobKind.GROW, JobKind.IMPORT_ANNOTATIONS)
"""Jobs that show themselves only when they take a while."""


class CorrectPanel(Panel):
    """Teaching the model with strokes."""

    tool_wanted = Signal(object)
    brush_wanted = Signal(int)
    refine_wanted = Signal()
    live_wanted = Signal(bool)
    revert_wanted = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Correct", "Show the model what it got wrong.", parent)
        self.tools: dict[str, QPushButton] = {}
        self._counts = (0, 0)
        self._build_brushes()
        self.balance = Words()
        self.rows.addWidget(self.balance)
        self._build_refine()
        self.advanced = Advanced()
        self.rows.addWidget(self.advanced)
        self.rounds = RoundBox()
        self.rounds.chosen.connect(self.revert_wanted)
        self.rows.addWidget(self.rounds)
        self.next_row = NextRow()
        self.rows.addWidget(self.next_row)
        self.show_strokes(0, 0)

    @property
    def dots(self) -> RoundRow:
        """The rounds in a row."""
        return self.rounds.dots

    @property
    def curve(self) -> Sparkline:
        """The loss of the round that is shown, or that is being made."""
        return self.rounds.curve

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
        self.tools_row = QHBoxLayout()
        self.rows.addLayout(self.tools_row)

    def _build_refine(self) -> None:
        self.live = QCheckBox("refine after each stroke")
        self.live.setToolTip(
            "The map follows every stroke, erasure and undo by itself, in the "
            "background: each time one more round."
        )
        self.live.setChecked(True)
        self.live.toggled.connect(self._on_live)
        self.refine_button = QPushButton("Refine  R")
        self.refine_button.setToolTip(
            "Fit the PixelCAM map to your strokes: one more round. You can go on "
            "painting meanwhile. Key: R."
        )
        self.refine_button.clicked.connect(self.refine_wanted)
        self.job_bar = JobBar(
            (JobKind.REFINE,), self.refine_button, patient=BY_THEMSELVES
        )
        self.job_bar.currentChanged.connect(self._on_bar)
        row = QHBoxLayout()
        row.setSpacing(6)
        row.addWidget(self.live)
        row.addWidget(self.job_bar, 1)
        self.rows.addLayout(row)

    def show_tool(self, tool: str | None) -> None:
        """Press the button of the brush in the hand."""
        for name, button in self.tools.items():
            button.setChecked(name == tool)

    def show_brush(self, pixels: int) -> None:
        """Follow a change made in napari's own controls."""
        with signals_blocked(self.brush):
            self.brush.setValue(pixels)
        self._on_brush(pixels)

    def show_strokes(self, foreground: int, background: int) -> None:
        """Balance of the two kinds, in strokes, or an invitation to draw."""
        self._counts = (foreground, background)
        words = balance_words(foreground, background, live=self.live.isChecked())
        self.balance.setText(words)

    def show_live(self, on: bool) -> None:
        """Whether the map follows every stroke."""
        with signals_blocked(self.live):
            self.live.setChecked(on)
        self.show_strokes(*self._counts)

    def show_rounds(
        self, rounds: Sequence[Round], current: int, held: Round | None = None
    ) -> None:
        """The rounds; ``held`` is an earlier one that is looked at for a moment."""
        self.rounds.show_rounds(rounds, current, held)

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

    def _on_live(self, on: bool) -> None:
        self.show_strokes(*self._counts)
        self.live_wanted.emit(on)

    def _on_bar(self, place: int) -> None:
        """The progress of a job takes the whole row."""
        self.live.setVisible(place == 0)

    def _on_brush(self, pixels: int) -> None:
        self._brush_words.setText(f"{pixels} px")


def balance_words(foreground: int, background: int, *, live: bool = False) -> str:
    """“6 strokes · 3 foreground, 3 background”, or what is missing."""
    total = foreground + background
    if not total:
        return (
            "Draw a few strokes: foreground where something was missed, background "
            f"where the map is wrong. {'The map follows.' if live else 'Then Refine.'}"
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
