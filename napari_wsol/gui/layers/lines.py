"""Contours of large maps, found in a thread: the window never waits for them."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_wsol.gui.layers.contours import contour_segments

if TYPE_CHECKING:
    from concurrent.futures import Future

    from napari_wsol.images.heatmap import Heatmap

logger = logging.getLogger(__name__)

LARGE_CELLS = 60_000
"""Cells of a map whose lines take longer than a frame."""


class LineDrawer(QObject):
    """Finds the contours of many maps, one after another, the newest of each."""

    drawn = Signal(str, object)
    """Method, and (N, 2, 2) pieces of line."""

    def __init__(self) -> None:
        super().__init__()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="napari-wsol contours")
        self._waiting: dict[str, Future] = {}
        self._closed = False

    def ask(self, heatmap: Heatmap, cut: float) -> None:
        """Find the lines of a map; an older question on its method is dropped."""
        method = heatmap.method
        before = self._waiting.get(method)
        if before is not None:
            before.cancel()
        future = self._pool.submit(contour_segments, heatmap, cut)
        self._waiting[method] = future
        future.add_done_callback(lambda done: self._tell(method, done))

    def close(self) -> None:
        """No more answers."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _tell(self, method: str, done: Future) -> None:
        """Called on the thread."""
        if self._closed or done.cancelled():
            return
        error = done.exception()
        if error is not None:
            logger.error("A contour could not be drawn", exc_info=error)
        elif self._waiting.get(method) is done:
            self.drawn.emit(method, done.result())
