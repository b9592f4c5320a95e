"""The last stage of the encoder, taught by strokes."""

from __future__ import annotations

import pytest
import torch
from skimage import data

from napari_wsol.errors import MethodUnavailableError, ModelError
from napari_wsol.images.readers import open_slide
from napari_wsol.inference.encode import encode
from napari_wsol.methods import Model, ModelSpec
from napari_wsol.refinement.finetune import statistics
from napari_wsol.refinement.last_stage import (
    adapted_features,
    adapted_model,
    stage_start,
    stage_state,
    train_last_stage,
)
from napari_wsol.zoo import load_model


@pytest.fixture
def task(small_model, tissue):
    features, _ = encode(open_slide(tissue), small_model)
    head = small_model.heads["pixelcam"]
    head.standardize_to(*statistics(features))
    with torch.no_grad():
        head.conv4.weight.normal_(0.0, 0.3)
    points = torch.tensor([[60.0, 80.0], [55.0, 75.0], [12.0, 40.0], [110.0, 22.0]])
    return small_model, features, points, torch.tensor([1, 1, 0, 0])


def train(task, **options):
    model, features, points, labels = task
    head = model.heads["pixelcam"]
    steps = list(
        train_last_stage(
            model,
            head,
            features,
            points,
            labels,
            **{"steps": 5, "rate": 2e-5} | options,
        )
    )
    return [step.loss for step, _ in steps], steps[-1][1]


def test_nothing_trained_gives_the_same_features(task):
    model, features, *_ = task
    with torch.no_grad():
        again = adapted_features(model.encoder, features)
    # At the lower and right border the whole image had padding that is not kept.
    for a, b in zip(again.maps, features.maps, strict=True):
        assert torch.allclose(a[..., :-4, :-4], b[..., :-4, :-4], atol=1e-4)


def test_the_loss_falls_and_the_model_stays():
    # A trained network: what a random one gives is too wild to learn from.
    model = load_model("glands-mobilenetv2", device="cpu")
    image = data.immunohistochemistry()[:256, :256]
    features, _ = encode(open_slide(image), model)
    points = torch.tensor([[30.0, 40.0], [27.0, 37.0], [60.0, 20.0], [55.0, 11.0]])
    task = model, features, points, torch.tensor([1, 1, 0, 0])
    before = {key: value.clone() for key, value in model.state_dict().items()}
    losses, encoder = train(task, steps=8, rate=1e-4)
    assert losses[-1] < 0.3 * losses[0], losses
    after = model.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before)
    assert any(item.requires_grad for item in model.encoder.parameters())
    changed = stage_state(model, encoder)
    start = int(stage_start(model.encoder).split(".")[1])
    assert changed
    assert all(int(name.split(".")[1]) > start for name in changed)


def test_the_same_strokes_give_the_same_weights(task):
    first, second = train(task)[1], train(task)[1]
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_strong_prior_holds_the_weights(task):
    def moved(prior):
        model, encoder = task[0], train(task, prior=prior)[1]
        own = model.encoder.state_dict()
        return sum(
            float((value - own[key]).square().sum())
            for key, value in stage_state(model, encoder).items()
        )

    assert moved(1e6) < moved(0.0)


def test_a_stage_survives_as_its_weights(task):
    model, features, *_ = task
    encoder = train(task)[1]
    again = adapted_model(model, stage_state(model, encoder))
    with torch.no_grad():
        expected = adapted_features(encoder, features).last
        assert torch.equal(adapted_features(again.encoder, features).last, expected)
    assert again.encoder_fingerprint() != model.encoder_fingerprint()
    with pytest.raises(ModelError, match="belongs to another model"):
        adapted_model(model, {"elsewhere": torch.zeros(1)})


def test_a_model_of_one_depth_says_that_it_cannot():
    model = Model(
        ModelSpec(encoder="mobilenet_v2", classes=("a",), heads=("pixelcam",))
    )
    with pytest.raises(MethodUnavailableError, match="Keep the encoder frozen"):
        stage_start(model.encoder)
