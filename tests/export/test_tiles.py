import csv

import numpy as np
import pytest

from napari_wsol.config import ExportConfig
from napari_wsol.export import export_heatmap
from napari_wsol.export.tiles import METHOD, tile_table
from napari_wsol.methods.attention_mil import AttentionMil


def attention_over(make_heatmap, shape, values, **changes):
    settings = {"method": METHOD, "is_probability": False, **changes}
    return make_heatmap(shape, values, **settings)


def rows_of(folder, heatmap, slide):
    paths = export_heatmap(folder, heatmap, slide, ExportConfig(formats=("csv",)), {})
    (table,) = (path for path in paths if "_tiles" in path.name)
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_attention_is_exported_tile_by_tile(tmp_path, make_heatmap, make_slide):
    # Tiles of 28 pixels from (4, 6) on: rims are left out.
    heatmap = attention_over(
        make_heatmap,
        (64, 96),
        [[1.0, 0.5, 0.25], [0.5, 0.25, 0.0]],
        scale=(28.0, 28.0),
        translate=(4 + 13.5, 6 + 13.5),
    )
    rows = rows_of(tmp_path, heatmap, make_slide((64, 96)))
    assert len(rows) == 6
    weights = [float(row["attention"]) for row in rows]
    assert sum(weights) == pytest.approx(1)
    assert weights == pytest.approx([0.4, 0.2, 0.1, 0.2, 0.1, 0.0])
    assert [int(row["rank"]) for row in rows] == [1, 2, 4, 3, 5, 6]
    places = [[row[key] for key in ("y", "x", "height", "width")] for row in rows]
    assert places[0] == ["4", "6", "28", "28"]
    assert places[5] == ["32", "62", "28", "28"]
    assert [(row["row"], row["column"]) for row in rows][3] == ("1", "0")


def test_other_methods_have_no_tiles(tmp_path, heatmap, slide):
    paths = export_heatmap(tmp_path, heatmap, slide, ExportConfig(formats=("csv",)), {})
    assert not any("_tiles" in path.name for path in paths)


def test_a_table_of_tiles_is_not_replaced(tmp_path, make_heatmap, make_slide):
    heatmap = attention_over(make_heatmap, (56, 56), np.ones((2, 2)))
    slide = make_slide((56, 56))
    (tmp_path / f"colon_{METHOD}_malignant_tiles.csv").write_text("mine")
    rows = rows_of(tmp_path, heatmap, slide)
    assert (tmp_path / f"colon_{METHOD}_malignant_tiles.csv").read_text() == "mine"
    assert [float(row["attention"]) for row in rows] == [0.25] * 4
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"]


def test_a_tile_ends_where_its_image_ends(make_heatmap):
    heatmap = attention_over(
        make_heatmap, (20, 28), [[1.0]], scale=(28.0, 28.0), translate=(13.5, 13.5)
    )
    (tile,) = tile_table(heatmap, {})
    assert [tile[key] for key in ("y", "x", "height", "width")] == [
        "0",
        "0",
        "20",
        "28",
    ]
    assert (tile["rank"], tile["attention"]) == (1, "1")


def test_the_table_is_that_of_the_attention_method():
    assert AttentionMil.name == METHOD
    assert AttentionMil.from_zero
