"""Which loss trains which head, by name.

Image heads learn the classes of whole images. Heads of one class an image (the poolings
of the WSOL survey, arXiv 2503.24135 and its references) learn by cross-entropy; of
several, by binary cross-entropy, as PYLON and attention MIL do. PCAM has its own,
ACoL a second branch, SAT two terms about its gate. A pixel head learns from seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch.nn import functional

from napari_wsol.errors import ConfigError
from napari_wsol.methods.acol import ERASE_FROM
from napari_wsol.methods.heads import scaled
from napari_wsol.methods.mil import cells_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_wsol.encoders import Features
    from napari_wsol.methods import Head, Model, ModelSpec
    from napari_wsol.methods.acol import AcolHead
    from napari_wsol.methods.clam import ClamHead

GATE, KERNEL = "mask", "weight"
"""SAT's gate among the encoder's maps, and the parameter that smooths it."""

AREA = 0.35
"""Share of an image that foreground is supposed to take, over a batch, in SAT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """How one head is trained.

    Attributes:
        loss: name in the table of losses; the head's default if empty.
        weight: of its loss in the sum.
        smoothing: share of the label spread over all classes, for cross-entropy.
        pos_weight: of the positives of each class, for "pcam"; by the batch if empty.
    """

    loss: str = ""
    weight: float = 1.0
    smoothing: float = 0.0
    pos_weight: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.weight < 0 or not 0 <= self.smoothing < 1:
            raise ConfigError(
                f"A weight is 0 or more and smoothing a share below 1, not "
                f"{self.weight} and {self.smoothing}."
            )


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a head has seen and is to learn.

    Attributes:
        model: whose head it is.
        head: the head.
        features: of the batch, the model's own taps; of bags, one each.
        gate: (N, C, h, w) of SAT's encoder; None for others.
        labels: (N, K) of 0 and 1.
        all_labels: those of the whole batch, where this is a process's share of it.
        config: of the loss.
    """

    model: Model
    head: Head
    features: tuple[Features, ...]
    gate: Tensor | None
    labels: Tensor
    all_labels: Tensor
    config: LossConfig


def cross_entropy(lesson: Lesson, logits: Tensor) -> Tensor:
    """Of the image's only class, with a softmax over all."""
    truth, smoothing = lesson.labels.argmax(1), lesson.config.smoothing
    return functional.cross_entropy(logits, truth, label_smoothing=smoothing)


def bce(lesson: Lesson, logits: Tensor) -> Tensor:
    """Binary cross-entropy, the mean over images and classes.

    A head with one logit for two classes learns whether it is the second.
    """
    labels = lesson.labels
    if logits.shape[1] == 1 and labels.shape[1] == 2:
        labels = labels[:, 1:]
    return functional.binary_cross_entropy_with_logits(logits, labels)


def pcam(lesson: Lesson, logits: Tensor) -> Tensor:
    """PCAM's, class by class: positives weighted, summed over the classes."""
    weights = lesson.config.pos_weight or None
    return class_losses(logits, lesson.labels, weights, lesson.all_labels).sum()


def class_losses(
    logits: Tensor,
    labels: Tensor,
    pos_weight: Sequence[float] | None = None,
    batch: Tensor | None = None,
) -> Tensor:
    """PCAM's loss: binary cross-entropy of each class, with its positives weighted.

    Ye et al. 2020 (arXiv 2005.14480) and the authors' code.

    With p = σ(logit), y the label and the mean over the batch::

        L_c = mean(-(w_c · y · log p + (1 - y) · log(1 - p)))

    Args:
        logits: (N, K).
        labels: (N, K) of 0 and 1.
        pos_weight: w_c, one a class. Without it the batch sets it (the authors'
            ``batch_weight``): negatives divided by positives, so that both weigh the
            same. A class without a positive in the batch then has a loss of 0.
        batch: labels of the whole batch, where these are a part of it.

    Returns:
        (K,) float32; their sum is the loss of the batch.

    Raises:
        ConfigError: there is not one weight a class.
    """
    logits, labels = logits.float(), labels.float()
    whole = labels if batch is None else batch.float()
    positive = whole.sum(0)
    if pos_weight is None:
        weight = (len(whole) - positive) / positive.clamp(min=1)
    elif len(pos_weight) != logits.shape[1]:
        raise ConfigError(
            f"There are {len(pos_weight)} weights for {logits.shape[1]} classes; "
            "give one each."
        )
    else:
        weight = torch.tensor(pos_weight, dtype=torch.float32, device=logits.device)
    losses = functional.binary_cross_entropy_with_logits(
        logits, labels, pos_weight=weight, reduction="none"
    ).mean(0)
    return losses * (positive > 0) if pos_weight is None else losses


def acol(lesson: Lesson, logits: Tensor) -> Tensor:
    """Cross-entropy of both classifiers, the second on what the first did not see.

    Zhang et al. 2018, arXiv 1804.06962, algorithm 1: the map of the image's class
    erases; nothing flows back through where it did.
    """
    head = cast("AcolHead", lesson.head)
    x = lesson.features[0].last
    truth = lesson.labels.argmax(1)
    with torch.no_grad():
        first: Tensor = head.classifier_A(x)
        kept = scaled(first[torch.arange(len(first)), truth]) < ERASE_FROM
    second: Tensor = head.classifier_B(x * kept[:, None])
    return cross_entropy(lesson, logits) + cross_entropy(lesson, second.mean((-2, -1)))


def clam(lesson: Lesson, logits: Tensor) -> Tensor:
    """Cross-entropy of the bag and of its tiles, 7 to 3, as in the authors' code."""
    head, truth = cast("ClamHead", lesson.head), map(int, lesson.labels.argmax(1))
    bags = [own for item in lesson.features for own in cells_of(item)]
    found = [head.instance_loss(*pair) for pair in zip(bags, truth, strict=True)]
    return 0.7 * cross_entropy(lesson, logits) + 0.3 * torch.stack(found).mean()


def sat(lesson: Lesson, logits: Tensor) -> Tensor:
    """The image's loss, the area of SAT's gate and its closeness to all or nothing."""
    if lesson.gate is None:
        raise ConfigError(
            "SAT's loss is about the gate of a spatial-aware token, which this encoder "
            "has not. Choose a deit_sat encoder, or the loss “cross_entropy”."
        )
    loss = bce if lesson.model.spec.multi_label else cross_entropy
    kernel = cast("Tensor", getattr(lesson.model.encoder, KERNEL))
    return (
        loss(lesson, logits)
        + batch_area_loss(lesson.gate)
        + normalization_loss(lesson.gate, kernel)
    )


def batch_area_loss(gate: Tensor, area: float = AREA) -> Tensor:
    """How far the gate's mean is from the share that foreground should take.

    Wu et al. 2023 (arXiv 2303.10438), as :func:`normalization_loss`.

    The mean is taken over the batch, so that objects may differ in size::

        L_ba = |mean(m) - area|

    Args:
        gate: (N, C, h, w) in [0, 1], the encoder's map "mask".
        area: the share.

    Returns:
        Scalar.
    """
    return (gate.float().mean() - area).abs()


def normalization_loss(gate: Tensor, kernel: Tensor) -> Tensor:
    """How far the smoothed gate is from all or nothing.

    With m the mean of the blocks' gates and G a small Gaussian::

        m̄ = G * m        L_norm = mean((1 - m̄) · m̄)

    Args:
        gate: (N, C, h, w) in [0, 1], the encoder's map "mask".
        kernel: (1, 1, 3, 3), the encoder's ``weight``.

    Returns:
        Scalar.
    """
    mean = gate.float().mean(1, keepdim=True)
    smooth = functional.conv2d(mean, kernel, padding=1)
    return ((1 - smooth) * smooth).mean()


Objective = Callable[[Lesson, "Tensor"], "Tensor"]
"""From a lesson and the head's (N, K) image logits to a scalar."""

LOSSES: dict[str, Objective] = {
    "cross_entropy": cross_entropy,
    "bce": bce,
    "pcam": pcam,
    "acol": acol,
    "clam": clam,
    "sat": sat,
}
"""Losses of image heads. Pixel heads learn by "seeds", the partial cross-entropy."""

SEEDS = "seeds"
ONE_CLASS = ("cross_entropy", "acol", "clam")
BINARY = frozenset({"pylon", "li2018"})
"""Heads whose class maps are probabilities: their classes do not exclude each other."""


def loss_of(name: str, spec: ModelSpec, config: LossConfig | None = None) -> LossConfig:
    """The loss of a head, complete.

    Args:
        name: of the head.
        spec: of the model.
        config: as the recipe gives it; all by default without.

    Raises:
        ConfigError: there is no such loss, or it does not fit the head.
    """
    config = config or LossConfig()
    if name == "negev":
        raise ConfigError(
            "NEGEV's decoder cannot be trained here: leave it out of the heads."
        )
    loss = config.loss or _default(name, spec)
    wanted = (SEEDS,) if name == "pixelcam" else tuple(LOSSES)
    if loss not in wanted:
        raise ConfigError(
            f"The {name} head learns by {' or '.join(wanted)}, not “{loss}”."
        )
    _check_fit(name, loss, spec)
    _check_options(name, loss, config, spec)
    return LossConfig(
        loss=loss,
        weight=config.weight,
        smoothing=config.smoothing,
        pos_weight=config.pos_weight,
    )


def _default(name: str, spec: ModelSpec) -> str:
    """By head, and by whether an image may show several classes."""
    if name == "pixelcam":
        return SEEDS
    if name == "sat" or (name == "acol" and not spec.multi_label):
        return name
    if name == "pcam":
        return "pcam" if spec.multi_label else "bce"
    options = spec.options.get(name, {})
    if name in BINARY or spec.multi_label or options.get("binary", False):
        return "bce"
    return "clam" if name == "clam_sb" else "cross_entropy"


def _check_fit(name: str, loss: str, spec: ModelSpec) -> None:
    options = spec.options.get(name, {})
    if loss in ("acol", "sat", "clam") and not name.startswith(loss):
        raise ConfigError(f"The loss “{loss}” is for the {loss} head, not for {name}.")
    if spec.multi_label and loss in ONE_CLASS:
        raise ConfigError(
            f"“{loss}” is for images of one class: a multi-label {name} head learns by "
            "“bce”."
        )
    if options.get("binary", False) and loss != "bce":
        raise ConfigError(f"A {name} head with one logit learns by “bce”, not {loss}.")


def _check_options(name: str, loss: str, config: LossConfig, spec: ModelSpec) -> None:
    soft = loss in ONE_CLASS or (loss == "sat" and not spec.multi_label)
    if config.smoothing and not soft:
        raise ConfigError(f"Labels of {name} cannot be smoothed: “{loss}” has none.")
    if config.pos_weight and loss != "pcam":
        raise ConfigError(f"Only the loss “pcam” weighs positives, not “{loss}”.")
    if config.pos_weight and len(config.pos_weight) != len(spec.classes):
        raise ConfigError(
            f"There are {len(config.pos_weight)} weights of positives for "
            f"{len(spec.classes)} classes; give one each."
        )
