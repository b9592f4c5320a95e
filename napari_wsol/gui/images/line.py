"""The image that is worked on: chosen from the viewer's layers, with its size."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

import re
from typing import TYPE_CHECKING

from napari.layers import Image
from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import (
    QHBoxLayout,
    QInputDialog,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_wsol.gui.images.list_button import ListButton, saved_words
from napari_wsol.gui.images.reader_button import ReaderButton
from napari_wsol.gui.layers.marks import image_layers, is_usable
from napari_wsol.gui.widgets.job_bar import grouped
from napari_wsol.gui.widgets.panel import Choice, Words, small

if TYPE_CHECKING:
    from collections.abc import Sequence

    import napari.viewer
    from napari.utils.events import Event

    from napari_wsol.images.slide import Slide
    from napari_wsol.worklist.saved import SavedList

PLAIN = re.compile(r"Read as [^,;:]*\.")
"""A note that tells nothing unusual: how the axes were read."""

INVITATION = "Open an image or slide (Ctrl+O), or try the sample."


class ImageLine(QWidget):
    """“H&E_042.svs · 40 320 × 28 100 · 0.25 µm/px”, and the ``?`` button."""

    image_chosen = Signal(object)
    """The image layer that was chosen, or None when there is none."""

    mpp_chosen = Signal(float)
    reader_chosen = Signal(str)
    """The file of the chosen layer is to be read by this reader."""

    sample_wanted = Signal()
    go_on_wanted = Signal(object)
    """A list of images of an earlier day."""

    help_wanted = Signal()

    def __init__(
        self, viewer: napari.viewer.Viewer, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layer: Image | None = None
        self._mpp: float | None = None
        self._saved: SavedList | None = None
        self._build()
        layers = viewer.layers.events
        self._connections = [
            (layers.inserted, self._on_inserted),
            (layers.removed, self._on_removed),
        ]
        for emitter, slot in self._connections:
            emitter.connect(slot)
        for layer in image_layers(viewer):
            layer.events.name.connect(self._on_renamed)

    def _build(self) -> None:
        self.box = Choice()
        self.box.setToolTip("The image to work on.")
        self.box.activated.connect(self._on_activated)
        self.help_button = small(QPushButton("?"))
        self.help_button.setToolTip("Keys and first steps.")
        self.help_button.clicked.connect(self.help_wanted)
        self.list_button = ListButton()
        self.go_on_button = QPushButton()
        self.go_on_button.setToolTip("Open the list that you worked on last.")
        self.go_on_button.clicked.connect(self._on_go_on)
        self.go_on_button.hide()
        self.words = Words(INVITATION)
        self.notes = Words(lines=2)
        self.notes.setToolTip("How the pixels were read.")
        self.notes.hide()
        self.mpp_button = QPushButton("set pixel size…")
        self.mpp_button.setToolTip(
            "µm a pixel. It decides at which size the model sees the image, and gives "
            "areas in mm². Click to correct it."
        )
        self.mpp_button.clicked.connect(self._ask_mpp)
        self.mpp_button.hide()
        self.reader_button = ReaderButton()
        self.reader_button.reader_chosen.connect(self.reader_chosen)
        self.sample_button = QPushButton("Try the sample")
        self.sample_button.setToolTip("Open a real tissue image that comes along.")
        self.sample_button.clicked.connect(self.sample_wanted)
        top = QHBoxLayout()
        top.addWidget(QLabel("Image"))
        top.addWidget(self.box, 1)
        top.addWidget(self.list_button)
        top.addWidget(self.help_button)
        below = QHBoxLayout()
        below.addWidget(self.words, 1)
        below.addWidget(self.reader_button)
        below.addWidget(self.mpp_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addLayout(top)
        layout.addLayout(below)
        layout.addWidget(self.notes)
        layout.addWidget(self.sample_button)
        layout.addWidget(self.go_on_button)

    @property
    def layer(self) -> Image | None:
        """The chosen image layer."""
        return self._layer

    def start(self) -> None:
        """Fill the list and take the newest usable image."""
        self._fill()
        if self._layer is None:
            self._choose(self._newest())

    def close_line(self) -> None:
        """Stop listening to the viewer."""
        for emitter, slot in self._connections:
            emitter.disconnect(slot)
        for layer in image_layers(self._viewer):
            layer.events.name.disconnect(self._on_renamed)

    def show_slide(self, slide: Slide, mpp: float | None) -> None:
        """Size and pixel size of the open image; how it was read as a tooltip."""
        self._mpp = mpp
        height, width = slide.shape
        self.words.setText(f"{grouped(width)} × {grouped(height)} px")
        self.words.setToolTip(" ".join(slide.notes))
        unusual = [note for note in slide.notes if not PLAIN.fullmatch(note)]
        self.notes.setText(" ".join(unusual))
        self.notes.setVisible(bool(unusual))
        self.mpp_button.setText(
            "set pixel size…" if mpp is None else f"{mpp:.3g} µm/px"
        )
        self.mpp_button.show()
        self.reader_button.show_slide(slide)

    def show_nothing(self, sentence: str = INVITATION) -> None:
        """No image is open."""
        self.words.setText(sentence)
        self.words.setToolTip("")
        self.notes.hide()
        self.mpp_button.hide()
        self.reader_button.hide()

    def show_saved(self, saved: Sequence[SavedList]) -> None:
        """Offer lists of earlier days, the latest first."""
        self.list_button.show_saved(saved)
        self._saved = next((item for item in saved if item.is_there), None)
        if self._saved is not None:
            self.go_on_button.setText(saved_words(self._saved))
        self._fill()

    def choose(self, layer: Image) -> None:
        """Work on this layer, as if it had been taken from the list."""
        self._choose(layer)

    def go_back_to(self, layer: Image | None) -> None:
        """Show another choice without opening it again."""
        self._layer = layer
        self._fill()

    def _fill(self) -> None:
        layers = image_layers(self._viewer)
        blocker = QSignalBlocker(self.box)
        self.box.clear()
        for layer in layers:
            self.box.addItem(layer.name, layer)
        place = layers.index(self._layer) if self._layer in layers else -1
        self.box.setCurrentIndex(place)
        del blocker
        self.box.setEnabled(bool(layers))
        self.sample_button.setVisible(not layers)
        self.go_on_button.setVisible(not layers and self._saved is not None)

    def _newest(self) -> Image | None:
        usable = [layer for layer in image_layers(self._viewer) if is_usable(layer)]
        return usable[-1] if usable else None

    def _choose(self, layer: Image | None) -> None:
        self._layer = layer
        self._fill()
        self.image_chosen.emit(layer)

    def _on_go_on(self) -> None:
        self.go_on_wanted.emit(self._saved)

    def _on_activated(self, place: int) -> None:
        layer = self.box.itemData(place)
        if layer != self._layer:
            self._choose(layer)

    def _on_inserted(self, event: Event) -> None:
        layer = event.value
        if layer not in image_layers(self._viewer):
            return
        layer.events.name.connect(self._on_renamed)
        if self._layer is None and is_usable(layer):
            self._choose(layer)
        else:
            self._fill()

    def _on_removed(self, event: Event) -> None:
        if event.value == self._layer:
            self._choose(self._newest())
        elif isinstance(event.value, Image):
            self._fill()

    def _on_renamed(self, event: Event | None = None) -> None:
        del event
        self._fill()

    def _ask_mpp(self) -> None:
        mpp, good = QInputDialog.getDouble(
            self,
            "Pixel size",
            "µm a pixel (40× is about 0.25, 20× about 0.5):",
            self._mpp or 0.5,
            0.01,
            100.0,
            4,
        )
        if good:
            self.mpp_chosen.emit(mpp)
