"""Optimisers and their learning rates, by name, as a recipe asks for them.

Rates that fall by epochs are those of PixelCAM (methods of arXiv 2503.24135) and PCAM
(Ye et al. 2020, arXiv 2005.14480). Those that fall when a training gets no better are
PYLON's (Preechakul et al. 2022, iScience 25, 103933, and the authors' code): the rule
is that of ``torch.optim.lr_scheduler.ReduceLROnPlateau`` with its defaults, where an
evaluation counts as better if it is so by at least one part in ten thousand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict, cast

import numpy as np
import torch

from napari_wsol.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from napari_wsol.methods import Model
    from napari_wsol.training.config import TrainConfig

FAST_PARTS: Mapping[str, tuple[str, ...]] = {
    "wsol_resnet50": ("encoder.layer4.", "heads."),
    "wsol_vgg16": ("encoder.conv6.", "heads."),
    "wsol_inceptionv3": ("encoder.SPG_A3_1b.", "encoder.SPG_A3_2b.", "heads."),
}
"""What learns ten times faster, by encoder: heads, the ResNet's last stage, and layers
that come without ImageNet weights. Transformers learn at one rate throughout."""

THRESHOLD = 1e-4
"""Share of the best value that a better one must be better by."""


def build_optimizer(model: Model, config: TrainConfig) -> torch.optim.Optimizer:
    """An optimiser whose groups carry their highest rate as ``peak``.

    Parameters that need no gradient are left out.
    """
    slow, fast = config.learning_rate, config.head_learning_rate
    if config.groups == "published":
        # By the factor between them: what it gives is not always ``fast`` to the bit.
        found = parameter_groups(model, slow, factor=fast / slow)
    else:
        found = [
            Group(params=list(model.encoder.parameters()), lr=slow),
            Group(params=list(model.heads.parameters()), lr=fast),
        ]
    groups: list[dict[str, object]] = []
    for group in found:
        learning = [item for item in group["params"] if item.requires_grad]
        if learning:
            groups.append({"params": learning, "peak": group["lr"]})
    options: dict[str, object] = {}
    if config.optimizer == "sgd":
        options = {"momentum": config.momentum, "nesterov": config.nesterov}
    return _OPTIMIZERS[config.optimizer](
        groups, lr=slow, weight_decay=config.weight_decay, **options
    )


_OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
}


def set_rates(
    optimizer: torch.optim.Optimizer,
    config: TrainConfig,
    step: int,
    epoch: int,
    plateaus: int = 0,
) -> None:
    """Gives every group the learning rate of a step.

    Args:
        optimizer: from :func:`build_optimizer`.
        config: says the schedule.
        step: counted from 0.
        epoch: counted from 0.
        plateaus: how often evaluations got no better
            (:class:`napari_wsol.training.optimizing.Plateau`).
    """
    factor = config.step_factor**plateaus
    for group in optimizer.param_groups:
        peak = cast("float", group["peak"])
        group["lr"] = rate(peak, config, step, epoch) * factor


def highest_rate(
    optimizer: torch.optim.Optimizer, config: TrainConfig, plateaus: int
) -> float:
    """The rate of the group that learns fastest, after so many plateaus."""
    peaks = [cast("float", group["peak"]) for group in optimizer.param_groups]
    return max(peaks) * config.step_factor**plateaus


def rate(peak: float, config: TrainConfig, step: int, epoch: int) -> float:
    """The learning rate of a step: a linear warm-up, then the schedule."""
    if step < config.warmup:
        return peak * ((step + 1) / config.warmup)
    return _SCHEDULES[config.schedule](peak, config, step, epoch)


def _cosine(peak: float, config: TrainConfig, step: int, epoch: int) -> float:
    """Down to a tenth."""
    del epoch
    span = max(1, config.steps - config.warmup)
    turn = np.cos(np.pi * (step - config.warmup) / span)
    return peak * float(0.55 + 0.45 * turn)


def _step(peak: float, config: TrainConfig, step: int, epoch: int) -> float:
    del step
    stepped = peak * config.step_factor ** (epoch // config.step_epochs)
    return max(stepped, min(config.floor, peak))


_SCHEDULES: dict[str, Callable[[float, TrainConfig, int, int], float]] = {
    "cosine": _cosine,
    "step": _step,
    "drops": lambda peak, config, _step, epoch: (
        peak * config.step_factor ** sum(epoch >= drop for drop in config.drops)
    ),
    # Lowered by evaluations, not by time.
    "plateau": lambda peak, _config, _step, _epoch: peak,
    "constant": lambda peak, _config, _step, _epoch: peak,
}


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


@dataclass(slots=True)
class Plateau:
    """Counts evaluations without a better one.

    Attributes:
        by: name of the evaluation, "loss" for one that falls as it gets better.
        patience: evaluations in a row without a better one that are borne.
        best: the best value so far.
        since_best: evaluations in a row without a better one, since the last plateau.
        count: plateaus so far.
    """

    by: str
    patience: int
    best: float | None = None
    since_best: int = 0
    count: int = 0

    def look(self, values: dict[str, float]) -> bool:
        """Takes an evaluation into account.

        Args:
            values: of the evaluation, by name.

        Returns:
            Whether this one makes a plateau.

        Raises:
            ConfigError: the evaluation has not what the plateau goes by.
        """
        if self.by not in values:
            raise ConfigError(
                f"A plateau goes by “{self.by}”, which was not evaluated. Name a split "
                "for it in [data]."
            )
        value = values[self.by]
        if self._is_better(value):
            self.best, self.since_best = value, 0
            return False
        self.since_best += 1
        if self.since_best <= self.patience:
            return False
        self.since_best = 0
        return True

    def _is_better(self, value: float) -> bool:
        if self.best is None:
            return True
        if self.by == "loss":
            return value < self.best * (1 - THRESHOLD)
        return value > self.best * (1 + THRESHOLD)
