"""DeiT, TS-CAM, SAT and attention rollout."""

import numpy as np
import pytest
import torch

from napari_wsol.encoders import build_encoder
from napari_wsol.encoders.attention import mix
from napari_wsol.errors import ConfigError, MethodUnavailableError
from napari_wsol.images.preprocessing import Preprocessing
from napari_wsol.inference.whole_image import check_methods, localize
from napari_wsol.methods import Model, ModelSpec, get_method, list_methods, unavailable
from napari_wsol.training.objectives import batch_area_loss, normalization_loss

TOKENS = 197


def model_of(case, encoder, heads):
    """A model with the weights of a case: head, pixel head, and all else."""
    options = {"pixelcam": {"maps": 1}} if "pixelcam" in heads else {}
    spec = ModelSpec(encoder=encoder, classes=("0", "1"), heads=heads, options=options)
    model = Model(spec).eval()
    rest = case.state()
    prefixes = {"pixelcam": "pixel_wise_classification_head."}
    for name in heads:
        prefix = prefixes.get(name, "")
        part = {
            key.removeprefix(prefix): rest.pop(key)
            for key in list(rest)
            if key.startswith(prefix or "head.")
        }
        model.heads[name].load_state_dict(part)
    model.encoder.load_state_dict(rest)
    return model


def features_and_maps(model, x, *names):
    """The encoder's maps, and each method's map of both classes."""
    methods = [get_method(name) for name in names]
    layers = [tap for method in methods for tap in method.taps(model)]
    with torch.inference_mode(), model.encoder.also(layers):
        features = model.encoder(x)
        maps = [[method.map(model, features, k) for k in (0, 1)] for method in methods]
    return features, maps


@pytest.fixture(scope="module")
def sat_model(golden):
    """SAT with a pixel head, with the weights of the case."""
    case = golden("pixelcam_deit_sat_tiny")
    return model_of(case, "deit_sat_tiny", ("sat", "pixelcam"))


@pytest.fixture(scope="module")
def tscam_model(golden):
    """TS-CAM with the weights of both cases."""
    return model_of(golden("wsol_tscam_tiny_survey"), "deit_tiny", ("tscam",))


@pytest.fixture
def tscam():
    """TS-CAM on a tiny DeiT with random weights."""
    torch.manual_seed(0)
    return Model(
        ModelSpec(encoder="deit_tiny", classes=("a", "b"), heads=("tscam",))
    ).eval()


def test_sat_with_a_pixel_head_gives_the_authors_numbers(golden, sat_model):
    case = golden("pixelcam_deit_sat_tiny")
    features, ((sat, other), (pixels, _)) = features_and_maps(
        sat_model, case.x, "sat", "pixelcam"
    )
    assert features.names == ("mask", "patches")
    case.close("patch_feat", features.last[:, ::32])
    case.close("sat_map", sat)
    assert torch.equal(sat, other)  # whatever the class
    case.close("fg_map", pixels[0])
    raw = sat_model.raw(case.x)
    case.close("cl_logits", raw.logits)
    case.close("pixel_logits", raw.maps)


def test_sat_losses_see_the_authors_mask(golden, sat_model):
    case, encoder = golden("pixelcam_deit_sat_tiny"), sat_model.encoder
    with torch.inference_mode(), encoder.also(["mask"]):
        gate = encoder(case.x).maps[0]
        # Their term is the gate's mean; 0.35 is taken off where they add up the loss.
        case.close("sat_ba", gate.mean().view(1))
        assert batch_area_loss(gate).item() == pytest.approx(0.440988 - 0.35, abs=1e-5)
        case.close("sat_norm", normalization_loss(gate, encoder.weight).view(1))


def test_the_gates_kernel_is_a_small_gaussian():
    kernel = build_encoder("deit_sat_tiny").weight
    expected = [[0.00263, 0.04601, 0.00263], [0.04601, 0.80544, 0.04601]]
    assert torch.allclose(kernel[0, 0, :2], torch.tensor(expected), atol=1e-5)
    assert kernel.shape == (1, 1, 3, 3)
    assert not kernel.requires_grad


def test_sat_small_has_the_published_names(golden):
    case = golden("pixelcam_deit_sat_tiny")
    case.about["state_dict_keys"] = "pixelcam_deit_sat_small.keys.json.gz"
    model = model_of(case, "deit_sat_small", ("sat", "pixelcam"))
    assert model.encoder.channels == (384,)


def test_tscam_gives_the_survey_s_numbers(golden, tscam_model):
    case = golden("wsol_tscam_tiny_survey")
    _, ((first, second),) = features_and_maps(tscam_model, case.x, "tscam")
    case.close("cam_cls0", first)
    case.close("cam_cls1", second)
    case.close("cl_logits", tscam_model.raw(case.x).logits)


def test_tscam_departs_from_the_copy_that_flattens_the_tokens(golden, tscam_model):
    case = golden("wsol_tscam_tiny_pixelcamrepo")
    paper = golden("wsol_tscam_tiny_survey")
    features, (ours,) = features_and_maps(tscam_model, case.x, "tscam")
    flat = features.last.mean((2, 3), keepdim=True).expand_as(features.last)
    with torch.inference_mode():
        theirs = tscam_model.heads["tscam"].head(flat)
    case.close("cl_logits", theirs.mean((2, 3)))
    attention = features.maps[0].sum(1)
    for k in (0, 1):
        case.close(f"cam_cls{k}", attention * theirs[:, k])
        paper.close(f"cam_cls{k}", ours[k])
        gap = np.abs(case.outputs[f"cam_cls{k}"] - np.asarray(ours[k]))
        assert gap.max() > 0.05


def test_uniform_attention_rolls_out_to_a_uniform_map():
    rollout = None
    for _ in range(12):
        rollout = mix(torch.full((1, TOKENS, TOKENS), 1 / TOKENS), rollout)
    assert rollout[0].sum(-1).allclose(torch.ones(TOKENS))
    assert rollout[0, 0, 1:].std() < 1e-6


def test_rollout_finds_the_one_patch_that_is_looked_at():
    attention = torch.eye(TOKENS)[None]
    attention[0, 0] = 0
    attention[0, 0, 40] = 1  # the class token looks at patch 39, each patch at itself
    rollout = None
    for _ in range(3):
        rollout = mix(attention, rollout)
    expected = torch.zeros(TOKENS)
    expected[40], expected[0] = 1 - 0.5**3, 0.5**3
    assert rollout[0, 0].allclose(expected)


def test_rollout_follows_attention_through_blocks():
    # The class token looks at patch 1 in block 2, which looked at patch 5 in block 1.
    first, second = torch.eye(TOKENS)[None], torch.eye(TOKENS)[None]
    first[0, 1], second[0, 0] = torch.eye(TOKENS)[5], torch.eye(TOKENS)[1]
    row = mix(second, mix(first))[0, 0]
    assert row[[0, 1, 5]].tolist() == [0.5, 0.25, 0.25]


def test_without_preferences_the_network_s_own_rollout_is_uniform(tscam):
    for block in tscam.encoder.blocks:
        torch.nn.init.zeros_(block.attn.qkv.weight)
    x = torch.randn(2, 3, 224, 224)
    _, ((rollout, _),) = features_and_maps(tscam, x, "rollout")
    assert rollout.shape == (2, 14, 14)
    assert rollout.std() < 1e-6


def test_rollout_looks_where_the_class_token_does(tscam):
    # All tokens attend to one patch: its key is large and so is every query.
    place = 3 * 14 + 9
    with torch.no_grad():
        tscam.encoder.pos_embed.zero_()
        tscam.encoder.pos_embed[0, 1 + place, 0] = 100
        for block in tscam.encoder.blocks:
            block.attn.qkv.weight.zero_()
            block.attn.qkv.bias.zero_()
            block.attn.qkv.bias[:192] = 1
            block.attn.qkv.weight[192:384, 0] = 1
    x = torch.zeros(1, 3, 224, 224)
    _, ((rollout, _),) = features_and_maps(tscam, x, "rollout")
    assert rollout.flatten().argmax() == place
    assert rollout[0, 3, 9] > 0.9


@pytest.mark.parametrize("name", ["deit_tiny", "deit_sat_tiny"])
def test_extra_maps_change_nothing_and_lie_on_the_patches(name):
    torch.manual_seed(0)
    plain = build_encoder(name).eval()
    own = [tap for tap in plain.layers if tap != "cls"]
    taps = [tap for tap in own if "." not in tap or tap == "blocks.11"]
    full = build_encoder(name, taps=taps).eval()
    full.load_state_dict(plain.state_dict())
    x = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        features = full(x)
        assert torch.equal(plain(x).last, features.last)
        last = full.norm(features.maps[-2].permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    assert features.names == tuple(taps)
    assert {tuple(item.shape[-2:]) for item in features.maps} == {(14, 14)}
    assert set(features.strides) == {16}
    assert set(features.offsets) == {7.5}
    assert torch.allclose(last, features.last, atol=1e-5)


def test_blocks_behind_the_last_tap_are_not_run():
    encoder = build_encoder("deit_tiny", taps=["blocks.2"]).eval()
    encoder.blocks[3].register_forward_hook(lambda *_: pytest.fail("block 3 ran"))
    with torch.inference_mode():
        assert encoder(torch.zeros(1, 3, 224, 224)).names == ("blocks.2",)


def test_a_transformer_reads_whole_patches():
    encoder = build_encoder("deit_tiny")
    with pytest.raises(ConfigError, match=r"patches of 16 .* size = 224"):
        encoder(torch.zeros(1, 3, 224, 250))
    with pytest.raises(ConfigError, match="stride is 16, not 8"):
        build_encoder("deit_sat_base", output_stride=8)


def test_every_map_is_said_to_be_there_or_why_not(tscam, small_model):
    assert {"tscam", "rollout"} <= set(list_methods(tscam))
    assert "deit_sat" in (unavailable(tscam, "sat") or "")
    for name in ("tscam", "rollout", "sat"):
        assert "transformer" in (unavailable(small_model, name) or "")
        with pytest.raises(MethodUnavailableError, match="Choose a model"):
            check_methods(small_model, [name])
    plain = Model(ModelSpec(encoder="deit_tiny", classes=("a", "b"))).eval()
    assert "not trained with" in (unavailable(plain, "tscam") or "")
    assert unavailable(plain, "rollout") is None


def test_one_encoding_serves_every_method_of_a_transformer(tissue):
    torch.manual_seed(0)
    spec = ModelSpec(
        encoder="deit_sat_tiny",
        classes=("a", "b"),
        heads=("tscam",),
        preprocessing=Preprocessing(size=224),
    )
    model = Model(spec).eval()
    found = localize(model, tissue, ["tscam", "sat", "rollout"], "b")
    for name, heatmap in found.heatmaps.items():
        assert heatmap.values.shape == (14, 14), name
        alone = localize(model, tissue, [name], "b").heatmaps[name]
        assert np.array_equal(heatmap.values, alone.values)
    assert model.encoder.taps == ("patches",)


def test_only_layers_with_all_tokens_can_be_chosen(tscam):
    check_methods(tscam, ["layercam@blocks.10"])
    with pytest.raises(MethodUnavailableError, match=r"blocks\.11, patches"):
        check_methods(tscam, ["layercam@attention"])
