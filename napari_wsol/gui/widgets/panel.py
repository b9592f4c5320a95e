"""A collapsible panel of the dock, and the pieces that all panels are built from."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from qtpy.QtGui import QIcon
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QVBoxLayout,
)
from superqt import QCollapsible

from napari_wsol.gui.compat import needed

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtGui import QAction
    from qtpy.QtWidgets import (
        QMenu,
        QPushButton,
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
        whole = needed(self.layout())
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(0)
        self.rows = QVBoxLayout()
        self.rows.setContentsMargins(2, 6, 2, 4)
        self.rows.setSpacing(4)
        inner = cast("QVBoxLayout", self.content().layout())
        inner.setContentsMargins(0, 0, 0, 0)
        inner.addLayout(self.rows)
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


def add_action(
    menu: QMenu, words: str, call: Callable[[], object], tip: str = ""
) -> QAction:
    """An entry of a menu."""
    action = needed(menu.addAction(words))
    action.setToolTip(tip)
    action.triggered.connect(lambda _=False: call())
    return action


def small(button: QPushButton) -> QPushButton:
    """A button for one sign."""
    button.setFixedWidth(28)
    return button
