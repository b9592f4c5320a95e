"""A collapsible panel of the dock, and the pieces that all panels are built from."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QStyleOptionComboBox,
    QStylePainter,
    QVBoxLayout,
)
from superqt import QCollapsible

if TYPE_CHECKING:
    from qtpy.QtGui import QPaintEvent, QResizeEvent
    from qtpy.QtWidgets import (
        QWidget,
    )

_UNLIMITED = 16_777_215


class Panel(QCollapsible):
    """One job of the person: a title to open and close, and rows below it."""

    def __init__(self, title: str, tip: str, parent: QWidget | None = None) -> None:
        super().__init__("", parent, expandedIcon=QIcon(), collapsedIcon=QIcon())
        self._title = title
        self.setDuration(0)
        button = self.toggleButton()
        button.setToolTip(tip)
        button.setStyleSheet(
            "QPushButton, QPushButton:checked { text-align: left; font-weight: bold;"
            " padding: 3px 2px; background: transparent; border-radius: 0;"
            " border-bottom: 1px solid rgba(128, 128, 128, 110); }"
        )
        self.layout().setContentsMargins(0, 0, 0, 0)
        self.layout().setSpacing(0)
        self.rows = QVBoxLayout()
        self.rows.setContentsMargins(2, 6, 2, 4)
        self.rows.setSpacing(4)
        self.content().layout().setContentsMargins(0, 0, 0, 0)
        self.content().layout().addLayout(self.rows)
        self.toggled.connect(self._on_toggled)
        self._on_toggled(False)

    def _on_toggled(self, opened: bool) -> None:
        # superqt fixes the height at a guess that cuts off wrapped text.
        self.content().setMaximumHeight(_UNLIMITED if opened else 0)
        self.setText(("▾ " if opened else "▸ ") + self._title)


def add_row(
    rows: QVBoxLayout, *items: QWidget | str, stretch: int | None = None
) -> QHBoxLayout:
    """A row of widgets and words; ``stretch`` is the place of the one that grows."""
    row = QHBoxLayout()
    row.setSpacing(6)
    for place, item in enumerate(items):
        widget = QLabel(item) if isinstance(item, str) else item
        row.addWidget(widget, 1 if place == stretch else 0)
    if stretch is None:
        row.addStretch(1)
    rows.addLayout(row)
    return row


class Words(QLabel):
    """Words that break into lines rather than widen the dock.

    Qt asks a label how high it is before it says how wide it may be, and reserves that
    height for ever; here the answer is always for the present width.

    Args:
        text: the words.
        parent: widget that holds them.
        lines: how many lines are shown; what does not fit is in the tooltip. 0 for all.
    """

    def __init__(
        self, text: str = "", parent: QWidget | None = None, *, lines: int = 0
    ) -> None:
        super().__init__(text, parent)
        self._words = text
        self._lines = lines
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        policy = QSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)

    def text(self) -> str:
        """All the words, whether they fit or not."""
        return self._words

    def setText(self, text: str) -> None:
        """Show other words; the same ones cost nothing."""
        if text != self._words:
            self._words = text
            super().setText(text)
            self._shorten()

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

    def _shorten(self) -> None:
        """Leave out words at the end until the rest fits into the lines."""
        if not self._lines:
            return
        super().setText("\n".join("x" * self._lines))
        highest = self.heightForWidth(10_000)
        super().setText(self._words)
        words = self._words.split(" ")
        while len(words) > 1 and self.heightForWidth(self.width()) > highest:
            words.pop()
            super().setText(" ".join(words) + " …")
        self.setToolTip(self._words if len(words) < self._words.count(" ") + 1 else "")


class Choice(QComboBox):
    """A combo box that may be narrow: a long entry loses its middle, not its end."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizeAdjustPolicy(
            self.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.setMinimumContentsLength(4)
        self.setMinimumWidth(48)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the frame, and as much of the entry as fits."""
        del event
        painter = QStylePainter(self)
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        style = self.style()
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


class Fold(QPushButton):
    """A line of words that opens and closes what stands below it."""

    def __init__(self, words: str, content: QWidget) -> None:
        super().__init__()
        self._words = words
        self.content = content
        self.setCheckable(True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setStyleSheet(
            "QPushButton, QPushButton:checked { text-align: left; padding: 3px 0;"
            " background: transparent; }"
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


def small(button: QPushButton) -> QPushButton:
    """A button for one sign."""
    button.setFixedWidth(28)
    return button
