"""Transformers train in windows and in bags, with the head of their class token."""

from functools import partial

import pytest
import torch

from napari_wsol.encoders import register_encoder
from napari_wsol.encoders.deit import DeiT
from napari_wsol.training.run import train
from napari_wsol.zoo import load_model, verify

register_encoder("tiny-deit-64")(partial(DeiT, 64, depth=2))
PLAIN = f"preprocessing = {{ mean = {[0.5] * 3}, std = {[0.5] * 3} }}"


@pytest.mark.parametrize(
    ("head", "more", "crop"),
    [
        ("linear", PLAIN, 96),
        ("attention_mil", 'tile = 112\npooling = "cls_mean"', 112),
    ],
)
def test_one_epoch(discs, make_recipe, tmp_path, head, more, crop):  # noqa: PLR0917
    model = f'encoder = "tiny-deit-64"\n{more}'
    recipe = make_recipe(model=model, heads=f'["{head}"]', train=f"crop = {crop}")
    losses: list[float] = []
    card = train(
        recipe,
        discs,
        tmp_path / "out",
        say=lambda *_: None,
        step=lambda step: losses.extend(step.losses.values()),
    )
    assert all(map(torch.isfinite, map(torch.tensor, losses)))
    verify(card)
    model = load_model(card.folder, device="cpu")
    assert (model.encoder.window or crop) in (224, 112)
