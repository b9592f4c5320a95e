import numpy as np
import pytest
import torch

from napari_wsol.config import FinetuneConfig
from napari_wsol.encoders import Features
from napari_wsol.errors import ConfigError
from napari_wsol.methods.partial_loss import IGNORE, partial_cross_entropy
from napari_wsol.methods.pixelcam import PixelHead
from napari_wsol.refinement.finetune import (
    finetune,
    new_head,
    refined_copy,
)
from napari_wsol.refinement.local import refined_map
from napari_wsol.refinement.marked import labelled_pixels


@pytest.fixture
def features() -> Features:
    """One channel of noise, and one that is 1 in the right half of a 64 × 64 image."""
    torch.manual_seed(0)
    maps = torch.randn(1, 2, 16, 16)
    maps[:, 1] = 0
    maps[:, 1, :, 8:] = 1
    return Features((maps,), (4,), (1.5,))


def labels(right: int = 2) -> np.ndarray:
    canvas = np.zeros((64, 64), np.uint8)
    canvas[10:14, 44:56] = right
    canvas[30:34, 8:20] = 3 - right
    return canvas


def pixels(canvas, **options):
    return labelled_pixels(
        canvas, scale=(1, 1), translate=(0, 0), downsample=1.0, **options
    )


def test_unlabelled_pixels_have_no_gradient():
    logits = torch.zeros(1, 4, 4, 2, requires_grad=True)
    target = torch.full((1, 4, 4), IGNORE)
    target[0, 1, 2] = 1
    partial_cross_entropy(logits, target).backward()
    touched = logits.grad.abs().sum(-1)[0].nonzero()
    assert touched.tolist() == [[1, 2]]


def test_no_labels_give_zero_not_nan():
    logits = torch.randn(1, 2, 2, 2, requires_grad=True)
    loss = partial_cross_entropy(logits, torch.full((1, 2, 2), IGNORE))
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_balanced_loss_does_not_count_pixels():
    logits = torch.tensor([[2.0, -1.0]] * 3 + [[0.5, 0.0]])
    few = torch.tensor([0, 0, 0, 1])
    one = partial_cross_entropy(logits[2:], few[2:], balanced=True)
    many = partial_cross_entropy(logits, few, balanced=True)
    assert float(one) == pytest.approx(float(many))


def test_strokes_teach_the_right_half(features):
    head = new_head(features)
    assert torch.allclose(refined_map(head, features), torch.tensor(0.5))
    steps = list(finetune(head, features, pixels(labels())))
    result = refined_map(head, features)
    assert result[:, 8:].min() > 0.7
    assert result[:, :8].max() < 0.3
    assert steps[-1].loss < steps[0].loss or len(steps) == 1


@pytest.mark.parametrize("standardize", [True, False])
def test_few_strokes_do_not_destroy_what_the_model_knew(features, standardize):
    """The prior holds: what strokes say nothing about stays nearly as it was."""
    head = PixelHead([2], standardize=standardize)
    with torch.no_grad():
        head.conv4.weight.zero_()
        head.conv4.bias.copy_(torch.tensor([3.0, 0.0]))  # sure: background everywhere
    kept, free = refined_copy(head, features), refined_copy(head, features)
    list(finetune(kept, features, pixels(labels()), FinetuneConfig(prior=1e4)))
    list(finetune(free, features, pixels(labels()), FinetuneConfig(prior=0.0)))
    # With a strong prior only the bias may move, so the map stays flat.
    assert refined_map(kept, features).std() < 0.01
    assert refined_map(free, features)[:, 8:].min() > 0.9
    assert float(head.conv4.bias[0].detach()) == 3.0


@pytest.mark.parametrize("kind", [1, 2])
def test_strokes_of_one_kind_do_not_move_what_looks_different(features, kind):
    head = new_head(features)
    canvas = labels(kind)  # that kind on the right
    canvas[canvas != kind] = 0
    list(finetune(head, features, pixels(canvas)))
    sign = 2 * kind - 3
    right, left = (
        sign * (refined_map(head, features)[:, half].mean() - 0.5)
        for half in (slice(8, None), slice(8))
    )
    assert right > 0.1
    assert left < 0.02  # no bias that all of the image follows


def test_an_abandoned_refit_changes_nothing(features):
    head = new_head(features)
    run = finetune(head, features, pixels(labels()), FinetuneConfig(steps=1000))
    next(run)
    run.close()
    assert torch.allclose(refined_map(head, features), torch.tensor(0.5))


def test_labels_are_found_at_the_right_place():
    canvas = np.zeros((10, 12), np.uint8)
    canvas[3, 4], canvas[7, 8] = 2, 1
    found = labelled_pixels(canvas, scale=(8, 8), translate=(3.5, 3.5), downsample=2.0)
    # Canvas pixel (7, 8) covers level-0 pixels 56–63 and 64–71, so 28–31 and 32–35.
    assert found.points.tolist() == [[29.5, 33.5], [13.5, 17.5]]
    assert found.labels.tolist() == [0, 1]


def test_long_strokes_are_thinned_along_their_length():
    canvas = np.zeros((64, 64), np.uint8)
    canvas[:, :32], canvas[:, 32:] = 1, 2
    found = pixels(canvas, max_pixels=100)
    assert len(found.points) == 200
    assert found.points[:100, 0].min() == 0
    assert found.points[:100, 0].max() == 63


def test_settings_are_checked():
    for bad in ({"steps": 0}, {"prior": -1.0}, {"max_pixels": 0}):
        with pytest.raises(ConfigError):
            FinetuneConfig(**bad)
