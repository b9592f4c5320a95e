"""What napari's manifest calls beside dock, reader and samples: menus and the writer.

A command opens the dock where none is open, and goes on once it works on the image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image
from napari.utils.notifications import show_warning
from qtpy.QtWidgets import QApplication

from napari_wsol.errors import ExportError, NoResultError
from napari_wsol.gui.compat import needed
from napari_wsol.gui.dock import WsolWidget
from napari_wsol.gui.layers.marks import HEATMAP, MARK, map_facts, role_of
from napari_wsol.gui.layers.reference import is_possible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.layers import Layer
    from napari.viewer import Viewer

NO_IMAGE = "Open an image (Ctrl+O) and select its layer first."
NO_REFERENCE = "Select the Labels or Shapes layer that heatmaps are compared with."


def localize_image(viewer: Viewer) -> None:
    """*Visualize*: maps of the selected image, by the ticked methods."""
    dock = _dock_of(viewer)
    _work_on(viewer, dock, dock.controller.localize_when_ready)


def compare_maps(viewer: Viewer) -> None:
    """*Measure*: figures of the maps beside the selected labels or shapes."""
    reference = next(filter(is_possible, _chosen(viewer)), None)
    if reference is None:
        show_warning(NO_REFERENCE)
        return
    dock = _dock_of(viewer)
    dock.compare_panel.expand(animate=False)

    def compare() -> None:
        dock.controller.reference.compare_with(reference)
        dock.compare_panel.scores_button.click()
        if not dock.session.heatmaps:
            dock.controller.localize_when_ready()

    _work_on(viewer, dock, compare)


def draw_strokes(viewer: Viewer) -> None:
    """*Annotate*: the foreground brush, on the selected image."""
    dock = _dock_of(viewer)
    dock.correct_panel.expand(animate=False)
    _work_on(viewer, dock, lambda: dock.controller.choose_tool("foreground"))


def save_heatmap(path: str, layers: Sequence[tuple[Any, ...]]) -> list[str]:
    """*Save Selected Layers…* of one of our heatmaps: it and its provenance.

    Args:
        path: as for ``Session.save_map``, which writes what the layer is drawn from.
        layers: as napari gives them.

    Raises:
        ExportError: it is no heatmap, or cannot be written.
        NoResultError: its dock is closed, or has gone on to another image.
    """
    options = next(options for _, options, kind in layers if kind == "image")
    name, mark = options["name"], options["metadata"].get(MARK, {})
    if mark.get("role") != HEATMAP:
        raise ExportError(
            f"“{name}” is no heatmap of napari-wsol. Choose another kind of file in "
            "the dialog, such as .tif: then napari writes it."
        )
    docks = [x for x in QApplication.allWidgets() if isinstance(x, WsolWidget)]
    for session in (dock.session for dock in docks):
        heatmap = session.heatmaps.get(mark["method"])
        facts = heatmap and map_facts(heatmap, mark["title"])
        if facts and mark == {**facts, "role": HEATMAP, "fingerprint": session.mapped}:
            return [str(file) for file in session.save_map(path, mark["method"])]
    raise NoResultError(
        f"What “{name}” was made from is not open any more. Localize its image again "
        "and save that, or choose .tif: then napari writes what is seen."
    )


def _chosen(viewer: Viewer) -> list[Layer]:
    """The selected layers but for ours, from below."""
    chosen = viewer.layers.selection
    return [x for x in viewer.layers if x in chosen and role_of(x) is None]


def _docks(viewer: Viewer) -> list[WsolWidget]:
    """Our docks in a viewer, those of scripts too; as they are, not as proxies."""
    docked = [getattr(x, "__wrapped__", x) for x in viewer.window.dock_widgets.values()]
    return [widget for widget in docked if isinstance(widget, WsolWidget)]


def _dock_of(viewer: Viewer) -> WsolWidget:
    """The dock, in sight; opened where there is none."""
    if not _docks(viewer):
        viewer.window.add_plugin_dock_widget("napari-wsol")
    dock = _docks(viewer)[0]
    needed(dock.parentWidget()).show()
    needed(dock.parentWidget()).raise_()
    return dock


def _work_on(viewer: Viewer, dock: WsolWidget, then: Callable[[], None]) -> None:
    """Have the selected image in the dock, else the one that is there; then go on."""
    images = [x for x in _chosen(viewer) if isinstance(x, Image)]
    wanted, layers = (images or [dock.image_line.layer])[0], dock.layers

    def go_on() -> None:
        if layers.image is not None:
            layers.image_changed.disconnect(go_on)
            if layers.image == wanted:
                then()

    if wanted is None:
        dock.message.warn(NO_IMAGE)
    elif layers.image == wanted:
        then()
    else:
        layers.image_changed.connect(go_on)
        if dock.image_line.layer != wanted:
            dock.image_line.choose(wanted)
