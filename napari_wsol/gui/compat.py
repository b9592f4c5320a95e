"""Where napari's releases differ, and where its drivers fail."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import napari.viewer
    from napari.components import Camera
    from napari.components.grid import GridCanvas
    from napari.layers import Layer


def grid_of(viewer: napari.viewer.Viewer) -> GridCanvas:
    """The grid model: ``viewer.canvas.grid`` since 0.9, ``viewer.grid`` before."""
    canvas = getattr(viewer, "canvas", None)
    return viewer.grid if canvas is None else canvas.grid


def camera_of(viewer: napari.viewer.Viewer) -> Camera:
    """The camera: ``viewer.scene.camera`` since 0.9, ``viewer.camera`` before."""
    scene = getattr(viewer, "scene", None)
    return viewer.camera if scene is None else scene.camera


def show_scale_bar(viewer: napari.viewer.Viewer, shown: bool) -> None:
    """The scale bar: of ``viewer.canvas.overlays`` since 0.9, of ``viewer`` before."""
    canvas = getattr(viewer, "canvas", None)
    bar = viewer.scale_bar if canvas is None else canvas.overlays.scale_bar
    if bar.visible != shown:
        bar.visible = shown


def show_name_in_cell(layer: Layer, shown: bool) -> None:
    """Write a layer's name into its grid cell, where napari can (0.7 and later)."""
    overlay = getattr(layer, "name_overlay", None)
    if overlay is not None:
        overlay.font_size = 8
        overlay.visible = shown


def cell_size(viewer: napari.viewer.Viewer) -> tuple[float, float] | None:
    """Height and width of a grid cell (or the whole canvas) in screen pixels.

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


def _keep(program: object) -> None:
    """Instead of ``GlirProgram.delete``."""
    del program
