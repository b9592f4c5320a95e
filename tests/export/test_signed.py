"""Maps with a sign: what speaks for a class and what against it, in every export."""

import csv
import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_wsol.config import ExportConfig, FigureConfig
from napari_wsol.export import export_heatmap, regions_of, why_empty
from napari_wsol.export.figure import Panel, Sheet, panels_of
from napari_wsol.export.labels import AGAINST_COLOR, CLASS_COLOR
from napari_wsol.export.masks import Grid, cut_mask
from napari_wsol.export.regions import find_regions
from napari_wsol.images.heatmap import on_scale

RAW = [[0, 0, 0, 0], [0, 3, 0, -2], [0, 0, 0, 0]]
SHAPE = (60, 80)
BIAS = -0.25


@pytest.fixture
def signed(make_heatmap):
    """Makes a map of raw evidence."""

    def make(raw=RAW, shape=SHAPE, **changes):
        raw = np.asarray(raw, np.float32)
        low, high = float(raw.min()), float(raw.max())
        settings = {
            "method": "mil_evidence",
            "is_probability": False,
            "signed": True,
            "bias": BIAS,
            "raw_range": (low, high),
        }
        values = on_scale(raw, low, high, signed=True)
        return make_heatmap(shape, values, **(settings | changes))

    return make


@pytest.fixture
def written(tmp_path, signed, make_slide):
    """Exports a map; its files by what they hold and their ending."""

    def write(heatmap=None, shape=SHAPE, heatmaps=None, **config):
        heatmap = heatmap or signed()
        paths = export_heatmap(
            tmp_path,
            heatmap,
            make_slide(shape),
            ExportConfig(**{"threshold": 0.5, **config}),
            {},
            heatmaps=heatmaps,
        )
        stem = f"colon_{heatmap.method}_malignant_"
        return {path.name.removeprefix(stem): path for path in paths}

    return write


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_half_the_strongest_evidence_of_each_sign_is_cut_at_one_half(written, signed):
    files = written(formats=("png", "tiff"))
    values = signed().resized(SHAPE)
    marked = {"mask": values >= 0.75, "against": values <= 0.25}
    assert [int(mask.sum()) > 100 for mask in marked.values()] == [True, True]
    for what, expected in marked.items():
        assert np.array_equal(np.array(Image.open(files[f"{what}.png"])) > 0, expected)
        assert np.array_equal(tifffile.imread(files[f"{what}.tiff"]) > 0, expected)
    assert marked["mask"][30, 30]  # the middle of the tile with 3
    assert marked["against"][30, 70]


def test_a_map_without_a_sign_has_one_mask(tmp_path, heatmap, slide):
    config = ExportConfig(formats=("png", "tiff", "geojson"))
    paths = export_heatmap(tmp_path, heatmap, slide, config, {})
    assert not any("against" in path.name for path in paths)
    (regions,) = (path for path in paths if path.suffix == ".geojson")
    assert "against" not in regions.read_text("utf-8")


def test_regions_against_have_a_class_of_their_own(written):
    files = written(formats=("geojson", "csv"))
    features = json.loads(files["regions.geojson"].read_text("utf-8"))["features"]
    pro, contra = (item["properties"] for item in features)
    assert pro["classification"] == {"name": "malignant", "color": list(CLASS_COLOR)}
    assert contra["classification"] == {
        "name": "against malignant",
        "color": list(AGAINST_COLOR),
    }
    assert (pro["name"], contra["name"]) == ("malignant 1", "against malignant 2")
    assert pro["measurements"]["Max mil_evidence"] > 0.95
    assert contra["measurements"]["Min mil_evidence"] < 0.2
    rows = rows_of(files["regions.csv"])
    assert [row["id"] for row in rows] == ["1", "2"]
    assert [row["class"] for row in rows] == ["malignant", "against malignant"]
    told = [item["measurements"]["Evidence"] for item in (pro, contra)]
    assert [float(row["evidence"]) for row in rows] == pytest.approx(told)
    assert 0 < told[0] < 3  # a part of the only tile for it
    assert -2 < told[1] < 0
    assert float(rows[1]["mean_score"]) < 0.25
    assert [row["geojson_id"] for row in rows] == [item["id"] for item in features]


def test_the_record_says_what_is_zero_and_where_it_is_cut(written):
    record = json.loads(written(formats=("png",))["provenance.json"].read_text("utf-8"))
    assert record["heatmap"]["zero"] == 0.5
    assert record["heatmap"]["bias"] == BIAS
    assert record["regions"] == 1
    (told,) = (note for note in record["notes"] if "One half is 0" in note)
    assert "threshold 0.5 is a share of the strongest evidence:" in told
    assert "at or above 0.75 speaks for the class" in told
    assert "at or below 0.25 against it" in told
    assert {item["name"].rpartition("_")[2] for item in record["files"]} == {
        "mask.png",
        "against.png",
    }


def test_nothing_is_no_evidence_at_any_threshold(signed):
    heatmap = signed([[0, 0, 0, 0], [0, 3, 0, 0], [0, 0, 0, 0]])
    config = ExportConfig(threshold=0.0)
    mask = cut_mask(heatmap, Grid(SHAPE), config)
    assert np.array_equal(mask, heatmap.resized(SHAPE) > 0.5 + 1e-6)
    assert not mask[:10].any()
    assert not mask[:, 60:].any()
    assert not cut_mask(heatmap, Grid(SHAPE), config, against=True).any()
    assert len(regions_of(heatmap, SHAPE, config, None)) == 1


def test_a_map_that_is_all_against_says_so(signed):
    heatmap = signed(np.full((3, 4), -1.0))
    assert "0 or below everywhere" in why_empty(heatmap, ExportConfig())
    (region,) = regions_of(heatmap, SHAPE, ExportConfig(), None)
    assert region.against
    assert region.evidence == pytest.approx(-12)
    assert region.area_px == 60 * 80


@pytest.mark.parametrize("downsample", [1, 4])
def test_a_region_sums_the_cells_in_it_and_shares_those_it_cuts(signed, downsample):
    mask = np.zeros(SHAPE, bool)
    mask[20:40, 20:40] = True  # the tile with 3
    mask[20:40, 68:80] = True  # 12 of 20 columns of the tile with -2
    mask = mask[::downsample, ::downsample]
    regions = find_regions(mask, Grid(SHAPE, downsample), signed(), None)
    assert [one.evidence for one in regions] == pytest.approx([3, -2 * 12 / 20])
    scaled = find_regions(mask, Grid(SHAPE, downsample), signed(bias=None), None)
    assert {one.evidence for one in scaled} == {None}  # what does not add up


@pytest.mark.parametrize("downsample", [1, 4])
def test_all_regions_and_the_bias_are_the_log_odds(signed, downsample):
    # Tiles of 28 pixels from (-5, -9) on: those of the border are cut.
    raw = np.random.default_rng(0).normal(size=(4, 5))
    place = {"scale": (28.0, 28.0), "translate": (-5 + 13.5, -9 + 13.5)}
    heatmap = signed(raw, (96, 120), **place)
    grid, config = Grid((96, 120), downsample), ExportConfig(threshold=0.0)
    masks = [cut_mask(heatmap, grid, config, against=against) for against in (0, 1)]
    assert (masks[0] ^ masks[1]).all()
    found = [
        region
        for against, mask in enumerate(masks)
        for region in find_regions(mask, grid, heatmap, None, against=bool(against))
    ]
    assert {one.against for one in found} == {False, True}
    assert sum(one.evidence for one in found) == pytest.approx(raw.sum(), abs=1e-5)


def test_regions_against_are_strongest_first_and_behind_those_for(signed):
    heatmap = signed([[-1, 0, 0, -3], [0, 0, 0, 0], [0, 2, 0, 0]])
    pro, *found = regions_of(heatmap, SHAPE, ExportConfig(threshold=0.2), None)
    assert not pro.against
    assert pro.id == 1
    assert [one.id for one in found] == [2, 3]
    assert [one.max_score for one in found] == pytest.approx([0, 1 / 3], abs=1e-6)
    assert found[0].centroid[1] > 40 > found[1].centroid[1]


def test_the_table_of_tiles_adds_up_to_the_log_odds(written, signed, make_heatmap):
    rng = np.random.default_rng(1)
    raw, alone = rng.normal(size=(2, 3, 4))
    share = rng.random((3, 4)).astype(np.float32)
    evidence = signed(raw)
    maps = {
        "attention_mil": make_heatmap(
            SHAPE, share / share.max(), method="attention_mil", is_probability=False
        ),
        "mil_evidence": evidence,
        "mil_tile": signed(alone, method="mil_tile", bias=None),
        "cam": make_heatmap(SHAPE, share, method="cam"),
    }
    rows = rows_of(written(evidence, heatmaps=maps, formats=("csv",))["tiles.csv"])
    assert [*rows[0]] == [
        *("rank", "rank_against", "row", "column", "y", "x", "height", "width"),
        *("attention", "evidence", "logit"),
    ]
    told = {key: np.array([float(row[key]) for row in rows]) for key in rows[0]}
    total = float(raw.sum()) + BIAS
    assert told["evidence"].sum() + BIAS == pytest.approx(total, abs=1e-5)
    assert told["evidence"] == pytest.approx(raw.ravel(), abs=1e-6)
    assert told["logit"] == pytest.approx(alone.ravel(), abs=1e-6)
    assert told["attention"].sum() == pytest.approx(1)
    order = np.argsort(-raw.ravel())
    assert told["rank"][order].tolist() == [*range(1, 13)]
    assert told["rank_against"][order].tolist() == [*range(12, 0, -1)]


def test_a_table_of_tiles_takes_no_map_of_another_class_or_model(written, signed):
    maps = {
        "mil_tile": signed(method="mil_tile", target="benign", bias=None),
        "mil_tile · other": signed(method="mil_tile", model="other", bias=None),
        "attention_mil": signed(np.ones((2, 2)), method="attention_mil"),
    }
    (first, *_) = rows_of(written(heatmaps=maps, formats=("csv",))["tiles.csv"])
    assert not {"logit", "attention"} & {*first}


def test_tiles_for_qupath_have_the_class_of_their_sign(tmp_path, signed, make_slide):
    paths = export_heatmap(
        tmp_path,
        signed(),
        make_slide(SHAPE),
        ExportConfig(formats=("tiles",)),
        {},
        tissue=lambda: np.zeros(SHAPE, bool),
    )
    features = json.loads(paths[0].read_text("utf-8"))["features"]
    told = [item["properties"] for item in features]
    names = [item["classification"]["name"] for item in told]
    assert names == ["malignant", "against malignant"]  # none where nothing is said
    assert told[1]["measurements"]["mil_evidence"] == pytest.approx(1 / 6, abs=1e-6)


def test_an_ome_zarr_has_the_mask_against_as_a_label(written):
    files = written(formats=("zarr",))
    group = zarr.open_group(files["heatmap.zarr"], mode="r")
    assert group["labels"].attrs["ome"]["labels"] == ["mask", "against"]
    assert group.attrs["napari-wsol"]["zero"] == 0.5
    inside = [group[f"labels/{name}/0"][30, [30, 70]] for name in ("mask", "against")]
    assert [values.tolist() for values in inside] == [[1, 0], [0, 1]]


def test_a_figure_has_colours_for_either_sign(signed, make_heatmap, make_slide):
    white = make_slide(SHAPE)
    maps = [signed(), make_heatmap(SHAPE, np.full((3, 4), 0.5))]
    sheet = Sheet(3, FigureConfig(dpi=100, scores=False))
    panels = panels_of(white, maps, sheet.panel)
    assert [panel.signed for panel in panels] == [False, True, False]

    def colours_of(panel: Panel):
        png = Sheet(1, FigureConfig(dpi=100, colour_bar=False, letters=False)).drawn(
            [panel], ".png"
        )
        pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), int)
        high, wide = (math.floor(side) for side in pixels.shape[:2])
        return [pixels[high // 2, round(wide * x / 8)] for x in (3, 5, 7)]

    pro, none, contra = colours_of(replace(panels[1], cut=0.5))
    assert min(pro[:2]) > pro[2] + 40  # yellow, as in the window
    assert contra[2] > contra[0] + 40  # blue
    assert np.ptp(none) < 12  # grey
    plain = sheet.drawn(panels[::2], ".svg").decode()
    assert "against" not in plain
    assert "against" in sheet.drawn(panels, ".svg").decode()
