"""Correct: brushes, refinement, and rounds to go back to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel
from superqt.utils import signals_blocked

from napari_wsol.gui.correct.advanced import Advanced
from napari_wsol.gui.correct.proposals import NextRow
from napari_wsol.gui.correct.rounds import RoundBox
from napari_wsol.gui.correct.tools import StrokeTools, swatch, tool_button
from napari_wsol.gui.widgets.colours import BACKGROUND, FOREGROUND
from napari_wsol.gui.widgets.elided import Words
from napari_wsol.gui.widgets.job_bar import JobBar, counted, grouped
from napari_wsol.gui.widgets.panel import (
    Panel,
    check_box,
    push_button,
    put,
    row,
    slider,
)
from napari_wsol.jobs import JobKind

if TYPE_CHECKING:
    from qtpy.QtWidgets import QPushButton

BRUSHES = (
    ("foreground", "Foreground  F", FOREGROUND, "Paint over what was missed."),
    ("background", "Background  B", BACKGROUND, "Paint over what is wrong."),
    ("erase", "Erase  E", None, "Take strokes away again."),
)

REFINE = (
    "Refine  R",
    "Fit the PixelCAM map to your strokes: one more round. You can go on painting "
    "meanwhile. Key: R.",
)
SCORE = (
    "Score  R",
    "See how right the map is at your strokes. This image is set aside, so nothing is "
    "learnt from them. Key: R.",
)
"""Of the button: title and tip."""

BY_THEMSELVES = (JobKind.FOLLOW, JobKind.GROW, JobKind.IMPORT_ANNOTATIONS)
"""Jobs that show themselves only when they take a while."""


class CorrectPanel(Panel):
    """Teaching the model with strokes."""

    tool_wanted = Signal(object)

    def __init__(self) -> None:
        super().__init__("Correct", "Show the model what it got wrong.")
        self._counts, self._is_aside = (0, 0), False
        self.tools: dict[str, QPushButton] = {}
        for name, title, colour, tip in BRUSHES:
            more = f"Key: {title[-1]}. Press again to pan and zoom."
            button = tool_button(name, title, f"{tip} {more}", self.tool_wanted)
            if colour is not None:
                button.setIcon(swatch(colour))
            self.tools[name] = button
        foreground, background, erase = self.tools.values()
        self.brush = slider(
            2, 80, 16, "Width of the brush on the screen. Zoom in for finer strokes."
        )
        self._brush_words = QLabel("16 px")
        self.brush.valueChanged.connect(self._on_brush)
        self.more_tools = StrokeTools()
        self.balance = Words()
        self.live = check_box(
            "refine after each stroke",
            "The map follows every stroke, erasure and undo by itself, in the "
            "background: each time one more round.",
            on=True,
        )
        self.live.toggled.connect(lambda _: self._show_again())
        self.refine_button = push_button(*REFINE)
        self.job_bar = JobBar(
            (JobKind.REFINE,), self.refine_button, patient=BY_THEMSELVES
        )
        # The progress of a job takes the whole row.
        self.job_bar.currentChanged.connect(lambda at: self.live.setVisible(at == 0))
        self.advanced = Advanced()
        self.rounds = RoundBox()
        self.next_row = NextRow()
        put(
            self.rows,
            row(foreground, background),
            row(erase, "brush", self.brush, self._brush_words, stretch=2),
            self.more_tools,
            self.balance,
            row(self.live, self.job_bar, stretch=1, spacing=6),
            self.advanced,
            self.rounds,
            self.next_row,
        )
        self.show_strokes(0, 0)

    def show_tool(self, tool: str | None) -> None:
        """Press the button of the brush in the hand."""
        for name, button in self.tools.items():
            button.setChecked(name == tool)

    def show_brush(self, pixels: int) -> None:
        """Follow a change made in napari's own controls."""
        with signals_blocked(self.brush):
            self.brush.setValue(pixels)
        self._on_brush(pixels)

    def show_strokes(
        self, foreground: int, background: int, *, aside: bool = False
    ) -> None:
        """How many strokes of both kinds there are, or an invitation to draw.

        Args:
            foreground: strokes that count.
            background: likewise.
            aside: whether the image is set aside: they score, and teach nothing.
        """
        self._counts, self._is_aside = (foreground, background), aside
        live = self.live.isChecked()
        words = balance_words(foreground, background, live=live, aside=aside)
        self.balance.setText(words)
        title, tip = SCORE if aside else REFINE
        self.refine_button.setText(title)
        self.refine_button.setToolTip(tip)

    def show_live(self, on: bool) -> None:
        """Whether the map follows every stroke."""
        with signals_blocked(self.live):
            self.live.setChecked(on)
        self._show_again()

    def set_ready(self, brushes: bool, refine: bool) -> None:
        """What can be pressed now."""
        for button in self.tools.values():
            button.setEnabled(brushes)
        self.brush.setEnabled(brushes)
        self.refine_button.setEnabled(refine)

    def _show_again(self) -> None:
        self.show_strokes(*self._counts, aside=self._is_aside)

    def _on_brush(self, pixels: int) -> None:
        self._brush_words.setText(f"{pixels} px")


def balance_words(
    foreground: int, background: int, *, live: bool = False, aside: bool = False
) -> str:
    """“6 strokes · 3 foreground, 3 background”, or what to draw, and what it is for."""
    total = foreground + background
    if not total and aside:
        return (
            "This image is set aside: strokes on it tell how right the map is, and "
            "teach nothing."
        )
    if not total:
        return (
            "Draw a stroke: foreground where something was missed, background "
            f"where the map is wrong. {'The map follows.' if live else 'Then Refine.'}"
        )
    words = f"{counted(total, 'stroke')} · "
    words += f"{grouped(foreground)} foreground, {grouped(background)} background"
    if aside:
        return f"{words}. They score the map; this image is set aside."
    if not (foreground and background):
        kind = "background" if foreground else "foreground"
        words += (
            ". The map follows around them and where it looks the same; with strokes "
            f"of {kind} too, everywhere."
        )
    return words
