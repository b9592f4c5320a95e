"""``napari-wsol demo`` and ``view``: the window."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated

import typer

from napari_wsol.cli import options
from napari_wsol.cli.console import emit, output
from napari_wsol.cli.installed import checked_model, model_names
from napari_wsol.errors import ConfigError, install


def demo(
    screenshot: Annotated[
        Path | None,
        typer.Option(help="Run the whole story unattended and save this picture."),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(help="With --screenshot: a folder for a picture of every step."),
    ] = None,
    exports: Annotated[
        Path | None,
        typer.Option(
            help="With --screenshot: where to export to [beside the picture]."
        ),
    ] = None,
) -> None:
    """Open the viewer on a real tissue image with a bundled model."""
    _need_viewer()
    if screenshot is not None:
        from napari_wsol.gui.demo.tour import run_tour

        files = run_tour(screenshot, pictures=pictures, exports=exports)
        output.print(f"{screenshot} and {len(files)} exported files")
        emit({"screenshot": screenshot, "exported": files})
    else:
        from napari_wsol.gui.demo.viewer import open_viewer

        open_viewer(demo=True, stay=True)


def view(
    images: options.Images,
    model: Annotated[
        str | None,
        typer.Option(
            help="Name or folder of a model [what config says, or the first].",
            autocompletion=model_names,
        ),
    ] = None,
    reader: options.Reader = None,
    rgb: options.Rgb = None,
    channel: options.Channel = None,
    plane: options.Plane = None,
) -> None:
    """Open images or slides in the viewer; a folder becomes a list of images."""
    if model is not None:  # what config says the window knows
        checked_model(model)
    pick = options.picked(rgb, channel, plane)
    _need_viewer()
    from napari_wsol.gui.demo.viewer import open_viewer

    open_viewer(images, model, reader=reader, pick=pick, stay=True)


def _need_viewer() -> None:
    try:
        importlib.import_module("napari")
        importlib.import_module("qtpy.QtWidgets")
    except ImportError as error:
        raise ConfigError(
            f"The viewer is not installed ({error}). "
            f"Install it with: {install('pyqt6')}"
        ) from error
