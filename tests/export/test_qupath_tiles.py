"""Maps as QuPath tiles, read back by what QuPath's documentation says of its files.

https://qupath.readthedocs.io/en/stable/docs/advanced/exporting_annotations.html: a
FeatureCollection; "objectType" is one of annotation, detection, cell, tile, tmaCore;
"classification" has a name and a colour of three bytes; "measurements" are numbers by
name; positions are in pixels of the full image from its upper left corner.
"""

import csv
import gzip
import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from shapely.geometry import shape as as_shape
from shapely.ops import unary_union

from napari_wsol.config import ExportConfig
from napari_wsol.errors import JobCancelledError
from napari_wsol.export import export_heatmap
from napari_wsol.export.masks import Grid
from napari_wsol.export.tiles import MOST_TILES, map_tiles
from napari_wsol.export.writers import Parts, write_tiles_geojson

TILES = ExportConfig(threshold=0.4, formats=("tiles", "tiles-gz"))


def as_qupath_reads(text):
    """The tiles of a file: (geometry, class name, measurements) of each."""

    def once(pairs):
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    def never(word):
        raise AssertionError(f"{word} is no JSON")

    told = json.loads(text, object_pairs_hook=once, parse_constant=never)
    assert told["type"] == "FeatureCollection"
    found = []
    for feature in told["features"]:
        assert feature["type"] == "Feature"
        said = feature["properties"]
        assert said["objectType"] == "tile"
        kind = said.get("classification")
        if kind is not None:
            assert set(kind) == {"name", "color"}
            assert len(kind["color"]) == 3
            assert all(type(byte) is int and 0 <= byte <= 255 for byte in kind["color"])
        assert all(type(value) is float for value in said["measurements"].values())
        geometry = as_shape(feature["geometry"])
        assert geometry.is_valid
        found.append((geometry, kind and kind["name"], said["measurements"]))
    return found


def test_each_cell_is_a_tile_with_a_measurement_a_method(
    tmp_path, heatmap, make_heatmap, slide
):
    other = make_heatmap((120, 152), np.linspace(0, 1, 12).reshape(3, 4), method="cam")
    beside = {"pixelcam": heatmap, "cam": other}
    plain, packed, _ = export_heatmap(
        tmp_path, heatmap, slide, TILES, {}, heatmaps=beside
    )
    assert packed.name == "colon_pixelcam_malignant_tiles.geojson.gz"
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()
    tiles = as_qupath_reads(plain.read_text("utf-8"))
    assert len(tiles) == heatmap.values.size
    # Together they are the image, and none lies on another.
    assert unary_union([tile for tile, *_ in tiles]).equals(
        as_shape(
            {
                "type": "Polygon",
                "coordinates": [[[0, 0], [152, 0], [152, 120], [0, 120], [0, 0]]],
            }
        )
    )
    assert sum(tile.area for tile, *_ in tiles) == pytest.approx(120 * 152)
    for tile, kind, told in tiles:
        x, y = tile.centroid.x - 0.5, tile.centroid.y - 0.5
        assert told == {
            "pixelcam": pytest.approx(heatmap.at(y, x), abs=1e-5),
            "cam": pytest.approx(other.at(y, x), abs=1e-5),
        }
        assert (kind == "malignant") == (told["pixelcam"] >= 0.4)
    again, *_ = export_heatmap(tmp_path, heatmap, slide, TILES, {}, heatmaps=beside)
    assert again.read_bytes() == plain.read_bytes()


def test_tiles_end_where_the_image_ends(make_heatmap):
    heatmap = make_heatmap(
        (50, 60), np.ones((2, 3)), scale=(28.0, 28.0), translate=(13.5, 13.5)
    )
    boxes = [box for box, _ in map_tiles(heatmap, {"pixelcam": heatmap})]
    assert boxes == [
        *[(x, 0, min(x + 28, 60), 28) for x in (0, 28, 56)],
        *[(x, 28, min(x + 28, 60), 50) for x in (0, 28, 56)],
    ]


def test_many_cells_are_taken_together_and_keep_their_mean(make_heatmap):
    values = np.random.default_rng(0).random((7, 11)).astype(np.float32)
    heatmap = make_heatmap((70, 110), values)
    found = list(map_tiles(heatmap, {"a": heatmap}, most=12))
    assert [box for box, _ in found[:2]] == [(0, 0, 30, 30), (30, 0, 60, 30)]
    assert len(found) == 3 * 4
    assert found[0][1]["a"] == pytest.approx(values[:3, :3].mean())
    assert found[-1][1]["a"] == pytest.approx(values[6:, 9:].mean())


def test_glass_has_no_tiles_and_evidence_always_has(make_heatmap):
    values = np.zeros((4, 4))
    values[0, 0] = 0.5
    tissue = np.zeros((8, 8), bool)
    tissue[4:6, 6:] = True
    heatmap = make_heatmap((400, 400), values)
    found = [box for box, _ in map_tiles(heatmap, {"a": heatmap}, tissue)]
    assert found == [(0, 0, 100, 100), (300, 200, 400, 300)]


def parts_of(heatmap, **changes):
    return Parts(
        mask=np.zeros((0, 0), bool),
        grid=Grid(heatmap.image_shape),
        regions=[],
        heatmap=heatmap,
        mpp=0.5,
        fingerprint="0" * 64,
        **changes,
    )


@pytest.mark.parametrize("rows", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_number_of_tiles(tmp_path, make_heatmap, rows):
    """Up to 100,000 tiles with two methods, written in the memory of 500."""
    peaks = []
    for count in (5, rows):
        values = np.random.default_rng(0).random((count, 100)).astype(np.float32)
        heatmap = make_heatmap((count * 32, 3200), values)
        other = replace(heatmap, values=1 - values, method="cam")
        parts = parts_of(heatmap, heatmaps={"cam": other})
        path = tmp_path / f"{count}.geojson.gz"
        tracemalloc.start()
        write_tiles_geojson(path, parts)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        with gzip.open(path, "rt", encoding="utf-8") as file:
            assert sum('"objectType":"tile"' in line for line in file) == count * 100
    assert count * 100 <= MOST_TILES
    assert peaks[1] < peaks[0] + 200_000  # what holds 100 of them would be more
    assert path.stat().st_size < 6e6


def test_a_cancel_while_tiles_are_written_leaves_nothing(
    tmp_path, make_heatmap, make_slide
):
    heatmap = make_heatmap((400, 400), np.ones((40, 40)))
    left = [40]

    def report(*_):
        left[0] -= 1
        if left[0] < 0:
            raise JobCancelledError

    with pytest.raises(JobCancelledError):
        export_heatmap(
            tmp_path / "out", heatmap, make_slide((400, 400)), TILES, {}, report=report
        )
    assert not (tmp_path / "out").exists()


def test_attention_has_its_table_beside_its_tiles(tmp_path, make_heatmap, make_slide):
    heatmap = make_heatmap((56, 56), np.ones((2, 2)), method="attention_mil")
    config = ExportConfig(formats=("csv", "tiles"))
    paths = export_heatmap(tmp_path, heatmap, make_slide((56, 56)), config, {})
    table = next(path for path in paths if path.name.endswith("_tiles.csv"))
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    tiles = next(path for path in paths if path.name.endswith("_tiles.geojson"))
    assert [tile.bounds[:2] for tile, *_ in as_qupath_reads(tiles.read_text())] == [
        (float(row["x"]), float(row["y"])) for row in rows
    ]
