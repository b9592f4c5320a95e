import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from napari_wsol.methods.partial_loss import IGNORE, partial_cross_entropy


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


def pixel_loss(logits, seeds):
    return partial_cross_entropy(logits.movedim(1, -1), seeds)


def check(case, name, value, logits=None):
    case.close(f"value_{name}", value.detach().view(1))
    if logits is not None:
        value.backward()
        case.close(f"grad_{name}", logits.grad)


def test_all_images(case, logits, seeds):
    check(case, "all_images", pixel_loss(logits, seeds), logits)
    check(case, "self_learning", pixel_loss(logits, seeds))


def test_no_seed_at_all_is_0_and_not_nan(case, logits, seeds):
    nothing = torch.full_like(seeds, IGNORE)
    value = pixel_loss(logits, nothing)
    value.backward()
    assert value.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))
    theirs = functional.cross_entropy(logits, nothing, ignore_index=IGNORE)
    assert math.isnan(theirs.item())
    assert math.isnan(case.outputs["value_no_seed_at_all"].item())


def test_the_image_classifiers_loss(case):
    logits = torch.from_numpy(case.outputs["cl_logits"])
    classes = torch.from_numpy(case.outputs["glabel"].astype(np.int64))
    check(case, "cl_smooth0", functional.cross_entropy(logits, classes))
    value = functional.cross_entropy(logits, classes, label_smoothing=0.1)
    check(case, "cl_smooth0.1", value)


def test_pylons_loss_is_the_mean_over_all_classes(golden):
    case = golden("pylon_loss")
    logits = torch.from_numpy(golden("pylon_resnet50_2layer_256").outputs["pred"])
    target = torch.from_numpy(case.outputs["target"]).float()
    value = functional.binary_cross_entropy_with_logits(logits, target)
    case.close("loss", value.view(1))
