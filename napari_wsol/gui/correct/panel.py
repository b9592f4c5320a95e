"""Correct: brushes, refinement, and rounds to go back to."""

from __future__ import annotations

from superqt.utils import signals_blocked

from napari_wsol.gui.correct.advanced import Advanced
from napari_wsol.gui.correct.proposals import NextRow
from napari_wsol.gui.correct.rounds import RoundBox
from napari_wsol.gui.correct.tools import StrokeTools
from napari_wsol.gui.widgets.elided import Words
from napari_wsol.gui.widgets.job_bar import JobBar, counted, grouped
from napari_wsol.gui.widgets.panel import Panel, check_box, push_button, put, row
from napari_wsol.jobs import JobKind

BY_THEMSELVES = (JobKind.FOLLOW, JobKind.GROW, JobKind.IMPORT_ANNOTATIONS)
"""Jobs that show themselves only when they take a while."""


class CorrectPanel(Panel):
    """Teaching the model with strokes."""

    def __init__(self) -> None:
        super().__init__("Correct", "Show the model what it got wrong.")
        self._counts = (0, 0)
        self.more_tools = StrokeTools()
        """Brushes, area, wand, undo; the dock has a place for them."""
        self.tools = self.more_tools.brushes
        self.brush = self.more_tools.widths.brush
        self.balance = Words(lines=2, keeps=True)
        self.live = check_box(
            "refine after each stroke",
            "The map follows every stroke, erasure and undo by itself, in the "
            "background: each time one more round.",
            on=True,
        )
        self.live.toggled.connect(lambda _: self.show_strokes(*self._counts))
        self.refine_button = push_button(
            "Refine  R",
            "Fit the PixelCAM map to your strokes: one more round. You can go on "
            "painting meanwhile. Key: R.",
        )
        self.job_bar = JobBar(
            (JobKind.REFINE,), self.refine_button, patient=BY_THEMSELVES
        )
        self.rounds = RoundBox()
        self.advanced = Advanced(self.rounds.loss)
        self.next_row = NextRow()
        # What comes and goes is last: nothing else moves with it.
        put(
            self.rows,
            self.more_tools.widths,
            self.balance,
            row(self.live, None, self.more_tools.clear, self.more_tools.load),
            self.job_bar,
            self.rounds,
            self.next_row,
            self.advanced,
            self.rounds.warning,
        )
        self.show_strokes(0, 0)
        self.set_ready(False, False)

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

    def set_ready(self, brushes: bool, refine: bool) -> None:
        """What can be pressed now."""
        self.more_tools.set_ready(brushes)
        self.refine_button.setEnabled(refine)


def balance_words(foreground: int, background: int, *, live: bool = False) -> str:
    """“6 strokes · 3 foreground, 3 background”, or what is missing."""
    total = foreground + background
    if not total:
        return (
            "Draw strokes: foreground on what was missed, background on what is wrong. "
            f"{'The map follows.' if live else 'Then Refine.'}"
        )
    words = f"{counted(total, 'stroke')} · "
    words += f"{grouped(foreground)} foreground, {grouped(background)} background"
    if not background:
        words += ". Add a background stroke, so that the model knows what it is not."
    if not foreground:
        words += ". Add a foreground stroke, so that the model knows what it is."
    return words
