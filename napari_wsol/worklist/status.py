"""How far the work on each image of a list is, found by the content of its file.

Journals know images by their fingerprint. Which file has which is remembered by path,
time of change and size, so that no file is read twice; what is not known yet is read on
a thread of its own, and never while there are no journals at all.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from msgspec import Struct

from napari_wsol.errors import MalformedError, WsolError
from napari_wsol.files.parsing import read_json
from napari_wsol.images.fingerprint import WHOLE_BYTES, fingerprint_files
from napari_wsol.images.readers import open_slide
from napari_wsol.images.readers.dicom_files import is_film
from napari_wsol.worklist.files import SEVERAL_FILES
from napari_wsol.worklist.saved import write_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_wsol.journal import JournalLibrary, Status, Summary
    from napari_wsol.worklist.items import WorkList

logger = logging.getLogger(__name__)

INDEX = "fingerprints.json"
FORMAT, VERSION = "napari-wsol fingerprints", 1
SAVE_EVERY = 50
"""Files read before the index is written down."""


class Fingerprints:
    """Remembers the fingerprint of files that did not change since.

    Args:
        file: where it is kept; None keeps it in memory. Damaged, it is made anew.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._lock = threading.RLock()
        self._known: dict[str, tuple[int, int, str]] = {}
        self._is_new = False
        if file is not None:
            try:
                self._known = _read(file)
            except FileNotFoundError:
                pass
            except (OSError, MalformedError) as error:
                logger.warning("%s is made anew: %s", file, error)

    def of(self, path: Path) -> str:
        """What is known of a file as it is now; empty if nothing is."""
        found = self._known.get(str(path))
        try:
            return found[2] if found is not None and found[:2] == _stamp(path) else ""
        except OSError:
            return ""

    def learn(self, path: Path, fingerprint: str) -> None:
        """Keeps a fingerprint that was just taken."""
        try:
            stamp = _stamp(path)
        except OSError:
            return
        with self._lock:
            entry = (*stamp, fingerprint)
            self._is_new = self._is_new or self._known.get(str(path)) != entry
            self._known[str(path)] = entry

    def save(self) -> None:
        """Writes down what is new; where that fails, files are read again tomorrow."""
        with self._lock:
            if self._file is None or not self._is_new:
                return
            files = {path: list(entry) for path, entry in self._known.items()}
            self._is_new = False
        try:
            write_json(
                self._file, {"format": FORMAT, "version": VERSION, "files": files}
            )
        except OSError as error:
            logger.warning("%s cannot be written: %s", self._file, error)


class StatusSearch:
    """Looks up all images of a list on a thread; may be stopped at any time.

    Args:
        worklist: it is told what is found.
        library: the journals; None where nothing is written.
        known: fingerprints of files.
        found: called on the thread when all is known, unless it was stopped.
    """

    def __init__(
        self,
        worklist: WorkList,
        library: JournalLibrary | None,
        known: Fingerprints,
        found: Callable[[], None] = lambda: None,
    ) -> None:
        self._worklist, self._library, self._known = worklist, library, known
        self._found = found
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="napari-wsol statuses", daemon=True
        )

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def cancel(self) -> None:
        """Stops after the file in hand; what was found stays."""
        self._stopped.set()

    def join(self, timeout: float | None = None) -> bool:
        """Waits; whether it is over."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        works = _works(self._library)
        found: dict[int, tuple[str, Status]] = {}
        unknown: list[int] = []
        for row, item in enumerate(self._worklist):
            if item.fingerprint:
                continue  # open, or opened before
            fingerprint = self._known.of(item.path)
            if fingerprint:
                found[row] = (fingerprint, works.get(fingerprint, "untouched"))
            else:
                unknown.append(row)
        self._worklist.learn_all(found)
        for count, row in enumerate(unknown if works else (), 1):
            if self._stopped.is_set():
                break
            self._look_up(row, works)
            if count % SAVE_EVERY == 0:
                self._known.save()
        self._known.save()
        if not self._stopped.is_set():
            self._found()

    def _look_up(self, row: int, works: dict[str, Status]) -> None:
        path = self._worklist[row].path
        try:
            fingerprint = fingerprint_of(path)
        except (WsolError, OSError) as error:
            logger.info("%s is not looked up: %s", path, error)
            return  # whoever opens it is told
        self._known.learn(path, fingerprint)
        status = works.get(fingerprint, "untouched")
        self._worklist.learn_all({row: (fingerprint, status)})


def fingerprint_of(path: Path) -> str:
    """The fingerprint that a file has when it is opened, in most cases without opening.

    Raises:
        WsolError, OSError: it cannot be read.
    """
    is_one = path.suffix.lower() not in SEVERAL_FILES or is_film(path)
    is_one = is_one and path.is_file()
    if is_one and path.stat().st_size <= WHOLE_BYTES:
        return fingerprint_files([path])
    slide = open_slide(path)
    try:
        return slide.fingerprint()
    finally:
        slide.close()


def status_of(work: Summary | None) -> Status:
    """How far an image is, after its journal."""
    if work is None:
        return "untouched"
    if work.status == "reviewed":
        return "reviewed"
    if not work.strokes:
        return "untouched"
    return "stroked" if work.status == "untouched" else work.status


def _works(library: JournalLibrary | None) -> dict[str, Status]:
    """Status by fingerprint; of several journals of an image the newest counts."""
    summaries = [] if library is None else library.summaries()
    return {item.fingerprint: status_of(item) for item in reversed(summaries)}


def _stamp(path: Path) -> tuple[int, int]:
    told = path.stat()
    return told.st_mtime_ns, told.st_size


class _Stored(Struct):
    """The file of the index."""

    format: str
    version: int
    files: dict[str, tuple[int, int, str]]


def _read(file: Path) -> dict[str, tuple[int, int, str]]:
    stored = read_json(file, _Stored)
    if (stored.format, stored.version) != (FORMAT, VERSION):
        raise MalformedError(f"it is {stored.format} {stored.version}")
    return stored.files
