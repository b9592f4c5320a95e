"""How coarse a map is held while it arrives."""

from __future__ import annotations

import numpy as np
import pytest

from napari_wsol.images.tiling import TileGrid
from napari_wsol.inference.encode import Geometry
from napari_wsol.slides.live import LiveMap
from napari_wsol.slides.plan import SlidePlan
from napari_wsol.slides.readouts import Plane


@pytest.mark.parametrize(
    ("cells", "tile", "step"),
    [
        ((2000, 2000), 128, 1),  # four million
        ((2000, 2001), 128, 2),
        ((1, 4_000_001), 128, 2),
        ((7759, 2062), 128, 4),  # 3880 × 1031 is too many
        ((10_000, 10_000), 12, 6),  # 5 does not divide a tile
        ((10_000, 10_000), 4, 4),  # no coarser than a tile
    ],
)
def test_a_map_is_held_at_four_million_cells_or_as_a_tile_allows(cells, tile, step):
    shape = (8 * cells[0], 8 * cells[1] - 3)
    grid = TileGrid(shape, core=8 * tile, halo=0, stride=8)
    plan = SlidePlan(
        seen=Geometry((1.0, 1.0), shape),
        grid=grid,
        wanted=np.ones((grid.rows, grid.columns), np.bool_),
        margin=0,
    )
    live = LiveMap(plan, Plane("cam", 2, 8), 1, shape)
    assert live.step == step
    assert live.values.shape == (-(-cells[0] // step), -(-cells[1] // step))
    assert np.isnan(live.values[-1, -1])
