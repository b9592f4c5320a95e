"""What is known of every place of an image that could get a stroke, on one grid.

Four things, each in [0, 1]:

* uncertainty, ``1 - |2p - 1|`` of the map that learns from strokes: 1 where it cannot
  tell, 0 where it is sure;
* disagreement, twice the standard deviation of the cell's rank among all methods, so
  that maps on different scales can be compared: 1 where half of them see the most and
  half the least. With one method nothing is known of it, and it is 1 everywhere;
* distance, how far the nearest stroke is: 1 from two strokes' lengths on;
* tissue: 1 or 0.

Their product is the score of a cell. Of the first two each is worth something without
the other (``LEAST``), so that a place where the map is sure, and wrong, can still be
found where the methods disagree; where both are 0 the score is. It is the idea of
uncertainty sampling and of query by committee (Settles, Active Learning Literature
Survey, 2009, sections 3.1 and 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_wsol.images.heatmap import mask_on_grid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_wsol.images.heatmap import Heatmap
    from napari_wsol.strokes.canvas import Canvas, Scribbles

MOST_CELLS = 512
"""Cells along the longer side of the grid."""

STROKE_SHARE = 1 / 8
"""Length of a stroke, in lengths of the image's longer side, …"""

LONGEST_UM, LONGEST_PIXELS = 400.0, 1000.0
"""… and the most that it can be: the latter where the size of a pixel is not known."""

LEAST = 0.5
"""What a factor of 0 counts for beside one of 1, of uncertainty and disagreement."""

_RANKS = 65_536

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """What is known of every cell; all arrays are (h, w) over the whole image.

    Attributes:
        uncertainty, disagreement, distance: float32 in [0, 1], as above.
        tissue: bool; False also where no map has a value.
        values: float32 in [0, 1], the map that learns.
        ranks: method → float32 in [0, 1], NaN where it has no value.
        to_stroke: float32, level-0 pixels to the nearest stroke; infinite without any.
        cell: level-0 pixels a cell, (y, x).
        length: of a stroke, in level-0 pixels.
        mpp: µm a level-0 pixel, where that is known.
    """

    uncertainty: Floats
    disagreement: Floats
    distance: Floats
    tissue: Mask
    values: Floats
    ranks: Mapping[str, Floats]
    to_stroke: Floats
    cell: tuple[float, float]
    length: float
    mpp: float | None = None

    @property
    def scores(self) -> Floats:
        """(h, w) float32 in [0, 1]: the product."""
        doubt = self.uncertainty
        if len(self.ranks) > 1:
            both = _at_least(doubt) * _at_least(self.disagreement)
            doubt = (both - LEAST**2) / np.float32(1 - LEAST**2)
        return doubt * self.distance * self.tissue


def guide(
    heatmaps: Sequence[Heatmap],
    canvas: Canvas,
    scribbles: Scribbles | None,
    *,
    tissue: Mask | None = None,
    mpp: float | None = None,
) -> Guide:
    """Brings all that is known to one grid.

    Args:
        heatmaps: at least one, of one image; the first is the map that learns. NaN
            where nothing is known yet.
        canvas: where the strokes lie.
        scribbles: the strokes, if there are any.
        tissue: (h, w) over the whole image, at any resolution; everywhere if None.
        mpp: µm a level-0 pixel.

    Returns:
        A grid of the first map's size, at most ``MOST_CELLS`` a side.
    """
    first = heatmaps[0]
    image = first.image_shape
    shape = _grid_shape(first)
    cell = (image[0] / shape[0], image[1] / shape[1])
    values = {item.key: _on_grid(item, shape) for item in heatmaps}
    learns = values[first.key]
    known = np.isfinite(learns)
    if tissue is not None:
        known &= mask_on_grid(tissue, shape)
    learns = np.where(known, learns, np.float32(0.0))
    ranks = {name: _ranks(found, known) for name, found in values.items()}
    length = max(stroke_length(image, mpp), 4 * max(cell))
    to_stroke = _to_stroke(canvas, scribbles, shape, cell)
    return Guide(
        uncertainty=1 - np.abs(2 * learns - 1),
        disagreement=_disagreement(list(ranks.values())),
        distance=np.minimum(to_stroke / np.float32(2 * length), np.float32(1.0)),
        tissue=known,
        values=learns,
        ranks=ranks,
        to_stroke=to_stroke,
        cell=cell,
        length=length,
        mpp=mpp,
    )


# -------------------------------------------------------------------------------- grid


def _grid_shape(heatmap: Heatmap) -> tuple[int, int]:
    """Cells about as large as the map's own, over exactly the image."""
    sizes = zip(heatmap.image_shape, heatmap.scale, strict=True)
    rows, columns = (max(1, round(side / step)) for side, step in sizes)
    shrink = max(1.0, max(rows, columns) / MOST_CELLS)
    return max(1, round(rows / shrink)), max(1, round(columns / shrink))


def _on_grid(heatmap: Heatmap, shape: tuple[int, int]) -> Floats:
    """A map on the grid: means of its cells where it is finer; NaN where unknown."""
    heatmap = _thinned(heatmap, shape)
    known = np.isfinite(heatmap.values)
    if known.all():
        return heatmap.resized(shape)
    filled = replace(heatmap, values=np.where(known, heatmap.values, np.float32(0.0)))
    weight = replace(heatmap, values=known.astype(np.float32)).resized(shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        result = filled.resized(shape) / weight
    return np.where(weight > 0.5, result, np.float32(np.nan))


def _thinned(heatmap: Heatmap, shape: tuple[int, int]) -> Heatmap:
    """Means over as many cells as go into one of the grid, those without NaN only."""
    steps = [
        max(1, int(side / count / step + 1e-6))
        for side, count, step in zip(
            heatmap.image_shape, shape, heatmap.scale, strict=True
        )
    ]
    if steps == [1, 1]:
        return heatmap
    values = heatmap.values
    known = np.isfinite(values)
    total = _block_sums(np.where(known, values, np.float32(0.0)), steps)
    count = _block_sums(known.astype(np.float32), steps)
    with np.errstate(invalid="ignore"):
        means = total / count
    (height, width), (y, x) = heatmap.scale, heatmap.translate
    return replace(
        heatmap,
        values=means,
        scale=(height * steps[0], width * steps[1]),
        translate=(y + height * (steps[0] - 1) / 2, x + width * (steps[1] - 1) / 2),
    )


def _block_sums(values: Floats, steps: Sequence[int]) -> Floats:
    for axis, step in enumerate(steps):
        starts = np.arange(0, values.shape[axis], step, dtype=np.intp)
        values = np.add.reduceat(values, starts, axis=axis)
    return values


def stroke_length(image_shape: tuple[int, int], mpp: float | None) -> float:
    """Level-0 pixels of a stroke that is worth making on an image."""
    longest = LONGEST_UM / mpp if mpp else LONGEST_PIXELS
    return min(STROKE_SHARE * max(image_shape), longest)


# ----------------------------------------------------------------------------- factors


def _ranks(values: Floats, tissue: Mask) -> Floats:
    """Share of the tissue with lower values, equal ones counted half; NaN elsewhere."""
    known = np.isfinite(values) & tissue
    steps = np.where(known, values, np.float32(0.0)) * (_RANKS - 1)
    places = steps.astype(np.int32)
    counts = np.bincount(places[known], minlength=_RANKS)
    middle = (np.cumsum(counts) - counts / 2) / max(1, counts.sum())
    ranks = middle.astype(np.float32)[places]
    return np.where(known, ranks, np.float32(np.nan))


def _disagreement(ranks: Sequence[Floats]) -> Floats:
    """Twice the standard deviation over methods; 1 where there is one method only."""
    if len(ranks) < 2:
        return np.ones(ranks[0].shape, np.float32)
    total, squares, count = (np.zeros(ranks[0].shape, np.float32) for _ in range(3))
    for rank in ranks:
        known = np.isfinite(rank)
        filled = np.where(known, rank, np.float32(0.0))
        total += filled
        squares += filled * filled
        count += known
    count = np.maximum(count, np.float32(1.0))
    variance = np.maximum(squares / count - (total / count) ** 2, np.float32(0.0))
    return np.minimum(2 * np.sqrt(variance), np.float32(1.0))


def _to_stroke(
    canvas: Canvas,
    scribbles: Scribbles | None,
    shape: tuple[int, int],
    cell: tuple[float, float],
) -> Floats:
    """Level-0 pixels from each cell to the nearest with a stroke."""
    empty = np.ones(shape, np.bool_)
    if scribbles is not None:
        at: list[npt.NDArray[np.intp]] = []
        for axis, found in enumerate(np.nonzero(scribbles)):
            pixels = found * canvas.scale[axis] + canvas.translate[axis] + 0.5
            cells = (pixels / cell[axis]).astype(np.intp)
            at.append(np.minimum(cells, shape[axis] - 1))
        empty[at[0], at[1]] = False
    if empty.all():
        return np.full(shape, np.inf, np.float32)
    found = cast(
        "npt.NDArray[np.float64]", ndimage.distance_transform_edt(empty, sampling=cell)
    )
    return found.astype(np.float32)


def _at_least(factor: Floats) -> Floats:
    return np.float32(LEAST) + np.float32(1 - LEAST) * factor
