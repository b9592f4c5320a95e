"""Every method in its own cell, above the same image; all cells share one camera."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_wsol.gui.layers.touch import canvas_beside
from napari_wsol.gui.layers.wall import Wall

if TYPE_CHECKING:
    from collections.abc import Sequence

    import napari.viewer
    from napari.layers import Image
    from qtpy.QtWidgets import QWidget

    from napari_wsol.gui.layers.wall import Cell
    from napari_wsol.gui.tasks import Tasks


class SideBySide(QObject):
    """Puts a wall of cells over napari's canvas, and takes it away.

    The layers stay as they are: cells are drawn beside them.

    Args:
        viewer: whose canvas is covered.
        dock: in the window of the viewer.
        tasks: which read the pixels of the image.
    """

    pointed = Signal(float, float)
    """Level-0 pixel (y, x) under the mouse."""

    def __init__(
        self, viewer: napari.viewer.Viewer, dock: QWidget, tasks: Tasks
    ) -> None:
        super().__init__()
        self._viewer, self._dock, self._tasks = viewer, dock, tasks
        self.wall: Wall | None = None
        """The cells, while they are shown."""

    @property
    def is_on(self) -> bool:
        """Whether the cells are shown."""
        return self.wall is not None

    def enter(self, image: Image, cells: Sequence[Cell]) -> None:
        """Show the methods in cells, the first one in the upper left corner."""
        self.leave()
        canvas = canvas_beside(self._dock)
        if canvas is None:
            return
        self.wall = Wall(self._viewer, canvas, image, self._tasks)
        self.wall.pointed.connect(self.pointed)
        self.wall.show_cells(cells)
        self.wall.fit()
        self.wall.show()
        self.wall.raise_()

    def show(self, cells: Sequence[Cell]) -> None:
        """Bring the cells up to date, where they are shown."""
        if self.wall is not None:
            self.wall.show_cells(cells)

    def leave(self) -> None:
        """Back to one picture."""
        wall, self.wall = self.wall, None
        if wall is not None:
            wall.close_wall()
