"""The most recently used tiles of a slide, within a budget of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from napari_wsol.images.geometry import Rgb


DEFAULT_BUDGET_BYTES = 256 << 20


class TileCache:
    """Keeps decoded tiles; forgets the least recently used ones. Thread-safe.

    The newest tile stays even if it is larger than the budget alone: the one strip of
    an untiled file would otherwise be decoded again for every read.
    """

    def __init__(self, budget_bytes: int = DEFAULT_BUDGET_BYTES) -> None:
        self._budget_bytes = budget_bytes
        self._tiles: OrderedDict[Hashable, Rgb] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def held_bytes(self) -> int:
        """Bytes of the tiles that are kept now."""
        return self._bytes

    def __contains__(self, key: Hashable) -> bool:
        """Whether the tile of that key is kept now."""
        return key in self._tiles

    def get(self, key: Hashable, load: Callable[[], Rgb]) -> Rgb:
        """The tile of that key, loaded if it is not kept.

        Two threads that miss the same tile both load it: waiting for one another
        would cost more than it saves.
        """
        with self._lock:
            tile = self._tiles.get(key)
            if tile is not None:
                self._tiles.move_to_end(key)
                return tile
        tile = load()
        tile.flags.writeable = False
        with self._lock:
            if key not in self._tiles:
                self._tiles[key] = tile
                self._bytes += tile.nbytes
            while self._bytes > self._budget_bytes and len(self._tiles) > 1:
                _, oldest = self._tiles.popitem(last=False)
                self._bytes -= oldest.nbytes
        return tile

    def clear(self) -> None:
        """Forgets all tiles."""
        with self._lock:
            self._tiles.clear()
            self._bytes = 0


class PatientCache(TileCache):
    """As its parent, for what is dear: who misses what is being loaded waits for it."""

    def __init__(self, budget_bytes: int = DEFAULT_BUDGET_BYTES) -> None:
        super().__init__(budget_bytes)
        self._loading: dict[Hashable, threading.Lock] = {}

    def get(self, key: Hashable, load: Callable[[], Rgb]) -> Rgb:
        """The pixels of that key, loaded by one thread if they are not kept."""
        with self._lock:
            turn = self._loading.setdefault(key, threading.Lock())
        try:
            with turn:
                return super().get(key, load)
        finally:
            with self._lock:
                self._loading.pop(key, None)
