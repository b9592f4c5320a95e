"""What every method says at the cursor and at pins, and the regions above the cut."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QTreeWidget,
    QTreeWidgetItem,
)
from superqt.utils import signals_blocked

from napari_wsol.gui.compare.scores import shown
from napari_wsol.gui.compat import needed
from napari_wsol.gui.layers.threshold import thinned
from napari_wsol.gui.tasks import once

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from qtpy.QtGui import QKeyEvent

    from napari_wsol.export import Region
    from napari_wsol.gui.compare.scores import Row
    from napari_wsol.images.heatmap import Heatmap

MAX_LISTED = 200
"""More regions than anyone clicks through; the count above the list names all."""


GREY = QColor(128, 128, 128)

ROWS = 4
"""Rows of the list that are seen without scrolling."""


class ProbeTable(QTableWidget):
    """A row a method: value, whether it is above the threshold, percentile, scores."""

    COLUMNS = ("at cursor", "value", "pct", "PxAP", "Dice", "IoU")

    def __init__(self) -> None:
        super().__init__(0, len(self.COLUMNS))
        self._titles: list[str] = []
        self.setHorizontalHeaderLabels(self.COLUMNS)
        beside = needed(self.verticalHeader())
        beside.hide()
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setShowGrid(False)
        # “Grad-CAM at layer3” and “Grad-CAM at layer4” differ at their ends.
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setWordWrap(False)
        beside.setMinimumSectionSize(16)
        beside.setDefaultSectionSize(self.fontMetrics().height() + 5)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        header = self._header = needed(self.horizontalHeader())
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setMinimumSectionSize(24)
        # Of fixed width: what it says of the cursor is set without a word to Qt.
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Fixed)
        header.resizeSection(1, self.fontMetrics().horizontalAdvance("-3e-04 ●") + 8)
        header.setStyleSheet("QHeaderView::section { padding: 0; }")  # names need room
        self.setToolTip(
            "What each method says under the mouse: its value, whether that is above "
            "the threshold (●), and how many per cent of the image are lower. With a "
            "reference how well it agrees: PxAP in per cent, Dice and IoU at the "
            "threshold; the best is bold. Grey: what needs no network at all."
        )
        # Where the table grows while the dock is being laid out, Qt keeps its old
        # height in mind, and what stands below is drawn over the last rows.
        self._settle = once(self, 50, self.updateGeometry)
        self.show_scores(())
        self._fit_height()

    def show_methods(self, titles: Sequence[str]) -> None:
        """One row a method, values still empty."""
        if self._titles == list(titles):
            return
        self._titles = list(titles)
        self.setRowCount(len(titles))
        for row, title in enumerate(titles):
            for column in range(len(self.COLUMNS)):
                item = QTableWidgetItem(title if column == 0 else "–")
                if column == 0:
                    item.setToolTip(title)
                else:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
                self.setItem(row, column, item)
        self._fit_height()

    def show_scores(self, rows: Sequence[Row]) -> None:
        """How well each map agrees with the reference; the columns hide without one.

        Args:
            rows: the methods, then in grey what they should beat.
        """
        self.show_methods([row.title for row in rows])
        for column, name in enumerate(("pxap", "image_dice", "image_iou"), start=3):
            self.setColumnHidden(column, not any(name in row.values for row in rows))
            for place, (text, is_best) in enumerate(shown(rows, name)):
                item = needed(self.item(place, column))
                item.setText(text)
                font = item.font()
                font.setBold(is_best)
                item.setFont(font)
        for place, row in enumerate(rows):
            for column in range(self.columnCount() if row.is_prior else 0):
                needed(self.item(place, column)).setForeground(GREY)

    def probe(
        self,
        heatmaps: Sequence[Heatmap],
        cuts: Mapping[str, float],
        at: tuple[float, float],
    ) -> None:
        """Fill the rows for a level-0 position; dashes outside the image."""
        for row, heatmap in enumerate(heatmaps[: self.rowCount()]):
            value = heatmap.at(*at)
            texts = "–", "–"
            if value is not None:
                far = heatmap.strength(value) >= cuts.get(heatmap.key, 1.0)
                dot = "●" if far else "○"
                rank = thinned(heatmap).rank(value)
                texts = f"{heatmap.words(value)} {dot}", f"{rank:.0f}"
            for column, text in enumerate(texts, start=1):
                needed(self.item(row, column)).setText(text)

    def _fit_height(self) -> None:
        rows = sum(self.rowHeight(row) for row in range(self.rowCount()))
        height = self._header.sizeHint().height() + rows + 4
        self.setFixedHeight(max(height, 30))
        self._settle.start()
        self.setVisible(self.rowCount() > 0)


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
                value = one["evidence"] or f"{one['value']:.2f}"
                said = value, f"{one['percentile']:.0f}"
                above = "●" if one["above"] else "○"
                pin.addChild(QTreeWidgetItem([one["method"], *said, above]))
            pin.setFirstColumnSpanned(True)
            if number == chosen + 1:
                self.setCurrentItem(pin)
                pin.setExpanded(True)
        self.setVisible(bool(rows))


class RegionList(QTableWidget):
    """Regions, strongest first: a click marks one on the image, two fly there."""

    COLUMNS = ("no.", "area", "up to", "sum")

    chosen = Signal(object)
    """The :class:`Region` that is to be marked; None for none."""

    wanted = Signal(object)
    """The :class:`Region` that is to be flown to."""

    def __init__(self) -> None:
        super().__init__(0, len(self.COLUMNS))
        self._regions: list[Region] = []
        self.setHorizontalHeaderLabels(self.COLUMNS)
        self.setColumnHidden(3, True)  # until a map adds up to something
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setTabKeyNavigation(False)
        self.setShowGrid(False)
        self.setWordWrap(False)
        beside, header = needed(self.verticalHeader()), needed(self.horizontalHeader())
        beside.hide()
        high = self.fontMetrics().height() + 5
        beside.setMinimumSectionSize(16)
        beside.setDefaultSectionSize(high)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)
        header.setHighlightSections(False)
        header.setFixedHeight(high)
        # So many rows, whole, whether there are more of them or fewer.
        self.setFixedHeight(high * (ROWS + 1) + 2 * self.frameWidth())
        self.setToolTip(
            "Click a region to see its outline and number on the image; double-click "
            "to go there."
        )
        self.cellClicked.connect(lambda row, _: self.chosen.emit(self._regions[row]))
        self.currentCellChanged.connect(self._on_current)
        self.cellActivated.connect(lambda row, _: self.wanted.emit(self._regions[row]))
        self.cellDoubleClicked.connect(
            lambda row, _: self.wanted.emit(self._regions[row])
        )

    def count(self) -> int:
        """How many are listed."""
        return len(self._regions)

    def show_regions(
        self, regions: Sequence[Region], words: Callable[[float], str] = "{:.2f}".format
    ) -> None:
        """List them, by number, size and strength; the same ones stay as they are.

        Args:
            regions: in order.
            words: says a value of their map.
        """
        listed = list(regions[:MAX_LISTED])
        if [_facts(item) for item in listed] == [_facts(x) for x in self._regions]:
            self._regions = listed
            return
        self.setColumnHidden(3, all(item.evidence is None for item in listed))
        is_marked = self.currentRow() >= 0
        self._regions = listed
        with signals_blocked(self):
            self.clearSelection()
            self.setCurrentItem(None)
            self.setRowCount(len(listed))
            for row, region in enumerate(listed):
                size = area_words(region.area_px, region.area_mm2)
                cells = [str(region.id), size, words(region.max_score)]
                if region.evidence is not None:
                    cells.append(f"{region.evidence:+.2f}")
                for column, text in enumerate(cells):
                    item = QTableWidgetItem(text)
                    item.setTextAlignment(
                        Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                    )
                    self.setItem(row, column, item)
            self.scrollToTop()
        if is_marked:
            self.chosen.emit(None)

    def _on_current(self, row: int, *_: int) -> None:
        if 0 <= row < len(self._regions):
            self.chosen.emit(self._regions[row])


def _facts(region: Region) -> tuple[object, ...]:
    """What tells a region from another one in the list and on the image."""
    return region.id, region.bbox, region.area_px, region.area_mm2, region.max_score


def area_words(area_px: float, area_mm2: float | None) -> str:
    """“12.4 mm²”, “830 µm²”, or pixels where the pixel size is not known."""
    if area_mm2 is None:
        return f"{area_px:,.0f} px".replace(",", "\u202f")
    if area_mm2 < 0.01:
        return f"{area_mm2 * 1e6:,.0f} µm²".replace(",", "\u202f")
    return f"{area_mm2:.3g} mm²" if area_mm2 < 100 else f"{area_mm2:.0f} mm²"


def summary_words(
    regions: Sequence[Region], mpp: float | None, why_none: str = ""
) -> str:
    """How many and how large: “3 regions, 12.4 mm², strongest first”.

    Args:
        regions: those that are listed.
        mpp: µm a level-0 pixel, None where it is not known.
        why_none: what is said where there are none.
    """
    if not regions:
        return why_none
    pixels = sum(region.area_px for region in regions)
    area = None if mpp is None else pixels * mpp**2 / 1e6
    count = "1 region" if len(regions) == 1 else f"{len(regions)} regions"
    order = ", strongest first" if len(regions) > 1 else ""
    if against := sum(region.against for region in regions):
        order = f", {against} of them against"
    return f"{count}, {area_words(pixels, area)}{order}"
