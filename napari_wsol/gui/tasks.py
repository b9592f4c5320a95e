"""What runs beside the window, or later: questions on threads, futures, timers.

Answers cross to the GUI thread by one Qt signal. superqt's ``ensure_main_thread`` would
not do: its calls are held until they have run, also when nobody is there any more.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import QObject, Qt, QTimer, Signal

from napari_wsol.errors import JobCancelledError, WsolError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from concurrent.futures import Future
    from typing import TypeVar

    T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Task:
    """Who waits for an answer.

    Attributes:
        key: a newer task with the same one takes its place; None where none does.
        answer: called with the result.
        failed: called with the error.
        is_ours: whether its thread is; a session tells of the errors of its own jobs.
    """

    key: Hashable | None
    answer: Callable[[Any], None]
    failed: Callable[[BaseException], None] | None
    is_ours: bool


class Tasks(QObject):
    """The only owner of threads of the window.

    Nobody is told anything once this is closed, once a newer question has taken the
    place of theirs, or once the object whose method is to be called is gone.
    """

    _done = Signal(object, object)

    def __init__(self) -> None:
        super().__init__()
        self._threads: dict[str, ThreadPoolExecutor] = {}
        self._newest: dict[Hashable, _Task] = {}
        self._running = threading.local()
        self._closed = False
        done: Any = self._done  # the types of Qt know no second argument
        done.connect(self._tell, Qt.ConnectionType.QueuedConnection)

    def ask(
        self,
        question: Callable[[], T],
        answer: Callable[[T], None],
        failed: Callable[[BaseException], None] | None = None,
        *,
        kind: str,
        about: Hashable = None,
    ) -> None:
        """Ask something that takes a while, off the GUI thread.

        Args:
            question: called on the thread of its kind, one after another.
            answer: called with what it gives.
            failed: called with what it raises; that is logged only, without.
            kind: of question, in a word or two.
            about: a newer question of the kind about the same takes its place.
        """
        if self._closed:  # a viewer that is taken down does not tell every timer
            return
        task = self._add(_Task((kind, about), answer, failed, is_ours=True))
        if kind not in self._threads:
            name = f"napari-wsol {kind}"
            self._threads[kind] = ThreadPoolExecutor(1, thread_name_prefix=name)

        def run() -> T:
            self._running.task = task
            return question()

        self._wait(self._threads[kind].submit(run), task)

    def follow(
        self,
        future: Future[T],
        answer: Callable[[T], None],
        failed: Callable[[BaseException], None] | None = None,
        *,
        kind: str | None = None,
    ) -> None:
        """Tell of the end of a job of the session; not if it never began.

        Args:
            future: of the job.
            answer: called with its result.
            failed: called with its error; the session tells of that, too.
            kind: a newer future of the same takes its place; none does without.
        """
        key = None if kind is None else (kind, None)
        self._wait(future, self._add(_Task(key, answer, failed, is_ours=False)))

    def forget(self, kind: str) -> None:
        """No answer of a kind is wanted any more."""
        self._newest.pop((kind, None), None)

    def check(self) -> None:
        """In a long question, often: stop where nobody waits for the answer.

        Raises:
            JobCancelledError: nobody does.
        """
        if not self._is_wanted(self._running.task):
            raise JobCancelledError("Nobody waits for this answer any more.")

    def close(self) -> None:
        """End all threads, without waiting for them; no more answers."""
        self._closed = True
        for thread in self._threads.values():
            thread.shutdown(wait=False, cancel_futures=True)

    def _add(self, task: _Task) -> _Task:
        if task.key is not None:
            self._newest[task.key] = task
        return task

    def _is_wanted(self, task: _Task) -> bool:
        if self._closed:
            return False
        return task.key is None or self._newest.get(task.key) is task

    def _wait(self, future: Future[Any], task: _Task) -> None:
        def tell(done: Future[Any]) -> None:
            """Called on any thread."""
            if self._is_wanted(task) and not done.cancelled():
                self._done.emit(task, done)

        future.add_done_callback(tell)

    def _tell(self, task: _Task, done: Future[Any]) -> None:
        if not self._is_wanted(task):
            return
        if task.key is not None:
            del self._newest[task.key]
        error = done.exception()
        is_told = task.failed is not None and isinstance(error, WsolError)
        if error is not None and task.is_ours and not is_told:
            logger.error("A look-up failed", exc_info=error)
        call = task.answer if error is None else task.failed
        owner = getattr(call, "__self__", None)
        if call is None or (isinstance(owner, QObject) and not isalive(owner)):
            return
        call(done.result() if error is None else error)


def once(parent: QObject, milliseconds: int, call: Callable[..., object]) -> QTimer:
    """A timer that calls so long after it was started last."""
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    timer.timeout.connect(call)
    return timer
