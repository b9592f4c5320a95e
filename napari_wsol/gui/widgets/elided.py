"""Words, choices and ticks that leave out what does not fit; folds that close."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QSize, Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QLabel,
    QPushButton,
    QSizePolicy,
    QStyleOptionButton,
    QStyleOptionComboBox,
    QStylePainter,
)

from napari_wsol.gui.compat import needed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from qtpy.QtGui import QPaintEvent, QResizeEvent
    from qtpy.QtWidgets import QWidget

NARROW = 64
"""Pixels below which a check box is not squeezed."""


class Words(QLabel):
    """Words that break into lines rather than widen the dock.

    Qt asks a label how high it is before it says how wide it may be, and reserves that
    height for ever; here the answer is always for the present width.

    Args:
        text: the words.
        lines: how many lines are shown; what does not fit is in the tooltip. 0 for all.
        keeps: whether the room of those lines is kept where there are fewer words, so
            that nothing below moves when others come.
    """

    def __init__(self, text: str = "", *, lines: int = 0, keeps: bool = False) -> None:
        super().__init__(text)
        self._words, self._tip = text, ""
        self._lines, self._keeps = lines, keeps
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        policy = QSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        if keeps:
            self.setAlignment(Qt.AlignmentFlag.AlignVCenter)
            self._keep()

    def text(self) -> str:
        """All the words, whether they fit or not."""
        return self._words

    def setText(self, text: str) -> None:
        """Show other words; the same ones cost nothing."""
        if text != self._words:
            self._words = text
            super().setText(text)
            self._shorten()

    def setToolTip(self, tip: str) -> None:
        """What is said beside the words that do not fit."""
        self._tip = tip
        self._shorten()

    def set_lines(self, lines: int) -> None:
        """Show another number of lines."""
        if lines != self._lines:
            self._lines = lines
            self._keep()
            self._shorten()

    def height_of(self, lines: int) -> int:
        """Pixels that so many lines take."""
        shown = super().text()
        super().setText("\n".join("x" * lines))
        height = self.heightForWidth(10_000)
        super().setText(shown)
        return height

    def sizeHint(self) -> QSize:
        """As wide as it is now."""
        return QSize(self.width(), max(0, self.heightForWidth(max(self.width(), 1))))

    def minimumSizeHint(self) -> QSize:
        """Any width, and the height that goes with the present one."""
        return QSize(1, self.sizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Another width gives another height."""
        super().resizeEvent(event)
        if event.size().width() != event.oldSize().width():
            self._shorten()
            self.updateGeometry()

    def changeEvent(self, event: QEvent) -> None:
        """Another font has other lines."""
        super().changeEvent(event)
        if event.type() in {QEvent.Type.FontChange, QEvent.Type.StyleChange}:
            self._keep()
            self._shorten()

    def _keep(self) -> None:
        if self._keeps and self._lines:
            self.setFixedHeight(self.height_of(self._lines))

    def _shorten(self) -> None:
        """Leave out words at the end until the rest fits into the lines."""
        if not self._lines:
            super().setToolTip(self._tip)
            return
        highest = self.height_of(self._lines)
        super().setText(self._words)
        words = self._words.split(" ")
        while len(words) > 1 and self.heightForWidth(self.width()) > highest:
            words.pop()
            super().setText(" ".join(words) + " …")
        is_whole = len(words) == self._words.count(" ") + 1
        hidden = "" if is_whole or self._words in self._tip else self._words
        super().setToolTip("\n".join(filter(None, (hidden, self._tip))))


class Choice(QComboBox):
    """A combo box that may be narrow: a long entry loses its middle, not its end."""

    def __init__(self, tip: str = "") -> None:
        super().__init__()
        self.setToolTip(tip)
        self.setSizeAdjustPolicy(
            self.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.setMinimumContentsLength(4)
        self.setMinimumWidth(48)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def offer(self, items: Iterable[tuple[str, object]], chosen: object = None) -> None:
        """List words with their values anew; without the one to choose, the first."""
        self.clear()
        for words, value in items:
            self.addItem(words, value)
        self.setCurrentIndex(max(0, self.findData(chosen)))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the frame, and as much of the entry as fits."""
        del event
        painter = QStylePainter(self)
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        style = needed(self.style())
        painter.drawComplexControl(style.ComplexControl.CC_ComboBox, option)
        field = style.subControlRect(
            style.ComplexControl.CC_ComboBox,
            option,
            style.SubControl.SC_ComboBoxEditField,
            self,
        )
        middle = Qt.TextElideMode.ElideMiddle
        option.currentText = self.fontMetrics().elidedText(
            option.currentText or self.placeholderText(), middle, field.width() - 6
        )
        painter.drawControl(style.ControlElement.CE_ComboBoxLabel, option)


class MethodChoice(Choice):
    """One of the methods that have a map."""

    chosen = Signal(str)
    """By the person."""

    def __init__(self, tip: str = "") -> None:
        super().__init__(tip)
        self.activated.connect(lambda _: self.chosen.emit(self.currentData()))

    @property
    def method(self) -> str | None:
        """The chosen one."""
        return self.currentData()

    def show_methods(self, titles: Mapping[str, str]) -> None:
        """Offer methods by their titles; the chosen one stays if it is among them."""
        self.offer([(title, name) for name, title in titles.items()], self.method)

    def choose(self, method: str) -> None:
        """Follow a choice that was made elsewhere."""
        place = self.findData(method)
        if place >= 0:
            self.setCurrentIndex(place)


class Tick(QCheckBox):
    """A check box that may be narrow: a long title loses its middle."""

    def __init__(self, title: str) -> None:
        super().__init__(title)
        # Qt's own policy for check boxes takes the whole title as the least width.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)

    def minimumSizeHint(self) -> QSize:
        """Room for the box and a few letters."""
        return QSize(NARROW, super().minimumSizeHint().height())

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the box, and as much of the title as fits."""
        del event
        painter = QStylePainter(self)
        option = QStyleOptionButton()
        self.initStyleOption(option)
        style = needed(self.style())
        field = style.subElementRect(
            style.SubElement.SE_CheckBoxContents, option, self
        ).intersected(self.rect())
        middle = Qt.TextElideMode.ElideMiddle
        room = field.width() - (self.iconSize().width() + 4) * (
            not self.icon().isNull()
        )
        option.text = self.fontMetrics().elidedText(self.text(), middle, room)
        painter.drawControl(style.ControlElement.CE_CheckBox, option)


class Fold(QPushButton):
    """A line of words that opens and closes what stands below it."""

    def __init__(self, words: str, content: QWidget, tip: str) -> None:
        super().__init__()
        self.setToolTip(tip)
        self._words = words
        self.content = content
        self.setCheckable(True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setStyleSheet(
            "QPushButton, QPushButton:checked, QPushButton:disabled { text-align: left;"
            " padding: 3px 0; background: transparent; border: none; }"
        )
        self.toggled.connect(self._on_toggled)
        self._on_toggled(False)

    def say(self, words: str) -> None:
        """Other words on the line."""
        self._words = words
        self.setText(("▾ " if self.isChecked() else "▸ ") + words)

    def setVisible(self, visible: bool) -> None:
        """What is folded in comes and goes with its line."""
        super().setVisible(visible)
        self.content.setVisible(visible and self.isChecked())

    def _on_toggled(self, opened: bool) -> None:
        self.content.setVisible(opened)
        self.say(self._words)
