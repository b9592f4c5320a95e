"""The bundled model does what its card says."""

import json

import numpy as np
import pytest
from skimage import data
from typer.testing import CliRunner

from napari_wsol import Session
from napari_wsol.cli import app
from napari_wsol.training.recipe import read_recipe
from napari_wsol.training.run import measure
from napari_wsol.zoo import find_card, load_model

NAME = "glands-mobilenetv2"


def test_the_cards_figures_are_measured_again(shared):
    model = load_model(NAME, device="cpu")
    recipe = read_recipe(model.card.folder / "recipe.toml")
    found = measure(model, recipe, shared / "glas", lambda *_: None)
    stated = model.card.metrics
    assert found["pxap_percent"] == pytest.approx(stated["pxap_percent"], abs=0.2)
    assert found["accuracy_percent"] == stated["accuracy_percent"]
    assert found["pxap_percent"]["pixelcam"] > 84


def stored(name: str) -> dict:
    return json.loads((find_card(NAME).folder / name).read_text("utf-8"))


def around(figure: dict, digits: int = 1) -> str:
    return f"{figure['mean']:.{digits}f} ± {figure['std']:.{digits}f}"


def test_the_card_states_what_seeds_and_folds_gave():
    """Each sentence has the figures of its file, and a person sees them."""
    card = find_card(NAME)
    of_seeds, of_folds = card.reproducibility[:2]
    figures = stored("seeds.json")["figures"]
    for name in ("cam", "pcam", "pixelcam"):
        assert around(figures[f"pxap_percent.{name}"]) in of_seeds
    folds = stored("cross_validation.json")
    assert folds["grouping"] == {"table": "labels.csv", "column": "patient_id"}
    assert around(folds["spread"]["classification"]["accuracy"]) in of_folds
    for item in folds["pooled"]["methods"]:
        assert around(folds["spread"][item["name"]]["pxap"]) in of_folds
        assert f"{item['figures']['pxap']['value']:.1f}" in of_folds
    accuracy = folds["pooled"]["classification"]["accuracy"]
    shown = f"{accuracy['value']:.1f} % ({accuracy['low']:.1f}–{accuracy['high']:.1f})"
    assert shown in of_folds
    done = CliRunner().invoke(app, ["models", "show", NAME])
    for line in card.reproducibility:
        assert line in done.output


def test_no_patient_of_the_cross_validation_is_in_two_folds():
    folds = stored("cross_validation.json")["folds"]
    groups = [set(fold["held_out"].values()) for fold in folds]
    assert len(set.union(*groups)) == sum(map(len, groups)) == 15
    assert len({name for fold in folds for name in fold["held_out"]}) == 85


def test_the_stored_evaluation_is_of_these_weights():
    card, found = find_card(NAME), stored("evaluation.json")
    assert found["sha256"] == card.sha256
    assert found["splits"] == ["folds/fold-0/valcl"]
    accuracy = found["classification"]["accuracy"]["value"]
    assert accuracy == card.metrics["accuracy_percent"]


def test_recipe_and_weights_belong_together():
    model = load_model(NAME, device="cpu")
    recipe = read_recipe(model.card.folder / "recipe.toml")
    assert recipe.name == NAME
    assert recipe.model.classes == model.classes
    assert recipe.model.taps == model.spec.taps
    for key, words in recipe.card.items():
        stated = getattr(model.card, key)
        assert (list(stated) if isinstance(stated, tuple) else stated) == words


@pytest.mark.parametrize("downsample", [1, 2, 8])
def test_refined_map_lies_on_a_bright_square(downsample):
    """To half a heatmap pixel, with a stroke inside and one around it."""
    side, square = 256 * downsample, 64 * downsample
    top, left = 80 * downsample, 112 * downsample
    rng = np.random.default_rng(0)
    image = np.full((side, side, 3), 90)
    image[top : top + square, left : left + square] = 230
    image = (image + rng.integers(-15, 15, image.shape)).clip(0, 255).astype(np.uint8)
    labels = np.zeros((side, side), np.uint8)
    quarter, near, far = square // 4, 8 * downsample, 16 * downsample
    labels[top - far : top + square + far, left - far : left + square + far] = 1
    labels[top - near : top + square + near, left - near : left + square + near] = 0
    labels[top + quarter : top + 3 * quarter, left + quarter : left + 3 * quarter] = 2
    session = Session()
    session.open(image, mpp=1.24 / downsample)
    session.use(NAME)
    session.localize(["pixelcam"]).result(120)
    session.set_scribbles(labels)
    heatmap = session.finetune().result(120).heatmap
    session.close(wait=True)
    values = np.where(heatmap.values > 0.5, heatmap.values, 0)
    for axis, start in ((0, top), (1, left)):
        at = np.arange(values.shape[axis]) * heatmap.scale[axis]
        at = at + heatmap.translate[axis]
        centroid = (values.sum(1 - axis) * at).sum() / values.sum()
        assert abs(centroid - (start + (square - 1) / 2)) <= heatmap.scale[axis] / 2


def test_the_sample_image_shows_glands_and_strokes_help():
    """A stain the model has not seen: strokes on stroma and epithelium are followed."""
    image = data.immunohistochemistry()
    labels = np.zeros(image.shape[:2], np.uint8)
    labels[400:420, 280:300] = 2  # inside the small gland
    labels[400:420, 420:440] = 1  # the empty hole that is marked as gland at first
    labels[250:265, 220:260] = 1  # stroma
    session = Session()
    session.open(image, name="sample")
    session.use(NAME)
    result = session.localize().result(120)
    assert set(result.heatmaps) == {"cam", "pcam", "pixelcam"}
    before = session.heatmap("pixelcam").resized(image.shape[:2])
    assert before[labels == 2].mean() > 0.5
    session.set_scribbles(labels)
    session.finetune().result(120)
    after = session.heatmap("pixelcam").resized(image.shape[:2])
    session.close(wait=True)
    assert after[labels == 2].mean() > 0.5
    assert after[labels == 1].mean() < min(0.3, before[labels == 1].mean())
