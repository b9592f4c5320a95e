"""A collapsible panel of the dock, and the pieces that all panels are built from."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout
from superqt import QCollapsible

if TYPE_CHECKING:
    from qtpy.QtGui import QResizeEvent
    from qtpy.QtWidgets import QComboBox, QPushButton, QWidget

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
            " padding: 5px 2px; background: transparent; border-radius: 0;"
            " border-bottom: 1px solid rgba(128, 128, 128, 110); }"
        )
        self.layout().setContentsMargins(0, 0, 0, 0)
        self.layout().setSpacing(0)
        self.rows = QVBoxLayout()
        self.rows.setContentsMargins(2, 8, 2, 8)
        self.rows.setSpacing(6)
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
    """

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        policy = QSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)

    def sizeHint(self) -> QSize:
        """As wide as it is now."""
        return QSize(self.width(), max(0, self.heightForWidth(max(self.width(), 1))))

    def minimumSizeHint(self) -> QSize:
        """Any width, and the height that goes with the present one."""
        return QSize(1, self.sizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Another width gives another height."""
        super().resizeEvent(event)
        self.updateGeometry()


def narrow(combo: QComboBox) -> QComboBox:
    """A combo box that may be narrower than its longest entry."""
    combo.setSizeAdjustPolicy(
        combo.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
    )
    combo.setMinimumContentsLength(4)
    combo.setMinimumWidth(48)
    combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    return combo


def small(button: QPushButton) -> QPushButton:
    """A button for one sign."""
    button.setFixedWidth(28)
    return button
