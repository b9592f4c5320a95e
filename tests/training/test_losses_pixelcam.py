import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from napari_wsol.methods.partial_loss import IGNORE
from napari_wsol.training.losses_pixelcam import (
    background_loss,
    barrier_sharpness,
    entropy_loss,
    image_loss,
    log_barrier,
    pixel_loss,
    size_loss,
)


@pytest.fixture
def case(golden):
    return golden("pixelcam_losses")


@pytest.fixture
def logits(case):
    return torch.from_numpy(case.outputs["logits"]).requires_grad_()


@pytest.fixture
def seeds(case):
    labels = torch.from_numpy(case.outputs["seeds"].astype(np.int64))
    return labels.masked_fill(labels == case.about["ignore_index"], IGNORE)


@pytest.fixture
def normal(case):
    return torch.from_numpy(case.outputs["glabel"]) == 0


def check(case, name, value, logits=None):
    case.close(f"value_{name}", value.detach().view(1))
    if logits is not None:
        value.backward()
        case.close(f"grad_{name}", logits.grad)


def test_all_images(case, logits, seeds):
    check(case, "all_images", pixel_loss(logits, seeds), logits)
    check(case, "self_learning", pixel_loss(logits, seeds))


def test_a_weight(case, logits, seeds):
    check(case, "lambda2", pixel_loss(logits, seeds, weight=2.0), logits)


def test_normal_images_can_be_left_out(case, logits, seeds, normal):
    value = pixel_loss(logits, seeds, left_out=normal)
    check(case, "drop_negative_class", value, logits)
    assert logits.grad[normal].abs().sum() == 0


def test_only_normal_images(case, logits, seeds):
    value = pixel_loss(logits, seeds, left_out=torch.ones(3, dtype=torch.bool))
    check(case, "only_negative_images", value)
    # Theirs is a constant that cannot be trained on.
    assert case.about["cases"]["only_negative_images"]["requires_grad"] is False
    assert value.requires_grad


def test_no_seed_at_all_is_0_and_not_nan(case, logits, seeds):
    nothing = torch.full_like(seeds, IGNORE)
    value = pixel_loss(logits, nothing)
    value.backward()
    assert value.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))
    theirs = functional.cross_entropy(logits, nothing, ignore_index=IGNORE)
    assert math.isnan(theirs.item())
    assert math.isnan(case.outputs["value_no_seed_at_all"].item())


def test_labels_of_a_finer_grid(seeds):
    coarse = torch.randn(3, 2, 4, 4)
    fine = functional.interpolate(coarse, (8, 8), mode="bilinear", align_corners=False)
    assert torch.allclose(pixel_loss(coarse, seeds), pixel_loss(fine, seeds))


def test_background_on_normal_images(case, logits, normal):
    check(case, "negative_samples", background_loss(logits, normal), logits)
    none = background_loss(logits, torch.zeros(3, dtype=torch.bool))
    assert none.item() == 0


def test_the_image_classifiers_loss(case):
    logits = torch.from_numpy(case.outputs["cl_logits"])
    classes = torch.from_numpy(case.outputs["glabel"].astype(np.int64))
    check(case, "cl_smooth0", image_loss(logits, classes))
    check(case, "cl_smooth0.1", image_loss(logits, classes, smoothing=0.1))


def test_the_log_barrier(case):
    x = torch.from_numpy(case.outputs["elb_fx"]).requires_grad_()
    start, later = barrier_sharpness(0), barrier_sharpness(100)
    case.close("elb_t1", log_barrier(x, start).detach().view(1))
    case.close("elb_t_after100", np.array([later]))
    value = log_barrier(x, later)
    case.close("elb_value_after100", value.detach().view(1))
    value.backward()
    assert torch.isfinite(x.grad).all()
    assert (x.grad > 0).all()
    assert barrier_sharpness(1000) == 10


def test_the_log_barriers_branches_meet_smoothly():
    for t in (1.0, 3.0):
        edge = -1 / t**2
        x = torch.tensor([edge - 1e-4, edge + 1e-4], dtype=torch.float64)
        x.requires_grad_()
        below, above = (log_barrier(item.view(1), t) for item in x)
        assert below.item() == pytest.approx(above.item(), abs=1e-3)
        slopes = torch.autograd.grad(below + above, x)[0]
        assert slopes[0].item() == pytest.approx(slopes[1].item(), rel=1e-2)


def test_both_kinds_have_a_size(case, logits):
    value = size_loss(logits, 1.0)
    check(case, "max_size_pos", value)
    value.backward()
    assert torch.isfinite(logits.grad).all()


def test_entropy_is_in_bits(case, logits):
    check(case, "entropy", entropy_loss(logits))
    assert entropy_loss(torch.zeros(1, 2, 3, 3)).item() == pytest.approx(1)
    sure = torch.tensor([200.0, -200.0]).view(1, 2, 1, 1).requires_grad_()
    value = entropy_loss(sure)
    value.backward()
    assert value.item() == 0
    assert torch.isfinite(sure.grad).all()


def test_pylons_loss_is_the_mean_over_all_classes(golden):
    case = golden("pylon_loss")
    logits = torch.from_numpy(golden("pylon_resnet50_2layer_256").outputs["pred"])
    target = torch.from_numpy(case.outputs["target"]).float()
    value = functional.binary_cross_entropy_with_logits(logits, target)
    case.close("loss", value.view(1))
