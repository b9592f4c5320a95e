"""The places where a slide's map is highest, as a strip of pictures to click."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QIcon, QPixmap
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QWidget

from napari_wsol.gui.compat import needed
from napari_wsol.gui.layers.wall import picture_of
from napari_wsol.gui.widgets.elided import Words
from napari_wsol.gui.widgets.job_bar import counted
from napari_wsol.gui.widgets.panel import fill_column, push_button, row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from napari_wsol.slides.top_tiles import TopTile

SIDE = 64
"""Screen pixels of a picture."""

COUNT = 12


WITHOUT_TIP = (
    "What the verdict is without the tiles that are chosen above: click one, more with "
    "Ctrl. Another click puts them back; maps stay as they are."
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
            target: for or against which they speak, where values have a sign.
        """
        self._tiles = list(tiles)
        self.clear()
        kind, what = (".2f", "on average") if not target else ("+.2g", f"for {target}")
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
        self.words, self.answer = Words(lines=3), Words(lines=2)
        self.pro, self.against = self.galleries = Gallery(), Gallery()
        self.button = push_button("", WITHOUT_TIP, checkable=True)
        places = row(*self.galleries, stretch=(0, 1))
        fill_column(self, self.words, places, self.button, self.answer)
        for gallery in self.galleries:
            gallery.itemSelectionChanged.connect(self._on_chosen)
        self.show_verdict("")

    @property
    def chosen(self) -> list[TopTile]:
        """The tiles that are selected."""
        return [*self.pro.chosen, *self.against.chosen]

    def show_verdict(self, words: str) -> None:
        """The verdict on the image; none hides it."""
        self.words.setText(words)
        for widget in (self.words, self.button, self.answer):
            widget.setVisible(bool(words))
        self._on_chosen()

    def show_answer(
        self, tiles: str, scores: Mapping[str, float], before: Mapping[str, float]
    ) -> None:
        """The verdict without some tiles, beside that with them."""
        now, was = (max(x, key=x.__getitem__) for x in (scores, before))
        was = f"was {was} {percent(before[was])}"
        self.answer.setText(f"Without {tiles}: {now} {percent(scores[now])} ({was}).")

    def _on_chosen(self) -> None:
        """Other tiles are chosen: what was said without those before goes."""
        count = len(self.chosen)
        many = f" {counted(count, 'tile')}" if count else "…"
        self.button.setText(f"Look again without{many}")
        self.button.setEnabled(count > 0)
        self.button.setChecked(False)


def percent(share: float) -> str:
    """“97 %”."""
    return f"{100 * share:.0f} %"
