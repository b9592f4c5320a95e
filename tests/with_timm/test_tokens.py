"""Vision transformers of timm: the same numbers, at any size, with their classifier."""

import pytest
import torch

from napari_wsol.encoders import build_encoder
from napari_wsol.encoders.deit import DeiT
from napari_wsol.encoders.timm_tokens import TimmTokens
from napari_wsol.errors import ConfigError
from napari_wsol.images.preprocessing import Preprocessing
from napari_wsol.methods import Model, ModelSpec, NetworkInput, get_method, unavailable

timm = pytest.importorskip("timm", exc_type=ImportError)
pytestmark = pytest.mark.timm

SMALL = {"depth": 3, "embed_dim": 64, "num_heads": 2}
STAGES = {"embed_dim": 24, "depths": (1, 1, 1, 1)}
NETWORKS = {
    "vit_tiny_patch16_224": SMALL,
    "vit_small_patch14_reg4_dinov2": {**SMALL, "init_values": 0.1, "img_size": 224},
    "vit_small_patch16_dinov3": SMALL,
    "eva02_tiny_patch14_224": {"depth": 2},
    "deit_tiny_distilled_patch16_224": SMALL,
    "beit_base_patch16_224": SMALL,
    "vit_base_patch16_reg4_gap_256": SMALL,
    "swin_tiny_patch4_window7_224": STAGES,
    "swinv2_tiny_window8_256": STAGES,
}


def network_of(name):
    torch.manual_seed(0)
    encoder = TimmTokens(name, options=NETWORKS[name]).eval()
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return encoder


def image_of(x):
    return NetworkInput(lambda: x, lambda *_: None, lambda: None)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_features_are_those_of_timm(name):
    encoder = network_of(name)
    side = encoder.fixed_size
    wide = side // 2 * 3 // encoder.stride * encoder.stride
    prefix = encoder.backbone.num_prefix_tokens if "swin" not in name else 0
    for shape in [(side, side), (side, wide)] if encoder.resizes else [(side, side)]:
        x = torch.randn(2, 3, *shape)
        with torch.inference_mode(), encoder.also(encoder.layers):
            found = encoder(x)
            wanted = encoder.backbone.forward_features(x)
            _, between = encoder.backbone.forward_intermediates(x)
        if wanted.ndim == 4:
            patches = wanted.permute(0, 3, 1, 2)
        else:
            patches = wanted[:, prefix:].mT.reshape(found.last.shape)
        torch.testing.assert_close(found.last, patches, atol=1e-5, rtol=0)
        if "cls" in found.names:
            cls = found.maps[0][..., 0, 0]
            torch.testing.assert_close(cls, wanted[:, 0], atol=1e-5, rtol=0)
        blocks = [m for n, m in zip(found.names, found.maps, strict=True) if "." in n]
        for one, other in zip(blocks, between, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
    assert ("cls" in encoder.layers) == ("gap" not in name and "swin" not in name)


@pytest.mark.parametrize("shape", [(224, 224), (448, 320), (96, 160)])
def test_our_deit_is_timms(shape):
    options = {"num_classes": 0, "dynamic_img_size": True, "depth": 3}
    network = timm.create_model("deit_tiny_patch16_224", **options).eval()
    encoder = DeiT(192, depth=3, taps=["cls", "patches"]).eval()
    encoder.load_state_dict(network.state_dict())
    x = torch.randn(1, 3, *shape)
    with torch.inference_mode():
        wanted, found = network.forward_features(x), encoder(x)
    patches = found.last.flatten(2).mT
    torch.testing.assert_close(patches, wanted[:, 1:], atol=1e-5, rtol=0)
    torch.testing.assert_close(
        found.maps[0][..., 0, 0], wanted[:, 0], atol=1e-5, rtol=0
    )


def model_of(monkeypatch, pool, **options):
    """A ViT as timm classifies with it, and the same as our model."""
    options = {**SMALL, **options}
    torch.manual_seed(0)
    network = timm.create_model("vit_tiny_patch16_224", num_classes=3, **options).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    monkeypatch.setattr(
        "napari_wsol.encoders.timm_tokens.create",
        lambda name, channels, **how: timm.create_model(
            name, in_chans=channels, **{**how, **options}
        ),
    )
    norm = pool == "mean"
    spec = ModelSpec(
        encoder="timm:vit_tiny_patch16_224",
        classes=("a", "b", "c"),
        heads=("linear",),
        options={"linear": {"pool": pool, "norm": norm}},
        preprocessing=Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3, size=224),
    )
    model = Model(spec).eval()
    places = {"head.": "heads.linear.fc.", "fc_norm.": "heads.linear.norm."}
    state = {}
    for key, value in network.state_dict().items():
        start = next((old for old in places if key.startswith(old)), "")
        state[places.get(start, "encoder.backbone.") + key.removeprefix(start)] = value
    model.load_state_dict(state)  # no key is left, and none is missing
    return network, model


@pytest.mark.parametrize(
    ("pool", "options"), [("cls", {}), ("mean", {"global_pool": "avg"})]
)
def test_the_classifier_is_timms(monkeypatch, pool, options):
    network, model = model_of(monkeypatch, pool, **options)
    x = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(model.raw(x).logits, network(x), atol=1e-5, rtol=0)


def test_maps_of_a_class_are_the_hand_written_ones(monkeypatch):
    network, model = model_of(monkeypatch, "cls")
    for item in network.modules():
        if hasattr(item, "fused_attn"):
            item.fused_attn = False
    kept, tokens, x = [], [], torch.randn(1, 3, 224, 224)
    for block in network.blocks:
        block.attn.attn_drop.register_forward_hook(lambda _m, _i, out: kept.append(out))
        block.register_forward_hook(lambda _m, _i, out: tokens.append(out))
    logit = network(x)[0, 1]
    slopes = torch.autograd.grad(logit, [*kept, tokens[1]])
    relevance = torch.eye(197)
    for a, g in zip(kept, slopes[:-1], strict=True):
        relevance = relevance + (a * g)[0].clamp(min=0).mean(0) @ relevance
    a, g = tokens[1][0, 1:], slopes[-1][0, 1:]
    wanted = {"chefer": relevance[0, 1:], "gradcam": (a * g.mean(0)).sum(-1).relu()}
    for name, values in wanted.items():
        method = get_method(name)
        with torch.no_grad(), model.encoder.also(method.taps(model)):
            found = method.map(model, model.encoder(x), 1, image_of(x))
        drawn = values.detach().reshape(1, 14, 14)
        torch.testing.assert_close(found, drawn, atol=1e-5, rtol=1e-4)
    fused = [m.fused_attn for m in model.modules() if hasattr(m, "fused_attn")]
    assert all(fused)


def test_a_hierarchy_has_no_class_token():
    encoder = network_of("swin_tiny_patch4_window7_224")
    assert encoder.strides == (32,)
    x = torch.randn(1, 3, 224, 224, requires_grad=True)
    tokens, features = encoder.trace(x, "layers.1")
    (slope,) = torch.autograd.grad(features.last.sum(), tokens)
    assert encoder.placed(slope, x, "layers.1").shape == (1, 48, 28, 28)
    spec = ModelSpec(encoder="timm:swin_tiny_patch4_window7_224", classes=("a",))
    assert "class token" in unavailable(Model(spec), "chefer")


@pytest.mark.parametrize("name", ["beit_base_patch16_224", "vit_tiny_patch16_224"])
def test_windows_of_the_trained_size(name):
    encoder = network_of(name)
    x = torch.randn(1, 3, 224, 448)
    with torch.inference_mode():
        left = encoder(x[..., :224]).last
        encoder.by_windows()
        both = encoder(x).last
    assert both.shape == (1, 64, 14, 28)
    torch.testing.assert_close(both[..., :14], left, atol=1e-5, rtol=0)


def test_names_and_options_that_timm_has_not():
    for name in ("vit_nosuch", "hf-hub:timm/vit_tiny_patch16_224.augreg_in21k"):
        with pytest.raises(ConfigError, match="no name of its own"):
            TimmTokens(name)
    with pytest.raises(ConfigError, match="reg_tokenz"):
        TimmTokens("vit_tiny_patch16_224", options={"reg_tokenz": 4})
    with pytest.raises(ConfigError, match="no layer cls"):
        TimmTokens("swin_tiny_patch4_window7_224", options=STAGES, pooling="cls")
    assert build_encoder("timm:vit_tiny_patch16_224").readable_layers[-1] == "patches"
