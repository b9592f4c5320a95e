"""Exports of maps over slides: nothing as large as the slide is ever made."""

import json
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from napari_wsol.config import ExportConfig
from napari_wsol.export import export_heatmap
from napari_wsol.export.masks import grid_for
from napari_wsol.export.tiles import METHOD, tile_table


class Wide:
    """A slide of which only what is known of it is asked for."""

    name, mpp, notes = "wide", 0.25, ()

    def __init__(self, shape):
        self.shape = shape

    def fingerprint(self):
        return "0" * 64


@pytest.mark.parametrize(
    ("shape", "cell", "downsample"),
    [
        ((80_000, 80_000), 37.3, 32),
        ((80_000, 80_000), 8.0, 16),  # 64 Mpx at most
        ((9000, 9000), 4.0, 4),
        ((4000, 4000), 37.3, 1),
    ],
)
def test_a_mask_is_about_as_coarse_as_its_map(shape, cell, downsample):
    assert grid_for(shape, cell=cell).downsample == downsample


def test_a_slide_of_many_gigapixels_takes_little_memory(tmp_path, make_heatmap):
    shape = (80_000, 64_000)
    values = np.zeros((1250, 1000), np.float32)
    values[250:500, 500:750] = 0.9
    heatmap, slide = make_heatmap(shape, values), Wide(shape)
    tracemalloc.start()
    png, geojson, _ = export_heatmap(
        tmp_path,
        heatmap,
        slide,
        ExportConfig(formats=("png", "geojson")),
        {},
        as_coarse=True,
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6
    with Image.open(png) as image:
        assert image.size == (1000, 1250)
        assert json.loads(image.text["Description"])["scale"] == [64, 64]
    (feature,) = json.loads(geojson.read_text("utf-8"))["features"]
    ring = np.array(feature["geometry"]["coordinates"][0])
    assert ring.min(0).tolist() == [32_000, 16_000]
    assert ring.max(0).tolist() == [48_000, 32_000]


def test_the_table_of_a_million_tiles_comes_one_by_one(make_heatmap):
    values = np.zeros((1000, 1000), np.float32)
    values[1, 2], values[2, 0] = 1.0, 0.25
    heatmap = make_heatmap((28_000, 28_000), values, method=METHOD)
    tracemalloc.start()
    table = tile_table(heatmap, {})
    found = [next(table) for _ in range(2001)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6
    assert (found[1002]["rank"], found[2000]["rank"]) == (1, 2)
    assert (found[1002]["attention"], found[2000]["attention"]) == ("0.8", "0.2")
    nothing = make_heatmap((84, 112), values[5:8, :4], method=METHOD)
    assert {tile["attention"] for tile in tile_table(nothing, {})} == {"0"}
