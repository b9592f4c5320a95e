"""A file that several threads read at once, each at its own position."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from napari_wsol.errors import UnreadableImageError
from napari_wsol.images.readers.guard import ClosingGuard

if TYPE_CHECKING:
    from pathlib import Path


class PositionedFile:
    """Reads bytes at a position without moving a shared cursor.

    Uses ``os.pread``; where the system has none (Windows), a lock and a seek.
    """

    def __init__(self, path: Path, *, seek: bool = not hasattr(os, "pread")) -> None:
        """Opens ``path``; ``seek`` chooses lock and seek instead of ``os.pread``."""
        self.path = path
        self._seek = seek
        self._lock = threading.Lock()
        self._file = path.open("rb", buffering=0)
        # A descriptor number may be given to another file as soon as it is closed: a
        # reader must not hold one that closes under it.
        self.guard = ClosingGuard(path.name, self._file.close)

    def read(self, offset: int, size: int) -> bytes:
        """Exactly ``size`` bytes from ``offset``.

        Raises:
            UnreadableImageError: the file is shorter, cannot be read, or is closed.
        """
        with self.guard.reading():
            try:
                data = self._read_at(offset, size)
            except OSError as error:
                raise UnreadableImageError(
                    f"“{self.path.name}” could not be read ({error.strerror}): check "
                    "that the disk or network folder is still there."
                ) from error
        if len(data) != size:
            raise UnreadableImageError(
                f"“{self.path.name}” ends too early: the file is incomplete. "
                "Copy or download it again."
            )
        return data

    def close(self) -> None:
        """Closes the file once no thread reads from it."""
        self.guard.close()

    def _read_at(self, offset: int, size: int) -> bytes:
        parts: list[bytes] = []
        while size > 0:
            part = self._read_once(offset, size)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _read_once(self, offset: int, size: int) -> bytes:
        if not self._seek:
            return os.pread(self._file.fileno(), size, offset)
        with self._lock:
            self._file.seek(offset)
            return self._file.read(size) or b""
