"""Pinned places, and what each map says there."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHeaderView, QTreeWidget, QTreeWidgetItem

from napari_wsol.gui.compat import needed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qtpy.QtGui import QKeyEvent


class PinTree(QTreeWidget):
    """Places with their numbers on the image, and below each a line a map."""

    wanted = Signal(int)
    """The place that is to be flown to, from 0."""

    unwanted = Signal(int)
    """The place that is to go."""

    def __init__(self) -> None:
        super().__init__()
        self.setHeaderLabels(("pinned place", "value", "pct", "above"))
        header = needed(self.header())
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setStretchLastSection(False)
        self.setToolTip(
            "P pins what is under the mouse. Click: go there. Delete: remove it."
        )
        self.setFixedHeight(8 * (self.fontMetrics().height() + 6))
        self.itemClicked.connect(lambda: self.wanted.emit(self.chosen))
        self.hide()

    @property
    def chosen(self) -> int:
        """The place that was clicked, from 0; -1 for none."""
        item = self.currentItem()
        return self.indexOfTopLevelItem(item.parent() or item) if item else -1

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Delete takes the chosen place away."""
        if event.key() == Qt.Key.Key_Delete:
            self.unwanted.emit(self.chosen)
        else:
            super().keyPressEvent(event)

    def show_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """List the places, one row a place and map; the chosen one stays open."""
        chosen = self.chosen
        self.clear()
        for number, told in groupby(rows, itemgetter("place")):
            pin = QTreeWidgetItem(self)
            for one in told:
                where = "{place}   {y_px:.0f}, {x_px:.0f} px".format(**one)
                if one["y_mm"] != "":
                    where += " · {y_mm:.3f}, {x_mm:.3f} mm".format(**one)
                pin.setText(0, where)
                said = f"{one['value']:.2f}", f"{one['percentile']:.0f}"
                above = "●" if one["above"] else "○"
                pin.addChild(QTreeWidgetItem([one["method"], *said, above]))
            pin.setFirstColumnSpanned(True)
            if number == chosen + 1:
                self.setCurrentItem(pin)
                pin.setExpanded(True)
        self.setVisible(bool(rows))
