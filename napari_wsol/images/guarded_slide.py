"""What slides have in common that a library reads through a handle of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from napari_wsol.images.cache import TileCache
    from napari_wsol.images.geometry import Level
    from napari_wsol.images.readers.guard import ClosingGuard
    from napari_wsol.images.readers.tiled import TiledLevel


class GuardedSlide:
    """Reads levels tile by tile, and never while the handle is being closed.

    Subclasses set the attributes when they open the slide.
    """

    levels: tuple[Level, ...]
    _levels: Sequence[TiledLevel]
    _cache: TileCache
    _guard: ClosingGuard

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of level 0."""
        return (self.levels[0].height, self.levels[0].width)

    def read(
        self, level: int, y: int, x: int, height: int, width: int
    ) -> npt.NDArray[np.uint8]:
        """(height, width, 3) uint8 of a level; white outside. Thread-safe.

        Raises:
            UnreadableImageError: the file is damaged there, or the slide is closed.
        """
        with self._guard.reading():
            return self._levels[level].read(y, x, height, width)

    def close(self) -> None:
        """Closes the files once no thread reads from them, and forgets their tiles."""
        self._guard.close()
        self._cache.clear()
