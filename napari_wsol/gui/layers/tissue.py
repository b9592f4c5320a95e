"""Where a slide is looked at, as a layer that a person may paint on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from qtpy.QtCore import Signal

from napari_wsol.gui.layers.marks import TISSUE
from napari_wsol.gui.layers.overlay import Overlay
from napari_wsol.gui.tasks import once
from napari_wsol.gui.widgets.colours import TISSUE_GREEN
from napari_wsol.images.tissue import tissue_mask

if TYPE_CHECKING:
    import napari.viewer
    import numpy.typing as npt
    from napari.layers import Image

    from napari_wsol.gui.messages import Messages
    from napari_wsol.gui.tasks import Tasks
    from napari_wsol.images.slide import Slide

SIDE = 1024
"""Cells along the longer side: a tile of a whole slide is several cells."""

NAME = "Tissue · the model looks here"


class TissueLayer(Overlay[Labels]):
    """The mask that was found, to be corrected by brush."""

    changed = Signal()
    """It was painted on, added or deleted."""

    def __init__(
        self, viewer: napari.viewer.Viewer, tasks: Tasks, messages: Messages
    ) -> None:
        super().__init__(viewer, TISSUE)
        self._tasks, self._messages = tasks, messages
        self._slide: Slide | None = None
        self.deleted.connect(self.changed)
        # One stroke gives many events.
        self._timer = once(self, 400, self.changed.emit)

    def close(self) -> None:
        """Let go of the viewer; the layer stays in it."""
        self._timer.stop()
        super().close()

    def work_on(self, image: Image, slide: Slide) -> None:
        """Belong to a slide; a layer of an earlier dock is found again."""
        self.place_on(image, slide)
        self._slide = slide
        if self.find() is not None:
            self._listen(connect=True)

    def release(self) -> None:
        """Let go of the image; the layer stays where it is."""
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
            self._take_brush(self.layer)
            return
        step = max(1.0, max(slide.shape) / SIDE)
        self._tasks.ask(
            lambda: (slide, tissue_mask(slide, step)),
            self._on_found,
            self._on_not_found,
            kind="tissue to paint",
        )

    def _on_not_found(self, error: BaseException) -> None:
        self._messages.warn(f"The tissue could not be found: {error}")

    def _on_found(self, answer: tuple[Slide, npt.NDArray[np.bool_]]) -> None:
        slide, mask = answer
        if slide is not self._slide or self.layer is not None:
            return
        (height, width), (rows, columns) = slide.shape, mask.shape
        scale = (height / rows, width / columns)
        translate = ((scale[0] - 1) / 2, (scale[1] - 1) / 2)
        colours = {None: "transparent", 0: "transparent", 1: TISSUE_GREEN}
        layer = self.hold(
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
        if layer is not None:
            self._listen(connect=True)
            self._take_brush(layer)
            self.changed.emit()

    def _take_brush(self, layer: Labels) -> None:
        self._viewer.layers.selection.active = layer
        layer.visible = True
        layer.selected_label = 1
        layer.brush_size = max(8, min(np.shape(layer.data)) // 30)
        layer.mode = "paint"

    def _listen(self, *, connect: bool) -> None:
        if self.layer is None:
            return
        for emitter in (self.layer.events.paint, self.layer.events.set_data):
            (emitter.connect if connect else emitter.disconnect)(self._on_painted)

    def _on_painted(self) -> None:
        self._timer.start()
