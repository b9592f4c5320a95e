"""A list of images as Qt sees it: one model, whatever the number of rows."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from qtpy.QtCore import QAbstractTableModel, QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QColor, QFont, QIcon, QPainter, QPen, QPixmap, QPolygonF

from napari_wsol.gui.widgets.colours import FOREGROUND

if TYPE_CHECKING:
    from qtpy.QtCore import QModelIndex

    from napari_wsol.journal import Status
    from napari_wsol.worklist.items import Item, WorkList

NAME, STATUS = 0, 1
"""Columns."""

COLOURS: dict[Status, str] = {
    "untouched": "#8f939a",
    "stroked": FOREGROUND,
    "refined": "#56b4e9",
    "reviewed": "#009e73",
}
"""Of the dots, from a set that is safe for colour-blind readers; words stand beside."""

DOT = 14
"""Side of a dot's picture, in pixels."""


class ImageListModel(QAbstractTableModel):
    """Name and status of each image."""

    _moved = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.worklist: WorkList | None = None
        """What is shown."""
        # The list changes on any thread; Qt brings it to this one.
        self._moved.connect(self._on_moved)

    def show_list(self, worklist: WorkList | None) -> None:
        """Show another list."""
        self.beginResetModel()
        self.close()
        self.worklist = worklist
        if worklist is not None:
            worklist.changed.connect(self._moved.emit)
        self.endResetModel()

    def close(self) -> None:
        """Stop listening."""
        if self.worklist is not None:
            self.worklist.changed.disconnect(self._moved.emit, missing_ok=True)

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Images."""
        inside = parent is not None and parent.isValid()
        return 0 if inside or self.worklist is None else len(self.worklist)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Name and status."""
        return 0 if parent is not None and parent.isValid() else 2

    def data(
        self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole
    ) -> object:
        """What is drawn of an image; asked for the rows that are seen."""
        worklist = self.worklist
        if worklist is None or not 0 <= index.row() < len(worklist):
            return None
        item, kind = worklist[index.row()], Qt.ItemDataRole
        if role == kind.FontRole:
            font = QFont()
            font.setBold(index.row() == worklist.current)
            return font
        if role == kind.ToolTipRole:
            return "\n".join(filter(None, (str(item.path), _long(item), item.note)))
        if index.column() == STATUS:
            right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            shown = {kind.DisplayRole: status_words(item)}
            return {**shown, kind.TextAlignmentRole: right}.get(kind(role))
        name = worklist.relative(item) if worklist.recursive else item.name
        picture = dot(item.status, item.set_aside, bool(item.note))
        return {kind.DisplayRole: name, kind.DecorationRole: picture}.get(kind(role))

    def _on_moved(self, row: int | None) -> None:
        last = self.rowCount() - 1
        if last < 0:
            return
        first, end = (0, last) if row is None else (row, row)
        self.dataChanged.emit(self.index(first, NAME), self.index(end, STATUS))


def status_words(item: Item) -> str:
    """“refined”, “set aside · stroked”; what stands beside the dot."""
    if item.note:
        return "cannot be read"
    if not item.set_aside:
        return item.status
    return "set aside" if item.status == "untouched" else f"set aside · {item.status}"


def _long(item: Item) -> str:
    told = {
        "untouched": "Nothing was drawn on it yet.",
        "stroked": "It has strokes that nothing was learnt from yet.",
        "refined": "The map was refined by its strokes.",
        "reviewed": "You have reviewed it.",
    }[item.status]
    return (
        f"Set aside: it scores, and teaches nothing. {told}" if item.set_aside else told
    )


@lru_cache(maxsize=64)
def dot(status: Status, aside: bool = False, broken: bool = False) -> QIcon:
    """A dot for a status: a ring, filled, with a tick; square where it is set aside."""
    scale = 2
    pixmap = QPixmap(scale * DOT, scale * DOT)
    pixmap.setDevicePixelRatio(scale)
    pixmap.fill(QColor(0, 0, 0, 0))
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    colour = QColor(COLOURS[status])
    painter.setPen(QPen(colour, 1.6))
    if status != "untouched":
        painter.setBrush(colour)
    shape = QRectF(2.5, 2.5, DOT - 5, DOT - 5)
    if broken:
        painter.drawLine(shape.topLeft(), shape.bottomRight())
        painter.drawLine(shape.topRight(), shape.bottomLeft())
    elif aside:
        painter.drawRoundedRect(shape, 1.5, 1.5)
    else:
        painter.drawEllipse(shape)
    if status == "reviewed" and not broken:
        painter.setPen(QPen(QColor("white"), 1.6))
        tick = [QPointF(4.4, 7.2), QPointF(6.2, 9.0), QPointF(9.6, 5.2)]
        painter.drawPolyline(QPolygonF(tick))
    painter.end()
    icon = QIcon()
    # The same on a chosen row: Qt would tint it.
    for mode in (QIcon.Mode.Normal, QIcon.Mode.Selected, QIcon.Mode.Active):
        icon.addPixmap(pixmap, mode)
    return icon
