"""Our read-outs of a classifier beside those of grad-cam and torch-cam."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

import napari_wsol as wsol
from napari_wsol.methods import NetworkInput, get_method, map_of

if TYPE_CHECKING:
    from torch import Tensor, nn

pytestmark = pytest.mark.oracles

CLASSES = ("a", "b", "c", "d", "e")
LAYERS = ("layer4", "layer3")


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """torchvision's ResNet-18, drawn at random; large logits drown others' epsilons."""
    from torchvision.models import resnet18

    torch.manual_seed(0)
    net = resnet18(weights=None, num_classes=len(CLASSES)).eval()
    net.fc.weight.data *= 1e4
    return net


@pytest.fixture(scope="module")
def x() -> Tensor:
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


def ours(
    network: nn.Module, key: str, x: Tensor, target: int, classes=CLASSES
) -> Tensor:
    """Our maps of a batch, on the layer's grid."""
    model = wsol.wrap(network, "layer4", classes)
    method = get_method(key)
    with torch.no_grad(), model.encoder.also(method.taps(model)):
        features = model.encoder(x)
    image = NetworkInput(lambda: x, lambda *_: None, lambda: None)
    with torch.no_grad():
        return map_of(method, model, features, target, image)


def assert_same(found: Tensor, expected: Tensor) -> None:
    """Equal but for what other arithmetic changes, and not empty."""
    largest = float(expected.abs().max())
    assert largest > 0
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4 * largest)


# Its Grad-CAM++ forgets the division, as PixelCAM's code does: grad-cam's is below.
TORCH_CAM = {"gradcam": "GradCAM", "xgradcam": "XGradCAM", "layercam": "LayerCAM"}
TORCH_CAM |= {"finercam": "FinerCAM"}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", TORCH_CAM)
def test_torch_cam_gives_the_same(network, x, name, layer):
    from torchcam import methods

    with getattr(methods, TORCH_CAM[name])(network, layer) as extractor:
        scores = network(x.clone().requires_grad_())
        (expected,) = extractor([2, 2], scores, normalized=False)
    assert_same(ours(network, f"{name}@{layer}", x, 2), expected)


GRAD_CAM = {
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMPlusPlus",
    "layercam": "LayerCAM",
    "hirescam": "HiResCAM",
    "xgradcam": "XGradCAM",
}


def by_grad_cam(kind: str, network: nn.Module, layer: str, x: Tensor, target: int):
    """Its maps before it stretches them over the image; of HiResCAM without a ReLU."""
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    module = getattr(network, layer)
    targets = [ClassifierOutputTarget(target)] * len(x)
    with getattr(pytorch_grad_cam, kind)(network, [module]) as cam:
        cam(x, targets)
        kept = cam.activations_and_grads
        values = kept.activations[0].numpy(), kept.gradients and kept.gradients[0]
        gradient = values[1].numpy() if kept.gradients else None
        found = cam.get_cam_image(x, module, targets, values[0], gradient, False)
    return torch.from_numpy(np.asarray(found, np.float32))


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", GRAD_CAM)
def test_grad_cam_gives_the_same(network, x, name, layer):
    expected = by_grad_cam(GRAD_CAM[name], network, layer, x, 2)
    if name != "hirescam":
        expected = expected.relu()
    assert_same(ours(network, f"{name}@{layer}", x, 2), expected)


def test_grad_cam_s_finercam_against_one_class_is_ours_of_two(x):
    """Against more it weighs by probabilities, as the authors do; ours is the mean."""
    from pytorch_grad_cam import FinerCAM
    from torchvision.models import resnet18

    torch.manual_seed(1)
    net = resnet18(weights=None, num_classes=2).eval()
    found = ours(net, "finercam", x, 1, ("a", "b"))
    with FinerCAM(net, [net.layer4]) as cam:
        cam(x, alpha=0.6, target_idx=1)
        kept = cam.base_cam.activations_and_grads
        a, g = kept.activations[0], kept.gradients[0]
    assert_same(found, torch.einsum("nc,nchw->nhw", g.mean((2, 3)), a).relu())


def test_torch_cam_s_scorecam_weighs_channels_alike(x):
    """By the softmax of scores over channels: of log p_c that is p_c, shared out."""
    from torchcam.methods import ScoreCAM
    from torchvision.models import resnet18

    torch.manual_seed(0)
    net = resnet18(weights=None, num_classes=len(CLASSES)).eval()
    with ScoreCAM(net, "layer4") as extractor, torch.no_grad():
        net(x)
        (weights,) = extractor._get_weights(
            None, targets=[lambda logits: logits.log_softmax(0)[2]] * len(x)
        )
        masks = extractor._normalize(extractor.hook_a[0].clone(), 2)
    found = ours(net, "scorecam", x, 2)
    shares = found / found.sum((1, 2), keepdim=True)
    expected = torch.einsum("nc,nchw->nhw", weights, masks)
    assert_same(shares, expected / expected.sum((1, 2), keepdim=True))
