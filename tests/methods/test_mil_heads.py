"""Every head that pools tiles, beside its published equations in NumPy, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fixtures.bags import mil_model

from napari_wsol.encoders import Features
from napari_wsol.methods import ModelSpec, evaluating
from napari_wsol.methods.mil import as_bag, contrast, read_bag
from napari_wsol.training.objectives import LOSSES, Lesson, LossConfig, loss_of

WIDTH, TILES = 12, 9
CLASSES = ("a", "b", "c")
HEADS = {
    "plain": ("attention_mil", {"hidden": 7}),
    "gated": ("attention_mil", {"hidden": 7, "gated": True}),
    "clam": ("clam_sb", {"embedding": 10, "hidden": 7}),
    "additive": ("additive_mil", {"hidden": 7}),
    "max": ("max_mil", {}),
    "mean": ("mean_mil", {}),
}


def build(case, classes=CLASSES, **options):
    name, own = HEADS[case]
    return mil_model(WIDTH, name, classes, seed=3, **{**own, **options})


def vectors_of(seed=0, count=TILES):
    return np.random.default_rng(seed).normal(size=(count, WIDTH)).astype(np.float32)


def softmax(values):
    grown = np.exp(values - values.max())
    return grown / grown.sum()


def by_hand(case, head, x):
    """Attention (n,) or None, evidence (n, K), bias (K,) and logits of single tiles."""
    w = {key: item.double().numpy() for key, item in head.state_dict().items()}
    x = x.astype(np.float64)

    def linear(name, values):
        return values @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def gate(one, other, last, values):
        sigmoid = 1 / (1 + np.exp(-linear(other, values)))
        return linear(last, np.tanh(linear(one, values)) * sigmoid)[:, 0]

    if case == "clam":
        x = np.maximum(linear("attention_net.0", x), 0)
        at = "attention_net.3.attention"
        scores, last = gate(f"{at}_a.0", f"{at}_b.0", f"{at}_c", x), "classifiers"
    elif case == "gated":
        names = ("attention_V.0", "attention_U.0", "attention_weights")
        scores, last = gate(*names, x), "classifier.0"
    elif case in ("plain", "additive"):
        hidden = np.tanh(linear("attention.0", x))
        scores, last = linear("attention.2", hidden)[:, 0], "classifier.0"
    if case in ("max", "mean"):
        values = x @ w["classifier.weight"].T
        share = np.full(values.shape, 1 / len(x))
        if case == "max":
            share = (np.arange(len(x))[:, None] == values.argmax(0)).astype(float)
        bias = w["classifier.bias"]
        return None, share * values, bias, values + bias
    weights = softmax(scores)
    if case == "additive":

        def psi(values):
            return linear("classifier.2", np.maximum(linear(last, values), 0))

        return weights, psi(weights[:, None] * x), np.zeros(len(CLASSES)), psi(x)
    values, bias = x @ w[f"{last}.weight"].T, w[f"{last}.bias"]
    return weights, weights[:, None] * values, bias, values + bias


@pytest.mark.parametrize("case", HEADS)
def test_logits_attention_and_evidence_are_those_of_the_equations(case):
    model, x = build(case), vectors_of()
    head = model.classifier
    weights, parts, bias, alone = by_hand(case, head, x)
    tiles = torch.from_numpy(x)
    with torch.inference_mode():
        logits = head(as_bag(tiles))[0]
        whole = read_bag(model, lambda: [tiles])
        pieces = read_bag(model, lambda: tiles.split(2))
    np.testing.assert_allclose(logits, parts.sum(0) + bias, atol=1e-5)
    assert np.ptp(logits.numpy()) > 1e-3
    for reading in (whole, pieces):
        np.testing.assert_allclose(reading.parts, parts, atol=1e-5)
        np.testing.assert_allclose(reading.bias, bias, atol=1e-5)
        np.testing.assert_allclose(reading.alone, alone, atol=1e-5)
        np.testing.assert_allclose(reading.logits, parts.sum(0) + bias, atol=1e-5)
        if weights is not None:
            found = reading.values("attention_mil", model, 0)
            np.testing.assert_allclose(found, weights / weights.max(), atol=1e-5)
        for target in range(3):
            turn = contrast(model, target).numpy()
            assert turn.sum() == pytest.approx(0)
            found = reading.values("mil_evidence", model, target)
            np.testing.assert_allclose(found, parts @ turn, atol=1e-5)
            total = float(found.double().sum()) + reading.bias_of(model, target)
            assert total == pytest.approx(float(logits.numpy() @ turn), abs=1e-5)
            found = reading.values("mil_tile", model, target)
            np.testing.assert_allclose(found, alone @ turn, atol=1e-5)


@pytest.mark.parametrize("case", HEADS)
def test_class_maps_are_bags_of_one_tile(case):
    model, x = build(case), torch.from_numpy(vectors_of(count=6))
    head = model.classifier
    features = Features((x.T.reshape(1, WIDTH, 2, 3),), (64.0,), (31.5,))
    with torch.inference_mode():
        maps = head.class_maps(features)
        assert maps.shape == (1, 3, 2, 3)
        if case in ("plain", "gated"):  # A-MIL's own: the attention scores
            wanted = head.scores(x)[:, 0].expand(3, -1)
        else:
            wanted = head(Features((x[:, :, None, None],), (64.0,), (31.5,))).T
    torch.testing.assert_close(maps[0].flatten(1), wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize("case", ["gated", "clam"])
def test_a_bag_is_scored_once_though_it_is_read_twice(case):
    """Scores are most of what a head computes; no read-out needs them again."""
    model, seen = build(case), []
    last = next(
        x for x in model.classifier.modules() if getattr(x, "out_features", 0) == 1
    )
    last.register_forward_hook(lambda *_: seen.append(1))
    read_bag(model, lambda: [torch.from_numpy(vectors_of())])
    assert len(seen) == 1


def test_the_one_logit_of_two_classes_speaks_for_the_second():
    model, x = build("plain", ("no", "yes"), binary=True), vectors_of()
    with torch.inference_mode():
        reading = read_bag(model, lambda: [torch.from_numpy(x)])
        logit = float(model.classifier(as_bag(torch.from_numpy(x)))[0, 0])
    for target, sign in ((0, -1), (1, 1)):
        evidence = reading.values("mil_evidence", model, target).double().sum()
        assert float(evidence) + reading.bias_of(model, target) == pytest.approx(
            sign * logit, abs=1e-5
        )


@pytest.mark.parametrize("case", HEADS)
def test_gradients_are_those_of_finite_differences(case):
    """The highest tile of a class alone learns under "max"."""
    model = build(case)
    head = model.classifier.double()
    own = type(head).scores
    head.scores = lambda x: _in_float64(head, own, x)
    x = torch.from_numpy(vectors_of(4, 5)).double().requires_grad_()

    def logit(vectors):
        embedded = head.embed(vectors)
        weights = head.weigh(head.scores(embedded))
        return head.parts(embedded, weights).sum(0) + head.bias()

    assert torch.autograd.gradcheck(logit, (x,), atol=1e-6)
    if case == "max":
        (slope,) = torch.autograd.grad(logit(x)[1], x)
        values = (x @ head.classifier.weight.T)[:, 1]
        assert slope.abs().sum(1).nonzero().ravel().tolist() == [int(values.argmax())]


def _in_float64(head, own, x):
    """``scores`` without its ``float()``, which finite differences would notice."""
    plain = torch.Tensor.float
    torch.Tensor.float = lambda self: self
    try:
        return own(head, x)
    finally:
        torch.Tensor.float = plain


def clams_loss(head, x, label):
    """CLAM's ``inst_eval`` and ``inst_eval_out`` (subtyping), written anew in NumPy."""
    w = {key: item.double().numpy() for key, item in head.state_dict().items()}
    h = np.maximum(
        x.astype(np.float64) @ w["attention_net.0.weight"].T
        + w["attention_net.0.bias"],
        0,
    )
    attention, _, _, _ = by_hand("clam", head, x)
    order = np.argsort(attention)
    count = min(head.instances, len(x))
    low, high = order[:count], order[::-1][:count]
    losses = []
    for place in range(len(CLASSES)):
        at = f"instance_classifiers.{place}"
        logits = h @ w[f"{at}.weight"].T + w[f"{at}.bias"]
        log = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        if place == label:
            picked = np.concatenate([log[high, 1], log[low, 0]])
        else:
            picked = log[high, 0]
        losses.append(-picked.mean())
    return np.mean(losses)


@pytest.mark.parametrize("count", [3, 9, 40])
@pytest.mark.parametrize("label", [0, 2])
def test_the_loss_of_tiles_is_clams(count, label):
    model, x = build("clam", instances=4), vectors_of(7, count)
    head = model.classifier
    with torch.inference_mode():
        found = head.instance_loss(torch.from_numpy(x), label)
    assert float(found) == pytest.approx(clams_loss(head, x, label), abs=1e-5)


def test_clam_learns_from_bags_of_any_size_by_seven_parts_and_three():
    model = build("clam", instances=4)
    head = model.classifier
    bags = [vectors_of(1, 5), vectors_of(2, 9), vectors_of(3, 2)]
    seen = tuple(as_bag(torch.from_numpy(x)) for x in bags)
    labels = torch.tensor([[1.0, 0, 0], [0, 0, 1.0], [0, 1.0, 0]])
    config = loss_of("clam_sb", model.spec)
    assert config.loss == "clam"
    lesson = Lesson(model, head, seen, None, labels, labels, config)
    with evaluating(model):
        logits = torch.cat([head(item) for item in seen])
        found = LOSSES["clam"](lesson, logits)
    truth = labels.argmax(1).tolist()
    log = logits.detach().double().log_softmax(1).numpy()
    of_bags = -np.mean([log[row, label] for row, label in enumerate(truth)])
    pairs = zip(bags, truth, strict=True)
    of_tiles = np.mean([clams_loss(head, x, label) for x, label in pairs])
    assert float(found) == pytest.approx(0.7 * of_bags + 0.3 * of_tiles, abs=1e-5)
    found.backward()
    assert all(item.grad is not None for item in head.parameters())


@pytest.mark.parametrize(
    ("case", "multi", "options", "loss"),
    [
        ("clam", False, {}, "clam"),
        ("clam", True, {}, "bce"),
        ("additive", False, {}, "cross_entropy"),
        ("additive", True, {}, "bce"),
        ("max", False, {}, "cross_entropy"),
        ("mean", True, {}, "bce"),
        ("gated", False, {}, "cross_entropy"),
        ("plain", False, {"binary": True}, "bce"),
    ],
)
def test_heads_have_the_loss_of_their_labels(case, multi, options, loss):
    name, _ = HEADS[case]
    classes = ("no", "yes") if options else CLASSES
    spec = ModelSpec(
        encoder="vectors:4",
        classes=classes,
        heads=(name,),
        options={name: options},
        multi_label=multi,
    )
    assert loss_of(name, spec) == LossConfig(loss=loss)
