"""Which tiles of a slide the network sees, and at which size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_wsol.encoders import TileEncoder
from napari_wsol.errors import MethodUnavailableError
from napari_wsol.images.tiling import TileGrid, round_up
from napari_wsol.images.tissue import tissue_mask
from napari_wsol.inference.encode import geometry

if TYPE_CHECKING:
    from napari_wsol.config import SlideConfig
    from napari_wsol.encoders import Encoder
    from napari_wsol.images.slide import Slide
    from napari_wsol.images.tiling import Tile
    from napari_wsol.inference.encode import Geometry
    from napari_wsol.methods import Model

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

MARGIN_CELLS = 2
"""Cells around a core whose features are kept: a map that is moved onto the nominal
grid, or brought from a coarser tap, reads its neighbours."""
_MASK_CELLS = 32
"""Cells of the tissue mask along a tile, as far as the mask is that fine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlidePlan:
    """How a slide is cut for a network.

    Attributes:
        seen: at which size the network sees it.
        grid: tiles, in pixels of the network's input; made when asked for.
        wanted: (rows, columns) bool: the tiles to encode.
        last: (rows, columns) bool: those of them that all others come before.
        margin: network pixels around a core whose features are kept.
        tissue: (h, w) bool over the whole slide, at any resolution; None where all of
            it counts.
        section: (h, w) bool, where maps are shown: tissue, and the holes that it
            encloses where it was found without a person, since the lumen of a gland is
            as empty as glass.
        notes: what had to be assumed, and what the cut costs, a sentence each.
    """

    seen: Geometry
    grid: TileGrid
    wanted: Bools
    margin: int
    tissue: Bools | None = None
    section: Bools | None = None
    last: Bools | None = None
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many tiles are wanted."""
        return int(np.count_nonzero(self.wanted))

    def level0(self, index: int) -> tuple[float, float, float, float]:
        """Top, left, height and width of a tile's core in level-0 pixels."""
        tile, (down_y, down_x) = self.grid[index], self.seen.downsample
        return (
            (tile.y + self.seen.origin[0]) * down_y,
            (tile.x + self.seen.origin[1]) * down_x,
            tile.height * down_y,
            tile.width * down_x,
        )

    def tiles_of(
        self, top: float, left: float, bottom: float, right: float
    ) -> tuple[float, float, float, float]:
        """A level-0 rectangle in units of tiles: top, left, bottom, right."""
        core, (down_y, down_x) = self.grid.core, self.seen.downsample
        origin_y, origin_x = self.seen.origin
        return (
            (top / down_y - origin_y) / core,
            (left / down_x - origin_x) / core,
            (bottom / down_y - origin_y) / core,
            (right / down_x - origin_x) / core,
        )


def plan_slide(
    slide: Slide,
    model: Model,
    config: SlideConfig,
    *,
    mpp: float | None = None,
    tissue: Bools | None = None,
) -> SlidePlan:
    """Cuts a slide for a model.

    Args:
        slide: the slide.
        model: from :func:`napari_wsol.load_model`.
        config: how.
        mpp: µm a level-0 pixel, where the person knows better than the file.
        tissue: (h, w) bool over the whole slide at any resolution: where to look;
            found by :func:`~napari_wsol.images.tissue.tissue_mask` without.

    Raises:
        MethodUnavailableError: the model looks at whole images of one size only.
        UnreadableImageError: the file is damaged.
    """
    if model.in_one_piece:
        raise MethodUnavailableError(
            "This model sees every image at once, so it cannot read a slide tile by "
            "tile. Localize a part of the slide, or choose another model."
        )
    seen = geometry(slide, model, mpp)
    encoder, margin = model.encoder, margin_of(model.encoder)
    halo = encoder.halo if config.halo is None else config.halo
    # Windows and tiles are read whole or not at all; that around a core is its margin.
    apart = encoder.window is not None or isinstance(encoder, TileEncoder)
    halo = encoder.halo if apart else halo + margin
    core = round_up(config.core, encoder.window or encoder.stride)
    grid = TileGrid(seen.shape, core=core, halo=halo, stride=encoder.stride)
    notes = [seen.note] if seen.note else []
    if halo - margin < encoder.halo and not apart:
        notes.append(
            f"Tiles saw {halo - margin} pixels around them instead of {encoder.halo}: "
            "faster, but the maps are less exact at the borders of tiles."
        )
    wanted = np.ones((grid.rows, grid.columns), np.bool_)
    section = tissue
    if tissue is None and config.tissue_only:
        # Level-0 pixels a cell of the mask.
        step = grid.core * min(seen.downsample) / _MASK_CELLS
        tissue = tissue_mask(slide, max(1.0, step, max(slide.shape) / 4096))
        section = np.asarray(ndimage.binary_fill_holes(tissue), np.bool_)
    if section is not None:
        wanted = cells_on(section, seen, grid.core, slide.shape)
    return SlidePlan(
        seen=seen,
        grid=grid,
        wanted=wanted,
        margin=margin,
        tissue=tissue,
        section=section,
        notes=tuple(notes),
    )


def margin_of(encoder: Encoder) -> int:
    """Network pixels around a core whose features are kept, whole cells of all maps."""
    if isinstance(encoder, TileEncoder):
        return 0
    return round_up(MARGIN_CELLS * encoder.stride, max(encoder.strides))


def cells_on(
    mask: Bools | None,
    seen: Geometry,
    step: int,
    image_shape: tuple[int, int],
    tile: Tile | None = None,
) -> Bools:
    """Which cells lie on a mask, be it in part.

    Args:
        mask: (h, w) over the whole slide; all cells do without one.
        seen: how the network sees the slide.
        step: network pixels a cell.
        image_shape: (H, W) of level 0.
        tile: whose core the cells divide; the whole slide without.

    Returns:
        (rows, columns) bool.
    """
    start, size = (0, 0), seen.shape
    if tile is not None:
        start, size = (tile.y, tile.x), (tile.height, tile.width)
    counts = (-(-size[0] // step), -(-size[1] // step))
    if mask is None:
        return np.ones(counts, np.bool_)
    rows, columns = (
        seen.edges(axis, start[axis], step, counts[axis])
        * mask.shape[axis]
        / image_shape[axis]
        for axis in (0, 1)
    )
    return _covered(mask, rows, columns)


def _covered(mask: Bools, row_edges: Floats, column_edges: Floats) -> Bools:
    """The cells of a lattice that hold an element of a mask, be it in part.

    The borders of its rows and columns rise, in elements of the mask: element 0 is
    [0, 1].
    """
    top, bottom = _reach(row_edges, mask.shape[0])
    left, right = _reach(column_edges, mask.shape[1])
    part = mask[top[0] : bottom[-1], left[0] : right[-1]]
    # A table of sums: any rectangle costs four look-ups.
    total = np.zeros((part.shape[0] + 1, part.shape[1] + 1), np.int64)
    total[1:, 1:] = part.cumsum(0, dtype=np.int64).cumsum(1)
    bottom, right = bottom - top[0], right - left[0]
    top, left = top - top[0], left - left[0]
    counts = (
        total[np.ix_(bottom, right)]
        - total[np.ix_(top, right)]
        - total[np.ix_(bottom, left)]
        + total[np.ix_(top, left)]
    )
    return counts > 0


def _reach(edges: Floats, size: int) -> tuple[Indices, Indices]:
    """First and last-plus-one element under each row or column."""
    first = np.clip(np.floor(edges[:-1] + 1e-6), 0, size - 1).astype(np.intp)
    last = np.clip(np.ceil(edges[1:] - 1e-6), 1, size).astype(np.intp)
    return first, np.maximum(last, first + 1)
