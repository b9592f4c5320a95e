"""A map tile by tile: those that attention MIL looked at, and those for QuPath."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.images.heatmap import NOTHING, mask_on_grid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy.typing as npt

    from napari_wsol.export.masks import BoolMap
    from napari_wsol.images.heatmap import Heatmap

METHOD = "attention_mil"
COLUMNS = {METHOD: "attention", "mil_evidence": "evidence", "mil_tile": "logit"}
"""The methods whose cells are tiles, and what each says of them."""

PLACE = ("row", "column", "y", "x", "height", "width")


def tile_table(
    heatmap: Heatmap, heatmaps: Mapping[str, Heatmap]
) -> Iterator[dict[str, object]]:
    """Every tile of a map of multiple instance learning, row by row, one at a time.

    Its ``rank`` is 1 where the map is highest, of a signed one its ``rank_against``
    where that is lowest; equal ones in reading order. ``y`` and ``x`` are its upper and
    left border in level-0 pixels from the image's corner, ``height`` and ``width`` of
    the part that lies on the image. Then what each of the maps says: ``attention``, of
    which all tiles have 1 together, ``evidence``, which sums with the bias to the log
    odds, and ``logit``, of the tile alone. Those of a slide that show no tissue were
    not looked at: all is 0.

    Args:
        heatmap: of one of the methods of ``COLUMNS``.
        heatmaps: by name; those of the same tiles, class and model are in the table.
    """
    mine = (heatmap.values.shape, heatmap.translate, heatmap.target, heatmap.model)
    told = {
        COLUMNS[one.method]: _said(one).ravel()
        for one in (*heatmaps.values(), heatmap)
        if (one.values.shape, one.translate, one.target, one.model) == mine
        and one.method in COLUMNS
    }
    first = told[COLUMNS[heatmap.method]]
    orders = {"rank": -first, **({"rank_against": first} if heatmap.signed else {})}
    ranks = {
        name: order.argsort(kind="stable").argsort() + 1
        for name, order in orders.items()
    }
    y_edges, x_edges = _edges(heatmap, 0), _edges(heatmap, 1)
    for number in range(first.size):
        row, column = divmod(number, heatmap.values.shape[1])
        (y, bottom), (x, right) = y_edges[row : row + 2], x_edges[column : column + 2]
        place = (row, column, *(f"{v:.10g}" for v in (y, x, bottom - y, right - x)))
        yield {
            **{name: int(rank[number]) for name, rank in ranks.items()},
            **dict(zip(PLACE, place, strict=True)),
            **{name: f"{said[number]:.9g}" for name, said in told.items()},
        }


def _said(heatmap: Heatmap) -> npt.NDArray[np.float64]:
    """What a map says of its tiles, as its method gave it.

    That of attention holds a / max(a); since the attention a of a bag sums to 1 (Ilse
    et al. 2018, equation 7), dividing by the sum of the map gives it back.
    """
    if heatmap.signed:
        return heatmap.evidence
    values = heatmap.values.astype(np.float64)
    return values / max(values.sum(), np.finfo(np.float64).tiny)


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
        far = [abs(means[key] - 0.5 * one.signed) for key, one in heatmaps.items()]
        keep = np.max(far, axis=0) > (-1 if seen is None else NOTHING)
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
