"""Our randomisation beside Quantus' model parameter randomisation test (MPRT)."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

import napari_wsol as wsol
from napari_wsol.evaluation.sanity import drawn_anew, rank_correlation

pytestmark = pytest.mark.oracles

CLASSES = ("a", "b", "c")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU()]
    layers += [nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, len(CLASSES))]
    for norm in (layers[1], layers[4]):
        nn.init.normal_(norm.weight, 1, 0.3)  # as if it were trained
    return nn.Sequential(*layers).eval()


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), dtype=np.uint8)


def maps(network, images, targets):
    """(N, 64, 64) Grad-CAM at the last ReLU."""
    model = wsol.wrap(deepcopy(network), "5", CLASSES, size=64)
    found = [
        wsol.localize(model, image, ["gradcam"], CLASSES[target]).heatmaps["gradcam"]
        for image, target in zip(images, targets, strict=True)
    ]
    return np.stack([item.resized((64, 64)) for item in found])


def test_correlations_are_those_of_quantus(network, images):
    import quantus
    from quantus.helpers.model.pytorch_model import PyTorchModel

    targets = np.array([0, 2])

    def explain(model, inputs, targets, **_):
        del inputs
        return maps(model, images, targets)[:, None]

    before = maps(network, images, targets)
    metric = quantus.MPRT(
        similarity_func=quantus.similarity_func.correlation_spearman,
        layer_order="top_down",
        seed=0,
        abs=False,
        normalise=False,
        disable_warnings=True,
    )
    x = images.transpose(0, 3, 1, 2).astype(np.float32)
    scores = metric(
        model=deepcopy(network), x_batch=x, y_batch=targets, a_batch=before[:, None],
        explain_func=explain, device="cpu", channel_first=True,
    )  # fmt: skip
    redrawn = PyTorchModel(deepcopy(network)).get_random_layer_generator("top_down", 0)
    seen = 0
    for name, other in redrawn:
        after = maps(other, images, targets)
        found = [rank_correlation(*pair) for pair in zip(before, after, strict=True)]
        wanted = np.nan_to_num(np.ravel(scores[name]))  # of a constant map ours is 0
        np.testing.assert_allclose(found, wanted, atol=1e-6)
        seen += 1
    assert seen == 5


def test_parts_are_drawn_from_the_same_end(network):
    from quantus.helpers.model.pytorch_model import PyTorchModel

    redrawn = PyTorchModel(deepcopy(network)).get_random_layer_generator("top_down", 0)
    first = next(name for name, _ in redrawn)
    model = wsol.wrap(deepcopy(network), "5", CLASSES, size=64)
    before = {key: item.clone() for key, item in model.state_dict().items()}

    def changed(part):
        after = drawn_anew(model, part).state_dict()
        names = {key for key in before if not torch.equal(before[key], after[key])}
        return {key.split(".")[2] for key in names if key.startswith("encoder.")}

    assert changed("heads") == {first}
    assert changed("heads") < changed("last_stage") < changed("encoder")
    assert {"0", "3"} <= changed("encoder")
