"""The losses that PixelCAM is trained with, and those that its code offers beside them.

Guichemerre et al., PixelCAM, MIDL 2025, arXiv 2503.24135, section 3::

    L = CE(image logits, class) + λ · partial CE(pixel logits, pseudo-labels)

The extras come from F-CAM and NEGEV (Belharbi et al. 2022, arXiv 2109.07069 and
2201.02445) and are off in the published runs: background everywhere on normal images,
entropy of the pixels, and a size constraint by a log-barrier extension (Kervadec et al.
2019, arXiv 1904.04205).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from napari_wsol.methods.partial_loss import IGNORE, partial_cross_entropy
from napari_wsol.methods.pixelcam import BACKGROUND

if TYPE_CHECKING:
    from torch import Tensor

CHANNEL_AXIS = 1


def image_loss(logits: Tensor, classes: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of the image classifier, the mean over images.

    Args:
        logits: (N, K).
        classes: (N,) indices.
        smoothing: share of the label spread evenly over all classes.
    """
    return functional.cross_entropy(logits, classes, label_smoothing=smoothing)


def pixel_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    weight: float = 1.0,
    left_out: Tensor | None = None,
) -> Tensor:
    """Partial cross-entropy over the pseudo-labels of a batch (equation 3).

    The mean is over all labelled pixels of the batch, not first over those of an image.
    Without any it is 0 with zero gradient (the authors' code gives NaN).

    Args:
        logits: (N, 2, h, w) pixel logits; brought to the labels' size, bilinear, before
            the softmax.
        labels: (N, H, W) integers 0, 1 or ``IGNORE``.
        weight: λ.
        left_out: (N,) bool, images whose labels do not count: the normal ones, which
            the authors leave out on CAMELYON.
    """
    size = (int(labels.shape[-2]), int(labels.shape[-1]))
    if tuple(logits.shape[-2:]) != size:
        logits = functional.interpolate(
            logits, size, mode="bilinear", align_corners=False
        )
    if left_out is not None:
        labels = labels.masked_fill(left_out[:, None, None], IGNORE)
    return weight * partial_cross_entropy(logits.movedim(CHANNEL_AXIS, -1), labels)


def background_loss(logits: Tensor, normal: Tensor) -> Tensor:
    """Cross-entropy that calls every pixel of a normal image background.

    Args:
        logits: (N, 2, h, w) pixel logits.
        normal: (N,) bool, images that show no disease; 0 where there is none.
    """
    labels = torch.full_like(logits[:, 0], IGNORE, dtype=torch.long)
    labels[normal] = BACKGROUND
    return partial_cross_entropy(logits.movedim(CHANNEL_AXIS, -1), labels)


def entropy_loss(logits: Tensor) -> Tensor:
    """Mean entropy of the pixels in bits: 1 where both kinds are equally probable.

    Args:
        logits: (N, 2, h, w) pixel logits.
    """
    log_p = logits.log_softmax(CHANNEL_AXIS)
    return -(log_p.exp() * log_p).sum(CHANNEL_AXIS).mean() / math.log(2)


def log_barrier(x: Tensor, sharpness: float) -> Tensor:
    """Penalty for x > 0 that is smooth and finite everywhere, the mean over x.

    With t the sharpness (Kervadec et al. 2019)::

        -log(-x) / t                     for x ≤ -1 / t²
        t x - log(1 / t²) / t + 1 / t    otherwise

    Args:
        x: any shape; wanted at most 0.
        sharpness: t; see :func:`barrier_sharpness`.
    """
    t = sharpness
    edge = -1 / t**2
    # Both branches are computed everywhere; the clamp keeps the unused one finite.
    inside = -torch.log(-x.clamp_max(edge)) / t
    outside = t * x - math.log(-edge) / t + 1 / t
    return torch.where(x <= edge, inside, outside).mean()


def barrier_sharpness(
    updates: int, *, start: float = 1.0, factor: float = 1.01, largest: float = 10.0
) -> float:
    """Sharpness t after some updates: it grows, and the barrier becomes a wall.

    Args:
        updates: so far (F-CAM's code: one an epoch).
        start: at first.
        factor: at every update.
        largest: where it stays.
    """
    return min(start * factor**updates, largest)


def size_loss(logits: Tensor, sharpness: float) -> Tensor:
    """Wants both kinds of pixels to be somewhere: neither may have size 0 (F-CAM).

    Sizes are sums of probabilities over the image; the mean of the log-barriers of
    background and foreground.

    Args:
        logits: (N, 2, h, w) pixel logits.
        sharpness: of the barrier.
    """
    sizes = logits.softmax(CHANNEL_AXIS).sum((-2, -1))  # (N, 2)
    return log_barrier(-sizes, sharpness)
