"""All that a controller gets besides its own panel."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from napari_wsol.gui.layers.image_layers import ImageLayers
from napari_wsol.gui.messages import Messages
from napari_wsol.gui.session_events import SessionEvents
from napari_wsol.gui.tasks import Tasks
from napari_wsol.jobs import JobKind
from napari_wsol.session.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import napari.viewer
    from qtpy.QtCore import QTimer
    from qtpy.QtWidgets import QWidget

    from napari_wsol.gui.messages import MessageLine

LATER_MS = 5000
"""Between two looks at maps whose tiles come in."""


class Context:
    """One session in one viewer, and what the parts of a dock share.

    It is the one owner of what has to end: whatever is begun says here how it ends.

    Args:
        viewer: that of the dock.
        dock: in front of which dialogs open, and which owns the controllers.
        line: where sentences for the person stand.
        journals: as for :class:`Session`.

    Attributes:
        session: all state but that of widgets.
        events: its signals, on the GUI thread.
        tasks: everything that runs on other threads.
        messages: sentences for the person.
        layers: what is seen in the viewer.
    """

    def __init__(
        self,
        viewer: napari.viewer.Viewer,
        dock: QWidget,
        line: MessageLine,
        journals: Path | bool = True,
    ) -> None:
        self._ends, self._partings = ExitStack(), ExitStack()
        self.viewer, self.dock = viewer, dock
        self.session = Session(threads=default_threads(), journals=journals)
        self.events = SessionEvents(self.session)
        self.tasks = Tasks()
        self.messages = Messages(line)
        self.layers = ImageLayers(viewer, dock, self.session, self.tasks)
        self.at_the_end(self.tasks.close)
        self.at_the_end(self.events.close)
        self.at_the_end(self.session.close)
        self.at_parting(self.layers.close)

    @property
    def tiles_come_in(self) -> bool:
        """Whether an image is being localized whose maps come in tile by tile."""
        job = self.session.job
        if job is None or not job.is_active or job.kind is not JobKind.LOCALIZE:
            return False
        return self.session.is_gradual

    def soon(self, timer: QTimer, milliseconds: int) -> None:
        """Start what follows the maps; it comes less often while tiles come in."""
        if not self.tiles_come_in:
            timer.start(milliseconds)
        elif not timer.isActive():
            timer.start(LATER_MS)

    def at_the_end(self, end: Callable[[], object]) -> None:
        """End something with the dock, however that goes; the latest ends first.

        A viewer that is closed destroys the dock without another word: ``end`` touches
        no widget and no layer.
        """
        self._ends.callback(end)

    def at_parting(self, part: Callable[[], object]) -> None:
        """Let go of widgets and layers where the dock is closed and the viewer stays.

        The latest comes first, after all that :meth:`at_the_end` was told of.
        """
        self._partings.callback(part)

    def close(self) -> None:
        """End all work; harmless when called again."""
        self._ends.close()

    def part(self) -> None:
        """End all work, and let go of the viewer; heatmaps and strokes stay in it."""
        self.close()
        self._partings.close()


def default_threads() -> int:
    """Threads for torch beside a viewer: all cores but one."""
    return max(1, (os.cpu_count() or 2) - 1)
