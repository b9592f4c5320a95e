"""Global poolings that Probabilistic-CAM is compared with: from cells to an image.

Ye et al. 2020 (arXiv 2005.14480), Table 1, and the authors' code, whose names these
are. X is the feature map, S = w·X + b the logit at each cell, σ the sigmoid; sums,
means and maxima are over the cells, channel by channel unless said::

    AVG          mean X
    MAX          max X
    LINEAR       Σ X² / Σ X
    EXP          Σ X·exp(X) / Σ exp(X)
    LSE          log(mean exp(γ·X)) / γ
    PCAM         Σ a·X  with a = σ(S) / Σ σ(S), the same for all channels
    ATTENTION    Σ a·X  with a = softmax(wᵀ tanh(V·X)), V and w learnt for each class
    AVG_MAX      AVG and MAX, one after the other
    AVG_MAX_LSE  AVG, MAX and LSE, one after the other
    LSE_LBA      the logit itself, log(mean exp(r·S)) / r  with r = γ + exp(β), β learnt

The last one pools logits, not features. "LSE_LBA" and "ATTENTION" are in the table but
not in the code that the authors published, so their details are ours:

- LSE_LBA (log-sum-exp with lower-bounded adaptation; Yao et al. 2018, arXiv 1803.07703)
  works on the saliency map, for which we take the logits S, with one β a class that
  starts at 0. Pooled from σ(S) the result would lie between 0 and 1, and as a logit it
  could never say that a class is absent.
- ATTENTION (Ilse et al. 2018, arXiv 1802.04712, equation 8) has 128 hidden units.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn
from torch.nn import functional
from typing_extensions import override

from napari_wsol.errors import ConfigError
from napari_wsol.methods.map_pooling import (
    LogMeanExpPooling,
    MeanPooling,
    ProbabilityPooling,
)
from napari_wsol.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from napari_wsol.methods.map_pooling import MapPooling

EPSILON = 1e-7
"""What the authors add to the sums that LINEAR and EXP divide by."""

HIDDEN = 128
"""Units of the attention, as Ilse et al. have for pathology."""


class Pool(nn.Module):
    """From features (N, C, h, w) and a class's logits (N, 1, h, w) to one vector.

    Attributes:
        widening: channels of the vector, in C.
        pools_logits: whether it gives the (N, 1) image logit at once.
    """

    widening: ClassVar[int] = 1
    pools_logits: ClassVar[bool] = False

    def __init__(self, channels: int, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma
        del channels

    def forward(self, x: Tensor, logits: Tensor) -> Tensor:
        """(N, C · ``widening``), or (N, 1) image logits."""
        raise NotImplementedError

    @classmethod
    def of_logits(cls, pools: Sequence[Pool]) -> MapPooling | None:
        """The same pooling from the logits of cells, where the features add nothing.

        Args:
            pools: one a class, all of this kind.
        """
        del pools
        return None


class Average(Pool):
    """The mean."""

    @classmethod
    @override
    def of_logits(cls, pools: Sequence[Pool]) -> MapPooling:
        del pools
        return MeanPooling()

    @override
    def forward(self, x: Tensor, logits: Tensor) -> Tensor:
        del logits
        return x.mean((-2, -1))


class Maximum(Pool):
    """The maximum."""

    @override
    def forward(self, x: Tensor, logits: Tensor) -> Tensor:
        del logits
        return x.amax((-2, -1))


class Linear(Pool):
    """The mean weighted by the features themselves, which are never negative."""

    @override
    def forward(self, x: Tensor, logits: Tensor) -> Tensor:
        del logits
        return x.square().sum((-2, -1)) / (x.sum((-2, -1)) + EPSILON)


class Exponential(Pool):
    """The mean weighted by the exponentials of the features."""

    @override
    def forward(self, x: Tensor, logits: Tensor) -> Tensor:
        del logits
        weights = torch.exp(x - x.amax((-2, -1), keepdim=True))
        return (x * weights).sum((-2, -1)) / (weights.sum((-2, -1)) + EPSILON)


class LogSumExp(Pool):
    """Between mean (γ → 0) and maximum (γ → ∞)."""

    @override
    def forward(self, x: Tensor, logits: Tensor) -> Tensor:
        del logits
        return _log_mean_exp(x, self.gamma)


class AverageMaximum(Pool):
    """Two poolings, one after the other."""

    widening: ClassVar[int] = 2

    @override
    def forward(self, x: Tensor, logits: Tensor) -> Tensor:
        del logits
        return torch.cat([x.mean((-2, -1)), x.amax((-2, -1))], dim=1)


class AverageMaximumLogSumExp(Pool):
    """Three poolings, one after the other."""

    widening: ClassVar[int] = 3

    @override
    def forward(self, x: Tensor, logits: Tensor) -> Tensor:
        del logits
        parts = [x.mean((-2, -1)), x.amax((-2, -1)), _log_mean_exp(x, self.gamma)]
        return torch.cat(parts, dim=1)


class Probabilistic(Pool):
    """The mean weighted by the class's own probability (equations 3 and 4)."""

    @classmethod
    @override
    def of_logits(cls, pools: Sequence[Pool]) -> MapPooling:
        del pools
        return ProbabilityPooling()

    @override
    def forward(self, x: Tensor, logits: Tensor) -> Tensor:
        # Softmax of the logarithm divides by the sum, and stays finite where every
        # probability is too small for float32: the authors' quotient is 0 / 0 there.
        return _weighted(x, functional.logsigmoid(logits.flatten(1)))


class Attention(Pool):
    """The mean weighted by learnt attention."""

    def __init__(self, channels: int, gamma: float) -> None:
        super().__init__(channels, gamma)
        self.hidden = nn.Conv2d(channels, HIDDEN, 1, bias=False)
        self.score = nn.Conv2d(HIDDEN, 1, 1, bias=False)

    @override
    def forward(self, x: Tensor, logits: Tensor) -> Tensor:
        del logits
        scores = self.score(torch.tanh(self.hidden(x.to(self.hidden.weight.dtype))))
        return _weighted(x, scores.flatten(1).to(x.dtype))


class LowerBoundedLogSumExp(Pool):
    """Log-sum-exp of the logits, with a learnt sharpness of at least γ."""

    pools_logits: ClassVar[bool] = True

    def __init__(self, channels: int, gamma: float) -> None:
        super().__init__(channels, gamma)
        self.beta = nn.Parameter(torch.zeros(()))

    @property
    def sharpness(self) -> Tensor:
        """γ + exp(β)."""
        return self.gamma + self.beta.exp()

    @classmethod
    @override
    def of_logits(cls, pools: Sequence[Pool]) -> MapPooling:
        values = [p.sharpness for p in pools if isinstance(p, LowerBoundedLogSumExp)]
        return LogMeanExpPooling(torch.stack(values))

    @override
    def forward(self, x: Tensor, logits: Tensor) -> Tensor:
        del x
        return _log_mean_exp(logits, self.sharpness.to(logits.dtype))


POOLS: Registry[type[Pool]] = Registry(
    "pooling",
    {
        "PCAM": Probabilistic,
        "AVG": Average,
        "MAX": Maximum,
        "LINEAR": Linear,
        "EXP": Exponential,
        "LSE": LogSumExp,
        "AVG_MAX": AverageMaximum,
        "AVG_MAX_LSE": AverageMaximumLogSumExp,
        "LSE_LBA": LowerBoundedLogSumExp,
        "ATTENTION": Attention,
    },
)


def pool_kind(name: str, gamma: float) -> type[Pool]:
    """A pooling by name.

    Raises:
        UnknownNameError: no such pooling; names the choices.
        ConfigError: its sharpness ``gamma`` is not positive.
    """
    kind = POOLS[name]
    if not (math.isfinite(gamma) and gamma > 0):
        raise ConfigError(f"lse_gamma is a positive number, not {gamma}.")
    return kind


def _weighted(x: Tensor, scores: Tensor) -> Tensor:
    """(N, C) mean of (N, C, h, w) with the softmax of (N, h·w) scores as weights."""
    return torch.einsum("nci,ni->nc", x.flatten(2), scores.softmax(-1))


def _log_mean_exp(x: Tensor, gamma: float | Tensor) -> Tensor:
    """(N, C) log(mean exp(γ·x)) / γ, which no large value overflows."""
    cells = x.shape[-2] * x.shape[-1]
    total = torch.logsumexp((gamma * x).flatten(2), dim=-1)
    return (total - math.log(cells)) / gamma
