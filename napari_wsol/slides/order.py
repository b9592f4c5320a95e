"""Which tile is next: those in view first, then the nearest to it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterable

Bools = npt.NDArray[np.bool_]
View = tuple[float, float, float, float]
"""Top, left, bottom and right, in units of tiles."""


class TileQueue:
    """Tiles that wait, in the order in which a person wants to see them.

    Without a view they come row by row, which reads files in the order in which they
    are stored. Any thread may call it.

    Args:
        wanted: (rows, columns) bool.
        done: numbers of tiles that are finished already.
        last: (rows, columns) bool: those that wait for all others, in view or not.
    """

    def __init__(
        self, wanted: Bools, done: Iterable[int] = (), last: Bools | None = None
    ) -> None:
        self._waiting = wanted.copy()
        self._last = np.zeros(wanted.size, np.bool_) if last is None else last.ravel()
        numbers = np.fromiter(done, np.intp)
        self._waiting.reshape(-1)[numbers[numbers < wanted.size]] = False
        self._lock = threading.Lock()
        left = np.flatnonzero(self._waiting)
        self._order: npt.NDArray[np.intp] = left[np.lexsort((left, self._last[left]))]
        self._next = 0

    def __len__(self) -> int:
        with self._lock:
            return len(self._order) - self._next

    def look_at(self, view: View | None) -> None:
        """Sorts what waits anew.

        Args:
            view: what the person sees; None for row by row.
        """
        with self._lock:
            left = np.sort(self._order[self._next :])
            last = self._last[left]
            if view is None:
                left = left[np.lexsort((left, last))]
            else:
                rows, columns = np.divmod(left, self._waiting.shape[1])
                top, start, bottom, end = view
                outside = np.hypot(
                    np.maximum(0, np.maximum(top - rows - 1, rows - bottom)),
                    np.maximum(0, np.maximum(start - columns - 1, columns - end)),
                )
                centre = np.hypot(
                    rows + 0.5 - (top + bottom) / 2, columns + 0.5 - (start + end) / 2
                )
                left = left[np.lexsort((left, centre, outside, last))]
            self._order, self._next = left, 0

    def pop(self) -> int | None:
        """The next tile's number; None when there is none left."""
        with self._lock:
            if self._next >= len(self._order):
                return None
            index = int(self._order[self._next])
            self._next += 1
            return index

    def put_back(self, indices: Iterable[int]) -> None:
        """Tiles that were taken but not finished come first again."""
        with self._lock:
            again = np.fromiter(indices, np.intp)
            self._order = np.concatenate([again, self._order[self._next :]])
            self._next = 0
