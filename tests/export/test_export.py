import csv
import hashlib
import json
import uuid
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image
from shapely.geometry import shape as as_shape
from skimage.draw import polygon as fill

from napari_wsol.config import FORMATS, ExportConfig
from napari_wsol.errors import ExportError, JobCancelledError
from napari_wsol.export import export_heatmap
from napari_wsol.export.masks import Grid
from napari_wsol.export.provenance import notes_of, plain
from napari_wsol.export.regions import FEATURES
from napari_wsol.export.writers import Parts

ALL = ExportConfig(threshold=0.4, formats=tuple(FORMATS))


@pytest.fixture
def exported(tmp_path, heatmap, slide):
    paths = export_heatmap(tmp_path, heatmap, slide, ALL, {"strokes": 3})
    return {path.name.removeprefix("colon_pixelcam_malignant_"): path for path in paths}


def provenance(paths):
    return json.loads(Path(paths[-1]).read_text(encoding="utf-8"))


def features(path):
    return json.loads(path.read_text(encoding="utf-8"))["features"]


def test_every_format_is_written_and_nothing_else(exported, tmp_path):
    assert list(exported) == [
        "mask.png",
        "mask.tiff",
        "heatmap.tiff",
        "regions.geojson",
        "regions.csv",
        "heatmap.zarr",
        "heatmap.ome.tiff",
        "tiles.geojson",
        "tiles.geojson.gz",
        "provenance.json",
    ]
    assert sorted(tmp_path.iterdir()) == sorted(exported.values())


def test_png_is_the_mask(exported, heatmap):
    with Image.open(exported["mask.png"]) as image:
        pixels = np.asarray(image)
        assert image.info["dpi"][0] == pytest.approx(25400 / 0.5, rel=1e-4)
        assert json.loads(image.text["Description"])["scale"] == [1, 1]
    wanted = np.where(heatmap.resized((120, 152)) >= 0.4, 255, 0).astype(np.uint8)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, wanted)


def test_tiff_is_the_mask_tiled_and_with_its_resolution(exported, heatmap):
    with tifffile.TiffFile(exported["mask.tiff"]) as tiff:
        page = tiff.pages[0]
        assert page.is_tiled
        assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        above, below = page.tags["XResolution"].value
        assert 1e4 / (above / below) == pytest.approx(0.5)
        np.testing.assert_array_equal(
            page.asarray(), 255 * (heatmap.resized((120, 152)) >= 0.4)
        )


def test_heatmap_tiff_has_the_values_and_their_place(exported, heatmap):
    with tifffile.TiffFile(exported["heatmap.tiff"]) as tiff:
        np.testing.assert_array_equal(tiff.asarray(), heatmap.values)
        assert tiff.asarray().dtype == np.float32
        said = json.loads(tiff.pages[0].description)
    assert tuple(said["scale"]) == heatmap.scale
    assert tuple(said["translate"]) == heatmap.translate
    assert said["image_shape"] == [120, 152]
    assert said["class"] == "malignant"


def test_zarr_is_an_ome_image_placed_in_micrometers(exported, heatmap):
    group = zarr.open_group(exported["heatmap.zarr"], mode="r")
    assert group.metadata.zarr_format == 3
    assert group.attrs["ome"]["version"] == "0.5"
    (image,) = group.attrs["ome"]["multiscales"]
    assert [(axis["name"], axis["unit"]) for axis in image["axes"]] == [
        ("y", "micrometer"),
        ("x", "micrometer"),
    ]
    (dataset,) = image["datasets"]
    scale, translation = dataset["coordinateTransformations"]
    assert scale == {"type": "scale", "scale": [0.5 * v for v in heatmap.scale]}
    assert translation["translation"] == [0.5 * v for v in heatmap.translate]
    np.testing.assert_array_equal(group[dataset["path"]][...], heatmap.values)


def test_geojson_gives_the_mask_back(exported, heatmap):
    painted = np.zeros((120, 152), bool)
    for feature in features(exported["regions.geojson"]):
        for ring in feature["geometry"]["coordinates"]:
            x, y = np.array(ring).T
            painted[fill(y - 0.5, x - 0.5, painted.shape)] ^= True
    np.testing.assert_array_equal(painted, heatmap.resized((120, 152)) >= 0.4)


def test_geojson_is_what_qupath_reads(exported):
    found = features(exported["regions.geojson"])
    assert any(len(feature["geometry"]["coordinates"]) > 1 for feature in found)
    for feature in found:
        uuid.UUID(feature["id"])
        said = feature["properties"]
        assert said["objectType"] == "annotation"
        assert said["classification"]["name"] == "malignant"
        assert all(0 <= value <= 255 for value in said["classification"]["color"])
        assert all(np.isfinite(value) for value in said["measurements"].values())
        assert all(isinstance(value, str) for value in said["metadata"].values())
        outline = as_shape(feature["geometry"])
        assert outline.is_valid
        assert outline.geom_type == "Polygon"
        for ring in feature["geometry"]["coordinates"]:
            assert ring[0] == ring[-1]
        assert said["measurements"]["Area um^2"] == pytest.approx(outline.area / 4)


def test_pixel_0_covers_0_to_1(tmp_path, make_heatmap, make_slide):
    values = np.zeros((8, 8))
    values[0, 0] = values[7, 5:8] = 1
    heatmap = make_heatmap((8, 8), values)
    paths = export_heatmap(
        tmp_path, heatmap, make_slide((8, 8)), ExportConfig(formats=("geojson",)), {}
    )
    bounds = {as_shape(f["geometry"]).bounds for f in features(paths[0])}
    assert bounds == {(0, 0, 1, 1), (5, 7, 8, 8)}


def test_table_and_geojson_name_the_same_regions(exported):
    with exported["regions.csv"].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = features(exported["regions.geojson"])
    assert [row["geojson_id"] for row in rows] == [f["id"] for f in found]
    assert [row["id"] for row in rows] == [str(n + 1) for n in range(len(rows))]
    for row, feature in zip(rows, found, strict=True):
        outline = as_shape(feature["geometry"])
        assert float(row["area_px"]) == outline.area
        assert float(row["area_mm2"]) == pytest.approx(outline.area * 0.25e-6)
        assert float(row["centroid_x"]) == pytest.approx(outline.centroid.x, abs=1e-3)
        assert float(row["bbox_y"]) == outline.bounds[1]
        assert 0.4 <= float(row["mean_score"]) <= float(row["max_score"]) <= 1
        measured = feature["properties"]["measurements"]
        for name in FEATURES:
            told = measured[name.replace("_", " ").capitalize()]
            assert float(row[name]) == pytest.approx(told, rel=1e-4)


def test_provenance_says_what_was_written_and_from_what(exported, slide, tmp_path):
    record = provenance(list(exported.values()))
    assert record["notice"] == "Research use only, not for diagnosis."
    assert record["created_utc"].endswith("+00:00")
    assert record["image"]["fingerprint"] == slide.fingerprint()
    assert record["provenance"] == {"strokes": 3}
    assert record["config"]["threshold"] == 0.4
    assert record["heatmap"]["method"] == "pixelcam"
    assert {"torch", "numpy", "scikit-image", "napari-wsol"} <= set(record["software"])
    for file in record["files"]:
        content = (tmp_path / file["name"]).read_bytes()
        assert file["sha256"] == hashlib.sha256(content).hexdigest()
    written = {path for path in tmp_path.rglob("*") if path.is_file()}
    listed = {tmp_path / file["name"] for file in record["files"]}
    assert written - listed == {exported["provenance.json"]}


def test_second_export_keeps_the_first_and_has_the_same_bytes(
    exported, tmp_path, heatmap, slide
):
    again = export_heatmap(tmp_path, heatmap, slide, ALL, {"strokes": 3})
    assert again[0].name == "colon_pixelcam_malignant_mask-2.png"
    first = {
        f["name"]: f["sha256"] for f in provenance(list(exported.values()))["files"]
    }
    second = {f["name"]: f["sha256"] for f in provenance(again)["files"]}
    assert list(second.values()) == list(first.values())


def test_without_a_pixel_size_nothing_is_in_micrometers(tmp_path, heatmap, make_slide):
    paths = export_heatmap(tmp_path, heatmap, make_slide(mpp=None), ALL, {})
    named = {path.name.rsplit("_", 1)[-1]: path for path in paths}
    (first, *_) = features(named["regions.geojson"])
    assert "Area um^2" not in first["properties"]["measurements"]
    with named["regions.csv"].open(encoding="utf-8", newline="") as file:
        assert next(csv.DictReader(file))["area_mm2"] == ""
    (image,) = zarr.open_group(named["heatmap.zarr"]).attrs["ome"]["multiscales"]
    assert "unit" not in image["axes"][0]
    assert provenance(paths)["image"]["mpp"] is None


def test_empty_mask_gives_an_empty_set_and_a_note(tmp_path, make_heatmap, slide):
    heatmap = make_heatmap((120, 152), np.zeros((4, 4)))
    said = []
    paths = export_heatmap(
        tmp_path, heatmap, slide, ALL, {}, report=lambda *step: said.append(step)
    )
    assert not np.asarray(Image.open(paths[0])).any()
    assert features(paths[3]) == []
    assert len(paths[4].read_text(encoding="utf-8").splitlines()) == 1
    assert any("mask is empty" in note for note in provenance(paths)["notes"])
    assert "empty mask" in said[-1][2]


def test_notes_name_the_working_level(make_heatmap):
    shape = (9000, 9000)
    parts = Parts(
        mask=np.zeros((4500, 4500), bool),
        grid=Grid(shape, 2),
        regions=[],
        heatmap=make_heatmap(shape, np.zeros((2, 2)), is_probability=False),
        mpp=None,
        fingerprint="",
    )
    notes = " ".join(notes_of(parts, ALL))
    assert "one mask pixel is 2 by 2 pixels" in notes
    assert "not a probability" in notes
    assert parts.mask_geometry()["scale"] == [2, 2]
    assert parts.mask_geometry()["translate"] == [0.5, 0.5]


def test_slide_over_64_megapixels_is_exported_at_a_working_level(
    tmp_path, make_heatmap, make_slide
):
    shape = (8191, 8200)
    values = np.zeros((64, 64))
    values[60:, 50:] = 1
    paths = export_heatmap(
        tmp_path,
        make_heatmap(shape, values),
        make_slide(shape),
        ExportConfig(formats=("png", "geojson")),
        {},
    )
    with Image.open(paths[0]) as image:
        assert image.size == (4100, 4096)
        assert json.loads(image.text["Description"])["scale"] == [2, 2]
    (feature,) = features(paths[1])
    assert as_shape(feature["geometry"]).bounds[2:] == (8200, 8191)
    assert "2 by 2 pixels" in provenance(paths)["notes"][0]


def steps_of(folder, heatmap, slide):
    steps = []
    export_heatmap(
        folder, heatmap, slide, ALL, {}, report=lambda *step: steps.append(step)
    )
    return steps


def test_report_counts_up_to_the_total(tmp_path, heatmap, slide):
    steps = steps_of(tmp_path, heatmap, slide)
    done = [step[0] for step in steps]
    assert done == sorted(done)
    assert {step[1] for step in steps} == {len(FORMATS) + 3}
    assert steps[-1][0] == steps[-1][1]


def test_cancel_at_any_step_leaves_nothing(tmp_path, heatmap, slide):
    count = len(steps_of(tmp_path / "whole", heatmap, slide))
    for stop in range(count):
        left = [stop]

        def report(*_, left=left):
            left[0] -= 1
            if left[0] < 0:
                raise JobCancelledError

        with pytest.raises(JobCancelledError):
            export_heatmap(tmp_path / "cut", heatmap, slide, ALL, {}, report=report)
        assert not (tmp_path / "cut").exists()


def test_disk_that_fails_while_writing_leaves_nothing(
    tmp_path, make_heatmap, make_slide
):
    resource = pytest.importorskip("resource", reason="limits need POSIX")
    noise, slide = np.random.default_rng(0).random((300, 380)), make_slide((300, 380))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file may grow beyond that: the heatmap is larger, the mask is not, nor is what
    # the folder is tried with.
    resource.setrlimit(resource.RLIMIT_FSIZE, (270_000, hard))
    try:
        with pytest.raises(ExportError, match="nothing was kept"):
            export_heatmap(
                tmp_path / "out", make_heatmap((300, 380), noise), slide, ALL, {}
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_heatmap_of_another_image_leaves_nothing(tmp_path, heatmap, make_slide):
    with pytest.raises(ExportError, match="belongs to an image"):
        export_heatmap(tmp_path / "out", heatmap, make_slide((50, 50)), ALL, {})
    assert list(tmp_path.iterdir()) == []


def test_anything_in_the_provenance_becomes_json():
    given = {
        "path": Path("a/b"),
        "loss": (np.float32(0.5), float("nan")),
        "classes": np.array([1, 2]),
        "config": ExportConfig(formats=("png",)),
        1: None,
    }
    said = json.loads(json.dumps(plain(given), allow_nan=False))
    assert said["loss"] == [0.5, "nan"]
    assert said["classes"] == [1, 2]
    assert said["config"]["formats"] == ["png"]
    assert said["path"] == str(Path("a/b"))
    assert said["1"] is None
