"""Logistic regression on a sum of kernels: a global and a local correction at once.

With m the model's own logit at a marked place, y = ±1 its label and z its reduced
features, the corrected logit is m + g / τ, and g is what minimises (a Gaussian
process's most probable function, Rasmussen and Williams 2006, section 3.4)::

    Σ log(1 + exp(-y (τ m + g))) + ½ λ |g|²_K
    K = 2 z·z' + 2 + 4 exp(-|z - z'|² / 2l² - |p - p'|² / 2r²)

The first two kernels are a linear head and its bias, the third follows the strokes
where they are (:mod:`napari_wsol.refinement.stroke_field`). τ < 1 says that a trained
network is surer than it is right. Every place counts once, so few strokes weigh little
against λ and many decide; where both kinds are to weigh the same (:func:`balanced`),
each term of the sum has a factor. g = K a with one number a place; the problem is
convex, and Newton's method solves it in a handful of steps.

These variances are for strokes of both kinds. People draw where the map is wrong, so
strokes of one kind say nothing of the rest of the image, and a bias that learns from
them turns all of it. So the first two follow how even the kinds are
(:func:`evenness`)::

    e = min(1, q / q₀), with q = places of the rarer kind / places of the other
    K = 2 (s + (1 - s) e⁴) z·z' + 2 e¹⁶ + 4 exp(-|z - z'|² / 2l² - |p - p'|² / 2r²)

with s = 0.15 for background and 0.1 for foreground. On 12 validation images of GlaS the
mean IoU is 0.62 before the first stroke, 0.66 after three rounds of background only and
0.71 after three of foreground only; then 0.8 and 0.9 % of the pixels that were right,
and are farther than 150 pixels from any stroke, are wrong. With s = 0.2 these are 0.67,
0.72, 0.9 and 1.2 %, with s = 0.05 0.65, 0.71, 0.5 and 0.8 %. Ten strokes of foreground
beside one of background give 0.76, 0.79 and 0.79 after one, two and three rounds and
turn 1.6, 1.2 and 1.2 % of those pixels; with e and e⁸ for e⁴ and e¹⁶ 0.77, 0.80, 0.79
and 3.0, 2.2, 3.4 % (``benchmarks/scribbles.py``). q₀ is a third, so that a blob in a
ring of background, where q = 0.36, is learnt as ever (``tests/test_bundled_model.py``).

The constants were chosen with a simulated annotator on 20 training images of GlaS. Half
or twice of τ, r and the variances cost about 0.02 mean IoU at most; with l = 1 it is
0.04.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import torch
from torch.nn import functional

from napari_wsol.methods.pixelcam import BACKGROUND, FOREGROUND
from napari_wsol.refinement.stroke_field import gaussian

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import Tensor

TEMPERATURE = 0.6
"""τ: what a logit of the model is worth."""

LINEAR, CONSTANT, LOCAL = 2.0, 2.0, 4.0
"""Prior variances of the three parts, in units of τ m, for strokes of both kinds."""

ALONE = {BACKGROUND: 0.15, FOREGROUND: 0.1}
"""s, the share of the linear one that is left where there is that kind only: what is
said to be no evidence does less harm elsewhere."""

EVEN, STEEP = 1 / 3, (4, 16)
"""q₀, and the exponents with which the linear one and the constant one follow e: the
constant one does most harm."""

LIKENESS = 0.5
"""l, where cells are apart by about 1.4."""

BALANCE = 0.5
"""0 leaves every place its weight, with 1 both kinds weigh the same. On 20 training
images of GlaS the mean IoU after 1 to 10 rounds differs by less than 0.01 between 0,
0.5 and 1."""

LEAST_PRIOR = 1e-4
"""Without any, g has no bound where a line divides the places."""

FLAT = 1e-6
"""Relative change of the loss below which the fit is finished."""

LEAST_STEP = 1e-4
"""Of Newton's direction: where even this does not help, nothing does."""


@dataclass(frozen=True, slots=True)
class MarkedPlaces:
    """Marked places; those of other images lie far away, where no kernel reaches.

    Attributes:
        looks: (n, d) float32 reduced features.
        points: (n, 2) positions (y, x) in network input pixels.
        offset: (n,) the model's own logit difference.
        labels: (n,) 0 background, 1 foreground.
        counts: (n,) how often each counts; once by default.
    """

    looks: Tensor
    points: Tensor
    offset: Tensor
    labels: Tensor
    counts: Tensor | None = None

    @property
    def weights(self) -> Tensor:
        """(n,) how often each counts, whether that was said or not."""
        return torch.ones(len(self.labels)) if self.counts is None else self.counts

    @property
    def kinds(self) -> tuple[Tensor, Tensor]:
        """(n,) bool, which are background, and which foreground."""
        return self.labels == BACKGROUND, self.labels == FOREGROUND

    @property
    def sums(self) -> tuple[float, float]:
        """How much the places of background count together, and those of foreground."""
        weights, (background, foreground) = self.weights, self.kinds
        return float(weights[background].sum()), float(weights[foreground].sum())


@dataclass(frozen=True, slots=True)
class Variances:
    """Of the kernels that hold everywhere; that of the local one is :data:`LOCAL`.

    Attributes:
        linear: of the linear kernel; 0 leaves it out.
        constant: of the constant one.
    """

    linear: float = LINEAR
    constant: float = CONSTANT

    @classmethod
    def of(cls, places: MarkedPlaces) -> Variances:
        """Those that follow how even the kinds of places are, see :func:`evenness`."""
        even, (background, foreground) = evenness(places), places.sums
        alone = ALONE[FOREGROUND if foreground > background else BACKGROUND]
        linear, constant = (even**power for power in STEEP)
        return cls(LINEAR * (alone + (1 - alone) * linear), CONSTANT * constant)


def evenness(places: MarkedPlaces) -> float:
    """e, how even both kinds are: 0 where there is one only, 1 where none is rare.

    It says how much of what is learnt may hold everywhere.
    """
    rarer, other = sorted(places.sums)
    return min(1.0, rarer / other / EVEN) if other > 0 else 0.0


def balanced(places: MarkedPlaces) -> MarkedPlaces:
    """The same places with other counts: the kind with fewer places weighs more.

    Each of n_k places of a kind counts (n / 2n_k)^:data:`BALANCE`, up to a factor: all
    together weigh what they did, so that the prior means the same. Where there is one
    kind only, nothing changes.
    """
    sums = places.sums
    if min(sums) <= 0:
        return places
    factors = torch.zeros(len(places.labels))
    for kind, own in zip(places.kinds, sums, strict=True):
        factors[kind] = (sum(sums) / 2 / own) ** BALANCE
    counts = places.weights * factors
    return replace(places, counts=counts * (sum(sums) / float(counts.sum())))


def fit_places(
    places: MarkedPlaces,
    *,
    prior: float,
    reach: float,
    steps: int,
    variances: Variances | None = None,
) -> Generator[float, None, Tensor]:
    """Newton's method with step halving.

    Args:
        places: what is known.
        prior: λ.
        reach: r in network input pixels.
        steps: at most.
        variances: of the kernels; those for both kinds by default.

    Yields:
        The loss a place after each step.

    Returns:
        (n,) float64 a / λ: g = (kernels, their variances included) @ it.
    """
    looks, points = places.looks.double(), places.points.double()
    cells = torch.cat([looks / LIKENESS, points / reach], dim=1)
    variances = variances or Variances()
    kernel = variances.constant + LOCAL * gaussian(cells, cells)
    if variances.linear:
        kernel = variances.linear * looks @ looks.T + kernel
    kernel = kernel / max(prior, LEAST_PRIOR)
    sign = 2.0 * places.labels.double() - 1
    counts = places.weights.double()
    start = TEMPERATURE * places.offset.double()
    count = len(sign)
    identity = torch.eye(count, dtype=torch.float64)
    total = counts.sum()

    def loss_of(weights: Tensor, logits: Tensor) -> Tensor:
        misfit = counts @ functional.softplus(-sign * logits)
        return (misfit + weights @ (logits - start) / 2) / total

    weights, logits = torch.zeros(count, dtype=torch.float64), start
    loss = loss_of(weights, logits)
    for _ in range(steps):
        probability = logits.sigmoid()
        curvature = (counts * probability * (1 - probability)).clamp_min(1e-6)
        slope = counts * ((sign + 1) / 2 - probability)
        target = curvature * (logits - start) + slope
        root = curvature.sqrt()
        # The form that stays well-posed (Rasmussen and Williams, algorithm 3.1).
        system = identity + root[:, None] * kernel * root
        factor = cast("Tensor", torch.linalg.cholesky(system))
        right = (root * (kernel @ target))[:, None]
        inner = torch.cholesky_solve(right, factor)[:, 0]
        direction = target - root * inner - weights
        along = kernel @ direction
        length, before = 1.0, loss
        while length > LEAST_STEP:
            new = loss_of(weights + length * direction, logits + length * along)
            if new <= before:
                weights, logits = weights + length * direction, logits + length * along
                loss = new
                break
            length /= 2
        yield float(loss)
        if before - loss <= FLAT * before.abs():
            break
    return weights / max(prior, LEAST_PRIOR)
