"""The commands as a shell runs them."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from fixtures.models import small_card
from PIL import Image
from typer.testing import CliRunner

from napari_wsol import Session
from napari_wsol.batch import ImageJob, ResultsFolder, SlideSettings
from napari_wsol.cli import app
from napari_wsol.errors import ImageChangedError
from napari_wsol.images.readers import open_slide
from napari_wsol.inference.whole_image import localize
from napari_wsol.zoo import save_model


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch, small_model):
    monkeypatch.setenv("NAPARI_WSOL_HOME", str(tmp_path / "home"))
    save_model(small_model, small_card(small_model, small_model.spec.heads))


@pytest.fixture
def picture(tmp_path, tissue):
    path = tmp_path / "tissue one.png"
    Image.fromarray(tissue).save(path)
    return path


def run(*arguments):
    return CliRunner().invoke(app, [str(item) for item in arguments])


def test_localize_writes_every_method_and_a_summary(
    picture, tmp_path, small_model, tissue
):
    out = tmp_path / "out"
    result = run(
        "localize", picture, "--model", "small", "--out", out, "--format", "tiff"
    )
    assert result.exit_code == 0, result.output
    expected = localize(small_model, tissue)
    with (out / "summary.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["target"] == expected.target
    assert float(row["p(bright)"]) == pytest.approx(expected.scores["bright"], abs=1e-5)
    import tifffile

    for name, heatmap in expected.heatmaps.items():
        (path,) = out.glob(f"*_{name}_*heatmap.tiff")
        assert np.array_equal(tifffile.imread(path), heatmap.values)
        (record,) = out.glob(f"*_{name}_*provenance.json")
        assert json.loads(record.read_text("utf-8"))


def test_tiles_of_all_methods_are_one_file(picture, tmp_path):
    out = tmp_path / "out"
    how = ("--method", "pcam", "--method", "cam", "--format", "tiles")
    result = run("localize", picture, "--model", "small", "--out", out, *how)
    assert result.exit_code == 0, result.output
    (tiles,) = out.glob("*_tiles.geojson")
    assert len(list(out.glob("*.json"))) == 1
    (first, *_) = json.loads(tiles.read_text("utf-8"))["features"]
    assert list(first["properties"]["measurements"]) == ["pcam", "cam"]


def test_one_bad_image_does_not_stop_the_rest(picture, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"nothing")
    out = tmp_path / "out"
    result = run(
        "localize", bad, picture, "--model", "small", "--out", out, "--method", "cam"
    )
    assert result.exit_code == 1
    with (out / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["bad.png", "tissue one.png"]
    assert rows[0]["status"] != "ok"
    assert rows[1]["status"] == "ok"


def test_a_second_run_overwrites_nothing(picture, tmp_path):
    out = tmp_path / "out"
    arguments = ("localize", picture, "--model", "small", "--out", out)
    assert run(*arguments).exit_code == 0
    before = {path: path.read_bytes() for path in out.iterdir()}
    assert run(*arguments).exit_code == 0
    assert all(path.read_bytes() == data for path, data in before.items())
    assert len(list(out.iterdir())) == 2 * len(before)


def test_models_list_show_and_verify():
    listed = run("models", "list")
    assert listed.exit_code == 0
    assert "small" in listed.output
    shown = run("models", "show", "small")
    assert "For tests." in shown.output
    assert run("models", "verify", "small").exit_code == 0


def shell(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "napari_wsol", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_known_errors_are_one_line_and_status_1(tmp_path, picture):
    result = shell("localize", picture, "--model", "none", "--out", tmp_path)
    assert result.returncode == 1
    assert result.stderr.startswith("Error: There is no model “none”.")
    assert len(result.stderr.strip().splitlines()) == 1
    assert shell("view", tmp_path / "missing.svs").returncode == 1


def test_wrong_usage_is_status_2(picture):
    assert shell("localize", picture).returncode == 2
    assert shell("no-such-command").returncode == 2


def test_version_and_help_are_quick_to_read():
    assert "napari-wsol 0." in shell("--version").stdout
    helped = shell("--help").stdout
    for command in ("demo", "view", "localize", "train", "models"):
        assert command in helped


def test_a_channel_of_a_stack_can_be_chosen(tmp_path, tissue):
    import tifffile

    path = tmp_path / "stack.ome.tif"
    stack = np.stack([np.moveaxis(tissue, -1, 0), np.moveaxis(tissue, -1, 0) // 2])
    axes = {"axes": "ZCYX"}
    tifffile.imwrite(path, stack, photometric="minisblack", metadata=axes)
    words = ("localize", path, "--model", "small", "--out", tmp_path / "out")
    words = (*words, "--format", "tiff")
    result = run(*words)
    assert result.exit_code == 1
    assert "--plane 0" in " ".join(result.output.split())
    for more in (("--plane", "1", "--channel", "0"), ("--plane", "0", "--rgb")):
        result = run(*words, *more)
        assert result.exit_code == 0, result.output
    result = run(*words, "--channel", "0,x")
    assert result.exit_code == 1
    assert "numbers from 0" in str(result.exception)


def test_the_reader_can_be_forced(tmp_path, tissue):
    import tifffile

    path, out = tmp_path / "a.tif", tmp_path / "out"
    tifffile.imwrite(path, tissue, photometric="rgb")
    result = run(
        "localize", path, "--model", "small", "--out", out, "--reader", "pillow"
    )
    assert result.exit_code == 0, result.output
    told = json.loads(next(out.glob("*.json")).read_text("utf-8"))
    assert "pillow" in json.dumps(told)
    result = run("localize", path, "--model", "small", "--out", out, "--reader", "x")
    assert isinstance(result.exception, LookupError)
    assert "openslide, pillow, pydicom, tifffile" in str(result.exception)
    result = run("view", path, "--reader", "x")
    assert "openslide, pillow, pydicom, tifffile" in str(result.exception)


def test_a_batch_touches_nothing_but_its_own_folder(picture, tmp_path):
    """Annotations beside the images and in the journals stay as they were."""
    annotations = tmp_path / f"{picture.stem}.geojson"
    annotations.write_text('{"type": "FeatureCollection", "features": []}')
    session = Session(journals=tmp_path / "journals")
    session.open(picture).result(60)
    session.brush([(20, 20), (60, 60)], 2, 9)
    session.close(wait=True)
    assert list((tmp_path / "journals").rglob("*.jsonl"))

    def contents():
        """Of every file but those of the batch, with the time of its last change."""
        paths = (path for path in tmp_path.rglob("*") if path.is_file())
        return {
            path: (path.read_bytes(), path.stat().st_mtime_ns)
            for path in paths
            if not path.is_relative_to(tmp_path / "results")
        }

    before = contents()
    for out in (tmp_path / "results", tmp_path / "results" / "again"):
        result = run(
            "localize",
            picture,
            "--model",
            "small",
            "--out",
            out,
            "--method",
            "cam",
            "--format",
            "geojson",
        )
        assert result.exit_code == 0, result.output
        assert list(out.glob("*.geojson"))
    assert contents() == before
    # Into the folder of the images, nothing that is there is replaced.
    result = run("localize", picture, "--model", "small", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    after = contents()
    assert {path: after[path] for path in before} == before


def test_a_file_that_is_overwritten_while_it_waits_is_read_as_it_is(
    tmp_path, small_model, tissue
):
    """Images that were looked at wait open for their turn."""
    path, out = tmp_path / "a.png", tmp_path / "out"
    Image.fromarray(tissue).save(path)
    settings = SlideSettings(model=small_model, methods=("cam",), top=0)
    job = ImageJob(ResultsFolder(out), path, settings)
    job.is_flat = True
    before = job.open().fingerprint()
    other = np.ascontiguousarray(tissue[::-1, ::-1])
    Image.fromarray(other).save(path)
    job.run()
    (record,) = out.glob("*provenance.json")
    told = json.loads(record.read_text("utf-8"))["image"]["fingerprint"]
    assert told == open_slide(path).fingerprint() != before
    (heatmap,) = out.glob("*heatmap.tiff")
    wanted = localize(small_model, other, ["cam"]).heatmaps["cam"]
    assert np.array_equal(tifffile.imread(heatmap), wanted.values)


@pytest.mark.parametrize("is_flat", [True, False])
def test_a_file_that_is_overwritten_while_it_is_read_gives_no_files(
    tmp_path, small_model, tissue, is_flat
):
    path, out = tmp_path / "a.png", tmp_path / "out"
    Image.fromarray(tissue).save(path)
    settings = SlideSettings(model=small_model, methods=("cam",), top=0)
    job = ImageJob(ResultsFolder(out), path, settings)
    job.is_flat = is_flat

    def overwrite(done, total, text):
        del done, total, text
        Image.fromarray(tissue[::-1].copy()).save(path)

    with pytest.raises(ImageChangedError, match="has changed"):
        job.run(overwrite)
    assert not list(out.rglob("*provenance.json"))
    assert job.run() is not None
    assert len(list(out.rglob("*provenance.json"))) == 1
