"""What of an image itself strokes are read against; made once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_wsol.images.readers import open_slide
from napari_wsol.inference.cache import MOST_DERIVED, FeatureCache
from napari_wsol.inference.encode import encode
from napari_wsol.methods.pixelcam import PixelHead
from napari_wsol.refinement.finetune import refined_copy
from napari_wsol.refinement.refine import colour_on, surroundings
from napari_wsol.refinement.stroke_field import beside, fit_space


@pytest.fixture
def seen(small_model, tissue):
    slide, cache = open_slide(tissue), FeatureCache()
    features, how = encode(slide, small_model, cache=cache)

    def look(model=small_model, head=None, where=slide):
        head = head or refined_copy(small_model.heads["pixelcam"], features)
        return surroundings(where, model, how, head, features, cache=cache)

    return look


def test_it_is_what_was_computed_in_every_round_before(seen, small_model, tissue):
    slide = open_slide(tissue)
    features, how = encode(slide, small_model)
    found = seen()
    colour = colour_on(slide, small_model, how, features)
    assert torch.equal(found.colour, colour)
    for kept, made in zip(
        found.space, fit_space(beside(features, colour), colour=True), strict=True
    ):
        assert torch.equal(kept, made)


def test_it_is_made_once_for_an_image_and_a_model(seen, small_model, tissue):
    first = seen()
    other = refined_copy(small_model.heads["pixelcam"], None)
    with torch.no_grad():
        other.conv4.weight.add_(1.0)  # as a round leaves it
    assert seen(head=other) is first
    assert seen(where=open_slide(tissue[::-1].copy())) is not first


def test_hidden_layers_of_the_head_decide_too(seen, small_model):
    torch.manual_seed(0)
    heads = [
        PixelHead(small_model.heads["pixelcam"].channels, form="one_layer").eval()
        for _ in range(2)
    ]
    first = seen(head=heads[0])
    assert seen(head=heads[1]) is not first
    assert seen(head=heads[0]) is first


def test_a_cache_keeps_the_last_few():
    cache = FeatureCache()
    made = []

    def make(name):
        return cache.derived(name, str, lambda: made.append(name) or name.upper())

    for name in ["a", "b", "a", *"cdefg"[: MOST_DERIVED - 1], "a"]:
        assert make(name) == name.upper()
    assert made.count("a") == 1
    make("b")
    assert made.count("b") == 2
    cache.clear()
    make("a")
    assert made.count("a") == 2


def test_the_guide_is_the_grey_image_on_the_grid(seen, tissue):
    guide = seen().guide.numpy()
    assert guide.min() >= 0
    assert guide.max() <= 1
    bright = tissue[44:76, 64:96].mean() / 255
    stride = 4
    inside = guide[44 // stride : 76 // stride, 64 // stride : 96 // stride]
    assert np.allclose(inside.mean(), bright, atol=0.02)
