"""Lines and polygons as cells."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from napari_wsol.errors import ImageError
from napari_wsol.strokes.canvas import Canvas
from napari_wsol.strokes.raster import brushed, filled

FINE = Canvas.over((40, 60))
COARSE = Canvas((10, 15), (4, 4), (1.5, 1.5))


def on(canvas, part, origin):
    whole = np.zeros(canvas.shape, bool)
    whole[
        origin[0] : origin[0] + part.shape[0], origin[1] : origin[1] + part.shape[1]
    ] = part
    return whole


def centres(canvas):
    rows, columns = np.indices(canvas.shape)
    return (
        rows * canvas.scale[0] + canvas.translate[0],
        columns * canvas.scale[1] + canvas.translate[1],
    )


@pytest.mark.parametrize("canvas", [FINE, COARSE])
@pytest.mark.parametrize("seed", range(5))
def test_a_brush_marks_the_cells_whose_centres_it_covers(canvas, seed):
    rng = np.random.default_rng(seed)
    path = rng.uniform((0, 0), (40, 60), (4, 2))
    found = on(canvas, *brushed([tuple(p) for p in path], 9.0, canvas))
    y, x = centres(canvas)
    distance = np.full(canvas.shape, np.inf)
    for start, end in pairwise(path):
        for share in np.linspace(0, 1, 500):
            at = start + share * (end - start)
            distance = np.minimum(distance, np.hypot(y - at[0], x - at[1]))
    assert found[distance < 4.4].all()
    assert not found[distance > 4.6].any()


@pytest.mark.parametrize("seed", range(10))
def test_a_thin_line_has_no_gaps_and_holds_its_ends(seed):
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    path = [tuple(p) for p in rng.uniform((0, 0), (39, 59), (2, 2))]
    found = on(FINE, *brushed(path, 0.0, FINE))
    assert ndimage.label(found, np.ones((3, 3)))[1] == 1
    for y, x in path:
        assert found[round(y), round(x)]


def test_a_polygon_marks_the_cells_whose_centres_it_holds():
    corners = [(10.2, 5.1), (10.2, 40.7), (30.9, 40.7), (30.9, 5.1)]
    found = on(FINE, *filled(corners, FINE))
    y, x = centres(FINE)
    assert np.array_equal(found, (y > 10.2) & (y < 30.9) & (x > 5.1) & (x < 40.7))


@pytest.mark.parametrize("seed", range(20))
def test_a_polygon_that_crosses_itself_follows_the_even_odd_rule(seed):
    rng = np.random.default_rng(seed)
    corners = rng.uniform((-10, -10), (50, 70), (7, 2))
    found = on(FINE, *filled([tuple(p) for p in corners], FINE))
    centre = np.stack([axis.ravel() for axis in centres(FINE)], axis=1)
    turns = np.zeros(len(centre), int)
    for (y, x), (to_y, to_x) in pairwise([*corners, corners[0]]):
        spans = (y > centre[:, 0]) != (to_y > centre[:, 0])
        at = x + (centre[:, 0] - y) / (to_y - y) * (to_x - x)
        turns += spans & (at > centre[:, 1])
    assert np.array_equal(found, (turns % 2 == 1).reshape(FINE.shape))


def test_the_border_of_a_polygon_is_in():
    diamond = [(10, 20), (20, 30), (30, 20), (20, 10)]
    found = on(FINE, *filled(diamond, FINE))
    y, x = centres(FINE)
    assert np.array_equal(found, abs(y - 20) + abs(x - 20) <= 10)


def test_what_lies_outside_is_cut():
    part, _ = brushed([(-50, -50), (-40, -40)], 5, FINE)
    assert not part.any()
    found = on(FINE, *filled([(-10, -10), (-10, 10), (10, 10), (10, -10)], FINE))
    assert np.array_equal(np.argwhere(found).max(0), [10, 10])
    assert found[:11, :11].all()


@pytest.mark.parametrize("path", [[], [(1, float("nan"))], [(1, 2, 3)]])
def test_no_line_is_told(path):
    with pytest.raises(ImageError):
        brushed(path, 3, FINE)
    with pytest.raises(ImageError, match="at least 3 points"):
        filled([(0, 0), (1, 1)], FINE)
