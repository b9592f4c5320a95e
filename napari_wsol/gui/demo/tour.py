"""The whole story, unattended: open, localize, stroke, refine, export, take pictures.

For ``napari-wsol demo --screenshot FILE`` and the pictures of the README: what is in
them is what the buttons do.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from qtpy.QtCore import QEventLoop, QTimer

from napari_wsol.config import FigureConfig
from napari_wsol.errors import WsolError
from napari_wsol.files import make_folder, whole_file
from napari_wsol.gui.compat import needed
from napari_wsol.gui.demo.viewer import open_viewer
from napari_wsol.gui.layers.stroke_layer import BACKGROUND_LABEL, FOREGROUND_LABEL
from napari_wsol.paths import NO_MODEL
from napari_wsol.zoo import list_models

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari.viewer

    from napari_wsol.gui.dock import WsolWidget

Line = tuple[tuple[float, float], tuple[float, float]]

GLANDS: tuple[Line, ...] = (
    ((0.24, 0.03), (0.46, 0.05)),
    ((0.03, 0.22), (0.05, 0.30)),
    ((0.03, 0.50), (0.14, 0.56)),
    ((0.40, 0.60), (0.53, 0.74)),
    ((0.47, 0.33), (0.42, 0.50)),
    ((0.62, 0.24), (0.82, 0.27)),
    ((0.93, 0.67), (0.97, 0.71)),
)
STROMA: tuple[Line, ...] = (
    ((0.56, 0.26), (0.52, 0.44)),
    ((0.50, 0.50), (0.41, 0.542)),
    ((0.20, 0.95), (0.62, 0.90)),
    ((0.65, 0.36), (0.92, 0.40)),
    ((0.84, 0.86), (0.90, 0.88)),
)
"""Strokes on the sample, as (y, x) shares of its height and width."""

SECONDS = 180.0
WINDOW = (1560, 960)


class TourError(WsolError):
    """The story did not come to its end; says where and why."""


class Tour:
    """Drives a viewer like a person would, and waits like one."""

    def __init__(
        self,
        viewer: napari.viewer.Viewer,
        widget: WsolWidget,
        pictures: Path | None = None,
    ) -> None:
        self._viewer, self._widget, self._pictures = viewer, widget, pictures

    def localize(self) -> None:
        """Wait for image and model, press Localize, wait for the maps."""
        widget = self._widget
        button = widget.localize_panel.localize_button
        self.wait("the model", lambda: widget.session.model is not None)
        self.wait("the image", lambda: widget.layers.image is not None)
        self.wait("the button", button.isEnabled)
        self.picture("1-open")
        button.click()
        self.wait("the maps", self.is_localized)
        self.rest()
        self.picture("2-localize")

    def is_localized(self) -> bool:
        """Whether all maps are there and drawn."""
        session, layers = self._widget.session, self._widget.layers
        busy = session.is_busy or layers.is_adding
        return not busy and 0 < len(session.heatmaps) == len(layers.maps())

    def compare(self) -> None:
        """All methods side by side, and back."""
        panel = self._widget.compare_panel
        panel.side_by_side.click()
        self.rest()
        self.picture("3-side-by-side")
        panel.overlay.click()
        if self._pictures is not None:
            path, config = self._pictures / "comparison.png", FigureConfig(dpi=105)
            path.unlink(missing_ok=True)
            drawn = self._widget.session.figure(path, config, self._widget.layers.cuts)
            self.wait("the figure", drawn.done)

    def correct(self) -> None:
        """Paint a few strokes and refine."""
        widget = self._widget
        widget.session.live = False  # the pictures show the strokes, then the round
        for tool, label, lines in (
            ("foreground", FOREGROUND_LABEL, GLANDS),
            ("background", BACKGROUND_LABEL, STROMA),
        ):
            widget.correct_panel.tools[tool].click()
            for line in lines:
                self.stroke(line, label)
        strokes = len(GLANDS) + len(STROMA)
        session = widget.session
        self.wait("the strokes", lambda: sum(session.stroke_counts) == strokes)
        self.rest()
        self.picture("4-strokes")
        widget.correct_panel.refine_button.click()
        self.wait("the refined map", lambda: widget.session.round_index > 0)
        self.rest()
        self.picture("5-refined")

    def export(self, folder: Path) -> None:
        """Write the files."""
        widget = self._widget
        panel = widget.export_panel
        panel.form.show_values(folder=folder)
        panel.export_button.click()
        self.wait("the files", lambda: panel.recent.count() > 0)
        panel.expand(animate=False)
        self.rest()
        bar = needed(widget.scroll_area.verticalScrollBar())
        bar.setValue(bar.maximum())
        self.rest()
        self.picture("6-export")

    def screenshot(self, path: Path) -> None:
        """The whole window, as a person sees it, from the top of the dock."""
        needed(self._widget.scroll_area.verticalScrollBar()).setValue(0)
        self.rest()
        self.save(path)

    def picture(self, name: str) -> None:
        """The window into the folder of pictures, where there is one."""
        if self._pictures is not None:
            self.save(self._pictures / f"{name}.jpg")

    def save(self, path: Path) -> None:
        """The window as it is."""
        make_folder(path.parent)
        pixels = self._viewer.screenshot(canvas_only=False, flash=False)
        with whole_file(path) as draft:
            Image.fromarray(pixels[..., :3]).save(draft, quality=76)

    def stroke(self, line: Line, label: int) -> None:
        """Paint a line; its ends are shares of height and width."""
        layer = self._widget.layers.strokes.layer
        if layer is None:
            raise TourError("There was no layer for strokes.")
        size = np.asarray(layer.data.shape, float)
        start, end = (np.asarray(point) * size for point in line)
        steps = int(np.abs(end - start).max()) + 1
        with layer.block_history():  # one stroke, one undo
            for share in np.linspace(0, 1, steps):
                layer.paint(tuple(start + share * (end - start)), label)
        self._widget.layers.strokes.flush()

    def wait(self, what: str, condition: Callable[[], bool]) -> None:
        """Go on when a condition holds.

        Raises:
            TourError: it took too long, or the window warns.
        """
        message = self._widget.message
        run_until(lambda: condition() or message.is_warning, SECONDS)
        if not condition():
            why = message.text() or f"{what} took longer than {SECONDS:g} s"
            raise TourError(f"The demo stopped while it waited for {what}: {why}")

    def rest(self) -> None:
        """Let everything be drawn."""
        run_until(lambda: False, 0.9)


def run_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Run the event loop until a condition holds or the time is over."""
    if condition():
        return True
    loop = QEventLoop()
    poll, end = QTimer(), QTimer()
    poll.timeout.connect(lambda: loop.quit() if condition() else None)
    end.setSingleShot(True)
    end.timeout.connect(loop.quit)
    poll.start(20)
    end.start(round(seconds * 1000))
    loop.exec()
    return condition()


def run_tour(
    out_png: str | Path,
    *,
    pictures: str | Path | None = None,
    exports: str | Path | None = None,
) -> tuple[Path, ...]:
    """Tell the story and save what a person would see at its end.

    Args:
        out_png: the picture of the whole window.
        pictures: folder for a picture of every step.
        exports: folder for the exported files; beside the picture by default.

    Returns:
        The exported files.

    Raises:
        TourError: there is no model, or a step failed; says which and why.
    """
    if not list_models():
        raise TourError(NO_MODEL)
    out = Path(out_png).absolute()
    folder = Path(exports) if exports is not None else out.parent / f"{out.stem}-export"
    # Its strokes are no work of the user's, and the last story's are not there again.
    with TemporaryDirectory(ignore_cleanup_errors=True) as journals:
        viewer, widget = open_viewer(journals=Path(journals))
        try:
            viewer.window.resize(*WINDOW)
            widget.controller.open_sample()
            tour = Tour(viewer, widget, Path(pictures) if pictures else None)
            tour.localize()
            tour.compare()
            tour.correct()
            tour.export(folder)
            tour.screenshot(out)
        finally:
            widget.end()
            viewer.close()
    return tuple(sorted(folder.iterdir()))
