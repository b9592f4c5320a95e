"""``napari-wsol demo`` and ``view``: the window."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_wsol.errors import ConfigError


def demo(
    screenshot: Annotated[
        Path | None,
        typer.Option(help="Run the whole story unattended and save this picture."),
    ] = None,
) -> None:
    """Open the viewer on a real tissue image with a bundled model."""
    gui = _gui()
    if screenshot is not None:
        gui.run_story(screenshot)
    else:
        gui.launch_viewer(demo=True)


def view(
    images: Annotated[list[Path], typer.Argument(help="Images or slides.")],
    model: Annotated[
        str | None, typer.Option(help="Name or folder of a model.")
    ] = None,
) -> None:
    """Open images or slides in the viewer."""
    missing = [str(path) for path in images if not path.exists()]
    if missing:
        raise ConfigError(f"There is no file {', '.join(missing)}.")
    _gui().launch_viewer(images, model=model)


def _gui():  # noqa: ANN202 - a module
    try:
        from napari_wsol.gui import demo as gui
    except ImportError as error:
        raise ConfigError(
            f"The viewer is not installed ({error}). "
            "Install it with: pip install 'napari-wsol[pyqt6]'"
        ) from error
    return gui
