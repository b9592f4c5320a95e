"""One worker thread that owns torch: jobs run one after another and can be stopped.

Whoever submits a job gets a ``Future``; whoever watches gets a frozen ``JobStatus`` at
every change. Status callbacks run on the worker thread.
"""

from __future__ import annotations

import atexit
import itertools
import logging
import queue
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Generic, Literal, NoReturn, TypeVar

from napari_wsol.errors import JobCancelledError, WsolError, in_our_words

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger(__name__)

T = TypeVar("T")
JobState = Literal["queued", "running", "done", "cancelled", "failed"]

Progress = Callable[[int, int, str], None]
"""Called with what is done, what there is in all, and what is being done; may raise to
stop."""


def duration(seconds: float) -> str:
    """“38 s”, “4 min”, “1 h 20 min”: as a person says it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def ignore_progress(done: int, total: int, message: str) -> None:
    """A progress report that nobody reads."""
    del done, total, message


class JobKind(Enum):
    """What a job does; its value is the title that people read.

    Whoever tells jobs apart compares kinds: titles are words, and change.
    """

    OPEN = "Opening"
    LEAVE = "Closing the image"
    REREAD = "Reading the image again"
    USE = "Loading the model"
    LOCALIZE = "Localizing"
    ESTIMATE = "Estimating"
    COMPARE = "Comparing with the training images"
    TRUST = "Checking the maps"
    WITHOUT = "Looking again without tiles"
    USE_BAG = "Reading the bag"
    REFINE = "Refining"
    FOLLOW = "Following"
    """A refinement that follows a stroke, and that nobody asked for."""
    JUDGE = "Judging the strokes"
    REVERT = "Reverting"
    RESTORE = "Bringing rounds back"
    GROW = "Growing"
    IMPORT_ANNOTATIONS = "Importing annotations"
    ADD_MAP = "Adding the map"
    REMOVE_MAP = "Taking the map away"
    REFERENCE = "Reading the reference"
    SCORE = "Scoring the list"
    EXPORT = "Exporting"
    SAVE_MODEL = "Saving the model"
    IMPORT_MODEL = "Importing"
    TRAIN = "Training"
    REMEMBER_SIZE = "Remembering the pixel size"
    REMEMBER_MEMORY = "Remembering the memory budget"
    RELEASE = "Releasing the graphics card"


REFINES = (JobKind.REFINE, JobKind.FOLLOW)
"""Jobs that make a round."""

_OPENS = (JobKind.OPEN, JobKind.LEAVE, JobKind.ADD_MAP, JobKind.REMOVE_MAP)
_LOCALIZES = (JobKind.LOCALIZE, JobKind.ESTIMATE)
_OF_IMAGE = (  # void once image or model change
    *_LOCALIZES,
    *REFINES,
    JobKind.JUDGE,
    JobKind.COMPARE,
    JobKind.TRUST,
    JobKind.WITHOUT,
)

REPLACES: Mapping[JobKind, tuple[JobKind, ...]] = {
    JobKind.OPEN: (*_OPENS, *_OF_IMAGE),
    JobKind.LEAVE: (*_OPENS, JobKind.REREAD, *_OF_IMAGE),
    JobKind.REREAD: (JobKind.REREAD, *_OF_IMAGE),
    JobKind.USE: (JobKind.USE, JobKind.SCORE, *_OF_IMAGE),
    JobKind.LOCALIZE: (*_LOCALIZES, JobKind.JUDGE),
    JobKind.ESTIMATE: _LOCALIZES,
    JobKind.COMPARE: (JobKind.COMPARE,),
    JobKind.TRUST: (JobKind.TRUST,),
    JobKind.WITHOUT: (JobKind.WITHOUT,),
    JobKind.USE_BAG: (JobKind.USE_BAG, *_OF_IMAGE),
    JobKind.REFINE: (*REFINES, JobKind.JUDGE),
    JobKind.FOLLOW: (*REFINES, JobKind.JUDGE),
    JobKind.JUDGE: (JobKind.JUDGE,),
    JobKind.REVERT: (JobKind.REVERT,),
    JobKind.REFERENCE: (JobKind.REFERENCE,),
    JobKind.SCORE: (JobKind.SCORE,),
    JobKind.GROW: (JobKind.GROW, JobKind.JUDGE),
}
"""Running and waiting jobs that a new one stops: their answer is void."""

REPORT_INTERVAL = 0.05
"""Seconds between two progress reports; more would only load the event loop."""

IDLE_SECONDS = 1.0
"""Without a job after which the worker looks what it can do beforehand: the window has
shown what the job before has given by then."""

CLOSE_SECONDS = 5.0
"""That are waited at most for the running job to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """What a person is told about a job.

    Attributes:
        id: counts up with every job.
        kind: what it does.
        state: queued, running, done, cancelled or failed.
        done: steps finished.
        total: steps in all; 0 while that is not known.
        seconds: since it started.
        seconds_left: estimate for the stage that runs, None while there is nothing to
            go by.
        message: a sentence to show.
        error: what went wrong, when it failed.
    """

    id: int
    kind: JobKind
    state: JobState = "queued"
    done: int = 0
    total: int = 0
    seconds: float = 0.0
    seconds_left: float | None = None
    message: str = ""
    error: BaseException | None = None

    @property
    def name(self) -> str:
        """What it does, for people."""
        return self.kind.value

    @property
    def is_active(self) -> bool:
        """Whether it waits or runs."""
        return self.state in ("queued", "running")


class Report:
    """A job's line to the outside: call it with progress, it raises when stopped."""

    def __init__(self, status: JobStatus, changed: Callable[[JobStatus], None]) -> None:
        self.status = status
        self.cancelled = threading.Event()
        self._changed = changed
        self._started = time.perf_counter()
        self._last = 0.0
        self._pace = (0.0, 0)
        """Seconds and steps at which the present stage began."""

    def start(self) -> None:
        """Marks the job as running."""
        self._started = time.perf_counter()
        self.finish("running", "")

    def __call__(self, done: int, total: int, message: str = "") -> None:
        """Reports progress.

        Where there is another total, or less done than before, another stage of the
        job has begun, with a pace of its own: the time left is that of the stage.

        Raises:
            JobCancelledError: the job was stopped meanwhile.
        """
        self.check()
        seconds = time.perf_counter() - self._started
        begins = total != self.status.total or done < self.status.done
        if begins:
            self._pace = (seconds, done)
        began, first = self._pace
        left = None
        if done > first:
            left = (seconds - began) / (done - first) * (total - done)
        self.status = replace(
            self.status,
            done=done,
            total=total,
            seconds=seconds,
            seconds_left=left,
            message=message or self.status.message,
        )
        is_due = seconds - self._last >= REPORT_INTERVAL
        if is_due or begins or done == total:
            self._last = seconds
            self._changed(self.status)

    def check(self) -> None:
        """Raises JobCancelledError if the job was stopped; cheap enough for a loop."""
        if self.cancelled.is_set():
            raise JobCancelledError("Stopped.")

    def finish(
        self, state: JobState, message: str, error: BaseException | None = None
    ) -> None:
        """Marks the job as being in another state."""
        self.status = replace(
            self.status,
            state=state,
            message=message,
            error=error,
            seconds=time.perf_counter() - self._started,
            seconds_left=None,
        )
        self._changed(self.status)


class _Job(Generic[T]):
    def __init__(self, work: Callable[[Report], T], report: Report) -> None:
        self.work = work
        self.report = report
        self.future: Future[T] = Future()

    def run(self, settled: Callable[[], None]) -> None:
        """Runs the job and settles its future; never raises.

        Args:
            settled: called before anybody hears of the end.
        """
        if not self.future.set_running_or_notify_cancel():
            settled()
            self.report.finish("cancelled", "Stopped before it began.")
            return
        try:
            self.report.check()
            self.report.start()
            with in_our_words():
                result = self.work(self.report)
        except Exception as error:
            state: JobState = "failed"
            message, name = str(error), self.report.status.name
            if isinstance(error, JobCancelledError):
                state = "cancelled"
            elif not isinstance(error, WsolError):
                logger.exception("Job %r failed", name)
                message = f"{name} failed unexpectedly: {type(error).__name__}: {error}"
            settled()
            self.report.finish(state, message, error)
            self.future.set_exception(error)
        else:
            settled()
            self.report.finish("done", self.report.status.message)
            self.future.set_result(result)


class JobRunner:
    """A queue of jobs and the one thread that works on it.

    Args:
        changed: called with every new status, on the worker thread (and on the
            caller's for a job that is queued).
        prepare: called once on the worker thread before the first job.
        idle: called there whenever nothing was asked for :data:`IDLE_SECONDS` after a
            job: what would be waited for later can be done then.
    """

    def __init__(
        self,
        changed: Callable[[JobStatus], None],
        prepare: Callable[[], None] | None = None,
        idle: Callable[[], None] | None = None,
    ) -> None:
        self._changed = changed
        self._prepare, self._idle = prepare, idle
        self._queue: queue.SimpleQueue[_Job[object] | None] = queue.SimpleQueue()
        self._ids = itertools.count(1)
        self._open: set[_Job[object]] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(
            target=self._loop, name="napari-wsol worker", daemon=True
        )
        self._thread.start()
        # A daemon thread inside torch while the interpreter shuts down can crash it.
        self._at_exit = weakref.WeakMethod(self.close)
        atexit.register(_close_at_exit, self._at_exit)

    def submit(
        self,
        kind: JobKind,
        work: Callable[[Report], T],
    ) -> Future[T]:
        """Queues a job; those that it :data:`REPLACES` are stopped.

        Args:
            kind: what it does.
            work: called on the worker with a :class:`Report`.

        Raises:
            JobCancelledError: the runner was closed.
        """
        if self._closed:
            raise JobCancelledError("This session is closed; start a new one.")
        report = Report(JobStatus(id=next(self._ids), kind=kind), self._changed)
        job: _Job[T] = _Job(work, report)
        with self._lock:
            for other in self._open:
                if other.report.status.kind in REPLACES.get(kind, ()):
                    other.report.cancelled.set()
            self._open.add(job)  # type: ignore[arg-type]
        self._changed(report.status)
        self._queue.put(job)  # type: ignore[arg-type]
        return job.future

    @property
    def is_busy(self) -> bool:
        """Whether a job runs or waits."""
        with self._lock:
            return bool(self._open)

    def cancel(self) -> None:
        """Stops the running job and all that wait."""
        with self._lock:
            for job in self._open:
                job.report.cancelled.set()

    def close(self, *, wait: bool = False) -> None:
        """Stops everything and ends the thread; harmless when called again."""
        self._closed = True
        self.cancel()
        self._queue.put(None)
        if wait and threading.current_thread() is not self._thread:
            self._thread.join(CLOSE_SECONDS)

    def _loop(self) -> None:
        broken: Exception | None = None
        try:
            if self._prepare is not None:
                self._prepare()
        except Exception as error:  # noqa: BLE001 - whoever waits for a job hears of it
            broken, self._idle = error, None  # what is idle needs it, too
        job = self._queue.get()
        while job is not None:
            if broken is not None:
                job.work = partial(_fail, broken)
            job.run(partial(self._settle, job))
            job = self._next()

    def _next(self) -> _Job[object] | None:
        if self._idle is not None:
            with suppress(queue.Empty):
                return self._queue.get(timeout=IDLE_SECONDS)
            self._idle()
        return self._queue.get()

    def _settle(self, job: _Job[object]) -> None:
        with self._lock:
            self._open.discard(job)


def _fail(error: Exception, _: Report) -> NoReturn:
    raise error


def _close_at_exit(method: weakref.WeakMethod[Callable[..., None]]) -> None:
    close = method()
    if close is not None:
        close(wait=True)
