"""Somebody's own ResNet, DenseNet, VGG or ViT, as training scripts save them."""

import argparse
import gzip
import json
import os
import pathlib
import re
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from napari_wsol.checkpoints import families, recognise
from napari_wsol.checkpoints.draft import Answers, Source
from napari_wsol.encoders import build_encoder
from napari_wsol.errors import ConfigError, ModelError, UnansweredError
from napari_wsol.images.preprocessing import prepare
from napari_wsol.inference.whole_image import localize
from napari_wsol.methods import get_method
from napari_wsol.zoo import load_model

FILE = Path(__file__).with_name("networks.keys.json.gz")
NETWORKS = {
    "resnet18": ("resnet18", "cam"),
    "resnet50": ("resnet50", "cam"),
    "densenet121": ("densenet121", "cam"),
    "vgg16": ("vgg16", "vgg"),
    "timm_vit_base_patch16_224": ("deit_base", "linear"),
    "torchvision_vit_b_16": ("deit_base", "linear"),
}
ANSWERS = {"activation": "softmax", "size": "224", "normalisation": "imagenet"}


@pytest.fixture(scope="module")
def shapes():
    with gzip.open(FILE, "rt") as file:
        return {name: dict(rows) for name, rows in json.load(file).items()}


def last_layer(keys):
    return [key for key in keys if key.endswith("weight")][-1]


def made(keys, classes):
    """Random weights of these names and shapes, with so many classes."""
    generator = torch.Generator().manual_seed(0)
    last, state = last_layer(keys), OrderedDict()
    for key, listed in keys.items():
        is_last = re.sub("bias$", "weight", key) == last
        shape = [classes, *listed[1:]] if is_last else listed
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(7)
        elif key.endswith("running_var") or (len(shape) == 1 and "weight" in key):
            state[key] = torch.rand(shape, generator=generator) + 0.5
        else:
            fan = max(1, torch.Size(shape[1:]).numel())
            state[key] = torch.randn(shape, generator=generator) * (2 / fan) ** 0.5
    return state


def under(prefix, state):
    return OrderedDict((prefix + key, value) for key, value in state.items())


class Settings:
    """An object that only its authors' code could build."""

    def __init__(self):
        self.rate, self.where = 0.1, pathlib.Path("runs")


def lightning(state):
    return {
        "epoch": 3,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": {**under("model.net.", state), "criterion.weight": torch.ones(4)},
        "loops": {"fit_loop": {"state_dict": {}, "batches": {"ready": 2}}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(2, 2)}}}],
        "lr_schedulers": [],
        "hyper_parameters": argparse.Namespace(lr=0.1, data=pathlib.Path("data")),
        "callbacks": {"Checkpoint": {"best": torch.tensor(0.5), "dir": Settings()}},
    }


def with_ema(state):
    worse = {key: value + 1 for key, value in state.items()}
    averaged = {"n_averaged": torch.tensor(9), **under("module.", state)}
    return {"model": under("module.", worse), "ema": averaged, "epoch": 5}


WRAPPINGS = {
    "bare": lambda state: state,
    "parallel": lambda state: {"state_dict": under("module.", state), "epoch": 1},
    "lightning": lightning,
    "compiled": lambda state: {"params": under("_orig_mod.backbone.", state)},
    "ema": with_ema,
    "backwards": lambda state: OrderedDict(reversed(state.items())),
    "in no list": lambda state: ("v1", {"my weights": [{"x": under("a.b.c.", state)}]}),
}


def saved(tmp_path, content):
    torch.save(content, tmp_path / "own.pth")
    return tmp_path / "own.pth"


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize(
    "name", ["resnet18", pytest.param("densenet121", marks=pytest.mark.slow)]
)
def test_a_wrapped_network_is_the_bare_one(tmp_path, shapes, name, wrapping):
    state = made(shapes[name], 3)
    path = saved(tmp_path, WRAPPINGS[wrapping](state))
    answers = {**ANSWERS, "classes": "a, b, c"}
    draft = recognise(path, answers)
    assert draft.spec.encoder == name
    first, last = next(iter(state)), last_layer(state)
    assert torch.equal(draft.weights[f"encoder.{first}"], state[first])
    assert torch.equal(draft.weights["heads.cam.fc.weight"], state[last])
    if wrapping == "ema":
        assert any("Took `ema`, left `model`" in note for note in draft.notes)
        other = recognise(path, {**answers, "network": "model"})
        assert torch.equal(other.weights[f"encoder.{first}"], state[first] + 1)


@pytest.mark.parametrize("classes", [2, 14])
@pytest.mark.parametrize(
    "wrapping",
    [
        "backwards",
        *(pytest.param(x, marks=pytest.mark.slow) for x in ("bare", "lightning")),
    ],
)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_keeps_its_classifier(shapes, name, wrapping, classes):
    encoder, head = NETWORKS[name]
    # Names and shapes are what counts: each tensor shows one stretch of zeros.
    zeros = torch.zeros(1 << 27)
    state = {
        key: zeros[: torch.Size(shape).numel()].view(shape)
        for key, shape in shapes[name].items()
    }
    last = last_layer(state)
    for key in (last, last.replace("weight", "bias")):
        state[key] = torch.ones(classes, *state[key].shape[1:])
    names = ",".join(f"c{index}" for index in range(classes))
    draft = draft_of(WRAPPINGS[wrapping](state), {**ANSWERS, "classes": names})
    assert (draft.spec.encoder, draft.spec.heads) == (encoder, (head,))
    rows = [x for key, x in draft.weights.items() if key.startswith(f"heads.{head}.")]
    assert rows[-1].shape == (classes,)
    assert bool(rows[-1].all())


def test_a_transformer_of_larger_images_says_their_size(shapes):
    state = {k: torch.zeros(x) for k, x in shapes["timm_vit_base_patch16_224"].items()}
    state["pos_embed"] = torch.zeros(1, 1 + 24 * 24, 768)
    state["head.weight"], state["head.bias"] = torch.ones(2, 768), torch.ones(2)
    given = {key: value for key, value in ANSWERS.items() if key != "size"}
    spec = draft_of(state, {**given, "classes": "a, b"}).spec
    assert (spec.encoder, spec.preprocessing.size) == ("deit_base_384", 384)


def draft_of(content, answers):
    """What is made of the content of a file, which is not written."""
    flat = {}

    def read(table, before):
        for key, value in table.items():
            if isinstance(value, torch.Tensor):
                flat[before + key] = value
            elif isinstance(value, dict):
                read(value, f"{before}{key}.")

    read(content, "")
    source = Source(Path("own.pth"), {"own": families.modern_names(flat)})
    return families.recognise(source, Answers(answers))


def picture(side=224):
    rng = np.random.default_rng(3)
    return rng.integers(0, 255, (side, side, 3)).astype(np.uint8)


def normalised(pixels):
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((torch.tensor(pixels) / 255 - mean) / std).permute(2, 0, 1)[None].float()


def norm(x, state, name):
    stats = [f"{name}.{part}" for part in ("running_mean", "running_var")]
    weights = [state[f"{name}.weight"], state[f"{name}.bias"]]
    return functional.batch_norm(x, *(state[key] for key in stats), *weights)


def resnet18(x, state):
    """torchvision's ResNet-18 to its last map, by hand."""
    x = functional.conv2d(x, state["conv1.weight"], stride=2, padding=3)
    x = functional.max_pool2d(norm(x, state, "bn1").relu(), 3, 2, 1)
    for layer in range(1, 5):
        for block in range(2):
            at, stride = f"layer{layer}.{block}.", 2 if layer > 1 and not block else 1
            y = functional.conv2d(x, state[f"{at}conv1.weight"], None, stride, 1)
            y = norm(y, state, f"{at}bn1").relu()
            y = norm(
                functional.conv2d(y, state[f"{at}conv2.weight"], padding=1),
                state,
                f"{at}bn2",
            )
            if f"{at}downsample.0.weight" in state:
                x = functional.conv2d(
                    x, state[f"{at}downsample.0.weight"], None, stride
                )
                x = norm(x, state, f"{at}downsample.1")
            x = (x + y).relu()
    return x


def gradcam(features, head, target):
    """Selvaraju 2017, equations 1 and 2."""
    features = features.detach().requires_grad_()
    (slope,) = torch.autograd.grad(head(features)[0, target], features)
    return (slope.mean((2, 3), keepdim=True) * features).sum(1).relu()[0].detach()


def close(found, wanted):
    wanted = wanted.detach()
    assert torch.allclose(found, wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))


@pytest.mark.parametrize("classes", [2, 3, 14])
def test_maps_of_a_resnet_are_those_made_by_hand(tmp_path, shapes, classes):
    state = made(shapes["resnet18"], classes)
    names = ",".join(f"c{index}" for index in range(classes))
    answers = {**ANSWERS, "classes": names}
    model = load_model(saved(tmp_path, lightning(state)), "cpu", answers)
    x = normalised(picture())
    with torch.no_grad():
        features = model.encoder(x)
        wanted = resnet18(x, state)
    weight, bias = state["fc.weight"], state["fc.bias"]
    cam = torch.einsum("c,chw->hw", weight[1], wanted[0])
    close(get_method("cam").map(model, features, 1)[0], cam)
    by_hand = gradcam(wanted, lambda x: x.mean((2, 3)) @ weight.T + bias, 1)
    close(get_method("gradcam").map(model, features, 1)[0].relu(), by_hand)
    logits = wanted.mean((2, 3)) @ weight.T + bias
    close(model.probabilities(features), logits.softmax(-1))
    found = localize(model, picture(), ["cam"], "c1").heatmaps["cam"]
    assert found.scale == (32, 32)


def test_grad_cam_of_a_vgg_is_that_made_by_hand(tmp_path):
    """Small hidden layers: its own ones have 480 MB."""
    torch.manual_seed(0)
    state = dict(build_encoder("vgg16").state_dict())
    layers = {"0": (16, 512 * 49), "3": (8, 16), "6.1": (3, 8)}
    for at, shape in layers.items():
        state[f"classifier.{at}.weight"] = torch.randn(shape) / shape[1] ** 0.5
        state[f"classifier.{at}.bias"] = torch.rand(shape[0])
    path = saved(tmp_path, {"net": under("module.", state)})
    model = load_model(path, "cpu", {**ANSWERS, "classes": "a,b,c"})

    def head(x):
        x = functional.adaptive_avg_pool2d(x, 7).flatten(1)
        for at in layers:
            if at != "0":
                x = x.relu()
            weight, bias = (state[f"classifier.{at}.{x}"] for x in ("weight", "bias"))
            x = functional.linear(x, weight, bias)
        return x

    with torch.no_grad():
        features = model.encoder(normalised(picture(256)))
    close(model.image_logits(features), head(features.last).detach())
    found = get_method("gradcam").map(model, features, 2)[0]
    close(found.relu(), gradcam(features.last, head, 2))
    assert model.card.primary == "gradcam"


def test_a_fourth_layer_of_a_vgg_is_asked_about(shapes):
    """Nothing tells whether a ReLU lies before it."""
    zeros = torch.zeros(1 << 27)
    state = {
        key: zeros[: torch.Size(shape).numel()].view(shape)
        for key, shape in shapes["vgg16"].items()
    }
    state["classifier.7.weight"] = torch.ones(3, len(state["classifier.6.weight"]))
    draft = draft_of(state, {**ANSWERS, "head": "leave"})
    assert draft.spec.heads == ()
    with pytest.raises(ConfigError, match="choose one of leave"):
        draft_of(state, {**ANSWERS, "head": "classifier.7"})


def test_one_logit_is_a_sigmoid(tmp_path, shapes):
    path = saved(tmp_path, made(shapes["resnet18"], 1))
    with pytest.raises(ConfigError, match="choose one of sigmoid"):
        recognise(path, {**ANSWERS, "classes": "tumour"})


@pytest.mark.slow
def test_chexnet_and_torchxrayvision_need_no_answers(tmp_path, shapes):
    state = made(shapes["densenet121"], 14)
    old = {
        key.replace(".norm1.", ".norm.1.")
        .replace(".conv1.", ".conv.1.")
        .replace(".norm2.", ".norm.2.")
        .replace(".conv2.", ".conv.2.")
        .replace("classifier.", "classifier.0."): value
        for key, value in state.items()
    }
    content = {"state_dict": under("module.densenet121.", old), "best_loss": 0.1}
    draft = recognise(saved(tmp_path, content))
    assert draft.system == "CheXNet"
    assert draft.spec.classes[8:10] == ("Consolidation", "Edema")
    assert draft.spec.multi_label
    assert draft.spec.preprocessing.size == 224
    state = made(shapes["densenet121"], 18)
    state["features.conv0.weight"] = state["features.conv0.weight"].sum(1, keepdim=True)
    state["op_threshs"] = torch.rand(18)
    path = saved(tmp_path, state)
    model = load_model(path, "cpu")
    assert model.classes[:2] == ("Atelectasis", "Consolidation")
    x = torch.rand(1, 1, 224, 224) * 2048 - 1024
    assert model.probabilities(model.encoder(x)).shape == (1, 18)
    grey = np.full((224, 224, 3), 255, np.uint8)
    assert prepare(grey, model.preprocessing).max() == pytest.approx(1024)
    other = recognise(path, {"classes": ",".join(map(str, range(18))), "size": "512"})
    assert other.spec.preprocessing.size == 512
    assert other.spec.classes[0] == "0"


def test_all_that_is_missing_is_asked_at_once(tmp_path, shapes):
    path = saved(tmp_path, made(shapes["resnet18"], 3))
    with pytest.raises(UnansweredError) as caught:
        recognise(path)
    keys = [item.key for item in caught.value.questions]
    assert sorted(keys) == ["activation", "classes", "normalisation", "size"]
    with pytest.raises(UnansweredError, match="asks for colour"):
        recognise(path, {"colour": "red"})
    answers = {**ANSWERS, "classes": "a,b,c", "colour": "red"}
    with pytest.raises(
        ConfigError, match=r"asks for colour.*activation, classes, head"
    ):
        recognise(path, answers)
    for key, wrong in [("size", "large"), ("normalisation", "1,2,3"), ("classes", "a")]:
        answers = {**ANSWERS, "classes": "a,b,c", key: wrong}
        with pytest.raises(ConfigError, match=key if key != "classes" else "3 classes"):
            recognise(path, answers)
    numbers = "0.7 0.6 0.7, 0.2 0.2 0.2"
    answers = {**ANSWERS, "classes": "a,b,c", "normalisation": numbers, "size": "any"}
    how = recognise(path, answers).spec.preprocessing
    assert (how.mean, how.std, how.size) == ((0.7, 0.6, 0.7), (0.2,) * 3, None)


@pytest.mark.slow
def test_a_head_is_never_dropped_in_silence(tmp_path, shapes):
    state = made(shapes["resnet18"], 1000)
    path = saved(tmp_path, state)
    draft = recognise(path)
    assert draft.spec.heads == ()
    assert "head=keep" in " ".join(draft.notes)
    names = ",".join(map(str, range(1000)))
    draft = recognise(path, {**ANSWERS, "head": "keep", "classes": names})
    assert draft.spec.heads == ("cam",)
    encoder = {key: x for key, x in state.items() if not key.startswith("fc.")}
    mlp = {"fc.0.weight": torch.rand(256, 512), "fc.2.weight": torch.rand(3, 256)}
    two = {"organ.weight": torch.rand(4, 512), "stain.weight": torch.rand(2, 512)}
    normed = {"fc.0.weight": torch.rand(512), "fc.1.weight": torch.rand(3, 512)}
    apart = {"bn.weight": torch.rand(512), "classifier.weight": torch.rand(3, 512)}
    for beside in (mlp, two, normed, apart):
        path = saved(tmp_path, {**encoder, **beside})
        with pytest.raises(UnansweredError, match="head") as caught:
            recognise(path)
        (question,) = [item for item in caught.value.questions if item.key == "head"]
        assert "leave" in question.choices
        assert recognise(path, {"head": "leave"}).spec.heads == ()
    path = saved(tmp_path, {**encoder, **two})
    answers = {**ANSWERS, "head": "stain", "classes": "HE,IHC"}
    draft = recognise(path, answers)
    assert torch.equal(draft.weights["heads.cam.fc.weight"], two["stain.weight"])
    assert "organ.weight" in " ".join(draft.notes)


def test_networks_of_another_form_are_no_wrong_load(tmp_path, shapes):
    state = made(shapes["resnet50"], 3)
    state["layer3.6.conv1.weight"] = state["layer3.5.conv1.weight"]
    with pytest.raises(ModelError, match=r"resnet50.*layer3\.6\.conv1"):
        recognise(saved(tmp_path, state))
    state = made(shapes["timm_vit_base_patch16_224"], 2)
    for extra in ("dist_token", "reg_token", "blocks.0.ls1.gamma"):
        more = {extra: torch.rand(1, 1, 768)}
        with pytest.raises(ModelError, match=f"{extra}.*--preset"):
            draft_of({**state, **more}, {})


def test_what_runs_code_is_refused_and_what_does_not_is_passed_over(tmp_path, shapes):
    class Harmful:
        def __reduce__(self):
            return (os.system, ("touch it-ran",))

    state = made(shapes["resnet18"], 3)
    with pytest.raises(ModelError, match=r"system.*not opened"):
        recognise(saved(tmp_path, {"state_dict": state, "hook": Harmful()}))
    whole = {"model": torch.nn.Linear(2, 2), "epoch": 3}
    with pytest.raises(ModelError, match="state_dict"):
        recognise(saved(tmp_path, whole))
