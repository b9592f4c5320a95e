"""A map tile by tile: those that attention MIL looked at, and those for QuPath."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.export.regions import NOTHING
from napari_wsol.images.heatmap import mask_on_grid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy.typing as npt

    from napari_wsol.export.masks import BoolMap
    from napari_wsol.images.heatmap import Heatmap

METHOD = "attention_mil"
"""The method whose cells are tiles: only its heatmaps have such a table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileAttention:
    """One tile.

    Positions are in level-0 pixels measured from the image's upper left corner, as
    those of :class:`~napari_wsol.export.regions.Region`; whole numbers unless the image
    was resampled.

    Attributes:
        rank: 1 is the tile that was looked at most; equal ones in reading order.
        row: of the tile, from the top.
        column: of the tile, from the left.
        y: upper border.
        x: left border.
        height: of the part that lies on the image.
        width: of the part that lies on the image.
        attention: its share of all attention; the shares sum to 1.
    """

    rank: int
    row: int
    column: int
    y: float
    x: float
    height: float
    width: float
    attention: float


def attention_table(heatmap: Heatmap) -> Iterator[TileAttention]:
    """Every tile of an attention heatmap, row by row, one at a time.

    Those of a slide that show no tissue were not looked at: their share is 0.

    The heatmap holds a / max(a); since the attention a of a bag sums to 1 (Ilse et al.
    2018, equation 7), dividing by the sum of the map gives it back.

    Args:
        heatmap: of attention MIL.
    """
    values = heatmap.values.astype(np.float64)
    weights = values / max(values.sum(), np.finfo(np.float64).tiny)
    order = np.argsort(-weights, axis=None, kind="stable")
    ranks = np.empty(weights.size, np.intp)
    ranks[order] = np.arange(1, weights.size + 1)
    y_edges, x_edges = _edges(heatmap, 0), _edges(heatmap, 1)
    for number in range(weights.size):
        row, column = divmod(number, weights.shape[1])
        yield TileAttention(
            rank=int(ranks[number]),
            row=row,
            column=column,
            y=y_edges[row],
            x=x_edges[column],
            height=y_edges[row + 1] - y_edges[row],
            width=x_edges[column + 1] - x_edges[column],
            attention=float(weights[row, column]),
        )


MOST_TILES = 100_000
"""Of a map for QuPath, which holds so many objects with ease."""


def map_tiles(
    heatmap: Heatmap,
    heatmaps: Mapping[str, Heatmap],
    tissue: BoolMap | None = None,
    *,
    most: int = MOST_TILES,
    tick: Callable[[], None] = lambda: None,
) -> Iterator[tuple[tuple[float, float, float, float], dict[str, float]]]:
    """What all maps say in each cell of one, row by row; no more than a row is held.

    Where these are more than ``most``, squares of cells are taken together.

    Args:
        heatmap: whose cells are the tiles.
        heatmaps: by method, of the same image; on another grid they are interpolated.
        tissue: (h, w) bool over the whole image: where there is none and all maps are
            0, there is no tile.
        most: tiles, at most.
        tick: called for each row; may raise to stop.

    Yields:
        (x0, y0, x1, y1) in level-0 pixels from the image's upper left corner, and the
        mean of each map there, by method; in [0, 1].
    """
    rows, columns = heatmap.values.shape
    step = 1
    while -(-rows // step) * -(-columns // step) > most:
        step += 1
    lefts = list(range(0, columns, step))
    seen = None if tissue is None else mask_on_grid(tissue, (rows, columns))
    y_edges, x_edges = _edges(heatmap, 0, step), _edges(heatmap, 1, step)
    for top, (y0, y1) in zip(range(0, rows, step), pairwise(y_edges), strict=True):
        tick()
        part = slice(top, min(top + step, rows))
        means = {
            name: _means(one, heatmap, part, lefts) for name, one in heatmaps.items()
        }
        keep = np.max(list(means.values()), axis=0) > (-1 if seen is None else NOTHING)
        if seen is not None:
            keep |= np.logical_or.reduceat(seen[part].any(axis=0), lefts)
        for place in np.nonzero(keep)[0].tolist():
            x0, x1 = x_edges[place], x_edges[place + 1]
            if x1 > x0 and y1 > y0:  # cells may lie beyond the image
                values = {name: float(mean[place]) for name, mean in means.items()}
                yield (x0, y0, x1, y1), values


def _means(
    one: Heatmap, of: Heatmap, rows: slice, starts: list[int]
) -> npt.NDArray[np.float64]:
    """Of a map on some rows of another's cells, between the columns ``starts``."""
    count, columns = rows.stop - rows.start, of.values.shape[1]
    (height, width), (top, left) = of.scale, of.translate
    origin = top + 0.5 + (rows.start - 0.5) * height, left + 0.5 - 0.5 * width
    cells = one.crop(origin, (count * height, columns * width), (count, columns))
    sums = np.add.reduceat(cells.sum(axis=0, dtype=np.float64), starts)
    return sums / (count * np.diff([*starts, columns]))


def _edges(heatmap: Heatmap, axis: int, step: int = 1) -> list[float]:
    """Borders of every ``step`` cells along an axis, within the image."""
    scale, size = heatmap.scale[axis], heatmap.image_shape[axis]
    # Half a pixel more: the heatmap counts pixel centres, the table borders.
    first = heatmap.translate[axis] + 0.5 - scale / 2
    count = heatmap.values.shape[axis]
    places = np.array([*range(0, count, step), count])
    return np.clip(first + scale * places, 0, size).tolist()
