"""``features``: bags of many slides, shared by workers, and told one a line."""

import csv
import importlib.util
import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from fixtures.models import small_card
from PIL import Image
from typer.testing import CliRunner

from napari_wsol.batch import ResultsFolder
from napari_wsol.batch.claims import take
from napari_wsol.batch.workflow import Workflow
from napari_wsol.cli import app, installed
from napari_wsol.encoders.presets import PRESETS
from napari_wsol.images.bags import open_bag
from napari_wsol.methods import Model
from napari_wsol.zoo import load_model, save_model

h5py = pytest.importorskip("h5py")

FOLDER = "20x_32px_0px_overlap/features_small"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch, small_model):
    monkeypatch.setenv("NAPARI_WSOL_HOME", str(tmp_path / "home"))
    save_model(small_model, small_card(small_model))


@pytest.fixture
def slides(tmp_path, section):
    """Three slides, one of a name with a space and a quote."""
    paths = [tmp_path / "in" / name for name in ("a.png", "patient's b.png", "c.png")]
    paths[0].parent.mkdir()
    for step, path in enumerate(paths):
        Image.fromarray(np.roll(section[:300], 7 * step, 1)).save(path)
    return paths


def arguments(out, *more):
    words = ["--model", "small", "--out", out, "--tile", 32, "--slide-mpp", 0.5, *more]
    return [str(word) for word in words]


def features(*words):
    return CliRunner().invoke(app, ["features", *map(str, words)])


def rows_of(out):
    with (out / "summary.csv").open(newline="", encoding="utf-8") as file:
        return {row["image"]: row for row in csv.DictReader(file)}


def test_each_slide_gets_a_bag_and_a_row(tmp_path, slides):
    out = tmp_path / "out"
    done = features(*slides, *arguments(out))
    assert done.exit_code == 0, done.output
    assert "3 of 3 images encoded" in done.output
    rows = rows_of(out)
    assert list(rows) == ["a.png", "c.png", "patient's b.png"]
    for path in slides:
        row = rows[path.name]
        bag = open_bag(out / row["output"])
        assert row["output"] == f"{FOLDER}/{path.stem}.h5"
        assert (row["status"], row["path"]) == ("ok", str(path))
        assert int(row["tiles"]) == len(bag) > 50
        assert bag.encoder == "small"
    assert {item.name for item in out.glob("*")} == {
        "20x_32px_0px_overlap",
        "summary.csv",
        ".localized",  # the rows
    }
    assert not [*out.rglob("*.tiles")]


def test_a_preset_names_the_one_model_of_its_weights(
    tmp_path, slides, small_model, monkeypatch
):
    monkeypatch.setitem(PRESETS, "mobilenet_v2", PRESETS["uni"])
    table = tmp_path / "package" / "encoders" / "presets.toml"
    table.parent.mkdir(parents=True)
    table.write_text("[uni]\n[mobilenet_v2]\n")
    monkeypatch.setattr(installed, "PACKAGE", tmp_path / "package")
    words = [slides[0], *arguments(tmp_path / "out")]
    assert "one of them" in said(features(*words, "--preset", "uni"))
    words = [*words[:1], "--preset", "uni", *words[3:]]
    assert "models import FILE --preset uni" in said(features(*words))
    bare = Model(replace(small_model.spec, heads=(), options={}), small_model.encoder)
    card = replace(small_card(bare), methods=("eigencam",), primary="eigencam")
    save_model(bare, replace(card, name="weights"))
    words[2] = "mobilenet_v2"
    done = features(*words)
    assert done.exit_code == 0, done.output
    save_model(bare, replace(card, name="second"))
    assert "with --model: second, weights" in said(features(*words))
    words[2] = "unknown"
    assert "Choose one of: " in said(features(*words))


def said(done):
    assert done.exit_code == 1
    return f"{done.exception} {done.output}"


def test_a_bad_slide_stops_no_other(tmp_path, slides):
    out = tmp_path / "out"
    slides[1].write_bytes(b"no image")
    done = features(*slides, *arguments(out))
    assert done.exit_code == 1
    assert "2 of 3 images encoded" in done.output
    rows = rows_of(out)
    assert rows["patient's b.png"]["status"] != "ok"
    assert rows["a.png"]["status"] == rows["c.png"]["status"] == "ok"
    Image.open(slides[0]).save(slides[1])
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*.h5")}
    assert len(stamps) == 2
    done = features(*slides, *arguments(out))
    assert done.exit_code == 0, done.output
    assert {row["status"] for row in rows_of(out).values()} == {"ok"}
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())


def test_slides_of_one_name_are_not_mixed_up(tmp_path, slides):
    other = tmp_path / "other" / "a.png"
    other.parent.mkdir()
    other.write_bytes(slides[2].read_bytes())
    done = features(slides[0], other, *arguments(tmp_path / "out"))
    assert done.exit_code == 1
    assert "1 of 2 images encoded" in done.output
    assert "another slide" in done.output


def test_what_the_pixel_size_is_has_to_be_known(tmp_path, slides):
    words = arguments(tmp_path / "out")
    del words[words.index("--slide-mpp") :]
    done = features(slides[0], *words)
    assert done.exit_code == 1
    assert "--slide-mpp" in done.output


def test_the_layout_of_clam(tmp_path, slides):
    out = tmp_path / "out"
    done = features(slides[0], *arguments(out, "--layout", "clam", "--no-tissue"))
    assert done.exit_code == 0, done.output
    assert (out / "h5_files" / "a.h5").exists()
    assert (out / "pt_files" / "a.pt").exists()
    assert rows_of(out)["a.png"]["tiles"] == str((300 // 32) * (820 // 32))
    assert features(slides[0], *arguments(out, "--layout", "clm")).exit_code == 1


def test_what_another_worker_holds_is_left_to_it(tmp_path, slides):
    out = tmp_path / "out"
    results = ResultsFolder(out)
    from napari_wsol.slides.bag_maker import tile_model

    made = tile_model(load_model("small"), mpp=None, tile=32)
    key = results.key("a.png", {"encoder": made.encoder_fingerprint()})
    with take(results.work(key)):
        done = features(*slides, *arguments(out))
    assert done.exit_code == 0
    assert "a.png is left to process" in done.output
    assert set(rows_of(out)) == {"c.png", "patient's b.png"}
    assert not (out / FOLDER / "a.h5").exists()


def start(words):
    return subprocess.Popen(
        [sys.executable, "-m", "napari_wsol", "features", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
def test_two_workers_share_a_folder(tmp_path, slides):
    out = tmp_path / "out"
    words = [*slides, *arguments(out, "--wait")]
    both = [start(words), start(words[2::-1] + words[3:])]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    alone = tmp_path / "alone"
    assert features(*slides, *arguments(alone)).exit_code == 0
    for path in slides:
        name = f"{FOLDER}/{path.stem}.h5"
        assert (out / name).read_bytes() == (alone / name).read_bytes()
    assert not [*out.rglob("*.tiles"), *out.rglob("claim.*")]
    assert len(rows_of(out)) == 3


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_the_claim_of_one_that_was_killed_is_taken_over(tmp_path, slides):
    out = tmp_path / "out"
    words = [slides[0], *arguments(out, "--no-tissue", "--tile", 16)]
    killed = start(words)
    until = time.monotonic() + 60
    while time.monotonic() < until and not [*out.rglob("*.tiles")]:
        time.sleep(0.01)
    time.sleep(0.2)
    killed.kill()
    killed.communicate()
    done = features(*words)
    assert done.exit_code == 0, done.output
    alone = tmp_path / "alone"
    again = [slides[0], *arguments(alone, "--no-tissue", "--tile", 16)]
    assert features(*again).exit_code == 0
    (first,), (second,) = (at.rglob("*.h5") for at in (out, alone))
    assert first.read_bytes() == second.read_bytes()


def test_a_workflow_runs_features_of_each_slide(tmp_path, slides):
    workflow = Workflow(
        slides=tuple(slides),
        out=tmp_path / "out",
        model="small",
        options=("--tile", "32", "--slide-mpp", "0.5"),
        what="features",
    )
    words = workflow.localize()
    assert words[words.index("-m") + 2] == "features"
    assert json.loads(workflow.prepare().read_text("utf-8"))["localize"] == words
    row = tmp_path / "row.json"
    done = CliRunner().invoke(
        app,
        [*words[words.index("features") :], "--row", str(row), "--", str(slides[1])],
    )
    assert done.exit_code == 0, done.output
    assert json.loads(row.read_text("utf-8"))["output"] == f"{FOLDER}/patient's b.h5"


def test_options_of_maps_are_refused_where_bags_are_made(tmp_path, slides):
    words = [
        "batch",
        str(slides[0]),
        "--model",
        "small",
        "--out",
        str(tmp_path / "out"),
    ]
    done = CliRunner().invoke(app, [*words, "--features", "", "--method", "cam"])
    assert done.exit_code == 1
    assert "--features" in str(done.exception)


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("snakemake") is None or os.name != "posix",
    reason="needs Snakemake (the extra “batch”) and a POSIX shell",
)
def test_snakemake_makes_the_bags(tmp_path, slides, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = tmp_path / "out"
    words = [*slides, "--model", "small", "--out", out, "--gpus", 0, "--jobs", 2]
    words += ["--features", shlex.join(["--tile", "32", "--slide-mpp", "0.5"])]
    done = subprocess.run(
        [sys.executable, "-m", "napari_wsol", "batch", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert {row["status"] for row in rows_of(out).values()} == {"ok"}
    assert len([*(out / FOLDER).glob("*.h5")]) == 3
