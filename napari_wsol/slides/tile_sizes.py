"""A small file that says which tiles are kept, and how large their maps are."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

_TYPE = np.dtype("<u2")


class TileSizes:
    """Rows and columns of the maps of each tile; 0 × 0 where there are none.

    Of a million tiles with four maps it takes 16 MB, in memory and on the disk (less
    where the file system leaves holes), and any tile is found at once.

    Args:
        path: made if it is not there; None for memory alone.
        count: how many tiles there are.
        maps: how many maps a tile has.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: Path | None, count: int, maps: int) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._sizes = np.zeros((count, maps, 2), _TYPE)
        if path is not None:
            wanted = self._sizes.nbytes
            with path.open("a+b") as file:
                if file.seek(0, os.SEEK_END) != wanted:
                    file.truncate(0)
                    file.truncate(wanted)
                file.seek(0)
                kept = np.frombuffer(file.read(wanted), _TYPE)
            self._sizes[...] = kept.reshape(self._sizes.shape)
        self._kept: npt.NDArray[np.bool_] = np.all(self._sizes, axis=(1, 2))
        self._count = int(np.count_nonzero(self._kept))

    def __len__(self) -> int:
        return self._count

    def __contains__(self, index: int) -> bool:
        return bool(self._kept[index])

    def of(self, index: int) -> list[tuple[int, int]] | None:
        """(rows, columns) of each map of a tile; None if it is not kept."""
        if index not in self:
            return None
        return [(int(rows), int(columns)) for rows, columns in self._sizes[index]]

    def mark(self, index: int, sizes: Sequence[tuple[int, int]]) -> None:
        """Says that a tile is kept."""
        self._set(index, np.array(sizes, _TYPE))

    def unmark(self, index: int) -> None:
        """Says that a tile is not kept any more."""
        self._set(index, np.zeros(self._sizes.shape[1:], _TYPE))

    def _set(self, index: int, sizes: np.ndarray) -> None:
        with self._lock:
            if self._path is not None:
                with self._path.open("r+b") as file:
                    file.seek(index * sizes.nbytes)
                    file.write(sizes.tobytes())
            self._count -= index in self
            self._sizes[index] = sizes
            self._kept[index] = sizes.all()
            self._count += index in self
