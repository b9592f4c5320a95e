"""The bundled model of tiles (attention MIL) does what its card says."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from napari_wsol.cli import app
from napari_wsol.inference.whole_image import localize
from napari_wsol.training.recipe import read_recipe
from napari_wsol.training.run import measure
from napari_wsol.zoo import find_card, load_model

NAME = "malignancy-mobilenetv2"
METHODS = ("attention_mil", "mil_tile", "mil_evidence")


def stored(name: str) -> dict:
    return json.loads((find_card(NAME).folder / name).read_text("utf-8"))


def around(figure: dict) -> str:
    return f"{figure['mean']:.1f} ± {figure['std']:.1f}"


@pytest.fixture(scope="module")
def model():
    return load_model(NAME, device="cpu")


def test_the_cards_figures_are_measured_again(model, shared):
    recipe = read_recipe(model.card.folder / "recipe.toml")
    found = measure(model, recipe, shared / "glas", lambda *_: None)
    stated = model.card.metrics
    assert found["pxap_percent"] == pytest.approx(stated["pxap_percent"], abs=0.2)
    assert found["accuracy_percent"] == stated["accuracy_percent"] >= 95


def test_recipe_and_weights_belong_together(model):
    recipe = read_recipe(model.card.folder / "recipe.toml")
    assert recipe.name == NAME
    assert recipe.model == model.spec
    assert model.card.limits == tuple(recipe.card["limits"])
    assert model.card.reproducibility == tuple(recipe.card["reproducibility"])
    assert model.card.methods == METHODS
    assert model.card.primary == "mil_evidence"


def test_the_card_states_what_seeds_and_folds_gave(model):
    """Each sentence has the figures of its file, and a person sees them."""
    of_seeds, of_folds, of_maps = model.card.reproducibility
    assert around(stored("seeds.json")["figures"]["accuracy_percent"]) in of_seeds
    folds = stored("cross_validation.json")
    assert around(folds["spread"]["classification"]["accuracy"]) in of_folds
    pooled = folds["pooled"]["classification"]
    accuracy = pooled["accuracy"]
    shown = f"{accuracy['value']:.1f} % ({accuracy['low']:.1f}–{accuracy['high']:.1f})"
    assert shown in of_folds
    assert f"{pooled['macro_auc']['value']:.3f}" in of_folds
    maps = {item["name"]: item["figures"] for item in folds["pooled"]["methods"]}
    assert tuple(maps) == METHODS
    for figures in maps.values():
        assert f"{figures['pxap']['value']:.1f}" in of_maps
        flipped = figures["flipping"]
        shown = f"{flipped['value']:.2f} ({flipped['low']:.2f}–{flipped['high']:.2f})"
        assert shown in of_maps
    faithful = [maps[name]["flipping"]["value"] for name in METHODS]
    assert faithful[0] < faithful[2]  # evidence tells more than attention
    done = CliRunner().invoke(app, ["models", "show", NAME])
    for line in model.card.reproducibility:
        assert line in done.output


def test_no_patient_of_the_cross_validation_is_in_two_folds():
    folds = stored("cross_validation.json")["folds"]
    groups = [set(fold["held_out"].values()) for fold in folds]
    assert len(set.union(*groups)) == sum(map(len, groups)) == 15
    assert len({name for fold in folds for name in fold["held_out"]}) == 85


def test_the_stored_evaluation_is_of_these_weights(model):
    found = stored("evaluation.json")
    assert found["sha256"] == model.card.sha256
    assert found["splits"] == ["folds/fold-0/valcl"]
    accuracy = found["classification"]["accuracy"]["value"]
    assert accuracy == model.card.metrics["accuracy_percent"]


def test_tiles_that_change_places_take_their_values_along(model):
    """What a tile is worth depends on what it shows, not on where it lies."""
    side = model.spec.tile
    rng = np.random.default_rng(0)
    kinds = (60, 5), (120, 60), (180, 20), (220, 90), (240, 2), (90, 9)
    tiles = [
        np.clip(mean + spread * rng.standard_normal((side, side, 3)), 0, 255)
        for mean, spread in kinds
    ]
    order = [4, 0, 5, 2, 1, 3]

    def run(tiles):
        rows = [np.concatenate(tiles[at : at + 3], 1) for at in (0, 3)]
        image = np.concatenate(rows).astype(np.uint8)
        found = localize(model, image, METHODS, mpp=model.spec.mpp)
        maps = [found.heatmaps[name].values for name in METHODS]
        return found.scores, np.stack(maps)

    scores, values = run(tiles)
    moved_scores, moved = run([tiles[place] for place in order])
    assert values.shape == (3, 2, 3)
    assert values[0].max() == 1
    assert values[0].min() < 0.5
    flat = values.reshape(3, -1)
    np.testing.assert_allclose(moved.reshape(3, -1), flat[:, order], rtol=1e-4)
    assert moved_scores == pytest.approx(scores, abs=1e-5)
