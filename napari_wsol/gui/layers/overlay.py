"""A layer of ours that lies on the image beside the maps, and is found again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import numpy as np
from napari.layers import Layer, Vectors
from qtpy.QtCore import QObject, Signal

from napari_wsol.gui.compat import camera_of, draws_lines, fill
from napari_wsol.gui.layers.marks import (
    MARK,
    add_quietly,
    our_layers,
    raise_in_order,
    remove,
)
from napari_wsol.gui.layers.placement import TRANSFORMS, fit_width, move_onto, placed_on
from napari_wsol.gui.tasks import once

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari.viewer
    import numpy.typing as npt
    from napari.layers import Image
    from napari.utils.events import Event

    from napari_wsol.images.slide import Slide

L = TypeVar("L", bound=Layer)

Place = tuple[tuple[float, float], tuple[float, float]]
"""Level-0 pixels a cell, and the level-0 position of the centre of cell (0, 0)."""


class Overlay(QObject, Generic[L]):
    """Holds one layer of a role for one image, right above it.

    Args:
        viewer: where it is shown.
        role: of the layer.
    """

    deleted = Signal()
    """The person took the layer out of the viewer."""

    def __init__(self, viewer: napari.viewer.Viewer, role: str) -> None:
        super().__init__()
        self._viewer = viewer
        self._role = role
        self._image: Image | None = None
        self._fingerprint = ""
        self._place: Place = ((1.0, 1.0), (0.0, 0.0))
        self.layer: L | None = None
        viewer.layers.events.removed.connect(self._on_removed)

    def close(self) -> None:
        """Let go of the viewer; the layer stays in it."""
        self.release()
        self._viewer.layers.events.removed.disconnect(self._on_removed)

    def place_on(self, image: Image | None, slide: Slide | None) -> None:
        """Belong to the image of a slide, or to none."""
        self.release()
        if image is None or slide is None:
            return
        self._image, self._fingerprint = image, slide.fingerprint()
        for name in TRANSFORMS:
            getattr(image.events, name).connect(self._on_moved)

    def begin_on(self, image: Image | None, slide: Slide | None) -> None:
        """Belong to another image, without a layer: an earlier dock's goes, too."""
        self.take_away()
        self.place_on(image, slide)
        self.take_away()

    def release(self) -> None:
        """Let go of the image; the layer stays where it is."""
        if self._image is not None:
            for name in TRANSFORMS:
                getattr(self._image.events, name).disconnect(self._on_moved)
        self._image = self.layer = None

    def take_away(self) -> None:
        """Take the layer, of this dock or of an earlier one, out of the viewer."""
        layer, self.layer = self.find(), None
        if layer is not None:
            remove(self._viewer, [layer])

    def hold(
        self, shape: tuple[int, ...], place: Place, make: Callable[[dict[str, Any]], L]
    ) -> L | None:
        """The layer with this shape: the present one, an earlier one, or a new one.

        Args:
            shape: of its data.
            place: where it lies on the image.
            make: gives a new layer from napari's arguments for its place and mark.
        """
        if self._image is None:
            return None
        self._place = place
        layer = self.find()
        if layer is not None and np.shape(layer.data) != shape:
            self.take_away()
        if self.layer is None:
            how = {**placed_on(self._image, *place), "metadata": {MARK: self._marks}}
            made = self.layer = make(how)
            add_quietly(self._viewer, [made])
            layers = self._viewer.layers
            layers.move(layers.index(made), layers.index(self._image) + 1)
        self._on_moved()
        return self.layer

    def find(self) -> L | None:
        """The layer, of this dock or of an earlier one."""
        if self.layer is None and self._image is not None:
            found = our_layers(self._viewer, **self._marks)
            # A role is always that of one class of layers.
            self.layer = cast("L", found[0]) if found else None
        return self.layer

    @property
    def _marks(self) -> dict[str, str]:
        return {"role": self._role, "fingerprint": self._fingerprint}

    def _on_moved(self) -> None:
        if self.layer is not None and self._image is not None:
            move_onto(self.layer, self._image, *self._place)

    def _on_removed(self, event: Event) -> None:
        if self.layer is not None and event.value == self.layer:
            self.layer = None
            self.deleted.emit()


class ZoomedOverlay(Overlay[L]):
    """An overlay with parts that are as large at any zoom; it goes with its owner.

    Args:
        viewer: where it is shown.
        role: of the layer.
        rest: milliseconds that the zoom rests before it is fitted.
    """

    def __init__(self, viewer: napari.viewer.Viewer, role: str, rest: int) -> None:
        super().__init__(viewer, role)
        self._timer = once(self, rest, self._fit)
        camera_of(viewer).events.zoom.connect(self._on_zoom)

    def close(self) -> None:
        """Take the layer away, and let go of the viewer."""
        self._timer.stop()
        camera_of(self._viewer).events.zoom.disconnect(self._on_zoom)
        self.take_away()
        super().close()

    def _fit(self) -> None:
        """What depends on the zoom is drawn anew."""

    def _on_zoom(self) -> None:
        if self.layer is not None:
            self._timer.start()


class Lines(ZoomedOverlay[Vectors]):
    """Pieces of line above all other layers, as thick at any zoom; none in 3-D.

    Args:
        viewer: where they are shown.
        role: of the layer.
        pixels: thickness on the screen.
    """

    def __init__(self, viewer: napari.viewer.Viewer, role: str, pixels: float) -> None:
        super().__init__(viewer, role, 60)
        self._pixels = pixels
        viewer.dims.events.ndisplay.connect(self._on_display)

    def close(self) -> None:
        """Take the layer away, and let go of the viewer."""
        super().close()
        self._viewer.dims.events.ndisplay.disconnect(self._on_display)

    def draw(self, lines: npt.NDArray[np.float32], name: str, colours: Any) -> None:  # noqa: ANN401 - one, or RGBA of each
        """Draw (N, 2, 2) starts and steps in level-0 pixels; those before go."""
        layer = self.hold(
            lines.shape,
            ((1.0, 1.0), (0.0, 0.0)),
            lambda how: Vectors(
                lines,
                name=name,
                ndim=2,
                edge_color=colours,
                vector_style="line",
                blending="translucent_no_depth",
                **how,
            ),
        )
        if layer is not None:
            fill(layer, lines)
            self._on_display()
            self._fit()
            raise_in_order(self._viewer, [layer])

    def _on_display(self) -> None:
        if self.layer is not None:
            self.layer.visible = draws_lines(self._viewer)

    def _fit(self) -> None:
        if self.layer is not None:
            fit_width(self._viewer, self.layer, self._pixels)
