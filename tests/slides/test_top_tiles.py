"""The highest places of a map, none over another, and where they lie on the slide."""

import csv
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from napari_wsol.errors import ConfigError
from napari_wsol.images.heatmap import Heatmap
from napari_wsol.images.readers import open_slide
from napari_wsol.slides.top_tiles import thumbnail, top_tiles, write_top_tiles


def heatmap(values, scale=10.0, shape=None, translate=None):
    values = np.asarray(values, np.float32)
    start = (scale - 1) / 2 if translate is None else translate
    return Heatmap(
        values=values,
        scale=(scale, scale),
        translate=(start, start),
        image_shape=shape or tuple(round(side * scale) for side in values.shape),
        method="pcam",
        target="tumour",
        is_probability=True,
    )


def of_evidence(raw, **changes):
    """A map with a sign."""
    most = float(np.abs(raw).max())
    values = 0.5 + np.asarray(raw) / (2 * most)
    span = float(np.min(raw)), float(np.max(raw))
    return replace(heatmap(values, **changes), signed=True, raw_range=span)


def overlap(one, other):
    return abs(one.y - other.y) < max(one.height, other.height) and abs(
        one.x - other.x
    ) < max(one.width, other.width)


def test_without_a_side_the_highest_cells_in_order():
    values = np.zeros((4, 5))
    values[1, 2], values[3, 4], values[0, 0] = 0.9, 1.0, 0.3
    found = top_tiles(heatmap(values), 10)
    assert [(t.rank, round(t.value, 6), t.y, t.x) for t in found] == [
        (1, 1.0, 30, 40),
        (2, 0.9, 10, 20),
        (3, 0.3, 0, 0),
    ]
    assert {(t.height, t.width) for t in found} == {(10, 10)}


@pytest.mark.parametrize("cells", [2, 5, 8, 13])
def test_the_first_window_has_the_highest_mean_and_none_overlap(cells):
    rng = np.random.default_rng(cells)
    values = rng.random((61, 83)).astype(np.float32)
    found = top_tiles(heatmap(values), 8, side=cells * 10.0)
    assert len(found) == 8
    assert not any(overlap(a, b) for a, b in combinations(found, 2))
    assert [t.value for t in found] == sorted((t.value for t in found), reverse=True)
    for tile in found:
        rows = slice(round(tile.y / 10), round((tile.y + tile.height) / 10))
        columns = slice(round(tile.x / 10), round((tile.x + tile.width) / 10))
        assert tile.value == pytest.approx(values[rows, columns].mean(), abs=1e-5)
    step = max(1, cells // 4)
    size = round(cells / step) * step
    every = np.lib.stride_tricks.sliding_window_view(values, (size, size)).mean((2, 3))
    assert found[0].value >= every[::step, ::step].max() - 1e-5


def test_the_last_window_reaches_the_border_and_is_cut_there():
    values = np.zeros((30, 30))
    values[-3:, -3:] = 1
    found = top_tiles(heatmap(values, shape=(296, 295)), 1, side=80)[0]
    assert (found.y + found.height, found.x + found.width) == (296, 295)
    assert found.height == 76


def test_nothing_gives_nothing_and_a_plateau_gives_neighbours():
    assert top_tiles(heatmap(np.zeros((20, 20))), 5, side=50) == []
    found = top_tiles(heatmap(np.ones((20, 20))), 50, side=50)
    assert len(found) == 16  # four by four fill the map
    assert len(top_tiles(heatmap(np.ones((3, 3))), 5, side=1000)) == 1
    with pytest.raises(ConfigError):
        top_tiles(heatmap(np.ones((3, 3))), 0)


def test_evidence_has_tiles_for_and_tiles_against():
    raw = np.zeros((4, 5))
    raw[1, 2], raw[3, 4], raw[0, 0], raw[2, 0] = 0.004, 0.001, -0.002, -0.008
    signed = of_evidence(raw)
    assert [(round(t.value, 8), t.y, t.x) for t in top_tiles(signed, 10)] == [
        (0.004, 10, 20),
        (0.001, 30, 40),
    ]
    found = top_tiles(signed, 10, against=True)
    assert [(t.rank, round(t.value, 8), t.y, t.x) for t in found] == [
        (1, -0.008, 20, 0),
        (2, -0.002, 0, 0),
    ]
    assert top_tiles(of_evidence(np.full((3, 3), -1.0)), 5) == []


def test_windows_of_evidence_say_its_mean():
    raw = np.random.default_rng(3).normal(size=(40, 40)).astype(np.float32)
    raw[8:16, 20:28] -= 3
    first = top_tiles(of_evidence(raw), 4, side=80, against=True)[0]
    assert (first.y, first.x) == (80, 200)
    assert first.value == pytest.approx(raw[8:16, 20:28].mean(), abs=1e-5)


def test_a_large_map_is_worked_off_in_bands(monkeypatch):
    values = np.random.default_rng(0).random((90, 70)).astype(np.float32)
    whole = top_tiles(heatmap(values), 9, side=80)
    monkeypatch.setattr("napari_wsol.slides.top_tiles._BAND_CELLS", 1000)
    assert top_tiles(heatmap(values), 9, side=80) == whole


def test_pictures_show_the_place(tmp_path):
    image = np.zeros((400, 600, 3), np.uint8)
    image[200:280, 320:400] = (250, 20, 20)
    values = np.zeros((40, 60))
    values[20:28, 32:40] = 1
    slide = open_slide(image)
    found = top_tiles(heatmap(values), 3, side=80)
    assert (found[0].y, found[0].x, found[0].value) == (200, 320, 1.0)
    picture = thumbnail(slide, found[0], 40)
    assert picture.shape == (40, 40, 3)
    inside = picture[2:-2, 2:-2].astype(int)  # its rim is mixed with what is around
    assert np.abs(inside - (250, 20, 20)).max() <= 2
    paths = write_top_tiles(tmp_path / "top", slide, found, 40)
    assert [path.name for path in paths] == ["001.png", "tiles.csv"]
    assert np.array_equal(np.asarray(Image.open(paths[0])), picture)
    with paths[-1].open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["rank"], row["y"], row["x"], row["file"]) == (
        "1",
        "200",
        "320",
        "001.png",
    )
    assert not list(tmp_path.glob(".*"))
