"""torchvision's and timm's own networks, saved and imported, give their own maps."""

from collections import OrderedDict

import pytest
import torch

from napari_wsol.methods import NetworkInput, get_method, map_of
from napari_wsol.zoo import load_model

pytestmark = pytest.mark.timm

ANSWERS = {"activation": "softmax", "size": "224", "normalisation": "imagenet"}
FEATURES = {
    "resnet18": lambda net, x: torch.nn.Sequential(*list(net.children())[:-2])(x),
    "resnet50": lambda net, x: torch.nn.Sequential(*list(net.children())[:-2])(x),
    "densenet121": lambda net, x: net.features(x).relu(),
    "vgg16": lambda net, x: net.features(x),
}
"""The map that Grad-CAM reads, by the networks' own layers."""

HEADS = {
    "resnet18": lambda net, x: net.fc(x.mean((2, 3))),
    "resnet50": lambda net, x: net.fc(x.mean((2, 3))),
    "densenet121": lambda net, x: net.classifier(x.mean((2, 3))),
    "vgg16": lambda net, x: net.classifier(net.avgpool(x).flatten(1)),
}


def under(prefix, state):
    return OrderedDict((prefix + key, value) for key, value in state.items())


WRAPPINGS = {
    "bare": lambda state: state,
    "state_dict": lambda state: {"state_dict": under("module.", state)},
    "model": lambda state: {"model": under("_orig_mod.", state), "epoch": 3},
    "lightning": lambda state: {
        "state_dict": under("model.backbone.", state),
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(2)}}}],
    },
    "ema": lambda state: {
        "net": under("module.", {key: x + 1 for key, x in state.items()}),
        "state_dict_ema": under("module.", state),
    },
    "in no list": lambda state: {"best": {"weights": under("student.cnn.", state)}},
}
CASES = [("resnet18", 3, wrapping) for wrapping in WRAPPINGS]
CASES += [("resnet18", 2, "ema"), ("resnet18", 14, "lightning")]
CASES += [("resnet50", 2, "ema"), ("densenet121", 14, "lightning")]
CASES += [("densenet121", 2, "in no list"), ("vgg16", 3, "model")]


def as_ours(tmp_path, network, classes, wrapping):
    torch.save(WRAPPINGS[wrapping](network.state_dict()), tmp_path / "own.pth")
    names = ",".join(f"c{index}" for index in range(classes))
    return load_model(tmp_path / "own.pth", "cpu", {**ANSWERS, "classes": names})


def close(found, wanted):
    wanted = wanted.detach()
    assert torch.allclose(found, wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))


@pytest.mark.parametrize(("name", "classes", "wrapping"), CASES)
def test_convolutional_networks(tmp_path, name, classes, wrapping):
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(classes)
    network = getattr(torchvision.models, name)(num_classes=classes).eval()
    model = as_ours(tmp_path, network, classes, wrapping)
    x = torch.randn(1, 3, 224, 224)
    features = FEATURES[name](network, x).detach().requires_grad_()
    logits = HEADS[name](network, features)
    close(logits, network(x))
    (slope,) = torch.autograd.grad(logits[0, 1], features)
    by_hand = (slope.mean((2, 3), keepdim=True) * features).sum(1)
    with torch.no_grad():
        ours = model.encoder(x)
    close(model.image_logits(ours).detach(), logits)
    close(get_method("gradcam").map(model, ours, 1).relu(), by_hand.relu())
    if name != "vgg16":
        row = (network.fc if "res" in name else network.classifier).weight[1]
        by_hand = torch.einsum("c,chw->hw", row, features[0])
        close(get_method("cam").map(model, ours, 1)[0], by_hand)


@pytest.mark.parametrize("maker", ["timm", "torchvision"])
def test_vision_transformers(tmp_path, maker):
    """The gradient is read before the last block, on its patches."""
    torch.manual_seed(0)
    if maker == "timm":
        import timm

        network = timm.create_model("vit_base_patch16_224", num_classes=3).eval()
        block = network.blocks[10]
    else:
        models = pytest.importorskip("torchvision").models
        network = models.vit_b_16(num_classes=3).eval()
        torch.nn.init.normal_(network.heads.head.weight, std=0.02)
        block = network.encoder.layers[10]
    model = as_ours(tmp_path, network, 3, "lightning")
    kept = []
    block.register_forward_hook(lambda _m, _i, out: kept.append(out))
    x = torch.randn(1, 3, 224, 224)
    logits = network(x)
    (slope,) = torch.autograd.grad(logits[0, 1], kept[0])
    values = kept[0][:, 1:] * slope[:, 1:].mean(1, keepdim=True)
    by_hand = values.sum(-1).reshape(1, 14, 14)
    with torch.no_grad():
        close(model.image_logits(model.encoder(x)), logits)
    method = get_method("gradcam")
    with torch.no_grad(), model.encoder.also(method.taps(model)):
        ours = model.encoder(x)
    found = map_of(
        method, model, ours, 1, NetworkInput(lambda: x, lambda *_: None, lambda: None)
    )
    close(found.relu(), by_hand.relu())
