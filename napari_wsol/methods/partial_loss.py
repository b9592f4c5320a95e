"""Losses that look at labelled pixels only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

IGNORE = 255
"""Label of a pixel that nobody labelled."""


def partial_cross_entropy(
    logits: Tensor, labels: Tensor, *, balanced: bool = False
) -> Tensor:
    """Cross-entropy over the labelled pixels.

    Tang et al. 2018 (arXiv 1804.01346); PixelCAM, arXiv 2503.24135, equation 3.

    Args:
        logits: (..., 2) float, background and foreground.
        labels: (...) integers 0, 1, or ``IGNORE``.
        balanced: whether both classes weigh the same, however many pixels each has.

    Returns:
        Scalar: the mean over labelled pixels; 0 with zero gradient if there is none.
    """
    flat, target = logits.reshape(-1, 2).float(), labels.reshape(-1).long()
    known = target != IGNORE
    if not bool(known.any()):
        return flat.sum() * 0.0
    flat, target = flat[known], target[known]
    losses = functional.cross_entropy(flat, target, reduction="none")
    if not balanced:
        return losses.mean()
    counts = torch.bincount(target, minlength=2).float()
    weights = 1.0 / (counts[target] * (counts > 0).sum())
    return (losses * weights).sum()
