"""Small look-ups that need no place in the session's queue, off the GUI thread."""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

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
        self._latest = 0

    def ask(self, question: Callable[[], object]) -> None:
        """Ask in the thread; only the answer to the latest question is told."""
        self._latest += 1
        number = self._latest
        future = self._pool.submit(question)
        future.add_done_callback(lambda done: self._tell(number, done))

    def close(self) -> None:
        """No more answers."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _tell(self, number: int, done: Future) -> None:
        if self._closed or number != self._latest or done.cancelled():
            return
        error = done.exception()
        if error is not None:
            logger.error("A look-up failed", exc_info=error)
        self.answered.emit(done.result() if error is None else error)
