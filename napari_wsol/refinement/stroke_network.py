"""A small network in the place of the linear correction.

With z the reduced features and the colour of a cell, 32 hidden units learn what no
straight line divides::

    f(z) = v·tanh(W z + b) + c
    L = Σ log(1 + exp(-y (τ m + f)))
        + ½ λ (|W - W₀|² + |b - b₀|² + 64 (|v|² / e + (1 / e - 1) c²))

e is how even both kinds of strokes are
(:func:`napari_wsol.refinement.kernel_fit.evenness`): few of one kind turn the map no
farther than they should.

It begins where f is 0, so that without strokes the model stays what it is. W₀ and b₀
are drawn with a fixed seed, and the units are held where they began: drawn to 0 instead
they would all become one, and learn no more than a line. L-BFGS goes on from there on
all places at once: the same strokes give the same network. Unlike the linear correction
it has many optima, and the one that is found depends on the seed. What strokes say of
their surroundings is learnt on top (:mod:`napari_wsol.refinement.kernel_fit`, without
its linear kernel).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional
from typing_extensions import override

from napari_wsol.refinement.kernel_fit import FLAT, LEAST_PRIOR, TEMPERATURE
from napari_wsol.refinement.lbfgs import minimized
from napari_wsol.refinement.stroke_field import CHUNK, StrokeField

if TYPE_CHECKING:
    from collections.abc import Generator

    from torch import Tensor

    from napari_wsol.refinement.kernel_fit import MarkedPlaces

UNITS = 32
"""Of the hidden layer."""

SEED = 0

OUTPUT = 64.0
"""Prior precision of v. With 16 the mean IoU on 20 training images of GlaS is 0.02
less."""


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """What a network has learnt.

    Attributes:
        hidden: (u, d) W.
        hidden_bias: (u,) b.
        out: (u,) v.
        out_bias: () c.
    """

    hidden: Tensor
    hidden_bias: Tensor
    out: Tensor
    out_bias: Tensor

    def __call__(self, looks: Tensor) -> Tensor:
        """(n,) f of (n, d) looks."""
        units = torch.tanh(looks @ self.hidden.T + self.hidden_bias)
        return units @ self.out + self.out_bias

    @property
    def all(self) -> list[Tensor]:
        """The four."""
        return [self.hidden, self.hidden_bias, self.out, self.out_bias]


class StrokeNetwork(StrokeField):
    """A network, and what the strokes say of their surroundings on top of it.

    Args:
        channels: of features and colour together.
        dimensions: of the reduced features.
        places: marked places; with none the network stands alone.

    Attributes:
        hidden, hidden_bias, out, out_bias: of f / τ, see :class:`Weights`.
    """

    hidden: Tensor
    hidden_bias: Tensor
    out: Tensor
    out_bias: Tensor

    def __init__(self, channels: int = 0, dimensions: int = 0, places: int = 0) -> None:
        super().__init__(channels, dimensions, places)
        self.register_buffer("hidden", torch.zeros(UNITS, dimensions))
        self.register_buffer("hidden_bias", torch.zeros(UNITS))
        self.register_buffer("out", torch.zeros(UNITS))
        self.register_buffer("out_bias", torch.zeros(()))

    @property
    @override
    def is_empty(self) -> bool:
        return not bool(self.out.any()) and super().is_empty

    def take(self, weights: Weights) -> None:
        """Takes what was learnt on τ m."""
        self.hidden = weights.hidden.float()
        self.hidden_bias = weights.hidden_bias.float()
        self.out = (weights.out / TEMPERATURE).float()
        self.out_bias = (weights.out_bias / TEMPERATURE).float()

    @override
    def reaches(self, first: Tensor, last: Tensor) -> bool:
        return bool(self.out.any()) or super().reaches(first, last)

    @override
    def correction(self, looks: Tensor, points: Tensor) -> Tensor:
        network = Weights(self.hidden, self.hidden_bias, self.out, self.out_bias)
        parts = [network(part) for part in torch.split(looks, CHUNK)]
        return torch.cat(parts) + super().correction(looks, points)


def fit_network(
    places: MarkedPlaces, *, prior: float, steps: int, even: float = 1.0
) -> Generator[float, None, Weights]:
    """L-BFGS on all places at once.

    Args:
        places: what is known.
        prior: λ.
        steps: at most.
        even: e, above 0.

    Yields:
        The loss a place after every few steps.

    Returns:
        float64 weights.
    """
    looks = places.looks.double()
    sign = 2.0 * places.labels.double() - 1
    start = TEMPERATURE * places.offset.double()
    given = places.counts
    counts = torch.ones_like(sign) if given is None else given.double()
    first, found = _start(looks.shape[1]), _start(looks.shape[1])
    for item in found.all:
        item.requires_grad_()
    hold = max(prior, LEAST_PRIOR) / 2

    def loss_of() -> Tensor:
        misfit = counts @ functional.softplus(-sign * (start + found(looks)))
        inner = (found.hidden - first.hidden).square().sum()
        inner = inner + (found.hidden_bias - first.hidden_bias).square().sum()
        size = inner + OUTPUT / even * found.out.square().sum()
        size = size + OUTPUT * (1 / even - 1) * found.out_bias.square()
        return (misfit + hold * size) / counts.sum()

    yield from minimized(found.all, loss_of, steps=steps, flat=FLAT)
    return Weights(*(item.detach() for item in found.all))


def _start(dimensions: int) -> Weights:
    """Hidden units that look in all directions, and say nothing yet."""
    draw = torch.Generator().manual_seed(SEED)
    kind = torch.float64
    hidden = torch.randn(UNITS, dimensions, generator=draw, dtype=kind)
    bias = torch.randn(UNITS, generator=draw, dtype=kind)
    return Weights(
        hidden,
        bias / 2,
        torch.zeros(UNITS, dtype=kind),
        torch.zeros((), dtype=kind),
    )
