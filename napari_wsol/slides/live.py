"""Maps as they arrive: bounded arrays to show, and full resolution from the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_wsol.slides.kept_cells import section_cells
from napari_wsol.slides.readouts import unpack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_wsol.images.tiling import Tile
    from napari_wsol.slides.plan import SlidePlan
    from napari_wsol.slides.readouts import Array, Plane
    from napari_wsol.slides.tile_log import TileLog

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
        cells = section_cells(self._plan, tile, self.plane.stride, self._image_shape)
        found = np.where(cells, core[self.channel], np.nan).astype(np.float32)
        if cells.any():
            self.low = min(self.low, float(np.nanmin(found)))
            self.high = max(self.high, float(np.nanmax(found)))
        small = reduced(found, self.step)
        top, left = (at // (self.plane.stride * self.step) for at in (tile.y, tile.x))
        place = (
            slice(top, top + small.shape[0]),
            slice(left, left + small.shape[1]),
        )
        self.values[place] = small
        return place


class LogArray:
    """One channel of one plane at full resolution, read from the log where indexed.

    Made for napari: shape (rows, columns), dtype float32. NaN where nothing is
    finished, and on glass.

    Args:
        plan: the tiles.
        planes: what the log holds of each tile.
        plane: which of them.
        channel: which of its channels.
        log: the finished tiles.
        image_shape: (H, W) of level 0.
    """

    ndim = 2
    dtype = np.dtype(np.float32)

    def __init__(
        self,
        plan: SlidePlan,
        planes: Sequence[Plane],
        plane: Plane,
        channel: int,
        *,
        log: TileLog,
        image_shape: tuple[int, int],
    ) -> None:
        self._plan, self._planes, self._log = plan, planes, log
        self._image_shape = image_shape
        self._plane, self._channel = plane, channel
        rows, columns = (-(-side // plane.stride) for side in plan.seen.shape)
        self.shape = (rows, columns)

    @property
    def size(self) -> int:
        """Number of values."""
        return self.shape[0] * self.shape[1]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: object) -> Floats:
        keys: list[object] = [*key] if isinstance(key, tuple) else [key]
        if Ellipsis in keys:
            at = keys.index(Ellipsis)
            keys[at : at + 1] = [slice(None)] * (2 - len(keys) + 1)
        keys.extend([slice(None)] * (2 - len(keys)))
        spans = [_span(item, side) for item, side in zip(keys, self.shape, strict=True)]
        (top, bottom), (left, right) = ((s.start, s.stop) for s, _ in spans)
        block = self._read(top, left, bottom - top, right - left)
        return block[spans[0][1], :][..., spans[1][1]]

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[np.generic]:
        del copy  # always a fresh array
        whole = self[...]
        return whole if dtype is None else whole.astype(dtype)

    def _read(self, top: int, left: int, height: int, width: int) -> Floats:
        result = np.full((height, width), np.nan, np.float32)
        grid, cells = self._plan.grid, self._plan.grid.core // self._plane.stride
        for row in range(top // cells, -(-(top + height) // cells)):
            for column in range(left // cells, -(-(left + width) // cells)):
                index = row * grid.columns + column
                if row >= grid.rows or column >= grid.columns or index not in self._log:
                    continue
                found = unpack(self._log.read(index), self._planes, grid[index])
                if found:
                    tile, stride = grid[index], self._plane.stride
                    shown = section_cells(self._plan, tile, stride, self._image_shape)
                    core = np.where(
                        shown, found[self._plane.name][self._channel], np.nan
                    )
                    _paste(result, core, row * cells - top, column * cells - left)
        return result


def _paste(target: Floats, core: Array, y: int, x: int) -> None:
    """Puts ``core`` at (y, x) of ``target``, as far as they overlap."""
    top, left = max(0, -y), max(0, -x)
    rows = min(core.shape[0], target.shape[0] - y)
    columns = min(core.shape[1], target.shape[1] - x)
    if rows > top and columns > left:
        target[y + top : y + rows, x + left : x + columns] = core[
            top:rows, left:columns
        ]


def _span(key: object, side: int) -> tuple[slice, int | slice]:
    """What to read along an axis, and how to index what was read."""
    if isinstance(key, slice):
        wanted = range(*key.indices(side))
        if not wanted:
            return slice(0, 0), slice(None)
        read = slice(min(wanted), max(wanted) + 1)
        return read, slice(None, None, wanted.step)
    at = int(key)  # type: ignore[call-overload]
    if not -side <= at < side:
        raise IndexError(f"Index {at} is outside an axis of {side} cells.")
    return slice(at % side, at % side + 1), 0


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
