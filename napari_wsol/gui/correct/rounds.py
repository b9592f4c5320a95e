"""Rounds in the panel: the row, the words of the one shown, and what it changed."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_wsol.gui.correct.round_row import RoundRow
from napari_wsol.gui.correct.round_words import round_line, warning_words
from napari_wsol.gui.widgets.charts import LossCurve
from napari_wsol.gui.widgets.colours import LESS, MORE
from napari_wsol.gui.widgets.panel import Words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtCore import QEvent

    from napari_wsol.refinement.rounds import Round

BLINK_KEY = "H"


class RoundBox(QWidget):
    """Everything about rounds; there is nothing to see before the first refit."""

    chosen = Signal(int)
    held = Signal(bool)
    """The button of the earlier map is pressed, or let go."""

    difference_wanted = Signal(bool)
    stroke_wanted = Signal(int)
    """Number of a stroke to fly to."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 2, 0, 0)
        rows.setSpacing(3)
        self.dots = RoundRow()
        self.dots.chosen.connect(self.chosen)
        self.blink_button = QPushButton(f"Blink  {BLINK_KEY}")
        self.blink_button.setToolTip(
            "Hold to see the map of the round before, let go to come back. "
            f"Key: {BLINK_KEY}."
        )
        # The canvas keeps the focus, and with it the brush keys.
        self.blink_button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.blink_button.pressed.connect(self._on_pressed)
        self.blink_button.released.connect(self._on_released)
        row = QHBoxLayout()
        row.setSpacing(6)
        row.addWidget(QLabel("rounds"))
        row.addWidget(self.dots, 1)
        row.addWidget(self.blink_button)
        rows.addLayout(row)
        self.words = Words()
        rows.addWidget(self.words)
        self.warning = WarningWords()
        self.warning.linkActivated.connect(self._on_link)
        rows.addWidget(self.warning)
        self._build_difference(rows)
        self._build_loss(rows)
        self.show_rounds((), 0)

    def _build_difference(self, rows: QVBoxLayout) -> None:
        self.difference = QCheckBox("what changed")
        self.difference.setToolTip(
            "Show on the image where this round's map differs from that of the round "
            "before: orange where it has more evidence, blue where it has less."
        )
        self.difference.toggled.connect(self._on_difference)
        self._legend = QLabel(
            f'<span style="color: {LESS}">■</span> less &nbsp;'
            f'<span style="color: {MORE}">■</span> more'
        )
        self._legend.hide()
        row = QHBoxLayout()
        row.addWidget(self.difference)
        row.addStretch(1)
        row.addWidget(self._legend)
        rows.addLayout(row)

    def _build_loss(self, rows: QVBoxLayout) -> None:
        self.curve = LossCurve()
        self._loss = QWidget()
        row = QHBoxLayout(self._loss)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(6)
        row.addWidget(QLabel("loss"))
        row.addWidget(self.curve, 1)
        rows.addWidget(self._loss)

    def show_rounds(
        self, rounds: Sequence[Round], current: int, held: Round | None = None
    ) -> None:
        """The rounds, and what there is to say of the one that is shown.

        Args:
            rounds: all of them.
            current: index of the one that is shown.
            held: the earlier one that is looked at for a moment.
        """
        self.setVisible(len(rounds) > 1)
        if not rounds:
            self.curve.start()
        shown = next((item for item in rounds if item.index == current), None)
        self.dots.show_rounds(rounds, current)
        if shown is None:
            self.words.setText("")
            self.warning.show_words("")
            return
        earlier = shown is not rounds[0]
        self.blink_button.setEnabled(earlier)
        self.difference.setEnabled(earlier)
        seen = held or shown
        line = round_line(seen, rounds)
        self.words.setText(line if held is None else f"now seen: {line}")
        self.warning.show_words(warning_words(seen))
        self.curve.show_values(shown.loss)
        self._loss.setVisible(len(shown.loss) > 1)

    def set_warning_colour(self, colour: str) -> None:
        """The theme's colour for warnings."""
        self.warning.set_colour(colour)
        self.dots.set_warning_colour(colour)

    def _on_pressed(self) -> None:
        self.held.emit(True)

    def _on_released(self) -> None:
        self.held.emit(False)

    def _on_difference(self, on: bool) -> None:
        self._legend.setVisible(on)
        self.difference_wanted.emit(on)

    def _on_link(self, number: str) -> None:
        self.stroke_wanted.emit(int(number))


class WarningWords(Words):
    """What is odd, beside a bar in the theme's colour for warnings; with links."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("", parent)
        self._colour = "#e3b617"
        self._rich = ""
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)
        self.setOpenExternalLinks(False)
        self.hide()

    def set_colour(self, colour: str) -> None:
        """Of the bar."""
        self._colour = colour
        self._paint()

    def show_words(self, rich: str) -> None:
        """Other words; hidden when there are none."""
        self._rich = rich
        self._paint()
        self.setVisible(bool(rich))

    def changeEvent(self, event: QEvent) -> None:
        """Another theme brings another colour of the text."""
        super().changeEvent(event)
        if event.type() == event.Type.PaletteChange:
            self._paint()

    def _paint(self) -> None:
        sheet = f"border-left: 3px solid {self._colour}; padding: 1px 0 1px 6px;"
        if self.styleSheet() != sheet:
            self.setStyleSheet(sheet)
        # Qt's blue for links cannot be read on a dark ground.
        colour = self.palette().text().color().name()
        self.setText(self._rich.replace("<a ", f'<a style="color: {colour}" '))
