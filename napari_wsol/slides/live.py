"""Maps as they arrive: bounded arrays to show, and full resolution from the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from napari_wsol.images.geometry import paste
from napari_wsol.images.level_arrays import LazyArray
from napari_wsol.slides.plan import cells_on

if TYPE_CHECKING:
    from napari_wsol.images.tiling import Tile
    from napari_wsol.slides.kept_cells import KeptTiles
    from napari_wsol.slides.plan import SlidePlan
    from napari_wsol.slides.readouts import Array, Plane

LIVE_CELLS = 4_000_000
"""Cells of a map that are held in memory; a larger one is held coarser."""

SHOW_EVERY = 2.0
"""Seconds between two refreshes of what is shown; more would only load the viewer."""

Floats = npt.NDArray[np.float32]


class LiveMap:
    """One channel of one plane over the whole slide, coarser if it must be.

    Args:
        plan: the tiles.
        plane: which values.
        channel: which of its channels.
        image_shape: (H, W) of level 0.

    Attributes:
        values: (rows, columns) float32 on the method's own scale; NaN where nothing is
            finished, and on glass.
        step: cells of the plane a cell of ``values``, along each axis.
        low: smallest value so far; infinite before the first.
        high: largest value so far; minus infinity before the first.
    """

    def __init__(
        self,
        plan: SlidePlan,
        plane: Plane,
        channel: int,
        image_shape: tuple[int, int],
    ) -> None:
        self.plane, self.channel = plane, channel
        self._plan, self._image_shape = plan, image_shape
        rows, columns = (-(-side // plane.stride) for side in plan.seen.shape)
        cells = plan.grid.core // plane.stride
        step = 1
        # A step divides a core, so that a cell never holds parts of two tiles.
        while -(-rows // step) * -(-columns // step) > LIVE_CELLS and step < cells:
            step = next(k for k in range(step + 1, cells + 1) if cells % k == 0)
        self.step = step
        self.values = np.full(
            (-(-rows // step), -(-columns // step)), np.nan, np.float32
        )
        self.low, self.high = np.inf, -np.inf

    def put(self, tile: Tile, core: Array) -> tuple[slice, slice]:
        """Adds a tile.

        Args:
            tile: which.
            core: (channels, rows, columns) of the plane.

        Returns:
            Where it lies in ``values``.
        """
        plan, stride = self._plan, self.plane.stride
        cells = cells_on(plan.section, plan.seen, stride, self._image_shape, tile)
        found = np.where(cells, core[self.channel], np.nan).astype(np.float32)
        if cells.any():
            self.low = min(self.low, float(np.nanmin(found)))
            self.high = max(self.high, float(np.nanmax(found)))
        small = reduced(found, self.step)
        top, left = (at // (stride * self.step) for at in (tile.y, tile.x))
        place = (
            slice(top, top + small.shape[0]),
            slice(left, left + small.shape[1]),
        )
        self.values[place] = small
        return place


class LogArray(LazyArray):
    """One channel of one plane at full resolution, read from the log where indexed.

    Shape (rows, columns), dtype float32. NaN where nothing is finished, and on glass.

    Args:
        kept: the finished tiles.
        plane: which of their planes.
        channel: which of its channels.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, kept: KeptTiles, plane: Plane, channel: int) -> None:
        self._kept, self._plane, self._channel = kept, plane, channel
        self.shape = tuple(-(-side // plane.stride) for side in kept.plan.seen.shape)

    @override
    def _read(self, y: int, x: int, height: int, width: int) -> Floats:
        result = np.full((height, width), np.nan, np.float32)
        kept, plan, stride = self._kept, self._kept.plan, self._plane.stride
        for tile, core in kept.within(self._plane, y, x, height, width):
            shown = cells_on(plan.section, plan.seen, stride, kept.image_shape, tile)
            values = np.where(shown, core[self._channel], np.nan)
            paste(result, (y, x), values, (tile.y // stride, tile.x // stride))
        return result


def reduced(values: Floats, step: int) -> Floats:
    """The mean of each ``step`` × ``step`` cells, of those that have a value."""
    if step == 1:
        return values
    rows, columns = (-(-side // step) for side in values.shape)
    padded = np.full((rows * step, columns * step), np.nan, np.float32)
    padded[: values.shape[0], : values.shape[1]] = values
    parts = padded.reshape(rows, step, columns, step)
    known = np.isfinite(parts)
    count = known.sum((1, 3))
    total = np.where(known, parts, 0).sum((1, 3), dtype=np.float32)
    result = np.full(total.shape, np.nan, np.float32)
    np.divide(total, count, out=result, where=count > 0)
    return result
