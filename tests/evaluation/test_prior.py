"""Location prior and centre: known maps, and rows that a table shows beside a model."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from napari_wsol.data.folds import Grouping
from napari_wsol.errors import DatasetError
from napari_wsol.evaluation import HitMeter, LocationPrior, centre_values
from napari_wsol.evaluation.benchmark import Benchmark, EvaluationConfig
from napari_wsol.evaluation.benchmark.baselines import Baselines
from napari_wsol.evaluation.benchmark.dataset import load_evaluation_set
from napari_wsol.evaluation.points import points_into_box
from napari_wsol.jobs import ignore_progress
from napari_wsol.methods import Model, ModelSpec

CONFIG = EvaluationConfig(bootstrap=0, size=32, box_frame=(64, 64))
PATIENTS = Grouping(pattern=r"^(\d+)_")


def evaluate_model(*arguments, report=ignore_progress, **options):
    return Benchmark(*arguments, **options).run(report)


def area(top, left, side, shape=(8, 8)):
    mask = np.zeros(shape, bool)
    mask[top : top + side, left : left + side] = True
    return mask


# --- the maps ----------------------------------------------------------------------


def test_the_mean_of_the_others_areas():
    prior = LocationPrior(8)
    prior.add("Mass", "a", area(0, 0, 4))
    prior.add("Mass", "b", area(2, 2, 4))
    prior.add("Mass", "b", area(2, 2, 2))
    prior.add("Nodule", "b", area(7, 7, 1))
    for_a = prior.values("Mass", "a")
    assert for_a.dtype == np.float32
    np.testing.assert_array_equal(
        for_a, np.float32(area(2, 2, 4)) / 2 + np.float32(area(2, 2, 2)) / 2
    )
    np.testing.assert_array_equal(prior.values("Mass", "b"), area(0, 0, 4))
    everybody = prior.values("Mass", "another")
    assert everybody[2, 2] == 1
    assert everybody[0, 0] == pytest.approx(1 / 3)


def test_areas_of_images_of_any_size_count_alike():
    prior = LocationPrior(8)
    prior.add("Mass", "a", area(0, 0, 32, (64, 32))[:, :32])
    np.testing.assert_array_equal(
        prior.values("Mass", "b"), np.arange(8)[:, None].repeat(8, 1) < 4
    )


@pytest.mark.parametrize(("name", "group"), [("Mass", "a"), ("Hernia", "b")])
def test_a_class_of_nobody_else_is_named(name, group):
    prior = LocationPrior(8)
    prior.add("Mass", "a", area(0, 0, 4))
    prior.require("Mass", "b")
    with pytest.raises(DatasetError, match=f"prior for “{name}”.*“{group}”"):
        prior.values(name, group)


@pytest.mark.parametrize("side", [7, 8])
def test_the_centre_is_highest_in_the_middle(side):
    values = centre_values(side)
    np.testing.assert_allclose(values, values[::-1, ::-1].T, rtol=1e-6)
    assert values[side // 2, side // 2] == values.max() <= 1
    assert (np.diff(values[side // 2:, 0]) < 0).all()  # fmt: skip


# --- the rows ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    spec = ModelSpec(
        encoder="mobilenet_v2",
        classes=("Mass", "Nodule"),
        heads=("pcam",),
        taps=("features.3",),
        multi_label=True,
    )
    return Model(spec).eval()


HIGH, LOW, MIDDLE = (0, 0, 20, 20), (40, 40, 20, 20), (30, 30, 8, 8)
BOXES = {
    "1_0.png": ("Mass", *HIGH),
    "1_1.png": ("Mass", *HIGH),
    "1_2.png": ("Mass", *HIGH),
    "2_0.png": ("Mass", *LOW),
    "3_0.png": ("Mass", *LOW),
    "4_0.png": ("Mass", *HIGH),
    "4_1.png": ("Nodule", *MIDDLE),
    "5_0.png": ("Nodule", *MIDDLE),
}
"""Films of patients 1 to 5; boxes in a frame of twice their size."""


def write_films(folder, boxes):
    folder.mkdir()
    rows, lines = ["image,path,split,Mass,Nodule"], ["image,class,x,y,w,h"]
    for number, (image, (name, *sides)) in enumerate(boxes.items()):
        path = Path(image).with_suffix(".jpg")
        pixels = np.full((32, 32), 20 * number, np.uint8)
        Image.fromarray(pixels).save(folder / path)
        flags = f"{int(name == 'Mass')},{int(name == 'Nodule')}"
        split = "even" if number % 2 == 0 else "odd"
        rows.append(f"{image},{path},{split},{flags}")
        lines.append(",".join([image, name, *map(str, sides)]))
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    (folder / "boxes.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def films(tmp_path):
    return write_films(tmp_path / "films", BOXES)


def hits_of(model, data, *splits, config=CONFIG, **options):
    found = evaluate_model(model, data, *splits, config=config, **options)
    (prior,) = (item for item in found.methods if item.name == "location_prior")
    return prior.per_class["point_localization"]


def test_rows_beside_the_methods_leave_the_own_patient_out(films, model):
    found = evaluate_model(model, films, config=CONFIG, prior=films, grouping=PATIENTS)
    names = [item.name for item in found.methods]
    assert names == ["pcam", "location_prior", "centre", "darkness"]
    own, prior, centre, _darkness = found.methods
    # Patient 1 sees one mass high and two low; 2 and 3 see more of them high.
    assert prior.per_class["point_localization"] == {"Mass": 1 / 6, "Nodule": 1.0}
    assert centre.per_class["point_localization"] == {"Mass": 0.0, "Nodule": 1.0}
    assert prior.figures["point_localization"].value == pytest.approx(7 / 12)
    assert set(prior.figures) == set(own.figures)
    assert all("location_prior" in case.overlap for case in found.cases)
    said = "8 images of films, those of each image's own group (pattern “^(\\d+)_”)"
    assert said in found.notes[0]
    assert "| Location prior | Centre | Darkness |" in found.to_markdown()


def test_a_method_is_measured_alike_with_and_without_a_prior(films, model):
    alone = evaluate_model(model, films, config=CONFIG)
    beside = evaluate_model(model, films, config=CONFIG, prior=films)
    assert beside.methods[:1] == alone.methods
    assert beside.auc == alone.auc


def test_without_groups_only_the_image_itself_is_left_out(films, model):
    assert hits_of(model, films, prior=films) == {"Mass": 4 / 6, "Nodule": 1.0}


def test_another_data_set_makes_the_prior(films, model, tmp_path):
    other = {"9_0.png": ("Mass", 0, 0, 10, 10), "9_1.png": ("Nodule", 0, 0, 10, 10)}
    write_films(tmp_path / "other", other)
    found = hits_of(model, films, prior=tmp_path / "other", grouping=PATIENTS)
    assert found == {"Mass": 4 / 6, "Nodule": 0.0}


def test_another_split_makes_the_prior(films, model):
    """Its boxes: 1_1 high, 2_0 low, 4_0 high, and the nodule of 5_0."""
    found = hits_of(model, films, "even", prior="odd", grouping=PATIENTS)
    assert found == {"Mass": 2 / 3, "Nodule": 1.0}


def test_a_grid_of_another_size_keeps_the_place(films, model):
    own = EvaluationConfig(bootstrap=0, size=None, box_frame=(64, 64))
    found = hits_of(model, films, config=own, prior=films, grouping=PATIENTS)
    assert found == {"Mass": 1 / 6, "Nodule": 1.0}


def test_masks_make_a_prior_too(tmp_path):
    lines = ["path,label,mask"]
    for k, top in enumerate((0, 0, 16, 16)):
        mask = np.zeros((32, 48), np.uint8)
        mask[top : top + 16] = 1
        Image.fromarray(mask * 100).save(tmp_path / f"{k}.png")
        Image.fromarray(mask).save(tmp_path / f"m{k}.png")
        lines.append(f"{k}.png,{'up' if top == 0 else 'down'},m{k}.png")
    (tmp_path / "set.csv").write_text("\n".join(lines) + "\n")
    spec = ModelSpec(
        encoder="mobilenet_v2", classes=("up", "down"), taps=("features.3",)
    )
    found = evaluate_model(
        Model(spec).eval(), tmp_path / "set.csv", config=CONFIG, prior=tmp_path
    )
    prior, centre, darkness = found.methods[1:]
    assert 0 < darkness.figures["pxap"].value < 100
    assert prior.figures["pxap"].value == pytest.approx(100)
    assert prior.figures["image_iou"].value == 1
    assert centre.figures["pxap"].value == pytest.approx(50, abs=3)


def test_a_class_that_only_one_patient_has_is_named_before_anything_runs(films, model):
    alone = EvaluationConfig(bootstrap=0, box_frame=(64, 64))
    grouping = Grouping(pattern=r"^\d+_\d")
    write_films(films.parent / "two", {k: BOXES[k] for k in ("4_1.png", "2_0.png")})
    steps = []
    with pytest.raises(DatasetError, match=r"no image of another group"):
        evaluate_model(
            model,
            films.parent / "two",
            config=alone,
            prior=films.parent / "two",
            grouping=grouping,
            report=lambda *step: steps.append(step),
        )
    assert all("location prior" in text for *_, text in steps)


def test_a_prior_without_references_is_refused(films, model):
    (films / "boxes.csv").unlink()
    with pytest.raises(DatasetError, match="no location prior"):
        Benchmark(model, films, config=CONFIG, prior=films)


def test_image_without_a_patient_is_named(films, model):
    grouping = Grouping(pattern=r"^([1-3])_")
    with pytest.raises(DatasetError, match=r"4_0\.jpg.*has no group"):
        Benchmark(model, films, config=CONFIG, prior=films, grouping=grouping)


# --- real films --------------------------------------------------------------------


def test_prior_of_the_real_films_across_patients():
    """The figure that a model must beat; .379 on all 984 boxes of the data set."""
    default = Path(__file__).parents[3] / "shared"
    folder = Path(os.environ.get("WSOL_SHARED", default)) / "data" / "nih14"
    if not folder.is_dir():
        pytest.skip("needs the shared chest films")
    classes = (
        "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule",
        "Pneumonia", "Pneumothorax",
    )  # fmt: skip
    config = EvaluationConfig(box_frame=(1024, 1024))
    measured = load_evaluation_set(
        folder, [(folder, None)], classes=classes, frame=config.box_frame
    )
    rows = Baselines(measured, measured, PATIENTS, classes, config)
    rows.prepare(lambda *_: None, lambda: None, pytest.fail)
    meters = {name: HitMeter(points_into_box) for name in ("location_prior", "centre")}
    for sample in measured.samples:
        boxes = measured.truth.boxes.get(sample.id, ())
        for name in {box.name for box in boxes}:
            wanted = [box.on((0, 0), (224, 224)) for box in boxes if box.name == name]
            prior = rows.prior(sample, name, (224, 224))
            meters["location_prior"].update(prior, wanted, name=name)
            meters["centre"].update(centre_values(224), wanted, name=name)
    prior = meters["location_prior"].value()
    assert prior.macro == pytest.approx(0.375, abs=0.002)
    assert prior.per_class["Cardiomegaly"] > 0.97
    assert prior.per_class["Nodule"] < 0.1
    assert meters["centre"].value().macro == pytest.approx(0.21, abs=0.01)
