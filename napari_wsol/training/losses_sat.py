"""What keeps SAT's gate from opening everywhere, or nowhere.

Wu et al.: Spatial-Aware Token for Weakly Supervised Object Localization, ICCV 2023,
arXiv 2303.10438, batch area loss and normalization loss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

AREA = 0.35
"""Share of an image that foreground is supposed to take, over a batch."""


def batch_area_loss(gate: Tensor, area: float = AREA) -> Tensor:
    """How far the gate's mean is from the share that foreground should take.

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
