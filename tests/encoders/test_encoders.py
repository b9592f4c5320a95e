import importlib.util
import sys

import pytest
import torch
from torch.nn import functional

from napari_wsol.encoders import (
    build_encoder,
    list_encoders,
    preprocess,
    register_encoder,
)
from napari_wsol.encoders.atrous import DensePool, average3
from napari_wsol.errors import ConfigError, ImageError, UnknownNameError

NAMES = ["mobilenet_v2", "resnet18", "resnet34", "resnet50"]
# Those whose maps have fewer, or more, cells than strides begun.
STRIDED = ["vgg19", "vgg19_bn", "densenet121", "inception_v3"]
FIXED = ["wsol_vgg16", "wsol_inceptionv3"]


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


def test_mobilenet_has_torchvisions_parameters():
    # 2,223,872 without the classifier; a folded batch norm leaves one number of two.
    encoder = build_encoder("mobilenet_v2")
    assert sum(p.numel() for p in encoder.parameters()) == 2_223_872 - 17_056
    assert encoder.channels == (1280,)


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


@pytest.mark.parametrize(
    ("name", "output_stride"),
    [(name, stride) for name in STRIDED for stride in (8, 16, 32)]
    + [(name, 8) for name in [*FIXED, "wsol_resnet50"]],
)
def test_cells_are_what_forward_gives(name, output_stride):
    with torch.device("meta"):  # shapes only
        encoder = build_encoder(name, output_stride=output_stride).eval()
        with encoder.also(encoder.layers):
            # Rows from 75, columns down from 130: every length once.
            for rows in range(75, 103, 1 if output_stride == 32 else 5):
                maps = encoder(torch.empty(1, 3, rows, 205 - rows)).maps
                assert tuple(m.shape[-2] for m in maps) == encoder.cells(rows)
                assert tuple(m.shape[-1] for m in maps) == encoder.cells(205 - rows)
                assert tuple(m.shape[1] for m in maps) == encoder.channels


@pytest.mark.parametrize(
    ("name", "output_stride"),
    [("vgg19_bn", 16), ("densenet121", 16), ("inception_v3", 16)]
    + [(name, 8) for name in [*FIXED, "wsol_resnet18"]],
)
def test_resumed_anywhere_the_result_is_the_same(name, output_stride):
    torch.manual_seed(0)
    encoder = build_encoder(name, output_stride=output_stride).eval()
    x = torch.randn(2, 3, 80, 83)
    with torch.inference_mode(), encoder.also(encoder.layers):
        whole = encoder(x)
        for index, layer in enumerate(encoder.layers):
            before = whole.maps[index].clone()
            again = encoder.resume(layer, whole.maps[index])
            assert again.names == whole.names[index:]
            assert torch.equal(whole.maps[index], before)
            assert torch.equal(again.last, whole.last)


@pytest.mark.parametrize(
    ("name", "output_stride", "tap"),
    [
        ("mobilenet_v2", 8, None),
        ("mobilenet_v2", 32, None),
        ("resnet18", 8, None),
        ("resnet18", 32, None),
        ("vgg19", 8, None),
        ("vgg19", 32, None),
        ("wsol_vgg16", 8, None),
        ("densenet121", 32, "denseblock2"),
        ("inception_v3", 16, "Mixed_6b"),
        ("wsol_inceptionv3", 8, "Mixed_6c"),
    ],
)
def test_halo_covers_the_receptive_field(name, output_stride, tap, monkeypatch):
    torch.manual_seed(0)
    # A maximum hands on one of the cells that it reads; a mean all of them.
    monkeypatch.setattr(functional, "max_pool2d", mean_pool)
    taps = None if tap is None else [tap]
    encoder = build_encoder(name, output_stride=output_stride, taps=taps)
    encoder = linear(encoder.double().eval())
    stride = encoder.stride
    start = encoder.halo // stride + 3
    size, width = 2 * start * stride, 32 if "inception" not in name else 75
    x = torch.rand(1, 3, size, width, dtype=torch.float64, requires_grad=True)
    # A tile of one row of cells: nothing outside its window may have an influence.
    encoder(x).last[0, :, start].abs().sum().backward()
    rows = x.grad[0].abs().amax((0, 2)).nonzero().flatten()
    first, last = int(rows.min()), int(rows.max())
    assert start * stride - first <= encoder.halo
    assert last - (start + 1) * stride + 1 <= encoder.halo
    # And it is not wastefully larger than a stride more than needed.
    reach = max(start * stride - first, last - (start + 1) * stride + 1)
    assert encoder.halo - reach < 2 * stride
    # The offset is the middle of what the cell sees.
    assert encoder.offsets[-1] == (first + last) / 2 - start * stride


def mean_pool(x, kernel, stride, padding=0, dilation=1, *, ceil_mode=False, **_):
    assert dilation == 1
    return functional.avg_pool2d(x, kernel, stride, padding, ceil_mode)


def linear(encoder):
    """The same network with positive weights, so that no influence is lost."""
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.copy_(torch.rand_like(parameter) / parameter[0].numel())
    for module in encoder.modules():
        if isinstance(module, DensePool):
            module.average = True
    return encoder


@pytest.mark.parametrize("name", ["vgg19_bn", "densenet121", "wsol_inceptionv3"])
def test_a_tile_with_its_halo_is_a_part_of_the_whole(name):
    torch.manual_seed(0)
    taps = {"densenet121": ["denseblock1", "denseblock2"]}.get(name)
    encoder = build_encoder(name, taps=taps).double().eval()
    stride, halo = encoder.stride, encoder.halo
    top, core = halo + stride, 2 * stride
    x = torch.randn(1, 3, 2 * top + core, 64, dtype=torch.float64)
    with torch.inference_mode():
        whole = encoder(x)
        tile = encoder(x[:, :, top - halo : top + core + halo])
    for values, part, step in zip(whole.maps, tile.maps, whole.strides, strict=True):
        rows = values[:, :, top // step : (top + core) // step]
        found = part[:, :, halo // step : (halo + core) // step]
        assert torch.allclose(found, rows, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "size"), [("vgg19", 64), ("densenet121", 64), ("inception_v3", 123)]
)
@pytest.mark.parametrize("output_stride", [8, 16])
def test_the_finer_map_holds_the_coarser_one(name, size, output_stride):
    """A pool or reduction that loses its stride reads the same cells, everywhere."""
    torch.manual_seed(0)
    coarse = build_encoder(name).eval()
    fine = build_encoder(name, output_stride=output_stride).eval()
    fine.load_state_dict(coarse.state_dict())
    step = 32 // output_stride
    x = torch.randn(1, 3, size, size)
    with torch.inference_mode():
        found, expected = fine(x).last[..., ::step, ::step], coarse(x).last
    assert torch.allclose(found, expected, atol=1e-5, rtol=1e-4)


def test_a_dilated_mean_reads_cells_apart():
    x = torch.randn(1, 2, 9, 12)
    apart = torch.stack([x[..., i::3, j::3] for i in range(3) for j in range(3)])
    expected = functional.avg_pool2d(apart.flatten(0, 1), 3, 1, 1)
    found = average3(x, 3)
    again = torch.stack([found[..., i::3, j::3] for i in range(3) for j in range(3)])
    assert torch.allclose(again.flatten(0, 1), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "smallest"), [("vgg19", 32), ("densenet121", 29), ("inception_v3", 75)]
)
def test_an_image_without_a_cell_is_refused_in_words(name, smallest):
    with torch.device("meta"):
        encoder = build_encoder(name).eval()
        assert encoder(torch.empty(1, 3, smallest, 96)).last.shape[-2] == 1
        with pytest.raises(ImageError, match="enlarge"):
            encoder(torch.empty(1, 3, 96, smallest - 1))


def test_what_has_one_stride_says_so():
    for name in FIXED:
        with pytest.raises(ConfigError, match="Output stride is 8, not 16"):
            build_encoder(name, output_stride=16)
    for name in STRIDED:
        with pytest.raises(ConfigError, match="8, 16 or 32, not 4"):
            build_encoder(name, output_stride=4)
    with pytest.raises(ConfigError, match="take inception_v3 for 1 channel"):
        build_encoder("inception_v3_transform", in_channels=1)
    assert build_encoder("inception_v3", in_channels=1).stride == 32


@pytest.mark.skipif(
    importlib.util.find_spec("timm") is not None, reason="timm is installed"
)
def test_without_timm_the_error_says_how_to_get_it():
    with pytest.raises(ConfigError, match=r"pip install timm\."):
        build_encoder("timm:resnet18")


def test_timm_that_does_not_import_is_explained(tmp_path, monkeypatch):
    (tmp_path / "timm.py").write_text("raise RuntimeError('no operator nms')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    with pytest.raises(ConfigError, match="no operator nms"):
        build_encoder("timm:resnet18")


@pytest.mark.timm
def test_timms_backbones_are_measured():
    torch.manual_seed(0)
    encoder, ours = build_encoder("timm:resnet18").eval(), build_encoder("resnet18")
    assert encoder.taps == ours.taps
    assert (encoder.mean, encoder.std) == (ours.mean, ours.std)
    x = torch.randn(1, 3, 64, 99)
    with torch.inference_mode(), encoder.also(encoder.layers), ours.also(ours.layers):
        assert encoder.strides[-4:] == ours.strides[-4:]
        assert encoder.offsets[-4:] == ours.offsets[-4:]
        assert encoder.channels[-4:] == ours.channels[-4:]
        whole = encoder(x)
        assert encoder.cells(99) == tuple(m.shape[-1] for m in whole.maps)
        for name, values in zip(whole.names, whole.maps, strict=True):
            assert torch.equal(encoder.resume(name, values).last, whole.last)
    assert encoder.halo == ours.halo


@pytest.mark.timm
def test_timms_errors_are_ours():
    with pytest.raises(ConfigError, match="timm cannot build nosuch"):
        build_encoder("timm:nosuch")
    with pytest.raises(ConfigError, match="no tap"):
        build_encoder("timm:resnet18", taps=["layer9"])
    transformer = build_encoder("timm:maxvit_rmlp_pico_rw_256")
    assert transformer.fixed_size == 256
    with pytest.raises(ConfigError, match="256×256"):
        transformer(torch.zeros(1, 3, 96, 96))


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


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("output_stride", "wanted"), [(32, {1}), (16, {1, 2}), (8, {1, 2, 4})]
)
def test_a_lost_stride_doubles_the_dilation(name, output_stride, wanted):
    with torch.device("meta"):
        encoder = build_encoder(name, output_stride=output_stride)
    convs = [item for item in encoder.modules() if isinstance(item, torch.nn.Conv2d)]
    assert {item.dilation[0] for item in convs} == wanted
    assert max(item.stride[0] for item in convs) == 2


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
