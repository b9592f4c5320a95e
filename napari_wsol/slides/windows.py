"""Windows of a slide, read ahead on threads while the network computes."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_wsol.errors import UnreadableImageError
from napari_wsol.inference.encode import read_window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from napari_wsol.images.geometry import Rgb
    from napari_wsol.images.slide import Slide
    from napari_wsol.images.tiling import Tile
    from napari_wsol.slides.order import TileQueue
    from napari_wsol.slides.plan import SlidePlan


@dataclass(frozen=True, slots=True)
class Window:
    """A tile with what the network sees of it.

    Attributes:
        tile: which.
        pixels: (H, W, 3) uint8; None where none are needed, or none can be had.
        is_damaged: whether the file is damaged there.
    """

    tile: Tile
    pixels: Rgb | None = None
    is_damaged: bool = False


def read_ahead(
    slide: Slide,
    plan: SlidePlan,
    queue: TileQueue,
    *,
    readers: int = 2,
    ahead: int = 3,
    is_kept: Callable[[int], bool] = lambda _index: False,
) -> Iterator[Window]:
    """Windows in the order of a queue; at most ``ahead`` of them wait in memory.

    Closed early, tiles that were read for nothing go back into the queue.

    Args:
        slide: read by several threads at once.
        plan: its tiles.
        queue: which is next.
        readers: threads.
        ahead: windows that wait.
        is_kept: whether a tile's features are there already, so that its pixels are
            not needed.
    """
    waiting: deque[tuple[Tile, Future[Rgb] | None]] = deque()
    with ThreadPoolExecutor(readers, "windows") as pool:

        def fill() -> None:
            while len(waiting) < ahead and (index := queue.pop()) is not None:
                tile, future = plan.grid[index], None
                if not is_kept(index):
                    future = pool.submit(read_window, slide, plan.seen, tile)
                waiting.append((tile, future))

        try:
            fill()
            while waiting:
                tile, future = waiting.popleft()
                try:
                    pixels = future.result() if future is not None else None
                    window = Window(tile, pixels)
                except UnreadableImageError:
                    window = Window(tile, is_damaged=True)
                fill()
                yield window
        finally:
            for _, future in waiting:
                if future is not None:
                    future.cancel()
            queue.put_back(tile.index for tile, _ in waiting)
