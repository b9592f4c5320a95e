"""A reference beside the maps: the window's numbers are those of ``evaluate``."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from napari_wsol import Session
from napari_wsol.cli import app
from napari_wsol.methods import list_methods
from napari_wsol.zoo import load_model

WAIT = 120
MODEL = "glands-mobilenetv2"
SIDES = ((150, 211), (192, 160))
AREA = (30, 40, 60, 50)
"""Top, left, height and width of what is true in all images."""
ANYWHERE = ("pooled_", "best_mean", "mean_")
IOU, DICE = "image_iou", "image_dice"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two images; each has a mask with pixels that do not count, a box and GeoJSON."""
    folder = tmp_path_factory.mktemp("set")
    rng = np.random.default_rng(3)
    y, x, h, w = AREA
    lines = ["path,label,mask"]
    for k, shape in enumerate(SIDES):
        pixels = rng.integers(120, 220, (*shape, 3)).astype(np.uint8)
        pixels[y : y + h, x : x + w] //= 2
        Image.fromarray(pixels).save(folder / f"{k}.png")
        mask = np.zeros(shape, np.uint8)
        mask[y : y + h, x : x + w] = 1
        mask[y - 8 : y, x : x + w] = 255
        Image.fromarray(mask).save(folder / f"m{k}.png")
        lines.append(f"{k}.png,malignant,m{k}.png")
        ring = [[x, y], [x + w, y], [x + w, y + h], [x, y + h + 9.5], [x, y]]
        feature = {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {"classification": {"name": "Tumor"}},
        }
        (folder / f"g{k}.geojson").write_text(json.dumps(feature))
    (folder / "set.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def model():
    return load_model(MODEL)


@pytest.fixture(scope="module")
def methods(model):
    """All that the model has, but those that run it hundreds of times."""
    return [x for x in list_methods(model) if x not in ("scorecam", "occlusion")]


@pytest.fixture
def session(model):
    session = Session()
    session.use(model)
    yield session
    session.close(wait=True)


@pytest.fixture
def compared(session, folder, methods):
    """An image with its mask."""
    session.open(folder / "0.png")
    session.localize(methods, "malignant").result(WAIT)
    session.set_reference(folder / "m0.png").result(WAIT)
    return session


def evaluated(table, out, methods, *options):
    chosen = [word for name in methods for word in ("--method", name)]
    arguments = ["evaluate", MODEL, "--data", table, "--out", out, *chosen, *options]
    result = CliRunner().invoke(app, [str(x) for x in arguments])
    assert result.exit_code == 0, result.output
    return json.loads(out.read_text("utf-8"))


@pytest.mark.parametrize("case", ["mask 0", "mask 1", "boxes 0", "geojson 1"])
def test_all_figures_are_those_of_evaluate(session, folder, methods, tmp_path, case):
    truth, image = case.split()
    path, threshold = folder / f"{image}.png", 0.37
    y, x, h, w = AREA
    session.open(path)
    session.localize(methods, "malignant").result(WAIT)
    if truth == "boxes":
        header, row = "x,y,w,h", f"{x},{y},{w},{h}"
        told = session.set_reference(boxes=[[x, y, w, h]])
    else:
        name = f"m{image}.png" if truth == "mask" else f"g{image}.geojson"
        header, row = "mask", str(folder / name)
        told = session.set_reference(folder / name)
    told.result(WAIT)
    table = tmp_path / "set.csv"
    table.write_text(f"path,label,{header}\n{path},malignant,{row}\n")
    common = ("--bootstrap", 0, "--threshold", threshold)
    found = evaluated(table, tmp_path / "m.json", methods, *common)
    figures = session.figures()
    assert list(figures) == [*methods, "centre", "darkness"]
    for item in found["methods"]:
        own = figures[item["name"]]
        theirs = {name: one["value"] for name, one in item["figures"].items()}
        fixed = {x: v for x, v in theirs.items() if not x.startswith(ANYWHERE)}
        (overlap,) = (case["overlap"] for case in found["cases"])
        at = own.at(threshold)
        assert at[IOU] == pytest.approx(overlap[item["name"]], abs=1e-6)
        if truth != "boxes":
            assert at == pytest.approx(
                {name: fixed.pop(name) for name in (IOU, DICE)}, abs=1e-6
            )
            best = own.at(own.best_threshold)
            assert best[IOU] == pytest.approx(own.fixed["best_image_iou"], abs=1e-6)
            assert own.curve.pxap == pytest.approx(own.fixed["pxap"], abs=1e-6)
        assert own.best_threshold == item["best_threshold"]
        assert {name: own.fixed[name] for name in fixed} == pytest.approx(
            fixed, abs=1e-6
        )
        assert len(fixed) >= 4
