"""PYLON, its baselines and Li et al., against what the authors' code gave."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from napari_wsol.encoders import Features
from napari_wsol.errors import ConfigError
from napari_wsol.images.preprocessing import Preprocessing
from napari_wsol.methods import Model, ModelSpec, get_method
from napari_wsol.methods.pylon import PyramidalAttention

TAPS = ("layer1", "layer2", "layer3", "layer4")
STRIDES = {"layer1": 4, "layer2": 8, "layer3": 16, "layer4": 32}


def build(head, classes, channels, taps=("layer4",), encoder="resnet50", **options):
    """A model that draws its maps where the authors do."""
    half = (0.5,) * channels
    spec = ModelSpec(
        encoder=encoder,
        classes=tuple(f"class {index}" for index in range(classes)),
        heads=(head,),
        options={head: options},
        taps=taps,
        multi_label=True,
        offsets=tuple((STRIDES[name] - 1) / 2 for name in taps),
        preprocessing=Preprocessing(mean=half, std=half, channels=channels),
    )
    return Model(spec).eval()


def options_of(case):
    about = case.about["config"]
    names = {"up_kernel_size": "up_kernel", "seg_kern_size": "seg_kernel"}
    kept = ("n_up", "n_dec_ch", "use_pa", "up_type", *names)
    return {names.get(key, key): about[key] for key in kept}


def pylon(case):
    options = options_of(case)
    model = build("pylon", 14, 1, taps=TAPS[3 - options["n_up"] :], **options)
    state = case.part("net.")
    encoder = {k: v for k, v in state.items() if k.startswith("encoder.")}
    head = {k: v for k, v in state.items() if not k.startswith("encoder.")}
    load(model, "pylon", encoder, "encoder.", head)
    return model


def load(model, name, encoder, prefix, head):
    model.encoder.load_state_dict(
        {key.removeprefix(prefix): value for key, value in encoder.items()}
    )
    model.heads[name].load_state_dict(head)


def test_pylon_gives_the_authors_logits_and_maps(golden):
    case = golden("pylon_resnet50_2layer_256")
    model = pylon(case)
    raw = model.raw(case.x)
    case.close("pred", raw.logits)
    case.close("pred_seg_cls0", raw.maps[:, 0])
    case.close("pred_seg_all_stride4", raw.maps[..., ::4, ::4])
    with torch.inference_mode():
        features = model.encoder(case.x)
        case.close("enc_last", features.last[:, ::128])
        case.close("pa_out", model.heads["pylon"].decoder.pa(features.last)[:, ::16])
        found = get_method("pylon").map(model, features, 0)
    np.testing.assert_allclose(found, raw.maps[:, 0].sigmoid(), atol=1e-6)

    loss = golden("pylon_loss")
    target = torch.from_numpy(loss.outputs["target"]).float()
    value = functional.binary_cross_entropy_with_logits(raw.logits, target)
    loss.close("loss", value[None])


@pytest.mark.parametrize("variant", ["nopa", "up2", "upkern3"])
def test_pylon_variants_give_the_authors_logits_and_maps(golden, variant):
    case = golden(f"pylon_resnet50_{variant}")
    raw = pylon(case).raw(case.x)
    case.close("pred", raw.logits)
    case.close("pred_seg_stride4", raw.maps[..., ::4, ::4])


@pytest.mark.parametrize(
    ("name", "channels"), [("baseline_maxpool", 1), ("baseline_voc3ch", 3)]
)
def test_the_baseline_is_a_max_pool_head(golden, name, channels):
    case = golden(f"pylon_{name}")
    model = build("maxpool", case.about["config"]["n_out"], channels)
    out = {f"conv.{key}": value for key, value in case.part("out.").items()}
    load(model, "maxpool", case.part("net."), "", out)
    raw = model.raw(case.x)
    case.close("pred", raw.logits)
    case.close("pred_seg", raw.maps)


def test_li2018_gives_the_authors_logits_and_maps(golden):
    case = golden("pylon_li2018")
    model = build("li2018", 14, 1)
    out = {f"out.{key}": value for key, value in case.part("out.").items()}
    load(model, "li2018", case.part("net."), "", out)
    raw = model.raw(case.x)
    case.close("pred", raw.logits)
    case.close("pred_seg", raw.maps)


@torch.no_grad()
def test_li2018_draws_its_grid_over_the_features():
    model = build("li2018", 2, 3, encoder="resnet18")
    x = torch.randn(1, 3, 160, 256)
    features = model.encoder(x)
    method = get_method("li2018")
    values = method.map(model, features, 1)
    assert values.shape == (1, 20, 32)
    assert method.stride(model, features) == 8
    # Centres of features coincide with cells of the map: every fourth, half-way.
    grid = model.heads["li2018"].class_maps(features)[:, 1:].sigmoid()
    size = features.last.shape[-2:]
    at_cells = functional.interpolate(grid, size, mode="bilinear", align_corners=True)
    between = (values[:, 1::4] + values[:, 2::4]) / 2
    between = (between[:, :, 1::4] + between[:, :, 2::4]) / 2
    assert (
        torch.corrcoef(torch.stack([between.flatten(), at_cells.flatten()]))[0, 1] > 0.9
    )


@pytest.mark.parametrize("n_up", [0, 1, 2, 3])
@torch.no_grad()
def test_up_modules_set_the_resolution(n_up):
    model = build("pylon", 2, 3, taps=TAPS, encoder="resnet18", n_up=n_up, n_dec_ch=8)
    features = model.encoder(torch.randn(1, 3, 64, 96))
    method = get_method("pylon")
    stride = 32 / 2**n_up
    assert method.stride(model, features) == stride
    values = method.map(model, features, 1)
    assert values.shape == (1, 64 // stride, 96 // stride)
    assert 0 <= values.min() <= values.max() <= 1
    ups = {key.split(".")[1] for key in model.heads["pylon"].state_dict()}
    assert ups - {"pa", "0"} == {"up3", "up2", "up1"} & {
        f"up{3 - index}" for index in range(n_up)
    }


def test_one_layer_up_modules_have_the_published_names():
    model = build(
        "pylon", 2, 3, taps=TAPS, encoder="resnet34", up_type="1layer", up_kernel=3
    )
    state = model.heads["pylon"].state_dict()
    assert state["decoder.up3.conv1.conv.weight"].shape == (128, 256, 3, 3)
    assert "decoder.up3.conv1.0.conv.weight" not in state
    assert state["segmentation_head.0.weight"].shape == (2, 128, 1, 1)


@torch.no_grad()
def test_attention_on_other_sizes_continues_the_border():
    torch.manual_seed(0)
    attention = PyramidalAttention(4, 2, attend=True).eval()
    for parameter in attention.parameters():
        parameter.abs_()  # no dead ReLU in the one-channel pyramid
    whole = torch.rand(1, 4, 16, 24)
    part = whole[..., :13, :20]
    continued = functional.pad(part, (0, 4, 0, 3), mode="replicate")
    expected = attention(continued)[..., :13, :20]
    torch.testing.assert_close(attention(part), expected)
    assert attention(whole[..., :1, :2]).shape == (1, 2, 1, 2)
    assert attention(whole).std() > 0


def test_missing_taps_are_named():
    with pytest.raises(ConfigError, match="layer1, layer2, layer3, layer4"):
        build("pylon", 2, 3, taps=("layer3", "layer4"), encoder="resnet18")
    build("pylon", 2, 3, taps=("layer3", "layer4"), encoder="resnet18", n_up=1)


@pytest.mark.parametrize(
    ("option", "word"),
    [
        ({"n_up": 4}, "up modules"),
        ({"up_type": "3layer"}, "2layer"),
        ({"up_kernel": 2}, "odd"),
        ({"smooth": 4}, "odd"),
        ({"smooth": -1}, "odd"),
    ],
)
def test_impossible_options_are_refused_in_words(option, word):
    with pytest.raises(ConfigError, match=word):
        build("pylon", 2, 3, taps=TAPS, encoder="resnet18", **option)


@torch.no_grad()
def test_maps_come_from_their_own_taps_whatever_else_there_is():
    model = build("pylon", 2, 3, taps=TAPS, encoder="resnet18", n_up=1, n_dec_ch=8)
    features = model.encoder(torch.randn(1, 3, 64, 64))
    alone = Features(
        features.maps[2:],
        features.strides[2:],
        features.offsets[2:],
        features.names[2:],
    )
    head = model.heads["pylon"]
    torch.testing.assert_close(head.class_maps(features), head.class_maps(alone))
    assert (head.map_index(features), head.map_index(alone)) == (2, 0)


def mobile(*taps, **options):
    spec = ModelSpec(
        encoder="mobilenet_v2",
        classes=("Mass", "Nodule"),
        heads=("pylon",),
        options={"pylon": {"n_dec_ch": 8, **options}},
        output_stride=16,
        taps=taps,
        multi_label=True,
    )
    return Model(spec).eval()


@torch.no_grad()
def test_other_encoders_are_read_at_their_taps():
    model = mobile("features.6", "features.13", "features.17", n_up=2)
    features = model.encoder(torch.randn(1, 3, 64, 96))
    method = get_method("pylon")
    assert method.stride(model, features) == 8
    assert method.map(model, features, 1).shape == (1, 8, 12)
    inputs = model.heads["pylon"].decoder.pa.mid[0].conv.in_channels
    assert inputs == model.encoder.channels[-1]


def test_too_few_taps_of_another_encoder_are_named():
    with pytest.raises(ConfigError, match=r"reads 4 features.*features\.13.*n_up"):
        mobile("features.6", "features.13", n_up=3)


@torch.no_grad()
def test_smooth_is_the_mean_over_neighbouring_cells():
    torch.manual_seed(0)
    taps = ("features.6", "features.13")
    plain, smooth = mobile(*taps, n_up=1), mobile(*taps, n_up=1, smooth=3)
    smooth.load_state_dict(plain.state_dict())
    features = plain.encoder(torch.randn(1, 3, 64, 64))
    before = plain.heads["pylon"].class_maps(features)
    after = smooth.heads["pylon"].class_maps(features)
    inner, corner = before[..., 2:5, 3:6], before[..., :2, :2]
    torch.testing.assert_close(after[..., 3, 4], inner.mean((-2, -1)))
    torch.testing.assert_close(after[..., 0, 0], corner.mean((-2, -1)))
    logits = smooth.heads["pylon"](features)
    torch.testing.assert_close(logits, after.amax((-2, -1)))
