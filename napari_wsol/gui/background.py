"""Small look-ups that need no place in the session's queue, off the GUI thread."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_wsol.errors import WsolError

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

logger = logging.getLogger(__name__)


class Background(QObject):
    """One thread for one kind of question; answers arrive on the GUI thread."""

    answered = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="napari-wsol look-up")
        self._closed = False
        self.latest = 0

    def ask(self, question: Callable[[], object]) -> None:
        """Ask in the thread; only the answer to the latest question is told.

        Once closed, nothing is asked any more: a viewer that is taken down does not
        tell every timer before.
        """
        if self._closed:
            return
        self.latest += 1
        number = self.latest
        future = self._pool.submit(question)
        future.add_done_callback(lambda done: self._tell(number, done))

    def follow(self, future: Future) -> None:
        """Tell of the end of a job that runs elsewhere; not if it never began."""
        self.latest += 1
        number = self.latest
        future.add_done_callback(lambda done: self._tell(number, done))

    def close(self) -> None:
        """No more answers."""
        self._closed = True
        self.latest += 1  # whoever asks whether it is still wanted hears no
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _tell(self, number: int, done: Future) -> None:
        if self._closed or number != self.latest or done.cancelled():
            return
        error = done.exception()
        if error is not None and not isinstance(error, WsolError):
            logger.error("A look-up failed", exc_info=error)
        self.answered.emit(done.result() if error is None else error)
