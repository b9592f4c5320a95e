"""The small network that strokes may teach in place of a linear correction."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load, save

from napari_wsol.config import FinetuneConfig
from napari_wsol.encoders import Features, sample_points
from napari_wsol.errors import ModelError
from napari_wsol.refinement.finetune import refined_copy
from napari_wsol.refinement.heads import field_from, head_from, head_state
from napari_wsol.refinement.kernel_fit import MarkedPlaces
from napari_wsol.refinement.local import finetune_locally, refined_map
from napari_wsol.refinement.marked import Labelled
from napari_wsol.refinement.stroke_field import StrokeField
from napari_wsol.refinement.stroke_network import StrokeNetwork, fit_network

SIDE, STRIDE = 64, 4
NETWORK = FinetuneConfig(head="mlp")
ALONE = FinetuneConfig(head="mlp", local=False)


def corners():
    """(labels of a chessboard of four fields, features that say where they are)."""
    high = torch.arange(SIDE) >= SIDE // 2
    a = high.float()[:, None].expand(SIDE, SIDE) * 2 - 1
    b = high.float()[None].expand(SIDE, SIDE) * 2 - 1
    draw = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(2, SIDE, SIDE, generator=draw)
    maps = (torch.stack([a, b]) + noise)[None]
    features = Features((maps,), (STRIDE,), ((STRIDE - 1) / 2,))
    return (high[:, None] ^ high[None]), features


def marked():
    """A short stroke in the middle of each field."""
    points, labels = [], []
    for row in (16, 48):
        for column in (16, 48):
            for step in range(6):
                points.append(((row + step) * STRIDE + 1.5, column * STRIDE + 1.5))
                labels.append(int((row > 32) ^ (column > 32)))
    return Labelled(torch.tensor(points), torch.tensor(labels))


def refit(config, start=None):
    features = corners()[1]
    head = refined_copy(start, features)
    *_, (_, field) = finetune_locally(head, features, marked(), config)
    return head, field, features


def test_it_learns_what_no_line_divides():
    truth, _ = corners()
    free = 0.25  # 24 places are few beside the prior
    config = FinetuneConfig(head="mlp", local=False, prior=free)
    head, field, features = refit(config)
    found = refined_map(head, features, field)
    assert ((found > 0.5) == truth).float().mean() > 0.98
    flat, _, _ = refit(FinetuneConfig(reach=1.0, prior=free))
    linear = refined_map(flat, features)
    assert ((linear > 0.5) == truth).float().mean() < 0.8


@pytest.mark.parametrize("config", [NETWORK, ALONE])
def test_the_same_strokes_give_the_same_bytes(config):
    first, second = (refined_map(*reordered(refit(config))) for _ in range(2))
    assert torch.equal(first, second)


def reordered(found):
    head, field, features = found
    return head, features, field


@pytest.mark.parametrize("config", [NETWORK, ALONE])
def test_a_kept_round_gives_the_same_map(config):
    head, field, features = refit(config)
    state, metadata = head_state(head, field)
    state = load(save(state))
    back = field_from(state)
    assert isinstance(back, StrokeNetwork)
    assert torch.equal(
        refined_map(head_from(state, metadata), features, back),
        refined_map(head, features, field),
    )


def test_a_kernel_round_is_read_as_one():
    head, field, _ = refit(FinetuneConfig())
    assert type(field_from(head_state(head, field)[0])) is StrokeField


def test_a_damaged_network_is_refused():
    head, field, _ = refit(NETWORK)
    state, _ = head_state(head, field)
    del state["stroke_field.out"]
    with pytest.raises(ModelError, match="Refine again"):
        field_from(state)


def test_at_points_it_says_what_the_map_says():
    _, field, features = refit(NETWORK)
    points = torch.tensor([[41.5, 81.5], [201.5, 1.5]])
    looks = (sample_points(features, points) - field.mean) @ field.projection
    found = field.correction(looks, points)
    whole = field(features)
    assert found.tolist() == pytest.approx(
        [float(whole[10, 20]), float(whole[50, 0])], abs=1e-4
    )


def test_a_strong_prior_keeps_the_model():
    head, field, features = refit(FinetuneConfig(head="mlp", local=False, prior=1e6))
    found = refined_map(head, features, field)
    assert float((found - 0.5).abs().max()) < 0.02


def test_an_abandoned_refit_changes_nothing():
    features = corners()[1]
    head = refined_copy(None, features)
    run = finetune_locally(head, features, marked(), NETWORK)
    assert next(run)[1].is_empty
    run.close()
    assert torch.allclose(refined_map(head, features), torch.tensor(0.5))


def test_places_that_count_twice_are_there_twice():
    draw = torch.Generator().manual_seed(1)
    looks = torch.randn(10, 3, generator=draw)
    labels = torch.arange(10) % 2
    once = MarkedPlaces(looks, torch.zeros(10, 2), torch.zeros(10), labels)
    which = torch.tensor([0, 3])
    doubled = MarkedPlaces(
        torch.cat([looks, looks[which]]),
        torch.zeros(12, 2),
        torch.zeros(12),
        torch.cat([labels, labels[which]]),
    )
    counts = torch.ones(10)
    counts[which] = 2
    weighted = MarkedPlaces(looks, once.points, once.offset, labels, counts)
    found = [finished(item)(looks.double()) for item in (weighted, doubled, once)]
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(found[0], found[2], atol=1e-3)


def finished(places):
    run = fit_network(places, prior=1.0, steps=30)
    while True:
        try:
            next(run)
        except StopIteration as done:
            return done.value
