"""Journals on the command line: listed, shown, exported, replayed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from fixtures.models import small_card
from PIL import Image
from typer.testing import CliRunner

from napari_wsol import Session
from napari_wsol.cli import app
from napari_wsol.config import FinetuneConfig, InferenceConfig
from napari_wsol.journal import StrokeMade, read_record
from napari_wsol.strokes.raster import Drawing
from napari_wsol.worklist.items import WorkList
from napari_wsol.zoo import save_model

WAIT = 60


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("user")
        patch.setenv("NAPARI_WSOL_HOME", str(folder))
        yield folder


@pytest.fixture
def work(home, small_model, tissue, strokes, tmp_path):
    """Two rounds on one image, the second of three strokes; one taken back later."""
    if not (home / "models" / "small").exists():
        save_model(small_model, small_card(small_model, small_model.spec.heads))
    path = tmp_path / "tissue one.png"
    Image.fromarray(tissue).save(path)
    folder = tmp_path / "journals"
    session = Session(InferenceConfig(device="cpu"), journals=folder)
    session.open(path).result(WAIT)
    session.use("small").result(WAIT)
    session.localize(["pixelcam"]).result(WAIT)
    for label in (1, 2):
        session.put(strokes == label, (0, 0), Drawing(label, "brush"))
    session.finetune(FinetuneConfig(steps=7)).result(WAIT)
    session.put(strokes == 1, (3, 3), Drawing(1, "brush"))
    values = session.finetune(FinetuneConfig(prior=2.0)).result(WAIT).heatmap.values
    values = values.copy()
    session.undo()
    journal = session.journal
    session.close(wait=True)
    return path, journal.folder, values


def run(*arguments):
    return CliRunner().invoke(app, [str(item) for item in arguments])


def test_list_names_every_image(work):
    _, folder, _ = work
    result = run("journal", "list", "--journals", folder.parent)
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert "tissue one.png" in text
    assert "refined" in text
    assert folder.name[:6] in text
    assert "1 journal in" in text


def test_list_without_any_journal(tmp_path):
    result = run("journal", "list", "--journals", tmp_path / "none")
    assert result.exit_code == 0
    assert result.output.startswith("0 journals")


def test_a_journal_is_found_by_folder_file_and_fingerprint(work):
    path, folder, _ = work
    shown = run("journal", "show", folder)
    assert shown.exit_code == 0, shown.output
    assert str(path) in shown.output
    assert "2 count" in shown.output
    assert "2 (shown)" in shown.output
    again = run("journal", "show", folder / "journal-0001.jsonl")
    assert again.output == shown.output
    again = run("journal", "show", folder.name[:8], "--journals", folder.parent)
    assert again.output == shown.output


@pytest.mark.parametrize("name", ["ffff", "", "/no/such/folder"])
def test_a_journal_that_is_not_there_is_a_sentence(work, name):
    result = run("journal", "show", name, "--journals", work[1].parent)
    assert result.exit_code == 1
    assert "There is no journal" in str(result.exception)


def test_strokes_are_exported_once(work, tmp_path):
    _, folder, _ = work
    out = tmp_path / "new" / "strokes.geojson"
    result = run("journal", "export", folder, "--out", out)
    assert result.exit_code == 0, result.output
    found = json.loads(out.read_text("utf-8"))["features"]
    names = [item["properties"]["classification"]["name"] for item in found]
    assert names == ["Background", "Foreground"]
    before = out.read_bytes()
    again = run("journal", "export", folder, "--out", out)
    assert again.exit_code == 1
    assert "nothing is replaced" in str(again.exception)
    assert out.read_bytes() == before
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_a_round_that_learnt_from_other_images_is_replayed(
    work, strokes, tissue, tmp_path
):
    path, _, _ = work
    other = tmp_path / "other.png"
    Image.fromarray(tissue[:, ::-1].copy()).save(other)
    folder = tmp_path / "both"
    session = Session(InferenceConfig(device="cpu"), journals=folder)
    session.use("small").result(WAIT)
    session.use_list(WorkList.of_files([path, other]))
    for image, labels in ((path, strokes), (other, strokes[:, ::-1])):
        session.open(image).result(WAIT)
        session.localize(["pixelcam"]).result(WAIT)
        session.set_scribbles(labels).result(WAIT)
        done = session.finetune().result(WAIT)
    assert len(done.others) == 1
    values, journal = done.heatmap.values.copy(), session.journal
    session.close(wait=True)
    result = run("replay", journal.folder, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert f"round {done.index}: identical" in result.output
    assert np.array_equal(tifffile.imread(tmp_path / "out" / "heatmap.tiff"), values)
    for samples in folder.glob("*/samples-*"):
        samples.unlink()
    gone = run("replay", journal.folder, "--out", tmp_path / "again")
    assert gone.exit_code == 1
    assert "is not there any more" in str(gone.exception)


def test_a_round_is_replayed_bit_for_bit(work, tmp_path):
    _, folder, values = work
    before = {path: path.read_bytes() for path in folder.iterdir()}
    out = tmp_path / "out"
    result = run("replay", folder, "--out", out)
    assert result.exit_code == 0, result.output
    assert "round 2: identical" in result.output
    heatmap = tifffile.imread(out / "heatmap.tiff")
    assert heatmap.dtype == np.float32
    assert np.array_equal(heatmap, values)
    told = json.loads((out / "replay.json").read_text("utf-8"))
    assert told["identical"]
    assert told["strokes"] == [1, 2, 3]  # also the one that was taken back later
    assert told["recorded"]["map_sha256"] == told["replayed"]["map_sha256"]
    assert told["recorded"]["settings"]["prior"] == 2.0
    assert told["replayed"]["threads"] == told["recorded"]["threads"]
    assert told["differences"] == []
    found = json.loads((out / "strokes.geojson").read_text("utf-8"))["features"]
    assert {item["properties"]["number"] for item in found} <= {1, 2, 3}
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    again = run("replay", folder, "--out", out)
    assert again.exit_code == 1
    assert "nothing is replaced" in str(again.exception)


def test_an_earlier_round_is_replayed_with_its_own_settings(work, tmp_path):
    path, folder, _ = work
    moved = path.rename(path.with_name("moved.png"))
    result = run("replay", folder, "--out", tmp_path / "out", "--round", 1)
    assert result.exit_code == 1
    assert "is not there" in str(result.exception)
    arguments = ("--round", 1, "--image", moved)
    result = run("replay", folder, "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 0, result.output
    assert "round 1: identical" in result.output


def test_a_map_that_differs_is_told(work, tmp_path):
    _, folder, _ = work
    entries = read_record(folder).entries
    other = next(item for item in entries if isinstance(item, StrokeMade))
    path = folder / "journal-0001.jsonl"
    _rewrite(path, lambda values: _grown(values, other.stroke.number))
    result = run("replay", folder, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "round 2: differs" in result.output
    assert "strokes_sha256" in result.output
    told = json.loads((tmp_path / "out" / "replay.json").read_text("utf-8"))
    assert not told["identical"]
    assert (tmp_path / "out" / "heatmap.tiff").exists()


def test_another_image_or_model_is_refused(work, tmp_path, tissue):
    path, folder, _ = work
    out = tmp_path / "out"
    other = tmp_path / "other.png"
    Image.fromarray(tissue[::-1]).save(other)
    result = run("replay", folder, "--out", out, "--image", other)
    assert "image “tissue one.png” is another one" in str(result.exception)
    _rewrite(
        folder / "journal-0001.jsonl",
        lambda values: (
            {**values, "model_sha256": "0" * 64} if "model" in values else values
        ),
    )
    result = run("replay", folder, "--out", out)
    assert result.exit_code == 1
    assert "is not the recorded one" in str(result.exception)
    assert not out.exists()
    assert path.exists()
    result = run("replay", folder, "--out", out, "--round", 9)
    assert "There is no round 9 in the journal; it has: 1, 2." in str(result.exception)


def test_a_round_whose_strokes_are_lost_is_refused(work, tmp_path):
    _, folder, _ = work
    path = folder / "journal-0001.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"damaged\n", *lines[2:]]))
    result = run("replay", folder, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "its strokes 1 are not in the journal" in str(result.exception)
    assert "Line 2" in str(result.exception)


def _rewrite(path, change):
    """Changes the lines of a journal as somebody would who knows the checksum."""
    from napari_wsol.journal.lines import line, values_of

    lines = [values_of(raw) for raw in path.read_bytes().splitlines()]
    path.write_bytes(b"".join(line(change(values)) for values in lines))


def _grown(values, number):
    """One stroke with a cell more."""
    from napari_wsol.strokes.stroke import packed, unpacked

    stroke = values.get("stroke")
    if stroke is None or stroke["number"] != number:
        return values
    runs = unpacked(stroke["runs"]).copy()
    runs[0, 2] += 1
    return {**values, "stroke": {**stroke, "runs": packed(runs)}}
