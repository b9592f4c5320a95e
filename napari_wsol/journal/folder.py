"""The folder of one journal: found, locked, written to, and written again if lost.

Not safe for several threads; the journal sees to that.
"""

from __future__ import annotations

import errno
import logging
import os
from itertools import chain, count
from typing import TYPE_CHECKING

from napari_wsol.files import numbered
from napari_wsol.files.locking import try_lock
from napari_wsol.journal.heads import copy_heads
from napari_wsol.journal.lines import entry_line, line, values_of
from napari_wsol.journal.reading import Record, segment_paths
from napari_wsol.journal.segments import (
    SegmentWriter,
    VanishedError,
    is_as_read,
    left_behind,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from napari_wsol.files.locking import Lock
    from napari_wsol.journal.entries import Entry
    from napari_wsol.journal.image import ImageFacts

logger = logging.getLogger(__name__)


class JournalFolder:
    """Where the entries of one image go.

    Args:
        image: the open image.
        record: what the folder holds; empty for a new one.
        lock: of that folder; None where it is not there yet.
        carried: another record that a new folder goes on with.

    Attributes:
        notes: what happened to the folder, in sentences.
        missing: earlier entries that the folder lacks; written before all others.
        was_lost: whether they were on the disk, and somebody deleted them.
    """

    def __init__(
        self,
        image: ImageFacts,
        record: Record,
        lock: Lock | None,
        carried: Record | None = None,
    ) -> None:
        self._image, self._record, self._lock = image, record, lock
        self._carried = carried
        self.notes: tuple[str, ...] = ()
        self.missing: list[Entry] = []
        self.was_lost = False
        self._written = list((carried or record).entries)
        self._number = record.last_number
        self._had_root = record.folder.parent.is_dir()
        self._writer: SegmentWriter | None = None

    @property
    def folder(self) -> Path:
        """Another one after a second window was quicker."""
        return self._record.folder

    def write(self, waiting: Sequence[Entry]) -> tuple[int, OSError | None]:
        """Writes what is missing, then what waits, as far as the disk takes it.

        Returns:
            How many of those that wait are on the disk, and what stopped the next one.
        """
        done, error = self._tried(waiting)
        if self._is_lost(error):
            self._lose_folder()
            more, error = self._tried(waiting[done:])
            done += more
        if error is not None and self._lock is not None and not self._lock.is_real:
            self._release()  # a disk that is read-only now may be locked later
        return done, error

    def claim(self) -> SegmentWriter:
        """What writes to our folder, which is made and locked if need be.

        Raises:
            OSError: that is not possible now.
        """
        if self._writer is not None:
            return self._writer
        root = self.folder.parent
        if self._had_root and not root.exists():
            # A disk that is away must not get a folder below its empty mount point.
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(root))
        root.mkdir(parents=True, exist_ok=True)
        self._had_root = True
        if self._lock is None:
            self._settle(root)
        if not self._record.segments:
            self._write_again()
        self._writer = SegmentWriter(self.folder, self._image, self._record)
        return self._writer

    def give_back(self) -> str:
        """Reads the last file back, and lets others have the folder.

        Returns:
            A sentence where it is not what was written; else nothing.
        """
        wrong = _verified(self._writer) if self._writer is not None else ""
        self._release()
        return wrong

    def _tried(self, waiting: Sequence[Entry]) -> tuple[int, OSError | None]:
        try:
            self.claim()
            while self.missing:
                done, error = self._put(self.missing)
                del self.missing[:done]
                if error is not None:
                    return 0, error
            return self._put(waiting)
        except OSError as error:
            return 0, error
        except Exception as bug:  # or nothing would ever be written again
            logger.exception("The journal failed")
            return 0, OSError(errno.EIO, f"{type(bug).__name__}: {bug}")

    def _put(self, entries: Sequence[Entry]) -> tuple[int, OSError | None]:
        lines = list(map(_in_words, count(self._number + 1), entries))
        done, error = self.claim().write(lines)
        self._number += done
        self._written.extend(entries[:done])
        return done, error

    def _settle(self, root: Path) -> None:
        """Takes the folder, or the next one where another window was quicker."""
        planned = self._record
        for folder in chain([planned.folder], _siblings(root, self._image.stem)):
            folder.mkdir(exist_ok=True)
            lock = try_lock(folder)
            if lock is None:
                continue
            record = planned if folder == planned.folder else Record(folder)
            if is_as_read(folder, record):
                self._lock, self._record = lock, record
                break
            lock.release()
        if self._record is not planned:
            self._carried = self._carried or planned
            self._number = 0
            self.notes += (moved(planned.folder, self.folder),)

    def _write_again(self) -> None:
        """Puts all that a new folder lacks before what waits."""
        source, self._carried = self._carried, None
        if source is not None:
            try:
                copy_heads(source.folder, self.folder)
            except OSError as error:  # strokes matter more
                self.notes += (
                    f"Heads of rounds stayed in “{source.folder}” ({error.strerror}).",
                )
        self.missing, self._written = [*self._written, *self.missing], []

    def _is_lost(self, error: OSError | None) -> bool:
        """Whether somebody deleted what was written, though its disk is there."""
        folder = self.folder
        is_gone = isinstance(error, FileNotFoundError) and not folder.is_dir()
        return (isinstance(error, VanishedError) or is_gone) and folder.parent.is_dir()

    def _lose_folder(self) -> None:
        """Somebody deleted what was written."""
        self._release()
        self._record = Record(self.folder)
        self._number = 0
        self.was_lost = True
        self.notes += (
            f"“{self.folder}” was deleted while the image was open; the journal was "
            "written again.",
        )

    def _release(self) -> None:
        if self._writer is not None:
            self._writer.close()
            if self._writer.path is not None:
                # An entry may come still: it goes on from here, if nobody else does.
                self._record = left_behind(self.folder)
        if self._lock is not None:
            self._lock.release()
        self._writer = self._lock = None


def moved(other: Path, ours: Path) -> str:
    """The note of a second window on the same image."""
    return (
        f"Another window has this image open and writes to “{other.name}”. What you do "
        f"here is kept in “{ours.name}”."
    )


def _siblings(root: Path, stem: str) -> Iterator[Path]:
    """The folders that an image may have."""
    return map(root.joinpath, numbered(stem))


def new_folder(root: Path, stem: str) -> Path:
    """The first that holds no journal."""
    return next(path for path in _siblings(root, stem) if not segment_paths(path))


def _in_words(number: int, entry: Entry) -> bytes:
    try:
        return entry_line(number, entry)
    except Exception as error:  # or it would keep all later ones from the disk
        logger.exception("An entry of the journal cannot be written")
        return line({"n": number, "type": "unwritable", "why": str(error)})


def _verified(writer: SegmentWriter) -> str:
    """A sentence where the last file is not what was written to it."""
    path = writer.path
    if path is None:
        return ""
    try:
        data = path.read_bytes()
    except OSError as error:
        return f"“{path}” cannot be read back ({error.strerror}): look at its disk."
    damaged = sum(
        values_of(raw) is None for raw in data[writer.start : writer.size].splitlines()
    )
    if len(data) < writer.size or damaged:
        return (
            f"“{path}” is not what was written: {writer.size - len(data)} bytes are "
            f"missing and {damaged} lines are damaged. Look at its disk, and export "
            "your strokes to another one."
        )
    return ""
