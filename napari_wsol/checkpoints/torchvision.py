"""ImageNet weights with torchvision's names: a start for training, no classifier."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from napari_wsol.checkpoints.draft import Draft, resnet_name
from napari_wsol.methods import ModelSpec

if TYPE_CHECKING:
    from napari_wsol.checkpoints.draft import Answers, Source, State

CLASSIFIERS = ("fc.", "classifier.", "AuxLogits.")


def recognise(source: Source, answers: Answers) -> Draft | None:
    """A ResNet, DenseNet, VGG-19 or Inception-v3 of torchvision; None if it is none."""
    del answers
    state = source.only
    name = None if state is None else _name(state)
    if state is None or name is None:
        return None
    weights = {
        f"encoder.{key}": value
        for key, value in modern_names(state).items()
        if not key.startswith(CLASSIFIERS)
    }
    return Draft(
        spec=ModelSpec(encoder=name, classes=("foreground",), heads=()),
        weights=weights,
        system="torchvision",
        summary=f"{name} as it was trained elsewhere, without a classifier: a start "
        "for training, or for a pixel head that learns from strokes alone.",
        notes=("Its own classifier, if there was one, is left out.",),
    )


def _name(state: State) -> str | None:
    if "Mixed_7c.branch1x1.conv.weight" in state:
        return "inception_v3"
    if "layer1.0.conv1.weight" in state and "conv1.weight" in state:
        blocks = {"resnet18": (2, 2), "resnet34": (6, 3), "resnet50": (6, 3)}
        name = resnet_name(state)
        found = (_blocks(state, "layer3."), _blocks(state, "layer4."))
        return name if blocks[name] == found else None
    return _densenet(state) or _vgg(state)


def _densenet(state: State) -> str | None:
    keys = set(modern_names(state))
    layer = "features.denseblock3.denselayer{}.conv2.weight"
    for name, layers in (("201", 48), ("169", 32), ("121", 24)):
        if layer.format(layers) in keys:
            return f"densenet{name}"
    return None


def _vgg(state: State) -> str | None:
    """VGG-19 by its last convolution."""
    if "features.1.running_mean" in state:
        return "vgg19_bn" if "features.49.weight" in state else None
    return "vgg19" if "features.34.weight" in state else None


def _blocks(state: State, prefix: str) -> int:
    return len({key.split(".")[1] for key in state if key.startswith(prefix)})


def modern_names(state: State) -> State:
    """DenseNet's names as they have been since torchvision 0.3.

    Its files still say "norm.1", which Python's attribute names no longer allow.
    """
    old = re.compile(r"(denselayer\d+)\.(norm|conv)\.([12])\.")
    return {old.sub(r"\1.\2\3.", key): value for key, value in state.items()}
