"""Cuts a grid into tiles whose joined cores are the grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, overload

from napari_wsol.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Tile:
    """A core that the tile answers for, in a window that the network sees.

    All in pixels of the grid; the core lies in the window, the window in the grid.
    """

    index: int
    y: int
    x: int
    height: int
    width: int
    window_y: int
    window_x: int
    window_height: int
    window_width: int


class TileGrid(Sequence[Tile]):
    """The tiles of a grid, row by row, made when asked for.

    Cores and windows start at multiples of ``stride``, so that the cells of all tiles
    lie on one lattice. Windows end where the image ends: the network then pads its
    border exactly where it would for the whole image.

    Attributes:
        core: side of a core, rounded up to a multiple of the stride.
        halo: context on each side, rounded up to a multiple of the stride.
        rows: number of tiles from top to bottom.
        columns: number of tiles from left to right.
    """

    def __init__(
        self, shape: tuple[int, int], core: int, halo: int, stride: int
    ) -> None:
        """Tiles for a grid of ``shape`` = (height, width) pixels.

        Raises:
            ConfigError: a size that cannot work.
        """
        if min(shape) < 1 or core < 1 or halo < 0 or stride < 1:
            raise ConfigError(
                f"Tiles of {core} with a halo of {halo} and a stride of {stride} "
                f"cannot cover {shape[0]}×{shape[1]} pixels: give positive sizes."
            )
        self.shape = shape
        self.stride = stride
        self.core = round_up(core, stride)
        self.halo = round_up(halo, stride)
        self.rows = -(-shape[0] // self.core)
        self.columns = -(-shape[1] // self.core)

    def __len__(self) -> int:
        return self.rows * self.columns

    @overload
    def __getitem__(self, index: int) -> Tile: ...
    @overload
    def __getitem__(self, index: slice) -> list[Tile]: ...
    def __getitem__(self, index: int | slice) -> Tile | list[Tile]:
        if isinstance(index, slice):
            return [self._tile(i) for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"There are {len(self)} tiles, and none is {index}.")
        return self._tile(index % len(self))

    def __iter__(self) -> Iterator[Tile]:
        return map(self._tile, range(len(self)))

    def _tile(self, index: int) -> Tile:
        row, column = divmod(index, self.columns)
        down = self._span(row, self.shape[0])
        across = self._span(column, self.shape[1])
        return Tile(index, *chain.from_iterable(zip(down, across, strict=True)))

    def _span(self, at: int, size: int) -> tuple[int, int, int, int]:
        """Start and length of core and window along one axis."""
        start = at * self.core
        stop = min(start + self.core, size)
        window_start = max(start - self.halo, 0)
        window_stop = min(start + self.core + self.halo, size)
        return start, stop - start, window_start, window_stop - window_start


def round_up(size: int, stride: int) -> int:
    """``size`` up to whole cells of ``stride`` pixels."""
    return -(-size // stride) * stride
