"""torchvision's own networks, wrapped: equal to hand-written read-outs."""

from __future__ import annotations

import pytest
import torch

import napari_wsol as wsol
from tests.methods.test_wrap import (
    CLASSES,
    MEAN,
    STD,
    assert_equal,
    by_hooks,
    image,
    seen,
)

pytestmark = pytest.mark.timm

models = pytest.importorskip("torchvision.models")

timm = pytest.importorskip("timm")

TOKENS = "blocks.11.norm1"
NETWORKS = {  # layer as it is named; the one that is found; size; whether CAM is exact
    "resnet18": ("layer4", "layer4", None, True),
    "densenet121": ("features", "features", None, True),
    "vgg16": ("features", "features", 224, False),
    "inception_v3": ("Mixed_7c", "Mixed_7c", 299, True),
    "mobilenet_v2": ("features", "features", None, True),
    "convnext_tiny": ("features", "features", None, False),
    "swin_t": ("norm", "permute", 224, True),
    "vit_tiny_patch16_224": (TOKENS, TOKENS, 224, False),
}


def to_map(name: str, values: torch.Tensor) -> torch.Tensor:
    if name == "swin_t":
        return values.permute(0, 3, 1, 2)
    if name.startswith("vit"):
        return values[:, 1:].unflatten(1, (14, 14)).permute(0, 3, 1, 2)
    return values


@pytest.mark.parametrize("name", NETWORKS)
def test_equals_hooks(name):
    torch.manual_seed(0)
    layer, found, size, has_cam = NETWORKS[name]
    options = {"init_weights": True} if name == "inception_v3" else {}
    if name.startswith("vit"):
        module = timm.create_model(name, num_classes=3)
    else:
        module = getattr(models, name)(weights=None, num_classes=3, **options)
    options = {"mean": MEAN, "std": STD, "size": size}
    assert wsol.wrap(module, None, CLASSES, **options).encoder.taps[-1] == found
    model = wsol.wrap(module, layer, CLASSES, **options)
    assert ("cam" in wsol.list_methods(model)) == has_cam
    pixels = image(size or 96, size or 160)
    x = seen(pixels)
    for target, words in ((0, CLASSES[0]), (2, CLASSES[2])):
        expected = by_hooks(module, layer, x, target, lambda v: to_map(name, v))
        if has_cam:
            with torch.no_grad():
                linear = model.heads["cam"].linear
                values = model.encoder(x).last[0]
                expected["cam"] = torch.einsum(
                    "c,chw->hw", linear.weight[target], values
                )
        maps = wsol.localize(model, pixels, [*expected], words).heatmaps
        for key, values in expected.items():
            assert_equal(maps[key], values)
