"""``localize`` on slides: resumable, shared, and never the same work twice."""

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import ome_zarr_models
import pytest
import torch
import zarr
from ome_zarr_models.v05.image_label import ImageLabel
from PIL import Image
from typer.testing import CliRunner

from napari_wsol.batch import ResultsFolder, SlideSettings
from napari_wsol.batch.claims import take
from napari_wsol.cli import app
from napari_wsol.config import SlideConfig
from napari_wsol.images.readers import open_slide
from napari_wsol.inference.whole_image import localize
from napari_wsol.methods import Model, ModelSpec
from napari_wsol.methods.card import Card
from napari_wsol.zoo import load_model, save_model

LARGE = 50_000
"""Network pixels from which an image counts as a slide here: slides of seconds."""


def keep(model, name, methods):
    card = Card(
        name=name,
        title=name,
        summary="For tests.",
        spec=model.spec,
        methods=methods,
        primary=methods[0],
    )
    save_model(model, card)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch, small_model):
    monkeypatch.setenv("NAPARI_WSOL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("napari_wsol.slides.large.LARGE_PIXELS", LARGE)
    keep(small_model, "small", ("pixelcam", "pcam", "cam"))


@pytest.fixture
def slide(tmp_path):
    """Makes an image of (300, 420) with tissue on glass, and its path."""

    def make(name="one.png", seed=0, folder="slides"):
        rng = np.random.default_rng(seed)
        image = np.full((300, 420, 3), 245, np.uint8)
        texture = rng.integers(-40, 40, (240, 220, 3))
        image[30:270, 40:260] = np.clip(np.array([190, 90, 150]) + texture, 0, 255)
        image[100:160, 100:160, 0] = 40 + 30 * seed
        path = tmp_path / folder / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path)
        return path

    return make


def run(*arguments):
    return CliRunner().invoke(app, [str(item) for item in arguments])


def rows_of(out):
    with (out / "summary.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def bytes_of(folder):
    """Every file but those that name a time."""
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "row.json" and "provenance" not in path.name
    }


def test_a_slide_gets_a_folder_with_all_that_was_found(tmp_path, slide, small_model):
    path, out = slide(), tmp_path / "out"
    done = run(
        *("localize", path, "--model", "small", "--out", out, "--core", 64),
        *("--no-tissue", "--top", 3, "--format", "geojson", "--format", "tiff"),
        *("--format", "tiles-gz"),
    )
    assert done.exit_code == 0, done.output
    expected = localize(small_model, path, ["pcam", "cam"])
    (row,) = rows_of(out)
    assert (row["image"], row["status"], row["folder"]) == ("one.png", "ok", "one")
    assert row["target"] == expected.target
    assert row["tiles"] == "35"
    for name, value in expected.scores.items():
        assert float(row[f"p({name})"]) == pytest.approx(value, abs=1e-3)
    folder = out / "one"
    group = zarr.open_group(folder / "one_pcam_all_heatmap.zarr", mode="r")
    channel = small_model.class_index(expected.target)
    values = np.asarray(group["0"][channel], np.float32)
    assert np.abs(values - expected.heatmaps["pcam"].values).max() < 1e-3
    image = ome_zarr_models.open_ome_zarr(group)
    assert image.labels.attributes.ome.labels == ["mask"]
    levels = len(image.attributes.ome.multiscales[0].datasets)
    label = ImageLabel.from_zarr(group["labels/mask"])
    assert len(label.attributes.ome.multiscales[0].datasets) == levels
    assert json.loads(next(folder.glob("*_pcam_*.geojson")).read_text())["features"]
    (packed,) = folder.glob("*_tiles.geojson.gz")  # one, with all maps
    with gzip.open(packed, "rt", encoding="utf-8") as file:
        tiles = json.load(file)["features"]
    assert len(tiles) == 75 * 105  # the cells of the first
    measured = tiles[0]["properties"]["measurements"]
    assert list(measured) == ["pixelcam", "pcam", "cam"]
    record = json.loads(next(folder.glob("*_pcam_*provenance.json")).read_text("utf-8"))
    assert record["provenance"]["cut"]["core"] == 64
    with (folder / "pcam_top" / "tiles.csv").open(newline="") as file:
        top = list(csv.DictReader(file))
    assert Image.open(folder / "pcam_top" / top[0]["file"]).size == (256, 256)
    assert not (out / ".localized").exists()


def test_a_second_run_skips_what_is_finished(tmp_path, slide):
    paths, out = [slide("a.png"), slide("b.png", 1)], tmp_path / "out"
    arguments = ("--model", "small", "--out", out, "--core", 128, "--method", "cam")
    assert run("localize", paths[0], *arguments).exit_code == 0
    before = bytes_of(out / "a")
    stamp = (out / "a" / "row.json").stat().st_mtime_ns
    assert run("localize", *paths, *arguments).exit_code == 0
    assert bytes_of(out / "a") == before
    assert (out / "a" / "row.json").stat().st_mtime_ns == stamp
    assert [row["image"] for row in rows_of(out)] == ["a.png", "b.png"]
    again = run("localize", *paths, *arguments, "--overwrite")
    assert again.exit_code == 0
    assert bytes_of(out / "a") == before
    assert (out / "a" / "row.json").stat().st_mtime_ns > stamp
    assert sorted(path.name for path in out.iterdir()) == ["a", "b", "summary.csv"]


def test_other_settings_and_other_slides_of_that_name_stand_beside(tmp_path, slide):
    out = tmp_path / "out"
    arguments = ("--model", "small", "--out", out, "--core", 64, "--method", "cam")
    paths = [slide(), slide(seed=1, folder="others")]
    assert run("localize", *paths, *arguments).exit_code == 0
    assert run("localize", *paths, *arguments, "--target", "dark").exit_code == 0
    rows = rows_of(out)
    assert sorted(row["folder"] for row in rows) == ["one", "one-2", "one-3", "one-4"]
    assert {row["status"] for row in rows} == {"ok"}


def test_a_bad_slide_does_not_stop_the_rest_and_is_tried_again(tmp_path, slide):
    good, out = slide(), tmp_path / "out"
    bad = good.with_name("bad.png")
    bad.write_bytes(b"nothing")
    arguments = ("localize", bad, good, "--model", "small", "--out", out)
    done = run(*arguments, "--method", "cam")
    assert done.exit_code == 1
    rows = {row["image"]: row for row in rows_of(out)}
    assert rows["one.png"]["status"] == "ok"
    assert "bad.png" in rows["bad.png"]["status"]
    bad.write_bytes(slide("new.png", 1).read_bytes())
    assert run(*arguments, "--method", "cam").exit_code == 0
    assert {row["status"] for row in rows_of(out)} == {"ok"}


def test_what_another_worker_holds_is_left_to_it(tmp_path, slide):
    path, out = slide(), tmp_path / "out"
    results, model = ResultsFolder(out), load_model("small")
    settings = SlideSettings(model=model, methods=("cam",), cut=SlideConfig(core=64))
    key = results.key(path.name, settings.facts(open_slide(path)))
    arguments = ("localize", path, "--model", "small", "--out", out, "--core", 64)
    with take(results.work(key)):
        done = run(*arguments, "--method", "cam")
        assert done.exit_code == 0
        assert f"one.png is left to process {os.getpid()}" in done.output
        assert "0 of 1 images localized" in done.output
    assert run(*arguments, "--method", "cam").exit_code == 0
    assert rows_of(out)[0]["status"] == "ok"


def test_small_images_are_skipped_too_when_they_are_resumed(tmp_path, tissue):
    path, out = tmp_path / "small.png", tmp_path / "out"
    Image.fromarray(tissue).save(path)
    out.mkdir()
    (out / "summary.csv").write_text("image,status\nold.png,ok\n")
    arguments = ("localize", path, "--model", "small", "--out", out, "--resume")
    assert run(*arguments).exit_code == 0
    stamp = (out / "small" / "row.json").stat().st_mtime_ns
    assert run(*arguments).exit_code == 0
    assert (out / "small" / "row.json").stat().st_mtime_ns == stamp
    assert [row["image"] for row in rows_of(out)] == ["small.png"]
    assert "old.png" in (out / "summary-2.csv").read_text()  # whoever's it was


def test_attention_over_a_slide(tmp_path, slide):
    torch.manual_seed(0)
    spec = ModelSpec(
        encoder="mobilenet_v2",
        classes=("benign", "malignant"),
        heads=("attention_mil",),
        taps=("features.3",),
        tile=32,
    )
    model = Model(spec).eval()
    keep(model, "mil", ("attention_mil",))
    path, out = slide(), tmp_path / "out"
    done = run("localize", path, "--model", "mil", "--out", out, "--core", 64)
    assert done.exit_code == 0, done.output
    with next(out.glob("one/*_tiles.csv")).open(newline="") as file:
        tiles = list(csv.DictReader(file))
    assert sum(float(tile["attention"]) for tile in tiles) == pytest.approx(1)
    looked_at = sum(float(tile["attention"]) > 0 for tile in tiles)
    assert 40 < looked_at < len(tiles)  # those on tissue
    with (out / "one" / "attention_mil_top" / "tiles.csv").open(newline="") as file:
        top = list(csv.DictReader(file))
    first = next(tile for tile in tiles if tile["rank"] == "1")
    assert (top[0]["y"], top[0]["x"]) == (first["y"], first["x"])
    assert next(out.glob("one/*_heatmap.zarr")).is_dir()
    (row,) = rows_of(out)
    total = float(row["p(benign)"]) + float(row["p(malignant)"])
    assert total == pytest.approx(1, abs=1e-5)


def test_without_a_class_to_tell_it_says_so_before_the_work(tmp_path, slide):
    torch.manual_seed(0)
    spec = ModelSpec(
        encoder="mobilenet_v2",
        classes=("benign", "malignant"),
        heads=("prm",),
        taps=("features.3",),
    )
    keep(Model(spec).eval(), "prm", ("prm",))
    path, out = slide(), tmp_path / "out"
    arguments = ("localize", path, "--model", "prm", "--out", out)
    assert run(*arguments).exit_code == 1
    assert "Choose the class yourself" in rows_of(out)[0]["status"]
    assert run(*arguments, "--target", "benign").exit_code == 0
    assert "no score of the whole slide" in rows_of(out)[0]["notes"]


PROGRAM = f"""
import napari_wsol.slides.large as slides
slides.LARGE_PIXELS = {LARGE}
from napari_wsol.cli import main
main()
"""


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
    )


def wait_for_tiles(out, kilobytes):
    """Until a log of finished tiles has some."""
    for _ in range(3000):
        for path in out.glob(".localized/*/tiles/*.tiles"):
            if path.stat().st_size > 1024 * kilobytes:
                return
        time.sleep(0.01)
    raise AssertionError("No tile was finished.")


@pytest.mark.skipif(os.name != "posix", reason="sends signals of POSIX")
@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopped_anywhere_it_goes_on_to_the_same_bytes(tmp_path, slide, sent):
    path, whole, out = slide(), tmp_path / "whole", tmp_path / "out"
    arguments = ("--model", "small", "--core", 32)
    assert run("localize", path, *arguments, "--out", whole).exit_code == 0
    process = start("localize", path, *arguments, "--out", out)
    wait_for_tiles(out, 8)
    process.send_signal(sent)
    _, said = process.communicate(timeout=60)
    if sent != signal.SIGKILL:
        assert process.returncode == 130, said
        assert "give the same command again" in said
        assert not list(out.glob(".localized/*/claim.*"))
    assert not (out / "one").exists()
    done = run("localize", path, *arguments, "--out", out)
    assert done.exit_code == 0, done.output
    assert "tiles were finished by an earlier run" in rows_of(out)[0]["notes"]
    assert bytes_of(out / "one") == bytes_of(whole / "one")
    assert not (out / ".localized").exists()


@pytest.mark.slow
def test_workers_share_a_folder(tmp_path, slide):
    paths = [slide(f"{number}.png", number) for number in range(6)]
    out = tmp_path / "out"
    arguments = ("--model", "small", "--out", out, "--core", 32, "--wait")
    workers = [start("localize", *paths, *arguments) for _ in range(3)]
    for worker in workers:
        _, said = worker.communicate(timeout=200)
        assert worker.returncode == 0, said
    rows = rows_of(out)
    assert [row["folder"] for row in rows] == [str(number) for number in range(6)]
    assert not any("earlier run" in row["notes"] for row in rows)
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == [
        str(number) for number in range(6)
    ]
