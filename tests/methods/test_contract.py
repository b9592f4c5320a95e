"""One contract for every encoder and every method that is registered."""

import re

import numpy as np
import pytest
import torch

from napari_wsol.config import InferenceConfig
from napari_wsol.encoders import build_encoder, list_encoders
from napari_wsol.encoders.presets import PRESETS
from napari_wsol.inference.whole_image import localize
from napari_wsol.methods import Model, ModelSpec, get_method, list_methods
from napari_wsol.methods.heads import list_heads

PLAIN = {"encoder": "mobilenet_v2", "taps": ("features.3", "features.6")}
PYRAMID = ("layer1", "layer2", "layer3", "layer4")
SPECS = {
    "adl": {**PLAIN, "heads": ("adl",)},
    "acol": {**PLAIN, "heads": ("acol",)},
    "attention_mil": {"encoder": "amil_cnn", "tile": 28, "heads": ("attention_mil",)},
    "chefer": {"encoder": "deit_tiny", "heads": ("linear",)},
    "linear": {"encoder": "deit_tiny", "heads": ("linear",)},
    "mil_evidence": {"encoder": "amil_cnn", "tile": 28, "heads": ("clam_sb",)},
    "mil_tile": {"encoder": "amil_cnn", "tile": 28, "heads": ("additive_mil",)},
    "negev": {
        "encoder": "wsol_resnet18",
        "taps": ("stem", *PYRAMID),
        "heads": ("cam", "negev"),
    },
    "pixelcam": {**PLAIN, "heads": ("cam", "pixelcam")},
    "pylon": {"encoder": "resnet18", "taps": PYRAMID, "heads": ("pylon",)},
    "rollout": {"encoder": "deit_tiny", "heads": ("tscam",)},
    "scorecam_groups": {  # more channels than groups
        "encoder": "mobilenet_v2",
        "taps": ("features.6", "features.7"),
        "heads": ("cam",),
    },
    "sat": {"encoder": "deit_sat_tiny", "heads": ("sat",)},
    "spg": {"encoder": "wsol_spg_resnet50", "heads": ("spg",)},
    "tscam": {"encoder": "deit_tiny", "heads": ("tscam",)},
}
"""How a small model that supports a method is built, where PLAIN will not do."""

HEADLESS = {"eigencam": "cam", "gradcam": "cam", "gradcam++": "pcam", "layercam": "lse"}
HEADLESS |= {"scorecam": "cam", "smoothgradcam++": "cam", "xgradcam": "deepmil"}
HEADLESS |= {"finercam": "cam", "hirescam": "maxpool", "occlusion": "cam"}
"""Read-outs that take any classifier: which one here."""


def model_for(name):
    """A small network with random weights that supports a method."""
    torch.manual_seed(1)
    made = SPECS.get(name, {**PLAIN, "heads": (HEADLESS.get(name, name),)})
    model = Model(ModelSpec(classes=("a", "b"), **made)).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.0)
    return model


@pytest.fixture(scope="module")
def models():
    made = {}

    def get(name):
        if name not in made:
            made[name] = model_for(name)
        return made[name]

    return get


def side_of(model):
    return model.encoder.fixed_size or 84


def features_of(model, x, method):
    with model.encoder.also(method.taps(model)):
        return model.encoder(x)


def picture(height, width, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.integers(40, 200, (height, width, 3)).astype(np.uint8)
    image[height // 4 : height // 2, width // 4 : width // 2] //= 3
    return image


@pytest.mark.parametrize("name", list_methods())
def test_a_map_is_what_it_claims_to_be(models, name):
    """Shape, dtype and range, the same again, and on an image of odd size."""
    model = models(name)
    image = picture(83, 117)
    first = localize(model, image, [name], "b").heatmaps[name]
    second = localize(model, image, [name], "b").heatmaps[name]
    assert first.values.dtype == np.float32
    assert first.values.ndim == 2
    assert np.isfinite(first.values).all()
    assert first.values.min() >= 0
    assert first.values.max() <= 1
    assert np.array_equal(first.values, second.values)
    assert first.is_probability == get_method(name).is_probability
    for axis, length in enumerate(image.shape[:2]):
        covered = first.values.shape[axis] * first.scale[axis]
        assert covered >= length - 28  # a rim that fills no tile may be left out
        assert covered < length + 2 * first.scale[axis] + 28


@pytest.mark.parametrize("name", list_methods())
@pytest.mark.parametrize("shape", [(9, 8), (40, 31)])
def test_tiny_and_constant_images(models, name, shape):
    model = models(name)
    for image in (picture(*shape), np.full((*shape, 3), 127, np.uint8)):
        values = localize(model, image, [name], "a").heatmaps[name].values
        assert np.isfinite(values).all()
        assert values.min() >= 0
        assert values.max() <= 1


@pytest.mark.parametrize("name", list_methods())
def test_other_images_of_the_batch_do_not_matter(models, name):
    model, method = models(name), get_method(name)
    if method.reruns:
        pytest.skip("reads one image at a time: its own pixels, see localize")
    side = side_of(model)
    torch.manual_seed(5)
    x = torch.randn(2, 3, side, side)
    with torch.no_grad():
        both = method.map(model, features_of(model, x, method), 1)
        alone = method.map(model, features_of(model, x[1:], method), 1)
    scale = float(both[1:].abs().max()) or 1.0
    assert torch.allclose(both[1:], alone, atol=1e-4 * scale)
    assert both.dtype == torch.float32


@pytest.mark.parametrize("name", list_methods())
def test_tiles_give_what_the_whole_gives(models, name):
    model = models(name)
    if model.preprocessing.size is not None:
        pytest.skip("sees the whole image at once")
    heavy = name in ("scorecam", "spg", "negev", "occlusion")
    image = picture(74, 70) if heavy else picture(150, 130)
    whole = localize(model, image, [name], "b").heatmaps[name].values
    small = InferenceConfig(whole=32, core=64)
    tiled = localize(model, image, [name], "b", config=small).heatmaps[name].values
    assert np.abs(whole - tiled).max() < 1e-3


@pytest.mark.parametrize("name", [name for name in list_heads() if name != "pixelcam"])
def test_a_head_that_reads_cells_reads_each_by_itself(models, name):
    """Or a slide that is read tile by tile would have seams."""
    head, side = models(name).heads[name], side_of(models(name))
    if not head.has_maps:
        pytest.skip("no cell has a logit")
    torch.manual_seed(5)
    with torch.no_grad():
        features = models(name).encoder(torch.rand(1, 3, side, side))
        before = head.class_maps(features)
        features.last[..., 0, 0] += 1
        differs = (head.class_maps(features) - before).abs() > 1e-6
    differs[..., 0, 0] = False
    assert not (head.reads_cells and differs.any())


@pytest.mark.parametrize("name", list_methods())
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_close(models, name, dtype):
    model, method = models(name), get_method(name)
    if method.reruns:
        pytest.skip("what it runs again is the encoder, which is tested below")
    side = side_of(model)
    torch.manual_seed(6)
    x = torch.randn(1, 3, side, side)
    with torch.no_grad():
        features = features_of(model, x, method)
        full = method.map(model, features, 0).float()
        with torch.autocast("cpu", dtype=dtype):
            half = method.map(model, features, 0).float()
    scale = 1.0 if method.is_probability else float(full.abs().max())
    assert torch.isfinite(half).all()
    assert float((half - full).abs().max()) < 0.1 * scale


@pytest.mark.parametrize("name", list_methods())
def test_gradients_need_not_be_enabled(models, name):
    """Nor are they left behind."""
    model, method = models(name), get_method(name)
    if method.reruns:
        pytest.skip("tested through localize, which disables them")
    side = side_of(model)
    with torch.inference_mode():
        features = features_of(model, torch.randn(1, 3, side, side), method)
        values = method.map(model, features, 0)
    assert not values.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())


DEEPER = re.compile(
    r"(wsol_)?resnet(34|101|152)|densenet(169|201)|vgg19(_bn)?|vgg16_bn"
    r"|deit_(small|base).*|deit_tiny_384|deit_sat_(small|base)"
)
"""Those that differ in numbers only from one of their family that is not among them."""

ENCODERS = [
    pytest.param(name, marks=pytest.mark.slow if DEEPER.fullmatch(name) else ())
    for name in list_encoders()
    if "tiny-" not in name  # other tests' own
    and name not in PRESETS  # timm's: tests/with_timm
]


@pytest.fixture(scope="module")
def encoders():
    kept = {}

    def get(name):
        if name not in kept:
            kept.clear()  # some are large
            torch.manual_seed(2)
            kept[name] = build_encoder(name).eval()
            for module in kept[name].modules():
                if isinstance(module, torch.nn.Conv2d):
                    # Random weights as published ones: signals neither fade nor grow.
                    torch.nn.init.kaiming_normal_(module.weight)
        return kept[name]

    return get


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder(encoders, name):
    """Shapes as promised, the same again, no cross-talk, finite, close in halves."""
    encoder = encoders(name)
    height = width = encoder.fixed_size or 0
    if not height:
        height, width = 107, 131
    torch.manual_seed(7)
    x = torch.randn(2, 3, height, width)
    with torch.inference_mode():
        both = encoder(x)
        again = encoder(x)
        alone = encoder(x[1:])
        flat = encoder(torch.zeros(1, 3, height, width))
    assert both.names == encoder.taps
    for index, values in enumerate(both.maps):
        rows, columns = encoder.cells(height)[index], encoder.cells(width)[index]
        assert values.shape == (2, encoder.channels[index], rows, columns)
        assert values.dtype == torch.float32
        assert torch.equal(values, again.maps[index])
        scale = float(values.abs().max())
        assert torch.allclose(values[1:], alone.maps[index], atol=1e-4 * scale)
        assert torch.isfinite(flat.maps[index]).all()


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, pytest.param(torch.float16, marks=pytest.mark.slow)]
)
def test_every_encoder_in_half_precision(encoders, name, dtype):
    encoder = encoders(name)
    side = encoder.fixed_size or (96 if "inception" in name else 64)
    torch.manual_seed(8)
    x = torch.randn(1, 3, side, side)
    with torch.inference_mode():
        full = encoder(x).last
        with torch.autocast("cpu", dtype=dtype):
            half = encoder(x).last.float()
    assert torch.isfinite(half).all()
    # bfloat16 keeps 8 bits; in 50 layers of random weights their errors add up.
    allowed = 0.15 if dtype == torch.bfloat16 else 0.03
    assert float((half - full).norm() / full.norm()) < allowed
