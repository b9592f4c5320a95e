"""Encoders of PixelCAM's and PCAM's code, against what their authors' code gave."""

import gzip
import json
import re
from pathlib import Path

import pytest
import torch

from napari_wsol.encoders import build_encoder
from napari_wsol.encoders.inception import from_pcam_names
from napari_wsol.methods.cam import GapHead
from napari_wsol.methods.pixelcam import PixelHead

GOLDEN = Path(__file__).parents[1] / "golden"
# Listing, our encoder, prefix, and what of the file is no part of the encoder: layers
# listed twice, and ImageNet's classifiers.
LISTINGS = [
    ("pcam_densenet121", "densenet121", "backbone.", r"classifier\."),
    ("pcam_densenet169", "densenet169", "backbone.", r"classifier\."),
    ("pcam_densenet201", "densenet201", "backbone.", r"classifier\."),
    ("pcam_vgg19", "vgg19", "backbone.", r"classifier\."),
    ("pcam_vgg19_bn", "vgg19_bn", "backbone.", r"classifier\."),
    ("pcam_inception_v3", "inception_v3", "backbone.", r"fc\.|AuxLogits\."),
    ("pcam_inception_v3", "inception_v3_transform", "backbone.", r"fc\.|AuxLogits\."),
    ("pixelcam_inceptionv3_wgap", "wsol_inceptionv3", "encoder.", r"features\."),
    ("pixelcam_resnet50_wgap", "wsol_resnet50", "encoder.", None),
    ("pixelcam_vgg16_wgap", "wsol_vgg16", "encoder.", r"full_features\."),
]
BACKBONES = [
    ("pcam_densenet121_PCAM", "densenet121"),
    pytest.param("pcam_densenet169_PCAM", "densenet169", marks=pytest.mark.slow),
    pytest.param("pcam_vgg19_bn_PCAM", "vgg19_bn", marks=pytest.mark.slow),
    ("pcam_inception_v3_PCAM", "inception_v3"),
]


def kept(state, drop):
    """Without what is no part of the encoder, in our names."""
    state = {k: v for k, v in state.items() if not (drop and re.match(drop, k))}
    return from_pcam_names(state)


def encoder_of(case, name, prefix, drop):
    encoder = build_encoder(name).eval()
    encoder.load_state_dict(kept(case.part(prefix), drop))
    # As their authors place them: no resampling in a head.
    encoder.offsets = tuple((stride - 1) / 2 for stride in encoder.strides)
    return encoder


def backbone_of(case, name):
    return encoder_of(case, name, "backbone.", r"classifier\.|fc\.|AuxLogits\.")


def subsampled(features, expected):
    """Every n-th channel, as the fixtures keep them."""
    return features.last[:, :: features.last.shape[1] // expected.shape[1]]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("wsol_resnet50", 23_508_032),
        ("wsol_vgg16", 19_434_304),
        ("wsol_inceptionv3", 25_482_976),
    ],
)
def test_pixelcams_encoders_have_its_parameters(name, parameters):
    with torch.device("meta"):
        encoder = build_encoder(name)
    assert sum(p.numel() for p in encoder.parameters()) == parameters


@pytest.mark.parametrize(("listing", "name", "prefix", "drop"), LISTINGS)
def test_names_and_shapes_are_the_published_ones(listing, name, prefix, drop):
    with gzip.open(GOLDEN / f"{listing}.keys.json.gz", "rt") as file:
        listed = {key: tuple(shape) for key, shape, *_ in json.load(file)["keys"]}
    listed = {k[len(prefix) :]: v for k, v in listed.items() if k.startswith(prefix)}
    with torch.device("meta"):
        encoder = build_encoder(name)
    found = {key: tuple(value.shape) for key, value in encoder.state_dict().items()}
    assert found == kept(listed, drop)


def test_other_norms_keep_their_names():
    state = {
        "backbone.Mixed_5b.branch1x1.norm.weight": 0,
        "backbone.Conv2d_1a_3x3.norm.bias": 1,
        "Mixed_7c.branch_pool.norm.running_var": 2,
        "backbone.features.transition1.norm.weight": 3,
    }
    assert list(from_pcam_names(state)) == [
        "backbone.Mixed_5b.branch1x1.bn.weight",
        "backbone.Conv2d_1a_3x3.bn.bias",
        "Mixed_7c.branch_pool.bn.running_var",
        "backbone.features.transition1.norm.weight",
    ]


@pytest.mark.parametrize(
    ("case", "name", "drop"),
    [
        ("pixelcam_resnet50_wgap", "wsol_resnet50", None),
        ("pixelcam_inceptionv3_wgap", "wsol_inceptionv3", r"features\."),
    ],
)
def test_pixelcam(golden, case, name, drop):
    case = golden(case)
    encoder = encoder_of(case, name, "encoder.", drop)
    channels = encoder.channels[-1]
    classifier = GapHead(channels, 2, background=True)
    classifier.load_state_dict(case.part("classification_head."))
    pixels = PixelHead((channels,))
    pixels.load_state_dict(case.part("pixel_wise_classification_head."))
    with torch.inference_mode():
        features = encoder(case.x)
        case.close("enc_feat", subsampled(features, case.outputs["enc_feat"]))
        case.close("cl_logits", classifier(features))
        case.close("pixel_logits", pixels(features))


def test_pixelcams_inception_at_another_size(golden):
    case = golden("wsol_cam_inceptionv3")
    encoder = encoder_of(case, "wsol_inceptionv3", "encoder.", r"features\.")
    classifier = GapHead(1024, 2)
    classifier.load_state_dict(case.part("classification_head."))
    with torch.inference_mode():
        features = encoder(case.x)
        assert encoder.cells(67) == (10,)
        assert tuple(features.last.shape[-2:]) == case.outputs["CAM_cls1"].shape
        case.close("cl_logits", classifier(features))


@pytest.mark.parametrize(("case", "name"), BACKBONES)
def test_pcams_backbones(golden, case, name):
    case = golden(case)
    encoder = backbone_of(case, name)
    with torch.inference_mode():
        features = encoder(case.x)
    case.close("backbone_feat", subsampled(features, case.outputs["backbone_feat"]))


@pytest.mark.parametrize(
    ("name", "prefix"),
    [("inception_v3", ""), ("inception_v3_transform", "transform_input_")],
)
def test_pcams_inception_with_and_without_transformed_input(golden, name, prefix):
    case = golden("pcam_inception_v3_PCAM")
    encoder = backbone_of(case, name)
    state = case.state()
    kernel = torch.cat([state[f"fc_{index}.weight"] for index in range(5)])
    bias = torch.cat([state[f"fc_{index}.bias"] for index in range(5)])
    with torch.inference_mode():
        maps = torch.conv2d(encoder(case.x).last, kernel, bias)
        # Without batch norm and dropout the pooled logit is the weighted mean map.
        weights = maps.sigmoid()
        logits = (weights * maps).sum((-2, -1)) / weights.sum((-2, -1))
    case.close(f"{prefix}logit_maps", maps.transpose(0, 1))
    case.close(f"{prefix}logits", logits.T[..., None])
