"""Lines around what lies above the threshold: one Vectors layer a heatmap.

A Shapes layer takes seconds for what a Vectors layer draws in 50 ms, and a Labels
contour is as coarse as the map. Every piece of an iso-line is a vector; the width
follows the zoom, so that lines stay two pixels thin on the screen.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from skimage.measure import find_contours

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from napari_wsol.images.heatmap import Heatmap

LINE_PIXELS = 2.0
"""Thickness on the screen."""

BAND_CELLS = 100_000

LARGE_CELLS = 60_000
"""Cells of a map whose lines take longer than a frame."""

MAX_CROSSINGS = 20_000
"""Pieces of line that are drawn within a frame or two; more nobody can tell apart."""


def contour_segments(heatmap: Heatmap, cut: float) -> npt.NDArray[np.float32]:
    """Pieces of the iso-line at ``cut``, closed along the image's border.

    Args:
        heatmap: the map; between cell centres it is bilinear.
        cut: value of the line.

    Returns:
        (N, 2, 2) float32 start points and directions, in cells of the map.
    """
    if heatmap.signed:  # for the class, and against it
        sides = heatmap.values, 1 - heatmap.values
        plain = (replace(heatmap, values=one, signed=False) for one in sides)
        return np.concatenate([contour_segments(one, cut) for one in plain])
    values = np.asarray(heatmap.values, np.float32)
    step = _thinning(values >= cut)
    values = values[::step, ::step]
    # One repeated cell reaches the image's border, one low cell closes the line there.
    values = np.pad(values, 1, mode="edge")
    values = np.pad(values, 1, constant_values=-1.0)
    low, high = (border / step for border in _borders(heatmap))
    pieces = []
    for first, band in _bands(values):
        for line in find_contours(band, _inside(cut)):
            points = np.clip(line + np.array([first - 2, -2]), low, high)
            pieces.append(np.stack([points[:-1], np.diff(points, axis=0)], axis=1))
    if not pieces:
        return np.zeros((0, 2, 2), np.float32)
    segments = np.concatenate(pieces)
    moved = np.abs(segments[:, 1]).sum(axis=1) > 1e-6
    return (segments[moved] * step).astype(np.float32)


def _bands(
    values: npt.NDArray[np.float32],
) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """Rows that share their border row, so that the pieces of lines fit together.

    The search for lines in one band holds up other threads for a few milliseconds at
    most.
    """
    rows = max(1, BAND_CELLS // values.shape[1])
    for first in range(0, values.shape[0] - 1, rows):
        yield first, values[first : first + rows + 1]


def _thinning(inside: npt.NDArray[np.bool_]) -> int:
    """Every how many cells a line is drawn: 1, unless the map is as rough as noise."""
    step = 1
    while True:
        part = inside[::step, ::step]
        crossings = np.count_nonzero(part[1:] != part[:-1])
        crossings += np.count_nonzero(part[:, 1:] != part[:, :-1])
        if crossings <= MAX_CROSSINGS:
            return step
        step *= 2


def _inside(cut: float) -> float:
    """A level that exists: cells equal to the cut belong to the inside."""
    return float(np.nextafter(np.float32(cut), np.float32(-1.0)))


def _borders(
    heatmap: Heatmap,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The image's first and last border in cells, where pixel centres are integers."""
    scale, translate = np.asarray(heatmap.scale), np.asarray(heatmap.translate)
    low = (-0.5 - translate) / scale
    high = (np.asarray(heatmap.image_shape) - 0.5 - translate) / scale
    return low, high
