"""Read-outs of the classifier: answers known beforehand, and what must hold."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_wsol.config import InferenceConfig
from napari_wsol.errors import ConfigError, JobCancelledError, MethodUnavailableError
from napari_wsol.inference.whole_image import localize
from napari_wsol.methods import (
    Head,
    Model,
    ModelSpec,
    NetworkInput,
    get_method,
    list_methods,
    map_of,
    unavailable,
)
from napari_wsol.methods.gradients import activation_and_gradient
from napari_wsol.methods.wrap import wrap

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from napari_wsol.encoders import Features

GRADIENTS = ["gradcam", "gradcam++", "xgradcam", "layercam", "hirescam", "finercam"]
QUICK = [*GRADIENTS, "eigencam"]
ALL = [*QUICK, "smoothgradcam++", "scorecam", "scorecam_groups"]


def normalised(values: Tensor) -> Tensor:
    return (values - values.min()) / (values.max() - values.min())


def shown(x: Tensor) -> NetworkInput:
    return NetworkInput(lambda: x, lambda *_: None, lambda: None)


def test_behind_a_global_average_gradcam_is_rectified_cam(small_model):
    with torch.no_grad():
        features = small_model.encoder(torch.randn(2, 3, 64, 96))
        cam = get_method("cam").map(small_model, features, 1)
        expected = cam.relu() / features.last[0, 0].numel()
        for name in ("gradcam", "xgradcam"):
            found = get_method(name).map(small_model, features, 1)
            assert torch.allclose(found, expected, atol=1e-6)
        found = get_method("hirescam").map(small_model, features, 1)
        assert float(cam.min()) < 0  # what speaks against the class is not cut off
        assert torch.allclose(found, cam / features.last[0, 0].numel(), atol=1e-6)


def by_hooks(
    model: Model, x: Tensor, module: torch.nn.Module, target: int
) -> tuple[Tensor, Tensor]:
    """Activation and gradient as published code takes them, of one whole run."""
    kept: list[Tensor] = []

    def keep(_module: object, _inputs: object, output: Tensor) -> None:
        output.retain_grad()
        kept.append(output)

    handle = module.register_forward_hook(keep)
    model.image_logits(model.encoder(x))[:, target].sum().backward()
    handle.remove()
    return kept[0].detach(), kept[0].grad


class TwoDepths(Head):
    """A classifier that is not linear and reads two maps."""

    def __init__(self, channels: tuple[int, int]) -> None:
        super().__init__()
        self.fine = torch.nn.Conv2d(channels[0], 2, 1)
        self.coarse = torch.nn.Conv2d(channels[1], 2, 1)

    def forward(self, features: Features) -> Tensor:
        fine = self.fine(features.maps[0]).sigmoid().amax((-2, -1))
        return fine * self.coarse(features.maps[1]).logsumexp((-2, -1))


@pytest.fixture
def two_depths(small_model) -> Model:
    torch.manual_seed(5)
    small_model.heads["cam"] = TwoDepths(small_model.encoder.channels)
    return small_model


@pytest.mark.parametrize("index", [1, 3, 4, 6])
@pytest.mark.parametrize("where", [torch.no_grad, torch.inference_mode])
def test_any_layer_has_the_gradient_of_the_whole_network(two_depths, index, where):
    model, layer = two_depths, f"features.{index}"
    x = torch.randn(2, 3, 48, 64)
    activation, gradient = by_hooks(model, x, model.encoder.features[index], 1)
    with where(), model.encoder.also([layer]):
        features = model.encoder(x)
    with where():
        a, g = activation_and_gradient(model, features, 1, layer)
        found = get_method(f"layercam@{layer}").map(model, features, 1)
    assert torch.allclose(a, activation, atol=1e-5)
    assert g.abs().max() > 0
    assert torch.allclose(g, gradient, atol=1e-6, rtol=1e-4)
    expected = (gradient.relu() * activation).sum(1).relu()
    at = features.names.index(layer)
    assert torch.allclose(found, features.straight(expected, at), atol=1e-5)
    assert found.shape[1:] == features.maps[at].shape[2:]


def test_gradcampp_follows_equation_19_where_gradients_differ(two_depths):
    with torch.no_grad():
        features = two_depths.encoder(torch.randn(1, 3, 64, 64))
    a, g = activation_and_gradient(two_depths, features, 0, None)
    a, g = a.double(), g.double()
    below = 2 * g**2 + a.sum((2, 3), keepdim=True) * g**3
    shares = torch.where(g == 0, 0.0, g**2 / below)
    weights = (shares * g.relu()).sum((2, 3))
    expected = torch.einsum("nc,nchw->nhw", weights, a).relu()
    found = get_method("gradcam++").combine(a.float(), g.float())
    assert torch.allclose(found.double(), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("multi_label", [False, True])
def test_finercam_takes_away_what_the_nearest_classes_share(multi_label):
    classes = ("a", "b", "c", "d", "e")
    spec = ModelSpec(
        encoder="mobilenet_v2",
        classes=classes,
        heads=("cam",),
        taps=("features.3",),
        multi_label=multi_label,
    )
    torch.manual_seed(2)
    model = Model(spec).eval()
    head = model.heads["cam"]
    with torch.no_grad():
        features = model.encoder(torch.randn(2, 3, 64, 96))
        a = features.last
        shared, own, other = a.mean((0, 2, 3)).argsort(descending=True)[:3].tolist()
        head.fc.weight.zero_()
        head.fc.weight[:, shared] = torch.tensor([1.0, 2.0, 1.0, 1.0, 9.0])
        head.fc.weight[1, own], head.fc.weight[4, other] = 3.0, 7.0
        head.fc.bias[:] = torch.tensor([0.1, 0.0, -0.1, 0.2, 100.0])  # “e” is far away
        found = get_method("finercam").map(model, features, 1)
        expected = (2 - 0.6) * a[:, shared] + 3 * a[:, own]
        expected = features.straight(expected.relu() / a[0, 0].numel())
    assert float(found.max()) > 0
    assert torch.allclose(found, expected, atol=1e-5)


def test_finercam_of_one_logit_is_gradcam(small_model):
    small_model.heads["cam"] = OneLogit(small_model.encoder.channels[-1])
    with torch.no_grad():
        features = small_model.encoder(torch.randn(1, 3, 64, 64))
        for target in (0, 1):
            finer = get_method("finercam").map(small_model, features, target)
            plain = get_method("gradcam").map(small_model, features, target)
            assert torch.equal(finer, plain)
    assert "of one logit" in get_method("finercam").note


def test_dead_channels_and_gradients_give_zeros_not_nan():
    nothing = torch.zeros(1, 3, 4, 5)
    for name in GRADIENTS:
        method = get_method(name)
        assert torch.equal(method.combine(nothing, nothing), torch.zeros(1, 4, 5))
        found = method.combine(nothing, torch.randn(1, 3, 4, 5))
        assert torch.equal(found, torch.zeros(1, 4, 5))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("size", [(16, 16), (33, 47)])
def test_images_of_a_batch_do_not_change_each_other(two_depths, name, size):
    torch.manual_seed(3)
    x = torch.stack([torch.randn(3, *size), torch.zeros(3, *size)])
    for method in (get_method(name), get_method(f"{name}@features.3")):
        with torch.inference_mode(), two_depths.encoder.also(["features.3"]):
            features = two_depths.encoder(x)
            both = map_of(method, two_depths, features, 0, shown(x))
            again = map_of(method, two_depths, features, 0, shown(x))
            features = two_depths.encoder(x[1:])
            alone = map_of(method, two_depths, features, 0, shown(x[1:]))
        assert torch.isfinite(both).all()
        assert both.dtype == torch.float32
        assert torch.equal(both, again)
        largest = max(1.0, float(both.abs().max()))
        assert torch.allclose(both[1:], alone, atol=1e-4 * largest)


@pytest.mark.parametrize("name", ALL)
def test_half_precision_features_give_nearly_the_same_map(small_model, name):
    torch.manual_seed(4)
    x = torch.randn(1, 3, 64, 64)
    method = get_method(name)
    with torch.no_grad():
        features = small_model.encoder(x)
        # A class that is there: an untrained one may have no positive evidence at all.
        small_model.heads["cam"].fc.weight[1] = features.last.mean((0, 2, 3))
        full = map_of(method, small_model, features, 1, shown(x))[0]
        with torch.autocast("cpu", torch.bfloat16):
            features = small_model.encoder(x)
            half = map_of(method, small_model, features, 1, shown(x))[0]
    assert half.dtype == torch.float32
    assert (normalised(half) - normalised(full)).abs().mean() < 0.03


def test_features_of_an_image_give_every_layer_and_tiling_changes_nothing(
    small_model, tissue
):
    names = [*QUICK, "layercam@features.3", "gradcam@features.1", "smoothgradcam++"]
    whole = localize(small_model, tissue, names, config=InferenceConfig(whole=10_000))
    tiled = localize(
        small_model, tissue, names, config=InferenceConfig(whole=1, core=48)
    )
    assert list(whole.heatmaps) == names
    for name, heatmap in whole.heatmaps.items():
        assert np.abs(tiled.heatmaps[name].values - heatmap.values).max() < 1e-4
        assert not heatmap.is_probability
    assert whole.heatmaps["layercam@features.3"].scale == (4, 4)
    assert whole.heatmaps["gradcam@features.1"].values.shape == (66, 79)


def test_localize_runs_scorecam_only_when_asked(small_model, tissue):
    named = localize(small_model, tissue[:40, :48], ["scorecam"])
    assert named.heatmaps["scorecam"].values.max() == 1
    every = localize(small_model, tissue[:40, :48])
    assert "scorecam" in list_methods(small_model)
    assert not {"scorecam", "smoothgradcam++"} & set(every.heatmaps)


def test_scorecam_weighs_each_mask_by_the_probability_of_what_it_shows(small_model):
    x = torch.randn(1, 3, 32, 48)
    steps: list[tuple[int, int, str]] = []
    image = NetworkInput(lambda: x, lambda *step: steps.append(step), lambda: None)
    with torch.no_grad():
        features = small_model.encoder(x)
        features.last[:, 5] = 3.0  # constant: shows nothing, and is not run
        found = get_method("scorecam").map(small_model, features, 1, image)[0]
        expected = torch.zeros_like(found)
        for channel in features.last[0]:
            if channel.max() == channel.min():
                continue
            mask = normalised(channel)
            size = (32, 48)
            large = torch.nn.functional.interpolate(
                mask[None, None], size, mode="bilinear"
            )
            logits = small_model.image_logits(small_model.encoder(x * large))
            expected += logits.softmax(1)[0, 1] * mask
        expected = features.straight(expected[None])[0]
    assert torch.allclose(found, expected, atol=1e-4)
    assert steps[-1] == (31, 31, "Score-CAM")


def test_scorecam_stops_between_batches(small_model):
    done: list[int] = []

    def check() -> None:
        if done:
            raise JobCancelledError("stopped")

    x = torch.randn(1, 3, 512, 512)
    image = NetworkInput(lambda: x, lambda now, *_: done.append(now), check)
    with torch.no_grad(), pytest.raises(JobCancelledError):
        get_method("scorecam").map(small_model, small_model.encoder(x), 0, image)
    assert len(done) == 1
    assert done[0] < 32


def test_groups_of_scorecam_take_40_runs_and_share_out_the_weights(small_model):
    """Where a hundred channels are five, each group is one of them: nothing is lost."""
    x = torch.randn(1, 3, 64, 96)
    runs: list[int] = []
    image = NetworkInput(lambda: x, lambda done, *_: runs.append(done), lambda: None)
    with torch.no_grad():
        own = small_model.encoder(x)
        maps = own.last[:, :5].repeat(1, 20, 1, 1) * torch.rand(1, 100, 1, 1)
        features = replace(own, maps=(*own.maps, maps), names=(*own.names, "many"))
        features = replace(
            features,
            strides=(*own.strides, own.strides[-1]),
            offsets=(*own.offsets, own.offsets[-1]),
        )
        full = get_method("scorecam@many").map(small_model, features, 1, image)
        assert runs[-1] == 100
        found = get_method("scorecam_groups@many").map(small_model, features, 1, image)
        assert 5 <= runs[-1] <= 40
        assert torch.allclose(found, full, rtol=1e-4)
        maps[:] = torch.rand_like(maps)  # now each is its own
        found = get_method("scorecam_groups@many").map(small_model, features, 1, image)
        assert runs[-1] == 40
        again = get_method("scorecam_groups@many").map(small_model, features, 1, image)
    assert torch.equal(found, again)


class Brightness(torch.nn.Module):
    """Its logits are the mean of red, and of green."""

    def __init__(self) -> None:
        super().__init__()
        self.colours = torch.nn.Conv2d(3, 2, 1, bias=False)
        self.colours.weight.data = torch.eye(3)[:2, :, None, None]

    def forward(self, x: Tensor) -> Tensor:
        return self.colours(x).mean((2, 3))


@pytest.mark.parametrize("shape", [(50, 70), (224, 224), (20, 700)])
def test_occlusion_is_what_the_logit_loses(shape):
    classes, plain = ("red", "green"), ((0.0,) * 3, (1.0,) * 3)
    model = wrap(Brightness(), None, classes, mean=plain[0], std=plain[1])
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    image[20 : shape[0] // 2, 24:48, 1] = 255
    steps: list[tuple[int, int]] = []
    found = localize(
        model, image, ["occlusion"], "green", report=lambda *now: steps.append(now[:2])
    ).heatmaps["occlusion"]
    done, total = steps[-1]
    assert done == total == found.values.size <= 256
    step = int(found.scale[0])
    assert found.scale == (step, step)
    assert found.translate == ((step - 1) / 2,) * 2
    assert found.values.shape == tuple(-(-side // step) for side in shape)
    green = image[..., 1] / 255 - image[..., 1].mean() / 255
    expected = np.zeros(found.values.shape)
    for row, column in np.ndindex(*expected.shape):
        rows = slice(max(0, (row - 1) * step), (row + 2) * step)
        columns = slice(max(0, (column - 1) * step), (column + 2) * step)
        expected[row, column] = green[rows, columns].sum() / green.size
    low, high = expected.min(), expected.max()
    assert found.raw_range == pytest.approx((low, high), abs=1e-6)
    np.testing.assert_allclose(found.values, (expected - low) / (high - low), atol=1e-4)


def test_occlusion_stops_between_batches(small_model):
    done: list[int] = []

    def check() -> None:
        if done:
            raise JobCancelledError("stopped")

    x = torch.randn(1, 3, 300, 300)
    image = NetworkInput(lambda: x, lambda now, *_: done.append(now), check)
    with torch.no_grad(), pytest.raises(JobCancelledError):
        get_method("occlusion").map(small_model, small_model.encoder(x), 0, image)
    assert len(done) == 1


@pytest.mark.parametrize("size", [(16, 24), (64, 96)])
def test_eigencam_is_the_first_component_with_activity_bright(small_model, size):
    """More channels than cells, and more cells than channels."""
    with torch.no_grad():
        features = small_model.encoder(torch.randn(2, 3, *size))
        found = get_method("eigencam").map(small_model, features, 0)
        other = get_method("eigencam").map(small_model, features, 1)
    assert torch.equal(found, other)
    for values, item in zip(found, features.last.double(), strict=True):
        cells = item.flatten(1).T
        first = torch.linalg.svd(cells, full_matrices=False).Vh[0]
        projection = (cells @ first).reshape(item.shape[1:])
        if (projection * item.mean(0)).sum() < 0:
            projection = -projection
        expected = features.straight(projection.float()[None])[0]
        assert torch.allclose(values, expected, atol=1e-3, rtol=1e-3)


class OneLogit(Head):
    """Says how much the second of two classes is there."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(channels, 1)

    def forward(self, features: Features) -> Tensor:
        return self.fc(features.last.mean((-2, -1)))


def test_one_logit_speaks_for_the_second_class_and_against_the_first(small_model):
    head = OneLogit(small_model.encoder.channels[-1])
    small_model.heads["cam"] = head
    with torch.no_grad():
        features = small_model.encoder(torch.randn(1, 3, 64, 64))
    _, against = activation_and_gradient(small_model, features, 0, None)
    _, speaks = activation_and_gradient(small_model, features, 1, None)
    cells = features.last[0, 0].numel()
    assert torch.allclose(speaks[0, :, 0, 0], head.fc.weight[0] / cells)
    assert torch.equal(against, -speaks)


def test_what_a_method_needs_is_said(small_model, tissue):
    with torch.no_grad():
        features = small_model.encoder(torch.randn(1, 3, 32, 32))
    for name in ("smoothgradcam++", "scorecam"):
        with pytest.raises(MethodUnavailableError, match="localize"):
            get_method(name).map(small_model, features, 0)
    for name in ALL:
        reason = unavailable(small_model, f"{name}@layer9")
        assert "features.0, features.1" in (reason or "")
    with pytest.raises(MethodUnavailableError, match="the layers of this model"):
        localize(small_model, tissue, ["layercam@layer9"])
    with pytest.raises(ConfigError, match="layercam"):
        get_method("cam@features.3")


def test_without_a_classifier_only_eigencam_is_offered():
    spec = ModelSpec(
        encoder="mobilenet_v2",
        classes=("a",),
        heads=("pixelcam",),
        taps=("features.3",),
    )
    model = Model(spec).eval()
    assert "eigencam" in list_methods(model)
    for name in set(ALL) - {"eigencam"}:
        assert "classifier" in (unavailable(model, name) or "")


def test_a_layer_that_the_classifier_does_not_read_is_refused(small_model):
    class Shallow(OneLogit):
        def forward(self, features: Features) -> Tensor:
            return self.fc(features.maps[0].mean((-2, -1)))

    small_model.heads["cam"] = Shallow(small_model.encoder.channels[0])
    read: Callable[..., Tensor] = get_method("gradcam").map
    with torch.no_grad():
        features = small_model.encoder(torch.randn(1, 3, 32, 32))
        with pytest.raises(MethodUnavailableError, match=r"features\.6"):
            read(small_model, features, 0)
        values = get_method("gradcam@features.3").map(small_model, features, 1)
    assert values.shape == (1, 8, 8)
