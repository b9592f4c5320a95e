"""Where a slide is looked at, as a layer that a person may paint on."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from qtpy.QtCore import QTimer, Signal

from napari_wsol.gui.background import Background
from napari_wsol.gui.layers.marks import TISSUE
from napari_wsol.gui.layers.overlay import Overlay
from napari_wsol.gui.widgets.colours import TISSUE_GREEN
from napari_wsol.images.tissue import tissue_mask

if TYPE_CHECKING:
    import napari.viewer
    import numpy.typing as npt
    from napari.layers import Image

    from napari_wsol.images.slide import Slide

SIDE = 1024
"""Cells along the longer side: a tile of a whole slide is several cells."""

NAME = "Tissue · the model looks here"


class TissueLayer(Overlay):
    """The mask that was found, to be corrected by brush."""

    changed = Signal()
    """It was painted on, added or deleted."""

    failed = Signal(str)
    """A sentence for the person."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer, TISSUE)
        self._slide: Slide | None = None
        self.look_up = Background()
        self.look_up.answered.connect(self._on_found)
        self.deleted.connect(self.changed)
        # One stroke gives many events.
        self._timer = QTimer(self, singleShot=True, interval=400)
        self._timer.timeout.connect(self.changed)

    def close(self) -> None:
        """Let go of the viewer; the layer stays in it."""
        self._timer.stop()
        self.look_up.close()
        super().close()

    def work_on(self, image: Image, slide: Slide) -> None:
        """Belong to a slide; a layer of an earlier dock is found again."""
        self.place_on(image, slide.fingerprint())
        self._slide = slide
        if self.find() is not None:
            self._listen()

    def release(self) -> None:
        """Let go of the image; the layer stays where it is."""
        if self.layer is not None:
            self._listen(connect=False)
        self._slide = None
        super().release()

    @property
    def mask(self) -> npt.NDArray[np.bool_] | None:
        """(h, w) bool over the whole slide; None where there is no layer."""
        return None if self.layer is None else np.asarray(self.layer.data) != 0

    def wanted(self) -> None:
        """Add the layer, with the tissue that was found, and take the brush."""
        slide = self._slide
        if slide is None:
            return
        if self.layer is not None:
            self._take_brush()
            return
        step = max(1.0, max(slide.shape) / SIDE)
        self.look_up.ask(lambda: (slide, tissue_mask(slide, step)))

    def _on_found(self, answer: object) -> None:
        if not isinstance(answer, tuple):
            self.failed.emit(f"The tissue could not be found: {answer}")
            return
        slide, mask = answer
        if slide is not self._slide or self.layer is not None:
            return
        scale = tuple(
            size / cells for size, cells in zip(slide.shape, mask.shape, strict=True)
        )
        translate = tuple((step - 1) / 2 for step in scale)
        colours = {None: "transparent", 0: "transparent", 1: TISSUE_GREEN}
        self.hold(
            mask.shape,
            (scale, translate),
            lambda how: Labels(
                mask.astype(np.uint8),
                name=NAME,
                opacity=0.25,
                colormap=DirectLabelColormap(color_dict=colours),
                **how,
            ),
        )
        self._listen()
        self._take_brush()
        self.changed.emit()

    def _take_brush(self) -> None:
        self._viewer.layers.selection.active = self.layer
        self.layer.visible = True
        self.layer.selected_label = 1
        self.layer.brush_size = max(8, min(self.layer.data.shape) // 30)
        self.layer.mode = "paint"

    def _listen(self, *, connect: bool = True) -> None:
        for emitter in (self.layer.events.paint, self.layer.events.set_data):
            (emitter.connect if connect else emitter.disconnect)(self._on_painted)

    def _on_painted(self, event: object = None) -> None:
        del event
        self._timer.start()
