"""Copied texts are run: they give the bytes that the session gave."""

import json
import os
import shlex
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from napari_wsol import Session
from napari_wsol.cli.app import app
from napari_wsol.config import ExportConfig, FigureConfig
from napari_wsol.errors import NoImageError, NoModelError, NoResultError
from napari_wsol.methods.card import Card
from napari_wsol.session.script import COMMAND, PYTHON, script
from napari_wsol.zoo import save_model

WAIT = 60
FORMATS = ("png", "tiff", "geojson", "csv")


@pytest.fixture
def model(small_model, tmp_path):
    """A model in a folder whose name no shell may take apart."""
    card = Card(
        name="small", title="Small", summary="Nothing.", spec=small_model.spec,
        methods=("pixelcam", "cam"), primary="pixelcam",
    )  # fmt: skip
    return save_model(small_model, card, tmp_path / "it's $HOME; of é")


@pytest.fixture
def session(model, tissue, tmp_path):
    """Localized, an image whose name is as bad as they come."""
    path = tmp_path / "a \"b\" 'c'\n$(d) 中.png"
    Image.fromarray(tissue).save(path)
    session = Session(threads=1, journals=False)
    session.open(path, mpp=0.5)
    session.use(model)
    session.localize(["cam", "pixelcam"], views=4).result(WAIT)
    yield session
    session.close(wait=True)


def contents(folder):
    """The bytes of each file; the record without what the clock says."""
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    for name, content in list(found.items()):
        if name.endswith("provenance.json"):
            told = json.loads(content)
            del told["created_utc"]
            if told["provenance"]["refinement"]:
                del told["provenance"]["refinement"]["seconds"]
            found[name] = told
    return found


def run_python(text, path):
    path.write_text(text, "utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error:::__main__", path],
        capture_output=True, text=True, check=False, timeout=200,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_python_text_gives_the_same_bytes_with_strokes(session, tmp_path):
    session.brush([(57, 66), (57, 94)], 2, 6.0)
    session.finetune().result(WAIT)
    session.fill([(5, 20), (5, 140), (14, 140)], 1)
    session.brush([(110, 30)], 1, 9.0)
    session.finetune().result(WAIT)
    export = ExportConfig(
        method="pixelcam", threshold=0.4321, min_area=7.5, formats=FORMATS
    )
    cuts = {"cam": 0.3, "pixelcam": 0.4321}
    figure = FigureConfig(width_mm=90, dpi=72, view="seen")
    session.look_at(10.0, 20.0, 100.0, 130.0)
    out, again = tmp_path / "out é", tmp_path / "again"
    session.export(out, config=export).result(WAIT)
    session.figure(out / "figure.pdf", figure, cuts).result(WAIT)
    session.table(out / "table.csv", cuts).result(WAIT)
    text = script(PYTHON, session, again, export,
        ("figure", {"path": str(again / "figure.pdf"), "config": figure, "cuts": cuts}),
        ("table", {"path": str(again / "table.csv"), "cuts": cuts}),
    )  # fmt: skip
    assert session.heatmap("pixelcam").round == 2
    run_python(text, tmp_path / "script.py")
    assert contents(again) == contents(out)
    assert len(contents(out)) == 8


def test_the_command_gives_the_same_bytes(session, tmp_path):
    export = ExportConfig(method="cam", threshold=0.1 + 0.2, formats=FORMATS)
    out, again = tmp_path / "out", tmp_path / "again ' é"
    session.export(out, config=export).result(WAIT)
    words = shlex.split(script(COMMAND, session, again, export))
    assert words[:3] == ["OMP_NUM_THREADS=1", "napari-wsol", "localize"]
    done = CliRunner().invoke(app, words[2:])
    assert done.exit_code == 0, done.output
    was, now = contents(out), contents(again)
    del now["summary.csv"]
    for files in (was, now):  # how much memory there was, the class that was asked for
        (record,) = (told for name, told in files.items() if name.endswith(".json"))
        del record["provenance"]["made"]
    assert was == now


@pytest.mark.parametrize(
    "what",
    [
        "never fitted",
        *(
            pytest.param(x, marks=pytest.mark.slow)
            for x in ("later", "round 0", "taken back")
        ),
    ],
)
def test_strokes_that_taught_nothing_are_in_the_files(session, tmp_path, what):
    session.brush([(57, 66), (57, 94)], 2, 6.0)
    session.brush([(110, 30)], 1, 9.0)
    if what in {"later", "round 0"}:
        session.finetune().result(WAIT)
        session.brush([(20, 20), (57, 80)], 1, 7.0)
        session.brush([(20, 20)], 0, 4.0)
    if what == "round 0":
        session.revert(0).result(WAIT)
    if what == "taken back":
        session.undo()
        session.undo()
    export = ExportConfig(method="pixelcam", formats=("png", "zarr"))
    out, again = tmp_path / "out", tmp_path / "again"
    session.export(out, config=export).result(WAIT)
    assert any("strokes" in str(path) for path in out.rglob("*.json"))
    run_python(script(PYTHON, session, again, export), tmp_path / "script.py")
    assert contents(again) == contents(out)
    with pytest.raises(NoResultError, match="Copy as Python"):
        script(COMMAND, session, again, export)


def test_a_reference_is_told_where_it_has_a_file(session, tmp_path):
    mask = np.zeros((131, 157), np.uint8)
    mask[40:80, 60:100] = 1
    session.set_reference(mask, name="it's mine").result(WAIT)
    export, more = ExportConfig(method="cam"), ("table", {"path": "t.csv"})
    assert "set_reference" not in script(PYTHON, session, tmp_path, export)
    with pytest.raises(NoResultError, match="Save it as a file"):
        script(PYTHON, session, tmp_path, export, more)
    path = tmp_path / "it's a mask.png"
    Image.fromarray(mask * 255).save(path)
    session.set_reference(path).result(WAIT)
    out, again = tmp_path / "out", tmp_path / "again"
    session.export(out, config=export).result(WAIT)
    session.table(out / "t.csv").result(WAIT)
    more = ("table", {"path": str(again / "t.csv")})
    run_python(script(PYTHON, session, again, export, more), tmp_path / "script.py")
    assert contents(again) == contents(out)


def test_a_command_says_that_it_knows_no_strokes(session, strokes, tmp_path):
    session.set_scribbles(strokes).result(WAIT)
    session.finetune().result(WAIT)
    export = ExportConfig(method="cam")
    with pytest.raises(NoResultError, match="Copy as Python"):
        script(COMMAND, session, tmp_path, export)
    session.undo()
    with pytest.raises(NoResultError, match="taken back"):
        script(PYTHON, session, tmp_path, export)
    session.revert(0).result(WAIT)
    assert "localize" in script(COMMAND, session, tmp_path, export)


def test_what_has_no_file_is_said(session, tissue, small_model, tmp_path):
    session.use(small_model)
    session.localize(["cam"]).result(WAIT)
    with pytest.raises(NoModelError, match="made in Python"):
        script(PYTHON, session, tmp_path, ExportConfig(method="cam"))
    session.open(tissue, name="array").result(WAIT)
    with pytest.raises(NoResultError, match="Localize first"):
        script(PYTHON, session, tmp_path, ExportConfig())
    session.localize(["cam"]).result(WAIT)
    with pytest.raises(NoImageError, match="Save it as a picture"):
        script(PYTHON, session, tmp_path, ExportConfig(method="cam"))


def test_what_no_text_can_tell_is_said(session, tmp_path):
    export = ExportConfig(method="cam")
    session.set_mpp(0.33)
    for kind in (PYTHON, COMMAND):
        with pytest.raises(NoResultError, match="pixel size that was set after"):
            script(kind, session, tmp_path, export)
    session.localize(["cam"]).result(WAIT)
    assert "0.33" in script(PYTHON, session, tmp_path, export)
    session.set_tissue(np.ones((8, 8), np.uint8))
    with pytest.raises(NoResultError, match="tissue that was drawn"):
        script(PYTHON, session, tmp_path, export)
