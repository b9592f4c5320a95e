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

    def __init__(self) -> None:
        super().__init__("Correct", "Show the model what it got wrong.")
        self._counts, self._is_aside = (0, 0), False
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
        self.live.toggled.connect(lambda _: self._show_again())
        self.refine_button = push_button(*REFINE)
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
        self.more_tools.set_ready(brushes)
        self.refine_button.setEnabled(refine)

    def _show_again(self) -> None:
        self.show_strokes(*self._counts, aside=self._is_aside)


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
            "Draw on what was missed (foreground) or is wrong (background)"
            f"{': the map follows.' if live else ', then Refine.'}"
        )
    words = f"{counted(total, 'stroke')} · "
    if not aside and not (foreground and background):
        kind, other = ("foreground", "background")[:: 1 if foreground else -1]
        return (
            f"{words}all {kind}. The map follows near them; with {other} too, "
            "everywhere."
        )
    words += f"{grouped(foreground)} foreground, {grouped(background)} background"
    if aside:
        return f"{words}. They score the map; this image is set aside."
    return words
