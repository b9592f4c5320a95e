"""Seeds: pixels that are probably foreground or background, drawn before any stroke.

"Dataset Eigen-CAM": the first principal component of standardised features over the
whole training set (Eigen-CAM, Muhammad and Yeasin 2020, arXiv 2008.00299, takes it per
image). It is unsupervised: where all classes show the same structure, as benign and
malignant tissue both show glands, class activation maps tell the classes apart but not
the structure, and this component does. Its sign is one bit that a person gives. Further
components may be added with weights, and each image's own partition
(:mod:`napari_wsol.training.partition`), which follows its stain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch.nn import functional

from napari_wsol.methods.partial_loss import IGNORE
from napari_wsol.methods.pixelcam import BACKGROUND, FOREGROUND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_wsol.training.seed_config import SeedConfig


@dataclass(frozen=True, slots=True)
class EigenCam:
    """A direction in feature space.

    Attributes:
        mean: (C,) of the features over the training set.
        std: (C,) of the features over the training set.
        direction: (C,); larger projections are foreground. A unit vector, if it is a
            single component.
        explained: share of the variance along its components.
        spread: standard deviation of the first component over the training set.
    """

    mean: Tensor
    std: Tensor
    direction: Tensor
    explained: float
    spread: float = 1.0

    def project(self, features: Tensor) -> Tensor:
        """(C, h, w) features → (h, w) projections."""
        weight = self.direction / self.std
        return torch.einsum("c,chw->hw", weight, features) - weight @ self.mean


def fit_eigencam(
    features: Sequence[Tensor],
    darkness: Sequence[Tensor],
    foreground: str,
    weights: Sequence[float] = (1.0,),
) -> EigenCam:
    """The first principal components of all cells of all images, weighted and added.

    Args:
        features: one (C, h, w) map an image.
        darkness: one (h, w) map an image on the same grid.
        foreground: "darker" or "lighter": the sign of each component is chosen so that
            its projections and darkness correlate positively or negatively.
        weights: of the first components, each scaled to unit variance; negative ones
            take the other end.
    """
    cells = torch.cat([item.flatten(1).T for item in features]).double()
    mean, std = cells.mean(0), cells.std(0).clamp_min(1e-6)
    standard = (cells - mean) / std
    covariance = standard.T @ standard / len(standard)
    values, vectors = cast("tuple[Tensor, Tensor]", torch.linalg.eigh(covariance))
    dark = torch.cat([item.flatten() for item in darkness]).double()
    direction = torch.zeros_like(mean)
    explained = 0.0
    for place, weight in enumerate(weights, start=1):
        if not weight:
            continue
        component = vectors[:, -place]
        agreement = ((dark - dark.mean()) * (standard @ component)).mean()
        if (agreement < 0) == (foreground == "darker"):
            component = -component
        direction += weight * component * (values[-1] / values[-place]).sqrt()
        explained += float(values[-place] / values.sum())
    return EigenCam(
        mean.float(),
        std.float(),
        direction.float(),
        explained,
        float(values[-1].sqrt()),
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


def draw_seeds(
    ranks: Tensor,
    config: SeedConfig,
    generator: torch.Generator,
    *,
    first: int = 0,
    total: int | None = None,
) -> Tensor:
    """Labels for a few pixels, drawn afresh at every call.

    Args:
        ranks: (N, H, W) in [0, 1]; see :func:`rank_map`.
        config: which shares, how many.
        generator: of the random choice.
        first: place of the first image in the whole batch.
        total: images in the whole batch; N by default.

    Returns:
        (N, H, W) int64: 0 background, 1 foreground, ``IGNORE`` elsewhere.
    """
    count, height, width = ranks.shape
    noise = torch.rand(total or count, height, width, generator=generator)
    drawn = noise[first : first + count] < config.fraction
    labels = torch.full(ranks.shape, IGNORE, dtype=torch.long)
    labels[drawn & (ranks >= 1 - config.top)] = FOREGROUND
    labels[drawn & (ranks <= config.bottom)] = BACKGROUND
    return labels
