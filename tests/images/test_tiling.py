from __future__ import annotations

import numpy as np
import pytest

from napari_wsol.errors import ConfigError
from napari_wsol.images.tiling import TileGrid

GRIDS = [
    ((701, 523), 128, 64, 32),
    ((1, 1), 512, 256, 32),
    ((512, 512), 512, 256, 32),
    ((513, 1024), 512, 0, 16),
    ((100, 3000), 100, 33, 7),
]


@pytest.mark.parametrize(("shape", "core", "halo", "stride"), GRIDS)
def test_cores_cover_the_grid_once(shape, core, halo, stride):
    covered = np.zeros(shape, int)
    for tile in TileGrid(shape, core, halo, stride):
        covered[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width] += 1
    assert (covered == 1).all()


@pytest.mark.parametrize(("shape", "core", "halo", "stride"), GRIDS)
def test_windows_hold_core_and_halo_and_end_with_the_image(shape, core, halo, stride):
    for tile in TileGrid(shape, core, halo, stride):
        for start, size, window, window_size, limit in (
            (tile.y, tile.height, tile.window_y, tile.window_height, shape[0]),
            (tile.x, tile.width, tile.window_x, tile.window_width, shape[1]),
        ):
            assert start % stride == 0
            assert window % stride == 0
            assert 0 <= window <= max(0, start - halo)
            stop = window + window_size
            assert min(limit, start + size + halo) <= stop <= limit
            assert stop == limit or stop % stride == 0


def test_tiles_are_made_when_asked_for():
    grid = TileGrid((1_000_000, 1_000_000), 512, 256, 32)
    assert len(grid) == grid.rows * grid.columns == 1954**2
    assert grid[-1].index == len(grid) - 1
    assert grid[grid.columns].y == 512
    assert [tile.index for tile in grid[3:9:2]] == [3, 5, 7]
    with pytest.raises(IndexError):
        grid[len(grid)]


def test_sizes_are_rounded_up_to_the_stride():
    grid = TileGrid((1000, 1000), 500, 250, 32)
    assert (grid.core, grid.halo) == (512, 256)


@pytest.mark.parametrize(
    "sizes",
    [((0, 5), 8, 8, 8), ((5, 5), 0, 8, 8), ((5, 5), 8, -1, 8), ((5, 5), 8, 8, 0)],
)
def test_impossible_sizes_are_refused(sizes):
    with pytest.raises(ConfigError, match="positive"):
        TileGrid(*sizes)
