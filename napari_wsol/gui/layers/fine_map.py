"""A slide's map at full resolution, for napari to read where it is looked at.

While a slide is localized its maps are held in bounded arrays, coarser than the
features where the slide is large. What a person zooms into is read from the finished
tiles, in a thread: napari gets the coarse values until they are there.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_wsol.images.heatmap import covering, interpolated

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_wsol.gui.layers.overlay import Place as OnImage
    from napari_wsol.gui.tasks import Tasks
    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.slides.localize import Detail, SlideWork

HELD_BYTES = 64_000_000
"""Of values at full resolution, a map."""

Floats = npt.NDArray[np.float32]
Place = tuple[int, int]
"""Row and column of a tile."""

Tiles = OrderedDict[Place, Floats]


SHOWN_CELLS = 400_000
"""Cells that napari draws at once without missing a frame; about those of a screen."""


def detail_of(work: SlideWork | None, heatmap: Heatmap) -> Detail | None:
    """The finished tiles, where they hold more than the heatmap shows."""
    return None if work is None else work.detail(heatmap)


def needs_levels(work: SlideWork | None, heatmap: Heatmap) -> bool:
    """Whether a map is too large to be drawn as a whole, or kept finer than it is."""
    is_large = heatmap.values.size > SHOWN_CELLS
    return is_large or detail_of(work, heatmap) is not None


class FineMap:
    """One map at several resolutions, changed in place.

    ``levels`` are, largest first: the finished tiles, read lazily, where they are finer
    than the map; the map; and a smaller one where that is too large to be drawn. All
    of them begin and end exactly where the image does.

    Args:
        tasks: which read the tiles.
        work: with the finished tiles; None for a small image.
        heatmap: its map, for which :func:`needs_levels` holds.
    """

    def __init__(self, tasks: Tasks, work: SlideWork | None, heatmap: Heatmap) -> None:
        self._tasks = tasks
        detail = detail_of(work, heatmap)
        self.step, self._cells = (
            (1, 1) if detail is None else (detail.step, detail.cells)
        )
        self.arrived: Callable[[], object] = lambda: None
        """Called when more fine values are there."""
        self._inside = heatmap.values.shape
        self._grid = heatmap
        self._times = math.ceil(math.sqrt(heatmap.values.size / SHOWN_CELLS))
        small = [-(-side // self._times) for side in heatmap.cells_inside()]
        # Levels of exactly one ratio lie exactly over each other.
        self._map = np.zeros([side * self._times for side in small], np.float32)
        self._small = np.zeros(small, np.float32)
        height, width = (side * self.step for side in self._map.shape)
        self.shape = (height, width)
        self._detail: Detail | None = None
        self._tiles: Tiles = OrderedDict()
        self._asked: set[Place] = set()
        self.levels: list[object] = [_Fine(self)] if self.step > 1 else []
        self.levels.append(self._map)
        if self._times > 1:
            self.levels.append(self._small)
        self.show(work, heatmap)

    @property
    def place(self) -> OnImage:
        """Where the cells of the largest level lie."""
        return covering(self._grid.image_shape, self.shape)

    def fits(self, work: SlideWork | None, heatmap: Heatmap) -> bool:
        """Whether this can show a map: napari fixes the number of levels."""
        return heatmap.values.shape == self._inside and (
            self.step > 1 or detail_of(work, heatmap) is None
        )

    def show(self, work: SlideWork | None, heatmap: Heatmap) -> None:
        """Newer values; without detail (a refined map) the map is the finest."""
        height, width = self._map.shape
        self._grid, self._map[...] = heatmap, heatmap.resized((height, width))
        if self._times > 1:
            height, width = self._small.shape
            blocks = self._map.reshape(height, self._times, width, self._times)
            np.mean(blocks, axis=(1, 3), out=self._small)
        detail = None if self.step == 1 else detail_of(work, heatmap)
        before = None if self._detail is None else self._detail.source
        if detail is None or detail.source != before:
            self._tiles, self._asked = OrderedDict(), set()
        self._detail = detail

    def close(self) -> None:
        """No more reading."""
        self._detail, self._tiles, self._asked = None, OrderedDict(), set()

    def read(self, top: int, bottom: int, left: int, right: int) -> Floats:
        """(bottom - top, right - left) float32 in [0, 1], never NaN, at once.

        Where fine values are not in memory, those of the map; they are asked for.
        """
        step, detail = self.step, self._detail
        rows, columns = np.arange(top, bottom) // step, np.arange(left, right) // step
        result = self._map[np.ix_(rows, columns)]
        if detail is None or not result.size:
            return result
        # The tiles lie on the grid of the features, which ends beyond the image.
        at = [self._on_tiles(0, top, bottom), self._on_tiles(1, left, right)]
        first = [int(places[0]) for places in at]
        last = [math.ceil(places[-1]) + 1 for places in at]
        raw = self._tiles_within(detail, first[0], last[0], first[1], last[1])
        for axis in (0, 1):
            raw = interpolated(raw, at[axis] - first[axis], axis)
        fine = detail.scaled(raw)
        np.copyto(result, fine, where=np.isfinite(fine))
        return result

    def _on_tiles(self, axis: int, low: int, high: int) -> npt.NDArray[np.float64]:
        """Where cells of the largest level lie among those of the tiles."""
        scale, translate = (place[axis] for place in self.place)
        coarse = self._grid.scale[axis]
        fine = coarse / self.step
        start = self._grid.translate[axis] - (coarse - fine) / 2
        at = (np.arange(low, high) * scale + translate - start) / fine
        whole = np.round(at)
        at = np.where(np.abs(at - whole) < 1e-6, whole, at)
        return np.clip(at, 0, self._inside[axis] * self.step - 1)

    def _tiles_within(
        self, detail: Detail, top: int, bottom: int, left: int, right: int
    ) -> Floats:
        """Raw values of the tiles, NaN where they are not in memory: asked for."""
        cells = self._cells
        raw = np.full((bottom - top, right - left), np.nan, np.float32)
        missing: list[Place] = []
        for row in range(top // cells, -(-bottom // cells)):
            for column in range(left // cells, -(-right // cells)):
                tile = self._tiles.get((row, column))
                if tile is not None:
                    _paste(raw, tile, row * cells - top, column * cells - left)
                elif (row, column) not in self._asked and detail.has(row, column):
                    missing.append((row, column))
        if missing:
            self._ask(detail, missing)
        return raw

    def _ask(self, detail: Detail, places: list[Place]) -> None:
        tiles, asked = self._tiles, self._asked
        asked.update(places)

        def fetch() -> Tiles:
            """Runs in the thread; nothing is read for what was forgotten meanwhile."""
            for place in places:
                if tiles is not self._tiles:
                    break
                tiles[place] = detail.tile(*place)
                asked.discard(place)
            most = max(16, HELD_BYTES // (4 * self._cells * self._cells))
            while len(tiles) > most:
                tiles.popitem(last=False)
            return tiles

        about = (id(self), *places)
        self._tasks.ask(fetch, self._on_fetched, kind="detail", about=about)

    def _on_fetched(self, tiles: Tiles) -> None:
        if tiles is self._tiles:
            self.arrived()


class _Fine:
    """The fine level as napari wants it."""

    ndim = 2
    dtype = np.dtype(np.float32)

    def __init__(self, source: FineMap) -> None:
        self._source = source
        self.shape = source.shape

    @property
    def size(self) -> int:
        return self.shape[0] * self.shape[1]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Floats:  # noqa: ANN401 - as of an array
        keys = key if isinstance(key, tuple) else (key,)
        keys = [*keys, *[slice(None)] * (2 - len(keys))]
        spans, picks = [], []
        for item, side in zip(keys, self.shape, strict=True):
            if isinstance(item, slice):
                start, stop, step = item.indices(side)
                spans.append((start, max(start, stop)))
                picks.append(slice(None, None, step))
            else:
                spans.append((int(item), int(item) + 1))
                picks.append(0)
        return self._source.read(*spans[0], *spans[1])[tuple(picks)]


def _paste(target: Floats, block: Floats, y: int, x: int) -> None:
    """Puts ``block`` at (y, x) of ``target``, as far as they overlap."""
    top, left = max(0, -y), max(0, -x)
    bottom = min(block.shape[0], target.shape[0] - y)
    right = min(block.shape[1], target.shape[1] - x)
    if bottom > top and right > left:
        part = block[top:bottom, left:right]
        target[y + top : y + bottom, x + left : x + right] = part
