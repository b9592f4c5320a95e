import pytest
import torch

from napari_wsol.encoders import (
    build_encoder,
    list_encoders,
    preprocess,
    register_encoder,
)
from napari_wsol.errors import ConfigError, UnknownNameError

NAMES = ["mobilenet_v2", "resnet18", "resnet34", "resnet50"]


@pytest.mark.parametrize(
    ("name", "parameters"),
    # torchvision's counts less their classifier; MobileNetV2 with folded batch norms.
    [("resnet18", 11_176_512), ("resnet34", 21_284_672), ("resnet50", 23_508_032)],
)
def test_resnets_have_torchvisions_parameters(name, parameters):
    encoder = build_encoder(name)
    assert sum(p.numel() for p in encoder.parameters()) == parameters
    keys = set(encoder.state_dict())
    assert {"conv1.weight", "bn1.running_mean", "layer4.1.bn2.weight"} <= keys
    assert {"layer2.0.downsample.0.weight", "layer2.0.downsample.1.weight"} <= keys
    assert not any(key.startswith("fc") for key in keys)


def test_mobilenet_takes_folded_imagenet_weights(shared):
    safetensors = pytest.importorskip("safetensors.torch")
    path = shared.parent / "weights" / "mobilenet_v2_imagenet.safetensors"
    state = safetensors.load_file(path)
    encoder = build_encoder("mobilenet_v2").eval()
    result = encoder.load_state_dict(state, strict=False)
    assert not result.missing_keys
    assert set(result.unexpected_keys) == {"classifier.weight", "classifier.bias"}
    from skimage import data, transform

    cat = transform.resize(data.cat(), (224, 224), anti_aliasing=True)
    pixels = torch.from_numpy((cat * 255).astype("uint8"))[None]
    with torch.inference_mode():
        features = encoder(preprocess(pixels, encoder.mean, encoder.std))
        logits = features.last.mean((2, 3)) @ state["classifier.weight"].T
        logits += state["classifier.bias"]
    labels = (path.parent / "imagenet_labels.txt").read_text("utf-8").splitlines()
    assert "cat" in labels[int(logits.argmax())]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("output_stride", [8, 16, 32])
def test_maps_have_one_cell_a_stride_at_odd_sizes(name, output_stride):
    encoder = build_encoder(name, output_stride=output_stride).eval()
    with torch.inference_mode():
        features = encoder(torch.zeros(1, 3, 65, 99))
    assert encoder.stride == output_stride
    expected = (-(-65 // output_stride), -(-99 // output_stride))
    assert tuple(features.last.shape[-2:]) == expected


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18"])
@pytest.mark.parametrize("output_stride", [8, 32])
def test_halo_covers_the_receptive_field(name, output_stride):
    torch.manual_seed(0)
    encoder = build_encoder(name, output_stride=output_stride).double().eval()
    stride, size = encoder.stride, 640
    x = torch.randn(1, 3, size, 32, dtype=torch.float64, requires_grad=True)
    start = (size // 2) // stride
    # A tile of one row of cells: nothing outside its window may have an influence.
    encoder(x).last[0, :, start].abs().sum().backward()
    rows = x.grad[0].abs().amax((0, 2)).nonzero().flatten()
    first, last = int(rows.min()), int(rows.max())
    assert start * stride - first <= encoder.halo
    assert last - (start + 1) * stride + 1 <= encoder.halo
    # And it is not wastefully larger than a stride more than needed.
    reach = max(start * stride - first, last - (start + 1) * stride + 1)
    assert encoder.halo - reach < 2 * stride


def test_dilated_tail_agrees_with_the_strided_one_where_they_meet():
    torch.manual_seed(0)
    coarse = build_encoder("resnet18", output_stride=32).eval()
    fine = build_encoder("resnet18", output_stride=8).eval()
    fine.load_state_dict(coarse.state_dict())
    x = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(
            fine(x).last[..., ::4, ::4][..., :1, :1],
            coarse(x).last[..., :1, :1],
            atol=1,
        )
        assert fine(x).last.shape[-1] == 4 * coarse(x).last.shape[-1]


def test_layers_behind_the_last_tap_are_not_kept():
    encoder = build_encoder("mobilenet_v2", taps=["features.6", "features.3"])
    assert encoder.taps == ("features.3", "features.6")
    assert encoder.strides == (4, 8)
    assert not any(key.startswith("features.7") for key in encoder.state_dict())


def test_wrong_choices_name_the_right_ones():
    with pytest.raises(UnknownNameError, match="mobilenet_v2"):
        build_encoder("resnet19")
    with pytest.raises(ConfigError, match="8, 16 or 32"):
        build_encoder("resnet18", output_stride=4)
    with pytest.raises(ConfigError, match="layer1"):
        build_encoder("resnet18", taps=["layer9"])
    with pytest.raises(ValueError, match="exists already"):
        register_encoder("resnet18")(lambda **_: None)
    assert set(NAMES) <= set(list_encoders())


def test_preprocess_gives_what_the_network_was_trained_on():
    pixels = torch.tensor([0, 128, 255], dtype=torch.uint8).view(1, 1, 1, 3)
    encoder = build_encoder("mobilenet_v2", taps=["features.0"])
    x = preprocess(pixels, encoder.mean, encoder.std)
    assert x.shape == (1, 3, 1, 1)
    assert torch.allclose(x.flatten(), torch.tensor([-1.0, 0.0, 127 / 128]), atol=1e-6)
