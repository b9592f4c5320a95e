"""A slide's map at full resolution, for napari to read where it is looked at.

While a slide is localized its maps are held in bounded arrays, coarser than the
features where the slide is large. What a person zooms into is read from the finished
tiles, in a thread: napari gets the coarse values until they are there.
"""

# pyright: basic, reportPrivateImportUsage=false
from __future__ import annotations

import logging
import math
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, Signal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.slides.live import LogArray
    from napari_wsol.slides.localize import SlideWork

logger = logging.getLogger(__name__)

HELD_BYTES = 64_000_000
"""Of values at full resolution, a map."""

Floats = npt.NDArray[np.float32]
Place = tuple[int, int]
"""Row and column of a tile."""


SHOWN_CELLS = 400_000
"""Cells that napari draws at once without missing a frame; about those of a screen."""


def needs_levels(work: SlideWork | None, heatmap: Heatmap) -> bool:
    """Whether a map is too large to be drawn as a whole, or kept finer than it is."""
    return heatmap.values.size > SHOWN_CELLS or needs_detail(work, heatmap)


def needs_detail(work: SlideWork | None, heatmap: Heatmap) -> bool:
    """Whether the finished tiles hold more than the heatmap shows."""
    if work is None or heatmap.round > 0 or work.shown != heatmap.target:
        return False
    live = work.live.get(heatmap.method)
    return (
        live is not None and live.step > 1 and live.values.shape == heatmap.values.shape
    )


class FineMap(QObject):
    """One map at several resolutions, changed in place.

    ``levels`` are, largest first: the finished tiles, read lazily, where they are finer
    than the map; the map; and a smaller one where that is too large to be drawn.

    Args:
        work: with the finished tiles; None for a small image.
        heatmap: its map, for which :func:`needs_levels` holds.
    """

    arrived = Signal()
    """More fine values are there."""

    def __init__(self, work: SlideWork | None, heatmap: Heatmap) -> None:
        super().__init__()
        self.step, self._cells = 1, 1
        if work is not None and needs_detail(work, heatmap):
            live = work.live[heatmap.method]
            self.step = live.step
            self._cells = work.plan.grid.core // live.plane.stride
        self._inside = heatmap.values.shape
        self._times = math.ceil(math.sqrt(heatmap.values.size / SHOWN_CELLS))
        small = [-(-side // self._times) for side in self._inside]
        # Levels of exactly one ratio lie exactly over each other.
        self._map = np.zeros([side * self._times for side in small], np.float32)
        self._small = np.zeros(small, np.float32)
        self.shape = tuple(side * self.step for side in self._map.shape)
        self._low, self._range = 0.0, 1.0
        self._work: SlideWork | None = None
        self._target: str | None = None
        self._tiles: OrderedDict[Place, Floats] = OrderedDict()
        self._asked: set[Place] = set()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="napari-wsol detail")
        self._generation = 0
        self.levels: list[object] = [_Fine(self)] if self.step > 1 else []
        self.levels.append(self._map)
        if self._times > 1:
            self.levels.append(self._small)
        self.show(work, heatmap)

    def fits(self, work: SlideWork | None, heatmap: Heatmap) -> bool:
        """Whether this can show a map: napari fixes the number of levels."""
        return heatmap.values.shape == self._inside and (
            self.step > 1 or not needs_detail(work, heatmap)
        )

    def show(self, work: SlideWork | None, heatmap: Heatmap) -> None:
        """Newer values; without detail (a refined map) the map is the finest."""
        rows, columns = self._inside
        self._map[:rows, :columns] = heatmap.values
        if self._times > 1:
            height, width = self._small.shape
            blocks = self._map.reshape(height, self._times, width, self._times)
            np.mean(blocks, axis=(1, 3), out=self._small)
        if work is None or self.step == 1 or not needs_detail(work, heatmap):
            self._forget(None)
            return
        from napari_wsol.methods import get_method  # torch is there by now

        low, high = heatmap.raw_range
        if heatmap.is_probability:
            self._low, self._range = 0.0, 1.0
        else:
            self._low = 0.0 if get_method(heatmap.method).from_zero else low
            self._range = max(high - self._low, 1e-12)
        if work is not self._work or heatmap.target != self._target:
            self._forget(work)
            self._target = heatmap.target
            self._full = work.full(heatmap.method)

    def close(self) -> None:
        """No more reading."""
        self._forget(None)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def read(self, top: int, bottom: int, left: int, right: int) -> Floats:
        """(bottom - top, right - left) float32 in [0, 1], never NaN, at once.

        Where fine values are not in memory, those of the map; they are asked for.
        """
        step, cells = self.step, self._cells
        rows, columns = np.arange(top, bottom) // step, np.arange(left, right) // step
        result = self._map[np.ix_(rows, columns)]
        raw = np.full(result.shape, np.nan, np.float32)
        missing = []
        for row in range(top // cells, -(-bottom // cells)):
            for column in range(left // cells, -(-right // cells)):
                tile = self._tiles.get((row, column))
                if tile is None:
                    missing.append((row, column))
                else:
                    _paste(raw, tile, row * cells - top, column * cells - left)
        self._ask(missing)
        fine = np.clip((raw - self._low) / self._range, 0.0, 1.0)
        np.copyto(result, fine, where=np.isfinite(fine))
        return result

    def _ask(self, places: list[Place]) -> None:
        work = self._work
        if work is None:
            return
        grid = work.plan.grid
        wanted = [
            (row, column)
            for row, column in places
            if row < grid.rows
            and column < grid.columns
            and row * grid.columns + column in work.log
            and (row, column) not in self._asked
        ]
        if wanted:
            self._asked.update(wanted)
            future = self._pool.submit(
                self._fetch, wanted, self._full, self._tiles, self._generation
            )
            future.add_done_callback(_log_failure)

    def _fetch(
        self,
        places: Iterable[Place],
        full: LogArray,
        tiles: OrderedDict[Place, Floats],
        generation: int,
    ) -> None:
        """Runs in the thread."""
        cells = self._cells
        for row, column in places:
            if generation != self._generation:
                return
            block = full[
                row * cells : min((row + 1) * cells, full.shape[0]),
                column * cells : min((column + 1) * cells, full.shape[1]),
            ]
            tiles[row, column] = block
            self._asked.discard((row, column))
        most = max(16, HELD_BYTES // (4 * cells * cells))
        while len(tiles) > most:
            tiles.popitem(last=False)
        if generation == self._generation:
            self.arrived.emit()

    def _forget(self, work: SlideWork | None) -> None:
        self._generation += 1
        self._work = work
        self._target = self._full = None
        self._tiles = OrderedDict()
        self._asked = set()


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

    def __getitem__(self, key: object) -> npt.NDArray[np.float32]:
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


def _log_failure(done: object) -> None:
    if not done.cancelled() and done.exception() is not None:
        logger.error("A part of a map could not be read", exc_info=done.exception())
