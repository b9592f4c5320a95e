import pytest
import torch

from napari_wsol.errors import ConfigError
from napari_wsol.training.objectives import class_losses

WEIGHTS = (1, 2, 3, 1, 1.5)


@pytest.fixture
def case(golden):
    return golden("pcam_loss")


@pytest.fixture
def logits(case):
    values = torch.from_numpy(case.outputs["logits"])[..., 0].T.contiguous()
    return values.requires_grad_()


@pytest.fixture
def labels(case):
    return torch.from_numpy(case.outputs["target"])


@pytest.mark.parametrize(("name", "weights"), [("1", None), ("0", WEIGHTS)])
def test_losses_and_gradients_are_the_authors(case, logits, labels, name, weights):
    losses = class_losses(logits, labels, weights)
    case.close(f"loss_batchweight_{name}", losses.detach())
    class_losses(logits, labels, weights).sum().backward()
    case.close(f"grad_batchweight_{name}", logits.grad.T[..., None])


def test_both_sides_of_a_class_weigh_the_same_within_the_batch(logits, labels):
    losses = class_losses(logits, labels)
    each = torch.nn.functional.softplus(torch.where(labels > 0, -logits, logits))
    positive = labels[:, 0] > 0
    negatives = each[~positive, 0]
    by_hand = (each[positive, 0].mean() + negatives.mean()) * len(negatives) / 8
    assert torch.allclose(losses[0], by_hand, atol=1e-6)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_a_batch_of_one_label_has_a_finite_loss(label):
    logits = torch.randn(4, 2, requires_grad=True)
    loss = class_losses(logits, torch.full((4, 2), label)).sum()
    loss.backward()
    assert loss.item() == 0
    assert float(logits.grad.abs().sum()) == 0


def test_half_precision_logits_give_a_float32_loss(labels, logits):
    losses = class_losses(logits.half(), labels)
    assert losses.dtype == torch.float32
    assert torch.allclose(losses, class_losses(logits, labels), atol=1e-2)


def test_each_class_needs_its_weight(logits, labels):
    with pytest.raises(ConfigError, match="one each"):
        class_losses(logits, labels, [1.0])
