"""Our read-outs of a classifier beside those of grad-cam and torch-cam."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

import napari_wsol as wsol
from napari_wsol.methods import NetworkInput, get_method, map_of

if TYPE_CHECKING:
    from torch import nn

pytestmark = pytest.mark.oracles

CLASSES = ("a", "b", "c", "d", "e")
LAYERS = ("layer4", "layer3")


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """torchvision's ResNet-18, drawn at random."""
    from torchvision.models import resnet18

    torch.manual_seed(0)
    return resnet18(weights=None, num_classes=len(CLASSES)).eval()


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    return torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(1))


def ours(network: nn.Module, key: str, x: torch.Tensor, target: int) -> torch.Tensor:
    """Our map of a batch, on the layer's grid."""
    model = wsol.wrap(network, "layer4", CLASSES)
    method = get_method(key)
    with torch.no_grad(), model.encoder.also(method.taps(model)):
        features = model.encoder(x)
    image = NetworkInput(lambda: x, lambda *_: None, lambda: None)
    return map_of(method, model, features, target, image)


TORCHCAM = {
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMpp",
    "xgradcam": "XGradCAM",
    "layercam": "LayerCAM",
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", TORCHCAM)
def test_torch_cam_gives_the_same(network, x, name, layer):
    from torchcam import methods

    with getattr(methods, TORCHCAM[name])(network, layer) as extractor:
        scores = network(x.clone().requires_grad_())
        (expected,) = extractor([2, 2], scores, normalized=False)
    found = ours(network, f"{name}@{layer}", x, 2)
    assert float(expected.max()) > 0
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-6)
