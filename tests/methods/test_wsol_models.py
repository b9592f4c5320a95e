"""The WSOL networks that are more than a pooling, against what their code gave."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from napari_wsol.encoders import Features, build_encoder
from napari_wsol.errors import ConfigError
from napari_wsol.methods import Model, ModelSpec, get_method
from napari_wsol.methods.maxmin import mask
from napari_wsol.methods.negev import TAPS

ADL_BLOCKS = {"layer3": (0, 2, 3, 4, 5, 6), "layer4": (0, 2, 3)}
"""Where the authors' numbers of blocks skip ADL's layers, which have no weights."""


def build(*heads, encoder="wsol_resnet50", taps=None, **options):
    """A model that draws its maps where the authors do."""
    strides = build_encoder(encoder, taps=taps).strides
    spec = ModelSpec(
        encoder=encoder,
        classes=("benign", "malignant"),
        heads=heads,
        options=options,
        taps=taps,
        offsets=tuple((stride - 1) / 2 for stride in strides),
    )
    return Model(spec).eval()


def load(model, head, state):
    """A whole model in one file: what the head does not know is the encoder's."""
    own = set(model.heads[head].state_dict())
    model.heads[head].load_state_dict({key: state[key] for key in own})
    model.encoder.load_state_dict({k: v for k, v in state.items() if k not in own})


def targets(maps):
    """The golden maps of two images are those of their labels, 0 and 1."""
    return torch.stack([maps[0, 0], maps[1, 1]])


@pytest.mark.slow
def test_acol_gives_the_authors_logits_and_fused_maps(golden):
    case = golden("wsol_ACoL_resnet50")
    model = build("acol")
    load(model, "acol", case.state())
    raw = model.raw(case.x)
    case.close("cl_logits", raw.logits)
    case.close("cams", targets(raw.maps))
    with torch.inference_mode():
        one = get_method("acol").map(model, model.encoder(case.x), 1)
    torch.testing.assert_close(one, raw.maps[:, 1])


def test_adl_gives_the_authors_logits_and_maps(golden):
    case = golden("wsol_ADL_resnet50")
    state = case.state()
    for layer, blocks in ADL_BLOCKS.items():
        for index, published in enumerate(blocks):
            for key in [
                key for key in state if key.startswith(f"{layer}.{published}.")
            ]:
                rest = key.split(".", 2)[2]
                state[f"{layer}.{index}.{rest}"] = state.pop(key)
    model = build("adl")
    load(model, "adl", state)
    raw = model.raw(case.x)
    case.close("cl_logits", raw.logits)
    maps = targets(raw.maps)
    case.close("cams", maps)
    # These values are small: the tolerance of the fixture alone would say little.
    np.testing.assert_allclose(maps, case.outputs["cams"], atol=1e-7)


def test_spg_gives_the_authors_logits_and_maps(golden):
    case = golden("wsol_SPG_resnet50")
    guides = ("SPG_B", "SPG_C")  # branches that are read in training only
    state = {k: v for k, v in case.state().items() if not k.startswith(guides)}
    model = build("spg", encoder="wsol_spg_resnet50")
    load(model, "spg", state)
    raw = model.raw(case.x)
    case.close("cl_logits", raw.logits)
    case.close("cams", targets(raw.maps))


def maxmin(case, **options):
    model = build("maxmin", maxmin=options)
    state = case.state()
    prefix = "encoder."
    encoder = {k.removeprefix(prefix): v for k, v in state.items() if prefix in k}
    model.encoder.load_state_dict(encoder)
    head = {key: value for key, value in state.items() if prefix not in key}
    model.heads["maxmin"].load_state_dict(head)
    return model


@torch.no_grad()
def test_maxmin_gives_the_authors_mask_and_logits(golden):
    case = golden("wsol_maxmin_resnet50")
    model = maxmin(case)
    features = model.encoder(case.x)
    head = model.heads["maxmin"]
    case.close("cl_logits", model.raw(case.x).logits)
    scaled = head.scaled_mean(features)
    full = mask(
        functional.interpolate(
            scaled[:, None], case.x.shape[-2:], mode="bilinear", align_corners=True
        )
    )
    case.close("cam_stride2", full[..., ::2, ::2])
    for name, seen in (("pos", full), ("neg", 1 - full)):
        second = head.classification_head2(model.encoder(case.x * seen))
        case.close(f"logits_{name}", second)
    ours = get_method("maxmin").map(model, features, 0)
    torch.testing.assert_close(ours, mask(scaled))
    corners = full[0, 0, [0, 0, -1, -1], [0, -1, 0, -1]]
    torch.testing.assert_close(ours[0, [0, 0, -1, -1], [0, -1, 0, -1]], corners)


@torch.no_grad()
def test_maxmin_with_wildcats_minimum_departs_from_the_authors_code(golden):
    case = golden("wsol_maxmin_resnet50")
    model = maxmin(case, kmin=0.1, alpha=0.6)
    features = model.encoder(case.x)
    cells = model.heads["maxmin"].class_maps(features).flatten(2).sort(-1).values
    paper = torch.from_numpy(case.outputs["cl_logits"]) + 0.6 * cells[..., :6].mean(-1)
    torch.testing.assert_close(model.image_logits(features), paper, atol=1e-4, rtol=0)


@torch.no_grad()
def test_negev_gives_the_authors_logits_and_full_size_map(golden):
    case = golden("wsol_negev_unet_resnet50")
    model = build("cam", "negev", taps=TAPS, cam={"background": True})
    model.encoder.load_state_dict(case.part("encoder."))
    model.heads["cam"].load_state_dict(case.part("classification_head."))
    parts = ("decoder.", "segmentation_head.")
    head = {k: v for k, v in case.state().items() if k.startswith(parts)}
    model.heads["negev"].load_state_dict(head)
    features = model.encoder(case.x)
    case.close("cl_logits", model.image_logits(features))
    logits = model.heads["negev"](features)
    assert logits.shape == (1, 2, 64, 64)
    case.close("fcams", logits[..., ::2, ::2])
    method = get_method("negev")
    assert method.stride(model, features) == 1
    case.close("fg_map", method.map(model, features, 0)[0, ::2, ::2])


@torch.no_grad()
def test_negev_lies_where_the_encoder_looks():
    model = build("cam", "negev", encoder="resnet18", taps=TAPS)
    features = model.encoder(torch.randn(1, 3, 66, 40))
    method = get_method("negev")
    nominal = method.map(model, features, 1)
    assert nominal.shape == (1, 66, 40)
    two_later = tuple(offset + 2 for offset in features.offsets)
    later = Features(features.maps, features.strides, two_later, features.names)
    moved = method.map(model, later, 1)
    torch.testing.assert_close(moved[:, 2:, 2:], nominal[:, :-2, :-2])


def test_negev_says_which_taps_it_reads():
    with pytest.raises(ConfigError, match="stem, layer1, layer2, layer3, layer4"):
        build("cam", "negev", encoder="resnet18", taps=("layer4",))


@pytest.mark.parametrize("head", ["acol", "adl", "spg", "maxmin"])
@torch.no_grad()
def test_a_constant_image_gives_finite_maps(head):
    model = build(head, encoder="resnet18")
    features = model.encoder(torch.zeros(2, 3, 33, 40))
    flat = Features(
        (torch.ones_like(features.last),),
        features.strides,
        features.offsets,
        features.names,
    )
    for seen in (features, flat):
        values = get_method(head).map(model, seen, 1)
        assert values.shape == (2, 2, 2)
        assert values.isfinite().all()


def test_spgs_encoder_is_the_wsol_one_under_other_names():
    spg, plain = build_encoder("wsol_spg_resnet50"), build_encoder("wsol_resnet50")
    assert (spg.strides, spg.offsets, spg.halo, spg.channels) == (
        plain.strides,
        plain.offsets,
        plain.halo,
        plain.channels,
    )
    assert len(spg.state_dict()) == len(plain.state_dict())
