"""Slides whose bags are there: not encoded again, with the maps of the pixels."""

import csv
import json
import math

import numpy as np
import pytest
import tifffile
import torch
from fixtures.bags import grid_corners, write_h5
from PIL import Image
from typer.testing import CliRunner

from napari_wsol.batch import ImageJob, ResultsFolder, SlideSettings
from napari_wsol.cli import app
from napari_wsol.config import ExportConfig, SlideConfig
from napari_wsol.errors import ImageError, MethodUnavailableError
from napari_wsol.files import sha256_of
from napari_wsol.images.bags import find_bag
from napari_wsol.images.readers import open_slide
from napari_wsol.inference.encode import encode
from napari_wsol.methods import Model, ModelSpec
from napari_wsol.methods.card import Card
from napari_wsol.zoo import save_model

SHAPE, SIDE = (224, 352), 32
METHODS = ("mil_evidence", "attention_mil", "mil_tile")


@pytest.fixture(autouse=True)
def small_slides(monkeypatch):
    monkeypatch.setattr("napari_wsol.slides.large.LARGE_PIXELS", 10_000)


def model_of(encoder, **spec):
    torch.manual_seed(0)
    model = Model(
        ModelSpec(
            encoder=encoder,
            classes=("benign", "malignant"),
            heads=("attention_mil",),
            tile=SIDE,
            **spec,
        )
    ).eval()
    with torch.no_grad():
        for value in model.heads["attention_mil"].parameters():
            value.mul_(20.0)  # attention that differs from tile to tile
    return model


@pytest.fixture
def model(path):
    """A model by which some tiles of the slide speak for a class, some against it."""
    made = model_of("mobilenet_v2", taps=("features.3",))
    with torch.no_grad():
        middle = vectors_of(path, made).mean(0)
        last = made.heads["attention_mil"].classifier[0]
        last.weight -= torch.outer(last.weight @ middle, middle) / (middle @ middle)
        last.bias.mul_(0.1)
    return made


@pytest.fixture
def path(tmp_path):
    rng = np.random.default_rng(2)
    light = np.kron(rng.integers(0, 200, (7, 11, 3)), np.ones((SIDE, SIDE, 1), int))
    image = (light + rng.integers(0, 55, (*SHAPE, 3))).astype(np.uint8)
    (tmp_path / "slides").mkdir()
    Image.fromarray(image).save(tmp_path / "slides" / "one.png")
    return tmp_path / "slides" / "one.png"


def vectors_of(path, model):
    """(77, 24): what a model's encoder makes of the tiles of an image."""
    with torch.no_grad():
        return encode(open_slide(path), model)[0].last[0].flatten(1).T


def bag_of(path, model, folder, **about):
    """The same as a file, by hand."""
    size = {"level0_height": SHAPE[0], "level0_width": SHAPE[1]}
    told = {"patch_size": SIDE, "patch_size_level0": SIDE, **size, **about}
    corners = grid_corners(7, 11, SIDE)
    return write_h5(folder / "one.h5", vectors_of(path, model), corners, **told)


def job(path, out, model, threshold=0.5, **how):
    settings = SlideSettings(
        model=model,
        methods=how.pop("methods", METHODS),
        target="malignant",
        cut=SlideConfig(core=96, tissue_only=False),
        export=ExportConfig(
            formats=("tiff", "geojson", "csv"), threshold=threshold, min_area=0.0
        ),
        top=3,
        **how,
    )
    return ImageJob(ResultsFolder(out), path, settings)


def map_in(folder, method):
    return tifffile.imread(folder / f"one_{method}_malignant_heatmap.tiff")


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_bag_and_the_streamed_slide_give_the_same(path, model, tmp_path):
    bag = bag_of(path, model, tmp_path / "bags" / "features_mine")
    streamed = job(path, tmp_path / "pixels", model).run()
    read = job(path, tmp_path / "vectors", model, bags=tmp_path / "bags").run()
    assert int(streamed["tiles"]) > 1
    chances = [float(row["p(malignant)"]) for row in (streamed, read)]
    assert chances[0] == pytest.approx(chances[1], abs=1e-4)
    assert 0.001 < chances[0] < 0.999
    folders = [tmp_path / name / "one" for name in ("pixels", "vectors")]
    for method in METHODS:
        pixels, vectors = (map_in(folder, method) for folder in folders)
        assert pixels.shape == vectors.shape == (7, 11)
        assert np.abs(pixels - vectors).max() < pixels.std() / 20
    (record,) = folders[1].glob("*mil_evidence*provenance.json")
    told = json.loads(record.read_text("utf-8"))["provenance"]
    assert told["bag"]["file"] == "one.h5"
    assert told["bag"]["sha256"] == sha256_of(bag)
    assert told["bag"]["tiles"] == 77
    assert told["made"]["bag"] == told["bag"]  # nothing was made from the pixels
    assert "77 tiles of “one.h5”" in read["notes"]


def test_evidence_and_its_bias_are_the_log_odds_of_the_verdict(path, model, tmp_path):
    bag_of(path, model, tmp_path / "bags")
    bags = tmp_path / "bags"
    row = job(path, tmp_path / "out", model, threshold=0.0, bags=bags).run()
    folder = tmp_path / "out" / "one"
    tiles = rows_of(folder / "one_mil_evidence_malignant_tiles.csv")
    record = folder / "one_mil_evidence_malignant_provenance.json"
    told = json.loads(record.read_text("utf-8"))
    scores = told["provenance"]["scores"]
    odds = math.log(scores["malignant"] / scores["benign"])
    found = sum(float(tile["evidence"]) for tile in tiles) + told["heatmap"]["bias"]
    assert found == pytest.approx(odds, abs=1e-5)
    assert float(row["p(malignant)"]) == pytest.approx(scores["malignant"], abs=1e-6)
    assert {"attention", "logit"} < {*tiles[0]}
    regions = rows_of(folder / "one_mil_evidence_malignant_regions.csv")
    added = sum(float(region["evidence"]) for region in regions)
    # At 0 the regions of both signs are the whole slide.
    assert sum(int(region["area_px"]) for region in regions) > 0.999 * 224 * 352
    assert added + told["heatmap"]["bias"] == pytest.approx(odds, abs=1e-2)
    assert {region["class"] for region in regions} == {"malignant", "against malignant"}


def test_the_highest_and_the_lowest_tiles_are_pictures(path, model, tmp_path):
    bag_of(path, model, tmp_path / "bags")
    job(path, tmp_path / "out", model, bags=tmp_path / "bags").run()
    folder = tmp_path / "out" / "one"
    assert sorted(item.name for item in folder.iterdir() if item.is_dir()) == [
        "attention_mil_top",
        "mil_evidence_against",
        "mil_evidence_top",
        "mil_tile_against",
        "mil_tile_top",
    ]
    tiles = rows_of(folder / "one_mil_evidence_malignant_tiles.csv")
    said = sorted(float(tile["evidence"]) for tile in tiles)
    for name, expected in (("top", said[:-4:-1]), ("against", said[:3])):
        values = [
            float(row["value"])
            for row in rows_of(folder / f"mil_evidence_{name}" / "tiles.csv")
        ]
        assert values == pytest.approx(expected, rel=1e-3)
        assert (min(values) > 0) == (name == "top")
        assert len(list((folder / f"mil_evidence_{name}").glob("*.png"))) == 3


def test_what_was_read_from_another_bag_is_done_again(path, model, tmp_path):
    bags = tmp_path / "bags"
    bag = bag_of(path, model, bags)
    first = job(path, tmp_path / "out", model, bags=bags).run()
    same = job(path, tmp_path / "out", model, bags=bags).run()
    assert (same["folder"], same["seconds"]) == (first["folder"], first["seconds"])
    bag.unlink()
    bag_of(path, model, bags, encoder="another version")
    again = job(path, tmp_path / "out", model, bags=bags).run()
    assert again["folder"] != first["folder"]
    folder = tmp_path / "out" / again["folder"]
    (record,) = folder.glob("*mil_tile*provenance.json")
    told = json.loads(record.read_text("utf-8"))["provenance"]["bag"]
    assert told["encoder"] == "another version"


def test_the_bag_of_another_slide_is_refused(path, model, tmp_path):
    bag_of(path, model, tmp_path / "bags", level0_width=353)
    with pytest.raises(ImageError, match=r"353 × 224 pixels, and one.* 352 × 224"):
        job(path, tmp_path / "out", model, bags=tmp_path / "bags").run()


def test_a_slide_without_its_bag_is_told_how_to_make_one(path, model, tmp_path):
    (tmp_path / "bags").mkdir()
    with pytest.raises(ImageError, match=r"napari-wsol features.*--bags"):
        job(path, tmp_path / "out", model, bags=tmp_path / "bags").run()
    reader = model_of("vectors:24")
    with pytest.raises(ImageError, match=r"no bag of one.*napari-wsol features"):
        job(path, tmp_path / "out", reader).run()


def test_methods_that_need_pixels_are_refused(path, model, tmp_path):
    bag_of(path, model, tmp_path / "bags")
    how = {"methods": ("mil_evidence", "occlusion"), "bags": tmp_path / "bags"}
    with pytest.raises(MethodUnavailableError, match=r"pixels|bag"):
        job(path, tmp_path / "out", model, **how).run()


def test_a_bag_alone_is_no_image(path, model, tmp_path):
    bag = bag_of(path, model, tmp_path / "bags")
    with pytest.raises(ImageError, match=r"Give the slide, and with --bags"):
        job(bag, tmp_path / "out", model).run()


@pytest.mark.parametrize(
    "below", [".", "features_uni", "h5_files", "20x_256px/features_uni", "a/h5_files"]
)
def test_a_bag_is_found_where_others_put_it(tmp_path, below):
    slide = tmp_path / "slides" / "a[1].b.svs"
    folder = tmp_path / "out" / below
    folder.mkdir(parents=True)
    (folder / "a1.b.h5").write_bytes(b"")
    assert find_bag(slide, [tmp_path / "empty", tmp_path / "out"]) is None
    (folder / "a[1].b.h5").write_bytes(b"")
    assert find_bag(slide, [tmp_path / "out"]) == folder / "a[1].b.h5"


def test_a_model_of_vectors_finds_the_bag_beside_the_slide(path, model, tmp_path):
    bag_of(path, model, path.parent / "features_mine")
    reader = model_of("vectors:24")
    head = model.heads["attention_mil"].state_dict()
    reader.heads["attention_mil"].load_state_dict(head)
    row = job(path, tmp_path / "out", reader).run()
    other = job(path, tmp_path / "other", model, bags=path.parent).run()
    assert row["p(malignant)"] == other["p(malignant)"]
    maps = [map_in(tmp_path / name / "one", METHODS[0]) for name in ("out", "other")]
    assert np.array_equal(*maps)


def test_the_command_reads_bags(path, model, tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_WSOL_HOME", str(tmp_path / "home"))
    card = Card(
        name="bags",
        title="Bags",
        summary="For tests.",
        spec=model.spec,
        methods=METHODS,
        primary=METHODS[0],
    )
    save_model(model, card)
    out, bags = tmp_path / "out", path.parent / "bags"
    words = ["localize", str(path), "--model", "bags", "--out", str(out)]
    words += ["--bags", str(bags), "--format", "csv", "--top", "0"]
    failed = CliRunner().invoke(app, words)
    assert failed.exit_code == 1
    assert "napari-wsol features" in " ".join(failed.output.split())
    bag_of(path, model, bags)
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "77 tiles of “one.h5”" in " ".join(result.output.split())
    assert len(list(out.rglob("one_mil_*_tiles.csv"))) == 2
    where = ["verify", str(out), "--images", str(path.parent)]
    same = CliRunner().invoke(app, where)
    assert same.exit_code == 0, same.output
    assert "6 of 6 files are the same" in same.output
    bag_of(path, model, bags, encoder="another version")
    other = CliRunner().invoke(app, where)
    assert other.exit_code == 1
    assert "The bag “one.h5” is another one by now." in other.output
