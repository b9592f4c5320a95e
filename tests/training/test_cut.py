"""The cut between two classes: chosen on validation images, kept, and obeyed."""

import math

import pytest
import torch

from napari_wsol.errors import ConfigError, MalformedError
from napari_wsol.evaluation.benchmark import Benchmark
from napari_wsol.methods import Model, ModelSpec
from napari_wsol.training.measuring import best_cut
from napari_wsol.training.run import train
from napari_wsol.zoo import load_model


def quiet(*_):
    """Nobody listens."""


def spec(**more) -> ModelSpec:
    return ModelSpec(
        encoder="mobilenet_v2", taps=("features.1",), classes=("plain", "striped")
    ).from_dict({"encoder": "mobilenet_v2", "classes": ["plain", "striped"], **more})


def test_the_cut_is_the_middle_of_the_widest_gap_that_tells_most():
    odds = [-9.0, -6.0, -2.0, 0.5]
    scores = [1 / (1 + math.exp(-value)) for value in odds]
    assert best_cut(scores, [0, 0, 1, 1]) == pytest.approx(1 / (1 + math.exp(4)))
    # One is on the wrong side wherever it is cut: the gap beside it is no better.
    assert best_cut(scores, [0, 1, 0, 1]) == pytest.approx(
        1 / (1 + math.exp(7.5)), rel=1e-3
    )
    assert best_cut([0.0, 1.0], [0, 1]) == pytest.approx(0.5)
    assert best_cut([0.2, 0.9], [1, 1]) is None
    assert best_cut([0.2, 0.2], [0, 1]) is None


@pytest.mark.parametrize("logits", [[[0.3, -1.2], [2.0, 2.5]], [[-1.5], [0.5]]])
def test_probabilities_are_moved_so_that_the_cut_is_one_half(logits):
    found = torch.tensor(logits)
    plain, moved = Model(spec()), Model(spec(cut=0.2))
    before = plain.to_probabilities(found)[:, 1]
    after = moved.to_probabilities(found)
    assert after.sum(1).tolist() == pytest.approx([1, 1])
    assert ((before >= 0.2) == (after[:, 1] >= 0.5)).all()
    odds = torch.logit(after[:, 1]) - torch.logit(before)
    assert odds.tolist() == pytest.approx([math.log(4)] * 2, abs=1e-5)


def test_a_cut_that_cannot_be_is_refused():
    for cut in (0.0, 1.0, -2, float("nan"), "0.5"):
        with pytest.raises(MalformedError):
            spec(cut=cut)
    with pytest.raises((ConfigError, MalformedError), match="two classes"):
        spec(cut=0.4, multi_label=True)


def test_a_training_chooses_the_cut_and_its_card_says_so(discs, make_recipe, tmp_path):
    recipe = make_recipe(data='validation = ["valcl"]')
    card = train(recipe, discs, tmp_path / "out", say=quiet, step=quiet)
    model = load_model(card.folder, device="cpu")
    assert 0 < model.spec.cut < 1
    assert "striped" in model.card.cut_note
    assert f"{model.spec.cut:.3g}" in model.card.cut_note
    measured = Benchmark(model, discs, "valcl").run()
    accuracy = measured.classification["accuracy"].value
    assert accuracy == card.metrics["accuracy_percent"]
    assert accuracy >= card.metrics["accuracy_percent_at_one_half"]


def test_nothing_is_chosen_without_validation_images(discs, make_recipe, tmp_path):
    card = train(make_recipe(), discs, tmp_path / "out", say=quiet, step=quiet)
    assert card.spec.cut is None
    assert card.cut_note == ""
