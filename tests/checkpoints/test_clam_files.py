"""CLAM-SB's state dicts, as its code has written them over the years."""

import numpy as np
import pytest
import torch
from fixtures.bags import grid_corners, write_h5

from napari_wsol.checkpoints import recognise
from napari_wsol.errors import ImageError, ModelError
from napari_wsol.inference.whole_image import localize
from napari_wsol.zoo import find_card, import_model, load_model, verify

EMBEDDING = 24


def state_of(*, width=40, hidden=16, classes=3, dropout=True, teaches=True):
    """Names and shapes of ``CLAM_SB`` in mahmoodlab/CLAM's model_clam.py."""
    draw = torch.Generator().manual_seed(5)
    at = f"attention_net.{3 if dropout else 2}."
    sizes = {
        "attention_net.0": (EMBEDDING, width),
        f"{at}attention_a.0": (hidden, EMBEDDING),
        f"{at}attention_b.0": (hidden, EMBEDDING),
        f"{at}attention_c": (1, hidden),
        "classifiers": (classes, EMBEDDING),
    }
    for place in range(classes if teaches else 0):
        sizes[f"instance_classifiers.{place}"] = (2, EMBEDDING)
    state = {}
    for name, shape in sizes.items():
        state[f"{name}.weight"] = torch.randn(shape, generator=draw) / shape[1] ** 0.5
        state[f"{name}.bias"] = torch.randn(shape[0], generator=draw)
    return state


def by_hand(state, at, vectors):
    """Logits and attention of a bag in float64, as CLAM's forward computes them."""
    x = {key: value.double().numpy() for key, value in state.items()}

    def linear(name, values):
        return values @ x[f"{name}.weight"].T + x[f"{name}.bias"]

    h = np.maximum(linear("attention_net.0", vectors.astype(np.float64)), 0)
    a = np.tanh(linear(f"{at}attention_a.0", h))
    b = 1 / (1 + np.exp(-linear(f"{at}attention_b.0", h)))
    scores = linear(f"{at}attention_c", a * b)[:, 0]
    weights = np.exp(scores - scores.max())
    weights /= weights.sum()
    return linear("classifiers", weights @ h), weights


@pytest.fixture(autouse=True)
def models_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_WSOL_HOME", str(tmp_path / "home"))


@pytest.fixture
def bag(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(12, 40)).astype(np.float32)
    path = write_h5(tmp_path / "slide.h5", vectors, grid_corners(3, 4), encoder="uni")
    return path, vectors


@pytest.mark.parametrize("dropout", [False, True])
def test_an_imported_file_judges_a_bag_as_clams_code_does(tmp_path, bag, dropout):
    path, vectors = bag
    state = state_of(dropout=dropout)
    torch.save(state, tmp_path / "s_0_checkpoint.pt")
    named = {"classes": "a, b, c", "extractor": "uni"}
    import_model(tmp_path / "s_0_checkpoint.pt", name="kidney", answers=named)
    card = find_card("kidney")
    assert card.methods == ("attention_mil", "mil_tile", "mil_evidence")
    assert card.primary == "mil_evidence"
    verify(card)
    model = load_model("kidney", device="cpu")
    at = f"attention_net.{3 if dropout else 2}."
    logits, weights = by_hand(state, at, vectors)
    found = localize(model, path, ["attention_mil"], "b")
    wanted = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(list(found.scores.values()), wanted, atol=1e-5)
    cells = found.heatmaps["attention_mil"].values[:3, :4].ravel()
    np.testing.assert_allclose(cells, weights / weights.max(), atol=1e-5)


def test_bags_of_another_network_are_refused_once_it_is_named(tmp_path, bag):
    torch.save(state_of(), tmp_path / "one.pt")
    import_model(tmp_path / "one.pt", answers={"extractor": "conch_v1"})
    import_model(tmp_path / "one.pt", name="any")
    with pytest.raises(ImageError, match="made by uni, and not by conch_v1"):
        localize(load_model("one", device="cpu"), bag[0])
    assert localize(load_model("any", device="cpu"), bag[0]).target.startswith("class")


@pytest.mark.parametrize(
    "rename",
    [
        lambda key: f"module.{key}",
        lambda key: f"state_dict.model.{key}",
        # Where its code put the attention alone on several GPUs.
        lambda key: key.replace("attention_net.", "attention_net.module."),
    ],
)
def test_names_of_parts_on_several_gpus_are_known(tmp_path, rename):
    path = tmp_path / "x.pt"
    loss = {"instance_loss_fn.labels": torch.arange(2)}  # of the published SVM loss
    state = {rename(key): value for key, value in {**state_of(), **loss}.items()}
    torch.save(state, path)
    draft = recognise(path)
    assert draft.system == "CLAM"
    assert draft.spec.encoder == "vectors:40"
    assert draft.spec.options["clam_sb"] == {"embedding": EMBEDDING, "hidden": 16}
    import_model(path, name="several")


def test_a_file_without_classifiers_of_tiles_gives_the_same_verdict(tmp_path, bag):
    for name in ("with", "without"):
        torch.save(state_of(teaches=name == "with"), tmp_path / f"{name}.pt")
        import_model(tmp_path / f"{name}.pt")
    one, other = (localize(load_model(x), bag[0]).scores for x in ("with", "without"))
    assert one == other


def other_networks():
    plain = state_of()
    several = {**plain}
    del several["classifiers.weight"], several["classifiers.bias"]
    for place in range(3):  # CLAM_MB: one classifier a class
        several[f"classifiers.{place}.weight"] = torch.zeros(1, EMBEDDING)
        several[f"classifiers.{place}.bias"] = torch.zeros(1)
    ungated = {key: x for key, x in plain.items() if "attention_net.3" not in key}
    ungated["attention_net.3.module.0.weight"] = torch.zeros(16, EMBEDDING)
    ungated["attention_net.3.module.0.bias"] = torch.zeros(16)
    flat = {**plain, "attention_net.0.weight": torch.zeros(4)}
    many = {**plain, "classifiers.bias": torch.zeros(100_000)}
    return [several, ungated, flat, many]


@pytest.mark.parametrize("state", other_networks(), ids=["mb", "plain", "flat", "many"])
def test_other_networks_of_its_code_are_named_as_such(tmp_path, state):
    torch.save(state, tmp_path / "mb.pt")
    with pytest.raises(ModelError, match=r"mb\.pt is of CLAM's code, but not CLAM-SB"):
        recognise(tmp_path / "mb.pt")


def test_weights_that_do_not_fit_are_named(tmp_path):
    state = {**state_of(), "classifiers.weight": torch.zeros(3, 7)}
    torch.save(state, tmp_path / "odd.pt")
    with pytest.raises(ModelError, match=r"classifiers\.weight is \(3, 7\), not"):
        import_model(tmp_path / "odd.pt")
