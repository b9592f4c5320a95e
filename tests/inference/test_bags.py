"""A bag of vectors is localized as an image: verdict, maps, and sums that are exact."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from fixtures.bags import grid_corners, planted, write_h5
from fixtures.colours import tiles_model

from napari_wsol.errors import ConfigError, ImageError, MethodUnavailableError
from napari_wsol.images.bags import open_bag
from napari_wsol.inference.bags import read_of_bag
from napari_wsol.inference.whole_image import check_methods, localize
from napari_wsol.methods import Model, ModelSpec
from napari_wsol.methods.card import Card

pytest.importorskip("h5py")

HEADS = ("attention_mil", "clam_sb", "additive_mil", "max_mil", "mean_mil")


def model_of(head, classes=("normal", "tumor"), **how):
    torch.manual_seed(3)
    model = Model(
        ModelSpec(encoder="vectors:16", classes=classes, heads=(head,), **how)
    ).eval()
    with torch.no_grad():
        for value in model.heads[head].parameters():
            value.mul_(0.2 if head == "additive_mil" else 2.0)  # no logit too large
    return model


@pytest.fixture
def path(tmp_path):
    vectors, _ = planted(200, 16, 20, seed=1)
    return write_h5(
        tmp_path / "s.h5", vectors, grid_corners(10, 20), encoder="uni", level0_width=1
    )


def odds(p):
    return np.log(p / (1 - p))


@pytest.mark.parametrize("head", HEADS)
def test_evidence_and_bias_are_the_log_odds(path, head):
    model = model_of(head)
    of = {name: localize(model, path, target=name) for name in model.classes}
    for name, found in of.items():
        heatmap = found.heatmaps["mil_evidence"]
        total = heatmap.evidence.sum() + heatmap.bias
        assert total == pytest.approx(odds(found.scores[name]), abs=1e-5)
        told = f"The bias of the evidence is {heatmap.bias:+.3f}."
        assert told in found.sentences
        assert told not in heatmap.notes  # of many images it is another for each
    both = [item.heatmaps["mil_evidence"] for item in of.values()]
    assert np.allclose(both[0].evidence, -both[1].evidence, atol=1e-7)
    assert both[0].bias == pytest.approx(-both[1].bias)


def test_of_three_classes_it_is_the_logit_above_the_mean_of_the_others(path):
    model = model_of("attention_mil", ("a", "b", "c"))
    heatmap = localize(model, path, target="b").heatmaps["mil_evidence"]
    vectors = torch.from_numpy(open_bag(path).vectors())
    with torch.no_grad():
        logits = model.image_logits(model.encoder.of_vectors(vectors))[0]
    expected = logits[1] - (logits[0] + logits[2]) / 2
    assert heatmap.evidence.sum() + heatmap.bias == pytest.approx(
        float(expected), abs=1e-5
    )


def test_of_several_labels_it_is_the_logit_itself(path):
    model = model_of("clam_sb", ("a", "b", "c"), multi_label=True)
    found = localize(model, path, target="c")
    heatmap = found.heatmaps["mil_evidence"]
    total = heatmap.evidence.sum() + heatmap.bias
    assert total == pytest.approx(odds(found.scores["c"]), abs=1e-5)


def test_one_logit_of_two_classes_turns_with_the_class(path):
    how = {"options": {"attention_mil": {"binary": True}}}
    model = model_of("attention_mil", **how)
    for name in model.classes:
        found = localize(model, path, target=name)
        heatmap = found.heatmaps["mil_evidence"]
        total = heatmap.evidence.sum() + heatmap.bias
        assert total == pytest.approx(odds(found.scores[name]), abs=1e-5)


def test_the_models_cut_is_in_the_bias(path):
    model = model_of("attention_mil", cut=0.9)
    found = localize(model, path, target="tumor")
    heatmap = found.heatmaps["mil_evidence"]
    total = heatmap.evidence.sum() + heatmap.bias
    assert total == pytest.approx(odds(found.scores["tumor"]), abs=1e-5)
    plain = localize(model_of("attention_mil"), path, target="tumor")
    bias = plain.heatmaps["mil_evidence"].bias
    assert heatmap.bias == pytest.approx(bias - odds(0.9))


def test_maps_lie_where_the_tiles_are(path):
    found = localize(model_of("attention_mil"), path, target="tumor")
    assert list(found.heatmaps) == ["attention_mil", "mil_tile", "mil_evidence"]
    vectors = torch.from_numpy(open_bag(path).vectors())
    model = model_of("attention_mil")
    with torch.no_grad():
        one = model.image_logits(model.encoder.of_vectors(vectors[[37]]))[0]
    alone = found.heatmaps["mil_tile"]
    assert alone.values.shape == (10, 20)
    assert alone.scale == (512, 512)
    assert alone.translate == (255.5, 255.5)
    assert alone.evidence[1, 17] == pytest.approx(float(one[1] - one[0]), abs=1e-5)
    assert alone.at(512 + 255.5, 17 * 512 + 255.5) == pytest.approx(alone.values[1, 17])


def test_without_some_tiles_the_others_are_judged_again(path):
    model, bag = model_of("clam_sb"), open_bag(path)
    reading, places = read_of_bag(model, bag, without=range(150))
    assert places.tolist() == list(range(150, 200))
    vectors = torch.from_numpy(bag.vectors()[150:])
    with torch.no_grad():
        logits = model.image_logits(model.encoder.of_vectors(vectors))[0]
    assert np.allclose(reading.logits, logits, atol=1e-5)
    with pytest.raises(ImageError, match="no tile left"):
        read_of_bag(model, bag, without=range(200))


def test_what_does_not_fit_is_told(path, small_model):
    wide = Model(ModelSpec(encoder="vectors:32", classes=("a", "b"), heads=HEADS[:1]))
    words = r"have 16 values, and vectors:32 reads 32\..*encoder = “vectors:16”"
    with pytest.raises(ImageError, match=words):
        localize(wide, path)
    other = model_of("attention_mil", extractor="conch")
    with pytest.raises(ImageError, match="were made by uni, and not by conch"):
        localize(other, path)
    localize(model_of("attention_mil", extractor="uni"), path)
    with pytest.raises(MethodUnavailableError, match="classifies images, not bags"):
        localize(small_model, path, ["cam"])
    with pytest.raises(MethodUnavailableError, match="needs the pixels"):
        localize(model_of("attention_mil"), path, ["gradcam"])
    with pytest.raises(ConfigError, match="give the slide's bag"):
        localize(model_of("attention_mil"), np.zeros((300, 300, 3), np.uint8))
    with pytest.raises(ConfigError, match="as in “vectors:1024”, not “x”"):
        Model(ModelSpec(encoder="vectors:x", classes=("a", "b")))


def test_the_same_bag_in_pieces_and_at_once_gives_the_same(path, monkeypatch):
    from napari_wsol.images import bags

    model = model_of("additive_mil")
    at_once = localize(model, path, target="tumor")
    monkeypatch.setattr(bags, "PIECE", 7)
    in_pieces = localize(model, path, target="tumor")
    for name, heatmap in at_once.heatmaps.items():
        assert np.abs(heatmap.values - in_pieces.heatmaps[name].values).max() < 1e-6


def test_a_card_from_before_evidence_gives_evidence_all_the_same():
    model = tiles_model(32)
    model.card = Card(
        name="old",
        title="Old",
        summary="Written when attention was all there was.",
        spec=model.spec,
        methods=("attention_mil",),
        primary="attention_mil",
    )
    wanted = ["attention_mil", "mil_tile", "mil_evidence"]
    assert check_methods(model, None) == wanted
    assert check_methods(model, ["attention_mil"]) == ["attention_mil"]
    model.card = replace(model.card, methods=("gradcam",), primary="gradcam")
    assert check_methods(model, None) == ["gradcam"]
