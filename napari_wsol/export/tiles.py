"""The tiles that an attention MIL model looked at, one by one."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

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
    tops, heights = _spans(heatmap, 0)
    lefts, widths = _spans(heatmap, 1)
    for number in range(weights.size):
        row, column = divmod(number, len(lefts))
        yield TileAttention(
            rank=int(ranks[number]),
            row=row,
            column=column,
            y=tops[row],
            x=lefts[column],
            height=heights[row],
            width=widths[column],
            attention=float(weights[row, column]),
        )


def _spans(heatmap: Heatmap, axis: int) -> tuple[list[float], list[float]]:
    """Starts and lengths, within the image, of the cells along an axis."""
    scale, size = heatmap.scale[axis], heatmap.image_shape[axis]
    # Half a pixel more: the heatmap counts pixel centres, the table borders.
    first = heatmap.translate[axis] + 0.5 - scale / 2
    count = heatmap.values.shape[axis]
    edges = [min(max(first + scale * at, 0.0), size) for at in range(count + 1)]
    return edges[:-1], [stop - start for start, stop in pairwise(edges)]
