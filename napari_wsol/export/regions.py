"""The regions of a mask: outline, size, place and score of each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
from skimage import measure

from napari_wsol.export.masks import (
    MAX_PIXELS,
    connected,
    cut_mask,
    grid_for,
)
from napari_wsol.export.outlines import outline
from napari_wsol.images.heatmap import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shapely.geometry import Polygon

    from napari_wsol.config import ExportConfig
    from napari_wsol.export.masks import BoolMap, Grid
    from napari_wsol.images.heatmap import FloatMap, Heatmap

FEATURES = (
    "perimeter",
    "axis_major_length",
    "axis_minor_length",
    "eccentricity",
    "orientation",
    "solidity",
    "extent",
    "intensity_min",
    "intensity_std",
)
"""What the files say of a region beside size, place and score, as scikit-image names
and defines it; lengths in level-0 pixels, the orientation in radians."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """One connected piece of the mask.

    All positions are in level-0 pixels measured from the image's upper left corner, as
    QuPath does: pixel (0, 0) covers 0 to 1 both ways. Subtract 0.5
    where integers are pixel centres (heatmaps, napari).

    Attributes:
        id: 1 is the strongest region; those against the class come behind those for it.
        area_px: level-0 pixels.
        area_mm2: None where the pixel size is not known.
        centroid: (y, x).
        bbox: (y0, x0, y1, x1); pixels ``y0:y1, x0:x1``.
        mean_score: mean of the heatmap inside, in [0, 1].
        max_score: largest value of the heatmap inside, in [0, 1]; smallest if against.
        polygon: outline with holes; vertices are (x, y).
        features: by name, those of ``FEATURES`` that were asked for.
        against: whether it speaks against the class, on a signed map.
        evidence: what its cells (or shares of them) add to the log odds, on such maps.
    """

    id: int
    area_px: float
    area_mm2: float | None
    centroid: tuple[float, float]
    bbox: tuple[int, int, int, int]
    mean_score: float
    max_score: float
    polygon: Polygon
    features: Mapping[str, float] = field(default_factory=dict[str, float])
    against: bool = False
    evidence: float | None = None


def regions_of(
    heatmap: Heatmap,
    slide_shape: tuple[int, int],
    config: ExportConfig,
    mpp: float | None,
    *,
    max_pixels: int = MAX_PIXELS,
    tick: Callable[[], None] = lambda: None,
) -> list[Region]:
    """The regions above the threshold, strongest first; then those against the class.

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
    grid, found = grid_for(slide_shape, max_pixels), list[Region]()
    for against in (False, True)[: 1 + heatmap.signed]:
        mask = cut_mask(heatmap, grid, config, against=against, tick=tick)
        more = find_regions(mask, grid, heatmap, mpp, against=against, tick=tick)
        found += [replace(one, id=len(found) + one.id) for one in more]
    return found


def why_empty(heatmap: Heatmap, config: ExportConfig) -> str:
    """Why a map has no regions, and what gives some.

    Args:
        heatmap: what was cut; its notes say why it is flat.
        config: threshold and clean-up.
    """
    values, threshold = heatmap.values, config.threshold
    low, high = float(values.min()), float(values.max())
    if high < heatmap.cut(NOTHING):
        least, what = ("0", "") if not heatmap.signed else ("0 or below", " for it")
        return f"The map is {least} everywhere, so no threshold gives regions{what}."
    high = heatmap.strength(high)
    if float(values.max()) <= low:
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
    features: Sequence[str] = (),
    against: bool = False,
    tick: Callable[[], None] = lambda: None,
) -> list[Region]:
    """The 4-connected regions of a mask on ``grid``, strongest first.

    Args:
        mask: bool on ``grid``.
        grid: where its pixels lie.
        heatmap: of the scores.
        mpp: µm a level-0 pixel, None where it is not known.
        features: more properties of :func:`skimage.measure.regionprops_table`.
        against: whether the mask is of what speaks against the class.
        tick: called between pieces of work; may raise to stop.
    """
    tick()
    labels = connected(mask)
    peak = "intensity_min" if against else "intensity_max"
    properties = dict.fromkeys(("label", "bbox", "intensity_mean", peak, *features))
    table = cast(
        "dict[str, npt.NDArray[Any]]",
        measure.regionprops_table(
            labels,
            _scores(grid, heatmap, tick),
            properties=tuple(properties),
            spacing=(grid.downsample, grid.downsample),
        ),
    )
    sums = None if heatmap.bias is None else _evidence(labels, grid, heatmap)
    y_edges, x_edges = grid.edges(0), grid.edges(1)
    regions: list[Region] = []
    for place in range(len(table["label"])):
        tick()
        told = {name: column[place].item() for name, column in table.items()}
        top, left, bottom, right = (told[f"bbox-{side}"] for side in range(4))
        polygon = outline(
            labels[top:bottom, left:right] == told["label"],
            y_edges[top : bottom + 1],
            x_edges[left : right + 1],
        )
        x0, y0, x1, y1 = map(int, polygon.bounds)
        # Not those of the table, whose last pixels do not end where the image does.
        area, centre = polygon.area, polygon.centroid
        regions.append(
            Region(
                id=0,
                area_px=area,
                area_mm2=None if mpp is None else area * mpp**2 / 1e6,
                centroid=(centre.y, centre.x),
                bbox=(y0, x0, y1, x1),
                mean_score=told["intensity_mean"],
                max_score=told[peak],
                polygon=polygon,
                features={name: told[name] for name in features},
                against=against,
                evidence=None if sums is None else float(sums[told["label"]]),
            )
        )
    # Place breaks ties, so that the numbering never depends on the labelling's order.
    sign = 1 if against else -1
    regions.sort(
        key=lambda r: (sign * r.max_score, sign * r.mean_score, -r.area_px, r.bbox)
    )
    return [replace(region, id=place) for place, region in enumerate(regions, 1)]


def _scores(grid: Grid, heatmap: Heatmap, tick: Callable[[], None]) -> FloatMap:
    """The heatmap at the centres of all pixels of a grid."""
    height, width = grid.shape
    values = np.empty(grid.shape, np.float32)
    for start, stop in grid.bands(0, height, width):
        tick()
        values[start:stop] = grid.values(heatmap, slice(start, stop), slice(0, width))
    return values


def _evidence(
    labels: npt.NDArray[np.int32], grid: Grid, heatmap: Heatmap
) -> npt.NDArray[np.float64]:
    """What each piece, by its number, adds to the log odds; first what lies in none."""
    cells, pixels = list[npt.NDArray[np.intp]](), list[npt.NDArray[np.intp]]()
    for axis, count in enumerate(heatmap.values.shape):
        centres = (np.arange(grid.shape[axis]) + 0.5) * grid.downsample - 0.5
        near = np.rint((centres - heatmap.translate[axis]) / heatmap.scale[axis])
        cells.append(near.clip(0, count - 1).astype(np.intp))
        pixels.append(np.bincount(cells[axis], minlength=count))
    share = heatmap.evidence / np.maximum(np.outer(*pixels), 1)
    sums = np.zeros(int(labels.max()) + 1)
    for start, stop in grid.bands(0, *grid.shape):
        inside = share[np.ix_(cells[0][start:stop], cells[1])].ravel()
        sums += np.bincount(labels[start:stop].ravel(), inside, len(sums))
    return sums
