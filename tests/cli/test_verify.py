"""Exports made again from their records: the same, different, or what is missing."""

from __future__ import annotations

import json
import shutil
from copy import copy
from dataclasses import replace
from random import Random

import numpy as np
import pytest
import tifffile
from fixtures.models import small_card
from PIL import Image
from typer.testing import CliRunner

from napari_wsol import Session
from napari_wsol.cli import app
from napari_wsol.config import FORMATS, ExportConfig, InferenceConfig, SlideConfig
from napari_wsol.errors import ExportError, MalformedError
from napari_wsol.files.parsing import typed
from napari_wsol.session.again import Again, Exported
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


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch, small_model):
    folder = tmp_path / "user"
    monkeypatch.setenv("NAPARI_WSOL_HOME", str(folder))
    save_model(small_model, small_card(small_model, small_model.spec.heads))
    return folder


@pytest.fixture
def path(tissue, tmp_path):
    path = tmp_path / "images" / "tissue one.png"
    path.parent.mkdir()
    Image.fromarray(tissue).save(path)
    return path


@pytest.fixture
def session():
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
    "weights and card": "is not the recorded one",
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
    assert len(words) == 3 + (what == "a round's settings")  # and the record
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


def test_each_file_has_a_word_of_its_own(worked, path, tmp_path):
    *_, record = exported(worked, tmp_path / "out", formats=("png", "tiff"))
    worked.close(wait=True)
    next((tmp_path / "out").glob("*.png")).unlink()
    image = path.read_bytes()
    path.unlink()
    mask, *others = verified(tmp_path / "out")[1].values()
    assert mask == "different: missing"
    assert len(others) == 2
    assert all(word.startswith("cannot be made again: ") for word in others)
    path.write_bytes(image)
    told = json.loads(record.read_text("utf-8"))
    more = tmp_path / "out" / "more.txt"
    more.write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    told["files"].append({"name": more.name, "sha256": empty})
    record.write_text(json.dumps(told), "utf-8")
    words = verified(tmp_path / "out")[1]
    assert words.pop(more.name).startswith("cannot be made again: ")
    assert list(words.values()) == ["different: missing", "same", "same"]


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
    for key, words in (
        ("plugins", "other-package 1.2"),
        ("made", "does not say all it takes"),
    ):
        other = {**told["provenance"], "plugins": ["other-package 1.2"]}
        other.pop(key) if key == "made" else None
        other["plugins"] = [] if key == "made" else other["plugins"]
        record.write_text(json.dumps({**told, "provenance": other}), "utf-8")
        assert words in str(verified(out, *images, "--model", model))
    record.write_text("{}", "utf-8")
    (word,) = verified(out)[1].values()
    assert f"cannot be made again: “{record.name}” is no record" in word


def test_a_folder_without_a_record_is_no_export(tmp_path):
    done = run("verify", tmp_path)
    assert done.exit_code == 1
    assert "no record of an export" in str(done.exception)


@pytest.mark.slow
def test_maps_of_a_former_model_and_from_elsewhere(worked, small_model, path, tmp_path):
    torch = pytest.importorskip("torch")
    with torch.no_grad():
        small_model.heads["pixelcam"].conv4.weight.mul_(-1)
    small_model.card = None
    card = replace(small_card(small_model, ("pixelcam",)), name="turned")
    worked.use(save_model(small_model, card)).result(WAIT)
    worked.localize(["pixelcam"], "bright").result(WAIT)
    source = path.with_name("clam.npy")
    np.save(source, np.linspace(0, 5, 131 * 157).reshape(131, 157))
    worked.add_map(source, target="bright", name="mine").result(WAIT)
    worked.set_mpp(0.5)  # after maps were made and kept without one
    out = tmp_path / "out"
    for key in worked.heatmaps:
        exported(worked, out, key, ("tiff", "tiles-gz", "csv"))
    assert len(worked.heatmaps) == 5
    assert len(assert_same(out, "--images", path.parent)) == 5 * 4
    exported(worked, tmp_path / "mine", "mine", ("tiff",))
    assert_same(tmp_path / "mine", "--images", path.parent)
    flip(source)
    words = verified(tmp_path / "mine", "--images", path.parent)[1]
    assert "different: The map “clam.npy” is another one by now." in words.values()
    source.unlink()
    words = verified(tmp_path / "mine")[1]
    assert "The map “clam.npy” is not there" in str(words)


def test_a_record_that_tells_other_facts_is_different(worked, path, tmp_path):
    exported(worked, tmp_path, "pixelcam", ("tiff",))
    (record,) = tmp_path.glob("*.json")
    told = json.loads(record.read_text("utf-8"))
    assert_same(tmp_path, "--images", path.parent)
    record.write_text(json.dumps(told | {"area_px": told["area_px"] + 1}))
    words = verified(tmp_path, "--images", path.parent)[1]
    assert words[record.name] == "different: it tells other facts than come out"


def test_a_tissue_that_was_drawn_is_told(worked, path, tmp_path):
    worked.set_tissue(np.ones((8, 8), np.uint8))
    exported(worked, tmp_path / "flat", "pixelcam", ("tiff",))
    assert_same(tmp_path / "flat", "--images", path.parent)
    exported(worked, tmp_path / "held", "pixelcam", ("zarr",))
    words = verified(tmp_path / "held", "--images", path.parent)[1]
    assert "cannot be made again: Its tissue was drawn by a person." in words.values()


def test_what_other_images_taught_comes_from_their_journals(session, path, tmp_path):
    other = path.with_name("other.png")
    with Image.open(path) as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(other)
    session.use("small").result(WAIT)
    session.use_list(WorkList.of_files([path, other]))
    for number, (file, labels) in enumerate(((path, 2), (other, 1), (other, 2))):
        session.open(file, resume=number == 2).result(WAIT)
        session.localize(["pixelcam"], "bright").result(WAIT)
        exported(session, tmp_path / "out", formats=("tiff", "zarr"))
        session.brush([(60.0, 70.0), (60.0, 95.0)], labels, 6.0)
        session.brush([(12.0, 20.0), (12.0, 95.0)], 3 - labels, 6.0)
        session.finetune().result(WAIT)
        exported(session, tmp_path / "out", formats=("tiff", "zarr"))
    told = [json.loads(x.read_text("utf-8")) for x in (tmp_path / "out").glob("*.json")]
    rounds = [x["provenance"]["made"]["round"] or {} for x in told]
    assert any(x.get("others_sha256") and not x["learnt_from"] for x in rounds)
    assert any(x.get("others_sha256") and x["learnt_from"] for x in rounds)
    assert len(assert_same(tmp_path / "out")) == 3 * len(told)


@pytest.mark.parametrize("views", [1, 4])
def test_what_localize_wrote_side_by_side(path, tmp_path, views):
    out = tmp_path / "out"
    options = [x for name in FORMATS for x in ("--format", name)]
    done = run(
        *("localize", path, "--model", "small", "--out", out, "--mpp", 0.5),
        *("--views", views, "--threshold", 0.3, "--method", "cam", *options),
        *("--method", "pcam"),
    )
    assert done.exit_code == 0, done.output
    assert len(assert_same(out, "--images", path.parent)) == 2 * 9 - 2


@pytest.fixture
def slide(tmp_path, monkeypatch):
    """The path of an image of (300, 420) with tissue on glass, read tile by tile."""
    monkeypatch.setattr("napari_wsol.slides.large.LARGE_PIXELS", LARGE)
    rng = np.random.default_rng(0)
    image = np.full((300, 420, 3), 245, np.uint8)
    texture = rng.integers(-40, 40, (240, 220, 3))
    image[30:270, 40:260] = np.clip(np.array([190, 90, 150]) + texture, 0, 255)
    image[100:160, 100:160, 0] = 40
    path = tmp_path / "slides" / "one.png"
    path.parent.mkdir()
    Image.fromarray(image).save(path)
    return path


@pytest.mark.parametrize("target", [None, "dark"])
def test_slides_of_a_batch(slide, tmp_path, target):
    out = tmp_path / "out"
    given = ["--target", target] if target else []
    done = run(
        *("localize", slide, "--model", "small", "--out", out, "--core", 64, *given),
        *("--method", "cam", "--method", "pcam", "--format", "geojson"),
        *("--format", "tiff", "--format", "tiles"),
    )
    assert done.exit_code == 0, done.output
    words = assert_same(out, "--images", slide.parent)
    stores = [name for name in words if name.endswith(".zarr")]
    assert len(stores) == 2
    assert all(name.startswith("one/one_") for name in words)
    chunk = next((out / stores[0]).glob("0/c/0/*/*"))
    flip(chunk)
    assert "changed since" in verified(out, "--images", slide.parent)[1][stores[0]]


@pytest.mark.slow
def test_slides_of_a_session_and_their_rounds(session, slide, tmp_path):
    session.slide_config = SlideConfig(core=64)
    session.open(slide).result(WAIT)
    session.use("small").result(WAIT)
    session.set_mpp(0.4)
    session.localize(["pixelcam", "cam"]).result(WAIT)
    exported(session, tmp_path / "out", "cam")
    session.brush([(130.0, 100.0), (130.0, 160.0)], 2, 9.0)
    session.brush([(200.0, 100.0), (200.0, 160.0)], 1, 9.0)
    session.finetune().result(WAIT)
    exported(session, tmp_path / "out")
    assert len(assert_same(tmp_path / "out")) == 2 * 9
    session.set_tissue(np.ones((30, 42)))
    session.localize(["cam"]).result(WAIT)
    exported(session, tmp_path / "drawn", "cam")
    assert "its tissue was drawn" in str(verified(tmp_path / "drawn"))


def test_a_plane_of_a_stack(session, tissue, tmp_path):
    path = tmp_path / "stack.tiff"
    tifffile.imwrite(path, np.stack([tissue, tissue[::-1]]), photometric="rgb")
    session.open(path, plane=1).result(WAIT)
    session.use("small").result(WAIT)
    session.localize(["cam"]).result(WAIT)
    exported(session, tmp_path / "out", "cam", ("tiff",))
    assert_same(tmp_path / "out", "--images", tmp_path)


def test_a_film_is_found_though_no_file_of_it_is_named(session, tissue, tmp_path):
    pytest.importorskip("pylibjpeg", reason="films are decoded by the dicom extra")
    from fixtures.films import write_film

    path = tmp_path / "films" / "Mueller^Anna.dcm"
    path.parent.mkdir()
    write_film(path, tissue[..., 0].astype(np.uint16) * 16)
    session.open(path).result(WAIT)
    session.use("small").result(WAIT)
    session.localize(["cam"]).result(WAIT)
    exported(session, tmp_path / "out", "cam", ("tiff",))
    assert "Mueller" not in next((tmp_path / "out").glob("*.json")).read_text("utf-8")
    assert "is not there" in str(verified(tmp_path / "out"))
    assert_same(tmp_path / "out", "--images", path.parent)


def changed(record, change):
    """Changes a record of an export by hand."""
    told = json.loads(record.read_text("utf-8"))
    change(told)
    record.write_text(json.dumps(told), "utf-8")


OUTSIDE = "../outside.txt"
NAMES = (5, None, "", "..", ".", "a/../../b", OUTSIDE, "/etc/passwd", "a\\b", "C:b")


@pytest.mark.parametrize("name", [*NAMES, "x" * 5000, "\ud800", "a\0b"])
def test_a_record_names_files_of_its_folder_alone(worked, tmp_path, name):
    out = tmp_path / "out"
    *_, record = exported(worked, out, "cam", ("png",))
    (tmp_path / "outside.txt").write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    file = {"name": name, "sha256": empty}
    changed(record, lambda told: told["files"].append(file))
    status, words = verified(out)
    assert status == 1
    assert list(words) == [record.name]
    assert f"“{record.name}” is no record of an export" in words[record.name]
    done = run("report", out, "--out", tmp_path / "r.html")
    assert isinstance(done.exception, ExportError)
    assert "is no record of an export" in str(done.exception)


def test_files_are_paired_by_their_names_and_counted(worked, tmp_path):
    out = tmp_path / "out"
    exported(worked, out, "cam", ("png",))
    *_, record = exported(worked, out, "cam", ("png", "tiff", "tiles", "zarr"))
    assert record.name.endswith("-2.json")
    changed(record, lambda told: told["files"].reverse())
    assert len(assert_same(out)) == 6
    changed(record, lambda told: told["files"].append(told["files"].pop(0)))
    changed(record, lambda told: told["config"].update(formats=["png"]))
    words = verified(out)[1].values()
    assert min(words) == "cannot be made again: its record does not tell of it"
    assert sorted(words)[-2:] == ["same", "same"]
    formats = ["png", "tiff", "tiles", "zarr", "csv"]
    changed(record, lambda told: told["config"].update(formats=formats))
    status, words = verified(out)
    assert status == 1
    assert words.pop(record.name) == "different: it does not list …_regions.csv"
    assert set(words.values()) == {"same"}
    changed(record, lambda told: told["files"].clear())
    status, words = verified(out)
    assert status == 1
    assert "is no record of an export" in words[record.name]


ODD = (None, "", "../../../e", 5, -1, 1e300, [], {"e": [None]})


def places(value):
    """Each table or list in plain data, and each of its keys; of lists the first."""
    if isinstance(value, dict):
        for key, inside in value.items():
            yield value, key
            yield from places(inside)
    elif isinstance(value, list) and value:
        yield value, 0
        yield from places(value[0])


def test_records_of_any_content_are_told_of_in_words(worked, path, tmp_path):
    """Each entry is left out and replaced; what is refused is so before anything."""
    *_, record = exported(worked, tmp_path / "out", "pixelcam", ("tiff",))
    worked.close(wait=True)
    again = Again(path.parent)
    assert {word for _, word, _ in again.verify(tmp_path / "out")} == {"same"}
    told, found, refused = json.loads(record.read_bytes()), {}, []

    def keep():
        """One of those that say the same, and all that say nothing."""
        text = json.dumps(told)
        try:
            found.setdefault(repr(typed(json.loads(text), Exported)), text)
        except MalformedError:
            refused.append(text)

    keep()
    for where, key in places(told):
        items = copy(where)
        for odd in ODD:
            where[key] = odd
            keep()
        del where[key]
        keep()
        where.clear()
        where.update(items) if isinstance(where, dict) else where.extend(items)
    assert len(refused) > 300
    assert len(found) > 50
    random = Random(0)
    same, *others = found.values()
    for text in (*random.sample(refused, 60), *random.sample(others, 15), same):
        record.write_text(text, "utf-8")
        told = list(again.verify(tmp_path / "out"))
        assert "Error" not in str(told)
        assert text not in refused or [x[1] for x in told] == ["cannot be made again"]
    assert {word for _, word, _ in told} == {"same"}
