"""Strokes as GeoJSON: the cells that show, at the place of the image's pixels."""

from __future__ import annotations

import json

import numpy as np
import pytest
from shapely.geometry import Point, shape

from napari_wsol.journal.geojson import write_strokes
from napari_wsol.strokes.annotations import drawn_on, label_of, read_annotations
from napari_wsol.strokes.canvas import Canvas
from napari_wsol.strokes.stroke import StrokeList, drawn

SHAPE = (40, 60)


def painted(strokes, labels, label, tool="brush", **facts):
    return strokes.add(strokes.made(labels, label=label, tool=tool, **facts))


@pytest.fixture
def strokes():
    """A foreground ring, background across it, and an eraser across both."""
    strokes = StrokeList.empty(SHAPE)
    labels = strokes.canvas.copy()
    labels[5:20, 5:20] = 2
    labels[10:15, 10:15] = 0
    strokes = painted(
        strokes, labels, 2, path=[(5.25, 6.5), (19.0, 6.0)], width=12.0, seconds=1.5
    )
    labels = strokes.canvas.copy()
    labels[18:25, 0:40] = 1
    strokes = painted(strokes, labels, 1)
    labels = strokes.canvas.copy()
    labels[0:40, 7] = 0
    return painted(strokes, labels, 0, tool="erase")


def features(path):
    return json.loads(path.read_text("utf-8"))["features"]


@pytest.mark.parametrize("step", [1, 4])
def test_the_polygons_are_the_cells_that_show(strokes, painting, tmp_path, step):
    # The last row and column of cells stick out of the image.
    size = (SHAPE[0] * step - (step - 1), SHAPE[1] * step - (step - 1))
    canvas = Canvas(SHAPE, (step, step), ((step - 1) / 2, (step - 1) / 2))
    image = painting.image_facts(
        shape=size, canvas_scale=canvas.scale, canvas_translate=canvas.translate
    )
    path = tmp_path / "strokes.geojson"
    assert write_strokes(path, strokes, image) == 2
    found = features(path)
    shapes = [shape(item["geometry"]) for item in found]
    assert all(item.is_valid for item in shapes)
    seen = np.zeros(SHAPE, np.uint8)
    for item, label in zip(shapes, (2, 1), strict=True):
        for row, column in np.ndindex(SHAPE):
            at = Point((column + 0.5) * step, (row + 0.5) * step)
            if item.intersects(at):
                seen[row, column] = label
    assert np.array_equal(seen, strokes.canvas)
    assert sum(item.area for item in shapes) == np.count_nonzero(seen) * step**2


def test_what_is_known_of_a_stroke_goes_with_it(strokes, image, tmp_path):
    path = tmp_path / "strokes.geojson"
    write_strokes(path, strokes, image)
    first, second = features(path)
    properties = first["properties"]
    assert properties["classification"] == {
        "name": "Foreground",
        "color": [230, 159, 0],
    }
    assert second["properties"]["classification"]["name"] == "Background"
    assert (properties["number"], properties["tool"]) == (1, "brush")
    assert (properties["width"], properties["seconds"]) == (12.0, 1.5)
    assert properties["path"] == [[7.0, 5.75], [6.5, 19.5]]
    assert properties["time"] == strokes.strokes[0].time
    assert all(isinstance(item, str) for item in properties["metadata"].values())
    assert first["id"] != second["id"]
    again = tmp_path / "again.geojson"
    write_strokes(again, strokes, image)
    assert again.read_bytes() == path.read_bytes()


def test_our_own_reader_takes_them_back(strokes, image, tmp_path):
    path = tmp_path / "strokes.geojson"
    write_strokes(path, strokes, image)
    canvas = Canvas(SHAPE, (1.0, 1.0), (0.0, 0.0))
    read = np.zeros(SHAPE, np.uint8)
    for item in read_annotations(path):
        part, (top, left) = drawn_on(item, canvas)
        here = read[top : top + part.shape[0], left : left + part.shape[1]]
        here[part] = label_of(item.name)
    assert np.array_equal(read, strokes.canvas)


def test_nothing_that_shows_gives_an_empty_file(image, tmp_path):
    path = tmp_path / "strokes.geojson"
    assert write_strokes(path, StrokeList.empty(SHAPE), image) == 0
    assert features(path) == []
    with pytest.raises(FileExistsError):
        write_strokes(path, StrokeList.empty(SHAPE), image)


@pytest.mark.parametrize("seed", range(5))
def test_random_strokes_are_valid(image, tmp_path, seed):
    rng = np.random.default_rng(seed)
    strokes = StrokeList.empty(SHAPE)
    for _ in range(4):
        labels = np.where(
            rng.random(SHAPE) < 0.5, strokes.canvas, rng.integers(0, 3, SHAPE)
        )
        strokes = painted(strokes, labels.astype(np.uint8), 2, tool="edit")
    assert np.array_equal(drawn(strokes.strokes, SHAPE), strokes.canvas)
    path = tmp_path / "strokes.geojson"
    write_strokes(path, strokes, image)
    shapes = [shape(item["geometry"]) for item in features(path)]
    assert all(item.is_valid for item in shapes)
    assert sum(item.area for item in shapes) == np.count_nonzero(strokes.canvas)
