"""Figure and table of a session: what is in them is what the session knows."""

import copy
import csv
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image
from pypdf import PdfReader

from napari_wsol import Session
from napari_wsol.config import ExportConfig, FigureConfig
from napari_wsol.errors import ConfigError, ExportError, NoResultError
from napari_wsol.export import regions_of
from napari_wsol.export.table import table_text

WAIT = 60
CUTS = {"cam": 0.3, "pixelcam": 0.6}


@pytest.fixture
def session(small_model, tissue):
    session = Session(threads=1, journals=False)
    session.open(tissue, name="tissue_50%.png", mpp=0.5)
    session.use(small_model)
    session.localize(["cam", "pixelcam"]).result(WAIT)
    yield session
    session.close(wait=True)


def cells(path):
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))


def test_a_table_without_a_reference_has_what_there_is(session, tmp_path):
    rows = cells(session.table(tmp_path / "t.csv", CUTS).result(WAIT))
    assert [row["Map"] for row in rows] == ["CAM", "PixelCAM"]
    for row, key in zip(rows, ("cam", "pixelcam"), strict=True):
        heatmap = session.heatmap(key)
        config = ExportConfig(method=key, threshold=CUTS[key])
        found = regions_of(heatmap, heatmap.image_shape, config, 0.5)
        area = sum(region.area_px for region in found)
        assert int(row["Regions"]) == len(found)
        assert float(row["Area (px)"]) == area
        assert float(row["Area (mm²)"]) == pytest.approx(area * 0.25e-6)
        assert float(row["Threshold"]) == CUTS[key]
        assert float(row["p(class)"]) == session.result.scores[heatmap.target]
    assert "PxAP (%)" not in rows[0]
    clean = ExportConfig(min_area=400.0)
    cleaned = cells(session.table(tmp_path / "t.csv", CUTS, None, clean).result(WAIT))
    left = [region for region in found if region.area_px >= 400]
    assert int(cleaned[1]["Regions"]) == len(left) < len(found)


@pytest.mark.parametrize("verb", ["figure", "table", "report"])
@pytest.mark.parametrize("cut", [1.1, -0.1, float("nan")])
def test_a_threshold_that_is_none_is_refused(session, tmp_path, verb, cut):
    with pytest.raises(ConfigError, match="Threshold"):
        getattr(session, verb)(tmp_path / "f", cuts={"cam": cut})
    with pytest.raises(NoResultError, match="zzz"):
        getattr(session, verb)(tmp_path / "f", cuts={"zzz": 0.5}).result(WAIT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["f.png", "t.csv", pytest.param("r.html", marks=pytest.mark.slow)]
)
def test_a_folder_is_made_or_it_is_said_that_it_cannot_be(session, tmp_path, name):
    verb = {"f": "figure", "t": "table", "r": "report"}[name[0]]
    made = getattr(session, verb)(tmp_path / "new" / "deep" / name).result(WAIT)
    assert made == tmp_path / "new" / "deep" / name
    for folder in (made, tmp_path / ("x" * 300)):
        with pytest.raises(ExportError, match=r"cannot be written .*Choose another"):
            getattr(session, verb)(folder / name).result(WAIT)
    assert made.exists()


def test_the_score_of_another_model_is_not_that_of_this_one(
    session, small_model, tmp_path
):
    other = copy.deepcopy(small_model)
    with torch.no_grad():
        for value in other.parameters():
            value.mul_(1.5)
    session.use(other)
    session.localize(["cam"]).result(WAIT)
    rows = cells(session.table(tmp_path / "t.csv").result(WAIT))
    assert len(rows) == 3
    assert [bool(row["p(class)"]) for row in rows] == [True, False, False]


def test_figure_and_table_tell_the_figures_of_the_session(session, tmp_path):
    mask = np.zeros((131, 157), np.uint8)
    mask[40:80, 60:100] = 1
    session.set_reference(mask, name="square").result(WAIT)
    told = session.figures()
    rows = cells(session.table(tmp_path / "t.csv", CUTS).result(WAIT))
    assert [row["Map"] for row in rows][2:] == ["Centre", "Darkness"]
    for row, key in zip(rows, ("cam", "pixelcam"), strict=False):
        assert float(row["PxAP (%)"]) == told[key].fixed["pxap"]
        name = "IoU, mean of images, given cut"
        assert float(row[name]) == told[key].at(CUTS[key])["image_iou"]
    path = session.figure(tmp_path / "f.pdf", FigureConfig(dpi=72), CUTS).result(WAIT)
    text = PdfReader(path).pages[0].extract_text()
    for key in ("cam", "pixelcam"):
        at = told[key].at(CUTS[key])
        assert f"PxAP {told[key].fixed['pxap']:.1f} · IoU {at['image_iou']:.2f}" in text
        assert f"threshold {CUTS[key]:.2f}" in text
    assert "tissue_50%.png" in text
    assert "µm" in text


def test_markdown_and_latex_of_one_table_say_the_same(session, tmp_path):
    plain = session.table(tmp_path / "t.md", CUTS).result(WAIT).read_text("utf-8")
    latex = session.table(tmp_path / "t.tex", CUTS).result(WAIT).read_text("utf-8")
    head, _, *rows = plain.strip().splitlines()
    assert len(rows) == 2
    assert r"\toprule" in latex
    assert latex.count(r"\\") == 3
    lines = [line.removesuffix(r" \\") for line in latex.splitlines() if "&" in line]
    for line, row in zip(lines, (head, *rows), strict=True):
        assert line.split(" & ") == [
            cell.strip() for cell in row.strip("| ").split("|")
        ]


def test_names_of_files_are_free_and_endings_are_checked(session, tmp_path):
    heard = []
    session.exported.connect(heard.append)
    (tmp_path / "f.png").write_bytes(b"mine")
    path = session.figure(tmp_path / "f.png", FigureConfig(dpi=72)).result(WAIT)
    assert path.name == "f-2.png"
    assert heard == [(path,)]
    assert (tmp_path / "f.png").read_bytes() == b"mine"
    with Image.open(path) as picture:
        assert picture.width == 510
    for future in (session.figure(tmp_path / "f"), session.table(tmp_path / "t.xls")):
        with pytest.raises(ConfigError, match="ends in"):
            future.result(WAIT)


def test_maps_can_be_chosen_and_ordered(session, tmp_path):
    rows = cells(session.table(tmp_path / "t.csv", None, ["pixelcam"]).result(WAIT))
    assert [row["Map"] for row in rows] == ["PixelCAM"]
    path = session.figure(
        tmp_path / "f.svg", FigureConfig(dpi=72), methods=["pixelcam", "cam"]
    ).result(WAIT)
    words = re.findall(r">([^<>]+)</text>", path.read_text("utf-8"))
    assert words.index("PixelCAM") < words.index("CAM")
    with pytest.raises(NoResultError, match="no layercam heatmap"):
        session.figure(tmp_path / "f.svg", methods=["layercam"]).result(WAIT)


def test_without_a_pixel_size_there_is_no_scale_bar(small_model, tissue, tmp_path):
    session = Session(threads=1, journals=False)
    session.open(tissue, name="tissue")
    session.use(small_model)
    with pytest.raises(NoResultError, match="Localize first"):
        session.figure(tmp_path / "f.svg").result(WAIT)
    session.localize(["cam"]).result(WAIT)
    path = session.figure(tmp_path / "f.svg", FigureConfig(dpi=72)).result(WAIT)
    assert "µm" not in path.read_text("utf-8")
    session.close(wait=True)


def test_a_pixel_size_that_a_person_sets_counts_in_files_at_once(
    small_model, tissue, tmp_path
):
    session = Session(threads=1, journals=False)
    session.open(tissue, name="tissue").result(WAIT)
    session.set_mpp(2.0)
    session.use(small_model)
    session.localize(["cam"]).result(WAIT)
    config = ExportConfig(method="cam", formats=("csv",), threshold=0.2)
    paths = session.export(tmp_path, config=config).result(WAIT)
    session.close(wait=True)
    (row, *_) = cells(paths[0])
    assert float(row["area_mm2"]) == pytest.approx(float(row["area_px"]) * 4e-6)


def test_latex_has_no_sign_that_means_something():
    nasty = "50% of a_b & {c} #1 $x$ ~^\\ é"
    text = table_text([["Map", "x"], [nasty, None], ["b", 0.25]], ".tex")
    row = next(line for line in text.splitlines() if line.startswith("50"))
    assert row == (r"50\% of a\_b \& \{c\} \#1 \$x\$ \~{}\^{}\textbackslash{} é & – \\")
    assert "b & 0.250" in text
    assert "a|b".replace("|", r"\|") in table_text([["m", "x"], ["a|b", 1]], ".md")
