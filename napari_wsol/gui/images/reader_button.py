"""Who read the image, and a menu to read it with another."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QMenu, QPushButton

from napari_wsol.errors import WsolError
from napari_wsol.gui.images.reader import layer_of
from napari_wsol.gui.layers.marks import MARK

if TYPE_CHECKING:
    from pathlib import Path

    import napari.viewer
    from napari.layers import Image
    from qtpy.QtWidgets import QWidget

    from napari_wsol.images.slide import Slide


class ReaderButton(QPushButton):
    """“tifffile”; its menu lists all that can read the file."""

    reader_chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._path: Path | None = None
        self._reader = ""
        self.setToolTip(
            "Who read the file. Where colours look wrong or a part is missing, another "
            "may do better; maps and strokes of this image are dropped then."
        )
        self.setMenu(QMenu(self))
        self.menu().aboutToShow.connect(self._list_readers)
        self.hide()

    def show_slide(self, slide: Slide) -> None:
        """Name the reader of a file; an array has none to choose from."""
        self._path, self._reader = slide.path, slide.reader
        self.setText(slide.reader)
        self.setVisible(slide.path is not None)

    def _list_readers(self) -> None:
        from napari_wsol.images.readers import list_readers

        menu = self.menu()
        menu.clear()
        try:
            names = list_readers(self._path)
        except WsolError as error:  # The file is gone.
            menu.addAction(str(error)).setEnabled(False)
            return
        for name in names:
            action = menu.addAction(name)
            action.setCheckable(True)
            action.setChecked(name == self._reader)
            action.triggered.connect(lambda _=False, name=name: self._choose(name))

    def _choose(self, name: str) -> None:
        if name != self._reader:
            self.reader_chosen.emit(name)


def layer_read_by(viewer: napari.viewer.Viewer, layer: Image, reader: str) -> Image:
    """A layer of the same file by another reader, beneath the one there is.

    It takes the name of the other, which is to be removed then.

    Raises:
        WsolError: that reader cannot read the file.
    """
    from pathlib import Path

    data, options, _ = layer_of(Path(layer.metadata[MARK]["path"]), reader)
    name = layer.name
    layer.name = f"{name} (before)"  # napari lets no two have one name.
    added = viewer.add_image(data, **{**options, "name": name})
    viewer.layers.move(len(viewer.layers) - 1, viewer.layers.index(layer))
    return added
