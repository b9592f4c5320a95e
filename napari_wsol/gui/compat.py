"""Where napari's releases differ, and where its drivers fail."""

from __future__ import annotations

import gc
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from napari.utils.interactions import mouse_release_callbacks
from vispy.app.canvas import MouseEvent

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import napari.viewer
    import numpy as np
    from napari.components import Camera
    from napari.components.overlays import LabelsPolygonOverlay
    from napari.layers import Labels, Layer
    from qtpy.QtGui import QDropEvent
    from vispy.gloo.glir import GlirProgram

T = TypeVar("T")


def camera_of(viewer: napari.viewer.Viewer) -> Camera:
    """The camera: ``viewer.scene.camera`` since 0.9, ``viewer.camera`` before."""
    owner: Any = getattr(viewer, "scene", viewer)
    return owner.camera


def centre_on(viewer: napari.viewer.Viewer, at: Sequence[float] | np.ndarray) -> None:
    """Move a (y, x) of the world into the middle of the view."""
    camera = camera_of(viewer)
    camera.center = cast("Any", (*camera.center[:-2], *at))


def show_scale_bar(viewer: napari.viewer.Viewer, shown: bool) -> None:
    """The scale bar: of ``viewer.canvas.overlays`` since 0.9, of ``viewer`` before."""
    owner: Any = getattr(getattr(viewer, "canvas", None), "overlays", viewer)
    bar = owner.scale_bar
    if bar.visible != shown:
        bar.visible = shown


def cell_size(viewer: napari.viewer.Viewer) -> tuple[float, float] | None:
    """Height and width of the canvas (or a cell of napari's grid) in screen pixels.

    None before 0.9, where nothing public tells it.
    """
    canvas = getattr(viewer, "canvas", None)
    if canvas is None:
        return None
    height, width = canvas.viewbox_size(viewer.layers)
    return float(height), float(width)


def keep_shaders() -> None:
    """Let vispy never delete a shader program, on Linux.

    Mesa 22.3 (Debian 12) crashes the whole process in ``glDrawArrays`` when layers are
    removed, one is added, and another one is removed: plain napari does it with two
    images. A program is some kilobytes, a crash is an afternoon's strokes.
    """
    if sys.platform.startswith("linux"):
        from vispy.gloo.glir import GlirProgram

        GlirProgram.delete = _keep


_removals = 0
"""How many :func:`collected_once` are open, one inside the other."""


@contextmanager
def collected_once() -> Generator[None]:
    """Take several layers away with one garbage collection instead of one each.

    napari collects after every layer, so that the driver lets go of it; beside torch
    that takes half a second each time. Meanwhile all that there is counts as in use;
    at the end it is collected once, on this thread, which owns the canvas.
    """
    global _removals  # noqa: PLW0603 - garbage collection is the process's own
    if not _removals:
        gc.freeze()
    _removals += 1
    try:
        yield
    finally:
        _removals -= 1
        if not _removals:
            gc.unfreeze()
            gc.collect()


def _keep(self: GlirProgram) -> None:
    """Instead of ``GlirProgram.delete``."""
    del self


def needed(found: T | None) -> T:
    """What Qt and napari always give here, though their types allow for nothing.

    Raises:
        RuntimeError: there is nothing.
    """
    if found is None:
        raise RuntimeError("A part of the window is missing; open it again.")
    return found


def fill(layer: Layer, values: np.ndarray) -> None:
    """Give a layer other values; napari's types take arrays for something else."""
    layer.data = cast("Any", values)


def dropped_files(event: QDropEvent) -> list[Path]:
    """What is dropped; nothing where something of it is no file of this machine."""
    urls = needed(event.mimeData()).urls()
    paths = [Path(url.toLocalFile()) for url in urls if url.isLocalFile()]
    return paths if len(paths) == len(urls) else []


def end_drag(layer: Layer) -> None:
    """End what is dragged on a layer, as letting go of the mouse does.

    napari tells only the active layer of the mouse: where another one becomes it in
    between, the drag would never end.
    """
    mouse_release_callbacks(layer, MouseEvent("mouse_release"))


def draws_lines(viewer: napari.viewer.Viewer) -> bool:
    """Whether flat Vectors can be shown: in 3-D napari 0.9 fails at every frame."""
    return viewer.dims.ndisplay == 2


def polygon_of(layer: Labels) -> LabelsPolygonOverlay | None:
    """What is drawn of a polygon in a Labels layer's polygon mode."""
    return getattr(layer, "_overlays", {}).get("polygon")


def is_drawing(layer: Layer) -> bool:
    """Whether a shape is drawn on a layer corner by corner: Enter ends it in napari."""
    if str(getattr(layer, "mode", "")) == "polygon":
        polygon = polygon_of(cast("Labels", layer))
        return polygon is not None and len(polygon.points) > 2
    return bool(getattr(layer, "_is_creating", False))


def set_tooltip(layer: Layer, words: str) -> None:
    """What stands at a layer's name in napari's list, instead of its source."""
    anything: Any = layer
    anything.get_source_str = lambda: words
