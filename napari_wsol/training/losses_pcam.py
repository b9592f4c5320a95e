"""PCAM's training loss for several labels an image.

Ye et al. 2020 (arXiv 2005.14480) and the authors' code: binary cross-entropy of each
class alone, summed over the classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from napari_wsol.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def class_losses(
    logits: Tensor,
    labels: Tensor,
    pos_weight: Sequence[float] | None = None,
    batch: Tensor | None = None,
) -> Tensor:
    """Binary cross-entropy of each class, with its positives weighted.

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


def pcam_loss(
    logits: Tensor,
    labels: Tensor,
    pos_weight: Sequence[float] | None = None,
    batch: Tensor | None = None,
) -> Tensor:
    """Scalar: the sum of :func:`class_losses`, whose arguments it takes."""
    return class_losses(logits, labels, pos_weight, batch).sum()
