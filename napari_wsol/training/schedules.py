"""Learning rates as PixelCAM was trained with (methods of arXiv 2503.24135)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from napari_wsol.methods import Model

FAST_PARTS: Mapping[str, tuple[str, ...]] = {
    "wsol_resnet50": ("encoder.layer4.", "heads."),
    "wsol_vgg16": ("encoder.conv6.", "heads."),
    "wsol_inceptionv3": ("encoder.SPG_A3_1b.", "encoder.SPG_A3_2b.", "heads."),
}
"""What learns ten times faster, by encoder: heads, the ResNet's last stage, and layers
that come without ImageNet weights. Transformers learn at one rate throughout."""


class Group(TypedDict):
    """Parameters that share a learning rate, as torch's optimisers take them."""

    params: list[nn.Parameter]
    lr: float


def parameter_groups(model: Model, rate: float, *, factor: float = 10.0) -> list[Group]:
    """The parameters of a model by learning rate, for an optimiser.

    Args:
        model: its encoder decides; one that is not in ``FAST_PARTS`` makes one group.
        rate: of most.
        factor: of the fast ones.

    Returns:
        The slow group, then the fast one if there is one.
    """
    prefixes = FAST_PARTS.get(model.spec.encoder, ())
    groups = [Group(params=[], lr=rate), Group(params=[], lr=rate * factor)]
    for name, parameter in model.named_parameters():
        groups[name.startswith(prefixes)]["params"].append(parameter)
    return [group for group in groups if group["params"]]


def step_rate(
    epoch: int,
    *,
    start: float = 1e-3,
    every: int = 5,
    factor: float = 0.1,
    floor: float = 1e-6,
) -> float:
    """The learning rate of an epoch, counted from 0: a tenth of it every five epochs.

    Args:
        epoch: from 0.
        start: at first.
        every: epochs between two steps.
        factor: of a step.
        floor: it never falls below.
    """
    return max(start * factor ** (epoch // every), floor)
