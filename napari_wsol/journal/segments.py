"""Writes the lines of a journal into files that only grow.

A line is one ``write`` on a descriptor that appends, and counts once ``fsync`` has come
back. After about 4 MB a new file is begun, and the old one is never written again.
Nothing is ever deleted: whatever must be cut off is copied to a file of its own first.

(Saving a whole file under another name and renaming it would need the time and the room
of the whole work at every stroke. What grows at its end only cannot spoil what stands
before.)
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from typing import TYPE_CHECKING

from napari_wsol.files import numbered, sync_folder
from napari_wsol.journal.lines import VERSION, header_line
from napari_wsol.journal.reading import (
    Record,
    Segment,
    segment_number,
    segment_path,
    segment_paths,
    stamp_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_wsol.journal.image import ImageFacts

SEGMENT_BYTES = 4 << 20
"""A file of this size is sealed."""

_FLAGS = os.O_RDWR | os.O_APPEND | getattr(os, "O_BINARY", 0)


class VanishedError(OSError):
    """The file that was written to is gone, and what was in it."""


class SegmentWriter:
    """The end of a journal; not safe for several threads.

    Args:
        folder: exists, and is locked for us.
        image: for the first line of a new file.
        record: what the folder held when it was read.

    Attributes:
        start: where in the last file our own lines begin.
    """

    def __init__(self, folder: Path, image: ImageFacts, record: Record) -> None:
        self._folder, self._image = folder, image
        self._file = -1
        self._path = folder
        self._size = self._synced = self.start = 0
        self._old = _open_end(record)

    @property
    def path(self) -> Path | None:
        """The file that was written to last."""
        return self._path if self._synced else None

    @property
    def size(self) -> int:
        """How many bytes of it are known to be on the disk."""
        return self._synced

    def write(self, lines: Sequence[bytes]) -> tuple[int, OSError | None]:
        """Writes lines until one fails, then repairs the file.

        Returns:
            How many of them are on the disk, and what stopped the next one.
        """
        written = sealed = 0
        stopped: OSError | None = None
        is_whole = True
        try:
            self._check()
            for text in lines:
                if self._make_ready():
                    sealed = written
                self._put(text)
                written += 1
        except OSError as error:
            stopped, is_whole = error, self._repair()
        try:
            self._sync()
        except OSError as error:
            # Nobody knows what of it is on the disk, and asking again may wrongly say
            # that all is well. These lines are written again, to another file.
            self._give_up()
            return sealed, error
        if not is_whole:
            self._give_up()
        return written, stopped

    def close(self) -> None:
        """Gives the file back; harmless when called again."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _check(self) -> None:
        """Looks whether the file is still the one that we know."""
        if self._file < 0:
            return
        ours = os.fstat(self._file)
        there = self._path.stat() if self._path.exists() else None
        is_same = there is not None and os.path.samestat(ours, there)
        if not is_same or ours.st_size < self._synced:
            self._give_up()
            raise VanishedError(errno.ENOENT, "the file is gone", str(self._path))
        if ours.st_size > self._synced:
            self._give_up()  # somebody else writes to it: ours stands, and is sealed

    def _make_ready(self) -> bool:
        """Opens the file for the next line; whether another one was sealed for it."""
        if self._file >= 0 and self._size >= SEGMENT_BYTES:
            self._sync()
            self.close()
            self._begin()
            return True
        if self._file < 0:
            old, self._old = self._old, None
            if old is None or not self._go_on(old):
                self._begin()
        return False

    def _go_on(self, old: Segment) -> bool:
        """Opens the last file of an earlier day, without its damaged end."""
        file = os.open(old.path, _FLAGS)
        try:
            if os.fstat(file).st_size != old.size:
                os.close(file)
                return False
            if old.good < old.size:
                _set_aside(old)
                os.ftruncate(file, old.good)
                os.fsync(file)
        except OSError:
            os.close(file)
            self._old = old
            raise
        self._file, self._path = file, old.path
        self._size = self._synced = self.start = old.good
        return True

    def _begin(self) -> None:
        paths = segment_paths(self._folder)
        number = segment_number(paths[-1]) + 1 if paths else 1
        path = segment_path(self._folder, number)
        self._file = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o666)
        self._path = path
        self._size = self._synced = self.start = 0
        try:
            self._put(header_line(self._image))
            self._sync()
        except OSError:
            # Ours, and nothing is in it: the next try may have its name.
            self.close()
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        sync_folder(self._folder)

    def _put(self, text: bytes) -> None:
        view = memoryview(text)
        while view:  # once, but on a disk that is just getting full
            view = view[os.write(self._file, view) :]
        self._size += len(text)

    def _sync(self) -> None:
        if self._file >= 0 and self._synced != self._size:
            os.fsync(self._file)
            self._synced = self._size

    def _repair(self) -> bool:
        """Takes half a line away again; whether that worked."""
        if self._file < 0:
            return True
        try:
            os.ftruncate(self._file, self._size)
        except OSError:
            return False
        return True

    def _give_up(self) -> None:
        with contextlib.suppress(OSError):
            self.close()
        self._file = -1


def _open_end(record: Record) -> Segment | None:
    """The file to go on with; None where a new one must be begun."""
    if not record.segments:
        return None
    last = record.segments[-1]
    is_ours = last.version == VERSION and last.good > 0
    return last if is_ours and last.good < SEGMENT_BYTES else None


def _set_aside(segment: Segment) -> None:
    """Copies the damaged end of a file to another one."""
    with segment.path.open("rb") as file:
        file.seek(segment.good)
        rest = file.read()
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    for name in numbered(f"{segment.path.stem}.damaged-{stamp}"):
        try:
            copy = (segment.path.parent / name).open("xb")
        except FileExistsError:
            continue
        with copy:
            copy.write(rest)
            copy.flush()
            os.fsync(copy.fileno())
        break
    sync_folder(segment.path.parent)


def left_behind(folder: Path) -> Record:
    """The files of a folder that was just written to: all of it is known."""
    files = [
        Segment(folder / name, size, size, VERSION) for name, size in stamp_of(folder)
    ]
    return Record(folder, segments=files)


def is_as_read(folder: Path, record: Record) -> bool:
    """Whether nobody has written to a folder since it was read."""
    return stamp_of(folder) == record.stamp
