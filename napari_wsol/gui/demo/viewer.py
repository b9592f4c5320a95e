"""A viewer with the dock open: for ``napari-wsol view`` and ``napari-wsol demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import napari
import napari.viewer
from napari.utils.notifications import show_warning

from napari_wsol.errors import WsolError
from napari_wsol.gui.dock import WsolWidget
from napari_wsol.gui.images.reader import read_slides
from napari_wsol.gui.images.samples import add_sample
from napari_wsol.worklist.files import images_given

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_wsol.images.readers.stacks import Pick

DOCK_NAME = "Weakly-supervised localization (napari-wsol)"  # in napari's menu, too


def open_viewer(
    paths: Iterable[str | Path] = (),
    model: str | None = None,
    *,
    reader: str | None = None,
    pick: Pick | None = None,
    demo: bool = False,
    stay: bool = False,
    journals: Path | bool = True,
) -> tuple[napari.viewer.Viewer, WsolWidget]:
    """A viewer with images and the dock.

    Args:
        paths: images and slides to open, and folders whose images are listed; one that
            cannot be read gives a message.
        model: name of the model to start with; the first installed one by default.
        reader: who reads them; the first that can by default.
        pick: the channel and plane of images that have several; asked for by default.
        demo: open the sample image where no path is given, and localize at once.
        stay: whether to come back only when it is closed.
        journals: folder of the journals of strokes; that of the user if True.
    """
    viewer = napari.Viewer(title="napari-wsol")
    widget = WsolWidget(viewer, journals)
    viewer.window.add_dock_widget(widget, name=DOCK_NAME, area="right")
    if model is not None:
        widget.controller.prefer_model(model)
    for path in paths:
        if images_given([Path(path)]) != [Path(path)]:
            widget.controller.lists.open_folder(Path(path))
            continue
        try:
            for data, options, _ in read_slides(path, reader, pick):
                viewer.add_image(data, **options)
        except WsolError as error:
            show_warning(str(error))
    if demo:
        if not viewer.layers:
            add_sample(viewer)
        widget.controller.localize_when_ready()
    if stay:
        napari.run()
    return viewer, widget
