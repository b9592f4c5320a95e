"""Tiles taken away in the order of a read-out: what is left of the verdict."""

import numpy as np
import pytest
import torch
from fixtures.bags import mil_model, planted

from napari_wsol.evaluation.flipping import STEPS, patch_flipping
from napari_wsol.methods import Head
from napari_wsol.methods.mil import as_bag, contrast, read_bag

READ_OUTS = ("attention_mil", "mil_tile", "mil_evidence")
WIDTH = 6


def build(head="attention_mil", classes=("no", "yes"), **options):
    return mil_model(WIDTH, head, classes, seed=1, **options)


def tiles_of(count, seed=0):
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed)) * 3


def one_by_one(model, x, order, target):
    """SRG of an order, a bag at a time, by the model's own forward."""
    turn, count = contrast(model, target), len(x)

    def margin(rest):
        return float((model.image_logits(as_bag(x[rest]))[0] @ turn).detach())

    cuts = [int(count * step / min(count, STEPS)) for step in range(min(count, STEPS))]
    gains = [margin(order[k:]) - margin(order.flip(0)[k:]) for k in cuts]
    return np.mean(gains)


@pytest.mark.parametrize(
    ("head", "classes", "options"),
    [
        ("attention_mil", ("no", "yes"), {"gated": True}),
        ("attention_mil", ("no", "yes"), {"binary": True}),
        ("clam_sb", ("a", "b", "c"), {"embedding": 5, "hidden": 4}),
        ("additive_mil", ("a", "b", "c"), {}),
        ("max_mil", ("no", "yes"), {}),
        ("mean_mil", ("no", "yes"), {}),
    ],
)
@pytest.mark.parametrize("count", [1, 7, 133])
def test_it_is_the_models_own_verdict_on_what_is_left(head, classes, options, count):
    model, x = build(head, classes, **options), tiles_of(count)
    has_attention = head not in ("max_mil", "mean_mil")
    names = READ_OUTS if has_attention else READ_OUTS[1:]
    found = patch_flipping(model, names, lambda: x, "a")
    assert tuple(found) == names
    with torch.inference_mode():
        reading = read_bag(model, lambda: [x])
        target = int(model.to_probabilities(model.image_logits(as_bag(x))).argmax())
    for name in names:
        order = reading.values(name, model, target).argsort()
        wanted = one_by_one(model, x, order, target)
        figures = found[name].faithful
        assert figures["flipping"] == pytest.approx(wanted, abs=1e-4)
        assert figures["flipping_random"] == found[names[0]].faithful["flipping_random"]
    assert (count == 1) == (figures["flipping"] == 0)


def test_of_a_mean_the_best_order_is_that_of_evidence():
    """The margin without k tiles is a mean of the others: no order gains more."""
    model, x = build("mean_mil"), tiles_of(11)
    found = patch_flipping(model, ["mil_evidence"], lambda: x)["mil_evidence"].faithful
    values = (x @ model.classifier.classifier.weight.T) @ contrast(model, 1)
    if float(values.mean() + model.classifier.bias() @ contrast(model, 1)) < 0:
        values = -values
    rising, count = values.sort().values.double().detach(), 11
    wanted = [rising[k:].mean() - rising[: count - k].mean() for k in range(count)]
    assert found["flipping"] == pytest.approx(float(np.mean(wanted)), abs=1e-5)
    for seed in range(20):
        drawn = patch_flipping(model, ["mil_evidence"], lambda: x, str(seed))
        least = drawn["mil_evidence"].faithful["flipping_random"]
        assert -found["flipping"] <= least < found["flipping"]


def test_a_drawn_order_gains_nothing_on_average():
    model, x = build(), tiles_of(12)
    drawn = [
        patch_flipping(model, ["mil_tile"], lambda: x, str(seed))["mil_tile"]
        for seed in range(60)
    ]
    gains = np.array([item.faithful["flipping_random"] for item in drawn])
    assert len(set(gains)) > 50
    assert abs(gains.mean()) < 3 * gains.std() / np.sqrt(len(gains))
    again = patch_flipping(model, ["mil_tile"], lambda: x, "7")["mil_tile"]
    assert again == drawn[7]


def test_evidence_finds_a_planted_lesion_and_its_opposite_does_not():
    vectors, of_lesion = planted(200, WIDTH, 12, seed=5)
    model = build("mean_mil")
    with torch.no_grad():
        linear = model.classifier.classifier
        linear.weight.zero_()
        linear.weight[1, :4] = 1.0
        linear.bias[:] = torch.tensor([0.0, 0.5])
    found = patch_flipping(model, ["mil_evidence"], lambda: torch.from_numpy(vectors))
    figures = found["mil_evidence"].faithful
    assert figures["flipping"] > 3 * abs(figures["flipping_random"])
    assert of_lesion.sum() == 12


class SquaredMil(Head):
    """Of a plugin: a head of another form, whose logits are no sum over tiles."""

    def __init__(self, channels, classes):
        super().__init__()
        self.last = torch.nn.Linear(channels, classes)

    def forward(self, features):
        return self.last(features.last.flatten(2).square().mean(2).sqrt())


def test_heads_of_another_form_are_measured_by_their_own_logits():
    model, x = build("max_mil").with_head("max_mil", SquaredMil(WIDTH, 2)), tiles_of(8)
    found = patch_flipping(model, ["mil_evidence"], lambda: x)["mil_evidence"].faithful
    with torch.inference_mode():
        reading = read_bag(model, lambda: [x])
        target = int(model.image_logits(as_bag(x)).argmax())
    order = reading.values("mil_evidence", model, target).argsort()
    wanted = one_by_one(model, x, order, target)
    assert found["flipping"] == pytest.approx(wanted, abs=1e-4)
    assert wanted > 0


def test_without_a_read_out_of_tiles_nothing_is_read(small_model):
    def never():
        raise AssertionError

    assert patch_flipping(small_model, ["cam", "gradcam"], never) == {}
