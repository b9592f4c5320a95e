"""Optimisers and their learning rates, by name, as a recipe asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from napari_wsol.training.losses_pcam import learning_rate
from napari_wsol.training.schedules import parameter_groups, step_rate

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from napari_wsol.methods import Model
    from napari_wsol.training.train_config import TrainConfig

Groups = list[dict[str, object]]


def build_optimizer(model: Model, config: TrainConfig) -> torch.optim.Optimizer:
    """An optimiser whose groups carry their highest rate as ``peak``.

    Parameters that need no gradient are left out.
    """
    groups: Groups = []
    for group in _GROUPS[config.groups](model, config):
        parameters = cast("list[nn.Parameter]", group["params"])
        learning = [item for item in parameters if item.requires_grad]
        if learning:
            groups.append({**group, "params": learning})
    return _OPTIMIZERS[config.optimizer](groups, config)


def _by_heads(model: Model, config: TrainConfig) -> Groups:
    return [
        {"params": list(model.encoder.parameters()), "peak": config.learning_rate},
        {"params": list(model.heads.parameters()), "peak": config.head_learning_rate},
    ]


def _published(model: Model, config: TrainConfig) -> Groups:
    factor = config.head_learning_rate / config.learning_rate
    found = parameter_groups(model, config.learning_rate, factor=factor)
    return [{"params": item["params"], "peak": item["lr"]} for item in found]


_GROUPS: dict[str, Callable[[Model, TrainConfig], Groups]] = {
    "heads": _by_heads,
    "published": _published,
}


def _adamw(groups: Groups, config: TrainConfig) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        groups, lr=config.learning_rate, weight_decay=config.weight_decay
    )


def _adam(groups: Groups, config: TrainConfig) -> torch.optim.Optimizer:
    return torch.optim.Adam(
        groups, lr=config.learning_rate, weight_decay=config.weight_decay
    )


def _sgd(groups: Groups, config: TrainConfig) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        groups,
        lr=config.learning_rate,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
    )


_OPTIMIZERS: dict[str, Callable[[Groups, TrainConfig], torch.optim.Optimizer]] = {
    "adamw": _adamw,
    "adam": _adam,
    "sgd": _sgd,
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
            (:class:`napari_wsol.training.plateau.Plateau`).
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
    return step_rate(
        epoch,
        start=peak,
        every=config.step_epochs,
        factor=config.step_factor,
        floor=min(config.floor, peak),
    )


def _drops(peak: float, config: TrainConfig, step: int, epoch: int) -> float:
    del step
    return learning_rate(
        epoch, start=peak, factor=config.step_factor, drops=config.drops
    )


def _constant(peak: float, config: TrainConfig, step: int, epoch: int) -> float:
    del config, step, epoch
    return peak


_SCHEDULES: dict[str, Callable[[float, TrainConfig, int, int], float]] = {
    "cosine": _cosine,
    "step": _step,
    "drops": _drops,
    "plateau": _constant,  # lowered by evaluations, not by time
    "constant": _constant,
}
