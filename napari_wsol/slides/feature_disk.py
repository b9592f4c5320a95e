"""The folder of kept features: a subfolder a slide and network, under a budget.

The slide that was not used for the longest goes first. One that is open stays, in
whichever process: a file that is touched now and then says so, and one that was not
touched for long belongs to a process that is gone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_wsol.errors import MalformedError
from napari_wsol.files.parsing import read_json
from napari_wsol.paths import features_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

ABOUT = "about.json"
"""File that says what a subfolder belongs to."""
RESERVE_BYTES = 1_000_000_000
"""Left free on the disk whatever the budget: a full disk harms more than a cache is
worth."""
GONE_SECONDS = 600.0
"""After this time without a touch, whoever had a slide open is gone."""

_USED, _OPEN = "used", "open."
_BEAT_SECONDS = 60.0
_MEASURES_A_BUDGET = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptSlide:
    """What is kept of one slide for one network.

    Attributes:
        key: name of its subfolder.
        name: of the slide.
        nbytes: on the disk.
        used: when it was last used, seconds since 1970.
        is_open: whether somebody works with it.
    """

    key: str
    name: str
    nbytes: int
    used: float
    is_open: bool


class FeatureDisk:
    """Subfolders by key; the longest unused go first when the budget is spent.

    Any thread may call it, and several processes may share the folder.

    Args:
        folder: made when it is needed; that of the user by default.
        budget_bytes: for all slides together.
    """

    def __init__(
        self, folder: Path | None = None, budget_bytes: int = 20_000_000_000
    ) -> None:
        self.folder = folder or features_folder()
        self.budget_bytes = budget_bytes
        self._lock = threading.Lock()
        self._used_bytes: int | None = None
        self._since = 0

    def slides(self) -> list[KeptSlide]:
        """What is kept, the longest unused first."""
        if not self.folder.is_dir():
            return []
        folders = [item for item in self.folder.iterdir() if item.name[0] != "."]
        return sorted(map(_about, folders), key=lambda item: item.used)

    def hold(self, key: str) -> Hold:
        """Says that a slide is in use, until the hold is released."""
        return Hold(self.folder / key)

    def make_room(self, nbytes: int, key: str) -> bool:
        """Removes other slides until there is room for more of one.

        Args:
            nbytes: to be written.
            key: of the slide they belong to, which is never removed.

        Returns:
            Whether there is room.
        """
        with self._lock:
            # Others write too, so the folder is measured again now and then.
            if self._since > self.budget_bytes // _MEASURES_A_BUDGET:
                self._used_bytes = None
            if self._used_bytes is None:
                self._measure()
            if self._fits(nbytes):
                return True
            for item in self._measure():
                if item.key != key and not item.is_open:
                    self._remove(item)
                if self._fits(nbytes):
                    return True
            return self._fits(nbytes)

    def added(self, nbytes: int) -> None:
        """Counts bytes that were written."""
        with self._lock:
            if self._used_bytes is not None:
                self._used_bytes += nbytes
            self._since += nbytes

    def clear(self) -> int:
        """Removes everything that is not in use; the bytes that became free."""
        with self._lock:
            gone = [item for item in self._measure() if not item.is_open]
            for item in gone:
                self._remove(item)
            return sum(item.nbytes for item in gone)

    def _measure(self) -> list[KeptSlide]:
        self._sweep()
        kept = self.slides()
        self._used_bytes, self._since = sum(item.nbytes for item in kept), 0
        return kept

    def _fits(self, nbytes: int) -> bool:
        used = self._used_bytes or 0
        if used + nbytes > self.budget_bytes:
            return False
        at = self.folder
        while not at.exists():
            at = at.parent
        return shutil.disk_usage(at).free >= nbytes + RESERVE_BYTES

    def _remove(self, item: KeptSlide) -> None:
        """Moved aside first, so that nobody opens half of it."""
        aside = self.folder / f".{uuid.uuid4().hex}"
        try:
            (self.folder / item.key).rename(aside)
        except OSError:  # gone meanwhile, or held open (Windows)
            return
        shutil.rmtree(aside, ignore_errors=True)
        self._used_bytes = max(0, (self._used_bytes or 0) - item.nbytes)

    def _sweep(self) -> None:
        """Removes what a process that was killed has left half-made."""
        with contextlib.suppress(OSError):
            for folder in self.folder.glob(".*"):
                if time.time() - folder.stat().st_mtime > GONE_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)


class Hold:
    """Says that a subfolder is in use, again and again on a thread of its own.

    Args:
        folder: it must be there.
    """

    def __init__(self, folder: Path) -> None:
        self._mark = folder / f"{_OPEN}{uuid.uuid4().hex}"
        self._used = folder / _USED
        self._over = threading.Event()
        for path in (self._mark, self._used):
            path.touch()
        threading.Thread(target=self._repeat, name="hold", daemon=True).start()

    def release(self) -> None:
        """Ends it."""
        self._over.set()
        with contextlib.suppress(OSError):
            self._mark.unlink(missing_ok=True)
            os.utime(self._used)

    def _repeat(self) -> None:
        while not self._over.wait(_BEAT_SECONDS):
            for path in (self._mark, self._used):
                # Not touch(): what was released meanwhile must not come back.
                with contextlib.suppress(OSError):
                    os.utime(path)


def _about(folder: Path) -> KeptSlide:
    name, used, is_open = "?", 0.0, False
    with contextlib.suppress(OSError, MalformedError):
        name = str(read_json(folder / ABOUT, dict[str, object]).get("name", "?"))
    with contextlib.suppress(OSError):
        used = (folder / _USED).stat().st_mtime
    with contextlib.suppress(OSError):
        is_open = any(
            time.time() - mark.stat().st_mtime < GONE_SECONDS
            for mark in folder.glob(f"{_OPEN}*")
        )
    return KeptSlide(
        key=folder.name,
        name=name,
        nbytes=sum(_sizes(folder)),
        used=used,
        is_open=is_open,
    )


def _sizes(folder: Path) -> Iterator[int]:
    """Bytes of every file below a folder."""
    with contextlib.suppress(OSError), os.scandir(folder) as items:
        for item in items:
            if item.is_dir(follow_symlinks=False):
                yield from _sizes(Path(item.path))
            else:
                with contextlib.suppress(OSError):
                    yield item.stat(follow_symlinks=False).st_size
