import pytest
import torch
from torch.nn import functional

from napari_wsol.encoders import Features
from napari_wsol.errors import ConfigError
from napari_wsol.methods import Model, ModelSpec
from napari_wsol.training.objectives import LossConfig, class_losses, loss_of
from napari_wsol.training.recipe import DataConfig, Recipe
from napari_wsol.training.trainer import Learner, share_right

POOLINGS = [
    "cam",
    "gap",
    "maxpool",
    "lse",
    "prm",
    "wildcat",
    "deepmil",
    "acol",
    "adl",
    "spg",
    "tscam",
    "maxmin",
    "li2018",
    "pcam",
]
LABELS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])


def recipe_of(spec: ModelSpec, losses=None) -> Recipe:
    data = DataConfig(train="train", classes=spec.classes)
    return Recipe(name="toy", model=spec, data=data, losses=losses or {})


def spec_of(*heads: str, multi: bool = False, **more) -> ModelSpec:
    options = {
        "encoder": "mobilenet_v2",
        "taps": ("features.1",),
        "classes": ("a", "b"),
        "options": {"acol": {"mid_channels": 8}} if "acol" in heads else {},
    }
    return ModelSpec(**{**options, "heads": heads, "multi_label": multi, **more})


def learn(spec: ModelSpec, losses=None, labels=LABELS, size: int = 32):
    torch.manual_seed(0)
    learner = Learner(Model(spec), recipe_of(spec, losses)).train()
    pixels = torch.rand(len(labels), 3, size, size)
    found, logits = learner(pixels, labels, labels, None, 1.0)
    return learner, found, logits


@pytest.mark.parametrize("multi", [False, True])
@pytest.mark.parametrize("name", POOLINGS)
def test_every_head_that_classifies_is_trained(name, multi):
    learner, found, _ = learn(spec_of(name, multi=multi))
    assert list(found) == [name]
    found[name].backward()
    untrained = [
        key
        for key, parameter in learner.model.heads.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().sum() > 0
    ]
    # MaxMin's second head classifies masked images, which is not done; a branch of
    # ACoL needs images of one class.
    spared = ("maxmin.classification_head2", "acol.classifier_B" if multi else "-")
    assert [key for key in untrained if not key.startswith(spared)] == []


def test_defaults_are_those_of_the_papers():
    single, multi = spec_of("cam"), spec_of("cam", multi=True)
    named = {name: loss_of(name, single).loss for name in ("cam", "pcam", "pylon")}
    assert named == {"cam": "cross_entropy", "pcam": "bce", "pylon": "bce"}
    assert loss_of("pcam", multi).loss == "pcam"
    assert loss_of("gap", multi).loss == "bce"
    binary = spec_of("attention_mil", options={"attention_mil": {"binary": True}})
    assert loss_of("attention_mil", binary).loss == "bce"
    assert loss_of("attention_mil", single).loss == "cross_entropy"
    assert loss_of("pixelcam", single).loss == "seeds"


def test_losses_are_those_of_torch():
    _, found, logits = learn(spec_of("cam"), {"cam": LossConfig(smoothing=0.2)})
    target = LABELS.argmax(1)
    expected = functional.cross_entropy(logits, target, label_smoothing=0.2)
    assert torch.allclose(found["cam"], expected)
    several = torch.tensor([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    spec = spec_of("pcam", multi=True)
    _, found, logits = learn(spec, {"pcam": LossConfig(weight=2.0)}, several)
    assert torch.allclose(found["pcam"], 2 * class_losses(logits, several).sum())
    _, found, logits = learn(spec, {"pcam": LossConfig(pos_weight=(1.0, 3.0))}, several)
    assert torch.allclose(
        found["pcam"], class_losses(logits, several, (1.0, 3.0)).sum()
    )


def test_pylon_learns_by_the_mean_over_all_classes():
    taps = ("layer1", "layer2", "layer3", "layer4")
    spec = spec_of("pylon", encoder="resnet18", taps=taps, multi=True)
    _, found, logits = learn(spec, size=64)
    expected = functional.binary_cross_entropy_with_logits(logits, LABELS)
    assert torch.allclose(found["pylon"], expected)


def test_acols_second_branch_does_not_see_what_the_first_one_found():
    spec = spec_of("acol")
    learner, found, logits = learn(spec)
    head = learner.model.heads["acol"]
    x = torch.rand(1, 16, 4, 4)
    first = functional.cross_entropy(logits, LABELS.argmax(1))
    assert found["acol"] > first
    features = Features((x,), (2,), (0.5,))
    assert torch.isfinite(head(features)).all()


def test_sat_learns_the_area_of_its_gate():
    spec = spec_of("sat", encoder="deit_sat_tiny", taps=None)
    learner, found, logits = learn(spec, size=224, labels=LABELS[:1])
    alone = functional.cross_entropy(logits, LABELS[:1].argmax(1))
    assert found["sat"] > alone
    found["sat"].backward()
    assert learner.model.encoder.loc_token.grad.abs().sum() > 0
    assert learner.model.encoder.taps == ("patches",)
    with pytest.raises(ConfigError, match="deit_sat"):
        learn(spec_of("sat"))


@pytest.mark.parametrize(
    ("heads", "config", "multi", "words"),
    [
        (("cam",), LossConfig(loss="hinge"), False, "learns by"),
        (("cam",), LossConfig(loss="acol"), False, "for the acol head"),
        (("cam",), LossConfig(loss="cross_entropy"), True, "images of one class"),
        (("pcam",), LossConfig(smoothing=0.1), False, "smoothed"),
        (("cam",), LossConfig(pos_weight=(1, 1)), False, "weighs positives"),
        (("pcam",), LossConfig(loss="pcam", pos_weight=(1,)), True, "one each"),
    ],
)
def test_losses_that_cannot_be_are_refused(heads, config, multi, words):
    with pytest.raises(ConfigError, match=words):
        recipe_of(spec_of(*heads, multi=multi), {heads[0]: config})


def test_impossible_weights_and_heads_are_refused():
    with pytest.raises(ConfigError, match="0 or more"):
        LossConfig(weight=-1)
    with pytest.raises(ConfigError, match="is no head"):
        recipe_of(spec_of("cam"), {"pcam": LossConfig()})
    with pytest.raises(ConfigError, match="cannot be trained here"):
        loss_of("negev", spec_of("cam"))


def test_a_part_of_a_batch_weighs_positives_as_the_whole():
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 2), (torch.rand(6, 2) > 0.6).float()
    whole = class_losses(logits, labels).sum()
    parts = [
        class_losses(logits[at : at + 3], labels[at : at + 3], batch=labels).sum()
        for at in (0, 3)
    ]
    assert torch.allclose(whole, sum(parts) / 2)


def test_what_is_right():
    logits = torch.tensor([[2.0, -1.0], [1.0, 3.0], [2.0, 1.0]])
    assert share_right(logits, LABELS, multi_label=False) == pytest.approx(2 / 3)
    assert share_right(logits, LABELS, multi_label=True) == pytest.approx(4 / 6)
    one = torch.tensor([[-2.0], [1.0], [-1.0]])
    assert share_right(one, LABELS, multi_label=False) == pytest.approx(2 / 3)
