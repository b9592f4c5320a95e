"""The regions of a mask: outline, size, place and score of each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_wsol.export.masks import (
    MAX_PIXELS,
    boxes_of,
    connected,
    cut_mask,
    grid_for,
)
from napari_wsol.export.outlines import outline

if TYPE_CHECKING:
    from collections.abc import Callable

    from shapely.geometry import Polygon

    from napari_wsol.config import ExportConfig
    from napari_wsol.export.masks import BoolMap, Grid
    from napari_wsol.images.heatmap import Heatmap


NOTHING = 1e-6
"""A map below this is 0: nobody sets a threshold there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """One connected piece of the mask.

    All positions are in level-0 pixels measured from the image's upper left corner, as
    QuPath does: pixel (0, 0) covers 0 to 1 both ways. Subtract 0.5
    where integers are pixel centres (heatmaps, napari).

    Attributes:
        id: 1 is the strongest region.
        area_px: level-0 pixels.
        area_mm2: None where the pixel size is not known.
        centroid: (y, x).
        bbox: (y0, x0, y1, x1); pixels ``y0:y1, x0:x1``.
        mean_score: mean of the heatmap inside, in [0, 1].
        max_score: largest value of the heatmap inside, in [0, 1].
        polygon: outline with holes; vertices are (x, y).
    """

    id: int
    area_px: float
    area_mm2: float | None
    centroid: tuple[float, float]
    bbox: tuple[int, int, int, int]
    mean_score: float
    max_score: float
    polygon: Polygon


def regions_of(
    heatmap: Heatmap,
    slide_shape: tuple[int, int],
    config: ExportConfig,
    mpp: float | None,
    *,
    max_pixels: int = MAX_PIXELS,
    tick: Callable[[], None] = lambda: None,
) -> list[Region]:
    """The regions above the threshold, strongest first.

    Args:
        heatmap: what is cut.
        slide_shape: (H, W) of level 0.
        config: threshold and clean-up.
        mpp: µm a level-0 pixel, None where it is not known.
        max_pixels: work on a grid of at most so many pixels; a small number is for
            lists that must keep up with a slider.
        tick: called between pieces of work; may raise to stop.

    Raises:
        ExportError: when the heatmap is not of this image or holds no numbers.
    """
    grid = grid_for(slide_shape, max_pixels)
    mask = cut_mask(heatmap, grid, config, tick=tick)
    return find_regions(mask, grid, heatmap, mpp, tick=tick)


def why_empty(heatmap: Heatmap, config: ExportConfig) -> str:
    """Why a map has no regions, and what gives some.

    Args:
        heatmap: what was cut; its notes say why it is flat.
        config: threshold and clean-up.
    """
    values, threshold = heatmap.values, config.threshold
    low, high = float(values.min()), float(values.max())
    if high < NOTHING:
        return "The map is 0 everywhere, so no threshold gives regions."
    if high <= low:
        return (
            f"The map is {high:.2g} everywhere: a threshold gives all of the image, or "
            "nothing."
        )
    if high < threshold:
        return (
            f"No value of the map reaches {threshold:.3g}; the highest is {high:.2g}. "
            "Lower the threshold to get regions."
        )
    if config.min_area > 0:
        return (
            f"All that reaches {threshold:.3g} is smaller than the smallest area. "
            "Lower that, or the threshold, to get regions."
        )
    return (
        f"Only points between the pixels of the mask reach {threshold:.3g}. Lower the "
        "threshold to get regions."
    )


def find_regions(
    mask: BoolMap,
    grid: Grid,
    heatmap: Heatmap,
    mpp: float | None,
    *,
    tick: Callable[[], None] = lambda: None,
) -> list[Region]:
    """The 4-connected regions of a mask on ``grid``, strongest first."""
    tick()
    labels = connected(mask)
    regions: list[Region] = []
    for number, place in enumerate(boxes_of(labels), start=1):
        tick()
        cells = labels[place] == number
        regions.append(_measure(cells, place, grid, heatmap, mpp=mpp, tick=tick))
    # Place breaks ties, so that the numbering never depends on the labelling's order.
    regions.sort(key=lambda r: (-r.max_score, -r.mean_score, -r.area_px, r.bbox))
    return [replace(region, id=place) for place, region in enumerate(regions, 1)]


def _measure(
    cells: BoolMap,
    place: tuple[slice, slice],
    grid: Grid,
    heatmap: Heatmap,
    *,
    mpp: float | None,
    tick: Callable[[], None],
) -> Region:
    rows, columns = place
    y_edges = grid.edges(0)[rows.start : rows.stop + 1]
    x_edges = grid.edges(1)[columns.start : columns.stop + 1]
    heights, widths = np.diff(y_edges), np.diff(x_edges)
    # Level-0 pixels in each row and column of the region.
    by_row = (cells @ widths) * heights
    by_column = (heights @ cells) * widths
    area = float(by_row.sum())
    mean, largest = _scores(cells, place, grid, heatmap, tick)
    return Region(
        id=0,
        area_px=area,
        area_mm2=None if mpp is None else area * mpp**2 / 1e6,
        centroid=(
            float(by_row @ (y_edges[1:] + y_edges[:-1]) / 2 / area),
            float(by_column @ (x_edges[1:] + x_edges[:-1]) / 2 / area),
        ),
        bbox=(int(y_edges[0]), int(x_edges[0]), int(y_edges[-1]), int(x_edges[-1])),
        mean_score=mean,
        max_score=largest,
        polygon=outline(cells, y_edges, x_edges),
    )


def _scores(
    cells: BoolMap,
    place: tuple[slice, slice],
    grid: Grid,
    heatmap: Heatmap,
    tick: Callable[[], None],
) -> tuple[float, float]:
    """Mean and largest heatmap value over a region's pixels."""
    rows, columns = place
    total, count, largest = 0.0, 0, 0.0
    for start, stop in grid.bands(rows.start, rows.stop, cells.shape[1]):
        tick()
        values = grid.values(heatmap, slice(start, stop), columns)
        inside = values[cells[start - rows.start : stop - rows.start]]
        total += float(inside.sum(dtype=np.float64))
        count += inside.size
        largest = max(largest, float(inside.max(initial=0.0)))
    return total / count, largest
