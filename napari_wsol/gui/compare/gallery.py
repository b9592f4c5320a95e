"""The places where a slide's map is highest, as a strip of pictures to click."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QIcon, QPixmap
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QWidget

from napari_wsol.gui.compat import needed
from napari_wsol.gui.layers.wall import picture_of
from napari_wsol.gui.widgets.elided import Words
from napari_wsol.gui.widgets.panel import fill_column, push_button, row

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from napari_wsol.slides.top_tiles import TopTile

SIDE = 64
"""Screen pixels of a picture."""

COUNT = 12


WITHOUT_TIP = (
    "The verdict without the tiles that are chosen above: click one, more with Ctrl. "
    "Another click puts them back; maps stay as they are."
)


class Gallery(QListWidget):
    """Pictures from left to right, the highest first; a click flies there."""

    wanted = Signal(object)
    """The :class:`TopTile` that was clicked."""

    def __init__(self) -> None:
        super().__init__()
        self._tiles: list[TopTile] = []
        self.setToolTip(
            "Where the map is highest on tissue, strongest first. Click to go there."
        )
        self.setViewMode(QListWidget.ViewMode.IconMode)
        self.setFlow(QListWidget.Flow.LeftToRight)
        self.setWrapping(False)
        self.setMovement(QListWidget.Movement.Static)
        self.setIconSize(QSize(SIDE, SIDE))
        self.setSpacing(2)
        self.setMinimumWidth(80)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        bar = needed(self.horizontalScrollBar()).sizeHint().height()
        self.setFixedHeight(SIDE + self.fontMetrics().height() + bar + 18)
        self.setSelectionMode(QListWidget.SelectionMode.ExtendedSelection)
        self.itemClicked.connect(self._on_clicked)
        self.itemActivated.connect(self._on_clicked)
        self.hide()

    def show_tiles(
        self,
        tiles: Sequence[TopTile],
        pictures: Sequence[npt.NDArray[np.uint8]],
        target: str = "",
    ) -> None:
        """Show these places; none hides the strip.

        Args:
            tiles: in order.
            pictures: (h, w, 3) uint8 of each.
            target: what they speak for or against; empty where values have no sign.
        """
        self._tiles = list(tiles)
        self.clear()
        kind, what = (".2f", "on average") if not target else ("+.2f", f"for {target}")
        for tile, pixels in zip(tiles, pictures, strict=True):
            icon = QIcon(QPixmap.fromImage(picture_of(pixels)))
            item = QListWidgetItem(icon, value := format(tile.value, kind))
            item.setToolTip(f"Place {tile.rank}: {value} {what}.")
            self.addItem(item)
        self.setVisible(bool(self._tiles))

    @property
    def chosen(self) -> list[TopTile]:
        """The places that are selected."""
        return [self._tiles[index.row()] for index in self.selectedIndexes()]

    def _on_clicked(self, item: QListWidgetItem) -> None:
        self.wanted.emit(self._tiles[self.row(item)])


class Verdict(QWidget):
    """What a model says that weighs tiles, and its tiles for and against the class."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.answer = Words(lines=2), Words(lines=2)
        self.galleries = Gallery(), Gallery()
        self.button = push_button(
            "Look again without them", WITHOUT_TIP, checkable=True
        )
        fill_column(self, self.words, row(*self.galleries), self.button, self.answer)
        for gallery in self.galleries:
            gallery.itemSelectionChanged.connect(self._on_chosen)
        self.say("")

    @property
    def chosen(self) -> list[TopTile]:
        """The tiles that are selected, for the class and against it."""
        return [tile for gallery in self.galleries for tile in gallery.chosen]

    def say(self, words: str) -> None:
        """The verdict; none hides it."""
        self.words.setText(words)
        for widget in (self.words, self.button, self.answer):
            widget.setVisible(bool(words))
        self._on_chosen()

    def _on_chosen(self) -> None:
        """Other tiles are chosen: what was said without those before goes."""
        self.button.setEnabled(bool(self.chosen))
        self.button.setChecked(False)
