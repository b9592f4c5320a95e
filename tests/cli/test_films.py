"""Films in DICOM through all commands: a folder of them, and nothing of a patient."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from fixtures.models import small_card
from typer.testing import CliRunner

pytest.importorskip("pylibjpeg", reason="films are decoded by the dicom extra")

from fixtures.films import write_film
from pydicom.datadict import DicomDictionary

from napari_wsol import Session
from napari_wsol.cli import app
from napari_wsol.config import (
    ExportConfig,
    FinetuneConfig,
    InferenceConfig,
    listed_settings,
)
from napari_wsol.strokes.raster import Drawing
from napari_wsol.worklist.files import images_given, images_in
from napari_wsol.zoo import save_model

WAIT = 60
PLANTED = {
    "PN": "Planted^Zoe", "LO": "planted text", "SH": "planted", "ST": "planted words",
    "LT": "planted lines", "UT": "planted pages", "UC": "planted signs",
    "DA": "19560203", "TM": "040506", "DT": "19560203040506", "AS": "087Y",
    "UI": "1.2.40.19560203", "CS": "PLANTED", "AE": "PLANTED",
}  # fmt: skip
"""A value of each kind of element that may tell of a person."""
SECRETS = ("planted", "19560203", "040506", "087y", "mueller")
ABOUT_PEOPLE = (0x0008, 0x0010, 0x0012, 0x0018, 0x0020, 0x0032, 0x0038, 0x0040)
NEEDED = {"SOPClassUID", "SOPInstanceUID", "Modality", "SpecificCharacterSet"}


def planted() -> dict[str, object]:
    """All elements about patients, visits, studies and devices, filled in."""
    found = {}
    for tag, (kind, _, _, retired, keyword) in DicomDictionary.items():
        is_told = tag >> 16 in ABOUT_PEOPLE and kind in PLANTED and not retired
        if is_told and keyword not in NEEDED:
            found[keyword] = PLANTED[kind]
    return found


@pytest.fixture
def films(tmp_path, tissue):
    """A folder of two films with pixels of their own, one without an ending."""
    folder = tmp_path / "mueller"
    folder.mkdir()
    for number, name in enumerate(("Mueller^Anna 19560203.dcm", "IM000001")):
        grey = tissue[..., number].astype(np.uint16) * 16
        elements = {**planted(), "PixelSpacing": [0.1, 0.1]}
        write_film(folder / name, grey, bits=12, **elements)
    return folder


@pytest.fixture
def home(tmp_path, monkeypatch, small_model):
    """Where models and journals are."""
    home = tmp_path / "home"
    monkeypatch.setenv("NAPARI_WSOL_HOME", str(home))
    save_model(small_model, small_card(small_model, small_model.spec.heads))
    return home


def run(*arguments, fails=False):
    done = CliRunner().invoke(app, [str(item) for item in arguments])
    assert (done.exit_code != 0) == fails, done.output
    return f"{done.output}{done.exception or ''}"


def rows_of(out):
    with (out / "summary.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def leaks(*told: str | Path) -> list[str]:
    """What of a patient stands in texts, or in files and their names below folders."""
    texts = [("output", item) for item in told if isinstance(item, str)]
    for folder in (item for item in told if isinstance(item, Path)):
        for path in folder.rglob("*"):
            data = path.read_bytes() if path.is_file() else b""
            words = data.decode("latin-1") + data.replace(b"\0", b"").decode("latin-1")
            texts.append((path.name, f"{path.relative_to(folder)} {words}"))
    return [
        f"{secret} in {name}"
        for name, text in texts
        for secret in SECRETS
        if secret in text.casefold()
    ]


def test_a_folder_of_films_is_a_list_of_images(films):
    names = ["IM000001", "Mueller^Anna 19560203.dcm"]
    (films / "notes.txt").write_text("no film")
    (films / "README").write_text("no film")
    assert [path.name for path in images_in(films)] == names
    assert [path.name for path in images_given([films])] == names
    assert [path.name for path in images_in(films.parent, recursive=True)] == names


def test_nothing_of_a_patient_is_in_results(films, home, tmp_path):
    (films / "damaged.dcm").write_bytes((films / "IM000001").read_bytes()[:-9_000])
    assert len(leaks(films)) > len(SECRETS)  # it finds them where they are
    told = []
    formats = listed_settings(ExportConfig)["formats"].option.choices
    shown = [part for name in formats for part in ("--format", name)]
    for out, more in (("flat", ()), ("shared", ("--resume",))):
        command = ("localize", films, "--model", "small", "--out", tmp_path / out)
        told.append(run(*command, *shown, *more, fails=True))
        rows = rows_of(tmp_path / out)
        assert sorted(row["status"] == "ok" for row in rows) == [False, True, True]
        assert all(row["image"] == row["path"] for row in rows)
        assert all(row["image"].startswith("film-") for row in rows)
    assert leaks(*told, tmp_path / "flat", tmp_path / "shared", home) == []


def test_nothing_of_a_patient_is_in_exports_and_journals(
    films, home, tmp_path, strokes
):
    journals, out = tmp_path / "journals", tmp_path / "export"
    session = Session(InferenceConfig(device="cpu"), journals=journals)
    slide = session.open(films / "Mueller^Anna 19560203.dcm").result(WAIT)
    session.use("small").result(WAIT)
    session.localize(["pixelcam"]).result(WAIT)
    for label in (1, 2):
        session.put(strokes == label, (0, 0), Drawing(label, "brush"))
    session.finetune(FinetuneConfig(steps=3)).result(WAIT)
    session.export(out).result(WAIT)
    folder = session.journal.folder
    session.close(wait=True)
    assert any(path.name.startswith(slide.name) for path in out.iterdir())
    told = [
        run("journal", "list", "--journals", journals),
        run("journal", "show", folder),
        run("journal", "export", folder, "--out", out / "strokes.geojson"),
    ]
    assert slide.name in told[1]
    assert leaks(*told, out, journals, home) == []
    # The film is found again by whoever has it.
    film = films / "Mueller^Anna 19560203.dcm"
    again = ("replay", folder, "--out", tmp_path / "again")
    assert "--image" in run(*again, fails=True)
    assert leaks(run(*again, "--image", film), tmp_path / "again") == []


def test_films_are_trained_on_and_evaluated(films, tmp_path, make_recipe):
    for name in ("plain", "striped"):
        place = tmp_path / "data" / "train" / name
        place.mkdir(parents=True)
        for number, film in enumerate(films.iterdir()):
            (place / f"{name}{number}.dcm").write_bytes(film.read_bytes())
    make_recipe()
    data, model = ("--data", tmp_path / "data"), tmp_path / "run"
    run("train", tmp_path / "toy.toml", *data, "--out", model, "--device", "cpu")
    report = tmp_path / "report.json"
    model = model / "toy"
    run("evaluate", model, *data, "--split", "train", "--out", report)
    assert len(json.loads(report.read_text())["cases"]) == 4
