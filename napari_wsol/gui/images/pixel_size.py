"""The size of a pixel: asked for where no file tells it, and shown everywhere."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_wsol.errors import WsolError
from napari_wsol.gui.compat import show_scale_bar
from napari_wsol.gui.layers.placement import microns_a_pixel

if TYPE_CHECKING:
    from napari_wsol.gui.dock import WsolWidget


class PixelSize(QObject):
    """Brings µm a pixel from the person to the session, and back to all who show it."""

    changed = Signal()
    failed = Signal(str)
    """A sentence for the person."""

    said = Signal(str)
    """Likewise, but nothing is wrong."""

    def __init__(self, window: WsolWidget) -> None:
        super().__init__(window)
        self._window = window
        self._session = window.session
        window.image_line.mpp_chosen.connect(self._on_chosen)
        window.localize_panel.slide_box.mpp_chosen.connect(self._on_chosen)
        window.events.mpp_changed.connect(self._on_changed)

    def show(self) -> None:
        """Of the open image: in the dock, and as a scale bar where its layer has it."""
        slide, mpp = self._session.slide, self._session.mpp
        self._window.image_line.show_slide(slide, mpp)
        self._window.export_panel.show_mpp(mpp)
        image = self._window.stage.image
        if image is not None and microns_a_pixel(image) is not None:
            show_scale_bar(self._window.napari_viewer, shown=True)

    def _on_chosen(self, mpp: float) -> None:
        try:
            self._session.set_mpp(mpp)
        except WsolError as error:
            self.failed.emit(str(error))

    def _on_changed(self) -> None:
        if self._session.slide is None:
            return
        self.show()
        self.changed.emit()
        if self._session.heatmaps:
            self.said.emit(
                "Localize again: the model sees the image at another size now."
            )
