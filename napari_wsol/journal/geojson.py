"""Strokes as annotations that QuPath and other programs read.

Positions in the file are (x, y) in level-0 pixels measured from the image's upper left
corner, as in all GeoJSON of this package: pixel (0, 0) covers 0 to 1 both ways.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import numpy as np
from shapely.geometry import MultiPolygon, Polygon

from napari_wsol.export.labels import STROKES
from napari_wsol.export.masks import boxes_of, connected
from napari_wsol.export.outlines import outline, rings_of, write_features
from napari_wsol.strokes.stroke import owners

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_wsol.export.masks import BoolMap, FloatLine
    from napari_wsol.journal.image import ImageFacts
    from napari_wsol.strokes.stroke import Stroke, StrokeList


def write_strokes(path: Path, strokes: StrokeList, image: ImageFacts) -> int:
    """Writes the strokes that show on the canvas, one feature a stroke and label.

    What was erased or painted over is not there any more; a stroke of which nothing
    shows is left out.

    Args:
        path: of the new file.
        strokes: on the canvas of the image.
        image: where that canvas lies.

    Returns:
        How many features were written.

    Raises:
        OSError: the file exists, or cannot be written.
    """
    with path.open("x", encoding="utf-8", errors="backslashreplace") as file:
        return write_features(file, stroke_features(strokes, image))


def stroke_features(
    strokes: StrokeList, image: ImageFacts
) -> Iterator[dict[str, object]]:
    """The features, in the order in which the strokes were made."""
    canvas = strokes.canvas
    owner = owners(strokes.strokes, canvas)
    y_edges, x_edges = _edges(image, 0), _edges(image, 1)
    for place, stroke in enumerate(strokes.strokes):
        top, left, bottom, right = stroke.box
        here = (slice(top, bottom), slice(left, right))
        ours = owner[here] == place
        for label in STROKES:
            cells = ours & (canvas[here] == label)
            if cells.any():
                shape = _polygons(
                    cells,
                    y_edges[top : bottom + 1],
                    x_edges[left : right + 1],
                )
                yield _feature(stroke, label, shape, image.fingerprint)


def _edges(image: ImageFacts, axis: int) -> FloatLine:
    """(n + 1,) borders of rows (0) or columns (1) of the canvas."""
    scale, centre = image.canvas_scale[axis], image.canvas_translate[axis]
    count = image.canvas_shape[axis]
    # Integers are centres of pixels there, and borders here.
    at = centre + 0.5 - scale / 2 + np.arange(count + 1, dtype=np.float64) * scale
    return np.clip(at, 0, image.shape[axis])


def _polygons(
    cells: BoolMap, y_edges: FloatLine, x_edges: FloatLine
) -> Polygon | MultiPolygon:
    labels = connected(cells)
    found = [
        outline(
            labels[rows, columns] == number,
            y_edges[rows.start : rows.stop + 1],
            x_edges[columns.start : columns.stop + 1],
        )
        for number, (rows, columns) in enumerate(boxes_of(labels), start=1)
    ]
    # Pieces that touch do so at corners only, so that together they are valid.
    return found[0] if len(found) == 1 else MultiPolygon(found)


def _feature(
    stroke: Stroke, label: int, shape: Polygon | MultiPolygon, fingerprint: str
) -> dict[str, object]:
    content = f"{fingerprint}/stroke/{stroke.number}/{label}/{shape.wkt}"
    facts = {
        "number": stroke.number,
        "tool": stroke.tool,
        "time": stroke.time,
        "seconds": round(stroke.seconds, 3),
        "width": round(stroke.width, 3),
    }
    rings = (
        rings_of(shape)
        if isinstance(shape, Polygon)
        else [rings_of(part) for part in shape.geoms]
    )
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, content)),
        "geometry": {"type": shape.geom_type, "coordinates": rings},
        "properties": {
            "objectType": "annotation",
            "name": f"Stroke {stroke.number}",
            "classification": dict(zip(("name", "color"), STROKES[label], strict=True)),
            "isLocked": False,
            "measurements": {"Area px^2": shape.area},
            # Shown by QuPath, which takes text only.
            "metadata": {key: str(value) for key, value in facts.items()},
            **facts,
            "path": [[round(x + 0.5, 2), round(y + 0.5, 2)] for y, x in stroke.path],
        },
    }
