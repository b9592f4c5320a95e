"""Every method in its own cell of napari's grid, above its own view of the image.

The cells share one camera. The views of the image share its pixels: only their layers
are copies, and they go when the grid is left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from napari_wsol.gui.compat import (
    camera_of,
    cell_size,
    grid_of,
    show_name_in_cell,
)
from napari_wsol.gui.layers.marks import COPY, MARK, our_layers, raise_in_order, remove

if TYPE_CHECKING:
    from collections.abc import Sequence

    import napari.viewer

    from napari_wsol.gui.layers.heatmaps import MethodLayers

CELL = 3
"""Layers a cell: view of the image, heatmap, contour."""

SHARED = ("contrast_limits", "gamma", "blending", "interpolation2d")


class SideBySide(QObject):
    """Turns napari's grid into a wall of methods and back."""

    left = Signal()
    """The grid was switched off with napari's own button."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._before: dict[str, Any] | None = None

    @property
    def is_on(self) -> bool:
        """Whether the cells are shown."""
        return self._before is not None

    def enter(self, image: Image, pairs: Sequence[MethodLayers]) -> None:
        """Show the methods in cells, the first one in the upper left corner."""
        grid = grid_of(self._viewer)
        if self._before is None:
            names = ("enabled", "stride", "shape", "spacing")
            self._before = {name: getattr(grid, name) for name in names}
            grid.events.enabled.connect(self._on_enabled)
        self._drop_copies()
        active = self._viewer.layers.selection.active
        # napari counts cells from the top of the list when the stride is negative, so
        # that what the user has below our layers cannot shift them into other cells.
        order = []
        for pair in reversed(pairs):
            copy = self._copy(image, pair.image.name)
            order += [copy, pair.image, pair.contour]
            show_name_in_cell(pair.image, shown=True)
        raise_in_order(self._viewer, order)
        self._viewer.layers.selection.active = active
        view = cell_size(self._viewer)
        grid.stride = -CELL
        grid.shape = (-1, -1)
        grid.spacing = 4
        grid.enabled = True
        self._keep_in_view(view)

    def leave(self, pairs: Sequence[MethodLayers]) -> None:
        """Back to one picture, with the grid's settings as they were."""
        if self._before is None:
            return
        grid, before = grid_of(self._viewer), self._before
        self._before = None
        grid.events.enabled.disconnect(self._on_enabled)
        view = cell_size(self._viewer)
        for name, value in before.items():
            setattr(grid, name, value if name != "enabled" else False)
        self._keep_in_view(view)
        self._drop_copies()
        for pair in pairs:
            show_name_in_cell(pair.image, shown=False)

    def _keep_in_view(self, before: tuple[float, float] | None) -> None:
        """Cells are smaller than the canvas: zoom so that they show the same part."""
        after = cell_size(self._viewer)
        if before is not None and after is not None and min(before) > 0:
            camera_of(self._viewer).zoom *= min(after) / min(before)

    def _copy(self, image: Image, name: str) -> Image:
        kwargs = {key: getattr(image, key) for key in SHARED}
        if not image.rgb:
            kwargs["colormap"] = image.colormap
        for key in ("scale", "translate", "rotate", "shear", "units", "axis_labels"):
            kwargs[key] = getattr(image, key)
        copy = Image(
            cast("Any", image.data),
            rgb=image.rgb,
            multiscale=image.multiscale,
            affine=image.affine.affine_matrix,
            name=f"image under {name.split(' · ', maxsplit=1)[0]}",
            metadata={MARK: {"role": COPY}},
            **kwargs,
        )
        self._viewer.add_layer(copy)
        return copy

    def _drop_copies(self) -> None:
        remove(self._viewer, our_layers(self._viewer, COPY))

    def _on_enabled(self) -> None:
        if not grid_of(self._viewer).enabled:
            self.left.emit()
