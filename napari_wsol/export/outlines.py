"""Pixel-exact outlines of a region as one valid polygon with holes, and as GeoJSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from shapely.geometry import Polygon

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import TextIO

    from napari_wsol.export.masks import BoolMap, FloatLine

IntLine = npt.NDArray[np.int64]


def outline(cells: BoolMap, y_edges: FloatLine, x_edges: FloatLine) -> Polygon:
    """The polygon along the pixel edges of one 4-connected region.

    Painting the pixels whose centre lies inside gives the region back exactly, and the
    polygon's area is the region's. Corners only, no simplification. Outer ring and
    holes run in opposite directions (the outer one has positive area in (x, y)).

    The result is valid without repair: where two pixels of the region touch at a
    corner only, the walk crosses over to the other one. As the two are also joined
    elsewhere, the background quadrants at that corner are different ones, so no ring
    passes a corner twice; rings may meet at single points, which is allowed.

    Args:
        cells: (h, w) bool, one 4-connected region.
        y_edges: (h + 1,) positions of the row borders.
        x_edges: (w + 1,) positions of the column borders.
    """
    keys, directions = _boundary(cells)
    columns = cells.shape[1] + 1
    outer: list[tuple[float, float]] = []
    holes: list[list[tuple[float, float]]] = []
    for ring in _rings(_successors(keys, directions, columns)):
        turns = directions[ring] != directions[np.roll(ring, 1)]
        row, column = np.divmod(keys[ring[turns]] // 4, columns)
        x, y = x_edges[column], y_edges[row]
        points = list(zip(x.tolist(), y.tolist(), strict=True))
        if _signed_area(x, y) > 0:
            outer = points
        else:
            holes.append(points)
    return Polygon(outer, holes)


def rings_of(polygon: Polygon) -> list[list[list[float]]]:
    """Coordinates for GeoJSON, the outer ring first; borders of pixels are integers."""
    rings = (polygon.exterior, *polygon.interiors)
    return [
        [[int(v) if v == int(v) else v for v in point] for point in ring.coords]
        for ring in rings
    ]


def write_features(file: TextIO, features: Iterable[Mapping[str, object]]) -> int:
    """Writes a GeoJSON FeatureCollection, a feature a line; how many there are."""
    count = 0
    # Not json.dump: that is five times slower.
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
    file.write('{"type":"FeatureCollection","features":[')
    for feature in features:
        file.write(",\n" if count else "\n")
        file.write(encode(feature))
        count += 1
    file.write("\n]}\n")
    return count


def _boundary(cells: BoolMap) -> tuple[IntLine, IntLine]:
    """Directed pixel edges between foreground and background.

    Directions are 0 right, 1 down, 2 left, 3 up, with the foreground to the right hand
    of the walker. A key is ``4 * vertex + direction`` of where the edge starts, and a
    vertex is ``row * (w + 1) + column`` of the lattice of pixel corners.

    Returns:
        Sorted keys and their directions.
    """
    padded = np.pad(cells, 1)
    inner = padded[1:-1, 1:-1]
    # Neighbour that must be background, and the start corner of that edge.
    sides = (
        (padded[:-2, 1:-1], 0, 0),
        (padded[1:-1, 2:], 0, 1),
        (padded[2:, 1:-1], 1, 1),
        (padded[1:-1, :-2], 1, 0),
    )
    keys: list[IntLine] = []
    for direction, (neighbour, down, right) in enumerate(sides):
        row, column = np.nonzero(inner & ~neighbour)
        vertex = (row + down) * (cells.shape[1] + 1) + column + right
        keys.append(vertex.astype(np.int64) * 4 + direction)
    merged = np.sort(np.concatenate(keys))
    return merged, merged % 4


def _successors(keys: IntLine, directions: IntLine, columns: int) -> list[int]:
    """For every edge the index of the one that follows it."""
    step = np.array([1, columns, -1, -columns], np.int64)
    end = (keys // 4 + step[directions]) * 4
    # Left turn first: at a corner with two ways out it crosses to the other pixel.
    wanted = [end + (directions + turn) % 4 for turn in (-1, 0, 1)]
    found = [np.searchsorted(keys, want) for want in wanted]
    last = len(keys) - 1
    hits = [
        keys[np.minimum(at, last)] == want
        for at, want in zip(found, wanted, strict=True)
    ]
    return np.select(hits, found).tolist()


def _rings(successors: list[int]) -> list[IntLine]:
    """The closed walks, each as the indices of its edges in order."""
    seen = bytearray(len(successors))
    rings: list[IntLine] = []
    for first in range(len(successors)):
        if seen[first]:
            continue
        ring: list[int] = []
        edge = first
        while not seen[edge]:
            seen[edge] = 1
            ring.append(edge)
            edge = successors[edge]
        rings.append(np.array(ring, np.int64))
    return rings


def _signed_area(x: FloatLine, y: FloatLine) -> float:
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2
