"""Rounds in the panel: their words, the row of dots, and what the one shown changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QPointF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPen
from qtpy.QtWidgets import QAbstractButton, QHBoxLayout, QLabel, QSizePolicy, QWidget
from superqt.utils import signals_blocked

from napari_wsol.gui.widgets.charts import Sparkline
from napari_wsol.gui.widgets.colours import FOREGROUND, LESS, MORE, WARNING
from napari_wsol.gui.widgets.elided import Words
from napari_wsol.gui.widgets.job_bar import counted, grouped
from napari_wsol.gui.widgets.panel import (
    check_box,
    fill_column,
    held,
    push_button,
    row,
    slider,
)
from napari_wsol.refinement.rounds import odd_map_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtCore import QEvent
    from qtpy.QtGui import QEnterEvent, QPaintEvent, QResizeEvent

    from napari_wsol.refinement.rounds import LeftOut, Round

NAMED = 3
"""Strokes that are named at most."""

KINDS = {1: "background", 2: "foreground"}


def round_words(item: Round) -> str:
    """What is said of a round when the mouse rests on it, and when it is finished."""
    if item.index == 0:
        return "Round 0: the model as it was loaded, before any stroke."
    words = [f"Round {item.index}: {strokes_words(item)}", seconds_words(item.seconds)]
    if item.loss:
        words.append(f"loss {item.loss[0]:.2f} → {item.loss[-1]:.2f}")
    words += [agreement_words(item), prediction_words(item)]
    return ", ".join(word for word in words if word) + "."


def round_line(item: Round, rounds: Sequence[Round]) -> str:
    """“round 4 of 9 · 7 strokes · 0.11 s · left-out strokes: 92 % agree”."""
    words = [f"round {item.index} of {rounds[-1].index}"]
    if item.index == 0:
        words.append("the model as it was loaded")
    else:
        words += [strokes_words(item), seconds_words(item.seconds)]
    words += [agreement_words(item), prediction_words(item)]
    return " · ".join(word for word in words if word)


def strokes_words(item: Round) -> str:
    """What taught a round: “7 strokes”, “starts from 23 strokes on 4 images”."""
    own, count = counted(item.strokes, "stroke"), len(item.others)
    if not count:
        return own
    if item.strokes:
        there = grouped(item.other_strokes) if item.other_strokes else "those"
        return f"{own} and {there} on {counted(count, 'other image')}"
    there = counted(item.other_strokes, "stroke") if item.other_strokes else "strokes"
    return f"starts from {there} on {counted(count, 'image')}"


def seconds_words(seconds: float) -> str:
    """“0.11 s”, “2.4 s”, “38 s”."""
    digits = 2 if seconds < 1 else 1 if seconds < 10 else 0
    return f"{seconds:.{digits}f} s"


def agreement_words(item: Round) -> str:
    """“left-out strokes: 92 % agree”; empty where too few are left out."""
    if item.agreement is None:
        return ""
    return f"left-out strokes: {item.agreement:.0%} agree".replace("%", " %")


def prediction_words(item: Round) -> str:
    """What the model says of the image as a whole, before the strokes and now.

    “whole image: malignant 0.93, now 0.91”, and the class that is the most probable one
    instead.
    """
    name, before, after = item.heatmap.target, item.before, item.after
    if name not in before or name not in after:
        return ""
    then, now = f"{before[name]:.2f}", f"{after[name]:.2f}"
    words = (
        f"whole image: {name} {then}, {'as before' if now == then else f'now {now}'}"
    )
    first, last = max(before, key=before.__getitem__), max(after, key=after.__getitem__)
    if last not in (first, name):
        words += f", most probable {last} {after[last]:.2f}"
    return words


def warning_words(item: Round) -> str:
    """What is odd about a round, as rich text; strokes are links with their number."""
    sentences = [words for words in (item.warning, odd_map_words(item)) if words]
    named = disagreeing(item) if item.warning else ()
    if named:
        links = ", ".join(
            f'<a href="{one.number}">{KINDS[one.label]} stroke {one.number}</a> '
            f"({one.agreement:.0%})".replace("%", " %")
            for one in named
        )
        sentences.append(f"Least in line with the others: {links}.")
    return " ".join(sentences)


def disagreeing(item: Round) -> tuple[LeftOut, ...]:
    """The strokes that the others contradict, the worst first."""
    against = [one for one in item.left_out if one.agreement < 0.5]
    return tuple(sorted(against, key=lambda one: one.agreement)[:NAMED])


DOT_WIDTH, HEIGHT = 18, 26
"""Of a dot with its piece of the line, in pixels."""

MOVE = "Move to go back to the map of another round."


class Dot(QAbstractButton):
    """One round on the line: hollow, full where it is shown, marked where it warns."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setFixedSize(DOT_WIDTH, HEIGHT)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        # The canvas keeps the keys: whoever goes back goes on painting.
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.index = 0
        self.is_current = self.is_first = self.is_last = self.warns = False
        self.warning_colour = QColor(WARNING)

    def show_round(self, item: Round, current: int, rounds: Sequence[Round]) -> None:
        """Stand for a round."""
        self.index = item.index
        self.is_current = item.index == current
        self.is_first, self.is_last = item is rounds[0], item is rounds[-1]
        self.warns = bool(item.warning)
        self.setAccessibleName(f"Round {item.index}")
        tip = round_words(item)
        self.setToolTip(tip if self.is_current else f"{tip}\nClick to go back to it.")
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the piece of the line and the dot."""
        del event
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text = self.palette().text().color()
        faint = QColor(text)
        faint.setAlpha(90)
        middle = QPointF(self.width() / 2, self.height() / 2)
        radius = 6.0 if self.is_current else 4.0
        painter.setPen(QPen(faint, 1.5))
        if not self.is_first:
            painter.drawLine(QPointF(0, middle.y()), middle - QPointF(radius, 0))
        if not self.is_last:
            end = QPointF(self.width(), middle.y())
            painter.drawLine(middle + QPointF(radius, 0), end)
        colour = self.warning_colour if self.warns else text
        if not (self.is_current or self.warns or self.underMouse()):
            colour = QColor(text)
            colour.setAlpha(170)
        painter.setPen(QPen(colour, 1.5))
        painter.setBrush(colour if self.is_current else Qt.BrushStyle.NoBrush)
        painter.drawEllipse(middle, radius - 0.5, radius - 0.5)
        if self.hasFocus():
            painter.setPen(QPen(text, 1, Qt.PenStyle.DotLine))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(self.rect().adjusted(0, 2, -1, -3))

    def enterEvent(self, event: QEnterEvent) -> None:
        """Stand out under the mouse."""
        super().enterEvent(event)
        self.update()

    def leaveEvent(self, event: QEvent) -> None:
        """Step back again."""
        super().leaveEvent(event)
        self.update()


class RoundRow(QWidget):
    """All rounds; a click on a dot, or a move of the slider, shows one again."""

    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._rounds: tuple[Round, ...] = ()
        self._current = 0
        self._warning_colour = QColor(WARNING)
        self.setFixedHeight(HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(0)
        self.buttons: list[Dot] = []
        """The dots; none while the slider stands for them."""
        self.slider = slider(0, 99, 0, MOVE)
        self.slider.setPageStep(5)
        self.slider.valueChanged.connect(self._on_slider)
        self._row.addWidget(self.slider, 1)
        self._row.addStretch(0)
        self.slider.hide()

    def sizeHint(self) -> QSize:
        """Whatever room there is."""
        return QSize(DOT_WIDTH * 4, HEIGHT)

    def show_rounds(self, rounds: Sequence[Round], current: int) -> None:
        """Draw the rounds; the current one is marked."""
        self._rounds, self._current = tuple(rounds), current
        self._fill()

    def set_warning_colour(self, colour: str) -> None:
        """The theme's colour for warnings."""
        self._warning_colour = QColor(colour)
        self._fill()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """More or fewer dots fit now."""
        super().resizeEvent(event)
        self._fill()

    def _fill(self) -> None:
        fits = len(self._rounds) * DOT_WIDTH <= self.width()
        self._fill_dots(self._rounds if fits else ())
        self.slider.setVisible(not fits)
        if not fits:
            self._fill_slider()

    def _fill_dots(self, rounds: Sequence[Round]) -> None:
        while len(self.buttons) > len(rounds):
            button = self.buttons.pop()
            self._row.removeWidget(button)
            button.deleteLater()
        while len(self.buttons) < len(rounds):
            button = Dot(self)
            button.clicked.connect(self._on_dot)
            self._row.insertWidget(len(self.buttons), button)
            self.buttons.append(button)
        for button, item in zip(self.buttons, rounds, strict=True):
            button.warning_colour = self._warning_colour
            button.show_round(item, self._current, rounds)

    def _fill_slider(self) -> None:
        indices = [item.index for item in self._rounds]
        with signals_blocked(self.slider):
            self.slider.setRange(0, len(indices) - 1)
            if self._current in indices and not self.slider.isSliderDown():
                # Under the hand it stays where it is: the map follows it.
                self.slider.setValue(indices.index(self._current))
        shown = [item for item in self._rounds if item.index == self._current]
        words = "".join(f"{round_words(item)}\n" for item in shown)
        self.slider.setToolTip(f"{words}{MOVE}")

    def _on_dot(self) -> None:
        sender = self.sender()
        if isinstance(sender, Dot):
            self.chosen.emit(sender.index)

    def _on_slider(self, place: int) -> None:
        if place < len(self._rounds):
            self.chosen.emit(self._rounds[place].index)


BLINK_KEY = "H"


NONE_YET = "Each refinement is a round; a click on its dot goes back to it."


class RoundBox(QWidget):
    """Everything about rounds.

    :attr:`warning` comes and goes: it is laid out where nothing below it may move.
    """

    stroke_wanted = Signal(int)
    """Number of a stroke to fly to."""

    def __init__(self) -> None:
        super().__init__()
        self.dots = RoundRow()
        self.blink_button = push_button(
            f"Blink  {BLINK_KEY}",
            "Hold to see the map of the round before, let go to come back. "
            f"Key: {BLINK_KEY}.",
        )
        # The canvas keeps the focus, and with it the brush keys.
        self.blink_button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.words = Words(lines=2, keeps=True)
        self.words.setToolTip(
            "Strokes that the round has learnt from, how long it took, how many strokes"
            " agree with a fit without them, and the probability of the class for the "
            "whole image without any stroke and with this round."
        )
        self.warning = WarningWords()
        self.warning.linkActivated.connect(
            lambda number: self.stroke_wanted.emit(int(number))
        )
        self.difference = check_box(
            "what changed",
            "Show on the image where this round's map differs from that of the round "
            "before: violet where it has more evidence, red where it has less.",
        )
        legend = QLabel(
            f'<span style="color: {LESS}">■</span> less &nbsp;'
            f'<span style="color: {MORE}">■</span> more'
        )
        legend.setEnabled(False)
        self.difference.toggled.connect(legend.setEnabled)
        self.curve = Sparkline(
            "How far the map is from your strokes while it learns: down is better.",
            FOREGROUND,
            empty="The loss is drawn here while it refines.",
        )
        self.loss = held(row("loss", self.curve, stretch=1, spacing=6))
        """To be laid out among what few people look at."""
        fill_column(
            self,
            row("rounds", self.dots, self.blink_button, stretch=1, spacing=6),
            self.words,
            row(self.difference, None, legend),
            spacing=3,
            margins=(0, 2, 0, 0),
        )
        self.show_rounds((), 0)

    def show_rounds(
        self, rounds: Sequence[Round], current: int, held: Round | None = None
    ) -> None:
        """The rounds, and what there is to say of the one that is shown.

        Args:
            rounds: all of them.
            current: index of the one that is shown.
            held: the earlier one that is looked at for a moment.
        """
        has_several = len(rounds) > 1
        if not rounds:
            self.curve.show_values(())
        shown = next((item for item in rounds if item.index == current), None)
        self.dots.show_rounds(rounds, current)
        earlier = shown is not None and shown is not rounds[0]
        self.blink_button.setEnabled(earlier)
        self.difference.setEnabled(earlier)
        if shown is None or not has_several:
            self.words.setText(NONE_YET)
            self.warning.show_words("")
            return
        seen = held or shown
        line = round_line(seen, rounds)
        self.words.setText(line if held is None else f"now seen: {line}")
        self.warning.show_words(warning_words(seen))
        self.curve.show_values(shown.loss)

    def set_warning_colour(self, colour: str) -> None:
        """The theme's colour for warnings."""
        self.warning.set_colour(colour)
        self.dots.set_warning_colour(colour)


class WarningWords(Words):
    """What is odd, beside a bar in the theme's colour for warnings; with links."""

    def __init__(self) -> None:
        super().__init__()
        self._colour = WARNING
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
