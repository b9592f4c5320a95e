"""Networks of one's own, wrapped: equal to what 15 lines with hooks give of them."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

import napari_wsol as wsol
from napari_wsol.errors import ConfigError, ExportError, ImageError
from napari_wsol.methods import get_method, unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

CLASSES = ("normal", "benign", "tumor")
MEAN, STD = (0.5, 0.4, 0.6), (0.2, 0.3, 0.25)


def conv(*widths: int) -> nn.Sequential:
    parts = [
        nn.Sequential(
            nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.ReLU(inplace=True)
        )
        for a, b in pairwise(widths)
    ]
    return nn.Sequential(*parts)


class ResLike(nn.Module):
    """Global average pooling and a linear layer, written as torchvision does."""

    def __init__(self, classes: int = 3, channels: int = 3) -> None:
        super().__init__()
        self.layer3, self.layer4 = conv(channels, 8, 12, 16), conv(16, 20)
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(20, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer4(self.layer3(x))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class VggLike(nn.Module):
    """A flattened map and an MLP: one input size only."""

    def __init__(self) -> None:
        super().__init__()
        self.features = conv(3, 8, 12, 16)
        self.classifier = nn.Sequential(
            nn.Linear(16 * 64, 24), nn.ReLU(True), nn.Dropout(), nn.Linear(24, 3)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


class VitLike(nn.Module):
    """A class token, two registers and patches; the logits read the class token."""

    def __init__(self, pool: bool = False) -> None:
        super().__init__()
        self.pool, self.patch = pool, nn.Conv2d(3, 16, 8, 8)
        self.first = nn.Parameter(torch.randn(1, 3, 16))
        layer = partial(nn.TransformerEncoderLayer, 16, 2, 32, norm_first=True)
        self.blocks = nn.ModuleList(layer(batch_first=True) for _ in range(2))
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(len(x), -1, -1), x], 1)
        for block in self.blocks:
            x = x + block(x)
        x = self.norm(x)
        return self.head(x[:, 3:].mean(1) if self.pool else x[:, 0])


class HwcLike(nn.Module):
    """A channels-last network, like Swin."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.mix = conv(3, 8, 12), nn.Linear(12, 16)
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.mix(self.stem(x).permute(0, 2, 3, 1)).relu())
        return self.head(x.mean((1, 2)))


def image(rows: int = 64, columns: int = 64) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (rows, columns, 3), np.uint8)


def seen(pixels: np.ndarray) -> Tensor:
    x = torch.from_numpy(pixels).float().permute(2, 0, 1)[None] / 255
    return (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def by_hooks(
    module: nn.Module, layer: str, x: Tensor, target: int, to_map: Callable
) -> dict[str, Tensor]:
    """CAMs as published code takes them."""
    kept: dict[str, Tensor] = {}

    def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        kept["a"] = output

    handle = module.get_submodule(layer).register_forward_hook(hook)
    with torch.enable_grad():
        logits = module.eval()(x.requires_grad_())
        logits = torch.cat([-logits, logits], 1) if logits.shape[1] == 1 else logits
        (g,) = torch.autograd.grad(logits[0, target], kept["a"])
    handle.remove()
    a, g = to_map(kept["a"].detach())[0], to_map(g)[0]
    total = a.sum((1, 2), keepdim=True)
    share = torch.where(g > 0, 1 / (2 + total * g), torch.zeros(()))
    return {
        "gradcam": (g.mean((1, 2), keepdim=True) * a).sum(0).relu(),
        "gradcam++": ((share * g.relu()).sum((1, 2), keepdim=True) * a).sum(0).relu(),
        "layercam": (g.relu() * a).sum(0).relu(),
    }


def assert_equal(found: wsol.Heatmap, expected: Tensor) -> None:
    """Of the same range, and in it the same to 1e-5."""
    low, high = float(expected.min()), float(expected.max())
    assert found.raw_range == pytest.approx((low, high), rel=1e-5, abs=1e-8)
    values = (expected - low) / ((high - low) or 1)
    np.testing.assert_allclose(found.values, values.numpy(), atol=1e-5)


NETWORKS = {
    "resnet": (ResLike, "layer4", None, lambda a: a),
    "resnet earlier": (ResLike, "layer3.1", None, lambda a: a),
    "before an in-place ReLU": (ResLike, "layer4.0.1", None, lambda a: a),
    "vgg": (VggLike, "features", 64, lambda a: a),
    "vit": (
        VitLike,
        "blocks.1.norm1",
        64,
        lambda a: a[:, 3:].reshape(len(a), 8, 8, -1).permute(0, 3, 1, 2),
    ),
    "channels last": (HwcLike, "norm", None, lambda a: a.permute(0, 3, 1, 2)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_equals_hooks(name):
    torch.manual_seed(0)
    kind, layer, size, to_map = NETWORKS[name]
    module = kind()
    model = wsol.wrap(module, layer, CLASSES, mean=MEAN, std=STD, size=size)
    pixels = image()
    for target, words in enumerate(CLASSES):
        expected = by_hooks(module, layer, seen(pixels), target, to_map)
        found = wsol.localize(model, pixels, [*expected], words)
        for key, values in expected.items():
            assert_equal(found.heatmaps[key], values)
    with torch.no_grad():
        shares = module(seen(pixels)).softmax(1)[0]
    scores = wsol.localize(model, pixels, ["gradcam"]).scores
    assert list(scores.values()) == pytest.approx(shares.tolist(), abs=1e-5)


@pytest.mark.parametrize("kind", [ResLike, HwcLike, partial(VitLike, pool=True)])
def test_cam_where_a_mean_and_a_linear_layer_end_it(kind):
    torch.manual_seed(0)
    module = kind().eval()
    layer = "layer4" if isinstance(module, ResLike) else "norm"
    model = wsol.wrap(module, layer, CLASSES, mean=MEAN, std=STD, size=64)
    with torch.no_grad():
        values = model.encoder(seen(image())).last[0]
        weight = (module.fc if isinstance(module, ResLike) else module.head).weight
    found = wsol.localize(model, image(), ["cam"], "benign").heatmaps["cam"]
    assert_equal(found, torch.einsum("c,chw->hw", weight[1].detach(), values))


@pytest.mark.parametrize("kind", [VggLike, VitLike])
def test_elsewhere_is_said_why_there_is_no_cam(kind):
    model = wsol.wrap(kind(), None, CLASSES, size=64)
    assert "linear layer of the mean" in unavailable(model, "cam")
    assert unavailable(model, "gradcam") is None


def test_the_layer_is_found():
    assert wsol.wrap(ResLike(), classes=CLASSES).encoder.taps[-1] == "layer4"
    assert wsol.wrap(HwcLike(), classes=CLASSES).encoder.taps[-1] == "norm"
    # What follows the last attention reaches the logits by the class token alone.
    found = wsol.wrap(VitLike(), classes=CLASSES, size=64).encoder.taps[-1]
    assert found == "blocks.1.norm1"
    module = ResLike()
    model = wsol.wrap(module, module.layer3, CLASSES)
    assert model.encoder.taps[-1] == "layer3"
    found = wsol.localize(model, image(), ["gradcam@layer4"])
    assert found.heatmaps["gradcam@layer4"].scale == (16, 16)


@pytest.mark.parametrize(
    ("rows", "columns", "size"), [(64, 64, None), (96, 160, None), (70, 131, 48)]
)
def test_maps_lie_where_they_are_drawn(rows, columns, size):
    model = wsol.wrap(ResLike(), "layer4", CLASSES, size=size)
    heatmap = wsol.localize(model, image(rows, columns), ["gradcam"]).heatmaps[
        "gradcam"
    ]
    sides = (rows, columns)
    scale = (16, 16) if size is None else tuple(side / 3 for side in sides)
    assert heatmap.scale == pytest.approx(scale)
    assert heatmap.translate == pytest.approx([(item - 1) / 2 for item in scale])
    cells = zip(heatmap.values.shape, scale, strict=True)
    assert tuple(n * item for n, item in cells) == pytest.approx(sides)


def test_a_bright_spot_is_where_it_is_at_any_size():
    module = ResLike(2)
    for item in module.modules():
        if isinstance(item, nn.Conv2d | nn.Linear):
            nn.init.constant_(item.weight, 0.1)
            nn.init.zeros_(item.bias)
    module.fc.weight.data[0] = -0.1
    model = wsol.wrap(module, "layer4", ["no", "yes"], mean=(0, 0, 0), std=(1, 1, 1))
    pixels = np.zeros((100, 150, 3), np.uint8)  # no multiple of the stride
    pixels[40:56, 96:112] = 255
    found = wsol.localize(model, pixels, ["cam"], "yes").heatmaps["cam"]
    at = np.unravel_index(found.values.argmax(), found.values.shape)
    for place, step, start, middle in zip(
        at, found.scale, found.translate, (48, 104), strict=True
    ):
        assert abs(place * step + start - middle) <= 16


def test_one_logit_is_that_of_the_second_class():
    torch.manual_seed(0)
    module = ResLike(1)
    model = wsol.wrap(module, "layer4", ["no", "yes"], mean=MEAN, std=STD)
    pixels = image()
    for target, words in enumerate(model.classes):
        expected = by_hooks(module, "layer4", seen(pixels), target, lambda a: a)
        found = wsol.localize(model, pixels, ["gradcam", "cam"], words)
        assert_equal(found.heatmaps["gradcam"], expected["gradcam"])
    with torch.no_grad():
        share = float(module(seen(pixels)).sigmoid())
    assert found.scores["yes"] == pytest.approx(share, abs=1e-5)


class Gives(nn.Module):
    """A network whose logits are a part of what it gives."""

    def __init__(self, make: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.net, self.make = ResLike(), make

    def forward(self, x: Tensor) -> object:
        return self.make(self.net(x))


def test_logits_are_found_in_what_it_gives():
    pixels = image()
    expected: dict[str, float] | None = None
    for make in (
        lambda y: y,
        lambda y: {"logits": y, "loss": y * 0},
        lambda y: {"aux": y * 2, "out": y},
        lambda y: (y, torch.zeros(7)),
        lambda y: y[..., None, None],
    ):
        torch.manual_seed(0)
        model = wsol.wrap(Gives(make), "net.layer4", CLASSES, size=64)
        scores = wsol.localize(model, pixels, ["gradcam"]).scores
        expected = expected or scores
        assert scores == pytest.approx(expected)
    for make in (lambda y: (y, 2 * y), lambda y: y[:, :2], lambda _: "tumor"):
        with pytest.raises(ConfigError, match=r"For 3 classes a network gives logits"):
            wsol.wrap(Gives(make), "net.layer4", CLASSES, size=64)


def test_one_class_has_its_own_logit():
    torch.manual_seed(0)
    module = ResLike(1)
    model = wsol.wrap(module, "layer4", ["tumor"], mean=MEAN, std=STD, size=64)
    expected = by_hooks(module, "layer4", seen(image()), 1, lambda a: a)
    found = wsol.localize(model, image(), [*expected, "cam"], "tumor")
    assert_equal(found.heatmaps["gradcam++"], expected["gradcam++"])
    with torch.no_grad():
        share = float(module(seen(image())).sigmoid())
    scores = wsol.localize(model, image()).scores
    assert scores == {"tumor": pytest.approx(share, abs=1e-5)}


def test_the_module_stays_as_it_was():
    module = ResLike()
    module.train()
    module.layer3.eval()
    module.layer3.requires_grad_(False)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    flags = [item.training for item in module.modules()]
    learns = [item.requires_grad for item in module.parameters()]
    model = wsol.wrap(module, "layer4", CLASSES)
    wsol.localize(model, image(), ["cam", "gradcam", "scorecam", "smoothgradcam++"])
    assert [item.training for item in module.modules()] == flags
    assert [item.requires_grad for item in module.parameters()] == learns
    assert not any(item._forward_hooks for item in module.modules())
    assert all(item.grad is None for item in module.parameters())
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])


def test_grey_and_several_labels():
    module = ResLike(channels=1)
    model = wsol.wrap(
        module, "layer4", CLASSES, channels=1, mean=[0.5], std=[0.25], multi_label=True
    )
    grey = image()[..., 0]
    with torch.no_grad():
        x = (torch.from_numpy(grey).float()[None, None] / 255 - 0.5) / 0.25
        shares = module.eval()(x).sigmoid()[0]
    scores = wsol.localize(model, grey, ["cam"]).scores
    assert list(scores.values()) == pytest.approx(shares.tolist(), abs=1e-5)


def test_sentences_say_what_to_do(tmp_path):
    module = ResLike()
    with pytest.raises(ConfigError, match=r"napari_wsol\.wrap\(module, layer="):
        wsol.localize(module, image())
    with pytest.raises(ConfigError, match=r"No map is given by “layr4”.*like layer4"):
        wsol.wrap(module, "layr4", CLASSES)
    with pytest.raises(ConfigError, match=r"“fc”, for two images \(2, 3\)"):
        wsol.wrap(module, "fc", CLASSES)
    with pytest.raises(ConfigError, match="a square of tokens"):
        wsol.wrap(
            nn.Sequential(nn.Flatten(2), nn.Linear(64**2, 3), nn.Flatten()),
            "1",
            [*"abcdefghi"],
            size=64,
        )
    with pytest.raises(ConfigError, match=r"does not take .*size="):
        wsol.wrap(VggLike(), "features", CLASSES)
    with pytest.raises(ConfigError, match="one value a channel"):
        wsol.wrap(ResLike(channels=1), "layer4", CLASSES, channels=1)
    with pytest.raises(ConfigError, match="divide them by 255"):
        wsol.wrap(module, classes=CLASSES, mean=[124, 116, 104])
    with pytest.raises(ConfigError, match="Name each class once"):
        wsol.wrap(module, "layer4", "abc")
    with pytest.raises(ConfigError, match="float32"):
        wsol.wrap(ResLike().double(), "layer4", CLASSES)
    model = wsol.wrap(module, "layer4", CLASSES)
    with pytest.raises(ImageError, match=r"size="):
        wsol.localize(model, np.zeros((4000, 4000, 3), np.uint8))
    from napari_wsol.zoo import save_model

    with pytest.raises(ExportError, match="its code is not in its weights"):
        save_model(model, model.card, tmp_path)
    assert not [*tmp_path.iterdir()]
    assert get_method("cam").unavailable(model) is None


class Twice(ResLike):
    """One convolution and one ReLU for two scales."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.same = nn.Conv2d(3, 20, 3, 2, 1), nn.Conv2d(20, 20, 3, 2, 1)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(x))
        for _ in range(2):
            x = self.relu(self.same(x))
        return self.fc(x.mean((2, 3)))


@pytest.mark.parametrize("layer", ["same", "relu", None])
def test_of_a_layer_that_runs_several_times_the_last_map_counts(layer):
    net = Twice().eval()
    model = wsol.wrap(net, layer, CLASSES)
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        last = net.relu(net.first(x))
        last = net.same(net.relu(net.same(last)))
    wanted = last if layer == "same" else last.relu()
    assert torch.allclose(model.encoder(x).last, wanted, atol=1e-6)


def test_compiled_and_scripted_networks():
    net = ResLike().eval()
    image = np.full((64, 64, 3), 99, np.uint8)
    maps = [
        wsol.localize(wsol.wrap(one, "layer4", CLASSES), image, methods=["gradcam"])
        for one in (net, torch.compile(net))
    ]
    assert maps[0].scores == maps[1].scores
    for one in (torch.jit.script(net), torch.jit.trace(net, torch.rand(1, 3, 8, 8))):
        with pytest.raises(ConfigError, match="TorchScript"):
            wsol.wrap(one, "layer4", CLASSES)
