"""The folder of all journals: finds the work on an image, and opens it.

Each image has a folder that is named after its fingerprint, so that the same pixels are
the same image, whatever their file is called and in whatever order images are opened.

An image can have several such folders: ``…``, ``…-2``, ``…-3``. A second window on the
same image writes to one of its own, and so does whoever finds a journal that must not
be written to: damaged in its first line, or of a newer version. Opened is the one with
the newest entry that no other window holds; the others are named in
:attr:`Journal.notes`. Of a journal with a damaged first line all that can be read is
taken over to the new folder, with the first entry that is written.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_wsol.files.locking import try_lock
from napari_wsol.journal.folder import moved, new_folder
from napari_wsol.journal.image import STEM_LENGTH
from napari_wsol.journal.journal import Journal
from napari_wsol.journal.reading import Record, read_record, segment_paths
from napari_wsol.journal.replayed import Replayed
from napari_wsol.journal.segments import is_as_read
from napari_wsol.paths import journals_folder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from napari_wsol.journal.entries import Entry, Status
    from napari_wsol.journal.image import ImageFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The work on one image in a few words.

    Attributes:
        folder: of the journal.
        fingerprint: of the image; what is known of it where the journal is damaged.
        name: of the image.
        path: where it was last seen.
        strokes: how many count.
        rounds: how many were made.
        status: how far it is.
        last: when the last entry was made, UTC, ISO 8601; empty where there is none.
        notes: what is damaged, in sentences.
    """

    folder: Path
    fingerprint: str
    name: str
    path: str | None
    strokes: int
    rounds: int
    status: Status
    last: str
    notes: tuple[str, ...]


class JournalLibrary:
    """All journals of a person.

    Args:
        folder: of the journals; one in the user's data by default, which
            ``NAPARI_WSOL_HOME`` moves.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._open: weakref.WeakValueDictionary[str, Journal] = (
            weakref.WeakValueDictionary()
        )

    @property
    def folder(self) -> Path:
        """Where all journals are; it need not exist."""
        return self._folder or journals_folder()

    def open(self, image: ImageFacts) -> Journal:
        """The journal of an image; nothing is written before its first entry.

        A journal of the same image that this library opened before is closed. Never
        fails because of the disk: :attr:`Journal.notes` and :attr:`Journal.saved` say
        what is wrong.
        """
        before = self._open.get(image.fingerprint)
        waiting = () if before is None else before.surrender()
        journal = self._opened(image, waiting)
        self._open[image.fingerprint] = journal
        if waiting:
            journal.flush(0.0)
        return journal

    def find(self, fingerprint: str) -> Summary | None:
        """What :meth:`open` would go on with; None where nothing that counts is there.

        Cheap: nothing is drawn, locked or written.
        """
        records = _newest_first(self.records_of(fingerprint))
        usable = [record for record in records if not record.is_newer]
        if not usable or not Replayed(usable[0].entries).counts:
            return None
        return _summary(usable[0])

    def summaries(self) -> list[Summary]:
        """Of all images, the newest first; damaged ones with a note."""
        try:
            folders = sorted(path for path in self.folder.iterdir() if path.is_dir())
        except OSError:
            return []
        records = (read_record(path) for path in folders if segment_paths(path))
        return [_summary(record) for record in _newest_first(records)]

    def records_of(self, fingerprint: str) -> list[Record]:
        """All that there is of one image."""
        records: list[Record] = []
        for path in self.folders_of(fingerprint):
            record = read_record(path)
            image = record.image
            if record.segments and (image is None or image.fingerprint == fingerprint):
                records.append(record)
        return records

    def folders_of(self, fingerprint: str) -> list[Path]:
        """Those of an image that are there; a second window has one of its own."""
        stem = fingerprint[:STEM_LENGTH]
        try:
            paths = list(self.folder.iterdir())
        except OSError:
            return []
        return [path for path in paths if path.name.partition("-")[0] == stem]

    def _opened(self, image: ImageFacts, waiting: tuple[Entry, ...]) -> Journal:
        records = _newest_first(self.records_of(image.fingerprint))
        notes: list[str] = []
        busy: list[Record] = []
        for place, record in enumerate(records):
            others = records[place + 1 :]
            there = record.image or image
            if record.is_newer or there.canvas_shape != image.canvas_shape:
                notes.extend(_why_not(record, image))
                continue
            if not record.is_writable:
                if not record.entries:
                    notes.extend(record.notes)
                    continue
                return self._fresh(image, [*notes, *_other(others)], waiting, record)
            lock = try_lock(record.folder)
            if lock is None:
                busy.append(record)
                continue
            if not is_as_read(record.folder, record):
                record = read_record(record.folder)  # noqa: PLW2901 - written meanwhile
            notes.extend(moved(item.folder, record.folder) for item in busy)
            return Journal(
                image, record, lock, notes=[*notes, *_other(others)], waiting=waiting
            )
        ours = new_folder(self.folder, image.stem)
        notes.extend(moved(item.folder, ours) for item in busy)
        return self._fresh(image, notes, waiting, None)

    def _fresh(
        self,
        image: ImageFacts,
        notes: list[str],
        waiting: tuple[Entry, ...],
        carried: Record | None,
    ) -> Journal:
        record = Record(new_folder(self.folder, image.stem))
        return Journal(
            image, record, None, notes=notes, carried=carried, waiting=waiting
        )


def _newest_first(records: Iterable[Record]) -> list[Record]:
    """By the last entry; of equals those that can be written to."""
    return sorted(
        records, key=lambda item: (item.last_time, item.is_writable), reverse=True
    )


def _why_not(record: Record, image: ImageFacts) -> list[str]:
    if record.is_newer or record.image is None:
        return record.notes
    rows, columns = record.image.canvas_shape
    return [
        f"The strokes in “{record.folder.name}” were drawn on a grid of {rows} × "
        f"{columns} cells, and that of this image has {image.canvas_shape[0]} × "
        f"{image.canvas_shape[1]}. They are left as they are; what is new is written "
        "to another folder."
    ]


def _other(records: list[Record]) -> list[str]:
    """Notes on work that is older than the one opened."""
    notes: list[str] = []
    for record in records:
        replay = Replayed(record.entries)
        if replay.counts:
            notes.append(
                f"There is other work on this image, last changed on "
                f"{record.last_time[:10]}, with {len(replay.strokes)} strokes and "
                f"{len(replay.rounds)} rounds, in “{record.folder.name}”."
            )
    return notes


def _summary(record: Record) -> Summary:
    replay, image = Replayed(record.entries), record.image
    return Summary(
        folder=record.folder,
        fingerprint=record.folder.name if image is None else image.fingerprint,
        name="" if image is None else image.name,
        path=None if image is None else image.path,
        strokes=len(replay.strokes),
        rounds=len(replay.rounds),
        status=replay.status,
        last=record.last_time,
        notes=tuple(record.notes),
    )
