"""Exports made again from their records: the same, different, or what is missing."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import tifffile
from fixtures.models import small_card
from PIL import Image
from typer.testing import CliRunner

from napari_wsol import Session
from napari_wsol.cli import app
from napari_wsol.config import FORMATS, ExportConfig, InferenceConfig, SlideConfig
from napari_wsol.worklist.items import WorkList
from napari_wsol.zoo import save_model

WAIT = 60


LARGE = 50_000
"""Network pixels from which an image counts as a slide here."""


def run(*arguments):
    return CliRunner().invoke(app, [str(item) for item in arguments])


def verified(folder, *arguments):
    """Exit status, and the words of each file."""
    done = run("verify", folder, *arguments)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    *lines, last = done.output.splitlines()
    assert last.endswith("files are the same")
    return done.exit_code, dict(line.split(": ", 1) for line in lines)


def assert_same(folder, *arguments):
    status, words = verified(folder, *arguments)
    assert set(words.values()) == {"same"}, words
    assert status == 0
    return words


@pytest.fixture
def home(tmp_path, monkeypatch, small_model):
    folder = tmp_path / "user"
    monkeypatch.setenv("NAPARI_WSOL_HOME", str(folder))
    save_model(small_model, small_card(small_model, small_model.spec.heads))
    return folder


@pytest.fixture
def path(home, tissue, tmp_path):
    path = tmp_path / "images" / "tissue one.png"
    path.parent.mkdir()
    Image.fromarray(tissue).save(path)
    return path


@pytest.fixture
def session(home):
    session = Session(InferenceConfig(device="cpu"))
    yield session
    session.close(wait=True)


@pytest.fixture
def worked(session, path, strokes):
    """A session with an image, maps and a round whose strokes went on since."""
    session.open(path).result(WAIT)
    session.use("small").result(WAIT)
    session.localize(["pixelcam", "cam", "pcam"], "bright").result(WAIT)
    session.set_scribbles(strokes).result(WAIT)
    session.finetune().result(WAIT)
    session.finetune().result(WAIT)
    session.brush([(5.0, 5.0), (5.0, 30.0)], 1, 4.0)
    return session


def exported(session, folder, method="pixelcam", formats=tuple(FORMATS), **how):
    config = ExportConfig(method=method, formats=formats, **how)
    return session.export(folder, config=config).result(WAIT)


def test_all_formats_of_a_refined_and_of_a_plain_map_are_the_same(worked, tmp_path):
    out = tmp_path / "out"
    exported(worked, out, threshold=0.4, min_area=20.0, fill_holes=9.0)
    exported(worked, out, "cam")
    exported(worked, out, "cam", ("png",))  # gets a name of its own: “-2”
    records = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    words = assert_same(out)
    assert len(words) == 2 * 9 + 1
    assert "tissue one_cam_bright_mask-2.png" in words
    assert {path: path.read_bytes() for path in records} == records


def flip(path, at=-1):
    """Changes one byte of a file, and nothing of its size."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def grown(path):
    """A stroke with a cell more, as somebody would change it who knows the format."""
    from napari_wsol.journal.lines import line, values_of
    from napari_wsol.strokes.stroke import packed, unpacked

    lines = [values_of(raw) for raw in path.read_bytes().splitlines()]
    stroke = next(values["stroke"] for values in lines if "stroke" in values)
    runs = unpacked(stroke["runs"]).copy()
    runs[0, 2] += 1
    stroke["runs"] = packed(runs)
    path.write_bytes(b"".join(map(line, lines)))


def reweighed(folder):
    """Other weights of the same sha256: the card says theirs."""
    from napari_wsol.files import sha256_of

    card, weights = folder / "card.toml", folder / "weights.safetensors"
    before = sha256_of(weights)
    flip(weights, -2)
    card.write_text(card.read_text("utf-8").replace(before, sha256_of(weights)))


CHANGES = {
    "image": "image “tissue one.png” is another one",
    "weights": "are not those of its card",
    "weights and card": "is not the one of the record",
    "a line of the journal": "strokes in its journal are others",
    "a stroke": "strokes in its journal are others",
    "a round's settings": "",
}


@pytest.mark.parametrize("what", CHANGES)
def test_one_changed_byte_of_the_sources_makes_it_different(
    worked, path, home, tmp_path, what
):
    out = tmp_path / "out"
    *_, record = exported(worked, out, formats=("png", "tiff"))
    journal = worked.journal.folder / "journal-0001.jsonl"
    worked.close(wait=True)
    model = home / "models" / "small"
    if what == "image":
        flip(path, -30)
    elif what == "weights":
        flip(model / "weights.safetensors", -2)
    elif what == "weights and card":
        reweighed(model)
    elif what == "a line of the journal":
        flip(journal, journal.read_bytes().index(b'"runs"') + 12)
    elif what == "a stroke":
        grown(journal)
    else:
        told = json.loads(record.read_text("utf-8"))
        told["provenance"]["made"]["round"]["settings"]["prior"] = 9.0
        record.write_text(json.dumps(told), "utf-8")
    status, words = verified(out)
    assert status == 1
    assert len(words) == 3
    if what == "a round's settings":  # what differs is told, and how much
        word = words["tissue one_pixelcam_bright_heatmap.tiff"]
        assert word.startswith("different: its values differ by 0.")
        return
    assert all(word.startswith("different: ") for word in words.values()), words
    assert all(CHANGES[what] in word for word in words.values()), words


@pytest.mark.parametrize("kind", ["_mask.png", "_regions.geojson", "_heatmap.zarr"])
def test_one_changed_byte_of_a_file_is_of_that_file(worked, tmp_path, kind):
    out = tmp_path / "out"
    exported(worked, out)
    (file,) = out.glob(f"*{kind}")
    flip(next(file.glob("0/c/*/*")) if file.is_dir() else file)
    status, words = verified(out)
    assert status == 1
    assert words.pop(file.name) == "different: changed since it was written"
    assert set(words.values()) == {"same"}
    shutil.rmtree(file) if file.is_dir() else file.unlink()
    assert verified(out)[1][file.name] == "different: missing"


def test_images_are_found_elsewhere_and_what_is_missing_is_named(
    worked, path, home, tmp_path
):
    out, kept = tmp_path / "out", worked.journals.folder
    exported(worked, out, formats=("png",))
    worked.close(wait=True)
    moved = tmp_path / "elsewhere" / "deep" / "renamed.png"
    moved.parent.mkdir(parents=True)
    path.rename(moved)
    status, words = verified(out)
    assert status == 1
    assert "cannot be made again: The image “tissue one.png” is not there" in str(words)
    assert_same(out, "--images", tmp_path / "elsewhere")
    assert_same(out, "--image", moved)
    moved.rename(moved.with_name(path.name))
    assert_same(out, "--images", tmp_path / "elsewhere")
    journals = kept.rename(tmp_path / "strokes")
    images = ("--images", tmp_path / "elsewhere")
    assert "name their folder with --journals" in str(verified(out, *images))
    assert_same(out, *images, "--journals", journals)
    model = (home / "models" / "small").rename(tmp_path / "model")
    images += ("--journals", journals)
    assert "There is no model “small”" in str(verified(out, *images))
    assert_same(out, *images, "--model", model)
    (record,) = out.glob("*.json")
    told = json.loads(record.read_text("utf-8"))
    for key, words in (("plugins", "other-package 1.2"), ("made", "a version that")):
        other = {**told["provenance"], "plugins": ["other-package 1.2"]}
        other.pop(key) if key == "made" else None
        other["plugins"] = [] if key == "made" else other["plugins"]
        record.write_text(json.dumps({**told, "provenance": other}), "utf-8")
        assert words in str(verified(out, *images, "--model", model))
    record.write_text("{}", "utf-8")
    assert verified(out)[1] == {record.name: "cannot be made again: it is no record"}


def test_a_folder_without_a_record_is_no_export(tmp_path):
    done = run("verify", tmp_path)
    assert done.exit_code == 1
    assert "no record of an export" in str(done.exception)


def test_maps_of_a_former_model_and_from_elsewhere(worked, small_model, path, tmp_path):
    import torch

    with torch.no_grad():
        small_model.heads["pixelcam"].classifier.weight.mul_(-1)
    small_model.card = None
    save_model(small_model, small_card(small_model, ("pixelcam",)), tmp_path / "other")
    worked.use(tmp_path / "other" / "small").result(WAIT)
    worked.localize(["pixelcam"], "bright").result(WAIT)
    source = path.with_name("clam.npy")
    np.save(source, np.linspace(0, 5, 131 * 157).reshape(131, 157))
    worked.add_map(source, target="bright", name="mine").result(WAIT)
    out = tmp_path / "out"
    for key in worked.heatmaps:
        exported(worked, out, key, ("tiff", "tiles-gz", "csv"))
    assert len(worked.heatmaps) == 5
    status, words = verified(out)  # the two models have one name
    assert status == 1
    former = {name for name, word in words.items() if word == "same"}
    assert former == {
        name for name in words if "-small_" in name and "tiles" not in name
    }
    exported(worked, tmp_path / "mine", "mine", ("tiff",))
    assert_same(tmp_path / "mine", "--images", path.parent)
    flip(source)
    words = verified(tmp_path / "mine", "--images", path.parent)[1]
    assert "different: The map “clam.npy” is another one by now." in words.values()
    source.unlink()
    words = verified(tmp_path / "mine")[1]
    assert "The map “clam.npy” is not there" in str(words)
