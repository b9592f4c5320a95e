"""The image that is worked on: chosen from the viewer's layers, with its size."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from napari.layers import Image
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QFileDialog, QInputDialog, QPushButton, QWidget
from superqt.utils import signals_blocked

from napari_wsol.errors import WsolError
from napari_wsol.gui.compat import needed, show_scale_bar
from napari_wsol.gui.images.reader import layer_of
from napari_wsol.gui.layers.marks import image_layers, is_usable
from napari_wsol.gui.layers.placement import microns_a_pixel
from napari_wsol.gui.widgets.elided import Choice, Words
from napari_wsol.gui.widgets.job_bar import counted, grouped
from napari_wsol.gui.widgets.panel import (
    add_action,
    fill_column,
    menu_of,
    push_button,
    row,
    small,
)
from napari_wsol.images.pixel_size import TOLD_UM

if TYPE_CHECKING:
    from collections.abc import Sequence

    import napari.viewer
    from napari.utils.events import Event

    from napari_wsol.gui.context import Context
    from napari_wsol.images.readers.stacks import Pick
    from napari_wsol.images.slide import Slide
    from napari_wsol.worklist.saved import SavedList

LATEST = 5
"""Lists of earlier days that are offered."""

TABLES = "Lists (*.txt *.csv *.tsv);;All files (*)"


class ListButton(QPushButton):
    """“Folder…” with a menu."""

    folder_wanted = Signal(object, bool)
    """A folder, and whether its subfolders are searched."""

    files_wanted = Signal(object)
    table_wanted = Signal(object)
    saved_wanted = Signal(object)

    def __init__(self) -> None:
        super().__init__("Folder…")
        self.setToolTip(
            "Work on many images, one after the other: each one learns from the "
            "strokes on all others."
        )
        menu = self._menu = menu_of(self)
        self.setMenu(menu)
        self._saved: tuple[SavedList, ...] = ()
        menu.aboutToShow.connect(self._fill)

    def show_saved(self, saved: Sequence[SavedList]) -> None:
        """Lists of earlier days, the latest first."""
        self._saved = tuple(saved)[:LATEST]

    def _fill(self) -> None:
        menu = self._menu
        menu.clear()
        ask = self._ask_folder
        add_action(menu, "Folder…", partial(ask, recursive=False))
        add_action(menu, "Folder and all in it…", partial(ask, recursive=True))
        add_action(menu, "Files…", self._ask_files)
        add_action(menu, "From a text file or table…", self._ask_table)
        if self._saved:
            menu.addSeparator()
        for item in self._saved:
            tip = f"{item.source or item.root}\nlast on {item.time[:10]}"
            go_on = partial(self.saved_wanted.emit, item)
            add_action(menu, saved_words(item), go_on, tip).setEnabled(item.is_there)

    def _ask_folder(self, *, recursive: bool) -> None:
        found = QFileDialog.getExistingDirectory(self, "Folder with images")
        if found:
            self.folder_wanted.emit(Path(found), recursive)

    def _ask_files(self) -> None:
        found, _ = QFileDialog.getOpenFileNames(self, "Images")
        if found:
            self.files_wanted.emit([Path(name) for name in found])

    def _ask_table(self) -> None:
        found, _ = QFileDialog.getOpenFileName(self, "List of images", "", TABLES)
        if found:
            self.table_wanted.emit(Path(found))


def saved_words(item: SavedList) -> str:
    """“Go on with “glas” · 60 images”."""
    words = f"Go on with “{item.name}” · {counted(len(item.names), 'image')}"
    return words if item.is_there else f"{words} (moved: choose its folder)"


class ReaderButton(QPushButton):
    """“tifffile”; its menu lists all that can read the file."""

    reader_chosen = Signal(str)

    plane_wanted = Signal()
    """Another channel or plane of the file is to be shown."""

    def __init__(self) -> None:
        super().__init__()
        self._path: Path | None = None
        self._reader = ""
        self.setToolTip(
            "Who read the file. Where colours look wrong or a part is missing, another "
            "may do better; maps and strokes of this image are dropped then."
        )
        self._menu = menu_of(self)
        self._menu.aboutToShow.connect(self._list_readers)
        self.setMenu(self._menu)
        self.hide()

    def show_slide(self, slide: Slide) -> None:
        """Name the reader of a file; an array has none to choose from."""
        self._path, self._reader = slide.path, slide.reader
        self.setText(slide.reader)
        self.setVisible(slide.path is not None)

    def _list_readers(self) -> None:
        from napari_wsol.images.readers import list_readers

        menu = self._menu
        menu.clear()
        if self._path is None:
            return
        try:
            names = list_readers(self._path)
        except WsolError as error:  # The file is gone.
            needed(menu.addAction(str(error))).setEnabled(False)
            return
        for name in names:
            action = add_action(menu, name, partial(self._choose, name))
            action.setCheckable(True)
            action.setChecked(name == self._reader)
        menu.addSeparator()
        tip = (
            "Of a stack or of dyes; or red, green and blue that lie apart; or another "
            "window of a film."
        )
        add_action(menu, "Channel or plane…", self.plane_wanted.emit, tip)

    def _choose(self, name: str) -> None:
        if name != self._reader:
            self.reader_chosen.emit(name)


def layer_read_anew(
    viewer: napari.viewer.Viewer,
    layer: Image,
    path: Path,
    reader: str | None,
    pick: Pick | None,
) -> Image:
    """A layer of the same file, read otherwise, beneath the one there is.

    It takes the name of the other, which is to be removed then.

    Raises:
        WsolError: that reader cannot read the file.
    """
    data, options, _ = layer_of(path, reader, pick)
    name = layer.name
    layer.name = f"{name} (before)"  # napari lets no two have one name.
    options["name"] = name
    added = cast("Image", viewer.add_image(data, **options))
    viewer.layers.move(len(viewer.layers) - 1, viewer.layers.index(layer))
    return added


PLAIN = re.compile(r"Read as [^,;:]*\.")
"""A note that tells nothing unusual: how the axes were read."""

INVITATION = "Open an image or slide (Ctrl+O), or try the sample."


class ImageLine(QWidget):
    """“H&E_042.svs · 40 320 × 28 100 · 0.25 µm/px”, and the ``?`` button."""

    image_chosen = Signal(object)
    """The image layer that was chosen, or None when there is none."""

    mpp_chosen = Signal(float)
    plane_wanted = Signal()
    """Another channel or plane of the file is to be chosen."""

    reader_chosen = Signal(str)
    """The file of the chosen layer is to be read by this reader."""

    go_on_wanted = Signal(object)
    """A list of images of an earlier day."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self.layer: Image | None = None
        """The chosen image layer."""
        self._mpp: float | None = None
        self._saved: SavedList | None = None
        self._build()
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.removed.connect(self._on_removed)
        for layer in image_layers(viewer):
            layer.events.name.connect(self._fill)

    def _build(self) -> None:
        self.box = Choice("The image to work on.")
        self.box.activated.connect(self._on_activated)
        self.help_button = small("?", "Keys and first steps.")
        self.list_button = ListButton()
        self.go_on_button = push_button("", "Open the list that you worked on last.")
        self.go_on_button.clicked.connect(lambda: self.go_on_wanted.emit(self._saved))
        self.go_on_button.hide()
        self.words = Words(INVITATION)
        self.notes = Words(lines=2)
        self.notes.setToolTip("How the pixels were read.")
        self.notes.hide()
        self.mpp_button = push_button(
            "set pixel size…",
            "µm a pixel. It decides at which size the model sees the image, and gives "
            "areas in mm². Click to correct it.",
        )
        self.mpp_button.clicked.connect(self._ask_mpp)
        self.mpp_button.hide()
        self.reader_button = ReaderButton()
        self.reader_button.reader_chosen.connect(self.reader_chosen)
        self.reader_button.plane_wanted.connect(self.plane_wanted)
        self.sample_button = push_button(
            "Try the sample", "Open a real tissue image that comes along."
        )
        fill_column(
            self,
            row("Image", self.box, self.list_button, self.help_button, stretch=1),
            row(self.words, self.reader_button, self.mpp_button, stretch=0),
            self.notes,
            self.sample_button,
            self.go_on_button,
            spacing=3,
        )

    def start(self) -> None:
        """Fill the list and take the newest usable image."""
        self._fill()
        if self.layer is None:
            self.choose(self._newest())

    def close_line(self) -> None:
        """Stop listening to the viewer."""
        self._viewer.layers.events.inserted.disconnect(self._on_inserted)
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        for layer in image_layers(self._viewer):
            layer.events.name.disconnect(self._fill)

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

    def choose(self, layer: Image | None) -> None:
        """Work on this layer, as if it had been taken from the list."""
        self.layer = layer
        self._fill()
        self.image_chosen.emit(layer)

    def go_back_to(self, layer: Image | None) -> None:
        """Show another choice without opening it again."""
        self.layer = layer
        self._fill()

    def _fill(self) -> None:
        layers = image_layers(self._viewer)
        with signals_blocked(self.box):
            self.box.clear()
            for layer in layers:
                self.box.addItem(layer.name, layer)
            place = layers.index(self.layer) if self.layer in layers else -1
            self.box.setCurrentIndex(place)
        self.box.setEnabled(bool(layers))
        self.sample_button.setVisible(not layers)
        self.go_on_button.setVisible(not layers and self._saved is not None)

    def _newest(self) -> Image | None:
        usable = [layer for layer in image_layers(self._viewer) if is_usable(layer)]
        return usable[-1] if usable else None

    def _on_activated(self, place: int) -> None:
        layer = self.box.itemData(place)
        if layer != self.layer:
            self.choose(layer)

    def _on_inserted(self, event: Event) -> None:
        layer = event.value
        if layer not in image_layers(self._viewer):
            return
        layer.events.name.connect(self._fill)
        if self.layer is None and is_usable(layer):
            self.choose(layer)
        else:
            self._fill()

    def _on_removed(self, event: Event) -> None:
        if event.value == self.layer:
            self.choose(self._newest())
        elif isinstance(event.value, Image):
            self._fill()

    def _ask_mpp(self) -> None:
        words = "µm a pixel (40× is about 0.25, 20× about 0.5):"
        mpp, good = QInputDialog.getDouble(
            self, "Pixel size", words, self._mpp or 0.5, *TOLD_UM, 4
        )
        if good:
            self.mpp_chosen.emit(mpp)


class PixelSize(QObject):
    """Brings µm a pixel from the person to the session, and back to who shows it."""

    shown = Signal(object)
    """That of the open image; None where it is not known."""

    changed = Signal()

    def __init__(self, context: Context, line: ImageLine) -> None:
        super().__init__(context.dock)
        self._context, self._session = context, context.session
        self._line = line
        line.mpp_chosen.connect(self.choose)
        context.events.mpp_changed.connect(self._on_changed)

    def show(self) -> None:
        """Of the open image: in the dock, and as a scale bar where its layer has it."""
        slide, mpp = self._session.slide, self._session.mpp
        if slide is None:
            return
        self._line.show_slide(slide, mpp)
        self.shown.emit(mpp)
        image = self._context.layers.image
        if image is not None and microns_a_pixel(image) is not None:
            show_scale_bar(self._context.viewer, shown=True)

    def choose(self, mpp: float) -> None:
        """The person knows it."""
        try:
            self._session.set_mpp(mpp)
        except WsolError as error:
            self._context.messages.warn(error)

    def _on_changed(self) -> None:
        if self._session.slide is None:
            return
        self.show()
        self.changed.emit()
        if self._session.heatmaps:
            self._context.messages.say(
                "Localize again: the model sees the image at another size now."
            )
