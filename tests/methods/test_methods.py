import pytest
import torch

from napari_wsol.encoders import Features
from napari_wsol.errors import ConfigError, MethodUnavailableError, UnknownNameError
from napari_wsol.methods import (
    Model,
    ModelSpec,
    get_method,
    list_methods,
    method_title,
    register,
    unavailable,
)
from napari_wsol.methods.cam import GapHead
from napari_wsol.methods.pcam import PcamHead
from napari_wsol.methods.pixelcam import PixelHead


@pytest.fixture
def features() -> Features:
    torch.manual_seed(1)
    return Features(
        (torch.randn(2, 3, 8, 10), torch.randn(2, 5, 4, 5)), (4, 8), (1.5, 3.5)
    )


def test_cam_averages_to_the_logit_without_bias(features):
    head = GapHead(5, 3)
    logits = head.class_maps(features).mean((2, 3)) + head.fc.bias
    assert torch.allclose(logits, head(features), atol=1e-6)


def test_a_background_row_shifts_the_classes_by_one(features):
    head = GapHead(5, 3, background=True)
    assert head.fc.weight.shape == (4, 5)
    assert head(features).shape == (2, 3)
    by_hand = torch.einsum("c,nchw->nhw", head.fc.weight[1], features.last)
    assert torch.allclose(head.class_maps(features)[:, 0], by_hand, atol=1e-6)


def test_pcam_pools_features_by_its_own_probability(features):
    head = PcamHead(5, 2)
    conv = head.fc_1
    torch.nn.init.normal_(conv.weight)
    weights = torch.sigmoid(conv(features.last)).flatten(2)
    weights = weights / weights.sum(-1, keepdim=True)
    pooled = (features.last.flatten(2) * weights).sum(-1)  # equation 4
    by_hand = conv(pooled[..., None, None]).flatten(1)[:, 0]  # equation 5
    assert torch.allclose(head(features)[:, 1], by_hand, atol=1e-5)


def test_pixel_head_reads_all_depths_on_the_finest_grid(features):
    head = PixelHead([3, 5])
    coarse = torch.nn.functional.interpolate(features.last, (8, 10), mode="bilinear")
    by_hand = head.conv4(torch.cat([features.maps[0], coarse], 1))
    assert torch.allclose(head(features), by_hand, atol=1e-5)


def test_standardising_is_part_of_the_head(features):
    head = PixelHead([3, 5], standardize=True)
    mean, std = torch.randn(8), torch.rand(8) + 0.5
    head.standardize_to(mean, std)
    coarse = torch.nn.functional.interpolate(features.last, (8, 10), mode="bilinear")
    x = torch.cat([features.maps[0], coarse], 1)
    by_hand = head.conv4((x - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1))
    assert torch.allclose(head(features), by_hand, atol=1e-4)


def test_pixel_logits_at_points_equal_the_map_there(features):
    one = Features(
        tuple(m[:1] for m in features.maps), features.strides, features.offsets
    )
    head = PixelHead([3, 5], standardize=True)
    points = torch.tensor([[1.5, 1.5], [13.5, 21.5]])  # centres of cells of stride 4
    at = head.at_points(one, points)
    # The coarse map is interpolated to those centres, so the map there is the same.
    full = head(one)
    assert torch.allclose(at[0], full[0, :, 0, 0], atol=1e-5)
    assert torch.allclose(at[1], full[0, :, 3, 5], atol=1e-5)


def test_maps_are_what_they_claim_to_be(small_model):
    x = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        features = small_model.encoder(x)
        for name in ("cam", "pcam", "pixelcam"):
            method = get_method(name)
            values = method.map(small_model, features, 1)
            stride = method.stride(small_model, features)
            assert values.shape == (2, 64 // stride, 96 // stride)
            assert values.dtype == torch.float32
            if method.is_probability:
                assert values.min() >= 0
                assert values.max() <= 1


@pytest.mark.parametrize("name", ["cam", "pcam", "pixelcam"])
@pytest.mark.parametrize("size", [(8, 8), (33, 47), (64, 64)])
def test_contract_of_every_method(small_model, name, size):
    """Finite, repeatable, and independent of the other images in the batch."""
    torch.manual_seed(3)
    x = torch.stack([torch.randn(3, *size), torch.zeros(3, *size)])
    method = get_method(name)
    with torch.no_grad():
        both = method.map(small_model, small_model.encoder(x), 0)
        again = method.map(small_model, small_model.encoder(x), 0)
        alone = method.map(small_model, small_model.encoder(x[1:]), 0)
    assert torch.isfinite(both).all()
    assert torch.equal(both, again)
    assert torch.allclose(both[1:], alone, atol=1e-5)


def test_raw_outputs_have_no_activation(small_model):
    x = torch.randn(2, 3, 64, 64)
    raw = small_model.raw(x)
    assert raw.logits.shape == (2, 2)
    assert raw.maps.shape == (2, 2, 16, 16)
    with torch.inference_mode():
        expected = get_method("pixelcam").map(small_model, small_model.encoder(x), 0)
    assert torch.allclose(raw.maps.softmax(1)[:, 1], expected, atol=1e-6)


def test_a_model_says_why_it_cannot():
    model = Model(ModelSpec(encoder="resnet18", classes=("a", "b"), heads=("cam",)))
    assert "cam" in list_methods(model)
    assert "pixelcam" not in list_methods(model)
    assert "PixelCAM needs a part" in (unavailable(model, "pixelcam") or "")
    assert unavailable(model, "cam") is None
    with pytest.raises(MethodUnavailableError, match="pixelcam"):
        model.head(PixelHead, "pixelcam")
    with pytest.raises(UnknownNameError, match="a, b"):
        model.class_index("c")


def test_names_are_unique_and_listed():
    assert {"cam", "pcam", "pixelcam"} <= set(list_methods())
    assert method_title("pixelcam") == "PixelCAM"
    with pytest.raises(UnknownNameError, match="pixelcam"):
        get_method("pixelkam")
    with pytest.raises(ValueError, match="exists already"):
        register(type(get_method("cam")))
    with pytest.raises(ConfigError, match="heads"):
        ModelSpec(encoder="resnet18", classes=("a",), heads=("unet",))


def test_several_labels_an_image_have_independent_probabilities():
    spec = ModelSpec(
        encoder="mobilenet_v2",
        classes=("a", "b", "c"),
        heads=("pcam",),
        taps=("features.3",),
        multi_label=True,
    )
    model = Model(spec).eval()
    with torch.inference_mode():
        features = model.encoder(torch.randn(1, 3, 32, 32))
        p = model.probabilities(features)
        assert torch.allclose(p, model.image_logits(features).sigmoid())
