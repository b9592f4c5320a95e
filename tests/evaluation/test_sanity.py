"""Weights drawn anew: which maps change, and what is said of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from fixtures.models import small_card
from scipy.stats import spearmanr
from torch import nn

from napari_wsol import localize, wrap
from napari_wsol.evaluation.sanity import (
    NO_ROAD,
    PARTS,
    Trust,
    check_maps,
    drawn_anew,
    known_trust,
    rank_correlation,
)
from napari_wsol.evaluation.settings import EvaluationConfig
from napari_wsol.images.readers import open_slide
from napari_wsol.inference.view import ModelView
from napari_wsol.methods import get_method


def state(module):
    return {name: item.clone() for name, item in module.state_dict().items()}


def changed(before, after):
    """Names of what differs."""
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_rank_correlation_is_spearmans_with_ties():
    rng = np.random.default_rng(0)
    one = rng.integers(0, 5, (9, 7)).astype(np.float32)
    other = (one + rng.random((9, 7))).astype(np.float32)
    wanted = spearmanr(one.ravel(), other.ravel())[0]
    assert rank_correlation(one, other) == pytest.approx(wanted, abs=1e-12)
    assert rank_correlation(one, 2 * one + 1) == pytest.approx(1)
    assert rank_correlation(one, -one) == pytest.approx(-1)
    assert rank_correlation(one, np.full_like(one, 0.5)) == 0


def test_each_part_holds_the_one_before_and_nothing_else(small_model):
    before = state(small_model)
    found = [changed(before, state(drawn_anew(small_model, part))) for part in PARTS]
    assert changed(before, state(small_model)) == set()
    heads, last, every = found
    assert {name.split(".")[1] for name in heads} == {"cam", "pcam"}
    assert heads < last < every
    stage = {name.split(".")[2] for name in last - heads}
    assert "6" in stage  # the deepest block of the seven
    assert not stage & {"0", "1", "2", "3", "4"}
    assert {name.split(".")[2] for name in every - heads} == set("0123456")
    assert not any(name.startswith("heads.pixelcam") for name in every)


def test_draws_are_those_of_their_seed_and_leave_torchs_own_alone(small_model):
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    one = state(drawn_anew(small_model, "encoder", 1))
    assert torch.equal(torch.rand(4), wanted)
    assert changed(one, state(drawn_anew(small_model, "encoder", 1))) == set()
    assert changed(one, state(drawn_anew(small_model, "encoder", 2)))


def test_maps_that_follow_the_verdict_change_and_others_do_not(small_model, tissue):
    methods = ["cam", "gradcam", "layercam", "pcam", "pixelcam", "eigencam"]
    before = localize(small_model, tissue, methods, "bright").heatmaps
    other = drawn_anew(small_model, "heads")
    after = localize(other, tissue, methods, "bright").heatmaps
    for name in methods:
        same = rank_correlation(before[name].values, after[name].values)
        is_bound = get_method(name).follows_verdict
        assert (same == pytest.approx(1)) is not is_bound, name
        told = [note for note in before[name].notes if "the image's verdict" in note]
        assert len(told) == (not is_bound), name
    assert [name for name in methods if not get_method(name).follows_verdict] == [
        "pixelcam",
        "eigencam",
    ]


def test_of_a_network_of_others_the_classifier_inside_is_drawn(tissue):
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 5, 4, 2), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1))
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 2))
    model = wrap(nn.Sequential(body, pool).eval(), "0.2", ["no", "yes"], size=64)
    before = state(model)
    assert changed(before, state(drawn_anew(model, "heads"))) == {
        "encoder.module.1.2.weight",
        "encoder.module.1.2.bias",
    }
    maps = [
        localize(item, tissue, ["gradcam", "eigencam"], "yes").heatmaps
        for item in (model, drawn_anew(model, "heads"))
    ]
    same = {
        key: rank_correlation(maps[0][key].values, maps[1][key].values)
        for key in maps[0]
    }
    assert same["eigencam"] == pytest.approx(1)
    assert abs(same["gradcam"]) < 0.999


def test_weights_that_no_layer_knows_how_to_begin_are_shuffled(small_model):
    head = small_model.heads["cam"]
    head.extra = nn.Parameter(torch.arange(6.0))
    after = drawn_anew(small_model, "heads").heads["cam"].extra
    assert sorted(after.tolist()) == list(range(6))
    assert after.tolist() != list(range(6))


@pytest.mark.parametrize(
    ("method", "heads", "encoder", "level", "words"),
    [
        ("pixelcam", 1.0, 0.03, "partly", "does not change when the verdict's weights"),
        ("eigencam", 1.0, 0.45, "partly", "what the encoder learnt, not why"),
        ("eigencam", 1.0, -0.73, "bad", "hardly changes when all weights"),
        ("cam", 0.12, 0.1, "good", "CAM: changes with the verdict's weights (0.12)."),
        ("cam", 0.6, 0.1, "partly", "changes little"),
    ],
)
def test_a_sentence_says_what_a_map_is_worth(method, heads, encoder, level, words):
    trust = Trust(
        method=method, sanity={"heads": heads, "last_stage": 0.0, "encoder": encoder}
    )
    assert trust.verdict[0] == level
    assert words in trust.verdict[1]
    assert trust.caveats == ()


def test_a_constant_map_is_told():
    torch.manual_seed(0)
    dead = nn.Conv2d(3, 4, 1)  # of a black image its weights leave nothing
    net = nn.Sequential(dead, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    black = np.zeros((64, 64, 3), np.uint8)
    plain = {"mean": [0.0] * 3, "std": [1.0] * 3}
    model = wrap(net.eval(), "0", ["no", "yes"], size=64, **plain)
    found = localize(model, black, ["gradcam"], "yes")
    how = EvaluationConfig(sanity=True)
    trust = check_maps(ModelView(open_slide(black), model), found, how)["gradcam"]
    assert trust.sanity == dict.fromkeys(PARTS, 0.0)
    wanted = "the same everywhere with other weights of the heads or last stage or enc"
    assert wanted in trust.caveats[0]
    assert len(trust.caveats) == 1


def test_where_road_takes_too_long_it_is_said(small_model):
    image = np.zeros((640, 640, 3), np.uint8)
    view = ModelView(open_slide(image), small_model)
    found = localize(small_model, image, ["cam"], "bright")
    how = EvaluationConfig(road=True)
    (one,) = check_maps(view, found, how).values()
    assert one.faithful == {}
    assert one.caveats == (NO_ROAD,)
    assert "400 000" in NO_ROAD


def test_what_a_card_does_not_say_properly_is_not_known(small_model):
    card = small_card(small_model, small_model.spec.heads)
    assert known_trust(card) == {}
    figures = {"heads": 0.1, "last_stage": 0.2, "encoder": 0.3}
    for wrong in (3, {"cam": 3}, {"cam": {"heads": "x"}}, {"cam": {"heads": 0.1}}):
        assert known_trust(replace(card, metrics={"sanity": wrong})) == {}
    found = known_trust(replace(card, metrics={"sanity": {"cam": figures}}))
    assert found["cam"].sanity == figures
