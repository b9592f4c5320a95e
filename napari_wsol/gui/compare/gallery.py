"""The places where a slide's map is highest, as a strip of pictures to click."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QIcon, QPixmap
from qtpy.QtWidgets import QListWidget, QListWidgetItem

from napari_wsol.gui.compat import needed
from napari_wsol.gui.layers.wall import picture_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from napari_wsol.slides.top_tiles import TopTile

SIDE = 64
"""Screen pixels of a picture."""

COUNT = 12


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
        self.itemClicked.connect(self._on_clicked)
        self.itemActivated.connect(self._on_clicked)
        self.hide()

    def show_tiles(
        self, tiles: Sequence[TopTile], pictures: Sequence[npt.NDArray[np.uint8]]
    ) -> None:
        """Show these places; none hides the strip.

        Args:
            tiles: in order.
            pictures: (h, w, 3) uint8 of each.
        """
        self._tiles = list(tiles)
        self.clear()
        for tile, pixels in zip(tiles, pictures, strict=True):
            icon = QIcon(QPixmap.fromImage(picture_of(pixels)))
            item = QListWidgetItem(icon, f"{tile.value:.2f}")
            item.setToolTip(f"Place {tile.rank}: {tile.value:.2f} on average.")
            self.addItem(item)
        self.setVisible(bool(self._tiles))

    def _on_clicked(self, item: QListWidgetItem) -> None:
        self.wanted.emit(self._tiles[self.row(item)])
