"""A reference beside the maps: the window's numbers are those of ``evaluate``."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from napari_wsol import Session
from napari_wsol.cli import app
from napari_wsol.errors import ConfigError, DatasetError, WsolError
from napari_wsol.images.heatmap import covering
from napari_wsol.methods import list_methods
from napari_wsol.strokes.classes import UnclearClassesError
from napari_wsol.worklist.items import WorkList
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


CASES = ("mask 0",)
MORE = ("mask 1", "geojson 1", "boxes 0", "boxes 1 all")


@pytest.mark.parametrize(
    "case", [*CASES, *(pytest.param(x, marks=pytest.mark.slow) for x in MORE)]
)
def test_all_figures_are_those_of_evaluate(session, folder, methods, tmp_path, case):
    truth, image, *every = case.split()
    if truth == "boxes" and not every:  # these take a while
        methods = ["cam", "pcam", "pixelcam", "layercam"]
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


def test_labels_of_255_do_not_count_beside_others(compared, folder):
    mask = np.array(Image.open(folder / "m0.png"))
    assert {0, 1, 255} == set(np.unique(mask))
    first = compared.figures()
    assert compared.reference.name == "m0.png"
    compared.set_reference(mask).result(WAIT)
    again = compared.figures()
    assert {k: x.fixed for k, x in again.items()} == {
        k: x.fixed for k, x in first.items()
    }
    compared.set_reference(np.where(mask == 1, 255, 0)).result(WAIT)  # of 0 and 255
    whole = compared.figures()["darkness"]
    assert whole.at(0.5)[IOU] < again["darkness"].at(0.5)[IOU]
    compared.clear_reference()
    assert compared.reference is None
    assert compared.figures() == {}


def test_figures_are_measured_once_and_told(compared, folder):
    told = []
    compared.figures_changed.connect(lambda: told.append(len(told)))
    assert compared.figures(wait=False) == {}
    first = compared.figures()
    assert compared.figures(wait=False) == first
    assert all(compared.figures()[key] is one for key, one in first.items())
    assert told == [0]
    compared.add_map(np.full(SIDES[0], 0.5, np.float32), name="flat").result(WAIT)
    assert set(compared.figures(wait=False)) == set(first)
    assert "flat" in compared.figures()
    assert told == [0, 1]
    compared.open(folder / "1.png").result(WAIT)
    assert compared.reference is None  # that of another image


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"source": np.zeros(SIDES[0])}, "no foreground"),
        ({"source": np.ones(3)}, "rows and columns"),
        ({"source": np.full(SIDES[0], "a")}, "rows and columns of numbers"),
        ({"source": np.ones(SIDES[0])}, "only foreground"),
        ({"source": "0.png"}, "only foreground"),
        ({"source": "m1.png"}, "of another image"),
        ({"boxes": [[0, 0, 5, 0]]}, "lies on it"),
        ({"boxes": [[900, 900, 5, 5]]}, "lies on it"),
        ({"boxes": [[0, 0, np.nan, 5]]}, "lies on it"),
        ({"boxes": [[0, 0, 1e300, 1e300]]}, "lies on it"),
        ({"boxes": [[0, 0, 0.4, 0.4]]}, "no foreground"),
        ({"boxes": np.ones((2, 2, 4))}, "four numbers"),
        ({"boxes": "abc"}, "four numbers"),
        ({"boxes": [[0, 0, 5, 5]], "source": np.eye(9)}, "one of them"),
        ({}, "one of them"),
        ({"boxes": [[0, 0, 5, 5]], "target": "zebra"}, "no class “zebra”"),
        ({"source": "nowhere.png"}, "cannot be read"),
    ],
)
def test_what_is_no_reference_is_refused_in_words(compared, folder, told, words):
    if isinstance(told.get("source"), str):
        told = {"source": folder / told["source"]}
    with pytest.raises(WsolError, match=words):
        compared.set_reference(**told).result(WAIT)
    assert compared.reference is None


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_outside_the_scale_is_refused(compared, threshold):
    with pytest.raises(ConfigError, match="between 0 and 1"):
        compared.figures()["cam"].at(threshold)


def test_maps_of_another_class_are_not_compared(compared, folder):
    compared.set_reference(folder / "m0.png", target="malignant").result(WAIT)
    assert "cam" in compared.figures()
    compared.localize(["cam"], "benign").result(WAIT)
    assert list(compared.figures()) == ["centre", "darkness"]
    compared.set_reference(folder / "m0.png").result(WAIT)  # of whatever class
    assert "cam" in compared.figures()


def test_what_classes_of_annotations_mean_can_be_said(compared, folder, tmp_path):
    text = (folder / "g0.geojson").read_text("utf-8").replace("Tumor", "Gland")
    (tmp_path / "own.geojson").write_text(text)
    with pytest.raises(UnclearClassesError) as error:
        compared.set_reference(tmp_path / "own.geojson").result(WAIT)
    (question,) = error.value.questions
    chosen = {question.key: 2}
    compared.set_reference(tmp_path / "own.geojson", classes=chosen).result(WAIT)
    found = compared.figures()
    compared.set_reference(folder / "g0.geojson").result(WAIT)
    assert compared.figures()["cam"].fixed == found["cam"].fixed


def test_the_outline_lies_where_the_reference_does(compared):
    y, x, h, w = AREA
    compared.set_reference(boxes=[[x, y, w, h]]).result(WAIT)
    area, shape = compared.reference.area, compared.reference.image_shape
    scale, translate = covering(shape, area.shape)
    rows, columns = np.nonzero(area)
    low = np.array([rows.min(), columns.min()]) * scale + translate
    high = np.array([rows.max(), columns.max()]) * scale + translate
    assert low == pytest.approx((y, x))
    assert high == pytest.approx((y + h - 1, x + w - 1))


def test_the_other_images_of_the_list_make_a_prior(session, folder):
    session.use_list(WorkList.of_table(folder / "set.csv"))
    session.open(folder / "0.png")
    session.localize(["cam"], "malignant").result(WAIT)
    session.set_reference(folder / "m0.png").result(WAIT)
    assert list(session.figures()) == ["cam", "location_prior", "centre", "darkness"]
    y, x, h, w = AREA
    values = session.reference.priors["location_prior"].values
    rows, columns = np.nonzero(values)
    assert values.max() == 1.0  # the one other image
    assert rows.min() == pytest.approx(224 * y / SIDES[1][0], abs=1)
    assert columns.max() + 1 == pytest.approx(224 * (x + w) / SIDES[1][1], abs=1)
    session.set_reference(boxes=[[x, y, w, h]]).result(WAIT)
    assert "location_prior" in session.reference.priors


@pytest.mark.slow
def test_the_score_of_a_list_is_what_evaluate_writes(session, folder, tmp_path):
    session.use_list(WorkList.of_table(folder / "set.csv"))
    session.open(folder / "0.png").result(WAIT)
    seen = []
    session.job_changed.connect(lambda status: seen.append((status.done, status.total)))
    found = session.score(["cam", "pixelcam"]).result(WAIT)
    assert {(0, 2), (2, 2)} <= set(seen)
    theirs = evaluated(folder / "set.csv", tmp_path / "m.json", ["cam", "pixelcam"])
    assert json.loads(found.to_json()) == theirs


def test_a_list_without_references_cannot_be_scored(session, folder):
    session.open(folder / "0.png").result(WAIT)
    with pytest.raises(DatasetError, match="No image of the list has a reference"):
        session.score().result(WAIT)
    (folder / "bare.csv").write_text("path,label\n0.png,malignant\n")
    session.use_list(WorkList.of_table(folder / "bare.csv"))
    with pytest.raises(DatasetError, match="No image of the list has a reference"):
        session.score().result(WAIT)
