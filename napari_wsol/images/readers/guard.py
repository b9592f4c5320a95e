"""Closes what several threads read from only once none of them does."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from napari_wsol.errors import UnreadableImageError, told_as

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager


def in_words(name: str) -> AbstractContextManager[None]:
    """What a library raises on a file that no reader foresaw leaves as a sentence.

    Raises:
        UnreadableImageError: whatever went wrong, but for what is told in words.
    """

    def told(error: Exception) -> UnreadableImageError:
        why = f"{type(error).__name__}: {error}" if str(error) else repr(error)
        return UnreadableImageError(
            f"“{name}” is damaged, or of a kind that is not supported ({why}): copy or "
            "download it again, or export it anew."
        )

    return told_as(told)


class ClosingGuard:
    """Counts readers of a handle; libraries crash where one closes under another."""

    def __init__(self, name: str, close: Callable[[], None]) -> None:
        """``name`` of the file is for messages; ``close`` is called once."""
        self._name = name
        self._close = close
        self._lock = threading.Lock()
        self._readers = 0
        self._is_closed = False

    @contextmanager
    def reading(self) -> Generator[None]:
        """Keeps the handle open meanwhile.

        Raises:
            UnreadableImageError: it has been closed.
        """
        with self._lock:
            if self._is_closed:
                raise UnreadableImageError(
                    f"“{self._name}” has been closed: open it again."
                )
            self._readers += 1
        try:
            yield
        finally:
            with self._lock:
                self._readers -= 1
                is_last = self._is_closed and not self._readers
            if is_last:
                self._close()

    def close(self) -> None:
        """Closes now, or when the last reader is done; harmless when called again."""
        with self._lock:
            is_last = not self._is_closed and not self._readers
            self._is_closed = True
        if is_last:
            self._close()
