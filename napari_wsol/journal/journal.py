"""The record of the work on one image, written as it happens by a thread of its own."""

from __future__ import annotations

import atexit
import contextlib
import logging
import shutil
import threading
import time
import weakref
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_wsol.files import unwritable
from napari_wsol.journal.folder import JournalFolder
from napari_wsol.journal.heads import head_bytes, read_head, write_head
from napari_wsol.journal.words import low_space, problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import torch

    from napari_wsol.files.locking import Lock
    from napari_wsol.journal.entries import Entry, RoundMade
    from napari_wsol.journal.image import ImageFacts
    from napari_wsol.journal.reading import Record

logger = logging.getLogger(__name__)

RETRY_SECONDS = 2.0
"""After which a write that failed is tried again without being asked."""
_BATCH = 256
"""Entries that are written before anybody is told."""


@dataclass(frozen=True, slots=True)
class Saved:
    """How much of the work is on the disk.

    Attributes:
        pending: entries that are only in memory.
        last: when something reached the disk last, seconds since 1970.
        problem: a sentence that says what to do; empty when all is well.
    """

    pending: int
    last: float | None
    problem: str


class Journal:
    """What was done to one image: earlier entries, and those to come.

    Made by :meth:`JournalLibrary.open`. Nothing is written before the first entry.
    Entries are put into words and written on the journal's own thread, in their order;
    each is on the disk (``fsync``) before it counts as saved. Where the disk fails all
    wait in memory, and are written when it works again, also after :meth:`close`. Where
    the journal's folder was deleted meanwhile all of it is written again.

    Attributes:
        image: what the journal belongs to.
        entries: the earlier ones, as read on opening.

    Signals:
        changed: a :class:`Saved`, on the writer's thread, after every attempt.
    """

    changed = Signal(Saved)

    def __init__(
        self,
        image: ImageFacts,
        record: Record,
        lock: Lock | None,
        *,
        notes: Sequence[str] = (),
        carried: Record | None = None,
        waiting: Sequence[Entry] = (),
    ) -> None:
        """Args as found by the library.

        Args:
            image: the open image.
            record: what the folder holds; empty for a new one.
            lock: of that folder; None where it is not there yet.
            notes: what to tell.
            carried: another record that a new folder goes on with.
            waiting: entries that never reached the disk.
        """
        self.image = image
        earlier = record if carried is None else carried
        self.entries: tuple[Entry, ...] = (*earlier.entries, *waiting)
        self._notes = (*notes, *earlier.notes)
        self._folder = JournalFolder(image, record, lock, carried)
        self._disk = threading.RLock()  # files; taken before the other one
        self._turn = threading.Condition()
        self._queue: deque[Entry] = deque(waiting)
        self._thread: threading.Thread | None = None
        self._asked = self._closing = self._is_failing = False
        self._begun = self._done = 0  # attempts
        self._last: float | None = None
        self._problem = ""

    @property
    def folder(self) -> Path:
        """Where it is written; another one after a second window was quicker."""
        return self._folder.folder

    @property
    def notes(self) -> tuple[str, ...]:
        """What was damaged, migrated or is kept elsewhere, in sentences."""
        return (*self._notes, *self._folder.notes)

    @property
    def saved(self) -> Saved:
        """How much is on the disk now."""
        with self._turn:
            return Saved(len(self._waiting), self._last, self._problem)

    def append(self, entry: Entry) -> None:
        """Takes an entry; never raises, and never waits for the disk."""
        with self._turn:
            self._queue.append(entry)
            self._wake()

    def save_head(
        self, index: int, state: Mapping[str, torch.Tensor], metadata: Mapping[str, str]
    ) -> tuple[str, str]:
        """Writes the pixel head of a round; waits for the disk.

        Args:
            index: of the round.
            state: of the head.
            metadata: what else is to stand in the file.

        Returns:
            Name of the file in :attr:`folder`, and its sha256.

        Raises:
            ExportError: it could not be written.
        """
        data = head_bytes(state, metadata)
        what = f"The head of round {index} cannot be written to “{self.folder}”"
        to_do = "Make room or allow writing, then refine again."
        told = f": the round stays in this window only. {to_do}"
        with unwritable(what, told), self._disk:
            self._folder.claim()
            written = write_head(self.folder, index, data)
        with self._turn:
            if self._waiting:  # a new folder lacks what came before
                self._wake()
        return written

    def load_head(
        self, made: RoundMade
    ) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
        """The state of a round's head, and the metadata.

        Raises:
            ModelError: none was kept, or it is damaged.
        """
        return read_head(self.folder, made)

    def flush(self, timeout: float = 5.0) -> bool:
        """Waits until all is on the disk, or an attempt has failed.

        Returns:
            Whether nothing is pending.
        """
        with self._turn:
            if self._waiting and threading.current_thread() is not self._thread:
                self._wake()
                ticket = self._begun + 1
                self._turn.wait_for(
                    lambda: (
                        not self._waiting or (self._is_failing and self._done >= ticket)
                    ),
                    timeout,
                )
            return not self._waiting

    def close(self, timeout: float = 5.0) -> None:
        """Writes what is left, reads the last file back, gives the lock back.

        What the disk does not take waits on, as long as the program runs. Harmless
        when called again.
        """
        with self._turn:
            self._closing = True
            thread = self._thread
            self._turn.notify_all()
        if thread is None:
            self._give_back()
        elif self.flush(timeout) and threading.current_thread() is not thread:
            thread.join(timeout)

    def surrender(self) -> tuple[Entry, ...]:
        """Closes at once, for who opens the same image again: what is left to write."""
        self.close()
        with self._disk, self._turn:
            left = self._waiting if self._folder.was_lost else tuple(self._queue)
            self._queue.clear()
            self._folder.missing.clear()
            self._turn.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(RETRY_SECONDS)
        return left

    # ------------------------------------------------------------------ the writer

    def _wake(self) -> None:
        self._asked = True
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._loop, name="napari-wsol journal", daemon=True
            )
            atexit.register(_close_at_exit, weakref.WeakMethod(self.close))
            with contextlib.suppress(RuntimeError):  # the program is ending
                self._thread.start()
        self._turn.notify_all()

    def _loop(self) -> None:
        while True:
            with self._turn:
                patience = RETRY_SECONDS if self._waiting else None
                self._turn.wait_for(self._is_due, patience)
                if self._closing and not self._waiting:
                    self._thread = None
                    break
                self._asked = False
                self._begun += 1
            is_failing = not self._attempt()
            self._tell()
            with self._turn:
                self._done = self._begun
                self._is_failing = is_failing
                self._asked |= bool(self._waiting) and not is_failing
                self._turn.notify_all()
        self._give_back()

    def _is_due(self) -> bool:
        return self._asked or (self._closing and not self._waiting)

    def _attempt(self) -> bool:
        """Writes what waits, as far as the disk takes it; whether it took all."""
        with self._disk:
            with self._turn:
                batch = list(islice(self._queue, _BATCH))
            done, error = self._folder.write(batch)
            warning = ""
            with contextlib.suppress(OSError):
                warning = low_space(shutil.disk_usage(self.folder).free, self.folder)
            with self._turn:
                for _ in range(done):
                    self._queue.popleft()
                if done:
                    self._last = time.time()
                self._problem = (
                    warning
                    if error is None
                    else problem(error, self.folder, self._waiting)
                )
        return error is None

    @property
    def _waiting(self) -> tuple[Entry, ...]:
        """What is only in memory."""
        return (*self._folder.missing, *self._queue)

    def _give_back(self) -> None:
        """Reads back what was written, and lets others have the folder."""
        with self._disk:
            wrong = self._folder.give_back()
        if wrong:
            with self._turn:
                self._problem = wrong
            self._tell()

    def _tell(self) -> None:
        try:
            self.changed.emit(self.saved)
        except Exception:  # whoever listens must not stop the writing
            logger.exception("Nobody could be told that the journal was written")


def _close_at_exit(method: weakref.WeakMethod[Callable[..., None]]) -> None:
    close = method()
    if close is not None:
        close()
