"""Of several programs one at a time writes in a folder: to a journal, to a draft.

The lock belongs to an open file: the system gives it back when the process ends,
however it ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from pathlib import Path

NAME = "in-use.lock"


class Lock:
    """The lock of a folder, ours until it is released.

    Args:
        lock: of the disk; None where the disk knows no locks, or cannot be written to.
    """

    def __init__(self, lock: FileLock | None) -> None:
        self._lock = lock

    @property
    def is_real(self) -> bool:
        """Whether others are kept out."""
        return self._lock is not None

    def release(self) -> None:
        """Gives it back; harmless when called again."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release(force=True)


def try_lock(folder: Path) -> Lock | None:
    """The lock of a folder that exists; None where somebody else has it."""
    # Taken on one thread and given back on another.
    lock = FileLock(folder / NAME, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    except (OSError, NotImplementedError):
        return Lock(None)
    return Lock(lock)
