"""A collapsible panel of the dock, and the pieces that all panels are built from."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from qtpy.QtCore import Qt
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import (
    QCheckBox,
    QDialogButtonBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QSlider,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from napari_wsol.gui.compat import needed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qtpy.QtGui import QAction, QResizeEvent
    from qtpy.QtWidgets import QDialog, QLayout

_UNLIMITED = 16_777_215

SMALL = 28
"""Width of a button for one sign."""


class _Nothing(QIcon):
    """No icon. superqt takes what is true alone: of PySide6's icons no empty one."""

    def __bool__(self) -> bool:
        return True


class Panel(QCollapsible):
    """One job of the person: a title to open and close, and rows below it.

    Args:
        title: of the job.
        tip: what it is for.
        stays: what is seen under the title also while the panel is closed.
    """

    def __init__(self, title: str, tip: str, stays: QWidget | None = None) -> None:
        super().__init__("", expandedIcon=_Nothing(), collapsedIcon=_Nothing())
        self._title, self._summary = title, ""
        self.setDuration(0)
        button = self.toggleButton()
        button.setToolTip(tip)
        button.setStyleSheet(
            "QPushButton, QPushButton:checked { text-align: left; font-weight: bold;"
            " padding: 3px 2px; background: transparent; border-radius: 0;"
            " border-bottom: 1px solid rgba(128, 128, 128, 110); }"
        )
        whole = cast("QVBoxLayout", self.layout())
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(0)
        if stays is not None:
            whole.insertLayout(1, framed(stays))
        self.rows = QVBoxLayout()
        self.rows.setContentsMargins(2, 6, 2, 4)
        self.rows.setSpacing(4)
        inner = cast("QVBoxLayout", self.content().layout())
        inner.setContentsMargins(0, 0, 0, 0)
        inner.addLayout(self.rows)
        self.toggled.connect(self._on_toggled)
        self._on_toggled(False)

    def summarize(self, words: str) -> None:
        """Say beside the title of the closed panel what is chosen in it."""
        self._summary = words
        self._show_title()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """More or less of the summary fits."""
        super().resizeEvent(event)
        self._show_title()

    def _on_toggled(self, opened: bool) -> None:
        # superqt fixes the height at a guess that cuts off wrapped text.
        self.content().setMaximumHeight(_UNLIMITED if opened else 0)
        self._show_title()

    def _show_title(self) -> None:
        opened, button = self.isExpanded(), self.toggleButton()
        words = ("▾ " if opened else "▸ ") + self._title
        if self._summary and not opened:
            words += f" · {self._summary}"
        end = Qt.TextElideMode.ElideRight
        words = button.fontMetrics().elidedText(words, end, max(80, self.width() - 8))
        if words != self.text():
            self.setText(words)


def framed(widget: QWidget) -> QVBoxLayout:
    """A widget with the room around it that rows of a panel have."""
    column = QVBoxLayout()
    column.setContentsMargins(2, 6, 2, 0)
    column.addWidget(widget)
    return column


def row(
    *items: QWidget | str | None, stretch: int | Sequence[int] = (), spacing: int = -1
) -> QHBoxLayout:
    """A row of widgets and words.

    Args:
        items: from the left; None is room that grows.
        stretch: places of those that grow.
        spacing: between two of them, in pixels; the style's own if negative.
    """
    line = QHBoxLayout()
    line.setSpacing(spacing)
    growing = (stretch,) if isinstance(stretch, int) else stretch
    for place, item in enumerate(items):
        if item is None:
            line.addStretch(1)
        else:
            widget = QLabel(item) if isinstance(item, str) else item
            line.addWidget(widget, int(place in growing))
    return line


def fill_column(
    box: QWidget,
    *items: QWidget | QLayout,
    spacing: int = 4,
    margins: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> QVBoxLayout:
    """Lay out a widget as a column.

    Args:
        box: the widget.
        items: what is in it, from the top.
        spacing: between two of them, in pixels.
        margins: left, top, right and bottom, in pixels.
    """
    column = QVBoxLayout(box)
    column.setContentsMargins(*margins)
    column.setSpacing(spacing)
    put(column, *items)
    return column


def put(column: QVBoxLayout, *items: QWidget | QLayout) -> None:
    """Add widgets and rows at the lower end."""
    for item in items:
        if isinstance(item, QWidget):
            column.addWidget(item)
        else:
            column.addLayout(item)


def held(content: QLayout) -> QWidget:
    """A widget around a layout, which can be hidden as a whole."""
    widget = QWidget()
    content.setContentsMargins(0, 0, 0, 0)
    widget.setLayout(content)
    return widget


def push_button(words: str, tip: str = "", *, checkable: bool = False) -> QPushButton:
    """A button that explains itself."""
    button = QPushButton(words)
    button.setToolTip(tip)
    button.setCheckable(checkable)
    return button


def check_box(words: str, tip: str, *, on: bool = False) -> QCheckBox:
    """A tick that explains itself."""
    box = QCheckBox(words)
    box.setToolTip(tip)
    box.setChecked(on)
    return box


def slider(lowest: int, highest: int, value: int, tip: str) -> QSlider:
    """A slider from left to right."""
    made = QSlider(Qt.Orientation.Horizontal)
    made.setRange(lowest, highest)
    made.setValue(value)
    made.setToolTip(tip)
    return made


def add_action(
    menu: QMenu, words: str, call: Callable[[], object], tip: str = ""
) -> QAction:
    """An entry of a menu."""
    action = needed(menu.addAction(words))
    action.setToolTip(tip)
    action.triggered.connect(lambda _=False: call())
    return action


def small(sign: str, tip: str) -> QPushButton:
    """A button for one sign."""
    button = push_button(sign, tip)
    button.setFixedWidth(SMALL)
    return button


def wrapped(words: str) -> QLabel:
    """Words of a dialog, in as many lines as they need."""
    label = QLabel(words)
    label.setWordWrap(True)
    return label


def add_buttons(
    dialog: QDialog, kinds: QDialogButtonBox.StandardButton
) -> QDialogButtonBox:
    """The buttons that end a dialog, below all that it has."""
    buttons = QDialogButtonBox(kinds, parent=dialog)
    buttons.accepted.connect(dialog.accept)
    buttons.rejected.connect(dialog.reject)
    needed(dialog.layout()).addWidget(buttons)
    return buttons


def asked_path(parent: QWidget, title: str, name: str, kinds: str = "") -> str:
    """Where the person wants a file saved, “” for nowhere; nothing is overwritten."""
    keep = QFileDialog.Option.DontConfirmOverwrite
    return QFileDialog.getSaveFileName(parent, title, name, kinds, options=keep)[0]


def menu_of(owner: QWidget) -> QMenu:
    """A menu whose entries explain themselves."""
    menu = QMenu(owner)
    menu.setToolTipsVisible(True)
    return menu
