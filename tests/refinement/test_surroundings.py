"""What of an image itself strokes are read against; made once.

Strokes that spread over superpixels.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_wsol.images.readers import open_slide
from napari_wsol.inference.cache import MOST_DERIVED, FeatureCache
from napari_wsol.inference.view import ModelView
from napari_wsol.methods.pixelcam import PixelHead
from napari_wsol.refinement.finetune import refined_copy
from napari_wsol.refinement.marked import Labelled
from napari_wsol.refinement.refine import colour_on, surroundings
from napari_wsol.refinement.stroke_field import beside, fit_space, space_of
from napari_wsol.refinement.surroundings import (
    MOST_SPREAD,
    SPREAD_WEIGHT,
    Superpixels,
    superpixels,
)

STRIDE = 4.0


@pytest.fixture
def seen(small_model, tissue):
    slide, cache = open_slide(tissue), FeatureCache()
    features = ModelView(slide, small_model, cache=cache).features()

    def look(model=small_model, head=None, where=slide):
        head = head or refined_copy(small_model.heads["pixelcam"], features)
        return surroundings(ModelView(where, model, cache=cache), head, features)

    return look


def test_it_is_what_was_computed_in_every_round_before(seen, small_model, tissue):
    view = ModelView(open_slide(tissue), small_model)
    features, found = view.features(), seen()
    colour = colour_on(view, features)
    assert torch.equal(found.colour, colour)
    for kept, made in zip(
        found.space, fit_space(beside(features, colour), colour=True), strict=True
    ):
        assert torch.equal(kept, made)


@pytest.mark.parametrize(("colour", "weight"), [(True, 4.0), (False, 1.0)])
def test_each_map_has_the_same_part_in_the_whole_and_colour_twice_that(colour, weight):
    torch.manual_seed(0)
    x = torch.randn(96, 6)
    x = torch.linalg.qr(x - x.mean(0)).Q  # as independent as can be
    x = x * torch.tensor([1.0, 5.0, 0.1, 2.0, 2.0, 30.0]) + 7
    mean, projection = space_of(x, [3, 2, 1], colour=colour)
    z = (x - mean) @ projection
    # Variances of the standardised channels, and half-way to whitening.
    parts = torch.tensor([1 / 3] * 3 + [1 / 2] * 2 + [weight]).sqrt()
    wanted = (parts / parts.sum()).sort(descending=True).values
    assert torch.allclose(z.square().mean(0), wanted, atol=1e-4)
    assert torch.allclose(mean, x.mean(0), atol=1e-5)


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


def marked(*cells):
    """Labelled middles of (row, column, label)."""
    table = np.array(cells)
    points = table[:, :2] * STRIDE + (STRIDE - 1) / 2
    labels = torch.from_numpy(table[:, 2].astype(np.int64))
    return Labelled(torch.from_numpy(points.astype(np.float32)), labels)


def quarters():
    """Four superpixels of 3 × 3 cells."""
    numbers = np.repeat(np.repeat([[0, 1], [2, 3]], 3, axis=0), 3, axis=1)
    return Superpixels(numbers.astype(np.int64), STRIDE)


def test_a_superpixel_of_one_kind_is_marked_as_a_whole():
    strokes = marked((0, 0, 1), (1, 1, 1), (0, 4, 0), (5, 5, 1), (4, 4, 0))
    found, counts = quarters().spread(strokes)
    assert torch.equal(found.points[:5], strokes.points)
    assert torch.equal(found.labels[:5], strokes.labels)
    assert counts[:5].tolist() == [1] * 5
    # 9 - 2 cells of the first, 9 - 1 of the second; both kinds lie on the last.
    assert len(found.labels) == 5 + 7 + 8
    assert torch.allclose(counts[5:], torch.tensor(SPREAD_WEIGHT))
    cells = ((found.points[5:] - (STRIDE - 1) / 2) / STRIDE).round().long()
    for (row, column), label in zip(cells.tolist(), found.labels[5:], strict=True):
        assert row < 3
        assert int(label) == (1 if column < 3 else 0)


def test_strokes_beyond_the_grid_count_at_its_border():
    found, _ = quarters().spread(marked((-2, 0, 1), (0, 40, 0)))
    assert len(found.labels) == 2 + 8 + 8


def test_what_is_spread_is_bounded():
    one = Superpixels(np.zeros((60, 60), np.int64), STRIDE)
    found, counts = one.spread(marked((3, 3, 1)))
    assert len(found.labels) == len(counts) == 1 + MOST_SPREAD


def test_superpixels_keep_to_the_colours():
    cells = torch.full((3, 24, 32), 0.8)
    cells[:, :, 15:] = torch.tensor([0.5, 0.2, 0.5]).view(3, 1, 1)
    found = superpixels(cells, STRIDE)
    assert found.numbers.shape == (24, 32)
    assert not set(found.numbers[:, :15].flat) & set(found.numbers[:, 15:].flat)
    assert 100 < found.numbers.max() < 300  # 192 squares of 2 × 2 cells
    assert np.array_equal(superpixels(cells, STRIDE).numbers, found.numbers)
