"""Rectangles of a resolution that is stored in tiles, from a cache of decoded tiles."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.images.geometry import paste

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari_wsol.images.cache import TileCache
    from napari_wsol.images.geometry import Rgb


_MOST_THREADS = 16
_FEW_TILES = 16
"""Fewer missing tiles than this are decoded by the thread that asks for them."""


class TiledLevel:
    """One resolution of an image as RGB rectangles.

    Tiles that are not kept are decoded side by side: codecs let other threads run.

    Attributes:
        shape: (height, width).
        tile_shape: (height, width) of a tile.
        grid: rows and columns of tiles.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        tile_shape: tuple[int, int],
        load: Callable[[int, int], Rgb],
        cache: TileCache,
    ) -> None:
        """Reads nothing yet.

        Args:
            shape: (height, width) of the level.
            tile_shape: (height, width) of a tile.
            load: ``load(row, column)`` gives a tile, (h, w, 3) uint8; what it has
                beyond the level is cut off. Called from several threads.
            cache: keeps the tiles.
        """
        self.shape = shape
        self.tile_shape = tile_shape
        self.grid = (-(-shape[0] // tile_shape[0]), -(-shape[1] // tile_shape[1]))
        self._load = load
        self._cache = cache

    def read(self, y: int, x: int, height: int, width: int) -> Rgb:
        """(height, width, 3) uint8, white outside the image. Thread-safe.

        Raises:
            UnreadableImageError: a tile is damaged.
            ImageError: a pixel is not a number.
        """
        height, width = max(height, 0), max(width, 0)
        result = np.empty((height, width, 3), np.uint8)
        inside = y >= 0 and x >= 0
        if not (inside and y + height <= self.shape[0] and x + width <= self.shape[1]):
            result[:] = 255
        tile_height, tile_width = self.tile_shape
        rows = _covering(y, height, tile_height, self.grid[0])
        columns = _covering(x, width, tile_width, self.grid[1])
        wanted = [(row, column) for row in rows for column in columns]
        for (row, column), tile in zip(wanted, self._tiles(wanted), strict=True):
            at = (row * tile_height, column * tile_width)
            shown = tile[: self.shape[0] - at[0], : self.shape[1] - at[1]]
            paste(result, (y, x), shown, at)
        return result

    def _tiles(self, wanted: list[tuple[int, int]]) -> Iterable[Rgb]:
        if len(wanted) >= _FEW_TILES:
            missing = sum((self, *at) not in self._cache for at in wanted)
            if missing >= _FEW_TILES:
                return _decoders().map(self._tile, wanted)
        return map(self._tile, wanted)

    def _tile(self, at: tuple[int, int]) -> Rgb:
        return self._cache.get((self, *at), partial(self._load, *at))


def _covering(start: int, size: int, tile: int, count: int) -> range:
    """Tiles that a span of pixels touches, along one axis."""
    if size <= 0:
        return range(0)
    return range(max(0, start // tile), min(count, -(-(start + size) // tile)))


@cache
def _decoders() -> ThreadPoolExecutor:
    """The threads that decode for all slides: readers do not crowd the cores."""
    threads = min(os.cpu_count() or 1, _MOST_THREADS)
    return ThreadPoolExecutor(threads, thread_name_prefix="napari-wsol-tiles")


if hasattr(os, "register_at_fork"):
    # A child has none of the threads, and would wait for them for ever.
    os.register_at_fork(after_in_child=_decoders.cache_clear)
