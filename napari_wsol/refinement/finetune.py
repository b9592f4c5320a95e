"""The scribble loop: strokes teach the pixel head, on features that are kept.

This is the global half; strokes also count where they are
(:mod:`napari_wsol.refinement.local`).

The strokes are pseudo-labels of a partial cross-entropy. Bilinear interpolation
commutes with a 1×1 convolution, so the loss at labelled pixels needs only the features
interpolated there: they are gathered once into an (n, C) matrix, and the size of the
image does not matter any more. Where the head has hidden layers, they stay as they
are, and "features" is what the last layer reads.

What is learnt is a correction of the head, held near zero: with w and b the head as it
was trained, x the standardised features and y = 1 for foreground::

    z = w·x + b + d·x + e
    L = ½ mean over foreground of log(1 + exp(-z))
      + ½ mean over background of log(1 + exp(z)) + ½ λ |d|²

Strokes on other images (:mod:`napari_wsol.refinement.samples`) give the same two means
once more: with L₁ of the image's own strokes and L₂ of all others together, the first
two terms become (L₁ + a L₂) / (1 + a).

Strokes of one kind alone say nothing of the rest of the image
(:mod:`napari_wsol.refinement.kernel_fit`): with them e stays 0, and λ is ten times as
large.

λ falls with the number of marked places: two strokes do not destroy what the model
knew, and fifty decide. The problem is convex and L-BFGS solves it: the result depends
on the strokes alone, not on the order they were drawn in or on earlier rounds.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, cast

import torch

from napari_wsol.config import FinetuneConfig
from napari_wsol.encoders import sample_points
from napari_wsol.methods.partial_loss import partial_cross_entropy
from napari_wsol.methods.pixelcam import BACKGROUND, FOREGROUND, PixelHead
from napari_wsol.refinement.kernel_fit import ALONE
from napari_wsol.refinement.lbfgs import STEPS_A_CALL, minimized
from napari_wsol.refinement.marked import count_places
from napari_wsol.refinement.stroke_field import LEAST_STD

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from napari_wsol.encoders import Features
    from napari_wsol.refinement.marked import Labelled
    from napari_wsol.refinement.samples import Pooled

EVIDENCE = 0.02
"""What the model knew counts, at ``prior = 1`` and for each feature, as much as this
many marked places. More features reach the same logit with smaller weights, hence the
product. Chosen with a simulated annotator on GlaS: from half to five times this, the
mean IoU after 1 to 10 rounds differs by less than 0.03."""

FLAT = 1e-3
"""Relative change of the loss below which the fit is finished."""


@dataclass(frozen=True, slots=True)
class FinetuneStep:
    """Progress of a refinement.

    Attributes:
        step: iterations so far.
        steps: iterations at most.
        loss: with its penalty.
    """

    step: int
    steps: int
    loss: float


def new_head(features: Features) -> PixelHead:
    """An untrained pixel head for a model that has none: it says 0.5 everywhere."""
    channels = [int(item.shape[1]) for item in features.maps]
    return untrained_head(channels, *statistics(features))


def untrained_head(channels: Sequence[int], mean: Tensor, std: Tensor) -> PixelHead:
    """The same, for features of which only these statistics, each (C,), are known."""
    head = PixelHead(channels, standardize=True)
    head.standardize_to(mean, std)
    for parameter in head.conv4.parameters():
        torch.nn.init.zeros_(parameter)
    return head.eval()


def warm_up() -> None:
    """Makes torch load what its first optimiser step needs (seconds), beforehand."""
    weight = torch.zeros(1, requires_grad=True)
    next(minimized([weight], lambda: (weight - 1).square().sum(), steps=1, flat=1))


def statistics(features: Features) -> tuple[Tensor, Tensor]:
    """(C,) mean and standard deviation over the cells of each map."""
    means = [item.float().mean((0, 2, 3)) for item in features.maps]
    stds = [item.float().std((0, 2, 3)).clamp_min(LEAST_STD) for item in features.maps]
    return torch.cat(means), torch.cat(stds)


def finetune(
    head: PixelHead,
    features: Features,
    labelled: Labelled,
    config: FinetuneConfig | None = None,
    *,
    others: Pooled | None = None,
) -> Iterator[FinetuneStep]:
    """Refits a copy of a head to strokes; its last item is the finished one.

    The head given is changed in place, at the end only, so that an iteration that is
    abandoned leaves it as it was.

    Args:
        head: the pixel head as the model has it, in evaluation mode; only its last
            layer is corrected.
        features: of the image, maps (1, C, h, w).
        labelled: where is what.
        config: steps, prior, caution.
        others: what was marked on other images.

    Yields:
        Progress; consume it to the end.
    """
    with torch.no_grad():
        read = head.hidden(features)
        x = sample_points(read, labelled.points)
    spread = head.statistics or statistics(read)
    yield from fit(head, x, labelled, spread, config, others=others)


def fit(
    head: PixelHead,
    x: Tensor,
    labelled: Labelled,
    spread: tuple[Tensor, Tensor],
    config: FinetuneConfig | None = None,
    *,
    others: Pooled | None = None,
) -> Iterator[FinetuneStep]:
    """Like :func:`finetune`, where only the features of labelled pixels are at hand.

    Args:
        head: changed in place, at the end.
        x: (n, C) what its last layer reads at the labelled pixels.
        labelled: where is what.
        spread: (C,) mean and standard deviation of what it reads.
        config: steps, prior, caution.
        others: what was marked on other images.

    Yields:
        Progress; consume it to the end.
    """
    config = config or FinetuneConfig()
    with torch.no_grad():
        offset = head.difference(x)
    shift, scale = spread
    x = (x - shift) / scale
    delta = torch.zeros(x.shape[1], requires_grad=True)
    shift_bias = torch.zeros(1, requires_grad=True)
    places = count_places(labelled.points)
    parts = [(x, offset, labelled.labels, 1.0)] if len(x) else []
    if others is not None:
        parts.append(
            ((others.x - shift) / scale, others.offset, others.labels, config.others)
        )
        places += others.places
    share = sum(part[3] for part in parts)
    penalty = EVIDENCE * config.prior * x.shape[1] / places
    kinds = [cast("list[int]", part[2].tolist()) for part in parts if part[3]]
    drawn = set(chain(*kinds))
    is_alone = config.cautious and len(drawn) < 2
    if is_alone:
        penalty /= min((ALONE[kind] for kind in drawn), default=1.0)

    def loss_of() -> Tensor:
        loss = penalty / 2 * delta.square().sum()
        for read, start, labels, weight in parts:
            z = start + read @ delta + shift_bias
            logits = torch.stack([-z / 2, z / 2], dim=1)
            term = partial_cross_entropy(logits, labels, balanced=True)
            loss = loss + weight / share * term
        return loss

    learnt = [delta] if is_alone else [delta, shift_bias]
    solved = minimized(learnt, loss_of, steps=config.steps, flat=FLAT, least=1e-3)
    for call, loss in enumerate(solved, 1):
        step = min(call * STEPS_A_CALL, config.steps)
        yield FinetuneStep(step, config.steps, loss)
    _correct(head, delta.detach(), shift_bias.detach(), scale, shift)


def correct(head: PixelHead, weight: Tensor, bias: float) -> None:
    """Adds ``weight·x + bias`` to a head's logit difference.

    Args:
        head: changed in place.
        weight: (C,) on what its last layer reads, as it is.
        bias: of the difference.
    """
    ones = torch.ones_like(weight)
    shift, scale = head.statistics or (0 * ones, ones)
    moved = torch.tensor([bias]) + weight @ shift
    _correct(head, weight * scale, moved, scale, shift)


def _correct(
    head: PixelHead, delta: Tensor, bias: Tensor, scale: Tensor, shift: Tensor
) -> None:
    """Adds a correction of the logit difference to both rows of a head."""
    if head.statistics is None:
        # It reads features as they are; the correction was on standardised ones.
        delta = delta / scale
        bias = bias - delta @ shift
    with torch.no_grad():
        sides = torch.zeros(2)
        sides[FOREGROUND], sides[BACKGROUND] = 0.5, -0.5
        head.conv4.weight += sides.view(2, 1, 1, 1) * delta.view(1, -1, 1, 1)
        cast("Tensor", head.conv4.bias).add_(sides * bias)


def refined_copy(head: PixelHead | None, features: Features) -> PixelHead:
    """A head to refine on the CPU: a copy of the model's, or a new one."""
    return new_head(features) if head is None else copied(head)


def copied(head: PixelHead) -> PixelHead:
    """A copy on the CPU, in evaluation mode."""
    return copy.deepcopy(head).cpu().eval()
