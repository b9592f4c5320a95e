"""Seeds: pixels that are probably foreground or background, drawn before any stroke.

"Dataset Eigen-CAM": the first principal component of standardised features over the
whole training set (Eigen-CAM, Muhammad and Yeasin 2020, arXiv 2008.00299, takes it per
image). It is unsupervised: where all classes show the same structure, as benign and
malignant tissue both show glands, class activation maps tell the classes apart but not
the structure, and this component does. Its sign is one bit that a person gives. Further
components may be added with weights, and each image's own partition
(:func:`normalised_cut`), which follows its stain.

The partition cuts one image in two by its own features, without any training:
normalised cuts (Shi and Malik 2000, IEEE TPAMI 22(8)) on the similarity of deep
features, as TokenCut and deep spectral methods use them (Wang et al. 2022,
arXiv 2202.11539; Melas-Kyriazi et al. 2022, arXiv 2205.07839). With x_i the
standardised features of cell i and τ a least similarity::

    A_ij = cos(x_i, x_j) if > τ, else ε        D = diag(Σ_j A_ij)
    (D - A) y = λ D y                          the second smallest λ

y separates the two sides of the weakest cut of this image. Unlike a component of the
whole data set it follows the stain and the texture of the single image, but it does
not know which side is which: a guide decides.
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

    from napari_wsol.training.config import SeedConfig

LEAST_SIMILARITY, WEAK = 0.3, 1e-5
"""τ and ε. τ from 0.2 to 0.3 changes the mean PxAP on GlaS by less than 0.4."""

MOST_CELLS = 1600
"""Above, cells are averaged first: the eigenvectors of n cells cost n³."""


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


def normalised_cut(features: Tensor, guide: Tensor) -> Tensor:
    """The two sides of an image.

    Args:
        features: (C, h, w) standardised over the data set.
        guide: (h, w): the side on which it is larger becomes positive.

    Returns:
        (h, w) of mean 0 and variance 1; zeros where all cells are alike.
    """
    shape = (int(features.shape[-2]), int(features.shape[-1]))
    factor = 1
    while shape[0] * shape[1] > MOST_CELLS * factor**2:
        factor += 1
    if factor > 1:
        features = functional.avg_pool2d(features[None], factor, ceil_mode=True)[0]
    cells = functional.normalize(features.flatten(1).T.double(), dim=1)
    similarity = cells @ cells.T
    similarity = torch.where(similarity > LEAST_SIMILARITY, similarity, WEAK)
    root = similarity.sum(1).sqrt()
    laplacian = torch.eye(len(cells)).double() - similarity / torch.outer(root, root)
    _, vectors = cast("tuple[Tensor, Tensor]", torch.linalg.eigh(laplacian))
    side = (vectors[:, 1] / root).float().view(1, 1, *features.shape[-2:])
    if factor > 1:
        side = functional.interpolate(side, shape, mode="bilinear")
    side = side[0, 0] - side.mean()
    spread = side.square().mean().sqrt()
    if spread < torch.finfo(torch.float32).eps:
        return torch.zeros(shape)
    side = side / spread
    agrees = (side * (guide - guide.mean())).sum() >= 0
    return side if agrees else -side
