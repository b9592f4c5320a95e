"""Seeds: pixels that are probably foreground or background, drawn before any stroke.

"Dataset Eigen-CAM": the first principal component of standardised features over the
whole training set (Eigen-CAM, Muhammad and Yeasin 2020, arXiv 2008.00299, takes it per
image). It is unsupervised: where all classes show the same structure, as benign and
malignant tissue both show glands, class activation maps tell the classes apart but not
the structure, and this component does. Its sign is one bit that a person gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch.nn import functional

from napari_wsol.learning.losses import IGNORE
from napari_wsol.methods.pixelcam import BACKGROUND, FOREGROUND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_wsol.learning.recipe import SeedConfig


@dataclass(frozen=True, slots=True)
class EigenCam:
    """A direction in feature space.

    Attributes:
        mean: (C,) of the features over the training set.
        std: (C,) of the features over the training set.
        direction: (C,) unit vector; larger projections are foreground.
        explained: share of the variance along it.
    """

    mean: Tensor
    std: Tensor
    direction: Tensor
    explained: float

    def project(self, features: Tensor) -> Tensor:
        """(C, h, w) features → (h, w) projections."""
        weight = self.direction / self.std
        return torch.einsum("c,chw->hw", weight, features) - weight @ self.mean


def fit_eigencam(
    features: Sequence[Tensor], darkness: Sequence[Tensor], foreground: str
) -> EigenCam:
    """The first principal component of all cells of all images.

    Args:
        features: one (C, h, w) map an image.
        darkness: one (h, w) map an image on the same grid.
        foreground: "darker" or "lighter": the sign is chosen so that projections and
            darkness correlate positively or negatively.
    """
    cells = torch.cat([item.flatten(1).T for item in features]).double()
    mean, std = cells.mean(0), cells.std(0).clamp_min(1e-6)
    standard = (cells - mean) / std
    covariance = standard.T @ standard / len(standard)
    values, vectors = cast("tuple[Tensor, Tensor]", torch.linalg.eigh(covariance))
    direction = vectors[:, -1]
    dark = torch.cat([item.flatten() for item in darkness]).double()
    projected = standard @ direction
    agreement = ((dark - dark.mean()) * projected).mean()
    if (agreement < 0) == (foreground == "darker"):
        direction = -direction
    return EigenCam(
        mean.float(), std.float(), direction.float(), float(values[-1] / values.sum())
    )


def darkness_on(pixels: Tensor, shape: tuple[int, int]) -> Tensor:
    """(H, W, 3) uint8 → (h, w) mean darkness in [0, 1] on a coarser grid."""
    grey = 1.0 - pixels.float().mean(-1) / 255.0
    return functional.adaptive_avg_pool2d(grey[None, None], shape)[0, 0]


def rank_map(values: Tensor) -> Tensor:
    """Values replaced by their rank in the image, 0 (lowest) to 1 (highest)."""
    flat = values.flatten()
    ranks = torch.empty_like(flat)
    ranks[flat.argsort()] = torch.linspace(0, 1, flat.numel())
    return ranks.view_as(values)


def draw_seeds(ranks: Tensor, config: SeedConfig, generator: torch.Generator) -> Tensor:
    """Labels for a few pixels, drawn afresh at every call.

    Args:
        ranks: (N, H, W) in [0, 1]; see :func:`rank_map`.
        config: which shares, how many.
        generator: of the random choice.

    Returns:
        (N, H, W) int64: 0 background, 1 foreground, ``IGNORE`` elsewhere.
    """
    drawn = torch.rand(ranks.shape, generator=generator) < config.fraction
    labels = torch.full(ranks.shape, IGNORE, dtype=torch.long)
    labels[drawn & (ranks >= 1 - config.top)] = FOREGROUND
    labels[drawn & (ranks <= config.bottom)] = BACKGROUND
    return labels
